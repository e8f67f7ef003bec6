//! `eventual`: eventual consistency, as far as a finite history can tell.
//!
//! **Definition.** Once nothing is written any more, all copies come to hold the same, which somebody wrote (Terry et al.
//! 1995, Vogels 2009; quiescent consistency in Burckhardt, *Principles of eventual consistency*, 2014). That is a promise
//! about *some day*: most histories neither keep nor break it, and then the verdict is `unknown`. What is left:
//!
//! - **valid**: the replicas were seen to agree after the writing had ended. Of each key that was written, all writes have
//!   completed; every session that ever read it and is still there reads it again after the last write was over;
//!   there are two of them at least, and what each of them read last is the same: the value of a write that did not fail (the
//!   start only where nothing was acknowledged).
//! - **invalid**: a read returned what nobody wrote (`thin-air-read`), or what only failed writes had tried to. No waiting
//!   makes that right.
//! - **unknown** otherwise, with the first key's reason. Last reads that differ are no violation: the copies may agree
//!   tomorrow. `convergence` judges that of a recorded run, whose workload declares how long settling may take.
//!
//! **Place on the ladder.** Linearizability implies it: what is read after the last write is that write. Sequential and
//! causal consistency do not, since both let a session stay behind for ever; neither do the session guarantees.
//!
//! **Why it is sound.** `invalid` needs no premise about time or sessions. `valid` claims no more than was seen: a write
//! of unknown outcome may take effect after all that was read, so a key with one is never `valid`.
//!
//! **Complexity.** n log n, for the order of each key's reads.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::causal::conclude;
use super::registers::{Fact, Facts, MODELS};
use crate::check::MAX_VIOLATIONS;
use crate::check::models::Model;
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::calls::{Calls, ValueId};
use crate::history::{Outcome, Value};

/// The check.
pub struct Eventual;

impl PlainCheck for Eventual {
    fn name(&self) -> &'static str {
        "eventual"
    }

    fn about(&self) -> &'static str {
        "when nothing is written any more, all come to read the same, and what was read somebody wrote"
    }

    fn models(&self) -> &'static [Model] {
        MODELS
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        let facts = Facts::new(calls, question)?;
        let written: HashSet<(u32, ValueId)> =
            writes(&facts).filter_map(|fact| Some((fact.key, fact.write?))).collect();
        let (mut proofs, mut total): (Vec<Proof>, u64) = (Vec::new(), 0);
        let mut thin_keys: HashSet<u32> = HashSet::new();
        for fact in facts.list.iter().filter(|fact| fact.outcome == Outcome::Ok) {
            let Some(value) = fact.read else { continue };
            if Some(value) == facts.initial || written.contains(&(fact.key, value)) {
                continue;
            }
            total += 1;
            if thin_keys.insert(fact.key) && proofs.len() < MAX_VIOLATIONS {
                proofs.push(thin(calls, &facts, fact, value));
            }
        }
        let (agreed, finals, why) = settled(calls, &facts);
        let mut evidence = Map::new();
        evidence.insert("keys".into(), Json::from(keys(&facts).len()));
        evidence.insert("agreed".into(), Json::from(agreed));
        evidence.insert("final_reads".into(), Json::from(finals));
        Ok(conclude(proofs, total, why, evidence))
    }
}

/// The writes that may have happened.
fn writes(facts: &Facts) -> impl Iterator<Item = &Fact> {
    facts.list.iter().filter(|fact| fact.write.is_some() && fact.outcome != Outcome::Fail)
}

/// Reads that completed. A compare-and-set is a write.
fn reads(facts: &Facts) -> impl Iterator<Item = &Fact> {
    facts
        .list
        .iter()
        .filter(|fact| fact.read.is_some() && fact.write.is_none() && fact.outcome == Outcome::Ok)
}

/// The keys that were written, in the order of their first write.
fn keys(facts: &Facts) -> Vec<u32> {
    let mut seen = HashSet::new();
    writes(facts).map(|fact| fact.key).filter(|key| seen.insert(*key)).collect()
}

/// What is known of one key.
#[derive(Clone, Default)]
struct Key {
    /// When its last write was over.
    over: u32,
    /// Whether one of unknown outcome may still come.
    unknown: bool,
    acknowledged: bool,
    values: HashSet<ValueId>,
    /// (session, when its last read began, what it read), one a session.
    last: Vec<(u32, u32, ValueId)>,
}

