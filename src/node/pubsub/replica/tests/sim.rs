//! A cluster in one thread: messages that are late, lost, doubled and overtaken, cut links, crashes that lose what was not
//! synced, pauses, slow disks, clocks that differ. The same seed gives the same run.

use std::collections::{BTreeMap, HashMap};

use super::watch::{Broken, Watch};
use crate::node::kept::Logged as _;
use crate::node::pubsub::bug::Bug;
use crate::node::pubsub::entry::Now;
use crate::node::pubsub::replica::{Answer, Replica, Setup, disk::Record};
use crate::node::pubsub::rpc::{Outcome, Rpc};
use crate::seed::Rng;

/// Microseconds a millisecond.
const MS: u64 = 1000;
/// How long faults go on, µs.
const STORM: u64 = 8_000 * MS;
/// After the last fault a message is acknowledged within so long, µs: what the node promises.
const LIVE_WITHIN: u64 = 5_000 * MS;
const TICK: u64 = 20 * MS;
pub const TOPICS: [&str; 2] = ["a", "b"];

enum Event {
    Tick(usize),
    Deliver { from: usize, to: usize, rpc: Rpc },
    Written { node: usize, boot: u64 },
    Fault,
    Publish,
}

pub struct Node {
    pub replica: Option<Replica>,
    disk: Vec<Record>,
    writing: Option<(Record, u64)>,
    boot: u64,
    skew_ms: u64,
    paused_until: u64,
    slept: u64,
}

/// What one question was about.
enum Question {
    Publish(String),
    /// So many acknowledged messages the answer has to show.
    Read(usize),
}

pub struct Sim {
    rng: Rng,
    pub now: u64,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    pub nodes: Vec<Node>,
    members: Vec<String>,
    bug: Option<Bug>,
    keep_entries: usize,
    cut: Vec<Vec<bool>>,
    held: Vec<(usize, usize, Rpc)>,
    holds: bool,
    loss_percent: u64,
    twice_percent: u64,
    delay_us: u64,
    disk_us: u64,
    storm: bool,
    questions: HashMap<(usize, u64), Question>,
    ticket: u64,
    ids: u64,
    pub watch: Watch,
}

impl Sim {
    pub fn new(seed: u64, bug: Option<Bug>) -> Sim {
        let mut rng = Rng::new(seed, "pubsub");
        let count = *rng.pick(&[3, 3, 3, 5, 1]).unwrap();
        let members: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
        let node = |rng: &mut Rng| Node {
            replica: None,
            disk: Vec::new(),
            writing: None,
            boot: 0,
            skew_ms: rng.below(100),
            paused_until: 0,
            slept: 0,
        };
        let mut sim = Sim {
            nodes: (0..count).map(|_| node(&mut rng)).collect(),
            cut: vec![vec![false; count]; count],
            holds: rng.below(2) == 0,
            loss_percent: *rng.pick(&[0, 0, 2, 10]).unwrap(),
            twice_percent: *rng.pick(&[0, 5]).unwrap(),
            delay_us: *rng.pick(&[500, 5_000, 40_000]).unwrap(),
            disk_us: *rng.pick(&[100, 2_000, 20_000]).unwrap(),
            keep_entries: *rng.pick(&[5, 20, 4_000]).unwrap(),
            watch: Watch::new(count),
            rng,
            now: 1_000_000 * MS,
            events: BTreeMap::new(),
            numbered: 0,
            members,
            bug,
            held: Vec::new(),
            storm: true,
            questions: HashMap::new(),
            ticket: 0,
            ids: 0,
        };
        for node in 0..count {
            sim.start(node);
            let phase = sim.rng.below(TICK);
            sim.at(phase, Event::Tick(node));
        }
        sim.at(500 * MS, Event::Fault);
        sim.at(100 * MS, Event::Publish);
        sim
    }

    /// A storm, then quiet; what was broken on the way.
    pub fn run(seed: u64, bug: Option<Bug>) -> Result<Watch, Broken> {
        let mut sim = Sim::new(seed, bug);
        let end = sim.now + STORM;
        sim.until(end)?;
        sim.heal();
        sim.storm = false;
        let healed = sim.now;
        let acked = sim.watch.acked.len();
        sim.until(healed + LIVE_WITHIN)?;
        if sim.watch.acked.len() == acked {
            return Err(Broken::NotLive);
        }
        sim.events.retain(|_, event| !matches!(event, Event::Publish));
        sim.until(healed + 2 * LIVE_WITHIN)?;
        sim.watch.at_rest(&sim.nodes)?;
        Ok(sim.watch)
    }

