//! A small model of a last-writer-wins cluster, correct or with a bug, that leaves histories as the harness does.
//!
//! Discrete events under a seed: random delivery delays, partitions, crashes by durability mode, requests that arrive
//! long after their client gave up, snapshots put together from single reads. It shares nothing with the checks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use harness::seed::Rng;

#[path = "sim_log.rs"]
mod log;

pub const NODES: [&str; 3] = ["A", "B", "C"];
const CLIENTS: usize = 5;
const TIMEOUT: u64 = 30;
const MAIN: u64 = 600;
const SETTLE: u64 = 800;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    NoTieBreak,
    LastArrivalWins,
    NoReceiveRule,
    NoTick,
    RacyTick,
    ForgetsOnCrash,
    ClockReset,
    AckBeforeApply,
    CachedReads,
    RelabelsOrigin,
    KeyCollision,
    NilDefault,
    LostReplication,
    NoCatchUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    Disk,
    Replicated,
    Memory,
}

/// What answers show of versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    Full,
    NoOrigin,
    OnlyAcks,
    OnlyReads,
    Nothing,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub bug: Option<Bug>,
    pub durability: Durability,
    pub shown: Shown,
    pub lower_wins: bool,
    pub crashes: bool,
    /// Without a disk: whether clocks begin again at 0.
    pub clock_restarts: bool,
}

/// What a run left.
pub struct Run {
    pub history: String,
    /// Whether two writes got one version, as clocks that begin again may do.
    pub version_twice: bool,
}

type Version = (i64, usize);
type Entry = (i64, Version);

#[derive(Clone, Default)]
struct Node {
    up: bool,
    life: u32,
    clock: i64,
    disk_clock: i64,
    store: BTreeMap<usize, Entry>,
    disk: BTreeMap<usize, Entry>,
    cache: BTreeMap<usize, Entry>,
    last_put: Option<u64>,
}

#[derive(Clone)]
struct Call {
    client: usize,
    process: usize,
    node: usize,
    key: usize,
    write: Option<i64>,
    closed: bool,
    arrived: Option<u32>,
    answer: Option<Option<Entry>>,
}

struct Snap {
    node: usize,
    process: usize,
    left: usize,
    life: u32,
    dead: bool,
    settling: bool,
    held: BTreeMap<usize, Entry>,
}

