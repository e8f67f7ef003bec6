#!/usr/bin/env python3
# hostile: forks a child that ignores SIGTERM, SIGINT and SIGHUP, then works.
import os
import signal
import time

from base import Node, arguments

args = arguments()
if os.fork() == 0:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A bound, in case nobody ends it: 10 minutes.
    time.sleep(600)
    os._exit(0)
Node(args).serve()
