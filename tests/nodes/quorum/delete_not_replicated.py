#!/usr/bin/env python3
# expected: quorum
# The bug: the leader takes a deleted key out of its own map and tells nobody. Its peers still have the value, quorum
# reads find it there, and the next comparison of stores brings it back.
from quorum_base import Node, serve


class DeleteNotReplicated(Node):
    def delete(self, key):
        body = {"success": True, "key": key, "value": None, "leader_id": self.leader,
                "achieved_quorum": True, "write_quorum": self.write_quorum}
        with self.lock:
            if self.role != "leader":
                return 503, dict(body, success=False, achieved_quorum=False, error="not the leader")
            self.store.pop(key, None)
        return 200, body


serve(DeleteNotReplicated())
