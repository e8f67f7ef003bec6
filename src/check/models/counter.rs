//! A number with add and read.

use super::{Initial, Meaning, Model, Said, Spec};
use crate::history::{Number, Value};

/// `counter`: `add` a number (`increment` and `decrement` by one unless they carry a number), `read` the sum.
#[derive(Clone, Debug)]
pub struct Counter {
    initial: i128,
}

/// An operation on a counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// It is larger by this from now on.
    Add(i128),
    /// It is this.
    Read(i128),
}

impl Counter {
    /// # Errors
    /// A sentence, when `initial` is no whole number.
    pub fn new(initial: &Initial) -> Result<Self, String> {
        match initial {
            Initial::Default | Initial::Value(Value::Nil) => Ok(Counter { initial: 0 }),
            Initial::Value(value) => match whole(value) {
                Some(initial) => Ok(Counter { initial }),
                None => Err(format!("a counter starts with a whole number, found {value}")),
            },
            Initial::Registers(_) => Err("the model `counter` has one initial number".into()),
        }
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(Number::Int(int)) => Some(i128::from(*int)),
        _ => None,
    }
}

impl Spec for Counter {
    // Wide enough for the sum of every 64-bit number a history can hold.
    type State = i128;
    type Op = CounterOp;

    fn initial(&self) -> i128 {
        self.initial
    }

    fn step(&self, state: &i128, op: &CounterOp) -> Option<i128> {
        match op {
            CounterOp::Add(by) => Some(state + by),
            CounterOp::Read(value) => (state == value).then_some(*state),
        }
    }

    fn only_reads(&self, op: &CounterOp) -> bool {
        matches!(op, CounterOp::Read(_) | CounterOp::Add(0))
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<CounterOp>, String> {
        let by = |value: &Value| if value.is_nil() { Some(1) } else { whole(value) };
        Ok(match said.f {
            "read" | "get" if said.outcome != crate::history::Outcome::Ok => Meaning::Nothing,
            "read" | "get" => match whole(said.output) {
                Some(value) => said.observation(CounterOp::Read(value)),
                None => return said.bad_value("a whole number", said.output),
            },
            "add" | "increment" | "inc" | "decrement" | "dec" => match by(said.input) {
                Some(by) if said.f.starts_with("dec") => said.effect(CounterOp::Add(-by)),
                Some(by) => said.effect(CounterOp::Add(by)),
                None => return said.bad_value("a whole number", said.input),
            },
            _ => return said.unknown(Model::Counter, "add, increment, decrement and read"),
        })
    }

    fn show(&self, state: &i128) -> String {
        state.to_string()
    }
}
