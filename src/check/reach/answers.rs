//! What each node answered, and how promptly: whether it was awake, and whether it said that it leads.
//!
//! A store on a machine that has no time for it elects nobody and serves nobody, and is correct. So nothing is concluded
//! from silence alone: the nodes must have been answering other things meanwhile, all along, and soon.

use super::{Nodes, Reach, members};
use crate::history::{History, Op, Outcome};

/// An answer that took longer is no sign of a machine that has time, ns.
const PROMPT_NS: u64 = 250_000_000;
/// A stretch is divided into slots of at least so long, ns, in each of which every node must have answered promptly.
const SLOT_NS: u64 = 500_000_000;

/// The answers of each node, by the number it has in [`Reach`].
pub struct Answers<'h> {
    /// When it answered promptly, whatever it was asked, ns, ascending.
    prompt: Vec<Vec<u64>>,
    /// When it told its role promptly, ns, ascending.
    told: Vec<Vec<u64>>,
    /// Answered status questions that tell a role, in order of invocation.
    statuses: Vec<Vec<&'h Op>>,
}

impl<'h> Answers<'h> {
    /// Indexes a history.
    pub fn new(reach: &Reach, history: &'h History) -> Self {
        let (none, total) = (Vec::new(), reach.total());
        let mut answers = Answers {
            prompt: vec![none.clone(); total],
            told: vec![none; total],
            statuses: vec![Vec::new(); total],
        };
        for op in &history.ops {
            let Some(node) = op.node.as_deref().and_then(|node| reach.find(node)) else { continue };
            let Some(returned_ns) = op.returned_ns else { continue };
            // A refusal that claims something was answered by the node; one that does not may be its absence.
            let answered = op.is_ok() || (op.outcome == Outcome::Fail && op.claim.is_some());
            let prompt = answered && returned_ns - op.invoked_ns <= PROMPT_NS;
            let tells = &*op.f == "status"
                && op.is_ok()
                && op.claim.as_ref().is_some_and(|claim| claim.role.is_some());
            if prompt {
                answers.prompt[node].push(returned_ns);
            }
            if prompt && tells {
                answers.told[node].push(returned_ns);
            }
            if tells {
                answers.statuses[node].push(op);
            }
        }
        for times in answers.prompt.iter_mut().chain(&mut answers.told) {
            times.sort_unstable();
        }
        answers
    }

    /// The stretches of the interval in which each of `nodes` went on answering promptly: anything, or (`roles`) what its
    /// role is.
    pub fn awake(&self, nodes: Nodes, roles: bool, from_ns: u64, to_ns: u64) -> Vec<(u64, u64)> {
        let length_ns = to_ns.saturating_sub(from_ns);
        let slots = (length_ns / SLOT_NS).max(1);
        let bound =
            |slot: u64| from_ns + (u128::from(length_ns) * u128::from(slot) / u128::from(slots)) as u64;
        let times = if roles { &self.told } else { &self.prompt };
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for slot in 0..slots {
            let (begins_ns, ends_ns) = (bound(slot), bound(slot + 1));
            let before = |node: usize, ns: u64| times[node].partition_point(|time| *time < ns);
            if !members(nodes).all(|node| before(node, begins_ns) < before(node, ends_ns)) {
                continue;
            }
            match stretches.last_mut() {
                Some(last) if last.1 == begins_ns => last.1 = ends_ns,
                _ => stretches.push((begins_ns, ends_ns)),
            }
        }
        stretches
    }

    /// Answered status questions of `node` that lie within the interval.
    pub fn statuses(&self, node: usize, from_ns: u64, to_ns: u64) -> Vec<&'h Op> {
        let all = &self.statuses[node];
        let first = all.partition_point(|op| op.invoked_ns < from_ns);
        all[first..]
            .iter()
            .take_while(|op| op.invoked_ns <= to_ns)
            .copied()
            .filter(|op| op.end_ns() <= to_ns)
            .collect()
    }

    /// Answered status questions of `node` of which any moment lies within the interval.
    pub fn overlapping(&self, node: usize, from_ns: u64, to_ns: u64) -> impl Iterator<Item = &'h Op> + '_ {
        let near = self.statuses[node].iter().take_while(move |op| op.invoked_ns <= to_ns);
        near.copied().filter(move |op| op.end_ns() >= from_ns)
    }

    /// From when until when in the interval `node` said that it leads, in one term; `None` where it ever said otherwise.
    pub fn led(&self, node: usize, from_ns: u64, to_ns: u64) -> Option<(u64, u64)> {
        let statuses = self.statuses(node, from_ns, to_ns);
        let (first, last) = (statuses.first()?, statuses.last()?);
        let term = |op: &Op| op.claim.as_ref().and_then(|claim| claim.term);
        let led = statuses.iter().all(|op| leads(op)) && term(first) == term(last);
        led.then(|| (first.invoked_ns, last.end_ns()))
    }
}

/// Whether the answering node said that it leads.
pub fn leads(op: &Op) -> bool {
    op.claim.as_ref().is_some_and(|claim| claim.leads())
}
