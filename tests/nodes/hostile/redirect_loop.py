#!/usr/bin/env python3
# hostile: redirects every request to itself.
from base import Handler, Node, arguments


class Loop(Handler):
    def reply(self, status, body):
        self.send_response(307)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()


Node(arguments()).serve(Loop)
