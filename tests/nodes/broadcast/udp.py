# Messages in datagrams of JSON, which may be lost, doubled and late: the chat sends again what nobody confirmed.
import json
import socket


class Udp:
    def __init__(self, chat):
        self.chat = chat
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(chat.here)

    def send(self, peer, message):
        try:
            self.socket.sendto(json.dumps(message).encode(), self.chat.peers[peer])
        except OSError:
            pass  # nobody there: it is sent again

    def receive(self):
        while True:
            try:
                message = json.loads(self.socket.recv(65536))
            except OSError:
                continue  # an earlier datagram found nobody
            self.chat.hears(message["from"], message)
