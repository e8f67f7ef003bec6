//! Simulated stores that are no better than they say: sequential, causal, eventual. Each keeps its level by construction.
//!
//! - **Sequential**: one log of writes. Each session applies it in order, when it likes; a write is answered once its
//!   session has applied it, a read from what was applied (Attiya & Welch 1994). The order of the log, each read put where
//!   its session was, is the sequential order.
//! - **Causal**: replicas, each with its sessions. A write is stamped by its replica's Lamport clock and delivered to the
//!   others after everything it depends on; the highest stamp wins. Stamps grow along the causal order, so theirs is the
//!   order on which all agree: causal convergence.
//! - **Eventual**: the same, but delivered in any order. Where sessions stay at their replicas, versions there only grow, so
//!   that read-your-writes and monotonic-reads hold; where they roam, nothing does.

use crate::history::calls::{Call, Calls, OPEN, ValueId};
use crate::history::{Outcome, Value};
use crate::seed::Rng;

/// What a simulated store guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Sequential consistency.
    Sequential,
    /// Causal convergence.
    Causal,
    /// That replicas agree in the end; read-your-writes and monotonic reads if sessions stay where they are.
    Eventual,
    /// That replicas agree in the end.
    EventualRoaming,
}

/// What to simulate. The same description gives the same history on every platform.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The store.
    pub store: Store,
    /// How many operations, half of them reads. Each write has its own value.
    pub operations: usize,
    /// How many clients.
    pub sessions: u32,
    /// How many registers.
    pub keys: u32,
    /// How many of 100 writes have an unknown outcome; half of them happened.
    pub unknown_percent: u64,
    /// The seed.
    pub seed: u64,
}

/// About twice as many writes are on their way to each replica as a rule.
const UNDER_WAY: u64 = 12;

/// A version: its stamp, and the replica it is from.
type Stamp = (u64, usize);

#[derive(Clone)]
struct Message {
    key: usize,
    stamp: Stamp,
    value: ValueId,
    /// How many writes of each replica it comes after, its own included.
    after: Vec<u32>,
}

#[derive(Clone, Default)]
struct Replica {
    held: Vec<(Stamp, ValueId)>,
    clock: u64,
    /// How many writes of each replica it has.
    has: Vec<u32>,
    inbox: Vec<Message>,
}

impl Replica {
    fn apply(&mut self, message: &Message) {
        self.clock = self.clock.max(message.stamp.0);
        self.has[message.stamp.1] += 1;
        let held = &mut self.held[message.key];
        if message.stamp > held.0 {
            *held = (message.stamp, message.value);
        }
    }

    /// Whether everything the message depends on is there.
    fn ready(&self, message: &Message) -> bool {
        let from = message.stamp.1;
        (0..self.has.len()).all(|replica| match replica == from {
            true => message.after[replica] == self.has[replica] + 1,
            false => message.after[replica] <= self.has[replica],
        })
    }
}

/// What a client is doing.
#[derive(Clone, Copy)]
struct Client {
    process: u32,
    /// Its call, and whether that took effect.
    open: Option<(u32, bool)>,
    /// Its replica; of a sequential store each has its own.
    replica: usize,
    /// How much of the log it has applied.
    applied: usize,
}

struct Simulation<'a> {
    wanted: &'a Simulated,
    rng: Rng,
    calls: Calls,
    clients: Vec<Client>,
    replicas: Vec<Replica>,
    log: Vec<(usize, ValueId)>,
    next_process: u32,
    next_value: i64,
    position: u32,
    read: u16,
    write: u16,
}

/// Simulates a store and its clients.
pub fn simulate(wanted: &Simulated) -> Calls {
    let mut calls = Calls::new();
    for key in 1..=wanted.keys {
        calls.text_key(&format!("k{key}"));
    }
    let (read, write) = (calls.function("read"), calls.function("write"));
    let sessions = wanted.sessions.max(1) as usize;
    let count = if wanted.store == Store::Sequential { sessions } else { sessions.min(4) };
    let replica = Replica {
        held: vec![((0, 0), ValueId::NIL); wanted.keys as usize + 1],
        clock: 0,
        has: vec![0; count],
        inbox: Vec::new(),
    };
    let client = |at: usize| Client { process: at as u32, open: None, replica: at % count, applied: 0 };
    let mut simulation = Simulation {
        wanted,
        rng: Rng::new(wanted.seed, "stores"),
        calls,
        clients: (0..sessions).map(client).collect(),
        replicas: vec![replica; count],
        log: Vec::new(),
        next_process: sessions as u32,
        next_value: 1,
        position: 0,
        read,
        write,
    };
    simulation.run();
    simulation.calls
}

