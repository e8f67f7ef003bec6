#!/usr/bin/env python3
# hostile: every answer is right and carries 10 MB of padding.
from base import Handler, Node, arguments

PADDING = "p" * 10_000_000


class Big(Handler):
    def reply(self, status, body):
        super().reply(status, dict(body, padding=PADDING))


Node(arguments()).serve(Big)
