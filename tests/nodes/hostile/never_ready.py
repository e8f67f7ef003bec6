#!/usr/bin/env python3
# hostile: listens, accepts, and never answers.
import socket

from base import arguments

listener = socket.create_server(("127.0.0.1", arguments().port))
kept = []
while True:
    kept.append(listener.accept())