    fn until(&mut self, end: u64) -> Result<(), Broken> {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 < end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happens(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn at(&mut self, after: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((self.now + after, self.numbered), event);
    }

    fn clock(&self, node: usize) -> Now {
        let node = &self.nodes[node];
        let wall_ms = self.now / MS + node.skew_ms;
        Now { awake_ms: (self.now - node.slept) / MS, wall_ms, corrected_ms: wall_ms }
    }

    fn start(&mut self, at: usize) {
        let setup = Setup {
            members: self.members.clone(),
            me: at,
            bug: self.bug,
            keep_entries: self.keep_entries,
            seed: self.rng.bits(),
        };
        let now = self.clock(at);
        let node = &mut self.nodes[at];
        node.replica = Some(Replica::recover(setup, node.disk.clone(), now));
        node.boot += 1;
        self.watch.restarted(at);
    }

    fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.replica = None;
        if let Some((record, _)) = node.writing.take()
            && self.rng.below(2) == 0
        {
            node.disk.push(record);
        }
        // What it was asked is never answered: it may have happened.
        self.questions.retain(|(node, _), _| *node != at);
    }

    fn happens(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Fault => {
                if self.storm {
                    self.fault();
                    let pause = self.rng.between(50, 900) * MS;
                    self.at(pause, Event::Fault);
                }
                Ok(())
            }
            Event::Publish => {
                let pause = self.rng.between(2, 60) * MS;
                self.at(pause, Event::Publish);
                self.ask()
            }
            Event::Tick(node) => {
                self.at(TICK, Event::Tick(node));
                self.act(node, |replica, now| replica.tick(now))
            }
            Event::Deliver { from, to, rpc } => {
                if self.nodes[to].paused_until > self.now {
                    let wait = self.nodes[to].paused_until - self.now;
                    self.at(wait, Event::Deliver { from, to, rpc });
                    return Ok(());
                }
                self.act(to, |replica, now| replica.step(from, rpc, now))
            }
            Event::Written { node, boot } => {
                if self.nodes[node].boot != boot {
                    return Ok(());
                }
                let Some((record, seq)) = self.nodes[node].writing.take() else { return Ok(()) };
                self.nodes[node].disk.push(record);
                self.act(node, |replica, now| replica.on_disk(seq, now))?;
                if self.rng.below(100) == 0 && self.nodes[node].writing.is_none() {
                    let held = &mut self.nodes[node];
                    let Some(replica) = &mut held.replica else { return Ok(()) };
                    held.disk = vec![replica.whole()];
                    let seq = replica.seq();
                    replica.take_pending();
                    self.act(node, |replica, now| replica.on_disk(seq, now))?;
                }
                Ok(())
            }
        }
    }

    /// Something happens at a node, and what comes of it leaves.
    fn act(&mut self, at: usize, act: impl FnOnce(&mut Replica, Now)) -> Result<(), Broken> {
        if self.nodes[at].paused_until > self.now {
            return Ok(());
        }
        let now = self.clock(at);
        let node = &mut self.nodes[at];
        let Some(replica) = &mut node.replica else { return Ok(()) };
        act(replica, now);
        let outputs = replica.take_outputs();
        if node.writing.is_none() {
            node.writing = replica.take_pending().map(|record| (record, replica.seq()));
            if node.writing.is_some() {
                let boot = node.boot;
                let slow = if self.rng.below(50) == 0 { 10 } else { 1 };
                let wait = 50 + self.rng.below(self.disk_us * slow);
                self.at(wait, Event::Written { node: at, boot });
            }
        }
        for (to, rpc) in outputs.send {
            self.transmit(at, to, rpc);
        }
        for (ticket, answer) in outputs.answers {
            self.answered(at, ticket, answer)?;
        }
        self.watch.look(at, &self.nodes)
    }

