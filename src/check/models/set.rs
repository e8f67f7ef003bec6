//! A set with add, remove and read.

use std::collections::BTreeSet;

use super::{Initial, Meaning, Model, Said, Spec, items, show};
use crate::history::{Outcome, Value};

/// `set`: empty at first. A read lists the elements in any order; listing one twice is no matter of linearizability.
#[derive(Clone, Debug)]
pub struct Set;

/// An operation on a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// It has this from now on.
    Add(Value),
    /// It does not have this from now on.
    Remove(Value),
    /// It is this.
    Read(BTreeSet<Value>),
}

impl Set {
    /// # Errors
    /// A sentence, when an initial value is given: sets start empty.
    pub fn new(initial: &Initial) -> Result<Self, String> {
        match initial {
            Initial::Default | Initial::Value(Value::Nil) => Ok(Set),
            _ => Err("the model `set` starts empty and takes no initial value".into()),
        }
    }
}

impl Spec for Set {
    type State = BTreeSet<Value>;
    type Op = SetOp;

    fn initial(&self) -> Self::State {
        BTreeSet::new()
    }

    fn step(&self, state: &Self::State, op: &SetOp) -> Option<Self::State> {
        match op {
            SetOp::Add(value) => {
                let mut next = state.clone();
                next.insert(value.clone());
                Some(next)
            }
            SetOp::Remove(value) => {
                let mut next = state.clone();
                next.remove(value);
                Some(next)
            }
            SetOp::Read(elements) => (state == elements).then(|| state.clone()),
        }
    }

    fn only_reads(&self, op: &SetOp) -> bool {
        matches!(op, SetOp::Read(_))
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<SetOp>, String> {
        Ok(match said.f {
            "add" => said.effect(SetOp::Add(said.input.clone())),
            "remove" => said.effect(SetOp::Remove(said.input.clone())),
            "read" if said.outcome != Outcome::Ok => Meaning::Nothing,
            "read" if said.output.is_nil() => Meaning::Must(SetOp::Read(BTreeSet::new())),
            "read" => match items(said.output) {
                Some(elements) => Meaning::Must(SetOp::Read(elements.into_iter().collect())),
                None => return said.bad_value("a list of elements", said.output),
            },
            _ => return said.unknown(Model::Set, "add, remove and read"),
        })
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        state.len() * 40
    }

    fn show(&self, state: &Self::State) -> String {
        let elements: Vec<String> = state.iter().map(show).collect();
        format!("{{{}}}", elements.join(" "))
    }
}
