#!/usr/bin/env python3
# expected: total-order
# The bug: whatever one recv returns is taken for one message. A connection carries one message, so short ones come whole;
# of a long one only the beginning is read, which is no JSON and is thrown away.
import json
import socket
import threading

from chat_base import Chat, run


class OneReadOneMessage:
    def __init__(self, chat):
        self.chat = chat
        self.listener = socket.create_server(chat.here, backlog=500)

    def send(self, peer, message):
        threading.Thread(target=self.deliver, args=(peer, json.dumps(message).encode()), daemon=True).start()

    def deliver(self, peer, message):
        try:
            with socket.create_connection(self.chat.peers[peer], timeout=2) as connection:
                connection.sendall(message)
        except OSError:
            pass

    def receive(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        try:
            with connection:
                connection.settimeout(5)
                message = json.loads(connection.recv(4096))
        except (OSError, ValueError):
            return
        self.chat.hears(message["from"], message)


run(Chat(OneReadOneMessage))
