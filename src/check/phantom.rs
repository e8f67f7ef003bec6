//! Values that nobody wrote.
//!
//! Stores begin empty and values are unique, so whatever a node shows under a key was written to that key before. A
//! write of unknown outcome counts as written; one that certainly failed, or was only asked for later, does not.

use super::facts::{Facts, Sight, SightId, Witness, WriteId};
use super::tell::at;
use crate::history::{Outcome, Value};

/// So many writes of one value are looked at; a history with more does not have unique values, and shows nothing.
const MAX_WRITERS: usize = 64;

/// What is wrong with a value that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phantom {
    /// Nobody wrote it anywhere.
    Nobody,
    /// Nobody wrote it, and it looks like a default for a missing key.
    Default,
    /// It was written to another key.
    OtherKey(WriteId),
    /// Its write certainly failed.
    Failed(WriteId),
    /// It was asked for only after it was shown.
    Early(WriteId),
}

/// What is wrong with the value shown, if anything.
pub fn judge(facts: &Facts, sight: &Sight) -> Option<Phantom> {
    if sight.is_nil() {
        return None;
    }
    let writers = facts.writers(sight.value);
    if writers.len() > MAX_WRITERS {
        return None;
    }
    let mut guess = None;
    for &id in writers {
        let write = facts.write(id);
        if write.key != sight.key {
            guess = guess.or(Some(Phantom::OtherKey(id)));
        } else if write.op.invoked_ns > sight.answered_ns() {
            guess = Some(Phantom::Early(id));
        } else if write.op.outcome == Outcome::Fail {
            guess = Some(Phantom::Failed(id));
        } else {
            return None;
        }
    }
    Some(guess.unwrap_or(if looks_like_default(sight.value) { Phantom::Default } else { Phantom::Nobody }))
}

/// Whether a value may stand for none.
pub fn looks_like_default(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == 0.0,
        Value::Text(text) | Value::Json(text) => {
            matches!(
                text.to_ascii_lowercase().as_str(),
                "" | "0" | "null" | "nil" | "none" | "undefined" | "[]" | "{}"
            )
        }
    }
}

impl Phantom {
    /// The stable name of the violation.
    pub fn kind(self) -> &'static str {
        match self {
            Phantom::Failed(_) => "failed-write-visible",
            _ => "phantom-value",
        }
    }

    /// What happened.
    pub fn story(self, facts: &Facts, id: SightId) -> String {
        let shown = facts.tell_sight(id);
        let sight = facts.sight(id);
        let key = facts.key_name(sight.key);
        let value = sight.value;
        match self {
            Phantom::Nobody => format!("{shown}, but no client ever wrote {value} to any key."),
            Phantom::Default => {
                format!(
                    "{shown}, but no client ever wrote {value}: {key} should be missing, or hold a written value."
                )
            }
            Phantom::OtherKey(write) => {
                let other = facts.key_name(facts.write(write).key);
                format!(
                    "{shown}, but {value} was written to {other}, never to {key}: {}.",
                    facts.tell_write(write)
                )
            }
            Phantom::Failed(write) => {
                format!(
                    "{shown}, although that write was answered as certainly failed: {}.",
                    facts.tell_write(write)
                )
            }
            Phantom::Early(write) => {
                let asked = at(facts.write(write).op.invoked_ns);
                format!("{shown}, but {value} was first written to {key} at {asked}.")
            }
        }
    }

    /// Why, probably.
    pub fn cause(self, facts: &Facts, id: SightId) -> String {
        let node = facts.node_name(facts.sight(id).node);
        let value = facts.sight(id).value;
        match self {
            Phantom::Nobody => {
                format!("{node} makes values up, mangles them, or began with data of an earlier run.")
            }
            Phantom::Default => {
                format!("{node} answers a missing key with {value} instead of saying that there is none.")
            }
            Phantom::OtherKey(write) => {
                let (key, other) = (facts.sight(id).key, facts.write(write).key);
                format!("{} and {} share one place in the store.", facts.key_name(other), facts.key_name(key))
            }
            Phantom::Failed(_) => format!("{node} refuses a write and does it all the same."),
            Phantom::Early(_) => format!("{node} began with data of an earlier run."),
        }
    }

    /// The operations that prove it.
    pub fn proof(self, facts: &Facts, id: SightId) -> Vec<u64> {
        let mut ops = vec![facts.sight(id).op.index];
        match self {
            Phantom::OtherKey(write) | Phantom::Failed(write) | Phantom::Early(write) => {
                ops.push(facts.write(write).op.index);
            }
            Phantom::Nobody | Phantom::Default => {}
        }
        ops.sort_unstable();
        ops
    }

    /// The faults in force when it was shown.
    pub fn faults(self, facts: &Facts, id: SightId) -> Vec<String> {
        facts.faults_between(Witness::Sight(id), Witness::Sight(id))
    }
}
