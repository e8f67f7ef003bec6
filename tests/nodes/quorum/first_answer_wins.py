#!/usr/bin/env python3
# expected: quorum
# The bug: a quorum read asks R replicas and returns the first answer that is not null, not the newest.
from quorum_base import Node, serve


class FirstAnswerWins(Node):
    def newest(self, entries):
        found = [entry for entry in entries if entry and not entry["deleted"]]
        return found[0] if found else None


serve(FirstAnswerWins())
