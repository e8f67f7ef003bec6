//! What the clients did, and what came back.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::build::RunFacts;
use super::results::{LoadRow, NotOk};
use crate::history::{Fault, History, Op, Outcome, Phase};

/// So many reasons are told; the rest is in the history.
const REASONS: usize = 8;

/// The row of a whole run; `client_ops` are the operations of the load.
pub(super) fn row(history: &History, client_ops: &[&Op], facts: &RunFacts) -> LoadRow {
    let count = |outcome| client_ops.iter().filter(|op| op.outcome == outcome).count() as u64;
    let duration_ms = if facts.load_ms > 0 { facts.load_ms } else { main_ms(history, client_ops) };
    let achieved_rate =
        if duration_ms == 0 { 0.0 } else { client_ops.len() as f64 / (duration_ms as f64 / 1e3) };
    LoadRow {
        asked_rate: facts.asked_rate,
        achieved_rate: (achieved_rate * 1e3).round() / 1e3,
        ok: count(Outcome::Ok),
        fail: count(Outcome::Fail),
        info: count(Outcome::Info),
        not_ok: not_ok(client_ops),
        clients: facts.clients,
        skipped: facts.skipped,
        held_up_by: held_up_by(history, client_ops),
        duration_ms,
    }
}

/// The fault under which the clients waited for most of their time, if an operation took at least three times as long
/// under it, at the nodes it was aimed at, as the others did.
fn held_up_by(history: &History, client_ops: &[&Op]) -> Option<String> {
    // One that never returned, because the harness was killed, has no time to show.
    let until_ns = |op: &Op| op.returned_ns.unwrap_or(op.invoked_ns);
    let waited_ns = |op: &Op| until_ns(op).saturating_sub(op.invoked_ns);
    let total_ns: u64 = client_ops.iter().map(|op| waited_ns(op)).sum();
    let under = |fault: &&Fault| {
        let aimed = |op: &Op| {
            fault.target.is_empty() || op.node.as_ref().is_some_and(|node| fault.target.contains(node))
        };
        let ops = client_ops.iter().filter(|op| aimed(op) && fault.overlaps(op.invoked_ns, until_ns(op)));
        ops.fold((0_u64, 0_u64), |(count, sum_ns), op| (count + 1, sum_ns + waited_ns(op)))
    };
    let (fault, (count, sum_ns)) =
        history.faults.iter().map(|fault| (fault, under(&fault))).max_by_key(|(_, (_, sum_ns))| *sum_ns)?;
    let others = client_ops.len() as u64 - count;
    let longer =
        u128::from(sum_ns) * u128::from(others) >= 3 * u128::from(total_ns - sum_ns) * u128::from(count);
    (count > 0 && 2 * sum_ns >= total_ns && longer).then(|| fault.label.clone())
}

fn main_ms(history: &History, client_ops: &[&Op]) -> u64 {
    let last_ns = client_ops.last().map_or(0, |op| op.invoked_ns);
    let from_ns = history.phase_began_ns(Phase::Main).unwrap_or(0);
    let to_ns = history.phase_began_ns(Phase::Heal).unwrap_or(last_ns);
    to_ns.saturating_sub(from_ns) / 1_000_000
}

/// Why operations did not end well, the commonest reason first.
fn not_ok(client_ops: &[&Op]) -> Vec<NotOk> {
    let mut reasons: BTreeMap<(Outcome, &str, &str), u64> = BTreeMap::new();
    for op in client_ops.iter().filter(|op| op.outcome != Outcome::Ok) {
        let node = op.node.as_deref().unwrap_or_default();
        let why = op.error.as_deref().unwrap_or("no answer was recorded");
        *reasons.entry((op.outcome, node, why)).or_default() += 1;
    }
    let mut rows: Vec<NotOk> = reasons
        .into_iter()
        .map(|((outcome, node, why), count)| NotOk { outcome, node: node.into(), why: why.into(), count })
        .collect();
    rows.sort_by_key(|row| Reverse(row.count));
    rows.truncate(REASONS);
    rows
}
