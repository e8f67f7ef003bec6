#!/usr/bin/env python3
# hostile: leaves its process group and session by the double fork, and works as a daemon; the first process exits.
import os
import threading
import time

from base import Node, arguments

args = arguments()
if os.fork() > 0:
    os._exit(0)
os.setsid()
if os.fork() > 0:
    os._exit(0)


def give_up():
    # A bound, in case nobody ends it: 10 minutes.
    time.sleep(600)
    os._exit(0)


threading.Thread(target=give_up, daemon=True).start()
Node(args).serve()
