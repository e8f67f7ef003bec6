#!/usr/bin/env python3
# expected: total-order
# The bug: what arrives is shown at once. The places are agreed on all the same, and nobody looks at them.
from chat_base import Chat, run
from udp import Udp


class NoHoldBackQueue(Chat):
    def on_message(self, peer, message):
        fresh = message["number"] >= self.next[peer] and (peer, message["number"]) not in self.early
        super().on_message(peer, message)
        if fresh:
            super().show(peer, message["text"])

    def show(self, sender, text):
        pass


run(NoHoldBackQueue(Udp))
