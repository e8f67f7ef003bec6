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
use super::zones::{Conflict, ends};
use super::{Failure, KeyVerdict, Options, setting};
use crate::history::calls::{Calls, ValueId};
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
                None => (by_history(calls, stuck), stuck.states.clone()),
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

/// Where the whole history gets stuck, of a proof that is too large to tell what it leaves possible by itself.
fn by_history(calls: &Calls, stuck: &Stuck) -> String {
    let others = stuck.open.iter().filter(|open| **open != stuck.call).count();
    let order = match others {
        0 => String::new(),
        1 => ", and no order of it and the one operation open beside it explains it".into(),
        count => format!(", and no order of it and the {count} operations open beside it explains it"),
    };
    format!(
        "{} has no place: when it completed, everything before it left {} possible{order}",
        calls.describe(&calls.calls[stuck.call as usize]),
        match stuck.states.is_empty() {
            true => "nothing".into(),
            false => told(&stuck.states, " or ", WIDEST_STATE),
        },
    )
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
    let done = |index: u32| match would_write(index) {
        Some(value) => format!("p{}'s write of {} was acknowledged", call(index).process, name(calls, value)),
        None => format!("p{} had read {}", call(index).process, name(calls, call(index).output)),
    };
    let doing = |index: u32| match would_write(index) {
        Some(value) => format!("p{} wrote {}", call(index).process, name(calls, value)),
        None => format!("p{} read {}", call(index).process, name(calls, call(index).output)),
    };
    let (mut set, mut context, story, values) = match conflict {
        Conflict::Phantom { read } => {
            let value = call(read).output;
            let failed = failed_writes(value);
            let whose = match failed.first() {
                Some(failed) => format!("only p{} had tried to write, and failed", call(*failed).process),
                None => "nobody had written".into(),
            };
            (vec![read], failed, format!("{}, which {whose}", doing(read)), vec![value])
        }
        Conflict::Foreseen { read, write } => {
            let story = format!("{} before p{} began to write it", doing(read), call(write).process);
            (vec![read], vec![write], story, vec![call(read).output])
        }
        Conflict::Both(one, other) | Conflict::Within(other, one) => {
            let (first, first_write) = ends(calls, order, &setting, one);
            let (second, second_write) = ends(calls, order, &setting, other);
            let story = match (first.last(), second.first(), second.last()) {
                (Some(late), Some(early), Some(begun)) => {
                    let older = match first.first().filter(|_| Some(one) != setting.initial) {
                        Some(earliest) => format!("yet {} before {}", done(*earliest), doing(*begun)),
                        None => format!("yet {} was there before everything else", name(calls, one)),
                    };
                    format!("{} after {}, {older}", doing(*late), done(*early))
                }
                _ => "two values had to be held at once".into(),
            };
            let context = first_write.into_iter().chain(second_write).collect();
            ([first, second].concat(), context, story, vec![one, other])
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
    Ok(Failure { key: Value::Nil, proof, minimal, context, states: Vec::new(), story })
}

fn name(calls: &Calls, value: ValueId) -> String {
    match calls.values.get(value) {
        Value::Nil => "nil".into(),
        other => other.to_string(),
    }
}
