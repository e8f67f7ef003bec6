#!/usr/bin/env python3
# expected: bypass
# The bug: messages carry the address at which their sender listens, and answers go there instead of to the table's.
from chat_base import Chat, run
from udp import Udp


class OwnAddress(Udp):
    def send(self, peer, message):
        message["listens"] = self.chat.here
        super().send(peer, message)


class Talkative(Chat):
    def hears(self, peer, message):
        if "listens" in message and peer != self.id:
            self.peers[peer] = tuple(message["listens"])
        super().hears(peer, message)


run(Talkative(OwnAddress))
