#!/usr/bin/env python3
# expected: leader
# The bug: the node with the lowest id should lead, but each compares its id with the URLs of its peers. "n1" is not
# below "http://…", so nobody ever leads.
from quorum_base import Node, serve


class UrlSortsFirst(Node):
    def elect(self):
        if all(self.id < peer for peer in self.peers):
            super().elect()


serve(UrlSortsFirst())
