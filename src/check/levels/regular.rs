//! `regular` and `safe`: what single reads of a register may return, as quorum reads promise it.
//!
//! **Definition.** Lamport (*On interprocess communication*, 1986) defines both for one writer:
//! - *safe*: a read that overlaps no write returns the latest value;
//! - *regular*: moreover, a read that overlaps writes returns the latest value before it or that of one of those writes.
//!
//! For several writers: MWRegWeak (Shao, Welch, Pierce & Lee, *Multiwriter consistency conditions for shared memory
//! registers*, SIAM J. Comput. 2011), the weakest of their conditions, which binds each read by itself. A read may return
//! the value of a write that began before the read ended, unless another write came wholly in between: it began after
//! that write had ended, and ended before the read began. What was there at the start counts as a write that ended before
//! everything. *Safe* demands that only of reads that overlap no write.
//!
//! Two reads may disagree about the order of the writes, and a later read may return an older value, as long as
//! each has an excuse: majority quorums without a write-back in reads give just this. Linearizable implies regular implies
//! safe; neither implies or is implied by a session guarantee.
//!
//! **Complexity.** n log n.
//!
//! **Why it is sound.** A write of unknown outcome never ends: it may be read ever after its invocation, has not
//! certainly overwritten anything, and overlaps every later read. A failed one did not happen; a read of unknown
//! outcome says nothing. Where a value was written more than once, one write that fits is excuse enough. Of a
//! compare-and-set only the write is looked at: neither condition says what it may find.

use std::time::Instant;

use serde_json::{Map, Value as Json};

use super::causal::{MOST_TIME, by_invocation, conclude, name};
use super::minimal::minimise;
use super::registers::{Fact, Facts, MODELS};
use crate::check::models::Model;
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::Outcome;
use crate::history::calls::{Calls, OPEN, ValueId};
use crate::history::hash::Fast;

/// Regular registers.
pub struct Regular;
/// Safe registers.
pub struct Safe;

impl PlainCheck for Regular {
    fn name(&self) -> &'static str {
        "regular"
    }

    fn about(&self) -> &'static str {
        "a read returns a value that no acknowledged write had replaced before it began"
    }

    fn models(&self) -> &'static [Model] {
        MODELS
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        judge(calls, question, false)
    }
}

impl PlainCheck for Safe {
    fn name(&self) -> &'static str {
        "safe"
    }

    fn about(&self) -> &'static str {
        "a read that overlaps no write returns a value that no other write had replaced before it began"
    }

    fn models(&self) -> &'static [Model] {
        MODELS
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        judge(calls, question, true)
    }
}

/// Of a safe register's writes a proof names all that began before the read ended, unless there are more.
const MOST_IN_PROOF: usize = 64;

/// A write in time.
#[derive(Clone, Copy, Debug)]
struct Written {
    invoke: u32,
    /// [`OPEN`] where it may last for ever.
    ret: u32,
    call: u32,
}

/// The writes of one key, or of one value of a key.
#[derive(Default)]
struct Writes {
    /// By invocation; the end is the latest of all so far.
    begun: Vec<Written>,
    /// By end, those that end; the invocation is the latest of all so far.
    ended: Vec<Written>,
}

impl Writes {
    fn prepare(&mut self) {
        self.ended = self.begun.iter().copied().filter(|write| write.ret != OPEN).collect();
        self.begun.sort_unstable_by_key(|write| write.invoke);
        self.ended.sort_unstable_by_key(|write| write.ret);
        for at in 1..self.begun.len() {
            if self.begun[at - 1].ret > self.begun[at].ret {
                self.begun[at].ret = self.begun[at - 1].ret;
                self.begun[at].call = self.begun[at - 1].call;
            }
        }
        for at in 1..self.ended.len() {
            if self.ended[at - 1].invoke > self.ended[at].invoke {
                self.ended[at].invoke = self.ended[at - 1].invoke;
                self.ended[at].call = self.ended[at - 1].call;
            }
        }
    }

    /// Of those begun before `moment`, the one that lasts longest.
    fn longest(&self, moment: u32) -> Option<Written> {
        let count = self.begun.partition_point(|write| write.invoke < moment);
        (count > 0).then(|| self.begun[count - 1])
    }

    /// Of those that ended before `moment`, the one that began last.
    fn latest(&self, moment: u32) -> Option<Written> {
        let count = self.ended.partition_point(|write| write.ret < moment);
        (count > 0).then(|| self.ended[count - 1])
    }
}

/// All writes, by key and by value.
struct Register<'a> {
    calls: &'a Calls,
    initial: Option<ValueId>,
    keys: Fast<u32, Writes>,
    values: Fast<(u32, ValueId), Writes>,
    safe: bool,
}

impl<'a> Register<'a> {
    fn new(calls: &'a Calls, list: &[Fact], initial: Option<ValueId>, safe: bool) -> Self {
        let mut register = Register { calls, initial, keys: Fast::default(), values: Fast::default(), safe };
        for fact in list {
            let Some(value) = fact.write.filter(|_| fact.outcome != Outcome::Fail) else { continue };
            let call = &calls.calls[fact.call as usize];
            let ret = if fact.outcome == Outcome::Ok { call.ret } else { OPEN };
            let write = Written { invoke: call.invoke, ret, call: fact.call };
            register.keys.entry(fact.key).or_default().begun.push(write);
            register.values.entry((fact.key, value)).or_default().begun.push(write);
        }
        register.keys.values_mut().chain(register.values.values_mut()).for_each(Writes::prepare);
        register
    }

    /// Whether the definition says anything of this read.
    fn binds(&self, read: &Fact) -> bool {
        let call = &self.calls.calls[read.call as usize];
        let longest = self.keys.get(&read.key).and_then(|writes| writes.longest(call.ret));
        !self.safe || longest.is_none_or(|write| write.ret < call.invoke)
    }

