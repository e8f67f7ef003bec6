//! The smallest proof that a history is not linearizable.
//!
//! A set of operations is **proof** when the history stays illegal with every operation outside the set *relaxed*: its
//! result forgotten and its outcome unknown, so that it may have taken effect at any time after its invocation, or
//! never. It is **minimal** when relaxing any one of the set makes the history legal. Deleting operations instead would
//! prove nothing: a read whose write was deleted looks like a phantom.
//!
//! The engines say where to begin: two zones in conflict are proof by the operations at their four ends; where the search
//! got stuck, everything before that point is. [`prover`](super::prover) makes it minimal.

use super::prover::Prover;
use super::search::Stuck;
use super::steps::{Step, steps};
use super::timeline::told;
use super::zones::{Conflict, Setting, ends};
use super::{Failure, KeyVerdict, Options, setting};
use crate::history::calls::{Calls, OPEN, ValueId};
use crate::history::{Outcome, Value};

/// Longest state in a sentence, in characters.
const WIDEST_STATE: usize = 60;

/// Explains why a key is not linearizable. `order` lists its calls by invocation.
pub(super) fn explain(
    calls: &Calls,
    options: &Options,
    order: &[u32],
    key: Value,
    verdict: &KeyVerdict,
) -> Result<Failure, String> {
    let mut failure = match verdict {
        KeyVerdict::Conflict(conflict) => by_zones(calls, options, order, *conflict)?,
        KeyVerdict::Stuck(stuck) => {
            let stuck_at = calls.calls[stuck.call as usize].ret;
            let before: Vec<u32> =
                order.iter().copied().filter(|call| calls.calls[*call as usize].invoke < stuck_at).collect();
            let (proof, minimal) = if options.prove {
                Prover::new(calls, options, order)?.among(&before, stuck_at)
            } else {
                (before.clone(), false)
            };
            let last = match options.prove {
                true => steps(calls, options, order, &proof).and_then(|mut steps| steps.pop()),
                false => None,
            };
            let context = stuck.open.iter().copied().chain([stuck.call]).collect();
            let (story, states) = match last {
                Some(last) => (by_proof(calls, &last), last.states),
                None => by_history(calls, stuck, &proof),
            };
            Failure { key: Value::Nil, proof, minimal, context, states, story }
        }
        KeyVerdict::Legal | KeyVerdict::Unknown(_) => return Err("there is nothing to explain".into()),
    };
    failure.key = key;
    failure.proof.sort_unstable_by_key(|call| calls.calls[*call as usize].invoke);
    failure.context.extend(sources(calls, order, &failure.proof));
    failure.context.retain(|call| !failure.proof.contains(call));
    failure.context.sort_unstable();
    failure.context.dedup();
    Ok(failure)
}

/// Where the proof gets stuck, in the words and the states of its picture.
fn by_proof(calls: &Calls, last: &Step) -> String {
    format!(
        "{} has no place: when it completed the object could only be {}, whatever all other operations did",
        calls.describe(&calls.calls[last.call as usize]),
        told(&last.states, " or ", WIDEST_STATE),
    )
}

/// Where the whole history gets stuck, of a proof that is too large to tell what it leaves possible by itself; and the
/// states there. Where that operation is no part of the proof, what completes last of the proof.
fn by_history(calls: &Calls, stuck: &Stuck, proof: &[u32]) -> (String, Vec<String>) {
    if !proof.contains(&stuck.call) {
        let ret = |call: &u32| Some(calls.calls[*call as usize].ret).filter(|ret| *ret != OPEN);
        let last = proof.iter().copied().max_by_key(ret).unwrap_or(stuck.call);
        let story = format!(
            "{} has no place after the other {} operations of the proof, whatever all others did",
            calls.describe(&calls.calls[last as usize]),
            proof.len().saturating_sub(1)
        );
        return (story, Vec::new());
    }
    let others = stuck.open.iter().filter(|open| **open != stuck.call).count();
    let order = match others {
        0 => String::new(),
        1 => ", and no order of it and the one operation open beside it explains it".into(),
        count => format!(", and no order of it and the {count} operations open beside it explains it"),
    };
    let story = format!(
        "{} has no place: when it completed, everything before it left {} possible{order}",
        calls.describe(&calls.calls[stuck.call as usize]),
        match stuck.states.is_empty() {
            true => "nothing".into(),
            false => told(&stuck.states, " or ", WIDEST_STATE),
        },
    );
    (story, stuck.states.clone())
}

/// Where the values that a proof's operations saw came from: for each the first operation that carried it.
fn sources(calls: &Calls, order: &[u32], proof: &[u32]) -> Vec<u32> {
    let mut seen = std::collections::BTreeSet::new();
    for call in proof.iter().map(|call| &calls.calls[*call as usize]) {
        if call.output != ValueId::NIL && call.output != call.input {
            seen.insert(call.output);
        }
    }
    let mut first = |call: &&u32| {
        let call = &calls.calls[**call as usize];
        call.outcome != Outcome::Fail && seen.remove(&call.input)
    };
    order.iter().filter(|call| first(call)).copied().collect()
}

