#!/usr/bin/env python3
# hostile: ignores --port and listens on whichever is free.
from base import Node, arguments

args = arguments()
Node(args).serve(port=0)
