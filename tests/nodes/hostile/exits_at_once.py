#!/usr/bin/env python3
# hostile: prints a traceback and exits with 3.
import sys
import traceback

try:
    raise KeyError("PEERS")
except KeyError:
    traceback.print_exc()
    sys.exit(3)
