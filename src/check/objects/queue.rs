//! `queue`: what comes out was put in, once, and what was put in comes out.
//!
//! After Jepsen's `total-queue` checker: a multiset, whatever the order. `enqueue` puts its value in, `dequeue` takes out
//! the value it completes with (`nil`: the queue was empty), `drain` takes out a list until the queue is empty.
//!
//! - **phantom** (violation): a dequeue returned what nobody had tried to enqueue by the time it completed, or what only
//!   failed operations had tried to.
//! - **duplicated** (violation): of the dequeues of one value, by completion, the *n*-th completed when fewer than *n*
//!   enqueues of it had been invoked. By Hall's theorem that is so exactly when no assignment gives each dequeue
//!   an enqueue of its own that began before it completed.
//! - **lost** (violation): an acknowledged element that no dequeue ever returned, though a dequeue that began after the
//!   acknowledgement found the queue empty. It may have gone to a dequeue of unknown outcome: with *u* of those, only
//!   elements beyond the first *u* are certainly lost. Elements whose loss the history cannot tell (no dequeue found
//!   the queue empty after them, or those of unknown outcome may have them) make the verdict `unknown`.
//!
//! **Sound** of every queue that keeps what it acknowledged and delivers at most once, in any order: an operation of
//! unknown outcome may have happened, an enqueue at any time and a dequeue with any element. Failed operations certainly
//! did not happen. Numbers that were rounded when the history was read (beyond 64 bits) are not told apart and
//! not called duplicates.
//!
//! **Left out**: first in, first out, and empty answers while the queue held something that came out later.
//! `linearizability --model queue` is for those.
//!
//! Complexity: n log n for sorting the dequeues of each value; some 50 bytes an element.

use super::{ByValue, Lookup, Tally, each_key, exact, figures, function, proof};
use crate::check::models::{Model, Queue as Spec, items, show};
use crate::check::plain::{Answer, PlainCheck, Question};
use crate::history::calls::{Calls, ValueId};
use crate::history::{Outcome, Value};

/// The check `queue`.
pub struct Queue;

/// The operations on one value.
#[derive(Default)]
struct Element {
    /// Enqueues that may have happened, by invocation.
    put: Vec<u32>,
    /// Those that failed.
    failed: Vec<u32>,
    /// Dequeues and drains that returned it, once for each time.
    taken: Vec<u32>,
}

/// A value that came out more often than it had been put in.
struct Wrong<'a> {
    element: &'a Element,
    /// The fewest dequeues that prove it, by completion.
    taken: Vec<u32>,
    /// How often it had been put in when the last of them completed, and the enqueues that failed by then.
    put: usize,
    failed: &'a [u32],
}

impl Wrong<'_> {
    fn ops(&self) -> Vec<u32> {
        [self.failed, &self.taken].concat()
    }
}

impl Element {
    /// The first dequeue, by completion, for which there is no enqueue left.
    fn wrong(&self, calls: &Calls) -> Option<Wrong<'_>> {
        let call = |index: u32| &calls.calls[index as usize];
        let begun =
            |puts: &[u32], index: u32| puts.partition_point(|put| call(*put).invoke < call(index).ret);
        let mut taken = self.taken.clone();
        taken.sort_by_key(|index| call(*index).ret);
        let at = (0..taken.len()).find(|at| begun(&self.put, taken[*at]) <= *at)?;
        let last = taken[at];
        let by_then = taken.partition_point(|index| call(*index).ret <= call(last).ret);
        let failed = &self.failed[..begun(&self.failed, last)];
        Some(Wrong { element: self, taken: fewest(&taken[..by_then], at), put: at, failed })
    }
}

#[derive(Default)]
struct Totals {
    enqueued: u64,
    dequeued: u64,
    phantom: u64,
    duplicated: u64,
    lost: u64,
    unaccounted: u64,
    empty: u64,
    dequeues_unknown: u64,
    /// Acknowledged, never returned, and no dequeue found the queue empty afterwards.
    undrained: u64,
}

impl PlainCheck for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn about(&self) -> &'static str {
        "what comes out of a queue was put in, once, and what was put in comes out"
    }

    fn models(&self) -> &'static [Model] {
        &[Model::Queue]
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        Spec::new(&question.initial)?;
        let mut tally = Tally::default();
        let mut totals = Totals::default();
        let keys = each_key(calls, |key, order| {
            Contents::of(calls, order)?.tell(calls, key, &mut totals, &mut tally);
            Ok(())
        })?;
        tally.unknown = unjudged(&totals);
        let evidence = figures([
            ("keys", keys),
            ("enqueued", totals.enqueued),
            ("dequeued", totals.dequeued),
            ("found_empty", totals.empty),
        ]);
        let stats = figures([
            ("lost", totals.lost),
            ("phantom", totals.phantom),
            ("duplicated", totals.duplicated),
            ("unaccounted", totals.unaccounted),
            ("not_drained", totals.undrained),
            ("dequeues_of_unknown_outcome", totals.dequeues_unknown),
        ]);
        Ok(tally.answer(evidence, stats))
    }
}

