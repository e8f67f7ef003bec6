# A publish/subscribe log after Raft as a student writes it, for the scripts beside this one. Threads, one connection for
# each question to a peer, lines of JSON between nodes. Durability "disk": term, vote and log are synced before anybody
# hears of them. A message is published once its entry is committed, and an id is published once.
import argparse
import json
import os
import random
import socket
import socketserver
import threading
import time

HEARTBEAT = 0.12
ELECTION = (0.7, 1.4)
PATIENCE = 0.8  # seconds a peer may take to answer
PUBLISH = 3.0  # seconds until a client is told that nobody knows


def read_table(path):
    """The few lines of YAML there are: a list of maps of words."""
    nodes = []
    with open(path, encoding="utf-8") as table:
        for row in table:
            row = row.strip()
            if row.startswith("- "):
                nodes.append({})
                row = row[2:]
            if nodes and ":" in row:
                name, value = row.split(":", 1)
                nodes[-1][name.strip()] = value.strip()
    return {node["id"]: node for node in nodes}


class Node:
    def __init__(self):
        options = argparse.ArgumentParser()
        for name in ("--id", "--config", "--data-root"):
            options.add_argument(name, required=True)
        options = options.parse_args()
        self.id = options.id
        self.nodes = read_table(options.config)
        self.peers = [peer for peer in self.nodes if peer != self.id]
        os.makedirs(options.data_root, exist_ok=True)
        self.state_file = os.path.join(options.data_root, "state.json")
        self.log_file = os.path.join(options.data_root, "log.jsonl")
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.role, self.leader = "follower", None
        self.term, self.voted_for = 0, None
        self.log = []  # {"term", "topic", "id", "text", "ts"}; without a topic where a leader began
        self.commit = 0  # so many entries are committed
        self.applied = 0
        self.topics = {}  # topic -> entries in order; the place is the offset
        self.known = set()  # published ids
        self.next, self.match, self.heard = {}, {}, {}
        self.load()
        self.wait_again()

    # --- the disk ---

    def load(self):
        if os.path.exists(self.state_file):
            with open(self.state_file, encoding="utf-8") as state:
                self.term, self.voted_for = json.load(state)
        if os.path.exists(self.log_file):
            with open(self.log_file, "rb") as log:
                for line in log.read().split(b"\n")[:-1]:  # what was cut off in mid-line was never acknowledged
                    kept, entry = json.loads(line)
                    self.log[kept:] = [entry]

    def save_state(self):
        with open(self.state_file + ".new", "w", encoding="utf-8") as state:
            json.dump([self.term, self.voted_for], state)
            state.flush()
            os.fsync(state.fileno())
        os.replace(self.state_file + ".new", self.state_file)

    def append(self, place, entries):
        """Keeps `place` entries and adds these; a line of the file says how many are kept before it."""
        self.log[place:] = entries
        with open(self.log_file, "ab") as log:
            if log.tell() > 0:
                with open(self.log_file, "rb") as written:
                    written.seek(-1, os.SEEK_END)
                    if written.read(1) != b"\n":
                        log.truncate(self.whole_lines())
            for more, entry in enumerate(entries):
                log.write(json.dumps([place + more, entry]).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def whole_lines(self):
        with open(self.log_file, "rb") as log:
            return log.read().rfind(b"\n") + 1

    # --- elections ---

    def wait_again(self):
        self.deadline = time.monotonic() + random.uniform(*ELECTION)

    def follow(self, term, leader=None):
        if term > self.term:
            self.term, self.voted_for = term, None
            self.save_state()
        self.role, self.leader = "follower", leader
        self.changed.notify_all()

    def tick(self):
        while True:
            time.sleep(0.02)
            with self.lock:
                if self.role == "leader":
                    alive = 1 + sum(time.monotonic() - self.heard[peer] < ELECTION[1] for peer in self.peers)
                    if 2 * alive <= len(self.nodes):
                        self.follow(self.term)  # cut off: whoever asks is better told so
                        self.wait_again()
                    continue
                if time.monotonic() < self.deadline:
                    continue
                self.wait_again()
                self.role, self.leader = "candidate", None
                self.term, self.voted_for = self.term + 1, self.id
                self.save_state()
                question = {
                    "kind": "vote", "term": self.term, "from": self.id,
                    "last": self.log[-1]["term"] if self.log else 0, "length": len(self.log),
                }
            votes = [self.id]
            for peer in self.peers:
                threading.Thread(target=self.campaign, args=(peer, question, votes), daemon=True).start()

    def campaign(self, peer, question, votes):
        answer = self.ask(peer, question)
        with self.lock:
            if answer is None or self.term != question["term"] or self.role != "candidate":
                return
            if answer["term"] > self.term:
                self.follow(answer["term"])
            elif answer["granted"]:
                votes.append(peer)
                if 2 * len(votes) > len(self.nodes):
                    self.lead()

    def lead(self):
        self.role, self.leader = "leader", self.id
        self.next = {peer: len(self.log) for peer in self.peers}
        self.match = {peer: 0 for peer in self.peers}
        self.heard = {peer: time.monotonic() for peer in self.peers}
        self.append(len(self.log), [{"term": self.term}])
        self.changed.notify_all()
        for peer in self.peers:
            threading.Thread(target=self.replicate, args=(peer, self.term), daemon=True).start()

    def grants(self, question):
        up_to_date = (question["last"], question["length"]) >= (self.log[-1]["term"] if self.log else 0, len(self.log))
        return question["term"] == self.term and self.voted_for in (None, question["from"]) and up_to_date

    def on_vote(self, question):
        if question["term"] > self.term:
            self.follow(question["term"])
        granted = self.grants(question)
        if granted:
            self.voted_for = question["from"]
            self.save_state()
            self.wait_again()
        return {"term": self.term, "granted": granted}

    # --- replication ---

    def replicate(self, peer, term):
        while True:
            with self.lock:
                if self.role != "leader" or self.term != term:
                    return
                place = self.next[peer]
                entries = self.log[place:place + 200]
                question = {
                    "kind": "append", "term": term, "from": self.id, "place": place, "entries": entries,
                    "before": self.log[place - 1]["term"] if place else 0, "commit": self.commit,
                }
            answer = self.ask(peer, question)
            with self.lock:
                if self.role != "leader" or self.term != term:
                    return
                if answer is None:
                    self.changed.wait(0.05)
                    continue
                if answer["term"] > self.term:
                    self.follow(answer["term"])
                    return
                self.heard[peer] = time.monotonic()
                if answer["ok"]:
                    self.next[peer] = self.match[peer] = place + len(entries)
                    self.advance()
                else:
                    self.next[peer] = min(place - 1, answer["length"]) if place else 0
                    continue
                if self.next[peer] == len(self.log):
                    self.changed.wait(HEARTBEAT)

    def advance(self):
        held = sorted([len(self.log), *self.match.values()], reverse=True)[len(self.nodes) // 2]
        # Only of its own term: an older entry may still be replaced.
        if held > self.commit and self.log[held - 1]["term"] == self.term:
            self.commit = held
            self.apply()

    def on_append(self, question):
        if question["term"] < self.term:
            return {"term": self.term, "ok": False, "length": len(self.log)}
        self.follow(question["term"], question["from"])
        self.wait_again()
        place, entries = question["place"], question["entries"]
        if place > len(self.log) or (place and self.log[place - 1]["term"] != question["before"]):
            return {"term": self.term, "ok": False, "length": min(len(self.log), max(place - 1, 0))}
        while entries and place < len(self.log) and self.log[place]["term"] == entries[0]["term"]:
            place, entries = place + 1, entries[1:]
        if entries:
            self.append(place, entries)
        self.commit = max(self.commit, min(question["commit"], question["place"] + len(question["entries"])))
        self.apply()
        return {"term": self.term, "ok": True, "length": len(self.log)}

    def apply(self):
        while self.applied < self.commit:
            self.show(self.log[self.applied])
            self.applied += 1
        self.changed.notify_all()

    def show(self, entry):
        """The state machine: an id is published once."""
        if "topic" in entry and entry["id"] not in self.known:
            self.known.add(entry["id"])
            self.topics.setdefault(entry["topic"], []).append(entry)

    # --- between nodes ---

    def ask(self, peer, question, patience=PATIENCE):
        node = self.nodes[peer]
        try:
            with socket.create_connection((node["host"], int(node["rpc_port"])), timeout=patience) as connection:
                connection.sendall(json.dumps(question).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    return json.loads(lines.readline())
        except (OSError, ValueError):
            return None

    def answer(self, question):
        if question["kind"] == "publish":
            return {"said": self.publish_here(question["topic"], question["id"], question["text"])}
        with self.lock:
            return self.on_vote(question) if question["kind"] == "vote" else self.on_append(question)

    # --- clients ---

    def publish(self, topic, ident, text):
        with self.lock:
            leader = self.leader
        if leader is None:
            return "ERR unavailable"
        if leader == self.id:
            return self.publish_here(topic, ident, text)
        question = {"kind": "publish", "topic": topic, "id": ident, "text": text}
        answer = self.ask(leader, question, patience=PUBLISH + PATIENCE)
        if answer is None:
            return f"ERR timeout {ident}"  # it may have arrived
        return answer["said"].replace("OK published", "OK REDIRECTED")

    def publish_here(self, topic, ident, text):
        with self.lock:
            if self.role != "leader":
                return "ERR not_leader"
            if ident in self.known:
                return f"OK duplicate {ident}"
            term, place = self.term, len(self.log)
            entry = {"term": term, "topic": topic, "id": ident, "text": text, "ts": int(time.time() * 1000)}
            self.append(place, [entry])
            self.changed.notify_all()
            deadline = time.monotonic() + PUBLISH
            while self.commit <= place or self.log[place] is not entry:
                if place < len(self.log) and self.log[place] is not entry and self.commit > place:
                    break  # another leader's entry is there now; the id may still be in the log elsewhere
                if time.monotonic() >= deadline:
                    return f"ERR timeout {ident}"
                self.changed.wait(0.1)
            if place < len(self.log) and self.log[place] is entry:
                return f"OK published {ident}"
            return f"ERR timeout {ident}"

    def entry_line(self, word, topic, offset, entry):
        return f"{word} {topic} {entry['id']} {offset} {entry['ts']} {entry['ts']} {offset} {self.id} {entry['text']}"

    def history(self, topic, count):
        with self.lock:
            entries = list(enumerate(self.topics.get(topic, [])))[-count:]
        return [self.entry_line("HISTORY", topic, offset, entry) for offset, entry in entries] + ["OK history_end"]

    def status(self):
        with self.lock:
            return json.dumps({"id": self.id, "role": self.role, "term": self.term, "leader": self.leader})

    def subscribe(self, topic, write):
        with self.lock:
            seen = len(self.topics.get(topic, []))
        write(f"OK subscribed {topic}")
        while True:
            with self.lock:
                while len(self.topics.get(topic, [])) <= seen:
                    self.changed.wait()
                fresh = list(enumerate(self.topics[topic]))[seen:]
            for offset, entry in fresh:
                write(self.entry_line("MSG", topic, offset, entry))
            seen += len(fresh)

    def command(self, line, write):
        word, _, rest = line.partition(" ")
        if word == "PING":
            write("PONG")
        elif word == "PUB":
            topic, _, rest = rest.partition(" ")
            ident = None
            if rest.startswith("--id "):
                _, ident, rest = rest.split(" ", 2)
            write(self.publish(topic, ident or f"{self.id}-{time.time_ns()}", rest))
        elif word == "SUB":
            self.subscribe(rest.strip(), write)
        elif word == "HISTORY":
            topic, _, count = rest.partition(" ")
            write("\n".join(self.history(topic, int(count))))
        elif word == "STATUS":
            write(self.status())
        elif word != "QUIT":
            write(f"ERR usage {word}")
        return word != "QUIT"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 200


def serve(node):
    class Client(socketserver.StreamRequestHandler):
        def handle(self):
            def write(text):
                self.wfile.write(text.encode() + b"\n")

            try:
                for line in self.rfile:
                    if not node.command(line.decode().rstrip("\r\n"), write):
                        return
            except OSError:
                pass

    class Peer(socketserver.StreamRequestHandler):
        def handle(self):
            try:
                for line in self.rfile:
                    self.wfile.write(json.dumps(node.answer(json.loads(line))).encode() + b"\n")
            except (OSError, ValueError):
                pass

    me = node.nodes[node.id]
    peers = Server((me["host"], int(me["rpc_port"])), Peer)
    threading.Thread(target=peers.serve_forever, daemon=True).start()
    threading.Thread(target=node.tick, daemon=True).start()
    Server((me["host"], int(me["port"])), Client).serve_forever()