fn by_zones(calls: &Calls, options: &Options, order: &[u32], conflict: Conflict) -> Result<Failure, String> {
    let Some(setting) = setting(calls, options) else { return Err("zones need a register".into()) };
    let call = |index: u32| &calls.calls[index as usize];
    let would_write = |index: u32| setting.would_write(call(index));
    let failed_writes = |value: ValueId| {
        let failed =
            |index: &u32| call(*index).outcome == Outcome::Fail && would_write(*index) == Some(value);
        order.iter().copied().filter(failed).collect::<Vec<_>>()
    };
    let reading = |read: u32| format!("p{} read {}", call(read).process, name(calls, call(read).output));
    let (mut set, mut context, values) = match conflict {
        Conflict::Phantom { read } => {
            let value = call(read).output;
            (vec![read], failed_writes(value), vec![value])
        }
        Conflict::Foreseen { read, write } => (vec![read], vec![write], vec![call(read).output]),
        Conflict::Both(one, other) | Conflict::Within(other, one) => {
            let (first, first_write) = ends(calls, order, &setting, one);
            let (second, second_write) = ends(calls, order, &setting, other);
            let context = first_write.into_iter().chain(second_write).collect();
            ([first, second].concat(), context, vec![one, other])
        }
    };
    for value in &values {
        set.extend(failed_writes(*value));
        context.extend(failed_writes(*value));
    }
    let concerned =
        |index: &u32| set.contains(index) || would_write(*index).is_some_and(|value| values.contains(&value));
    let concerned: Vec<u32> = order.iter().copied().filter(concerned).collect();
    let (proof, minimal) = match options.prove {
        true => Prover::new(calls, options, &concerned)?.within(&set),
        false => (set, false),
    };
    let story = match conflict {
        Conflict::Phantom { read } => match proof.iter().find(|index| **index != read) {
            Some(failed) => {
                let process = call(*failed).process;
                format!("{}, which only p{process} had tried to write, and failed", reading(read))
            }
            None => format!("{}, which nobody had written", reading(read)),
        },
        Conflict::Foreseen { read, write } => {
            format!("{} before p{} began to write it", reading(read), call(write).process)
        }
        Conflict::Both(one, other) | Conflict::Within(other, one) => {
            Telling { calls, order, setting: &setting, proof: &proof }.of_two(one, other)
        }
    };
    Ok(Failure { key: Value::Nil, proof, minimal, context, states: Vec::new(), story })
}

/// Tells of two values in the words of a proof's own operations: what was left out of the proof is not what the
/// contradiction rests on. Only that a write had begun is known of one outside, too.
struct Telling<'a> {
    calls: &'a Calls,
    order: &'a [u32],
    setting: &'a Setting,
    proof: &'a [u32],
}

impl Telling<'_> {
    /// Neither value can have been the older one: the first was there before the second was, and after it.
    fn of_two(&self, one: ValueId, other: ValueId) -> String {
        let start = Some(one) == self.setting.initial;
        let told = self.returns(one, other, start).or_else(|| self.returns(other, one, false));
        told.unwrap_or_else(|| "two values had to be held at once".into())
    }

    /// How `one` was there before and after `other`; `start`: it was there from the beginning.
    fn returns(&self, one: ValueId, other: ValueId, start: bool) -> Option<String> {
        let before = match start {
            true => None,
            false => Some(self.earliest(one)?),
        };
        let between = self.earliest(other)?;
        let late = self.begun(one, self.ret(between))?;
        let after = match before {
            Some(before) => {
                let begun = self.begun(other, self.ret(before))?;
                format!("{} before {begun}", self.done(before))
            }
            None => format!("{} was there before everything else", name(self.calls, one)),
        };
        Some(format!("{late} after {}, yet {after}", self.done(between)))
    }

    fn ret(&self, index: u32) -> u32 {
        self.calls.calls[index as usize].ret
    }

    fn wrote(&self, index: u32) -> Option<ValueId> {
        self.setting.written(&self.calls.calls[index as usize])
    }

    /// Whether the operation says that the object held this.
    fn is_of(&self, index: u32, value: ValueId) -> bool {
        let call = &self.calls.calls[index as usize];
        self.wrote(index) == Some(value)
            || self.setting.reads(call) && call.outcome == Outcome::Ok && call.output == value
    }

    /// The operation of the proof by whose completion the value was there.
    fn earliest(&self, value: ValueId) -> Option<u32> {
        let completed = |index: &u32| {
            self.calls.calls[*index as usize].outcome == Outcome::Ok && self.is_of(*index, value)
        };
        self.proof.iter().copied().filter(completed).min_by_key(|index| self.ret(*index))
    }

    /// What was done with the value that began after `since`: by an operation of the proof, else by its write, of which no
    /// more than that is needed.
    fn begun(&self, value: ValueId, since: u32) -> Option<String> {
        let invoke = |index: u32| self.calls.calls[index as usize].invoke;
        let late = |index: &u32| self.is_of(*index, value) && invoke(*index) > since;
        if let Some(index) = self.proof.iter().copied().filter(late).max_by_key(|index| invoke(*index)) {
            let call = &self.calls.calls[index as usize];
            let said = if self.wrote(index).is_some() { "wrote" } else { "read" };
            return Some(format!("p{} {said} {}", call.process, name(self.calls, value)));
        }
        let write = self.order.iter().copied().find(|index| self.wrote(*index) == Some(value))?;
        let process = self.calls.calls[write as usize].process;
        (invoke(write) > since).then(|| format!("p{process} began to write {}", name(self.calls, value)))
    }

    fn done(&self, index: u32) -> String {
        let call = &self.calls.calls[index as usize];
        match self.wrote(index) {
            Some(value) => {
                format!("p{}'s write of {} was acknowledged", call.process, name(self.calls, value))
            }
            None => format!("p{} had read {}", call.process, name(self.calls, call.output)),
        }
    }
}

fn name(calls: &Calls, value: ValueId) -> String {
    match calls.values.get(value) {
        Value::Nil => "nil".into(),
        other => other.to_string(),
    }
}
