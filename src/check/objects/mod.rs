//! Checks of objects that are no registers: what a set, a counter, a queue or a source of ids owes its users however
//! weakly it is replicated. Each takes one look at every operation, so that they judge millions where the search for
//! a linearization must give up; what they leave to `linearizability` each of them says.
//!
//! Keys are objects of their own. A proof names operations; that *nobody* else saw or took an element is the silence of
//! the whole history and no operation of it.

mod counter;
mod queue;
mod set;
mod unique_ids;

pub use counter::Counter;
pub use queue::Queue;
pub use set::Set;
pub use unique_ids::UniqueIds;

use serde_json::{Map, Value as Json};

use super::models::Said;
use super::plain::{Answer, Proof};
use super::{MAX_VIOLATIONS, Verdict};
use crate::history::calls::{Call, Calls};
use crate::history::hash::Fast;
use crate::history::{Number, Outcome, Value};

/// What was found so far, over all keys.
#[derive(Default)]
struct Tally {
    /// How bad, and the proof.
    proofs: Vec<(u64, Proof)>,
    total: u64,
    /// Why something could not be judged.
    unknown: Option<String>,
}

impl Tally {
    /// `count` violations of one kind on one key, of which `proof` proves one.
    fn found(&mut self, count: u64, proof: Proof) {
        self.total += count;
        self.proofs.push((count, proof));
        // The worst are kept; sorting now and then keeps a history of a million bad keys within bounds.
        if self.proofs.len() > 64 * MAX_VIOLATIONS {
            self.keep_the_worst();
        }
    }

    fn keep_the_worst(&mut self) {
        self.proofs.sort_by_key(|(count, proof)| (std::cmp::Reverse(*count), proof.ops.first().copied()));
        self.proofs.truncate(MAX_VIOLATIONS);
    }

    fn answer(mut self, evidence: Map<String, Json>, stats: Map<String, Json>) -> Answer {
        self.keep_the_worst();
        let verdict = match (self.total, &self.unknown) {
            (1.., _) => Verdict::Invalid,
            (0, Some(_)) => Verdict::Unknown,
            (0, None) => Verdict::Valid,
        };
        Answer {
            verdict,
            reason: self.unknown.filter(|_| verdict == Verdict::Unknown),
            evidence,
            proofs: self.proofs.into_iter().map(|(_, proof)| proof).collect(),
            total: self.total,
            stats,
        }
    }
}

/// Calls `judge` for each key that has calls: its name, and its calls by invocation.
fn each_key(
    calls: &Calls,
    mut judge: impl FnMut(&Value, &[u32]) -> Result<(), String>,
) -> Result<u64, String> {
    let (order, starts) = calls.by_key();
    let mut keys = 0;
    for (key, range) in starts.windows(2).enumerate() {
        let part = &order[range[0] as usize..range[1] as usize];
        if !part.is_empty() {
            judge(&calls.keys[key], part)?;
            keys += 1;
        }
    }
    Ok(keys)
}

/// The name of a call's function.
fn function<'a>(calls: &'a Calls, call: &Call) -> &'a str {
    calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name)
}

/// Values that were looked up already.
struct Lookup<'a> {
    calls: &'a Calls,
    input: Value,
    output: Value,
}

impl<'a> Lookup<'a> {
    fn new(calls: &'a Calls) -> Self {
        Lookup { calls, input: Value::Nil, output: Value::Nil }
    }

    /// What was said about a call.
    fn said(&mut self, call: &Call) -> Said<'_> {
        self.input = self.calls.values.get(call.input);
        self.output = self.calls.values.get(call.output);
        let f = function(self.calls, call);
        Said { f, input: &self.input, output: &self.output, outcome: call.outcome }
    }

    /// The same as if its outcome were unknown: what it would have done.
    fn attempted(&mut self, call: &Call) -> Said<'_> {
        Said { outcome: Outcome::Info, ..self.said(call) }
    }
}

/// Whether equal values are certainly the same: whole numbers beyond 64 bits and beyond what a float holds exactly were
/// rounded when the history was read, and look equal though their digits differ.
fn exact(value: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(Number::Float(float)) => float.abs() < EXACT,
        // An unsigned number just above rounds to the same float as these.
        Value::Number(Number::Int(int)) => *int < i64::MAX - 1024,
        _ => true,
    }
}

fn figures<const N: usize>(figures: [(&str, u64); N]) -> Map<String, Json> {
    figures.into_iter().map(|(name, figure)| (name.to_owned(), Json::from(figure))).collect()
}

/// A proof whose every operation is needed.
fn proof(calls: &Calls, kind: &'static str, key: &Value, ops: Vec<u32>, story: String, cause: &str) -> Proof {
    let mut ops = ops;
    ops.sort_unstable_by_key(|call| calls.calls[*call as usize].invoke);
    Proof {
        kind,
        key: key.clone(),
        ops,
        minimal: true,
        context: Vec::new(),
        states: Vec::new(),
        story,
        cause: cause.into(),
    }
}

/// Something a value, in the order in which each value came first.
struct ByValue<T> {
    ids: Fast<Value, u32>,
    entries: Vec<(Value, T)>,
}

impl<T> Default for ByValue<T> {
    fn default() -> Self {
        ByValue { ids: Fast::default(), entries: Vec::new() }
    }
}

impl<T: Default> ByValue<T> {
    fn entry(&mut self, value: Value) -> &mut T {
        let next = self.entries.len() as u32;
        let at = *self.ids.entry(value.clone()).or_insert(next);
        if at == next {
            self.entries.push((value, T::default()));
        }
        &mut self.entries[at as usize].1
    }
}