/// Why losses may have gone unseen.
fn unjudged(totals: &Totals) -> Option<String> {
    if totals.dequeued + totals.empty == 0 {
        Some("no completed dequeue: nothing could have been found".into())
    } else if totals.enqueued == 0 {
        Some("nothing was enqueued: nothing could have been lost".into())
    } else if totals.undrained > 0 {
        Some(format!(
            "{} acknowledged element(s) were never dequeued, and no dequeue begun after them found the queue empty: without draining it at the end nobody can tell whether they are lost",
            totals.undrained
        ))
    } else if totals.unaccounted > 0 {
        Some(format!(
            "{} acknowledged element(s) are gone, but {} dequeue(s) of unknown outcome may have taken them",
            totals.unaccounted, totals.dequeues_unknown
        ))
    } else {
        None
    }
}

/// What went through one queue.
#[derive(Default)]
struct Contents {
    elements: ByValue<Element>,
    /// The last dequeue that found it empty, by invocation.
    last_empty: Option<u32>,
    empty: u64,
    /// Dequeues of unknown outcome; each may have taken one element.
    unknown: Vec<u32>,
    /// Whether one of unknown outcome may have taken everything.
    drained: bool,
}

impl Contents {
    fn of(calls: &Calls, order: &[u32]) -> Result<Contents, String> {
        let mut found = Contents::default();
        let mut lookup = Lookup::new(calls);
        for index in order {
            let call = &calls.calls[*index as usize];
            match (function(calls, call), call.outcome) {
                ("dequeue" | "drain", Outcome::Fail) | ("snapshot", _) => {}
                ("enqueue", Outcome::Fail) => {
                    found.elements.entry(calls.values.get(call.input)).failed.push(*index);
                }
                ("enqueue", _) => found.elements.entry(calls.values.get(call.input)).put.push(*index),
                ("dequeue" | "drain", Outcome::Info) => {
                    found.drained |= function(calls, call) == "drain";
                    found.unknown.push(*index);
                }
                ("dequeue", Outcome::Ok) if call.output != ValueId::NIL => {
                    found.elements.entry(calls.values.get(call.output)).taken.push(*index);
                }
                ("dequeue", Outcome::Ok) => found.found_empty(*index),
                ("drain", Outcome::Ok) => {
                    let said = lookup.said(call);
                    let Some(listed) = items(said.output).or(said.output.is_nil().then(Vec::new)) else {
                        return said.bad_value("a list of elements", said.output);
                    };
                    for value in listed {
                        found.elements.entry(value).taken.push(*index);
                    }
                    found.found_empty(*index);
                }
                _ => return lookup.said(call).unknown(Model::Queue, "enqueue, dequeue and drain"),
            }
        }
        Ok(found)
    }

    fn found_empty(&mut self, index: u32) {
        self.last_empty = Some(index);
        self.empty += 1;
    }

