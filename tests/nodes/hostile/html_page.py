#!/usr/bin/env python3
# hostile: answers 200 with an HTML page, whatever it is asked.
from base import Handler, Node, arguments


class Html(Handler):
    def reply(self, status, body):
        page = b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>"
        self.send_bytes(200, page, "text/html")


Node(arguments()).serve(Html)
