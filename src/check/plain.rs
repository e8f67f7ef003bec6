//! Checks that need nothing but plain operations: who asked what, when, and what came back. They judge histories of any
//! origin, in the compact form of [`Calls`]; what they conclude of a run's history is told like any other check's.

use serde_json::{Map, Value as Json};

use super::linearizability::Budget;
use super::models::{Initial, Model};
use super::{Check, CheckResult, MAX_VIOLATIONS, Verdict, Violation};
use crate::history::calls::{Call, Calls, OPEN};
use crate::history::{History, Op, Outcome, Value};

/// What a history is to be checked against.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The specification; `None`: told by the names of the history's operations.
    pub model: Option<Model>,
    /// Its start.
    pub initial: Initial,
    /// What a search may spend.
    pub budget: Budget,
}

/// One violation of a plain check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// A stable name: `not-linearizable`, `cyclic-co`, `lost` …
    pub kind: &'static str,
    /// The key; [`Value::Nil`] where there are none.
    pub key: Value,
    /// The operations that prove it, by invocation: indices into [`Calls::calls`].
    pub ops: Vec<u32>,
    /// Whether each of them is known to be needed.
    pub minimal: bool,
    /// Further operations that help to understand it.
    pub context: Vec<u32>,
    /// The states the object could be in where it got stuck, for people.
    pub states: Vec<String>,
    /// What happened, in one or two sentences: "p3 read 17 after …".
    pub story: String,
    /// The likely cause, in a student's words.
    pub cause: String,
}

/// What a plain check concluded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The conclusion.
    pub verdict: Verdict,
    /// Why, when it is unknown. With `valid`: why that says little, since nothing could have been found. Of a given
    /// history that is an answer; of a run, which is to put the system to the test, it is none.
    pub reason: Option<String>,
    /// What there was to bite on: `{"keys": 8, "reads": 312}`.
    pub evidence: Map<String, Json>,
    /// The violations: one a kind and key at most, at most [`MAX_VIOLATIONS`], worst first.
    pub proofs: Vec<Proof>,
    /// How many there were in all.
    pub total: u64,
    /// Figures to show whatever the verdict.
    pub stats: Map<String, Json>,
}

impl Answer {
    /// Nothing can be said, because of `reason`.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Answer {
            verdict: Verdict::Unknown,
            reason: Some(reason.into()),
            evidence: Map::new(),
            proofs: Vec::new(),
            total: 0,
            stats: Map::new(),
        }
    }
}

/// One plain check. Stateless; registered in [`PLAIN`].
pub trait PlainCheck: Sync {
    /// Its name, as `--check` and `[checks]` know it.
    fn name(&self) -> &'static str;
    /// What it promises to find, in one sentence.
    fn about(&self) -> &'static str;
    /// The models it can judge; empty: any.
    fn models(&self) -> &'static [Model] {
        &[]
    }
    /// Judges a history.
    ///
    /// # Errors
    /// A sentence, when the history's operations or the initial value do not suit the model.
    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String>;
}

/// Every plain check there is. Adding one is a file and a line here; one whose name is not among
/// [`CHECKS`](super::CHECKS) has another line in [`OF_OBJECTS`](super::OF_OBJECTS).
pub static PLAIN: &[&dyn PlainCheck] = &[
    &super::linearizability::Linearizability,
    &super::levels::Sequential,
    &super::levels::Causal,
    &super::levels::ReadYourWrites,
    &super::levels::MonotonicReads,
    &super::levels::MonotonicWrites,
    &super::levels::WritesFollowReads,
    &super::levels::Eventual,
    &super::levels::Regular,
    &super::levels::Safe,
    &super::objects::Set,
    &super::objects::Counter,
    &super::objects::UniqueIds,
    &super::objects::Queue,
];

/// The plain check called `name`.
pub fn find(name: &str) -> Option<&'static dyn PlainCheck> {
    PLAIN.iter().copied().find(|check| check.name() == name)
}

/// The check of what objects of this model owe whatever the order of their operations.
pub fn of_object(model: Model) -> Option<&'static dyn PlainCheck> {
    PLAIN.iter().copied().find(|check| check.models() == [model])
}

/// The check of objects no model describes: sources of ids, and queues that are drained (a drain is many dequeues, and no
/// one of them happens at one moment). `None` where the history is of no such object.
pub fn without_model(calls: &Calls) -> Option<&'static dyn PlainCheck> {
    let mut used: Vec<&str> = Vec::new();
    for call in &calls.calls {
        let name = calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
        if !used.contains(&name) && name != "snapshot" {
            used.push(name);
        }
    }
    let only = |known: &[&str]| used.iter().all(|name| known.contains(name));
    if used.contains(&"generate") && only(&["generate"]) {
        find("unique-ids")
    } else if used.contains(&"drain") && only(&["enqueue", "dequeue", "drain"]) {
        find("queue")
    } else {
        None
    }
}

