//! Writes refused although a majority with W replicas could serve.
//!
//! What is promised (`elect-within`): once a majority can talk, it has a leader that serves within that time. A window
//! ([`windows`](crate::check::reach::windows)) has such a majority; what is left of it after `elect-within` must be
//! at least [`LEAST_NS`] long, and of the writes begun and answered in there *not one* was acknowledged, of at least
//! [`LEAST_WRITES`].
//!
//! A correct store looks like that, too:
//! - where the writes went to followers, which may refuse them. So they must have gone to a node that said that it leads
//!   whenever it was asked, or to every node of the majority;
//! - on a machine that has no time for it. So all nodes of the majority must have answered other things promptly, in each
//!   part of the window, before and after `elect-within`. One acknowledged write anywhere in it is enough to say nothing.

use super::found::Found;
use super::{Declared, acked};
use crate::check::facts::{Facts, WriteId};
use crate::check::findings::Findings;
use crate::check::reach::answers::Answers;
use crate::check::reach::windows::{Window, windows};
use crate::check::reach::{MARGIN_NS, Reach, members};

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
        let due_ns = window.from_ns.saturating_add(elect_ns);
        if due_ns.saturating_add(LEAST_NS) > window.until_ns {
            continue;
        }
        let awake = answers.awake(window.group, window.from_ns, due_ns)
            && answers.awake(window.group, due_ns, window.until_ns);
        if !awake {
            continue;
        }
        judged += u64::from(written(facts, due_ns, window.until_ns));
        if let Some((refused, leader)) = all_refused(facts, reach, &answers, window, due_ns) {
            let group = reach.names(window.group).into_iter().map(str::to_owned).collect();
            let leader = leader.map(|node| reach.names(1 << node)[0].to_owned());
            let span = (window.from_ns, due_ns, window.until_ns);
            findings.add(facts, Found::Refused { refused, group, leader, span, quorum });
        }
    }
    judged
}

fn written(facts: &Facts, from_ns: u64, to_ns: u64) -> bool {
    let ended = |id: WriteId| facts.write(id).op.returned_ns.is_some_and(|returned_ns| returned_ns <= to_ns);
    within(facts, from_ns, to_ns).filter(|id| ended(*id)).count() >= LEAST_WRITES
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
    window: Window,
    due_ns: u64,
) -> Option<(Vec<WriteId>, Option<usize>)> {
    let until_ns = window.until_ns;
    let served = facts
        .writes
        .iter()
        .any(|write| acked(write) && write.op.invoked_ns <= until_ns && write.acked_ns() >= due_ns);
    if served {
        return None;
    }
    let mut refused: Vec<Vec<WriteId>> = vec![Vec::new(); reach.total()];
    for id in within(facts, due_ns, until_ns) {
        let write = facts.write(id);
        let ended = write.op.returned_ns.is_some_and(|returned_ns| returned_ns <= until_ns);
        let understood = !facts.history.not_understood.contains(&write.op.index);
        if let Some(node) = reach.find(facts.node_name(write.node)).filter(|_| ended && understood) {
            refused[node].push(id);
        }
    }
    let led = |node: &usize| answers.led_throughout(*node, due_ns, until_ns);
    if let Some(leader) = members(window.group).find(led) {
        let mut ids = refused.swap_remove(leader);
        ids.truncate(LEAST_WRITES);
        return (ids.len() == LEAST_WRITES).then_some((ids, Some(leader)));
    }
    let each = members(window.group).all(|node| refused[node].len() >= LEAST_EACH);
    let all: usize = members(window.group).map(|node| refused[node].len()).sum();
    if !each || all < LEAST_WRITES {
        return None;
    }
    let mut ids: Vec<WriteId> =
        members(window.group).flat_map(|node| refused[node].iter().take(LEAST_EACH).copied()).collect();
    ids.sort_unstable();
    Some((ids, None))
}
