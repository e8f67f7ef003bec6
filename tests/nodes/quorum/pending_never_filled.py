#!/usr/bin/env python3
# expected: read-your-writes
# The bug: read_your_writes asks the quorum only for keys with pending writes, and nothing ever enters them there.
from quorum_base import Node, serve


class PendingNeverFilled(Node):
    def __init__(self):
        super().__init__()
        self.pending_writes = {}

    def read_your_writes(self, key):
        if key in self.pending_writes:
            return self.read_strong(key)
        return self.read_local(key)


serve(PendingNeverFilled())
