//! `causal`: causal consistency.
//!
//! **Definition.** An operation comes *before* another when it does so in its client's order, when the other reads
//! what it wrote, or by any chain of these (Ahamad et al. 1995). The check is for *causal convergence* (CCv: Bouajjani,
//! Enea, Guerraoui, Hamza, *On verifying causal consistency*, POPL 2017): there is one order of all writes that agrees
//! with *before*, and each read returns the write to its key that is the last in that order among those before it. That is what
//! a store of causally ordered replicas gives that settles concurrent writes alike everywhere (last writer wins); and
//! it is what lies between sequential consistency, which implies it, and the session guarantees, which it
//! implies. Where values are written once, a history is convergent exactly when none of five patterns occurs (same paper, §6):
//!
//! | pattern | what |
//! |---|---|
//! | `thin-air-read` | a read of what nobody wrote |
//! | `cyclic-co` | operations each of which comes before the others |
//! | `write-co-init-read` | a read of the start, and before it a write of the same key |
//! | `write-co-read` | a read of w, and before it another write of the same key that w comes before |
//! | `cyclic-cf` | writes each of which would have to be overwritten by the others |
//!
//! The first four alone are the violations of plain causal consistency (CC), the weakest notion that bears
//! the name; the statistic `plain_causal` says whether that holds, where only `cyclic-cf` occurs.
//!
//! **How.** Vector clocks over the sessions; for each read, the last write of each session that comes before it must be the
//! write it read or be overwritten by it. These conflicts and the causal order together have no cycle exactly when
//! `write-co-read` and `cyclic-cf` do not occur.
//!
//! **Complexity.** Operations × sessions, and n log n. Memory: the clocks that somebody still waits for; beyond the
//! budget the verdict is `unknown`.
//!
//! **Why it is sound.** Each pattern contradicts the definition by itself, and stays in place when further operations become
//! known. What outcomes mean is in [`registers`](super::registers). Where a value was written
//! twice its reads are left out: what is found among the rest is a violation all the same, and where nothing is
//! found the verdict is `unknown`, never `valid`. A compare-and-set counts as a read followed by a write: causal consistency
//! does not forbid two replicas to succeed at once.

use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};

use super::minimal::Prover;
use super::patterns::{Found, Pattern, any, look};
use super::registers::{Facts, INITIAL, MODELS, Node, Sessions, arrange};
use crate::check::Verdict;
use crate::check::models::Model;
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::calls::{Calls, ValueId};
use crate::history::{Outcome, Value};

/// The check.
pub struct Causal;

/// How long finding the smallest proofs may take in all.
pub(super) const MOST_TIME: Duration = Duration::from_millis(1500);

impl PlainCheck for Causal {
    fn name(&self) -> &'static str {
        "causal"
    }

    fn about(&self) -> &'static str {
        "what an operation could have known of comes before it for everybody, and concurrent writes are settled alike"
    }

    fn models(&self) -> &'static [Model] {
        MODELS
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        let facts = Facts::new(calls, question)?;
        let sessions = arrange(&facts.list, facts.initial, &[]);
        let evidence = evidence(calls, &facts, &sessions);
        if sessions.reads() == 0 {
            return Ok(nothing_read(&sessions, evidence));
        }
        let looked = look(&sessions, calls.keys.len(), question.budget.memory_bytes);
        let prover = Prover::new(&facts, Instant::now() + MOST_TIME);
        let mut proofs: Vec<Proof> =
            looked.found.iter().map(|found| proof(calls, &facts, &sessions, &prover, found)).collect();
        one_of_each(&mut proofs);
        let mut stats = Map::new();
        let only_conflicts = looked.found.iter().all(|found| found.pattern == Pattern::CyclicCf);
        if !looked.found.is_empty() {
            stats.insert("plain_causal".into(), Json::from(if only_conflicts { "valid" } else { "invalid" }));
        }
        let reason = match looked.given_up {
            true => Some(format!(
                "the clocks of {} sessions would take more than {} MiB",
                sessions.len(),
                question.budget.memory_bytes >> 20
            )),
            false => unsaid(&facts, &sessions),
        };
        Ok(Answer { stats, ..conclude(proofs, looked.total, reason, evidence) })
    }
}

