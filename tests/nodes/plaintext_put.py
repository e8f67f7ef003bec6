#!/usr/bin/env python3
# expected: valid
# Lab 2 that answers POST /put with the plain text "OK", and a miss with a plain 404. Connections are kept alive. Reads
# and /status are JSON. In memory, with retries for ever and a comparison of stores every second.
import argparse
import json
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PROBLEMS = (OSError, HTTPException, ValueError, KeyError)


class Store:
    def __init__(self, me):
        self.me, self.mutex, self.items = me, threading.Lock(), {}
        self.lamport = int(time.time() * 1000)  # keeps rising over a restart

    def put(self, key, value):
        with self.mutex:
            self.lamport += 1
            self.items[key] = [self.lamport, self.me, value]

    def merge(self, key, ts, origin, value, quiet=False):
        with self.mutex:
            newer = key not in self.items or (ts, origin) > tuple(self.items[key][:2])
            if newer or not quiet:
                self.lamport = max(self.lamport, ts) + 1
            if newer:
                self.items[key] = [ts, origin, value]
            return newer

    def entry(self, key):
        with self.mutex:
            return self.items.get(key)

    def snapshot(self):
        with self.mutex:
            return {k: {"ts": i[0], "origin": i[1], "value": i[2]} for k, i in self.items.items()}


def call(netloc, method, path, body=None, timeout=5):
    connection = HTTPConnection(netloc, timeout=timeout)
    try:
        connection.request(method, path, body and json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise HTTPException(text)
        return text
    finally:
        connection.close()


def pull(store, netloc, timeout):
    for key, e in json.loads(call(netloc, "GET", "/status", timeout=timeout))["store"].items():
        store.merge(key, e["ts"], e["origin"], e["value"], quiet=True)


def replicate_for_ever(store, netloc, told):
    """`told` maps a key to the version the peer is known to have."""
    while True:
        lagging = False
        for key, e in store.snapshot().items():
            if e["origin"] == store.me and told.get(key) != e["ts"]:
                try:
                    call(netloc, "POST", "/replicate", dict(e, key=key))
                    told[key] = e["ts"]
                except PROBLEMS:
                    lagging = True
                    break
        time.sleep(0.3 if lagging else 0.02)


def pull_for_ever(store, netloc):
    while True:
        time.sleep(1)
        try:
            pull(store, netloc, 5)
        except PROBLEMS:
            pass


def make_handler(store, peers):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def text(self, status, text, kind="text/plain"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def json(self, body):
            self.text(200, json.dumps(body), "application/json")

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/put":
                store.put(body["key"], body["value"])
                self.text(200, "OK")
            elif self.path == "/replicate":
                self.json({"ok": True, "applied": store.merge(body["key"], body["ts"], body["origin"], body["value"])})
            else:
                self.text(404, "what?")

        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == "/status":
                self.json({"ok": True, "node": store.me, "lamport": store.lamport, "store": store.snapshot(),
                           "peers": peers})
                return
            found = store.entry(parse_qs(url.query).get("key", [""])[0])
            if found is None:
                self.text(404, "no such key")
            else:
                self.json({"value": found[2], "ts": found[0], "origin": found[1]})

        def log_message(self, *_):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--peers", default="")
    args = parser.parse_args()
    store, peers = Store(args.id), [p for p in args.peers.split(",") if p]
    for peer in peers:
        try:
            pull(store, urlsplit(peer).netloc, 1)
        except PROBLEMS:
            pass
    server = ThreadingHTTPServer(("127.0.0.1", args.port), make_handler(store, peers))
    for peer in peers:
        netloc = urlsplit(peer).netloc
        threading.Thread(target=replicate_for_ever, args=(store, netloc, {}), daemon=True).start()
        threading.Thread(target=pull_for_ever, args=(store, netloc), daemon=True).start()
    server.serve_forever()


main()
