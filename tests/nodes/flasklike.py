#!/usr/bin/env python3
# expected: convergence
# Lab 2 in the manner of Flask: routes by decorator, over wsgiref with threads. Binds 0.0.0.0. In memory.
# The bug: each write is sent to each peer once, in a thread of its own, and errors are ignored.
import argparse
import json
import threading
import urllib.request
from socketserver import ThreadingMixIn
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIServer, make_server

STATUS = {200: "200 OK", 400: "400 Bad Request", 404: "404 Not Found"}


class App:
    def __init__(self):
        self.routes = {}

    def route(self, path, methods=("GET",)):
        def register(view):
            for method in methods:
                self.routes[(method, path)] = view
            return view
        return register

    def __call__(self, environ, start_response):
        view = self.routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        if view is None:
            answer, code = {"ok": False, "error": "no such route"}, 404
        else:
            answer = view(json.loads(body) if body else query)
            answer, code = answer if isinstance(answer, tuple) else (answer, 200)
        start_response(STATUS[code], [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


class ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


app = App()
lock = threading.Lock()
lamport = 0
store = {}


def send_once(peer, message):
    try:
        request = urllib.request.Request(peer + "/replicate", data=json.dumps(message).encode(),
                                         headers={"Content-Type": "application/json"})
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=1).read()
    except Exception:
        pass


def apply_write(key, value, ts, origin):
    current = store.get(key)
    if current and (current["ts"], current["origin"]) >= (ts, origin):
        return False
    store[key] = dict(value=value, ts=ts, origin=origin)
    return True


@app.route("/put", methods=["POST"])
def put(body):
    global lamport
    if "key" not in body or "value" not in body:
        return {"ok": False, "error": "key and value are required"}, 400
    with lock:
        lamport += 1
        ts = lamport
        applied = apply_write(body["key"], body["value"], ts, args.id)
    for peer in peers:
        threading.Thread(target=send_once, daemon=True,
                         args=(peer, dict(key=body["key"], value=body["value"], ts=ts, origin=args.id))).start()
    return dict(ok=True, node=args.id, key=body["key"], value=body["value"], ts=ts, origin=args.id, applied=applied,
                lamport=ts)


@app.route("/replicate", methods=["POST"])
def replicate(body):
    global lamport
    with lock:
        lamport = max(lamport, body["ts"]) + 1
        return dict(ok=True, applied=apply_write(body["key"], body["value"], body["ts"], body["origin"]),
                    lamport=lamport)


@app.route("/get")
def get(query):
    with lock:
        entry = store.get(query.get("key"))
        if entry is None:
            return {"ok": False, "error": "not found"}, 404
        return dict(entry, ok=True, node=args.id, key=query["key"], lamport=lamport)


@app.route("/status")
def status(_):
    with lock:
        return dict(ok=True, node=args.id, lamport=lamport, store=dict(store), peers=peers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--peers", default="")
    args = parser.parse_args()
    peers = [peer for peer in args.peers.split(",") if peer]
    print(" * Running on http://0.0.0.0:%d" % args.port)
    make_server("0.0.0.0", args.port, app, server_class=ThreadingWSGIServer).serve_forever()
