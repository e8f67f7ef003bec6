#!/usr/bin/env python3
# expected: valid
from chat_base import Chat, run
from tcp import Tcp

run(Chat(Tcp))
