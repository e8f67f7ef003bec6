#!/usr/bin/env python3
# expected: valid
# Lab 2 on asyncio streams, HTTP parsed by hand, connections kept alive. There is no /status: replicas compare their
# stores through an endpoint of their own. Data in memory; only the clock is in a file, reserved 1000 at a time.
import argparse
import asyncio
import json
import os
import random
from urllib.parse import parse_qs, urlsplit

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}


class Node:
    def __init__(self, name, peers):
        self.name = name
        self.peers = peers
        self.entries = {}
        self.outboxes = {peer: {} for peer in peers}
        self.events = {}
        self.file = "clock-%s.txt" % name
        self.clock = self.reserved = 0
        if os.path.exists(self.file):
            with open(self.file) as file:
                self.clock = self.reserved = int(file.read() or 0)
        self.advance(self.clock)

    def advance(self, clock):
        if clock >= self.reserved:
            self.reserved = clock + 1000
            with open(self.file + ".new", "w") as file:
                file.write(str(self.reserved))
            os.replace(self.file + ".new", self.file)
        self.clock = clock
        return clock

    def beats(self, key, ts, origin):
        old = self.entries.get(key)
        return old is None or [ts, origin] > [old["ts"], old["origin"]]

    def receive(self, key, value, ts, origin):
        self.advance(max(self.clock, ts) + 1)
        if self.beats(key, ts, origin):
            self.entries[key] = {"value": value, "ts": ts, "origin": origin}
            return True
        return False

    def handle(self, method, target, body):
        url = urlsplit(target)
        if (method, url.path) == ("POST", "/put"):
            key, value = body["key"], body["value"]
            ts = self.advance(self.clock + 1)
            self.entries[key] = {"value": value, "ts": ts, "origin": self.name}
            for peer in self.peers:
                self.outboxes[peer][key] = None
                self.events[peer].set()
            return 200, {"ok": True, "node": self.name, "key": key, "value": value, "ts": ts, "origin": self.name,
                         "applied": True, "lamport": ts}
        if (method, url.path) == ("POST", "/replicate"):
            applied = self.receive(body["key"], body["value"], body["ts"], body["origin"])
            return 200, {"ok": True, "applied": applied, "lamport": self.clock}
        if (method, url.path) == ("GET", "/get"):
            key = parse_qs(url.query).get("key", [None])[0]
            if key not in self.entries:
                return 404, {"ok": False, "error": "not found", "key": key}
            return 200, dict(self.entries[key], ok=True, node=self.name, key=key, lamport=self.clock)
        if (method, url.path) == ("GET", "/internal/entries"):
            return 200, self.entries
        return 404, {"ok": False, "error": "unknown endpoint"}

    async def serve(self, reader, writer):
        try:
            while True:
                line = await reader.readline()
                if not line.strip():
                    return
                method, target, _ = line.decode().split(" ", 2)
                length, close = 0, line.rstrip().endswith(b"HTTP/1.0")
                while True:
                    header = (await reader.readline()).decode().strip()
                    if not header:
                        break
                    name, _, value = header.partition(":")
                    if name.lower() == "content-length":
                        length = int(value)
                    if name.lower() == "connection" and value.strip().lower() == "close":
                        close = True
                body = await reader.readexactly(length)
                try:
                    status, answer = self.handle(method, target, json.loads(body) if body else None)
                except (ValueError, KeyError, TypeError) as error:
                    status, answer = 400, {"ok": False, "error": repr(error)}
                data = json.dumps(answer).encode()
                head = "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n" % (
                    status, REASONS[status], len(data), "Connection: close\r\n" if close else "")
                writer.write(head.encode() + data)
                await writer.drain()
                if close:
                    return
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def call(self, peer, method, path, body=None):
        url = urlsplit(peer)
        reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=1 << 24)
        try:
            data = json.dumps(body).encode() if body is not None else b""
            head = "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (
                method, path, url.netloc, len(data))
            writer.write(head.encode() + data)
            answer = await reader.read(-1)
            head, _, body = answer.partition(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise ValueError(head)
            return json.loads(body)
        finally:
            writer.close()

    async def pull(self, peer, timeout):
        entries = await asyncio.wait_for(self.call(peer, "GET", "/internal/entries"), timeout)
        for key, entry in entries.items():
            if self.beats(key, entry["ts"], entry["origin"]):
                self.receive(key, **entry)

    async def push_for_ever(self, peer):
        outbox, wake = self.outboxes[peer], self.events[peer]
        while True:
            await wake.wait()
            wake.clear()
            while outbox:
                key = next(iter(outbox))
                del outbox[key]
                try:
                    message = dict(self.entries[key], key=key)
                    await asyncio.wait_for(self.call(peer, "POST", "/replicate", message), 5)
                except (OSError, ValueError, asyncio.TimeoutError):
                    outbox[key] = None
                    await asyncio.sleep(0.2 + 0.3 * random.random())

    async def pull_for_ever(self, peer):
        while True:
            await asyncio.sleep(0.7 + 0.6 * random.random())
            try:
                await self.pull(peer, 5)
            except (OSError, ValueError, asyncio.TimeoutError):
                pass


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--peers", default="")
    args = parser.parse_args()
    peers = [peer for peer in args.peers.split(",") if peer]
    node = Node(args.id, peers)
    node.events = {peer: asyncio.Event() for peer in peers}
    for peer in peers:
        try:
            await node.pull(peer, 1)
        except (OSError, ValueError, asyncio.TimeoutError):
            pass
    server = await asyncio.start_server(node.serve, "127.0.0.1", args.port)
    tasks = [node.push_for_ever(peer) for peer in peers] + [node.pull_for_ever(peer) for peer in peers]
    await asyncio.gather(server.serve_forever(), *tasks)


if __name__ == "__main__":
    asyncio.run(main())
