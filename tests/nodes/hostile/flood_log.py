#!/usr/bin/env python3
# Not a node of a lab: with the first message published it sends each subscriber as many as it was told to, as fast as the
# connection takes them. Speaks what workloads/protocols/pubsub.toml asks for.
import socketserver
import sys
import threading

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])
begun = threading.Event()


class Client(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            word, *rest = line.decode().split()
            if word == "PING":
                self.wfile.write(b"PONG\n")
            elif word == "PUB":
                begun.set()
                self.wfile.write(b"OK published " + rest[-1].encode() + b"\n")
            elif word == "SUB":
                self.wfile.write(b"OK subscribed " + rest[0].encode() + b"\n")
                begun.wait()
                for first in range(0, COUNT, 1000):
                    batch = range(first, min(first + 1000, COUNT))
                    self.wfile.write("".join(f"MSG {rest[0]} m{at} {at} 1 1 {at} n1 m{at}\n" for at in batch).encode())
            else:
                self.wfile.write(b"ERR no\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", PORT), Client).serve_forever()
