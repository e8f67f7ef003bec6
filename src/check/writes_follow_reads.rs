//! `writes-follow-reads`: a client's write is ordered after what it had read.
//!
//! **Definition.** Terry et al. 1994, §3.3: if a read shows a write and the session then writes, every server orders the
//! write that was read before the new one. With last-writer-wins the order is that of the versions: an acknowledged
//! write has a timestamp above those of all that its process had read before at this node, whatever the keys.
//!
//! Without versions the order does not show, and the verdict is `unknown`.
//!
//! **Complexity.** Linear: one pass, hash tables by process and node.
//!
//! **Soundness.** A node that answers with a version has received it, so its clock is above it (Lamport's receive rule);
//! what a restart excuses is in [`facts`](super::facts).

use super::facts::Facts;
use super::findings::{Findings, evidence};
use super::session::judge_clock;
use super::{Check, CheckResult};
use crate::history::History;

/// The check.
pub struct WritesFollowReads;

impl Check for WritesFollowReads {
    fn name(&self) -> &'static str {
        "writes-follow-reads"
    }

    fn about(&self) -> &'static str {
        "A client's write is ordered after everything it had read from its node."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let compared = judge_clock(&facts, true, &mut findings);
        let unknown = (compared == 0)
            .then(|| "no client wrote after a read at one node with both versions known".into());
        findings.conclude(&facts, evidence([("writes_after_read", compared)]), unknown)
    }
}
