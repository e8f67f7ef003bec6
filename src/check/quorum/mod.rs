//! `quorum`: what a store with a write quorum W and a read quorum R claims and promises.
//!
//! **Definition.** Gifford, *Weighted Voting for Replicated Data*, SOSP 1979: an acknowledged write is held by W of the N
//! replicas, a strong read asks R of them, and with R + W > N the two sets meet. Reported are
//!
//! - `impossible-quorum`: so many replicas cannot hold the write as its answer claims, for fewer could be reached;
//! - `stale-strong-read`, `deleted-value-returned`: with R + W > N a strong read shows something older than a write, or a
//!   delete, that was acknowledged before the read was asked;
//! - `lost-acknowledged`: no replica has an acknowledged write, or anything newer, in the end, although fewer than W lost
//!   their memory;
//! - `refused-with-quorum`: no write was acknowledged although a majority with W replicas could serve.
//!
//! **Complexity.** O(n log n) for n operations, and edges of faults × nodes.
//!
//! **Soundness.** The fault record bounds who could be reached; what is assumed of it is in [`reach`](super::reach). Each
//! kind's reasons are with its code. Writes of unknown outcome may take effect at any time and bind nobody.

pub mod found;
mod impossible;
pub mod lost;
mod refused;
mod stale;

use super::facts::{Facts, Write};
use super::finals::Finals;
use super::findings::{Findings, evidence};
use super::reach::Reach;
use super::{Check, CheckResult};
use crate::history::History;

/// The check.
pub struct Quorum;

/// What was declared.
#[derive(Clone, Copy)]
pub struct Declared {
    /// N.
    nodes: u64,
    /// W.
    write: Option<u64>,
    /// R.
    read: Option<u64>,
}

impl Declared {
    /// What a history's contract says.
    pub fn of(history: &History) -> Self {
        let contract = &history.contract;
        let nodes = contract.nodes.len() as u64;
        Declared { nodes, write: contract.write_quorum, read: contract.read_quorum }
    }

    /// By how many nodes every read quorum meets every write quorum; `None` where they need not meet.
    fn overlap(self) -> Option<u64> {
        (self.read? + self.write?).checked_sub(self.nodes).filter(|overlap| *overlap > 0)
    }

    /// W, where any two write quorums meet: then the store can know which of two writes that follow each other in time is
    /// the newer one, whatever its versions say.
    fn ordering(self) -> Option<u64> {
        self.write.filter(|write| 2 * write > self.nodes)
    }
}

impl Check for Quorum {
    fn name(&self) -> &'static str {
        "quorum"
    }

    fn about(&self) -> &'static str {
        "W replicas hold what is acknowledged, strong reads see it where R + W > N, and a majority that can talk serves."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let reach = Reach::new(history);
        let contract = &history.contract;
        let declared = Declared::of(history);
        let mut findings = Findings::new();
        let claims = impossible::judge(&facts, &reach, declared, &mut findings);
        let reads = stale::judge(&facts, declared, &mut findings);
        let (finals, why_not) = match Finals::new(&facts) {
            Ok(finals) => (lost::judge(&facts, &finals, declared, &mut findings), None),
            Err(reason) => (0, Some(reason)),
        };
        let windows = refused::judge(&facts, &reach, declared, &mut findings);
        let unknown = if declared.nodes == 0 {
            Some("the history does not say which nodes there are".to_owned())
        } else if declared.write.is_none() && claims.claims == 0 {
            Some("the workload declares no `write-quorum`, and no answer claims one".to_owned())
        } else if claims.bounded + reads + finals + windows == 0 {
            let why_not = why_not.unwrap_or_else(|| "no write was acknowledged".to_owned());
            Some(format!(
                "nothing was claimed while a node could not be reached, no strong read followed a write, and {why_not}"
            ))
        } else {
            None
        };
        let mut figures = evidence([
            ("acked_writes", facts.writes.iter().filter(|write| acked(write)).count() as u64),
            ("claims", claims.claims),
            ("claims_while_cut_off", claims.bounded),
            ("strong_reads", reads),
            ("final_writes", finals),
        ]);
        // Without a time to elect a leader nothing is promised of windows.
        if contract.elect_within_ms.is_some() {
            figures.insert("windows".into(), windows.into());
        }
        findings.conclude(&facts, figures, unknown)
    }
}

/// Whether a write was acknowledged: answered `ok`, and not with the word that its quorum was missed.
fn acked(write: &Write) -> bool {
    write.acked() && write.op.claim.as_ref().is_none_or(|claim| claim.achieved != Some(false))
}
