#!/usr/bin/env python3
# hostile: finds its port taken, as by a copy of itself that was left running, and dies of it.
import socket

from base import Node, arguments

args = arguments()
leftover = socket.create_server(("127.0.0.1", args.port))
Node(args).serve()
