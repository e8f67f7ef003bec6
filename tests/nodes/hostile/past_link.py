#!/usr/bin/env python3
# hostile: takes only the port from a peer's URL and talks to 127.0.0.1 directly, past any proxy between the two, and keeps
# a connection open there, as one with a pool would. (Where links have ports of their own this is the link after all, and
# the node is harmless.)
import socket
import threading
import time
from urllib.parse import urlsplit

from base import Node, arguments


def keep_open(port):
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.recv(1)
        except OSError:
            pass
        time.sleep(0.1)


args = arguments()
for url in args.peers.split(","):
    if url:
        threading.Thread(target=keep_open, args=(urlsplit(url).port,), daemon=True).start()
Node(args, address=lambda url: "http://127.0.0.1:%d" % urlsplit(url).port).serve()
