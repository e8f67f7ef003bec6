//! A lock.

use super::{Initial, Meaning, Model, Said, Spec};
use crate::history::Value;

/// `mutex`: free at first. As in Knossos it has no owner: any process may release it.
#[derive(Clone, Debug)]
pub struct Mutex;

/// An operation on a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MutexOp {
    /// It was free and is held from now on.
    Acquire,
    /// It was held and is free from now on.
    Release,
}

impl Mutex {
    /// # Errors
    /// A sentence, when an initial value is given: locks start free.
    pub fn new(initial: &Initial) -> Result<Self, String> {
        match initial {
            Initial::Default | Initial::Value(Value::Nil) => Ok(Mutex),
            _ => Err("the model `mutex` starts free and takes no initial value".into()),
        }
    }
}

impl Spec for Mutex {
    type State = bool;
    type Op = MutexOp;

    fn initial(&self) -> bool {
        false
    }

    fn step(&self, held: &bool, op: &MutexOp) -> Option<bool> {
        match op {
            MutexOp::Acquire => (!held).then_some(true),
            MutexOp::Release => held.then_some(false),
        }
    }

    fn only_reads(&self, _: &MutexOp) -> bool {
        false
    }

    fn leaves(&self, op: &MutexOp) -> Option<bool> {
        Some(*op == MutexOp::Acquire)
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<MutexOp>, String> {
        Ok(match said.f {
            "acquire" | "lock" => said.effect(MutexOp::Acquire),
            "release" | "unlock" => said.effect(MutexOp::Release),
            _ => return said.unknown(Model::Mutex, "acquire and release"),
        })
    }

    fn show(&self, held: &bool) -> String {
        if *held { "held".into() } else { "free".into() }
    }
}
