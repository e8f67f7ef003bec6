#!/usr/bin/env python3
# expected: log
# The bug: a node that starts again shows what its log holds at once, and then once more as the leader tells it what is
# committed. The ids are looked at when a message is published, not when it is shown.
from log_base import Node, serve


class ReplaysTwice(Node):
    def load(self):
        super().load()
        for entry in self.log:
            self.show(entry)

    def show(self, entry):
        if "topic" in entry:
            self.known.add(entry["id"])
            self.topics.setdefault(entry["topic"], []).append(entry)


serve(ReplaysTwice())
