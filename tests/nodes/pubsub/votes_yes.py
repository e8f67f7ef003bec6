#!/usr/bin/env python3
# expected: leader
# The bug: whoever asks for a vote gets it, whatever was promised to others and however short the log.
from log_base import Node, serve


class VotesYes(Node):
    def grants(self, question):
        return question["term"] == self.term


serve(VotesYes())
