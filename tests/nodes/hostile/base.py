"""What the hostile nodes share: a correct enough Lab 2 node in memory, to be spoiled in one way each."""
import argparse
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--peers", default="")
    return parser.parse_args()


class Node:
    def __init__(self, args, address=lambda url: url):
        """`address` turns a peer's URL into the one that is really talked to."""
        self.args = args
        self.lock = threading.Lock()
        self.clock = int(time.time() * 1000)
        self.store = {}
        self.outboxes = {address(url): {} for url in args.peers.split(",") if url}
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def take(self, write):
        old = self.store.get(write["key"])
        if old is None or (write["ts"], write["origin"]) > (old["ts"], old["origin"]):
            self.store[write["key"]] = write
            return True
        return False

    def put(self, key, value):
        with self.lock:
            self.clock += 1
            write = {"key": key, "value": value, "ts": self.clock, "origin": self.args.id}
            self.take(write)
            for outbox in self.outboxes.values():
                outbox[key] = write
        return dict(write, ok=True, node=self.args.id, applied=True, lamport=write["ts"])

    def receive(self, write):
        with self.lock:
            self.clock = max(self.clock, write["ts"]) + 1
            return {"ok": True, "applied": self.take(write), "lamport": self.clock}

    def get(self, key):
        with self.lock:
            write = self.store.get(key)
        if write is None:
            return 404, {"ok": False, "error": "not found", "key": key}
        return 200, dict(write, ok=True, node=self.args.id)

    def status(self):
        with self.lock:
            return {"ok": True, "node": self.args.id, "lamport": self.clock, "store": dict(self.store),
                    "peers": list(self.outboxes)}

    def tell(self, peer):
        rounds = 0
        while True:
            with self.lock:
                writes = list(self.outboxes[peer].values())
            try:
                for write in writes:
                    request = urllib.request.Request(peer + "/replicate", json.dumps(write).encode())
                    self.open(request, timeout=5).read()
                    with self.lock:
                        if self.outboxes[peer].get(write["key"]) is write:
                            del self.outboxes[peer][write["key"]]
                rounds += 1
                if rounds % 50 == 1:
                    for write in json.loads(self.open(peer + "/status", timeout=5).read())["store"].values():
                        with self.lock:
                            self.clock = max(self.clock, write["ts"]) + 1 if self.take(write) else self.clock
            except (OSError, ValueError):
                time.sleep(0.3)
            time.sleep(0.02)

    def serve(self, handler=None, port=None):
        """Serves for ever, on `port` instead of the one asked for where given."""
        handler = handler or Handler
        handler.node = self
        server = ThreadingHTTPServer(("127.0.0.1", self.args.port if port is None else port), handler)
        for peer in self.outboxes:
            threading.Thread(target=self.tell, args=(peer,), daemon=True).start()
        server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    """Overriding `reply`, `do_GET` or `do_POST` spoils it."""
    node = None

    def reply(self, status, body):
        self.send_bytes(status, json.dumps(body).encode(), "application/json")

    def send_bytes(self, status, data, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/put":
            self.reply(200, self.node.put(body["key"], body["value"]))
        else:
            self.reply(200, self.node.receive(body))

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/status":
            self.reply(200, self.node.status())
        else:
            self.reply(*self.node.get(parse_qs(url.query).get("key", [""])[0]))

    def log_message(self, *_):
        pass
