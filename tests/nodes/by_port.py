#!/usr/bin/env python3
# expected: valid
# Lab 2 whose author plays the lab's scenarios inside the node: it recognises a neighbour by the port at the end of its
# URL, and is slow to tell the one at port + 1. Two threads a peer; in memory.
import argparse
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

parser = argparse.ArgumentParser()
parser.add_argument("--id", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--peers", required=True)
args = parser.parse_args()
peers = [peer for peer in args.peers.split(",") if peer]

lock = threading.Lock()
lamport = int(time.time() * 1000)  # starts above whatever this node said before it was killed
store = {}
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def delay_to(peer):
    if peer.endswith(":%d" % (args.port + 1)):
        return 0.25
    return 0.0


def update(key, value, ts, origin):
    mine = store.get(key)
    if mine is not None and (mine["ts"], mine["origin"]) >= (ts, origin):
        return False
    store[key] = {"value": value, "ts": ts, "origin": origin}
    return True


class Outbox:
    def __init__(self, peer):
        self.peer = peer
        self.writes = {}
        self.condition = threading.Condition()

    def add(self, write):
        with self.condition:
            old = self.writes.get(write["key"])
            if old is None or (old["ts"], old["origin"]) < (write["ts"], write["origin"]):
                self.writes[write["key"]] = write
            self.condition.notify_all()

    def run(self):
        while True:
            with self.condition:
                self.condition.wait_for(lambda: self.writes)
                _, write = self.writes.popitem()
            time.sleep(delay_to(self.peer))
            try:
                data = json.dumps(write).encode()
                open_url(urllib.request.Request(self.peer + "/replicate", data=data), timeout=5).read()
            except OSError:
                self.add(write)
                time.sleep(0.3)


def pull(peer, timeout):
    global lamport
    try:
        theirs = json.loads(open_url(peer + "/status", timeout=timeout).read())
    except (OSError, ValueError):
        return
    with lock:
        for key, entry in theirs["store"].items():
            if update(key, entry["value"], entry["ts"], entry["origin"]):
                lamport = max(lamport, entry["ts"]) + 1


def pull_forever(peer):
    while True:
        time.sleep(0.8 + delay_to(peer))
        pull(peer, 5)


class Node(BaseHTTPRequestHandler):
    def respond(self, code, obj):
        body = json.dumps(obj).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        global lamport
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/put":
            with lock:
                lamport += 1
                write = {"key": message["key"], "value": message["value"], "ts": lamport, "origin": args.id}
                update(**write)
            for outbox in outboxes:
                outbox.add(write)
            self.respond(200, dict(write, ok=True, node=args.id, applied=True, lamport=write["ts"]))
        elif self.path == "/replicate":
            with lock:
                lamport = max(lamport, message["ts"]) + 1
                applied = update(message["key"], message["value"], message["ts"], message["origin"])
                now = lamport
            self.respond(200, {"ok": True, "applied": applied, "lamport": now})

    def do_GET(self):
        url = urlparse(self.path)
        with lock:
            if url.path == "/status":
                code, reply = 200, {"ok": True, "node": args.id, "lamport": lamport, "store": dict(store),
                                    "peers": peers}
            else:
                key = parse_qs(url.query)["key"][0]
                if key in store:
                    code, reply = 200, dict(store[key], ok=True, node=args.id, key=key, lamport=lamport)
                else:
                    code, reply = 404, {"ok": False, "error": "not found"}
        self.respond(code, reply)


outboxes = [Outbox(peer) for peer in peers]
for outbox in outboxes:
    pull(outbox.peer, 1)
server = ThreadingHTTPServer(("127.0.0.1", args.port), Node)
for outbox in outboxes:
    for _ in range(2):
        threading.Thread(target=outbox.run, daemon=True).start()
    threading.Thread(target=pull_forever, args=(outbox.peer,), daemon=True).start()
server.serve_forever()
