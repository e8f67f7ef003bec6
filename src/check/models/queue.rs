//! First in, first out.

use super::{Initial, Meaning, Model, Said, Spec, show};
use crate::history::{Outcome, Value};

/// `queue`: empty at first. A completed dequeue of `nil` found it empty; a failed one says nothing; one of unknown
/// outcome may have taken whatever was first.
#[derive(Clone, Debug)]
pub struct Queue;

/// An operation on a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueueOp {
    /// This is last from now on.
    Enqueue(Value),
    /// This was first and is gone.
    Dequeue(Value),
    /// It is empty.
    Empty,
    /// Whatever was first is gone.
    DequeueAny,
}

impl Queue {
    /// # Errors
    /// A sentence, when an initial value is given: queues start empty.
    pub fn new(initial: &Initial) -> Result<Self, String> {
        match initial {
            Initial::Default | Initial::Value(Value::Nil) => Ok(Queue),
            _ => Err("the model `queue` starts empty and takes no initial value".into()),
        }
    }
}

impl Spec for Queue {
    type State = Vec<Value>;
    type Op = QueueOp;

    fn initial(&self) -> Vec<Value> {
        Vec::new()
    }

    fn step(&self, state: &Vec<Value>, op: &QueueOp) -> Option<Vec<Value>> {
        match op {
            QueueOp::Enqueue(value) => {
                let mut next = state.clone();
                next.push(value.clone());
                Some(next)
            }
            QueueOp::Dequeue(value) => (state.first() == Some(value)).then(|| state[1..].to_vec()),
            QueueOp::Empty => state.is_empty().then(Vec::new),
            QueueOp::DequeueAny => Some(state.get(1..).map_or_else(Vec::new, <[Value]>::to_vec)),
        }
    }

    fn only_reads(&self, op: &QueueOp) -> bool {
        matches!(op, QueueOp::Empty)
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<QueueOp>, String> {
        Ok(match said.f {
            "enqueue" => said.effect(QueueOp::Enqueue(said.input.clone())),
            "dequeue" => match said.outcome {
                Outcome::Ok if said.output.is_nil() => Meaning::Must(QueueOp::Empty),
                Outcome::Ok => Meaning::Must(QueueOp::Dequeue(said.output.clone())),
                Outcome::Info => Meaning::May(QueueOp::DequeueAny),
                Outcome::Fail => Meaning::Nothing,
            },
            _ => return said.unknown(Model::Queue, "enqueue and dequeue"),
        })
    }

    fn heap_bytes(&self, state: &Vec<Value>) -> usize {
        state.len() * size_of::<Value>()
    }

    fn show(&self, state: &Vec<Value>) -> String {
        let elements: Vec<String> = state.iter().map(show).collect();
        format!("[{}]", elements.join(" "))
    }
}
