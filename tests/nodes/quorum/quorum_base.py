# The quorum store of the course with ThreadingHTTPServer, answers in snake_case and with the course's fields alone: no
# versions, no tokens. What the scripts beside this one start. Durability "disk": whatever a node answers is in its log
# before, synced.
#
# Writes: the leader of a term gives each write the version (term, seq) and answers when max(W, majority) replicas hold
# it. Strong reads: the newest of R copies, once W replicas hold it. Without a token nobody knows whose writes a session
# has to see, so read_your_writes is a strong read. Deletes are versions too.
import json
import os
import queue
import random
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

PROBLEMS = (OSError, HTTPException, ValueError, KeyError)
HEARTBEAT = 0.15
ELECTION = (0.7, 1.4)
PATIENCE = 0.8


def post(url, path, body, timeout=PATIENCE):
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname, where.port, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class Node:
    def __init__(self):
        self.id = os.environ["NODE_ID"]
        self.port = int(os.environ["PORT"])
        self.peers = [url.strip().rstrip("/") for url in os.environ.get("PEERS", "").split(",") if url.strip()]
        self.total = len(self.peers) + 1
        self.majority = self.total // 2 + 1
        self.write_quorum = int(os.environ.get("WRITE_QUORUM", self.majority))
        self.read_quorum = int(os.environ.get("READ_QUORUM", self.majority))
        self.lock = threading.RLock()
        self.role = "follower"
        self.leader = None
        self.term = 0
        self.voted_for = None
        self.seq = 0
        self.store = {}  # key -> {"version": [term, seq], "value": …, "deleted": bool}
        self.heard = {}  # peer -> when it last answered this leader
        self.load()
        self.wait_again()

    # --- the log ---

    def load(self):
        path = f"quorum-{self.id}.log"
        if os.path.exists(path):
            with open(path, encoding="utf-8") as log:
                for line in log:
                    if not line.endswith("\n"):
                        break  # killed in the middle of it, so it was never answered
                    record = json.loads(line)
                    if "key" in record:
                        self.keep(record["key"], record["entry"])
                    else:
                        self.term, self.voted_for = record["term"], record["voted_for"]
        with open(path + ".new", "w", encoding="utf-8") as log:
            log.write(json.dumps({"term": self.term, "voted_for": self.voted_for}) + "\n")
            for key, entry in self.store.items():
                log.write(json.dumps({"key": key, "entry": entry}) + "\n")
            log.flush()
            os.fsync(log.fileno())
        os.replace(path + ".new", path)
        self.log = open(path, "a", encoding="utf-8")

    def record(self, what):
        self.log.write(json.dumps(what) + "\n")
        self.log.flush()
        os.fsync(self.log.fileno())

    def keep(self, key, entry):
        old = self.store.get(key)
        if old is None or entry["version"] > old["version"]:
            self.store[key] = entry
            return True
        return False

    def apply(self, key, entry):
        with self.lock:
            if self.keep(key, entry):
                self.record({"key": key, "entry": entry})

    # --- who leads ---

    def wait_again(self):
        self.due = time.monotonic() + random.uniform(*ELECTION)

    def enter(self, term, vote=None):
        """With the lock held: a later term, in which this node follows until told otherwise."""
        self.term, self.voted_for = term, vote
        self.role, self.leader = "follower", None
        self.record({"term": term, "voted_for": vote})

    def run_elections(self):
        while True:
            time.sleep(0.05)
            with self.lock:
                now = time.monotonic()
                if self.role == "leader":
                    near = sum(now - heard < 1.5 for heard in self.heard.values()) + 1
                    if near < self.majority:
                        self.role, self.leader = "follower", None
                        self.wait_again()
                    continue
                if now < self.due:
                    continue
                self.wait_again()
            self.elect()

    def elect(self):
        with self.lock:
            self.enter(self.term + 1, self.id)
            self.role = "candidate"
            term = self.term
        votes = 1 + len(self.ask("/internal/vote", {"term": term, "candidate_id": self.id}, self.majority - 1))
        if votes >= self.majority:
            self.lead(term)

    def lead(self, term):
        with self.lock:
            if self.term == term and self.role == "candidate":
                self.role, self.leader, self.seq = "leader", self.id, 0
                self.heard = {peer: time.monotonic() for peer in self.peers}
                print(self.id, "leads term", term, flush=True)

    def send_heartbeats(self, peer):
        while True:
            time.sleep(HEARTBEAT)
            with self.lock:
                if self.role != "leader":
                    continue
                beat = {"term": self.term, "leader_id": self.id}
            try:
                answer = post(peer, "/internal/heartbeat", beat)
            except PROBLEMS:
                continue
            with self.lock:
                if answer["term"] > self.term:
                    self.enter(answer["term"])
                elif answer["success"] and self.term == beat["term"]:
                    self.heard[peer] = time.monotonic()

    def hear(self, term, leader):
        """With the lock held: whether this leader's term is not over."""
        if term < self.term:
            return False
        if term > self.term:
            self.enter(term)
        self.role, self.leader = "follower", leader
        self.wait_again()
        return True

    def vote(self, term, candidate):
        with self.lock:
            if term > self.term:
                self.enter(term)
            granted = term == self.term and self.voted_for in (None, candidate)
            if granted:
                self.voted_for = candidate
                self.record({"term": term, "voted_for": candidate})
                self.wait_again()
            return {"success": granted, "term": self.term}

    # --- what peers ask ---

    def ask(self, path, body, wanted):
        """Asks all peers at once; the first `wanted` answers that succeed, fewer when the time is up."""
        arrived = queue.Queue()

        def one(peer):
            try:
                arrived.put(post(peer, path, body))
            except PROBLEMS:
                arrived.put({"success": False})

        for peer in self.peers:
            threading.Thread(target=one, args=(peer,), daemon=True).start()
        good, deadline = [], time.monotonic() + PATIENCE
        for _ in self.peers:
            if len(good) >= wanted:
                break
            try:
                answer = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if answer["success"]:
                good.append(answer)
        return good

    def internal(self, what, body):
        if what == "vote":
            return self.vote(body["term"], body["candidate_id"])
        if what == "get":
            with self.lock:
                return {"success": True, "entry": self.store.get(body["key"])}
        if what == "sync":
            with self.lock:
                return {"success": True, "store": dict(self.store)}
        if what == "repair":
            self.apply(body["key"], body["entry"])
            return {"success": True}
        with self.lock:  # heartbeat, replicate
            success = self.hear(body["term"], body["leader_id"])
            if success and what == "replicate":
                self.apply(body["key"], body["entry"])
            return {"success": success, "term": self.term}

    def catch_up(self, peer):
        """Takes over what a peer has newer, for ever: what was missed arrives in the end."""
        while True:
            time.sleep(0.5)
            try:
                theirs = post(peer, "/internal/sync", {}, 5.0)["store"]
            except PROBLEMS:
                continue
            for key, entry in theirs.items():
                self.apply(key, entry)

    # --- what clients ask ---

    def write(self, key, value, deleted):
        """The status and the body of the answer."""
        body = {"success": False, "key": key, "value": value, "leader_id": self.leader,
                "achieved_quorum": False, "write_quorum": self.write_quorum}
        with self.lock:
            if self.role != "leader":
                return 503, dict(body, leader_id=self.leader, error="not the leader")
            self.seq += 1
            entry = {"version": [self.term, self.seq], "value": value, "deleted": deleted}
            message = {"term": self.term, "leader_id": self.id, "key": key, "entry": entry}
            self.apply(key, entry)
        # Fewer than a majority would not notice that this leader was deposed in its sleep.
        wanted = max(self.write_quorum, self.majority)
        acks = 1 + len(self.ask("/internal/replicate", message, wanted - 1))
        body["leader_id"] = self.id
        if acks < wanted:
            return 500, dict(body, error="no quorum in time: nobody knows")
        return 200, dict(body, success=True, achieved_quorum=True)

    def delete(self, key):
        return self.write(key, None, True)

    def read_local(self, key):
        with self.lock:
            return self.store.get(key)

    def newest(self, entries):
        """Of several copies, null where a replica has none; this node's own comes first."""
        return max((entry for entry in entries if entry), key=lambda entry: entry["version"], default=None)

    def read_strong(self, key, quorum=None):
        """Raises TimeoutError where too few answer."""
        quorum = quorum or self.read_quorum
        own = self.read_local(key)
        answers = self.ask("/internal/get", {"key": key}, quorum - 1)
        if len(answers) < quorum - 1:
            raise TimeoutError("too few replicas answered")
        copies = [own] + [answer["entry"] for answer in answers]
        entry = self.newest(copies)
        if entry is None:
            return None
        # Without this a later reader might miss what this one returns.
        if sum(copy == entry for copy in copies) < self.write_quorum:
            self.apply(key, entry)
            repaired = self.ask("/internal/repair", {"key": key, "entry": entry}, self.write_quorum - 1)
            if 1 + len(repaired) < self.write_quorum:
                raise TimeoutError("fewer than W replicas took what was read")
        return entry

    def read_your_writes(self, key):
        # Also where R + W <= N: writes are on max(W, majority) replicas, so at least on one of a majority.
        return self.read_strong(key, max(self.read_quorum, self.majority))

    def read(self, key, consistency):
        how = {"eventual": self.read_local, "read_your_writes": self.read_your_writes}.get(consistency, self.read_strong)
        body = {"key": key, "value": None, "node_role": self.role, "consistency": consistency}
        try:
            entry = how(key)
        except TimeoutError as error:
            return 503, dict(body, error=str(error))
        if entry is None or entry["deleted"]:
            return 404, dict(body, error="not found")
        return 200, dict(body, value=entry["value"])

    def status(self):
        with self.lock:
            keys = sorted(key for key, entry in self.store.items() if not entry["deleted"])
            config = {"write_quorum": self.write_quorum, "read_quorum": self.read_quorum, "total_nodes": self.total}
            return {"node_id": self.id, "role": self.role, "term": self.term, "leader_id": self.leader,
                    "total_keys": len(keys), "keys": keys, "config": config}


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def serve(node):
    class Handler(BaseHTTPRequestHandler):
        def body(self):
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def key(self):
            path = urlsplit(self.path).path
            return unquote(path[len("/key/"):]) if path.startswith("/key/") else None

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def unknown(self):
            self.answer(404, {"success": False, "error": "no such endpoint"})

        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == "/status":
                self.answer(200, node.status())
            elif self.key() is not None:
                consistency = parse_qs(url.query).get("consistency", ["strong"])[0]
                self.answer(*node.read(self.key(), consistency))
            else:
                self.unknown()

        def do_PUT(self):
            if self.key() is None:
                return self.unknown()
            try:
                value = self.body()
            except ValueError as error:
                return self.answer(400, {"success": False, "key": self.key(), "error": str(error)})
            self.answer(*node.write(self.key(), value, False))

        def do_DELETE(self):
            self.unknown() if self.key() is None else self.answer(*node.delete(self.key()))

        def do_POST(self):
            if self.path.startswith("/internal/"):
                self.answer(200, node.internal(self.path[len("/internal/"):], self.body()))
            else:
                self.unknown()

        def log_message(self, *_):
            pass

    for peer in node.peers:
        threading.Thread(target=node.send_heartbeats, args=(peer,), daemon=True).start()
        threading.Thread(target=node.catch_up, args=(peer,), daemon=True).start()
    threading.Thread(target=node.run_elections, daemon=True).start()
    print("node", node.id, "on port", node.port, flush=True)
    Server(("", node.port), Handler).serve_forever()