    fn transmit(&mut self, from: usize, to: usize, rpc: Rpc) {
        if self.cut[from][to] {
            if self.holds {
                self.held.push((from, to, rpc));
            }
            return;
        }
        if self.storm && self.rng.below(100) < self.loss_percent {
            return;
        }
        // TCP loses the rest of a stream at worst; it doubles nothing. What only Raft's own messages stand is not asked of
        // those that clients wait for.
        let idempotent = !matches!(rpc, Rpc::Forward { .. });
        if idempotent && self.rng.below(100) < self.twice_percent {
            let wait = self.rng.below(self.delay_us * 4);
            self.at(wait, Event::Deliver { from, to, rpc: rpc.clone() });
        }
        let wait = 20 + self.rng.below(self.delay_us);
        self.at(wait, Event::Deliver { from, to, rpc });
    }

    fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        for (from, to, rpc) in std::mem::take(&mut self.held) {
            let wait = self.rng.below(self.delay_us);
            self.at(wait, Event::Deliver { from, to, rpc });
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].replica.is_none() {
                self.start(at);
            }
        }
    }

    fn fault(&mut self) {
        let count = self.nodes.len();
        let victim = self.rng.below(count as u64) as usize;
        let leader = (0..count)
            .find(|at| self.nodes[*at].replica.as_ref().is_some_and(|replica| replica.role() == "leader"));
        match self.rng.below(11) {
            0 => self.crash(victim),
            1 => self.crash(leader.unwrap_or(victim)),
            2 if self.rng.below(2) == 0 => (0..count).for_each(|at| self.crash(at)),
            // The followers come back before the leader.
            2 => {
                (0..count).for_each(|at| self.crash(at));
                (0..count).filter(|at| Some(*at) != leader).for_each(|at| self.start(at));
            }
            3 | 4 => {
                if self.nodes[victim].replica.is_none() {
                    self.start(victim);
                }
            }
            5 => self.isolate(leader.unwrap_or(victim)),
            6 => self.isolate(victim),
            7 => {
                let other = self.rng.below(count as u64) as usize;
                self.cut[victim][other] = true;
            }
            8 => {
                let pause = self.rng.between(10, 2_000) * MS;
                let node = &mut self.nodes[leader.unwrap_or(victim)];
                if node.paused_until <= self.now {
                    node.paused_until = self.now + pause;
                    node.slept += pause;
                }
            }
            _ => self.heal(),
        }
    }

    fn isolate(&mut self, victim: usize) {
        for other in 0..self.nodes.len() {
            self.cut[victim][other] = true;
            self.cut[other][victim] = true;
        }
    }

    /// A client publishes something new, or something old again, or reads.
    fn ask(&mut self) -> Result<(), Broken> {
        let at = self.rng.below(self.nodes.len() as u64) as usize;
        if self.nodes[at].replica.is_none() {
            return Ok(());
        }
        self.ticket += 1;
        let ticket = self.ticket;
        if self.rng.below(6) == 0 {
            self.questions.insert((at, ticket), Question::Read(self.watch.acked.len()));
            return self.act(at, |replica, now| replica.read(ticket, now));
        }
        if self.ids == 0 || self.rng.below(5) != 0 {
            self.ids += 1;
        }
        let id = if self.rng.below(5) == 0 { 1 + self.rng.below(self.ids) } else { self.ids };
        let topic = TOPICS[(id % 2) as usize].to_owned();
        let (id, text) = (format!("m{id}"), format!("text of {id}"));
        // A paused node takes it in when it wakes; that it is lost is as good here.
        if self.nodes[at].paused_until > self.now {
            return Ok(());
        }
        self.questions.insert((at, ticket), Question::Publish(id.clone()));
        self.watch.asked(&id);
        self.act(at, |replica, now| replica.publish(ticket, topic, id, text, now))
    }

    fn answered(&mut self, at: usize, ticket: u64, answer: Answer) -> Result<(), Broken> {
        match (self.questions.remove(&(at, ticket)), answer) {
            (Some(Question::Publish(id)), Answer::Publish { outcome, .. }) => match outcome {
                Outcome::Published | Outcome::Duplicate => self.watch.acknowledged(id),
                Outcome::NotLeader | Outcome::Busy | Outcome::Replaced => self.watch.refused(&id),
            },
            (Some(Question::Read(shows)), Answer::Read { confirmed: true }) => {
                if let Some(replica) = &self.nodes[at].replica {
                    return self.watch.read(replica, shows);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
