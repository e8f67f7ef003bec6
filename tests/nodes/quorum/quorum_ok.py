#!/usr/bin/env python3
# expected: valid
# The quorum store as quorum_base.py has it; durability "disk".
from quorum_base import Node, serve

serve(Node())
