//! `monotonic-writes`: a client's writes are ordered as it made them.
//!
//! **Definition.** Terry et al. 1994, §3.4: of two writes in a session, every server orders the first before the second.
//! With last-writer-wins the order is that of the versions: at one node each of a process's acknowledged writes, to
//! whatever keys, has a timestamp above those of its earlier ones. (That a server *has* the first when it has the
//! second is promised only where both are to one key, and there it follows: the second wins.)
//!
//! Without versions the order of two writes does not show, and the verdict is `unknown`.
//!
//! **Complexity.** Linear: one pass, hash tables by process and node.
//!
//! **Soundness.** Lamport's clock condition for two events of one node; what a restart excuses is in
//! [`facts`](super::facts). Only acknowledged writes are looked at.

use super::facts::Facts;
use super::findings::{Findings, evidence};
use super::session::judge_clock;
use super::{Check, CheckResult};
use crate::history::History;

/// The check.
pub struct MonotonicWrites;

impl Check for MonotonicWrites {
    fn name(&self) -> &'static str {
        "monotonic-writes"
    }

    fn about(&self) -> &'static str {
        "A client's writes at its node are ordered as it made them."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let compared = judge_clock(&facts, false, &mut findings);
        let unknown = (compared == 0)
            .then(|| "no client made two acknowledged writes at one node whose versions are known".into());
        findings.conclude(&facts, evidence([("writes_after_write", compared)]), unknown)
    }
}
