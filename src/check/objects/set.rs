//! `set`: what was added is there, once, and nothing else is.
//!
//! After Jepsen's `set-full` checker, element by element. An element is **known** from the moment its addition was
//! acknowledged or a read that shows it completed, whichever came first. Reads are taken in order of invocation.
//!
//! - **lost** (violation): the last read began after the element was known and after every read that shows it had
//!   completed, and does not show it. Jepsen compares invocations alone and would also call lost what a read shows that
//!   was still open when the last one began; here that is stale.
//! - **phantom** (violation): a read shows what nobody had tried to add by the time it completed, or what was only
//!   added by operations that failed, which means that they certainly did not happen.
//! - **duplicated** (violation): one read lists an element twice. Jepsen's `set-full` cannot report this: it counts
//!   duplicates with a function that never finds any.
//! - **stale** (a figure): a read that began when the element was known lacks it, yet it is not lost. A violation only of a
//!   linearizable set, which `linearizability --model set` is for. `stale_worst_lag_events` tells over how many events
//!   from becoming known to the begin of the last read without it.
//! - **never read** (a figure): acknowledged, and no read that showed it or could have. Such elements make the verdict
//!   `unknown`: it needs a read after the last addition.
//!
//! **Sound** of every set that promises, after whatever healing the history ends with, to have what it acknowledged: a
//! linearizable one always, an eventually consistent one if the last reads are taken when it has settled. Additions
//! of unknown outcome become known when they are seen; failed and unanswered reads say nothing; a read that completed with
//! `nil` found no set, which is an empty one. An element that somebody tried to remove may rightly be absent: it is
//! judged for phantoms and duplicates only, and counted as `removed`. Numbers that were rounded when the history was
//! read (beyond 64 bits) are not called duplicates.
//!
//! Complexity: linear in the text of all reads (each entry is looked at once; absence is seen from the gaps between
//! the reads that show an element); some 60 bytes an element.

use super::{ByValue, Lookup, Tally, each_key, exact, figures, function, proof};
use crate::check::models::{Model, Set as Spec, items, show};
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::calls::{Call, Calls, OPEN};
use crate::history::{Outcome, Value};

/// The check `set`.
pub struct Set;

/// What is known of one element.
struct Element {
    /// The earliest invocation of an addition that may have happened; [`OPEN`] when there is none.
    asked: u32,
    /// The earliest invocation of one that failed; [`OPEN`] when there is none.
    failed: u32,
    /// Since when it is known, and by which call; [`OPEN`] when it is not.
    known: u32,
    known_by: u32,
    acknowledged: bool,
    removed: bool,
    /// The last read that shows it, counted from 1; 0: none.
    seen: u32,
    /// The latest completion of a read that shows it.
    seen_until: u32,
    /// The last read that lacks it and came before one that shows it, counted from 1; 0: none.
    gap: u32,
    /// The first read that shows it though it cannot be there, and one that lists it twice.
    phantom: Option<u32>,
    twice: Option<u32>,
}

impl Default for Element {
    fn default() -> Self {
        Element {
            asked: OPEN,
            failed: OPEN,
            known: OPEN,
            known_by: 0,
            acknowledged: false,
            removed: false,
            seen: 0,
            seen_until: 0,
            gap: 0,
            phantom: None,
            twice: None,
        }
    }
}

impl Element {
    fn know(&mut self, since: u32, by: u32) {
        if since < self.known {
            (self.known, self.known_by) = (since, by);
        }
    }
}

/// How an element fared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Lost,
    /// Over how many events.
    Stale(u32),
    NeverRead,
    Removed,
    /// Never added, or never acknowledged and never seen.
    Nothing,
}

#[derive(Default)]
struct Totals {
    elements: u64,
    reads: u64,
    judged: u64,
    lost: u64,
    phantom: u64,
    duplicated: u64,
    stale: u64,
    lag: u64,
    never_read: u64,
    removed: u64,
}