impl Simulation<'_> {
    fn run(&mut self) {
        while self.calls.calls.len() < self.wanted.operations
            || self.clients.iter().any(|client| client.open.is_some())
        {
            let at = self.rng.below(self.clients.len() as u64) as usize;
            match self.clients[at].open {
                None if self.calls.calls.len() < self.wanted.operations => self.ask(at),
                None => {}
                Some((call, false)) => self.act(at, call),
                Some((call, true)) => self.answer(at, call),
            }
            let replica = self.rng.below(self.replicas.len() as u64) as usize;
            self.deliver(replica);
        }
    }

    fn tick(&mut self) -> u32 {
        self.position += 1;
        self.position - 1
    }

    fn ask(&mut self, at: usize) {
        let key = 1 + self.rng.below(u64::from(self.wanted.keys)) as u32;
        let reads = self.rng.below(2) == 0;
        let input = if reads {
            ValueId::NIL
        } else {
            self.next_value += 1;
            self.calls.values.intern(Value::int(self.next_value - 1))
        };
        let call = Call {
            process: self.clients[at].process,
            key,
            input,
            output: ValueId::NIL,
            invoke: self.tick(),
            ret: OPEN,
            f: if reads { self.read } else { self.write },
            outcome: Outcome::Info,
        };
        self.clients[at].open = Some((self.calls.calls.len() as u32, false));
        if self.wanted.store == Store::EventualRoaming {
            self.clients[at].replica = self.rng.below(self.replicas.len() as u64) as usize;
        }
        self.calls.calls.push(call);
    }

    /// The moment an operation takes effect, or is lost.
    fn act(&mut self, at: usize, index: u32) {
        let call = self.calls.calls[index as usize];
        self.clients[at].open = Some((index, true));
        if call.f == self.read {
            let held = match self.wanted.store {
                Store::Sequential => self.read_log(at, call.key as usize),
                _ => self.replicas[self.clients[at].replica].held[call.key as usize].1,
            };
            self.calls.calls[index as usize].output = held;
            return;
        }
        let unknown = self.rng.below(100) < self.wanted.unknown_percent;
        if !(unknown && self.rng.below(2) == 0) {
            match self.wanted.store {
                Store::Sequential => self.log.push((call.key as usize, call.input)),
                _ => self.stamp(self.clients[at].replica, call.key as usize, call.input),
            }
        }
        if unknown {
            self.clients[at].open = None;
            self.clients[at].process = self.next_process;
            self.next_process += 1;
        } else if self.wanted.store == Store::Sequential {
            self.catch_up(at, self.log.len());
        }
    }

    fn answer(&mut self, at: usize, index: u32) {
        let position = self.tick();
        let call = &mut self.calls.calls[index as usize];
        call.ret = position;
        call.outcome = Outcome::Ok;
        if call.f == self.write {
            call.output = call.input;
        }
        self.clients[at].open = None;
    }

    fn read_log(&mut self, at: usize, key: usize) -> ValueId {
        let behind = (self.log.len() - self.clients[at].applied) as u64;
        let to = self.clients[at].applied + self.rng.between(0, behind.min(8)) as usize;
        self.catch_up(at, to);
        self.replicas[self.clients[at].replica].held[key].1
    }

    fn catch_up(&mut self, at: usize, to: usize) {
        let client = &mut self.clients[at];
        for (key, value) in &self.log[client.applied..to] {
            self.replicas[client.replica].held[*key].1 = *value;
        }
        client.applied = to;
    }

    fn stamp(&mut self, from: usize, key: usize, value: ValueId) {
        let replica = &mut self.replicas[from];
        let mut after = replica.has.clone();
        after[from] += 1;
        let message = Message { key, stamp: (replica.clock + 1, from), value, after };
        replica.apply(&message);
        for (to, other) in self.replicas.iter_mut().enumerate() {
            if to != from {
                other.inbox.push(message.clone());
            }
        }
    }

    fn deliver(&mut self, to: usize) {
        let waiting = self.replicas[to].inbox.len() as u64;
        // A few are always under way, so that replicas differ.
        if waiting <= self.rng.below(UNDER_WAY) {
            return;
        }
        let at = self.rng.below(waiting) as usize;
        let causal = self.wanted.store == Store::Causal;
        // The oldest that is ready, from a random place on: what waits for others does not hold them up.
        let replica = &self.replicas[to];
        let order = (at..replica.inbox.len()).chain(0..at);
        let found = order.take(64).find(|at| !causal || replica.ready(&replica.inbox[*at]));
        let found = found.or_else(|| (0..replica.inbox.len()).find(|at| replica.ready(&replica.inbox[*at])));
        if let Some(found) = found {
            let message = self.replicas[to].inbox.remove(found);
            self.replicas[to].apply(&message);
        }
    }
}