    fn tell(&self, calls: &Calls, key: &Value, totals: &mut Totals, tally: &mut Tally) {
        let call = |index: u32| &calls.calls[index as usize];
        let since = self.last_empty.map_or(0, |index| call(index).invoke);
        totals.empty += self.empty;
        totals.dequeues_unknown += self.unknown.len() as u64;
        let (mut phantom, mut twice, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (value, element) in &self.elements.entries {
            totals.enqueued += element.put.len() as u64;
            totals.dequeued += element.taken.len() as u64;
            match element.wrong(calls) {
                Some(wrong) if wrong.put == 0 => phantom.push((value, wrong)),
                Some(wrong) if exact(value) => twice.push((value, wrong)),
                _ => {}
            }
            let acknowledged = |index: &&u32| call(**index).outcome == Outcome::Ok;
            let left = element.put.iter().filter(acknowledged).count().saturating_sub(element.taken.len());
            if left > 0 {
                let before = |index: &&u32| call(**index).ret < since;
                let put: Vec<u32> = element.put.iter().filter(acknowledged).filter(before).copied().collect();
                let gone = put.len().saturating_sub(element.taken.len());
                totals.undrained += (left - gone) as u64;
                if gone > 0 {
                    missing.push(Missing { value, put, taken: element.taken.len(), gone });
                }
            }
        }
        totals.phantom += phantom.len() as u64;
        totals.duplicated += twice.len() as u64;
        self.tell_lost(calls, key, missing, totals, tally);
        let process = |index: &u32| format!("p{}", call(*index).process);
        // Those that take the fewest operations to prove.
        if let Some((value, wrong)) = twice.iter().min_by_key(|(_, wrong)| wrong.ops().len()) {
            let whose: Vec<String> = wrong.taken.iter().take(8).map(process).collect();
            let story = format!(
                "{}{} took {} out, more often than the {} it had been put in by then",
                whose.join(" and "),
                if wrong.taken.len() > 8 { " and others" } else { "" },
                show(value),
                if wrong.put == 1 { "one time".into() } else { format!("{} times", wrong.put) },
            );
            let cause = "an element was delivered again after it had been taken: a lost acknowledgement, or a copy that had not heard of it";
            let mut proof = proof(calls, "duplicated", key, wrong.ops(), story, cause);
            proof.context.clone_from(&wrong.element.put);
            tally.found(twice.len() as u64, proof);
        }
        if let Some((value, wrong)) = phantom.iter().min_by_key(|(_, wrong)| wrong.ops().len()) {
            let whose = match (wrong.failed.first(), wrong.element.put.first()) {
                (Some(failed), _) => {
                    format!("which only {} had tried to put in, and failed", process(failed))
                }
                (None, Some(later)) => format!("before {} began to put it in", process(later)),
                (None, None) => "which nobody had tried to put in".into(),
            };
            let story = format!("{} took {} out, {whose}", process(&wrong.taken[0]), show(value));
            let cause = "an element was made up, came from another queue, or an operation that was reported as failed happened after all";
            let mut proof = proof(calls, "phantom", key, wrong.ops(), story, cause);
            proof.context.clone_from(&wrong.element.put);
            tally.found(phantom.len() as u64, proof);
        }
    }

    fn tell_lost(
        &self,
        calls: &Calls,
        key: &Value,
        mut missing: Vec<Missing<'_>>,
        totals: &mut Totals,
        tally: &mut Tally,
    ) {
        let gone: usize = missing.iter().map(|missing| missing.gone).sum();
        let excused = if self.drained { gone } else { gone.min(self.unknown.len()) };
        let lost = gone - excused;
        totals.unaccounted += excused as u64;
        totals.lost += lost as u64;
        let (Some(empty), true) = (self.last_empty, lost > 0) else { return };
        // One more than those of unknown outcome can have taken; those first that take the fewest operations to show.
        missing.sort_by_key(|missing| missing.taken);
        let mut needed = excused + 1;
        let mut ops = vec![empty];
        let mut values = Vec::new();
        for Missing { value, put, taken, gone } in missing {
            if needed == 0 {
                break;
            }
            let of_it = gone.min(needed);
            needed -= of_it;
            ops.extend(&put[..taken + of_it]);
            values.push(show(value));
        }
        let process = calls.calls[empty as usize].process;
        values.truncate(8);
        let what = values.join(", ");
        let story = match excused {
            0 => format!("{what} was acknowledged and never came out, yet p{process} found the queue empty"),
            unknown => format!(
                "of {what} … at most {unknown} can have gone to dequeues of unknown outcome; the others never came out, yet p{process} found the queue empty"
            ),
        };
        let cause = "an acknowledged element was lost with a node, or handed to a client that never got it";
        let mut proof = proof(calls, "lost", key, ops, story, cause);
        proof.context = self.unknown.iter().copied().take(8).collect();
        tally.found(lost as u64, proof);
    }
}

/// An acknowledged value that came out less often than it should have.
struct Missing<'a> {
    value: &'a Value,
    /// Its enqueues acknowledged before the queue was last found empty.
    put: Vec<u32>,
    taken: usize,
    gone: usize,
}

/// The fewest of `taken`, by completion, that took out more than `put`; a drain that listed it several times is there as
/// often.
fn fewest(taken: &[u32], put: usize) -> Vec<u32> {
    let mut often: Vec<(usize, u32)> = Vec::new();
    for index in taken {
        match often.last_mut() {
            Some((times, last)) if last == index => *times += 1,
            _ => often.push((1, *index)),
        }
    }
    often.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    let mut sum = 0;
    let mut few = Vec::new();
    for (times, index) in often {
        if sum > put {
            break;
        }
        sum += times;
        few.push(index);
    }
    few
}