    /// Why a read may not have returned what it did: `Some` with the write that had replaced it, if there was one.
    fn refuted(&self, read: &Fact) -> Option<Option<u32>> {
        let value = read.read?;
        if !self.binds(read) {
            return None;
        }
        let call = &self.calls.calls[read.call as usize];
        let replaced = self.keys.get(&read.key).and_then(|writes| writes.latest(call.invoke));
        let excuse = self.values.get(&(read.key, value)).and_then(|writes| writes.longest(call.ret));
        let from_start = Some(value) == self.initial;
        match (replaced, excuse) {
            (None, None) if !from_start => Some(None),
            (None, _) => None,
            (Some(replaced), Some(excuse)) if excuse.ret > replaced.invoke => None,
            (Some(_), None) if !from_start => Some(None),
            (Some(replaced), _) => Some(Some(replaced.call)),
        }
    }
}

fn judge(calls: &Calls, question: &Question, safe: bool) -> Result<Answer, String> {
    let facts = Facts::new(calls, question)?;
    let register = Register::new(calls, &facts.list, facts.initial, safe);
    let reads = || facts.list.iter().filter(|fact| is_read(fact));
    let judged = reads().filter(|read| register.binds(read)).count();
    let mut evidence = Map::new();
    evidence.insert("keys".into(), Json::from(register.keys.len()));
    evidence.insert("reads".into(), Json::from(reads().count()));
    evidence.insert("judged".into(), Json::from(judged));
    if judged == 0 {
        let why = match reads().count() {
            0 => "no completed read: nothing could have been found",
            _ => "every read overlaps a write, and then a safe register may return anything",
        };
        return Ok(Answer { evidence, ..Answer::unknown(why) });
    }
    let deadline = Instant::now() + MOST_TIME;
    let mut seen: Vec<(u32, bool)> = Vec::new();
    let mut proofs = Vec::new();
    let mut total = 0;
    for read in reads() {
        let Some(replaced) = register.refuted(read) else { continue };
        total += 1;
        let this = (read.key, replaced.is_some());
        if !seen.contains(&this) && proofs.len() < crate::check::MAX_VIOLATIONS {
            seen.push(this);
            proofs.push(proof(&register, &facts, read, replaced, deadline));
        }
    }
    Ok(conclude(proofs, total, None, evidence))
}

/// Of a compare-and-set only the write is looked at.
fn is_read(fact: &Fact) -> bool {
    fact.outcome == Outcome::Ok && fact.read.is_some() && fact.write.is_none()
}

fn proof(
    register: &Register<'_>,
    facts: &Facts,
    read: &Fact,
    replaced: Option<u32>,
    deadline: Instant,
) -> Proof {
    let calls = register.calls;
    let value = read.read;
    let same = |fact: &&Fact| fact.key == read.key && fact.write == value && fact.write.is_some();
    let writes: Vec<&Fact> = facts.list.iter().filter(same).collect();
    // A failed write of the value, once relaxed, may have happened.
    let mut set: Vec<u32> = writes.iter().map(|fact| fact.call).chain(replaced).chain([read.call]).collect();
    let ends = calls.calls[read.call as usize].ret;
    let begun = |fact: &&Fact| {
        fact.key == read.key && fact.write.is_some() && calls.calls[fact.call as usize].invoke < ends
    };
    // A write of unknown outcome may overlap the read, so of a safe register all of them have a part in the proof.
    let all = facts.list.iter().filter(begun).count();
    if register.safe && all <= MOST_IN_PROOF {
        set.extend(facts.list.iter().filter(begun).map(|fact| fact.call));
    }
    set.sort_unstable();
    set.dedup();
    let concerned: Vec<Fact> =
        facts.list.iter().filter(|fact| set.binary_search(&fact.call).is_ok()).copied().collect();
    let refutes = |kept: &[u32]| {
        let relax = |fact: &Fact| match kept.contains(&fact.call) {
            true => *fact,
            false => Fact { outcome: Outcome::Info, ..*fact },
        };
        let relaxed: Vec<Fact> = concerned.iter().map(relax).collect();
        let register = Register::new(calls, &relaxed, facts.initial, register.safe);
        relaxed.iter().any(|fact| is_read(fact) && register.refuted(fact).is_some())
    };
    let (ops, minimal) = match register.safe && all > MOST_IN_PROOF {
        true => (set, false),
        false => minimise(set, deadline, |kept| Some(refutes(kept))),
    };
    let call = &calls.calls[read.call as usize];
    let wrote = |call: u32| {
        let call = &calls.calls[call as usize];
        format!("p{}'s write of {}", call.process, name(calls, call.input))
    };
    let (kind, story) = match replaced {
        Some(replaced) => (
            "overwritten-value",
            format!(
                "p{} read {} although {} had been acknowledged before the read began, and had begun after everything that wrote {} was over",
                call.process,
                name(calls, call.output),
                wrote(replaced),
                name(calls, call.output)
            ),
        ),
        None => (
            "unwritten-value",
            format!("{}, which nobody had begun to write before the read ended", calls.describe(call)),
        ),
    };
    let context = writes.iter().map(|fact| fact.call).filter(|call| !ops.contains(call)).collect();
    Proof {
        kind,
        key: calls.keys[read.key as usize].clone(),
        ops: by_invocation(calls, ops),
        minimal,
        context,
        states: Vec::new(),
        story,
        cause: match replaced {
            Some(_) => "the copies that were asked had not received the latest acknowledged write: read and write quorums do not overlap, or one of them lost it".into(),
            None => "a value was made up, damaged, stored under another key, or kept from a write that was refused".into(),
        },
    }
}
