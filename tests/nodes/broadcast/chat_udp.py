#!/usr/bin/env python3
# expected: valid
from chat_base import Chat, run
from udp import Udp

run(Chat(Udp))