/// A plain check as a run's workload knows it.
pub struct OnRuns<T>(pub T);

impl<T: PlainCheck> Check for OnRuns<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn about(&self) -> &'static str {
        self.0.about()
    }

    fn check(&self, history: &History) -> CheckResult {
        let Some(calls) = Calls::from_history(history) else {
            return CheckResult::unknown("the history has more events than can be checked (4,294,967,293)");
        };
        match self.0.judge(&calls, &Question::default()) {
            Ok(answer) => told(answer, &calls, history),
            Err(why) => CheckResult::unknown(why),
        }
    }
}

/// An answer about a run, with the nodes and the faults that were in it.
fn told(answer: Answer, calls: &Calls, history: &History) -> CheckResult {
    let tell = |proof: Proof| violation(proof, calls, history);
    let toothless = answer.verdict == Verdict::Valid && answer.reason.is_some();
    CheckResult {
        verdict: if toothless { Verdict::Unknown } else { answer.verdict },
        reason: answer.reason,
        evidence: answer.evidence,
        violations: answer.proofs.into_iter().take(MAX_VIOLATIONS).map(tell).collect(),
        violations_total: answer.total,
        excused: 0,
        stats: answer.stats,
    }
}

fn violation(proof: Proof, calls: &Calls, history: &History) -> Violation {
    let name = |index: &u32| u64::from(calls.calls[*index as usize].invoke);
    let indices: Vec<u64> = proof.ops.iter().map(name).collect();
    let ops: Vec<&Op> = indices.iter().filter_map(|index| op_of(history, *index)).collect();
    let from_ns = ops.iter().map(|op| op.invoked_ns).min().unwrap_or(0);
    let to_ns = ops.iter().filter_map(|op| op.returned_ns).max().unwrap_or(from_ns);
    let blamed = blamed(&proof, calls).into_iter().map(|call| u64::from(calls.calls[call as usize].invoke));
    let asked: Vec<&Op> = blamed.filter_map(|index| op_of(history, index)).collect();
    let mut nodes: Vec<String> =
        asked.iter().filter_map(|op| op.node.as_deref()).map(str::to_owned).collect();
    nodes.sort();
    nodes.dedup();
    Violation {
        kind: proof.kind,
        key: match &proof.key {
            Value::Nil => None,
            Value::Text(key) => Some(key.to_string()),
            other => Some(other.to_string()),
        },
        nodes,
        story: proof.story,
        cause: proof.cause,
        ops: indices,
        faults: history.faults_during(from_ns, to_ns),
        diagram: None,
    }
}

/// The operations of a proof whose nodes it is about. Mostly that is the answer that has no place once the others are known,
/// the last to be given: nodes that took a write or answered before are innocent, and the proof names them anyway. Where
/// time decides nothing it is all that answered; and where an answer is given out once only, both who gave it.
fn blamed(proof: &Proof, calls: &Calls) -> Vec<u32> {
    let call = |index: &u32| &calls.calls[*index as usize];
    let f = |index: &u32| calls.functions.get(usize::from(call(index).f)).map_or("?", |name| &**name);
    let answered = |index: &&u32| call(index).outcome == Outcome::Ok && !UPDATES.contains(&f(index));
    let completed = |index: &&u32| call(index).ret != OPEN;
    let last = proof.ops.iter().filter(answered).max_by_key(|index| call(index).ret);
    let last = last.or_else(|| proof.ops.iter().filter(completed).max_by_key(|index| call(index).ret));
    let Some(last) = last else { return proof.ops.clone() };
    let any = ["not-sequential", "cyclic-co", "cyclic-cf"].contains(&proof.kind);
    let once = ["generate", "dequeue"].contains(&f(last));
    let same = |index: &&u32| {
        let twice = once && f(index) == f(last) && call(index).output == call(last).output;
        *index == last || any && answered(index) || twice
    };
    proof.ops.iter().filter(same).copied().collect()
}

/// Functions that bring a value along and answer nothing.
const UPDATES: [&str; 11] =
    ["write", "put", "delete", "append", "add", "remove", "enqueue", "increment", "decrement", "inc", "dec"];

/// The operation with this index; operations are sorted by it.
fn op_of(history: &History, index: u64) -> Option<&Op> {
    history.ops.binary_search_by_key(&index, |op| op.index).ok().map(|at| &history.ops[at])
}

/// Whether a call shows something: an `ok` whose answer carries more than was asked.
pub fn observes(call: &Call) -> bool {
    call.outcome == Outcome::Ok && call.output != call.input
}
