//! Writes refused although a majority with W replicas could serve.
//!
//! What is promised (`elect-within`): once a majority can talk, it has a leader that serves within that time. A window
//! ([`windows`](crate::check::reach::windows)) has such a majority. What is left of it after `elect-within` must be at least
//! [`LEAST_NS`] long, and of the writes begun and answered in there *not one* was acknowledged, of at least [`LEAST_WRITES`].
//!
//! A correct store looks like that, too:
//! - where the writes went to followers, which may refuse them. So they must have gone to a node while it said, before and
//!   after, that it leads in one term; or to every node of the majority;
//! - on a machine that has no time for it. So only stretches count throughout which all nodes of the majority answered other
//!   things promptly, and `elect-within` counts from the beginning of such a stretch. One acknowledged write anywhere in the
//!   window is enough to say nothing.

use super::found::Found;
use super::{Declared, acked};
use crate::check::facts::{Facts, WriteId};
use crate::check::findings::Findings;
use crate::check::reach::answers::Answers;
use crate::check::reach::windows::windows;
use crate::check::reach::{MARGIN_NS, Nodes, Reach, members};

/// What must be left of a window after the time to elect a leader, ns.
const LEAST_NS: u64 = 1_000_000_000;
/// Fewer refused writes prove nothing.
const LEAST_WRITES: usize = 5;
/// Where no node is known to lead, each must have refused so many.
const LEAST_EACH: usize = 2;

/// Judges every window; how many there were in which writes could have been expected.
pub fn judge(facts: &Facts, reach: &Reach, declared: Declared, findings: &mut Findings<Found>) -> u64 {
    let history = facts.history;
    let (Some(quorum), Some(elect_ms)) = (declared.write, history.contract.elect_within_ms) else { return 0 };
    let elect_ns = elect_ms.saturating_mul(1_000_000).max(MARGIN_NS);
    let majority = declared.nodes / 2 + 1;
    let answers = Answers::new(reach, history);
    let mut judged = 0;
    for window in windows(reach, history, majority.max(quorum) as usize) {
        let serving_ns = window.from_ns.saturating_add(elect_ns);
        if served(facts, serving_ns, window.until_ns) {
            judged += 1;
            continue;
        }
        for (from_ns, until_ns) in answers.awake(window.group, false, window.from_ns, window.until_ns) {
            let due_ns = from_ns.saturating_add(elect_ns);
            if due_ns.saturating_add(LEAST_NS) > until_ns {
                continue;
            }
            if let Some((refused, leader)) =
                all_refused(facts, reach, &answers, window.group, (due_ns, until_ns))
            {
                judged += 1;
                let group = reach.names(window.group).into_iter().map(str::to_owned).collect();
                let leader = leader.map(|node| reach.names(1 << node)[0].to_owned());
                let span = (from_ns, due_ns, until_ns);
                findings.add(facts, Found::Refused { refused, group, leader, span, quorum });
                break;
            }
        }
    }
    judged
}

/// Whether any write was acknowledged in the interval.
fn served(facts: &Facts, from_ns: u64, to_ns: u64) -> bool {
    facts
        .writes
        .iter()
        .any(|write| acked(write) && write.op.invoked_ns <= to_ns && write.acked_ns() >= from_ns)
}

/// The writes invoked in the interval.
fn within<'a>(facts: &'a Facts, from_ns: u64, to_ns: u64) -> impl Iterator<Item = WriteId> + 'a {
    let first = facts.writes.partition_point(|write| write.op.invoked_ns < from_ns);
    (first..facts.writes.len())
        .take_while(move |id| facts.writes[*id].op.invoked_ns <= to_ns)
        .map(|id| id as WriteId)
}

/// The refused writes that prove it, and who led.
fn all_refused(
    facts: &Facts,
    reach: &Reach,
    answers: &Answers,
    group: Nodes,
    (due_ns, until_ns): (u64, u64),
) -> Option<(Vec<WriteId>, Option<usize>)> {
    let mut refused: Vec<Vec<WriteId>> = vec![Vec::new(); reach.total()];
    for id in within(facts, due_ns, until_ns) {
        let write = facts.write(id);
        let ended = write.op.returned_ns.is_some_and(|returned_ns| returned_ns <= until_ns);
        let understood = !facts.history.not_understood.contains(&write.op.index);
        if let Some(node) = reach.find(facts.node_name(write.node)).filter(|_| ended && understood) {
            refused[node].push(id);
        }
    }
    for node in members(group) {
        let Some((from_ns, to_ns)) = answers.led(node, due_ns, until_ns) else { continue };
        let during = |id: &&WriteId| {
            let op = facts.write(**id).op;
            op.invoked_ns > from_ns && op.returned_ns.is_some_and(|returned_ns| returned_ns < to_ns)
        };
        let ids: Vec<WriteId> = refused[node].iter().filter(during).take(LEAST_WRITES).copied().collect();
        if to_ns - from_ns >= LEAST_NS && ids.len() == LEAST_WRITES {
            return Some((ids, Some(node)));
        }
    }
    let each = members(group).all(|node| refused[node].len() >= LEAST_EACH);
    let all: usize = members(group).map(|node| refused[node].len()).sum();
    if !each || all < LEAST_WRITES {
        return None;
    }
    let few = |node: usize| {
        refused[node].iter().take(LEAST_WRITES.div_ceil(group.count_ones() as usize).max(LEAST_EACH))
    };
    let mut ids: Vec<WriteId> = members(group).flat_map(few).copied().collect();
    ids.sort_unstable();
    Some((ids, None))
}