impl PlainCheck for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn about(&self) -> &'static str {
        "a set has what was added to it, once, and nothing else"
    }

    fn models(&self) -> &'static [Model] {
        &[Model::Set]
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        Spec::new(&question.initial)?;
        let mut tally = Tally::default();
        let mut totals = Totals::default();
        let keys = each_key(calls, |key, order| {
            Elements::of(calls, order)?.tell(calls, order, key, &mut totals, &mut tally);
            Ok(())
        })?;
        tally.unknown = unjudged(&totals);
        let evidence = figures([
            ("keys", keys),
            ("reads", totals.reads),
            ("elements", totals.elements),
            ("judged", totals.judged),
        ]);
        let stats = figures([
            ("lost", totals.lost),
            ("phantom", totals.phantom),
            ("duplicated", totals.duplicated),
            ("stale", totals.stale),
            ("stale_worst_lag_events", totals.lag),
            ("never_read", totals.never_read),
            ("removed", totals.removed),
        ]);
        Ok(tally.answer(evidence, stats))
    }
}

/// Why losses may have gone unseen.
fn unjudged(totals: &Totals) -> Option<String> {
    if totals.reads == 0 {
        Some("no completed read: nothing could have been found".into())
    } else if totals.never_read > 0 {
        Some(format!(
            "{} acknowledged element(s) were never read and no read began after they were acknowledged: only a read at the end can tell whether they are there",
            totals.never_read
        ))
    } else if totals.judged == 0 && totals.removed > 0 {
        Some("every element was also removed, or may have been: none can be missed".into())
    } else if totals.judged == 0 {
        Some("no element was acknowledged or seen: none can be missed".into())
    } else {
        None
    }
}

/// All elements of one set.
#[derive(Default)]
struct Elements {
    all: ByValue<Element>,
    /// Completed reads, by invocation: indices into [`Calls::calls`].
    reads: Vec<u32>,
}

impl Elements {
    fn of(calls: &Calls, order: &[u32]) -> Result<Elements, String> {
        let mut elements = Elements::default();
        let mut lookup = Lookup::new(calls);
        for index in order {
            let call = &calls.calls[*index as usize];
            match function(calls, call) {
                "add" if call.outcome != Outcome::Fail => {
                    let element = elements.all.entry(calls.values.get(call.input));
                    element.asked = element.asked.min(call.invoke);
                    if call.outcome == Outcome::Ok {
                        element.acknowledged = true;
                        element.know(call.ret, *index);
                    }
                }
                "remove" if call.outcome != Outcome::Fail => {
                    elements.all.entry(calls.values.get(call.input)).removed = true;
                }
                "add" => {
                    let element = elements.all.entry(calls.values.get(call.input));
                    element.failed = element.failed.min(call.invoke);
                }
                "read" if call.outcome == Outcome::Ok => elements.reads.push(*index),
                "remove" | "read" | "snapshot" => {}
                _ => return lookup.said(call).unknown(Model::Set, "add, remove and read"),
            }
        }
        for at in 0..elements.reads.len() {
            let index = elements.reads[at];
            let said = lookup.said(&calls.calls[index as usize]);
            let listed = match (items(said.output), said.output.is_nil()) {
                (Some(listed), _) => listed,
                (None, true) => Vec::new(),
                (None, false) => return said.bad_value("a list of elements", said.output),
            };
            elements.shown(at as u32 + 1, index, &calls.calls[index as usize], listed);
        }
        Ok(elements)
    }

    /// Takes in the elements of one read: the `number`-th.
    fn shown(&mut self, number: u32, index: u32, read: &Call, listed: Vec<Value>) {
        for value in listed {
            let exact = exact(&value);
            let element = self.all.entry(value);
            if element.seen == number {
                if exact {
                    element.twice.get_or_insert(index);
                }
                continue;
            }
            if element.seen + 1 < number {
                element.gap = number - 1;
            }
            element.seen = number;
            element.seen_until = element.seen_until.max(read.ret);
            element.know(read.ret, index);
            if element.asked > read.ret {
                element.phantom.get_or_insert(index);
            }
        }
    }

    fn fate(&self, calls: &Calls, element: &Element) -> Fate {
        let began = |number: u32| calls.calls[self.reads[number as usize - 1] as usize].invoke;
        if element.known == OPEN {
            return Fate::Nothing;
        }
        if element.removed {
            return Fate::Removed;
        }
        let reads = self.reads.len() as u32;
        // The last read without it.
        let absent = if element.seen < reads { reads } else { element.gap };
        if absent > 0 && began(absent) > element.known {
            if absent == reads && began(absent) > element.seen_until {
                return Fate::Lost;
            }
            return Fate::Stale(began(absent) - element.known);
        }
        if element.seen == 0 { Fate::NeverRead } else { Fate::Fine }
    }

