//! The check as `[checks]` knows it: each key of a run's history a register.

use serde_json::{Map, Value as Json};

use super::{Judgement, Options, judge};
use crate::check::models::{Initial, Model};
use crate::check::{Check, CheckResult, Verdict, Violation};
use crate::history::calls::Calls;
use crate::history::{History, Outcome, Value};

/// `linearizability` against the model `register`, starting with nothing.
pub struct Linearizability;

impl Check for Linearizability {
    fn name(&self) -> &'static str {
        "linearizability"
    }

    fn about(&self) -> &'static str {
        "each operation seems to take effect at one moment between its invocation and its completion"
    }

    fn check(&self, history: &History) -> CheckResult {
        let Some(calls) = Calls::from_history(history) else {
            return unknown("the history has more events than can be checked (4,294,967,293)".into());
        };
        match judge(&calls, &Options::new(Model::Register, Initial::Default)) {
            Ok(judgement) => result(&calls, &judgement, history),
            Err(why) => unknown(why),
        }
    }
}

fn unknown(reason: String) -> CheckResult {
    CheckResult {
        verdict: Verdict::Unknown,
        reason: Some(reason),
        evidence: Map::new(),
        violations: Vec::new(),
        violations_total: 0,
        excused: 0,
        stats: Map::new(),
    }
}

/// A judgement as a check's result.
fn result(calls: &Calls, judgement: &Judgement, history: &History) -> CheckResult {
    let ok = calls.calls.iter().filter(|call| call.outcome == Outcome::Ok).count();
    let observations =
        calls.calls.iter().filter(|call| call.outcome == Outcome::Ok && call.output != call.input).count();
    let mut evidence = Map::new();
    evidence.insert("keys".into(), Json::from(judgement.keys));
    evidence.insert("operations".into(), Json::from(ok));
    evidence.insert("reads".into(), Json::from(observations));
    if judgement.verdict == Verdict::Valid && observations == 0 {
        return CheckResult {
            evidence,
            ..unknown("no completed read: nothing could have been found".into())
        };
    }
    let violations: Vec<Violation> = judgement
        .failure
        .iter()
        .map(|failure| {
            let named = failure.proof.iter().map(|index| &calls.calls[*index as usize]);
            let ops: Vec<u64> = named.map(|call| u64::from(call.invoke)).collect();
            let of_proof = |op: &&crate::history::Op| ops.contains(&op.index);
            let from = history.ops.iter().filter(of_proof).map(|op| op.invoked_ns).min().unwrap_or(0);
            let to = history.ops.iter().filter(of_proof).filter_map(|op| op.returned_ns).max().unwrap_or(from);
            let mut nodes: Vec<String> =
                history.ops.iter().filter(of_proof).filter_map(|op| op.node.as_deref()).map(str::to_owned).collect();
            nodes.sort();
            nodes.dedup();
            Violation {
                kind: "not-linearizable",
                key: match &failure.key {
                    Value::Nil => None,
                    Value::Text(key) => Some(key.to_string()),
                    other => Some(other.to_string()),
                },
                nodes,
                story: failure.story.clone(),
                cause: "an answer came from a copy that did not have, or no longer had, the newest acknowledged write"
                    .into(),
                ops: ops.clone(),
                faults: history.faults_during(from, to),
            }
        })
        .collect();
    CheckResult {
        verdict: judgement.verdict,
        reason: judgement.reason.clone(),
        evidence,
        violations,
        violations_total: judgement.keys_invalid as u64,
        excused: 0,
        stats: Map::new(),
    }
}
