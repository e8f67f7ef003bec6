#!/usr/bin/env python3
# expected: valid
# Lab 2 whose nodes talk to each other by UDP: each write goes to each peer until it is acknowledged. The peers are in a
# JSON file: {"nodes": [{"id", "host", "gossip"}, …]}, this node among them. Keeps everything in memory.
#   --answer source: acknowledges to the address a datagram came from; table: to the sender's place in the file
#   --mouth own:     sends from the socket it receives with; fresh: from a new one for each datagram
#   --once:          never sends again (a bug)
#   --past:          talks to its peers' own ports and not to those it was told (it takes itself for the network)
import argparse
import json
import socket
import threading
import time
import urllib.parse
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--id", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--config", required=True)
parser.add_argument("--answer", choices=["source", "table"], default="source")
parser.add_argument("--mouth", choices=["own", "fresh"], default="own")
parser.add_argument("--once", action="store_true")
parser.add_argument("--past", action="store_true")
args = parser.parse_args()

with open(args.config) as file:
    nodes = json.load(file)["nodes"]
own = next(node for node in nodes if node["id"] == args.id)
peers = {node["id"]: (node["host"], node["gossip"]) for node in nodes if node["id"] != args.id}
if args.past:
    peers = {name: ("127.0.0.1", port) for name, (_, port) in peers.items()}
by_address = {address: name for name, address in peers.items()}

lock = threading.Lock()
clock = 0
store = {}
# What each peer has not acknowledged yet, by number.
unacknowledged = {name: {} for name in peers}
numbers = 0

ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("", own["gossip"]))


def say(message, address):
    message["from"] = args.id
    body = json.dumps(message).encode()
    datagram = zlib.crc32(body).to_bytes(4, "big") + body
    try:
        if args.mouth == "own":
            ear.sendto(datagram, address)
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
                mouth.sendto(datagram, address)
                # An answer by source address comes here and nowhere else.
                mouth.settimeout(0.05)
                hear(*mouth.recvfrom(65536))
    except OSError:
        pass


def hear(datagram, address):
    global clock
    if zlib.crc32(datagram[4:]).to_bytes(4, "big") != datagram[:4]:
        return
    message = json.loads(datagram[4:])
    # A socket that speaks for the node is known by the address in the file.
    assert args.mouth == "fresh" or args.past or by_address.get(address) == message["from"], (address, message)
    if "ack" in message:
        with lock:
            unacknowledged[message["from"]].pop(message["ack"], None)
        return
    with lock:
        clock = max(clock, message["ts"]) + 1
        apply(message["key"], message["value"], message["ts"], message["origin"])
    answer = address if args.answer == "source" else peers[message["from"]]
    body = json.dumps({"ack": message["number"], "from": args.id}).encode()
    ear.sendto(zlib.crc32(body).to_bytes(4, "big") + body, answer)


def listen():
    while True:
        hear(*ear.recvfrom(65536))


def apply(key, value, ts, origin):
    old = store.get(key)
    if old is None or (ts, origin) > (old["ts"], old["origin"]):
        store[key] = {"value": value, "ts": ts, "origin": origin}
        return True
    return False


def repeat(name):
    while True:
        time.sleep(0.1)
        with lock:
            # Few at a time: what is lost to a full buffer would only be sent again.
            waiting = list(unacknowledged[name].values())[:20]
        for message in waiting:
            say(dict(message), peers[name])


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        global clock, numbers
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key, value = body["key"], body["value"]
        with lock:
            clock += 1
            ts = clock
            apply(key, value, ts, args.id)
            numbers += 1
            message = {"number": numbers, "key": key, "value": value, "ts": ts, "origin": args.id}
            if not args.once:
                for waiting in unacknowledged.values():
                    waiting[numbers] = message
        for address in peers.values():
            if args.mouth == "own":
                say(dict(message), address)
        self.answer(200, {"ok": True, "ts": ts, "origin": args.id})

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        if url.path == "/get":
            key = urllib.parse.parse_qs(url.query).get("key", [""])[0]
            with lock:
                entry = store.get(key)
            if entry is None:
                self.answer(404, {"ok": False, "error": "not found"})
            else:
                self.answer(200, dict(entry, ok=True))
        else:
            with lock:
                body = {"ok": True, "node": args.id, "store": dict(store)}
            self.answer(200, body)

    def log_message(self, *_):
        pass


threading.Thread(target=listen, daemon=True).start()
for peer in peers:
    threading.Thread(target=repeat, args=(peer,), daemon=True).start()
print("node", args.id, "on port", args.port, "and, for gossip,", own["gossip"])
ThreadingHTTPServer(("", args.port), Handler).serve_forever()
