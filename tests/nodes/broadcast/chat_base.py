# A total-order chat as a student writes it, for the scripts beside this one: ISIS over whatever carries messages. Lines
# come on stdin; what is delivered is printed as `[who] text`. chat.toml tells the harness so.
#
# A sender numbers its messages; everybody answers each with a proposal above all it has proposed or seen agreed, and the
# largest (ties by process) is its place. A message waits in the hold-back queue until its place is agreed and nothing
# before it is open. Whoever does not answer is waited for, for ever. So these chats bear no kill: one that dies between telling
# two others what place was agreed leaves one who goes on and one who waits for ever.
import argparse
import sys
import threading
import time

AGAIN = 0.15  # seconds until what nobody confirmed is sent again


class Chat:
    def __init__(self, transport):
        options = argparse.ArgumentParser()
        options.add_argument("--id", required=True)
        options.add_argument("--config", required=True)
        options = options.parse_args()
        self.id = options.id
        self.peers = {}  # who -> (host, port)
        with open(options.config, encoding="utf-8") as table:
            for row in table:
                if row.split():
                    who, host, port = row.split()
                    self.peers[who] = (host, int(port))
        self.here = self.peers.pop(self.id)
        self.lock = threading.RLock()
        self.clock = 0
        self.sent = 0
        self.mine = {}  # number -> {"text", "proposals": who -> place, "place", "told": who has confirmed the place}
        self.queue = {}  # (sender, number) -> [place, agreed, text]: the hold-back queue
        self.done = set()  # what was delivered
        self.next = {who: 1 for who in [self.id, *self.peers]}  # the sender's number that is to be proposed for next
        self.early = {}  # (sender, number) -> text: what came before its turn
        self.transport = transport(self)

    # --- what is said ---

    def say(self, text):
        with self.lock:
            self.sent += 1
            number = self.sent
            self.mine[number] = {"text": text, "proposals": {}, "place": None, "told": set()}
            self.hears(self.id, {"kind": "message", "number": number, "text": text})
            for peer in self.peers:
                self.send_what_is_missing(peer, number)

    def send_what_is_missing(self, peer, number):
        entry = self.mine[number]
        if entry["place"] is None and peer not in entry["proposals"]:
            self.send(peer, {"kind": "message", "number": number, "text": entry["text"]})
        elif entry["place"] is not None and peer not in entry["told"]:
            self.send(peer, {"kind": "agreed", "number": number, "place": entry["place"]})

    def send(self, peer, message):
        message["from"] = self.id
        if peer == self.id:
            self.hears(self.id, message)
        else:
            self.transport.send(peer, message)

    def repeat(self):
        while True:
            time.sleep(AGAIN)
            with self.lock:
                # The oldest few: on a link that was down there may be many.
                for number in list(self.mine)[:40]:
                    for peer in self.peers:
                        self.send_what_is_missing(peer, number)

    # --- what is heard ---

    def hears(self, peer, message):
        with self.lock:
            getattr(self, "on_" + message["kind"])(peer, message)

    def on_message(self, peer, message):
        self.early[(peer, message["number"])] = message["text"]
        if message["number"] < self.next[peer]:
            del self.early[(peer, message["number"])]
            if (peer, message["number"]) in self.queue:
                self.propose(peer, message["number"])
            return
        while (peer, self.next[peer]) in self.early:
            number = self.next[peer]
            self.next[peer] += 1
            self.clock += 1
            self.queue[(peer, number)] = [(self.clock, self.id), False, self.early.pop((peer, number))]
            self.propose(peer, number)

    def propose(self, peer, number):
        place, agreed, _ = self.queue[(peer, number)]
        if not agreed:
            self.send(peer, {"kind": "proposal", "number": number, "place": place})

    def on_proposal(self, peer, message):
        entry = self.mine.get(message["number"])
        if entry is None or entry["place"] is not None:
            return
        entry["proposals"][peer] = tuple(message["place"])
        if len(entry["proposals"]) == 1 + len(self.peers):
            entry["place"] = max(entry["proposals"].values())
            for other in [*self.peers, self.id]:
                self.send(other, {"kind": "agreed", "number": message["number"], "place": entry["place"]})

    def on_agreed(self, peer, message):
        waiting = self.queue.get((peer, message["number"]))
        if waiting is not None:
            waiting[0], waiting[1] = tuple(message["place"]), True
            self.clock = max(self.clock, waiting[0][0])
            self.deliver()
        self.send(peer, {"kind": "confirmed", "number": message["number"]})

    def on_confirmed(self, peer, message):
        entry = self.mine.get(message["number"])
        if entry is not None:
            entry["told"].add(peer)
            if len(entry["told"]) == 1 + len(self.peers):
                del self.mine[message["number"]]

    def deliver(self):
        while self.queue:
            first = min(self.queue, key=lambda message: (self.queue[message][0], message))
            if not self.queue[first][1]:
                return
            self.show(first[0], self.queue.pop(first)[2])

    def show(self, sender, text):
        sys.stdout.write(f"[{sender}] {text}\n")
        sys.stdout.flush()


def run(chat):
    threading.Thread(target=chat.transport.receive, daemon=True).start()
    threading.Thread(target=chat.repeat, daemon=True).start()
    print("* online", flush=True)
    for line in sys.stdin:
        if line.startswith("/say "):
            chat.say(line[len("/say "):].rstrip("\n"))