    fn tell(&self, calls: &Calls, order: &[u32], key: &Value, totals: &mut Totals, tally: &mut Tally) {
        let (mut lost, mut phantom, mut twice): (Vec<_>, Vec<_>, Vec<_>) = Default::default();
        for (value, element) in &self.all.entries {
            match self.fate(calls, element) {
                Fate::Lost => lost.push((value, element)),
                Fate::Stale(lag) => {
                    totals.stale += 1;
                    totals.lag = totals.lag.max(u64::from(lag));
                }
                Fate::NeverRead => totals.never_read += 1,
                Fate::Removed => totals.removed += 1,
                Fate::Fine => {}
                Fate::Nothing => continue,
            }
            totals.elements += 1;
            totals.judged += u64::from(!element.removed && (element.seen > 0 || !self.reads.is_empty()));
            phantom.extend(element.phantom.map(|read| (value, read, element.failed)));
            twice.extend(element.twice.map(|read| (value, read)));
        }
        totals.reads += self.reads.len() as u64;
        totals.lost += lost.len() as u64;
        totals.phantom += phantom.len() as u64;
        totals.duplicated += twice.len() as u64;
        let process = |call: u32| calls.calls[call as usize].process;
        if let (Some((value, element)), Some(last)) =
            (lost.iter().min_by_key(|(_, element)| element.known), self.reads.last())
        {
            let by = element.known_by;
            let known = match function(calls, &calls.calls[by as usize]) {
                "add" => format!("p{}'s add of {} was acknowledged", process(by), show(value)),
                _ => format!("p{} had read {}", process(by), show(value)),
            };
            let story = format!("{known}, yet the last read, p{}'s, does not show it", process(*last));
            let cause = "an acknowledged element was overwritten by somebody who had not seen it, or was never replicated";
            let mut proof = proof(calls, "lost", key, vec![by, *last], story, cause);
            proof.context = additions(calls, order, value, |call| call.invoke == element.asked);
            proof.context.retain(|call| *call != by);
            tally.found(lost.len() as u64, proof);
        }
        if let Some((value, read)) = twice.first() {
            let story = format!("p{} read {} twice in one answer", process(*read), show(value));
            let cause =
                "an addition was stored twice (a retry that was not recognised) and the set does not notice";
            let mut proof = proof(calls, "duplicated", key, vec![*read], story, cause);
            proof.context = additions(calls, order, value, |call| call.outcome != Outcome::Fail);
            tally.found(twice.len() as u64, proof);
        }
        // Of one read the element that takes the fewest operations to prove: nobody's failed addition.
        let ease =
            |(_, read, failed): &&(&Value, u32, u32)| (*read, *failed < calls.calls[*read as usize].ret);
        if let Some((value, read, _)) = phantom.iter().min_by_key(ease) {
            tally.found(phantom.len() as u64, never_added(calls, order, key, value, *read));
        }
    }
}

fn never_added(calls: &Calls, order: &[u32], key: &Value, value: &Value, read: u32) -> Proof {
    let seen = &calls.calls[read as usize];
    let failed =
        additions(calls, order, value, |call| call.outcome == Outcome::Fail && call.invoke < seen.ret);
    let later = additions(calls, order, value, |call| call.outcome != Outcome::Fail);
    let process = |call: &u32| calls.calls[*call as usize].process;
    let whose = match (failed.first(), later.first()) {
        (Some(failed), _) => format!("which only p{} had tried to add, and failed", process(failed)),
        (None, Some(later)) => format!("before p{} began to add it", process(later)),
        (None, None) => "which nobody had tried to add".into(),
    };
    let story = format!("p{} read {}, {whose}", seen.process, show(value));
    let cause = "an element was made up, came from another set, or an operation that was reported as failed happened after all";
    let mut proof = proof(calls, "phantom", key, [failed, vec![read]].concat(), story, cause);
    proof.context = later;
    proof
}

/// The additions of `value` that are `wanted`, by invocation.
fn additions(calls: &Calls, order: &[u32], value: &Value, wanted: impl Fn(&Call) -> bool) -> Vec<u32> {
    let Some(id) = calls.values.find(value) else { return Vec::new() };
    let adds = |index: &u32| {
        let call = &calls.calls[*index as usize];
        call.input == id && function(calls, call) == "add" && wanted(call)
    };
    order.iter().copied().filter(adds).collect()
}
