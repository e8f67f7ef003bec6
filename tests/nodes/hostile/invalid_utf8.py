#!/usr/bin/env python3
# hostile: the answers are JSON but for a string that is not UTF-8.
from base import Handler, Node, arguments


class Invalid(Handler):
    def reply(self, status, body):
        self.send_bytes(status, b'{"ok":true,"value":"\xff\xfe\x80","ts":1,"origin":"\xc3\x28"}', "application/json")


Node(arguments()).serve(Invalid)
