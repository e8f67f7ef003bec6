#!/usr/bin/env python3
# expected: valid
from log_base import Node, serve

serve(Node())
