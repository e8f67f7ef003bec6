#!/usr/bin/env python3
# expected: convergence
# Lab 2 with no /status, and a miss that is a 200 with {"status":"not_found"}. Retries for ever; in memory.
# The bug: of two writes with equal timestamps the one that arrives last stays, so replicas keep different ones.
import argparse
import json
import queue
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

ap = argparse.ArgumentParser()
ap.add_argument("--id")
ap.add_argument("--port", type=int)
ap.add_argument("--peers", default="")
opts = ap.parse_args()

mutex = threading.Lock()
state = {"clock": int(time.time() * 1000)}
kv = {}


def store_if_newer(key, value, ts, origin):
    if key not in kv or ts >= kv[key]["ts"]:
        kv[key] = {"value": value, "ts": ts, "origin": origin}
        return True
    return False


def worker(netloc, outbox):
    while True:
        message = outbox.get()
        while True:
            try:
                connection = HTTPConnection(netloc, timeout=5)
                connection.request("POST", "/replicate", json.dumps(message))
                if connection.getresponse().status == 200:
                    break
            except Exception as error:
                print("retrying", netloc, error)
            finally:
                connection.close()
            time.sleep(0.25)


outboxes = []
for url in filter(None, opts.peers.split(",")):
    outbox = queue.Queue()
    outboxes.append(outbox)
    threading.Thread(target=worker, args=(urlparse(url).netloc, outbox), daemon=True).start()


class Api(BaseHTTPRequestHandler):
    def send_json(self, obj):
        raw = json.dumps(obj).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self):
        req = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with mutex:
            if self.path == "/put":
                state["clock"] += 1
                write = dict(key=req["key"], value=req["value"], ts=state["clock"], origin=opts.id)
                store_if_newer(**write)
                for outbox in outboxes:
                    outbox.put(write)
                answer = dict(write, status="ok")
            else:
                state["clock"] = max(state["clock"], req["ts"]) + 1
                answer = {"status": "ok", "applied": store_if_newer(**req)}
        self.send_json(answer)

    def do_GET(self):
        key = parse_qs(urlparse(self.path).query).get("key", [""])[0]
        with mutex:
            found = kv.get(key)
        self.send_json(dict(found, status="ok", key=key) if found else {"status": "not_found"})

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("0.0.0.0", opts.port), Api).serve_forever()
