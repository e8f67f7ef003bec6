#!/usr/bin/env python3
# hostile: prints 100 MB, half of it in one line and half on stderr, then works.
import sys

from base import Node, arguments

args = arguments()
for _ in range(50):
    sys.stdout.write("x" * 1_000_000)
print()
for _ in range(500_000):
    sys.stderr.write("y" * 99 + "\n")
print("ready")
Node(args).serve()
