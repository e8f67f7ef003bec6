#!/usr/bin/env python3
# expected: lww
# Lab 2 written as a script with globals. In memory, one sender thread a peer that retries for ever, stores compared
# every second.
# The bug: a replicated write is stored, but the Lamport clock is not moved past its timestamp.
import json
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

ID = sys.argv[sys.argv.index("--id") + 1]
PORT = int(sys.argv[sys.argv.index("--port") + 1])
PEERS = [p for p in sys.argv[sys.argv.index("--peers") + 1].split(",") if p]

CLOCK = 0
DATA = {}
LOCK = threading.Lock()
OUTBOX = {peer: {} for peer in PEERS}
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def newer(w):
    old = DATA.get(w["key"])
    return old is None or w["ts"] > old["ts"] or (w["ts"] == old["ts"] and w["origin"] > old["origin"])


def take(w):
    won = newer(w)
    if won:
        DATA[w["key"]] = {"value": w["value"], "ts": w["ts"], "origin": w["origin"]}
    return won


def sender(peer):
    while True:
        with LOCK:
            key, w = next(iter(OUTBOX[peer].items()), (None, None))
        if w is None:
            time.sleep(0.01)
            continue
        try:
            request = urllib.request.Request(peer + "/replicate", json.dumps(w).encode())
            OPENER.open(request, timeout=5).read()
            with LOCK:
                if OUTBOX[peer][key] is w:
                    del OUTBOX[peer][key]
        except OSError:
            time.sleep(0.3)


def merge(peer, timeout):
    try:
        entries = json.loads(OPENER.open(peer + "/status", timeout=timeout).read())["store"]
    except (OSError, ValueError):
        return
    with LOCK:
        for key, entry in entries.items():
            take(dict(entry, key=key))


def merger(peer):
    while True:
        time.sleep(1)
        merge(peer, 5)


class H(BaseHTTPRequestHandler):
    def out(self, code, obj):
        raw = json.dumps(obj).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self):
        global CLOCK
        w = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with LOCK:
            if self.path == "/put":
                CLOCK += 1
                w = {"key": w["key"], "value": w["value"], "ts": CLOCK, "origin": ID}
                won = take(w)
                for peer in PEERS:
                    OUTBOX[peer][w["key"]] = w
                reply = dict(w, ok=True, node=ID, applied=won, lamport=CLOCK)
            else:
                reply = {"ok": True, "applied": take(w), "lamport": CLOCK}
        self.out(200, reply)

    def do_GET(self):
        if self.path == "/status":
            with LOCK:
                reply = {"ok": True, "node": ID, "lamport": CLOCK, "store": dict(DATA), "peers": PEERS}
            return self.out(200, reply)
        key = unquote(self.path.partition("key=")[2])
        with LOCK:
            entry = DATA.get(key)
        if entry is None:
            return self.out(404, {"ok": False, "error": "not found"})
        self.out(200, dict(entry, ok=True, node=ID, key=key, lamport=CLOCK))

    def log_message(self, *_):
        pass


for p in PEERS:
    merge(p, 1)
for p in PEERS:
    threading.Thread(target=sender, args=(p,), daemon=True).start()
    threading.Thread(target=merger, args=(p,), daemon=True).start()
ThreadingHTTPServer(("", PORT), H).serve_forever()
