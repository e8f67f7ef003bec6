#!/usr/bin/env python3
# expected: valid
# Lab 2 with ThreadingHTTPServer. Keeps everything in memory (durability "memory"). Before it listens it asks its peers
# for their stores; one thread a peer retries for ever; another compares stores every second.
import argparse
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--id", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--peers", default="")
args = parser.parse_args()
PEERS = [p.rstrip("/") for p in args.peers.split(",") if p]

lock = threading.Lock()
# The clock is lost in a crash like the rest; the time of day keeps timestamps rising over a restart.
clock = int(time.time() * 1000)
store = {}

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url, body=None, timeout=5.0):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with opener.open(request, timeout=timeout) as response:
        return json.loads(response.read())


def apply(key, value, ts, origin):
    """With the lock held: last writer wins, ties go to the higher origin."""
    old = store.get(key)
    if old is None or (ts, origin) > (old["ts"], old["origin"]):
        store[key] = {"value": value, "ts": ts, "origin": origin}
        return True
    return False


class Peer:
    def __init__(self, url):
        self.url = url
        self.outbox = {}
        self.ready = threading.Condition()
        threading.Thread(target=self.send_for_ever, daemon=True).start()

    def send(self, message):
        with self.ready:
            queued = self.outbox.get(message["key"])
            if queued is None or (message["ts"], message["origin"]) > (queued["ts"], queued["origin"]):
                self.outbox[message["key"]] = message
            self.ready.notify()

    def send_for_ever(self):
        while True:
            with self.ready:
                while not self.outbox:
                    self.ready.wait()
                key = next(iter(self.outbox))
                message = self.outbox.pop(key)
            try:
                fetch(self.url + "/replicate", message)
            except (OSError, ValueError):
                self.send(message)
                time.sleep(0.3)


def merge_from(url, timeout):
    global clock
    theirs = fetch(url + "/status", timeout=timeout)["store"]
    with lock:
        for key, entry in theirs.items():
            if apply(key, entry["value"], entry["ts"], entry["origin"]):
                clock = max(clock, entry["ts"]) + 1


def anti_entropy(url):
    while True:
        time.sleep(1.0)
        try:
            merge_from(url, 5.0)
        except (OSError, ValueError, KeyError):
            pass


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        global clock
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/put":
            key, value = body["key"], body["value"]
            with lock:
                clock += 1
                ts = now = clock
                applied = apply(key, value, ts, args.id)
            for peer in peers:
                peer.send({"key": key, "value": value, "ts": ts, "origin": args.id})
            self.answer(200, {"ok": True, "node": args.id, "key": key, "value": value, "ts": ts,
                              "origin": args.id, "applied": applied, "lamport": now})
        elif self.path == "/replicate":
            with lock:
                clock = max(clock, body["ts"]) + 1
                applied = apply(body["key"], body["value"], body["ts"], body["origin"])
                now = clock
            self.answer(200, {"ok": True, "applied": applied, "lamport": now})
        else:
            self.answer(404, {"ok": False, "error": "no such endpoint"})

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        if url.path == "/get":
            key = urllib.parse.parse_qs(url.query).get("key", [""])[0]
            with lock:
                entry, now = store.get(key), clock
            if entry is None:
                self.answer(404, {"ok": False, "error": "not found", "node": args.id, "key": key})
            else:
                self.answer(200, dict(entry, ok=True, node=args.id, key=key, lamport=now))
        elif url.path == "/status":
            with lock:
                body = {"ok": True, "node": args.id, "lamport": clock, "store": dict(store), "peers": PEERS}
            self.answer(200, body)
        else:
            self.answer(404, {"ok": False, "error": "no such endpoint"})

    def log_message(self, *_):
        pass


for peer_url in PEERS:
    try:
        merge_from(peer_url, 1.0)
    except (OSError, ValueError, KeyError):
        pass
peers = [Peer(peer_url) for peer_url in PEERS]
for peer_url in PEERS:
    threading.Thread(target=anti_entropy, args=(peer_url,), daemon=True).start()
print("node", args.id, "on port", args.port)
ThreadingHTTPServer(("", args.port), Handler).serve_forever()
