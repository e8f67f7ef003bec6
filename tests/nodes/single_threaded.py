#!/usr/bin/env python3
# expected: valid
# Lab 2 with the plain, single-threaded HTTPServer: one request at a time, each connection closed after it. One
# background thread a peer first asks it for its store, then replicates, and asks again every second. In memory.
import json
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit


class Replica:
    def __init__(self, name):
        self.name = name
        self.guard = threading.RLock()
        # Higher than any timestamp of a former life, as long as there is less than one event a millisecond.
        self.clock = int(time.time() * 1000)
        self.data = {}

    def newer(self, key, ts, origin):
        if key not in self.data:
            return True
        _, old_ts, old_origin = self.data[key]
        return ts > old_ts or (ts == old_ts and origin > old_origin)

    def local_write(self, key, value):
        with self.guard:
            self.clock += 1
            self.data[key] = (value, self.clock, self.name)
            return self.clock

    def remote_write(self, key, value, ts, origin):
        with self.guard:
            self.clock = max(self.clock, ts) + 1
            wins = self.newer(key, ts, origin)
            if wins:
                self.data[key] = (value, ts, origin)
            return wins

    def dump(self):
        with self.guard:
            return {k: {"value": v, "ts": t, "origin": o} for k, (v, t, o) in self.data.items()}


class Link(threading.Thread):
    def __init__(self, replica, url):
        super().__init__(daemon=True)
        self.replica = replica
        self.address = urlsplit(url).netloc
        self.dirty = set()
        self.wake = threading.Event()
        self.next_pull = 0.0

    def changed(self, key):
        self.dirty.add(key)  # a set's add and discard are atomic
        self.wake.set()

    def call(self, method, path, body=None, timeout=5.0):
        connection = HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise HTTPException("status %d" % response.status)
            return json.loads(answer)
        finally:
            connection.close()

    def pull(self, timeout):
        for key, entry in self.call("GET", "/status", timeout=timeout)["store"].items():
            with self.replica.guard:
                if self.replica.newer(key, entry["ts"], entry["origin"]):
                    self.replica.remote_write(key, entry["value"], entry["ts"], entry["origin"])

    def push(self):
        for key in list(self.dirty):
            self.dirty.discard(key)
            with self.replica.guard:
                value, ts, origin = self.replica.data[key]
            try:
                message = {"key": key, "value": value, "ts": ts, "origin": origin}
                self.call("POST", "/replicate", json.dumps(message))
            except Exception:
                self.dirty.add(key)
                raise

    def run(self):
        while True:
            self.wake.wait(timeout=max(0.0, self.next_pull - time.monotonic()))
            self.wake.clear()
            try:
                self.push()
                if time.monotonic() >= self.next_pull:
                    self.next_pull = time.monotonic() + 1.0
                    self.pull(5.0)
            except (OSError, HTTPException, ValueError):
                time.sleep(0.25)
                self.wake.set()


def handler_for(replica, links, peers):
    class Handler(BaseHTTPRequestHandler):
        # Somebody who connects and says nothing must not hold up everybody else for long.
        timeout = 3

        def reply(self, status, **fields):
            text = json.dumps(fields).encode("utf-8")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self):
            message = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if self.path == "/put":
                ts = replica.local_write(message["key"], message["value"])
                for link in links:
                    link.changed(message["key"])
                self.reply(200, ok=True, node=replica.name, key=message["key"], value=message["value"], ts=ts,
                           origin=replica.name, applied=True, lamport=ts)
            elif self.path == "/replicate":
                wins = replica.remote_write(message["key"], message["value"], message["ts"], message["origin"])
                self.reply(200, ok=True, applied=wins, lamport=replica.clock)
            else:
                self.reply(404, ok=False, error="unknown path")

        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == "/status":
                self.reply(200, ok=True, node=replica.name, lamport=replica.clock, store=replica.dump(), peers=peers)
            elif url.path == "/get":
                key = parse_qs(url.query)["key"][0]
                if key in replica.data:
                    value, ts, origin = replica.data[key]
                    self.reply(200, ok=True, node=replica.name, key=key, value=value, ts=ts, origin=origin,
                               lamport=replica.clock)
                else:
                    self.reply(404, ok=False, error="not found", key=key)
            else:
                self.reply(404, ok=False, error="unknown path")

        def log_request(self, *_):
            pass

    return Handler


def main():
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--id")
    parser.add_argument("--port", type=int)
    parser.add_argument("--peers", default="")
    options = parser.parse_args()
    peers = [url for url in options.peers.split(",") if url]
    replica = Replica(options.id)
    links = [Link(replica, url) for url in peers]
    for link in links:
        try:
            link.pull(1.0)
        except (OSError, HTTPException, ValueError) as error:
            print("starting without %s: %s" % (link.address, error), file=sys.stderr)
    server = HTTPServer(("127.0.0.1", options.port), handler_for(replica, links, peers))
    for link in links:
        link.start()
    server.serve_forever()


if __name__ == "__main__":
    main()
