//! Histories by construction, for tests and benchmarks: a simulated register that *is* linearizable, since each operation
//! takes effect at one moment between its invocation and its completion; and, if asked for, one stale read. Weaker stores
//! are [simulated](simulate) too, and there are more [anomalies](inject) to put into their histories.

mod anomalies;
mod stores;

pub use anomalies::{Anomaly, inject};
pub use stores::{Simulated, Store, simulate};

use crate::history::calls::{Call, Calls, OPEN, ValueId};
use crate::history::{Outcome, Value};
use crate::seed::Rng;

/// What to generate. The same description gives the same history on every platform.
#[derive(Clone, Debug)]
pub struct Description {
    /// How many operations.
    pub operations: usize,
    /// How many clients: so many operations are open at once at most, those of unknown outcome aside.
    pub clients: u32,
    /// How many registers.
    pub keys: u32,
    /// How many of 100 writes have an unknown outcome; half of them happened.
    pub unknown_percent: u64,
    /// How many values there are to write; `None`: each write has its own.
    pub values: Option<u64>,
    /// How many of 100 operations are compare-and-sets (only with few values).
    pub cas_percent: u64,
    /// Whether one read is made stale.
    pub stale: bool,
    /// The seed.
    pub seed: u64,
}

impl Description {
    /// One register, distinct values, half reads, no unknown outcomes.
    pub fn register(operations: usize, clients: u32, seed: u64) -> Self {
        Description {
            operations,
            clients,
            keys: 1,
            unknown_percent: 0,
            values: None,
            cas_percent: 0,
            stale: false,
            seed,
        }
    }
}

/// Where a client is with its operation.
#[derive(Clone, Copy)]
enum Stage {
    Idle,
    /// Asked, not yet done.
    Asked(u32),
    /// Done, not yet answered.
    Done(u32),
}

/// Generates a history.
pub fn generate(description: &Description) -> Calls {
    Simulation::new(description).run()
}

struct Simulation<'a> {
    description: &'a Description,
    rng: Rng,
    calls: Calls,
    /// What each register holds.
    held: Vec<ValueId>,
    clients: Vec<(Stage, u32)>,
    next_process: u32,
    next_value: i64,
    position: u32,
    functions: [u16; 3],
}

impl<'a> Simulation<'a> {
    fn new(description: &'a Description) -> Self {
        let mut calls = Calls::new();
        calls.calls.reserve_exact(description.operations);
        for key in 1..=description.keys {
            calls.text_key(&format!("k{key}"));
        }
        let functions = ["read", "write", "cas"].map(|f| calls.function(f));
        Simulation {
            rng: Rng::new(description.seed, "generate"),
            calls,
            held: vec![ValueId::NIL; description.keys as usize + 1],
            clients: (0..description.clients).map(|process| (Stage::Idle, process)).collect(),
            next_process: description.clients,
            next_value: 1,
            position: 0,
            functions,
            description,
        }
    }

    fn run(mut self) -> Calls {
        let mut open = 0;
        while self.calls.calls.len() < self.description.operations || open > 0 {
            let client = self.rng.below(self.clients.len() as u64) as usize;
            match self.clients[client].0 {
                Stage::Idle if self.calls.calls.len() == self.description.operations => {}
                Stage::Idle => {
                    let call = self.ask(self.clients[client].1);
                    self.clients[client].0 = Stage::Asked(call);
                    open += 1;
                }
                Stage::Asked(call) => self.clients[client].0 = self.act(call, client, &mut open),
                Stage::Done(call) => {
                    self.answer(call);
                    self.clients[client].0 = Stage::Idle;
                    open -= 1;
                }
            }
        }
        if self.description.stale {
            self.make_stale();
        }
        self.calls
    }

    fn tick(&mut self) -> u32 {
        self.position += 1;
        self.position - 1
    }

    fn value(&mut self) -> i64 {
        match self.description.values {
            Some(count) => 1 + self.rng.below(count) as i64,
            None => {
                self.next_value += 1;
                self.next_value - 1
            }
        }
    }