#[derive(Clone)]
enum Event {
    Invoke(usize),
    Arrive(usize),
    Reply(usize),
    Timeout(usize),
    Apply(usize, u32, usize, Entry),
    Deliver { from: usize, to: usize, key: usize, entry: Entry },
    Sync(usize, u32, usize, Entry),
    Gossip,
    Refresh(usize),
    Crash(usize),
    Exited(usize, u32),
    Start(usize),
    Poll(usize),
    Peek(usize, usize),
    Phase(&'static str),
    Judge,
    Nothing,
}

pub struct Sim {
    config: Config,
    rng: Rng,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
    nodes: Vec<Node>,
    calls: Vec<Call>,
    snaps: Vec<Snap>,
    last: Vec<Option<BTreeMap<usize, Entry>>>,
    process: Vec<usize>,
    home: Vec<usize>,
    next_value: i64,
    keys: usize,
    rotate: bool,
    partition: Option<(usize, u64, u64)>,
    settling: bool,
    done: bool,
    versions: BTreeMap<Version, i64>,
    version_twice: bool,
    index: u64,
    out: String,
}

pub fn run(seed: u64, config: &Config) -> Run {
    let mut rng = Rng::new(seed, "sim");
    // Keys that are given up again keep what the last write to them left.
    let rotate = rng.below(2) == 0;
    let keys = if rotate { MAIN as usize / 60 + 3 } else { rng.between(2, 4) as usize };
    let from = rng.below(MAIN / 2);
    let partition = (rng.below(2) == 0).then(|| (rng.below(3) as usize, from, from + rng.between(50, 250)));
    let mut sim = Sim {
        config: config.clone(),
        rng,
        now: 0,
        queue: BinaryHeap::new(),
        events: BTreeMap::new(),
        serial: 0,
        nodes: vec![Node { up: true, ..Node::default() }; 3],
        calls: Vec::new(),
        snaps: Vec::new(),
        last: vec![None; 3],
        process: (0..CLIENTS).collect(),
        home: (0..CLIENTS).map(|client| client % 3).collect(),
        next_value: 1,
        keys,
        rotate,
        partition,
        settling: false,
        done: false,
        versions: BTreeMap::new(),
        version_twice: false,
        index: 0,
        out: String::new(),
    };
    sim.begin();
    while let Some(Reverse((time, serial))) = sim.queue.pop() {
        sim.now = time;
        let event = sim.events.remove(&serial).unwrap();
        sim.step(event);
        if sim.done {
            break;
        }
    }
    Run { history: sim.out, version_twice: sim.version_twice }
}

impl Sim {
    fn at(&mut self, after: u64, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial)));
        self.events.insert(self.serial, event);
    }

    fn begin(&mut self) {
        let durability = format!("{:?}", self.config.durability).to_lowercase();
        let tie = if self.config.lower_wins { "lower" } else { "higher" };
        let contract = format!(
            r#"{{"contract":{{"nodes":["A","B","C"],"durability":"{durability}","tie":"{tie}","settle_within_ms":{SETTLE}}},"seed":1}}"#
        );
        self.nemesis("run", None, &contract);
        self.nemesis("phase", None, "\"setup\"");
        for node in 0..3 {
            self.nemesis("start", Some(node), &format!("{{\"pid\":{}}}", node + 100));
            self.at(1, Event::Refresh(node));
        }
        self.at(1, Event::Phase("main"));
        for client in 0..CLIENTS {
            let after = self.rng.between(2, 3);
            self.at(after, Event::Invoke(client));
        }
        self.at(5, Event::Gossip);
        if self.config.crashes {
            for _ in 0..self.rng.between(1, 3) {
                let (mut node, mut at) = (self.rng.below(3) as usize, self.rng.between(20, MAIN - 100));
                // What a node has done while it was cut off is what a crash can take.
                if let Some((alone, began, ended)) = self.partition
                    && self.rng.below(2) == 0
                {
                    (node, at) = (alone, self.rng.between(began, ended));
                }
                self.at(at, Event::Crash(node));
            }
        }
        for _ in 0..self.rng.below(4) {
            let (node, at) = (self.rng.below(3) as usize, self.rng.between(20, MAIN));
            self.at(at, Event::Poll(node));
        }
        self.at(MAIN, Event::Phase("heal"));
        self.at(MAIN + 1, Event::Phase("settle"));
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Invoke(client) => self.invoke(client),
            Event::Arrive(call) => self.arrive(call),
            Event::Reply(call) => self.reply(call),
            Event::Timeout(call) => self.give_up(call, "timeout"),
            Event::Apply(node, life, key, entry) => {
                if self.nodes[node].life == life && self.nodes[node].up {
                    self.merge(node, key, entry);
                    self.keep(node, key, entry);
                }
            }
            Event::Deliver { to, key, entry, .. } => self.deliver(to, key, entry),
            Event::Sync(node, life, key, entry) => {
                if self.nodes[node].life == life && self.nodes[node].up {
                    self.keep(node, key, entry);
                }
            }
            Event::Gossip => self.gossip(),
            Event::Refresh(node) => {
                self.nodes[node].cache = self.nodes[node].store.clone();
                self.at(150, Event::Refresh(node));
            }
            Event::Crash(node) => self.crash(node),
            Event::Exited(node, life) => {
                self.nemesis(
                    "exit",
                    Some(node),
                    &format!("{{\"pid\":{},\"signal\":9,\"expected\":true}}", pid(node, life)),
                );
            }
            Event::Start(node) => self.start(node),
            Event::Poll(node) => self.poll(node),
            Event::Peek(snap, key) => self.peek(snap, key),
            Event::Phase(phase) => self.phase(phase),
            Event::Judge => self.judge(),
            Event::Nothing => {}
        }
    }

    fn phase(&mut self, phase: &'static str) {
        self.nemesis("phase", None, &format!("{phase:?}"));
        if phase == "settle" {
            self.settling = true;
            self.partition = None;
            (0..3).for_each(|node| self.at(1, Event::Poll(node)));
            self.at(SETTLE, Event::Judge);
        }
    }

    // Clients.

    fn invoke(&mut self, client: usize) {
        if self.now > MAIN {
            return;
        }
        if self.now > 10 && self.rng.below(6) == 0 {
            self.home[client] = self.rng.below(3) as usize;
        }
        let first = self.process[client] == client && self.now < 4;
        let node = self.home[client];
        let key = match self.rotate {
            // All clocks are equal only at the beginning, so that is where ties are.
            true if first => 0,
            true => 1 + (self.now / 60) as usize + self.rng.below(2) as usize,
            false => self.rng.below(self.keys as u64) as usize,
        };
        let write = (first || self.rng.below(2) == 0).then(|| {
            self.next_value += 1;
            self.next_value
        });
        let process = self.process[client];
        let id = self.calls.len();
        self.calls.push(Call {
            client,
            process,
            node,
            key,
            write,
            closed: false,
            arrived: None,
            answer: None,
        });
        self.event(id, "invoke", None);
        // Now and then a request is under way for very long: a paused node, a full backlog.
        let way = if self.rng.below(25) == 0 { self.rng.between(20, 900) } else { self.rng.between(0, 4) };
        self.at(way, Event::Arrive(id));
        self.at(TIMEOUT, Event::Timeout(id));
    }

    fn arrive(&mut self, id: usize) {
        let Call { node, key, write, closed, .. } = self.calls[id].clone();
        if !self.nodes[node].up {
            if !closed {
                self.close(id, "fail", "refused", true);
            }
            return;
        }
        self.calls[id].arrived = Some(self.nodes[node].life);
        let place = if self.config.bug == Some(Bug::KeyCollision) { key & !1 } else { key };
        let answer = match write {
            Some(value) => Some(self.put(node, place, value)),
            None if self.config.bug == Some(Bug::CachedReads) => self.nodes[node].cache.get(&place).copied(),
            None => self.nodes[node].store.get(&place).copied(),
        };
        let default = (0, (0, node));
        let nil = self.config.bug == Some(Bug::NilDefault);
        self.calls[id].answer = Some(if nil { Some(answer.unwrap_or(default)) } else { answer });
        let way = self.rng.between(0, 5);
        self.at(way, Event::Reply(id));
    }

    fn put(&mut self, node: usize, key: usize, value: i64) -> Entry {
        let now = self.now;
        let bug = self.config.bug;
        let place = &mut self.nodes[node];
        let racy = bug == Some(Bug::RacyTick) && place.last_put.is_some_and(|last| now - last < 4);
        if bug == Some(Bug::NoTick) {
            place.clock = place.clock.max(1);
        } else if !racy {
            place.clock += 1;
        }
        place.last_put = Some(now);
        let version = (place.clock, node);
        let entry = (value, version);
        self.version_twice |= self.versions.insert(version, value).is_some();
        if bug == Some(Bug::AckBeforeApply) {
            let (life, after) = (self.nodes[node].life, self.rng.between(20, 120));
            self.at(after, Event::Apply(node, life, key, entry));
        } else {
            self.merge(node, key, entry);
            self.keep(node, key, entry);
        }
        for peer in (0..3).filter(|peer| *peer != node) {
            self.send(node, peer, key, entry);
        }
        entry
    }

    fn reply(&mut self, id: usize) {
        let call = self.calls[id].clone();
        if call.closed || call.arrived != Some(self.nodes[call.node].life) || !self.nodes[call.node].up {
            return;
        }
        self.calls[id].closed = true;
        self.event(id, "ok", None);
        let think = self.rng.between(1, 12);
        self.at(think, Event::Invoke(call.client));
    }

    fn give_up(&mut self, id: usize, why: &str) {
        if self.calls[id].closed {
            return;
        }
        let write = self.calls[id].write.is_some();
        self.close(id, if write { "info" } else { "fail" }, why, !write);
    }

    fn close(&mut self, id: usize, kind: &str, why: &str, same_process: bool) {
        self.calls[id].closed = true;
        self.event(id, kind, Some(why));
        let client = self.calls[id].client;
        if !same_process {
            self.process[client] += CLIENTS + 3;
        }
        let think = self.rng.between(3, 20);
        self.at(think, Event::Invoke(client));
    }

    // Nodes.

    fn merge(&mut self, node: usize, key: usize, entry: Entry) {
        let wins = |new: Version, old: Version| {
            let tie = if self.config.lower_wins { new.1 < old.1 } else { new.1 > old.1 };
            match self.config.bug {
                Some(Bug::LastArrivalWins) => true,
                Some(Bug::NoTieBreak) => new.0 > old.0,
                _ => new.0 > old.0 || (new.0 == old.0 && tie),
            }
        };
        let newer = self.nodes[node].store.get(&key).is_none_or(|(_, old)| wins(entry.1, *old));
        if newer {
            self.nodes[node].store.insert(key, entry);
        }
    }

    /// To disk.
    fn keep(&mut self, node: usize, key: usize, entry: Entry) {
        let newest = self.nodes[node].store.get(&key).copied().unwrap_or(entry);
        let place = &mut self.nodes[node];
        place.disk.insert(key, newest);
        place.disk_clock = place.disk_clock.max(entry.1.0).max(newest.1.0);
    }

    fn deliver(&mut self, node: usize, key: usize, entry: Entry) {
        if !self.nodes[node].up {
            return;
        }
        let mut entry = entry;
        if self.config.bug != Some(Bug::NoReceiveRule) && self.config.bug != Some(Bug::NoTick) {
            let clock = self.nodes[node].clock.max(entry.1.0) + 1;
            self.nodes[node].clock = clock;
        }
        if self.config.bug == Some(Bug::RelabelsOrigin) && self.rng.below(4) == 0 {
            entry.1.1 = node;
        }
        self.merge(node, key, entry);
        // What was received is synced some time later.
        let (life, after) = (self.nodes[node].life, self.rng.between(0, 40));
        self.at(after, Event::Sync(node, life, key, entry));
    }

    fn send(&mut self, from: usize, to: usize, key: usize, entry: Entry) {
        let lossy = matches!(self.config.bug, Some(Bug::LostReplication));
        if lossy && self.rng.below(6) == 0 {
            return;
        }
        let mut way = match self.rng.below(10) {
            0 => self.rng.between(20, 200),
            _ => self.rng.between(1, 15),
        };
        if let Some((alone, began, ended)) = self.partition
            && (alone == from || alone == to)
            && (began..ended).contains(&self.now)
        {
            way += ended - self.now;
        }
        self.at(way, Event::Deliver { from, to, key, entry });
    }

    fn gossip(&mut self) {
        let bug = self.config.bug;
        let every = if self.settling { 10 } else { 60 };
        self.at(every, Event::Gossip);
        if matches!(bug, Some(Bug::LostReplication | Bug::NoCatchUp | Bug::LastArrivalWins)) {
            return;
        }
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                if !self.nodes[from].up || !self.nodes[to].up {
                    continue;
                }
                let entries: Vec<_> =
                    self.nodes[from].store.iter().map(|(key, entry)| (*key, *entry)).collect();
                for (key, entry) in entries {
                    if self.nodes[to].store.get(&key) != Some(&entry) {
                        self.send(from, to, key, entry);
                    }
                }
            }
        }
    }

    fn crash(&mut self, node: usize) {
        if !self.nodes[node].up || self.settling {
            return;
        }
        self.nodes[node].up = false;
        let life = self.nodes[node].life;
        for id in 0..self.calls.len() {
            let call = &self.calls[id];
            if call.node == node && !call.closed && call.arrived == Some(life) {
                self.give_up(id, "reset");
            }
        }
        for snap in 0..self.snaps.len() {
            if self.snaps[snap].node == node {
                self.snaps[snap].dead = true;
            }
        }
        // What it had under way may be lost with it.
        let rng = &mut self.rng;
        let lost = |event: &Event| matches!(event, Event::Deliver { from, .. } if *from == node);
        for event in self.events.values_mut().filter(|event| lost(event)) {
            if rng.below(2) == 0 {
                *event = Event::Nothing;
            }
        }
        let (found, back) = (self.rng.below(3), self.rng.between(4, 80));
        self.at(found, Event::Exited(node, life));
        self.at(back, Event::Start(node));
    }

    fn start(&mut self, node: usize) {
        let disk = self.config.durability == Durability::Disk;
        let now = self.now as i64;
        let (bug, restarts) = (self.config.bug, self.config.clock_restarts);
        let place = &mut self.nodes[node];
        place.up = true;
        place.life += 1;
        let kept = disk && bug != Some(Bug::ForgetsOnCrash);
        place.store = if kept { place.disk.clone() } else { BTreeMap::new() };
        place.clock = match kept {
            _ if bug == Some(Bug::ClockReset) => 0,
            true => place.disk_clock,
            // Without a disk, a clock that does not go back has to be begun by the wall clock.
            false if !restarts => now * 1000,
            false => 0,
        };
        if !kept {
            place.disk = BTreeMap::new();
            place.disk_clock = 0;
        }
        place.cache = place.store.clone();
        let life = place.life;
        self.nemesis("start", Some(node), &format!("{{\"pid\":{}}}", pid(node, life)));
    }
}

fn pid(node: usize, life: u32) -> u32 {
    node as u32 + 100 + 10 * life
}
