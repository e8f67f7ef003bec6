# Messages as lines of JSON over TCP, one connection to each peer, opened again when it breaks.
import json
import queue
import socket
import threading


class Tcp:
    def __init__(self, chat):
        self.chat = chat
        self.listener = socket.create_server(chat.here)
        self.outgoing = {peer: queue.Queue(maxsize=5000) for peer in chat.peers}
        for peer in chat.peers:
            threading.Thread(target=self.write, args=(peer,), daemon=True).start()

    def send(self, peer, message):
        try:
            self.outgoing[peer].put_nowait(message)
        except queue.Full:
            pass  # it is sent again

    def write(self, peer):
        connection = None
        while True:
            message = self.outgoing[peer].get()
            try:
                if connection is None:
                    connection = socket.create_connection(self.chat.peers[peer], timeout=2)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                # Lost; it is sent again.
                connection = None

    def receive(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    self.chat.hears(message["from"], message)
        except (OSError, ValueError):
            pass  # it broke in the middle of a line