    fn ask(&mut self, process: u32) -> u32 {
        let key = 1 + self.rng.below(u64::from(self.description.keys)) as u32;
        let [read, write, cas] = self.functions;
        let (f, input) = match self.rng.below(100) {
            draw if draw < self.description.cas_percent => {
                let pair = Value::Json(format!("[{},{}]", self.value(), self.value()).into());
                (cas, self.calls.values.intern(pair))
            }
            draw if draw % 2 == 0 => (read, ValueId::NIL),
            _ => {
                let value = self.value();
                (write, self.calls.values.intern(Value::int(value)))
            }
        };
        let invoke = self.tick();
        let call =
            Call { process, key, input, output: ValueId::NIL, invoke, ret: OPEN, f, outcome: Outcome::Info };
        self.calls.calls.push(call);
        self.calls.calls.len() as u32 - 1
    }

    /// The moment an operation takes effect, or is lost.
    fn act(&mut self, index: u32, client: usize, open: &mut u32) -> Stage {
        let call = &mut self.calls.calls[index as usize];
        let held = &mut self.held[call.key as usize];
        let [read, write, _] = self.functions;
        if call.f == read {
            call.output = *held;
            return Stage::Done(index);
        }
        let lost = self.rng.below(100) < self.description.unknown_percent;
        if !(lost && self.rng.below(2) == 0) {
            if call.f == write {
                *held = call.input;
            } else {
                let pair = self.calls.values.get(call.input).to_json();
                if self.calls.values.get(*held).to_json() == pair[0] {
                    *held = self.calls.values.intern(Value::from_json(&pair[1]));
                } else {
                    call.outcome = Outcome::Fail;
                }
            }
        }
        if lost {
            self.calls.calls[index as usize].outcome = Outcome::Info;
            self.clients[client].1 = self.next_process;
            self.next_process += 1;
            *open -= 1;
            return Stage::Idle;
        }
        Stage::Done(index)
    }

    fn answer(&mut self, index: u32) {
        let position = self.tick();
        let call = &mut self.calls.calls[index as usize];
        call.ret = position;
        if call.outcome != Outcome::Fail {
            call.outcome = Outcome::Ok;
            if call.f != self.functions[0] {
                call.output = call.input;
            }
        }
    }

    /// Lets a read in the last quarter answer what was certainly overwritten before it began.
    fn make_stale(&mut self) {
        let from = self.calls.calls.len() * 3 / 4;
        let read = self.functions[0];
        for index in from..self.calls.calls.len() {
            let call = self.calls.calls[index];
            if call.f == read
                && call.outcome == Outcome::Ok
                && let Some(value) = self.overwritten_before(index)
            {
                self.calls.calls[index].output = value;
                return;
            }
        }
    }

    /// A value that was acknowledged, then overwritten by another acknowledged write, before this call began.
    fn overwritten_before(&self, index: usize) -> Option<ValueId> {
        let call = &self.calls.calls[index];
        let writes = |before: u32| {
            self.calls.calls[..index].iter().rev().filter(move |other| {
                other.key == call.key
                    && other.f == self.functions[1]
                    && other.outcome == Outcome::Ok
                    && other.ret < before
            })
        };
        let newer = writes(call.invoke).next()?;
        writes(newer.invoke).find(|older| older.input != newer.input).map(|older| older.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_there() {
        let description =
            Description { keys: 3, unknown_percent: 10, stale: true, ..Description::register(5_000, 8, 1) };
        let calls = generate(&description);
        assert_eq!(calls.calls.len(), 5_000);
        let unknown = calls.calls.iter().filter(|call| call.outcome == Outcome::Info).count();
        assert!((150..350).contains(&unknown), "{unknown}");
        assert!(calls.calls.windows(2).all(|pair| pair[0].invoke < pair[1].invoke));
        assert_eq!(generate(&description).calls, calls.calls);
        let valid = generate(&Description { stale: false, ..description });
        let different = valid.calls.iter().zip(&calls.calls).filter(|(left, right)| left != right).count();
        assert_eq!(different, 1);
    }
}