/// How many keys were seen to agree, by how many reads, and why not all of them.
fn settled(calls: &Calls, facts: &Facts) -> (usize, usize, Option<String>) {
    let order = keys(facts);
    let Some(most) = order.iter().max() else {
        return (0, 0, Some("no write: nothing had to spread".into()));
    };
    let mut all: Vec<Key> = vec![Key::default(); *most as usize + 1];
    for fact in writes(facts) {
        let key = &mut all[fact.key as usize];
        match fact.outcome {
            Outcome::Ok => {
                key.acknowledged = true;
                key.over = key.over.max(calls.calls[fact.call as usize].ret);
            }
            _ => key.unknown = true,
        }
        key.values.extend(fact.write);
    }
    // A process whose operation never came back takes part in nothing any more.
    let mut gone: HashSet<u32> = HashSet::new();
    for call in &calls.calls {
        if call.outcome == Outcome::Info {
            gone.insert(call.process);
        } else {
            gone.remove(&call.process);
        }
    }
    let mut sorted: Vec<&Fact> = reads(facts).collect();
    // Facts come by invocation, and a stable sort leaves each session's last read last.
    sorted.sort_by_key(|fact| (fact.key, fact.process));
    for fact in sorted {
        let Some(key) = all.get_mut(fact.key as usize) else { continue };
        let (Some(value), false) = (fact.read, gone.contains(&fact.process)) else { continue };
        let read = (fact.process, calls.calls[fact.call as usize].invoke, value);
        match key.last.last_mut() {
            Some(last) if last.0 == fact.process => *last = read,
            _ => key.last.push(read),
        }
    }
    let (mut agreed, mut finals, mut why) = (0, 0, None);
    for at in order {
        let key = &all[at as usize];
        finals += key.last.iter().filter(|(_, began, _)| *began > key.over).count();
        match unsettled(calls, key, facts.initial) {
            None => agreed += 1,
            Some(reason) => {
                let name = match &calls.keys[at as usize] {
                    Value::Nil => String::new(),
                    key => format!("key {key}: "),
                };
                why.get_or_insert(name + &reason);
            }
        }
    }
    (agreed, finals, why)
}

/// Why a key was not seen to have settled.
fn unsettled(calls: &Calls, key: &Key, initial: Option<ValueId>) -> Option<String> {
    if key.unknown {
        return Some("a write of unknown outcome may still take effect".into());
    }
    if let Some((session, ..)) = key.last.iter().find(|(_, began, _)| *began < key.over) {
        return Some(format!("p{session} did not read after the last write"));
    }
    let [first, others @ ..] = key.last.as_slice() else {
        return Some("nobody read after the last write".into());
    };
    let show = |value: ValueId| match calls.values.get(value) {
        Value::Nil => "nil".to_owned(),
        other => other.to_string(),
    };
    if let Some(other) = others.iter().find(|other| other.2 != first.2) {
        return Some(format!(
            "p{} last read {} and p{} {}, which may agree later",
            first.0,
            show(first.2),
            other.0,
            show(other.2)
        ));
    }
    if others.is_empty() {
        return Some(format!("only p{} read after the last write", first.0));
    }
    let arrived = key.values.contains(&first.2) || Some(first.2) == initial && !key.acknowledged;
    (!arrived).then(|| format!("all read {}, though writes had been acknowledged", show(first.2)))
}

/// A read of what nobody wrote. A write of it that failed is part of the proof: relaxed, it may have happened.
fn thin(calls: &Calls, facts: &Facts, read: &Fact, value: ValueId) -> Proof {
    let failed =
        |fact: &&Fact| fact.key == read.key && fact.write == Some(value) && fact.outcome == Outcome::Fail;
    let failed: Vec<u32> = facts.list.iter().filter(failed).map(|fact| fact.call).collect();
    let whose = match failed.first() {
        Some(call) => {
            format!("only p{} had tried to write, and failed", calls.calls[*call as usize].process)
        }
        None => "nobody wrote".into(),
    };
    Proof {
        kind: "thin-air-read",
        key: calls.keys[read.key as usize].clone(),
        ops: super::causal::by_invocation(calls, [failed, vec![read.call]].concat()),
        minimal: true,
        context: Vec::new(),
        states: Vec::new(),
        story: format!("{}, which {whose}", calls.describe(&calls.calls[read.call as usize])),
        cause:
            "a value was made up, damaged, stored under another key, or kept from a write that was refused"
                .into(),
    }
}
