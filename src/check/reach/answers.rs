//! What each node answered, and how promptly: whether it was awake, and whether it said that it leads.
//!
//! A store on a machine that has no time for it elects nobody and serves nobody, and is correct. So nothing is concluded
//! from silence alone: the nodes must have been answering other things meanwhile, all along, and soon.

use super::{Nodes, Reach, members};
use crate::history::{History, Op, Outcome};

/// An answer that took longer is no sign of a machine that has time, ns.
const PROMPT_NS: u64 = 250_000_000;
/// A stretch is divided into so many parts, in each of which every node must have answered promptly.
const PARTS: u64 = 4;

/// The answers of each node, by the number it has in [`Reach`].
pub struct Answers<'h> {
    /// Answers to whatever, in order of their return.
    prompt: Vec<Vec<u64>>,
    /// Answered status questions that tell a role, in order of invocation.
    statuses: Vec<Vec<&'h Op>>,
}

impl<'h> Answers<'h> {
    /// Indexes a history.
    pub fn new(reach: &Reach, history: &'h History) -> Self {
        let mut answers =
            Answers { prompt: vec![Vec::new(); reach.total()], statuses: vec![Vec::new(); reach.total()] };
        for op in &history.ops {
            let Some(node) = op.node.as_deref().and_then(|node| reach.find(node)) else { continue };
            let Some(returned_ns) = op.returned_ns else { continue };
            // A refusal that claims something was answered by the node; one that does not may be its absence.
            let answered = op.is_ok() || (op.outcome == Outcome::Fail && op.claim.is_some());
            if answered && returned_ns - op.invoked_ns <= PROMPT_NS {
                answers.prompt[node].push(returned_ns);
            }
            if &*op.f == "status" && op.is_ok() && op.claim.as_ref().is_some_and(|claim| claim.role.is_some())
            {
                answers.statuses[node].push(op);
            }
        }
        answers.prompt.iter_mut().for_each(|times| times.sort_unstable());
        answers
    }

    /// Whether each of `nodes` answered something promptly in every part of the interval.
    pub fn awake(&self, nodes: Nodes, from_ns: u64, to_ns: u64) -> bool {
        let bound = |part: u64| from_ns + (to_ns - from_ns) / PARTS * part;
        from_ns < to_ns
            && members(nodes).all(|node| {
                let times = &self.prompt[node];
                let before = |ns: u64| times.partition_point(|time| *time < ns);
                (0..PARTS).all(|part| before(bound(part)) < before(bound(part + 1)))
            })
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

    /// What `node` last said of its role in the interval; `None` where it was not asked in each part of it.
    pub fn last_of_many(&self, node: usize, from_ns: u64, to_ns: u64) -> Option<&'h Op> {
        let part_ns = to_ns.saturating_sub(from_ns) / PARTS;
        let asked = |part: u64| {
            let begins_ns = from_ns + part_ns * part;
            !self.statuses(node, begins_ns, begins_ns + part_ns).is_empty()
        };
        if !(0..PARTS).all(asked) {
            return None;
        }
        self.statuses(node, from_ns, to_ns).last().copied()
    }

    /// Whether `node` said that it leads whenever it was asked in the interval, both early and late in it.
    pub fn led_throughout(&self, node: usize, from_ns: u64, to_ns: u64) -> bool {
        let statuses = self.statuses(node, from_ns, to_ns);
        let part_ns = (to_ns - from_ns) / PARTS;
        let terms = |op: &&Op| op.claim.as_ref().and_then(|claim| claim.term);
        let (Some(first), Some(last)) = (statuses.first(), statuses.last()) else { return false };
        first.end_ns() <= from_ns + part_ns
            && last.invoked_ns >= to_ns - part_ns
            && terms(first) == terms(last)
            && statuses.iter().all(|op| leads(op))
    }
}

/// Whether the answering node said that it leads.
pub fn leads(op: &Op) -> bool {
    op.claim.as_ref().is_some_and(|claim| claim.leads())
}
