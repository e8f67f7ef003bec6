//! A small model of a leader-based quorum store, correct or with a bug, that leaves histories as the harness does.
//!
//! Discrete events under a seed, times in µs: elections with terms, versioned writes to W replicas, reads at three levels,
//! anti-entropy; kills, pauses and cuts that are recorded late and carried out late; requests that arrive long after their client
//! gave up; stretches in which the whole machine is slow. It shares nothing with the checks, nor with the bundled node.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use harness::seed::Rng;

#[path = "sim_quorum_log.rs"]
mod log;
#[path = "sim_quorum_node.rs"]
mod node;
#[path = "sim_quorum_world.rs"]
mod world;

pub const MS: u64 = 1_000;
const CLIENTS: usize = 6;
const TIMEOUT: u64 = 1_000 * MS;
pub const MAIN: u64 = 14_000 * MS;
const SETTLE: u64 = 4_000 * MS;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    ClaimsQuorum,
    CountsItselfTwice,
    FirstAnswerWins,
    NoVersions,
    LocalStrongRead,
    UnreadPending,
    DeleteNotReplicated,
    NoTermCheck,
    TwoLeaders,
    UrlSortsFirst,
    AckThenReplicate,
    OverwritesOnHeal,
    RefusesWithQuorum,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub bug: Option<Bug>,
    pub nodes: usize,
    pub write: usize,
    pub read: usize,
    pub disk: bool,
    /// Whether answers show versions and terms.
    pub versions: bool,
    pub terms: bool,
    /// How often the machine is too slow for everything.
    pub stalls: u64,
    pub faults: u64,
    /// Whether they last long enough for an election and more.
    pub long: bool,
}

pub type Entry = (Option<i64>, u64);
pub type Store = BTreeMap<usize, Entry>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    #[default]
    Follower,
    Candidate,
    Leader,
}

#[derive(Clone, Debug)]
pub enum Msg {
    Vote { term: u64 },
    Voted { term: u64, granted: bool },
    Beat { term: u64 },
    Beaten { term: u64 },
    Store { term: u64, key: usize, entry: Entry, job: u64 },
    Stored { term: u64, ok: bool, job: u64 },
    Get { key: usize, job: u64 },
    Got { entry: Option<Entry>, job: u64 },
    Repair { key: usize, entry: Entry, job: u64 },
    Repaired { job: u64 },
    Pull,
    Pulled { term: u64, store: Store },
}

#[derive(Clone, Debug)]
pub enum Job {
    Write {
        call: usize,
        version: u64,
        holders: BTreeSet<usize>,
    },
    Read {
        call: usize,
        key: usize,
        least: u64,
        got: Vec<(usize, Option<Entry>)>,
        newest: Option<Entry>,
        holders: BTreeSet<usize>,
    },
}

#[derive(Clone, Default, Debug)]
pub struct Node {
    pub up: bool,
    pub life: u32,
    pub paused: u32,
    pub inbox: Vec<Event>,
    pub store: Store,
    pub term: u64,
    pub voted: Option<usize>,
    pub role: Role,
    pub leader: Option<usize>,
    pub ready: bool,
    pub seq: u64,
    pub heard: u64,
    pub patience: u64,
    pub votes: BTreeSet<usize>,
    pub synced: BTreeSet<usize>,
    /// When each node last answered it.
    pub answered: Vec<u64>,
    /// What it had when it lost touch.
    pub lost_touch: Option<Store>,
    pub jobs: BTreeMap<u64, Job>,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub client: usize,
    pub process: usize,
    pub f: &'static str,
    pub key: usize,
    pub value: Option<i64>,
    pub node: usize,
    pub least: u64,
    pub closed: bool,
    pub arrived: bool,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub kind: &'static str,
    pub value: Option<i64>,
    pub version: Option<u64>,
    pub achieved: Option<bool>,
    pub acks: Option<usize>,
    pub role: Option<Role>,
    pub term: Option<u64>,
    pub leader: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum Event {
    Tick(usize, u32),
    Deliver { from: usize, to: usize, msg: Msg },
    Late { node: usize, life: u32, key: usize, entry: Entry },
    Deadline { node: usize, life: u32, job: u64 },
    Invoke(usize),
    Arrive(usize),
    Reply(usize, u32, Answer),
    Timeout(usize),
    Probe(usize),
    Begin(usize),
    Apply(usize),
    Lift(usize),
    End(usize),
    Exited(usize, u32),
    Started(usize, u32),
    Ready(usize, u32),
    Phase(&'static str),
    Poll,
    Done,
}

#[derive(Clone, Debug)]
pub enum Fault {
    Kill(usize),
    Pause(usize),
    Cut(Vec<(usize, usize)>),
}

#[derive(Clone, Debug)]
pub struct Scheduled {
    pub what: Option<Fault>,
    pub began: bool,
    pub over: bool,
}

pub struct Sim {
    pub config: Config,
    pub rng: Rng,
    pub now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
    pub nodes: Vec<Node>,
    pub calls: Vec<Call>,
    /// How many cuts are on each link, and what they hold.
    cuts: BTreeMap<(usize, usize), u32>,
    held: Vec<(usize, usize, Msg)>,
    faults: Vec<Scheduled>,
    process: Vec<usize>,
    /// What each session has written, by key.
    own: BTreeMap<(usize, usize), u64>,
    believed: Option<(u64, usize)>,
    probing: Vec<Option<usize>>,
    stalls: Vec<(u64, u64)>,
    /// Keys are given up again, and keep what the last write to them left.
    rotate: bool,
    next_value: i64,
    next_job: u64,
    phase: &'static str,
    done: bool,
    index: u64,
    last_ns: u64,
    out: String,
}

pub fn run(seed: u64, config: &Config) -> String {
    let mut rng = Rng::new(seed, "quorum sim");
    let rotate = rng.below(2) == 0;
    let stalls = (0..config.stalls).map(|_| rng.between(0, MAIN)).map(|at| (at, at + 1_500 * MS)).collect();
    let node = Node { up: true, answered: vec![0; config.nodes], ..Node::default() };
    let mut sim = Sim {
        config: config.clone(),
        rng,
        now: 0,
        queue: BinaryHeap::new(),
        events: BTreeMap::new(),
        serial: 0,
        nodes: vec![node; config.nodes],
        calls: Vec::new(),
        cuts: BTreeMap::new(),
        held: Vec::new(),
        faults: Vec::new(),
        process: (0..CLIENTS).collect(),
        own: BTreeMap::new(),
        believed: None,
        probing: vec![None; config.nodes],
        stalls,
        rotate,
        next_value: 0,
        next_job: 0,
        phase: "setup",
        done: false,
        index: 0,
        last_ns: 0,
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
    sim.out
}

impl Sim {
    pub fn at(&mut self, after: u64, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial)));
        self.events.insert(self.serial, event);
    }

