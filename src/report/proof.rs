//! The operations behind a violation, looked up in the history and written out.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::results::{HeldRow, ProofRow, ViolationRow};
use crate::check::Violation;
use crate::history::{Claim, Delivery, Entry, History, Op, Outcome, Phase};

/// Longest value, as JSON text, that a proof repeats; longer ones are cut, the history has them whole.
const VALUE_LIMIT: usize = 512;
/// So many entries of a log are written out; of longer ones the ends.
const SHOWN_ENTRIES: usize = 6;

/// A violation with its operations and the nodes' final state written out.
pub fn row(history: &History, violation: &Violation) -> ViolationRow {
    let key = violation.key.as_deref();
    let find = |index: &u64| match history.op(*index) {
        Some(op) => Some(proof_row(op, key)),
        None => history.delivery(*index).map(delivered_row),
    };
    ViolationRow {
        kind: violation.kind.to_owned(),
        key: violation.key.clone(),
        nodes: violation.nodes.clone(),
        story: violation.story.clone(),
        cause: violation.cause.clone(),
        ops: violation.ops.clone(),
        faults: violation.faults.clone(),
        diagram: violation.diagram.clone(),
        proof: violation.ops.iter().filter_map(find).collect(),
        now: key.map(|key| held_now(history, key)).unwrap_or_default(),
    }
}

fn proof_row(op: &Op, key: Option<&str>) -> ProofRow {
    let held = key.and_then(|key| op.snapshot.as_ref()?.get(key));
    let (value, version) = match (&op.snapshot, held) {
        (Some(_), Some(held)) => (held.value.to_json(), held.version.as_ref()),
        (Some(_), None) => (Json::Null, None),
        (None, _) => (answered(op), op.version.as_ref()),
    };
    let outcome = match op.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Info => "info",
    };
    ProofRow {
        op: op.index,
        process: Some(op.process),
        node: op.node.as_deref().map(str::to_owned),
        f: op.f.to_string(),
        key: op.key.as_deref().or(key.filter(|_| op.snapshot.is_some())).map(str::to_owned),
        value: shortened(value),
        version: version.map(crate::history::Version::to_json),
        outcome: outcome.to_owned(),
        invoked_ms: milliseconds(op.invoked_ns),
        returned_ms: op.returned_ns.map(milliseconds),
        error: op.error.as_deref().map(str::to_owned),
    }
}

/// What an operation wrote or was answered, in short.
fn answered(op: &Op) -> Json {
    match (&op.entries, &op.claim) {
        (Some(entries), _) => shown(entries),
        (None, Some(claim)) if &*op.f == "status" => said(claim),
        _ => op.value.to_json(),
    }
}

/// A log, which is long, by its ends: `97 entries: m1 … m195 m196`.
fn shown(entries: &[Entry]) -> Json {
    let name = |entry: &Entry| entry.value.plain();
    let names = match entries {
        [] => return "an empty log".into(),
        [only] => return format!("1 entry: {}", name(only)).into(),
        [first, .., last] if entries.len() > SHOWN_ENTRIES => {
            format!("{} … {} {}", name(first), name(&entries[entries.len() - 2]), name(last))
        }
        _ => entries.iter().map(name).collect::<Vec<_>>().join(" "),
    };
    format!("{} entries: {names}", entries.len()).into()
}

fn said(claim: &Claim) -> Json {
    let role = claim.role.as_deref().unwrap_or("no role");
    let term = claim.term.map(|term| format!(" in term {term}")).unwrap_or_default();
    let leader = claim.leader.as_deref().filter(|_| role != "leader");
    let leader = leader.map(|leader| format!(", leader {leader}")).unwrap_or_default();
    format!("{role}{term}{leader}").into()
}

/// A delivery has no client and no beginning: it was seen.
fn delivered_row(delivery: &Delivery) -> ProofRow {
    ProofRow {
        op: delivery.index,
        process: delivery.subscriber,
        node: Some(delivery.node.to_string()),
        f: "deliver".to_owned(),
        key: delivery.key.as_deref().map(str::to_owned),
        value: shortened(delivery.entry.value.to_json()),
        version: None,
        outcome: "ok".to_owned(),
        invoked_ms: milliseconds(delivery.time_ns),
        returned_ms: Some(milliseconds(delivery.time_ns)),
        error: None,
    }
}

/// Microseconds are what the eye can use; more digits would only be noise in the file.
fn milliseconds(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1e3
}

fn shortened(value: Json) -> Json {
    let text = match &value {
        Json::String(text) => text.clone(),
        Json::Array(_) | Json::Object(_) => value.to_string(),
        _ => return value,
    };
    if text.len() <= VALUE_LIMIT {
        return value;
    }
    let kept: String = text.chars().take(VALUE_LIMIT).collect();
    Json::String(format!("{kept}… ({} bytes)", text.len()))
}

/// What each node held under `key` when the run ended: by its last snapshot of the settle phase or, for systems
/// without one, by the last read of the key, or question for its log, that it answered there. Empty when the run never came
/// to settle.
fn held_now(history: &History, key: &str) -> Vec<HeldRow> {
    let Some(settle_ns) = history.phase_began_ns(Phase::Settle) else { return Vec::new() };
    let snapshots = history.final_snapshots();
    let mut reads: BTreeMap<&str, &Op> = BTreeMap::new();
    for op in &history.ops {
        let is_read = op.is_ok() && matches!(&*op.f, "read" | "history") && op.key.as_deref() == Some(key);
        if let (true, Some(node)) = (is_read && op.invoked_ns >= settle_ns, op.node.as_deref()) {
            reads.insert(node, op);
        }
    }
    let held = |node: &String| {
        let by_snapshot = snapshots.get(node.as_str()).and_then(|op| op.snapshot.as_ref());
        let (answered, value, version) = match (by_snapshot, reads.get(node.as_str())) {
            (Some(snapshot), _) => match snapshot.get(key) {
                Some(held) => (true, held.value.to_json(), held.version.as_ref()),
                None => (true, Json::Null, None),
            },
            (None, Some(read)) => (true, answered(read), read.version.as_ref()),
            (None, None) => (false, Json::Null, None),
        };
        let version = version.map(crate::history::Version::to_json);
        HeldRow { node: node.clone(), answered, value: shortened(value), version }
    };
    history.contract.nodes.iter().map(held).collect()
}
