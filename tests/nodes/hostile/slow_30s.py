#!/usr/bin/env python3
# hostile: answers everything right, after 30 s.
import time

from base import Handler, Node, arguments


class Slow(Handler):
    def reply(self, status, body):
        time.sleep(30)
        super().reply(status, body)


Node(arguments()).serve(Slow)
