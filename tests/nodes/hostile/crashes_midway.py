#!/usr/bin/env python3
# hostile: node B works until its 15th write, and dies of a KeyError in the middle of answering it.
import os
import traceback

from base import Handler, Node, arguments


class Fragile(Handler):
    writes = 0

    def do_POST(self):
        if self.path == "/put" and self.node.args.id == "B":
            Fragile.writes += 1
            if Fragile.writes == 15:
                try:
                    raise KeyError("clock")
                except KeyError:
                    traceback.print_exc()
                    os._exit(7)
        super().do_POST()


Node(arguments()).serve(Fragile)