    pub fn has(&self, bug: Bug) -> bool {
        self.config.bug == Some(bug)
    }

    pub fn majority(&self) -> usize {
        self.config.nodes / 2 + 1
    }

    /// Up to so much, and much more while the machine is slow.
    pub fn some(&mut self, least: u64, most: u64) -> u64 {
        let stalled = self.stalls.iter().any(|(from, to)| (*from..*to).contains(&self.now));
        let usual = self.rng.between(least, most);
        if stalled { usual + self.rng.between(100 * MS, 600 * MS) } else { usual }
    }

    fn begin(&mut self) {
        self.contract();
        self.phase("setup");
        for node in 0..self.config.nodes {
            self.nemesis("start", Some(node), &format!("{{\"pid\":{}}}", log::pid(node, 0)));
            self.nodes[node].patience = self.rng.between(300 * MS, 600 * MS);
            self.at(node as u64 + 1, Event::Tick(node, 0));
            self.at(5 * MS, Event::Ready(node, 0));
            let after = self.rng.between(6 * MS, 100 * MS);
            self.at(after, Event::Probe(node));
        }
        self.at(3_000 * MS, Event::Phase("main"));
        for client in 0..CLIENTS {
            let after = self.rng.between(3_001 * MS, 3_100 * MS);
            self.at(after, Event::Invoke(client));
        }
        for fault in 0..self.config.faults {
            self.faults.push(Scheduled { what: None, began: false, over: false });
            let after = self.rng.between(3_200 * MS, MAIN - 2_000 * MS);
            self.at(after, Event::Begin(fault as usize));
        }
        self.at(MAIN, Event::Phase("heal"));
    }

    fn step(&mut self, event: Event) {
        let at_node = match &event {
            Event::Tick(node, life) | Event::Late { node, life, .. } | Event::Deadline { node, life, .. } => {
                Some((*node, Some(*life)))
            }
            Event::Deliver { to, .. } => Some((*to, None)),
            Event::Arrive(call) => Some((self.calls[*call].node, None)),
            _ => None,
        };
        if let Some((node, life)) = at_node {
            let place = &mut self.nodes[node];
            let gone = !place.up || life.is_some_and(|life| life != place.life);
            if gone {
                if let Event::Arrive(call) = event {
                    self.close(call, "fail", None);
                }
                return;
            }
            if place.paused > 0 {
                place.inbox.push(event);
                return;
            }
        }
        match event {
            Event::Tick(node, _) => self.tick(node),
            Event::Deliver { from, to, msg } => self.receive(from, to, msg),
            Event::Late { node, key, entry, .. } => self.replicate_late(node, key, entry),
            Event::Deadline { node, job, .. } => self.give_up(node, job),
            Event::Invoke(client) => self.invoke(client),
            Event::Arrive(call) => self.arrive(call),
            Event::Reply(call, life, answer) => {
                let node = &self.nodes[self.calls[call].node];
                if node.up && node.life == life {
                    self.close(call, answer.kind, Some(answer));
                }
            }
            Event::Timeout(call) => {
                let kind = if self.mutates(call) { "info" } else { "fail" };
                self.close(call, kind, None);
            }
            Event::Probe(node) => self.probe(node),
            Event::Begin(fault) => self.begin_fault(fault),
            Event::Apply(fault) => self.apply_fault(fault),
            Event::Lift(fault) => self.lift_fault(fault),
            Event::End(fault) => self.end_fault(fault),
            Event::Exited(node, life) => self.exited(node, life),
            Event::Started(node, life) => self.started(node, life),
            Event::Ready(node, life) => {
                if self.nodes[node].up && self.nodes[node].life == life {
                    self.nemesis("ready", Some(node), "{}");
                }
            }
            Event::Phase(phase) => self.phase(phase),
            Event::Poll => self.poll(),
            Event::Done => {
                self.phase("done");
                self.done = true;
            }
        }
    }
}
