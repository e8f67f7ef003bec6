#!/usr/bin/env python3
# hostile: takes only the port from a peer's URL and talks to 127.0.0.1 directly, past any proxy between the two, over
# connections that are gone within a millisecond. (Where links have ports of their own this is the link after all, and the
# node is harmless.)
from urllib.parse import urlsplit

from base import Node, arguments

Node(arguments(), address=lambda url: "http://127.0.0.1:%d" % urlsplit(url).port).serve()
