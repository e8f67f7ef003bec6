//! Acknowledgements that cannot be true.
//!
//! That n replicas hold a write is known to the answering node only from n replicas that were told of the value after the
//! client had sent it (values are unique, a delete's version is), and that let the node know before it answered. Both
//! lie between invocation and return, so [`Reach::heard`] has them all. Fewer than n there: the claim is false, whatever
//! the store is. One operation and the fault record prove it.

use super::Declared;
use super::found::Found;
use crate::check::facts::{Facts, WriteId};
use crate::check::findings::Findings;
use crate::check::reach::Reach;
use crate::history::Outcome;

/// What was looked at.
#[derive(Default)]
pub struct Looked {
    /// Answers that claim more than the answering node's own copy.
    pub claims: u64,
    /// Those during which some node could certainly not be reached.
    pub bounded: u64,
}

/// Judges every answer to a write.
pub fn judge(facts: &Facts, reach: &Reach, declared: Declared, findings: &mut Findings<Found>) -> Looked {
    let mut looked = Looked::default();
    for (id, write) in facts.writes.iter().enumerate() {
        let op = write.op;
        let (Some(returned_ns), Some(node)) = (op.returned_ns, reach.find(facts.node_name(write.node)))
        else {
            continue;
        };
        let (achieved, acks) = op.claim.as_ref().map_or((None, None), |claim| (claim.achieved, claim.acks));
        let met = match (achieved, acks) {
            (Some(true), _) => true,
            (None, None) => op.is_ok(),
            _ => false,
        };
        let quorum = declared.write.filter(|_| met).unwrap_or(0);
        let claimed = acks.unwrap_or(0).max(quorum);
        if op.outcome == Outcome::Fail || claimed < 2 {
            continue;
        }
        looked.claims += 1;
        let heard = reach.heard(node, op.invoked_ns, returned_ns);
        looked.bounded += u64::from(heard != reach.all());
        if u64::from(heard.count_ones()) < claimed {
            let others = heard & !(1 << node);
            let others = reach.names(others).into_iter().map(str::to_owned).collect();
            let by_count = acks == Some(claimed);
            findings.add(facts, Found::Impossible { write: id as WriteId, claimed, by_count, others });
        }
    }
    looked
}