/// A verdict from what was found and what could not be said.
pub(super) fn conclude(
    proofs: Vec<Proof>,
    total: u64,
    unsaid: Option<String>,
    evidence: Map<String, Json>,
) -> Answer {
    let (verdict, reason) = match (total, unsaid) {
        (0, None) => (Verdict::Valid, None),
        (0, why) => (Verdict::Unknown, why),
        _ => (Verdict::Invalid, None),
    };
    Answer { verdict, reason, evidence, proofs, total, stats: Map::new() }
}

/// What there was to bite on.
pub(super) fn evidence(calls: &Calls, facts: &Facts, sessions: &Sessions) -> Map<String, Json> {
    let mut keys: Vec<u32> = facts.list.iter().map(|fact| fact.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut processes: Vec<u32> = facts.list.iter().map(|fact| fact.process).collect();
    processes.sort_unstable();
    processes.dedup();
    let ok = calls.calls.iter().filter(|call| call.outcome == Outcome::Ok).count();
    let mut evidence = Map::new();
    evidence.insert("keys".into(), Json::from(keys.len()));
    evidence.insert("sessions".into(), Json::from(processes.len()));
    evidence.insert("operations".into(), Json::from(ok));
    evidence.insert("reads".into(), Json::from(sessions.reads()));
    evidence
}

/// The answer where no read could be judged.
pub(super) fn nothing_read(sessions: &Sessions, evidence: Map<String, Json>) -> Answer {
    let why = match sessions.left_out {
        0 => "no completed read: nothing could have been found",
        _ => "every value that was read was written more than once, so no read tells whose write it saw",
    };
    Answer { evidence, ..Answer::unknown(why) }
}

/// Why "nothing found" does not mean valid.
pub(super) fn unsaid(facts: &Facts, sessions: &Sessions) -> Option<String> {
    match (sessions.left_out, facts.saw_not) {
        (0, 0) => None,
        (0, 1) => Some("1 failed compare-and-set saw another value, which this check cannot use".into()),
        (0, failed) => {
            Some(format!("{failed} failed compare-and-sets saw other values, which this check cannot use"))
        }
        (1, _) => Some("1 read found a value that was written more than once".into()),
        (reads, _) => Some(format!("{reads} reads found values that were written more than once")),
    }
}

/// At most one proof a kind and key, the most telling kinds first.
pub(super) fn one_of_each(proofs: &mut Vec<Proof>) {
    let mut seen: Vec<(&'static str, Value)> = Vec::new();
    proofs.retain(|proof| {
        let this = (proof.kind, proof.key.clone());
        let new = !seen.contains(&this);
        seen.push(this);
        new
    });
}

/// A value, for people.
pub(super) fn name(calls: &Calls, value: ValueId) -> String {
    match calls.values.get(value) {
        Value::Nil => "nil".into(),
        other => other.to_string(),
    }
}

/// Operations each of which comes before the next, for people.
pub(super) fn chain(calls: &Calls, chain: &[u32]) -> String {
    let said: Vec<String> = chain.iter().map(|call| calls.describe(&calls.calls[*call as usize])).collect();
    said.join(" → ")
}

/// What happened, client by client, for people.
pub(super) fn in_sessions(calls: &Calls, ops: &[u32]) -> String {
    let mut ops = ops.to_vec();
    ops.sort_by_key(|call| calls.calls[*call as usize].process);
    let mut told = String::new();
    for (at, call) in ops.iter().enumerate() {
        let call = &calls.calls[*call as usize];
        let same = at > 0 && calls.calls[ops[at - 1] as usize].process == call.process;
        told.push_str(if same {
            ", then "
        } else if at > 0 {
            "; "
        } else {
            ""
        });
        told.push_str(&calls.describe(call));
    }
    told
}

/// Calls, and for each write among them one read of it by another: what shows that a write of unknown outcome happened.
/// An acknowledged read, where there is one; a compare-and-set of unknown outcome needs a witness itself.
pub(super) fn with_witnesses(calls: &Calls, sessions: &Sessions, set: &[u32]) -> Vec<u32> {
    let mut all = set.to_vec();
    let mut next = 0;
    while next < all.len() {
        let write = all[next];
        next += 1;
        let reads_it = |node: &&Node| {
            node.source < INITIAL && sessions.nodes[node.source as usize].call == write && node.call != write
        };
        let readers = sessions.nodes.iter().filter(reads_it).map(|node| node.call);
        let witness = readers.min_by_key(|call| calls.calls[*call as usize].outcome != Outcome::Ok);
        all.extend(witness.filter(|witness| !all.contains(witness)));
    }
    all
}

fn proof(calls: &Calls, facts: &Facts, sessions: &Sessions, prover: &Prover<'_>, found: &Found) -> Proof {
    let keys = calls.keys.len();
    let bad = |sessions: &Sessions| any(sessions, keys);
    let (ops, minimal) = prover
        .prove(&found.calls, &bad)
        .or_else(|| prover.prove(&with_witnesses(calls, sessions, &found.calls), &bad))
        .unwrap_or_else(|| (found.calls.clone(), false));
    let mut context: Vec<u32> =
        found.chain.iter().copied().chain(prover.context(&ops)).filter(|call| !ops.contains(call)).collect();
    context.sort_unstable();
    context.dedup();
    let key = match found.pattern {
        Pattern::CyclicCo => Value::Nil,
        Pattern::ThinAir => calls.keys[calls.calls[found.calls[0] as usize].key as usize].clone(),
        _ => calls.keys[found.key as usize].clone(),
    };
    Proof {
        kind: found.pattern.name(),
        key,
        ops: by_invocation(calls, ops),
        minimal,
        context,
        states: Vec::new(),
        story: story(calls, facts, found),
        cause: cause(found.pattern).into(),
    }
}

/// In order of invocation, each once.
pub(super) fn by_invocation(calls: &Calls, mut ops: Vec<u32>) -> Vec<u32> {
    ops.sort_unstable_by_key(|call| calls.calls[*call as usize].invoke);
    ops.dedup();
    ops
}

fn story(calls: &Calls, facts: &Facts, found: &Found) -> String {
    let steps = chain(calls, &found.chain);
    let last = found.chain.last().map(|call| &calls.calls[*call as usize]);
    match (found.pattern, last) {
        (Pattern::ThinAir, Some(read)) => {
            let read_it = |fact: &&super::registers::Fact| {
                fact.key == read.key && fact.write == Some(read.output) && fact.outcome == Outcome::Fail
            };
            let failed = facts.list.iter().find(read_it).map(|fact| fact.process);
            let whose = failed.map_or("nobody wrote".into(), |process| {
                format!("nobody wrote: p{process} tried to, and failed")
            });
            format!("{}, which {whose}", calls.describe(read))
        }
        (Pattern::CyclicCo, _) => {
            format!("each of these comes before the next, and so the first before itself: {steps}")
        }
        (Pattern::WriteCoInitRead, Some(read)) => format!(
            "p{} read {}, which was there before all writes, although it could have known of a write: {steps}",
            read.process,
            name(calls, read.output)
        ),
        (Pattern::WriteCoRead, Some(read)) => format!(
            "p{} read {}, although it could have known that it was overwritten: {steps}",
            read.process,
            name(calls, read.output)
        ),
        _ => format!("no order of the writes agrees with all who read them: {steps}"),
    }
}

fn cause(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::ThinAir => {
            "a value was made up, damaged, stored under another key, or kept from a write that was refused"
        }
        Pattern::CyclicCo => "a value was shown before it was written",
        Pattern::WriteCoInitRead | Pattern::WriteCoRead => {
            "a copy answered that had not yet received a write, though it had received what was written after it, or another copy had shown it to the same client"
        }
        Pattern::CyclicCf => "two copies settled the same concurrent writes differently",
    }
}
