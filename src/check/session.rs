//! What the four session guarantees have in common.
//!
//! Terry, Demers, Petersen, Spreitzer, Theimer and Welch, *Session Guarantees for Weakly Consistent Replicated Data*, PDIS
//! 1994. A session is one client process; the guarantees are judged for each node it talks to separately, for an
//! eventually consistent store promises a session that moves nothing about the next node.
//!
//! A process does one thing at a time, so its operations are ordered as they were invoked.

use super::Violation;
use super::facts::{Facts, KeyId, NodeId, Step, Witness, WriteId};
use super::findings::{Finding, Findings};
use super::floor::Floor;
use crate::history::Level;

/// A guarantee, broken by the last of some witnesses.
pub struct Broken {
    kind: &'static str,
    /// In order; the last one breaks it.
    witnesses: Vec<Witness>,
    /// What was promised.
    promise: &'static str,
}

impl Broken {
    /// `witnesses` in order; the last one breaks `promise`, a clause such as "a client reads its own writes".
    pub fn new(kind: &'static str, promise: &'static str, witnesses: Vec<Witness>) -> Self {
        Broken { kind, witnesses, promise }
    }

    fn last(&self) -> Witness {
        self.witnesses[self.witnesses.len() - 1]
    }
}

impl Finding for Broken {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn key(&self, facts: &Facts) -> Option<KeyId> {
        Some(facts.key_of(self.last()))
    }

    fn weight(&self) -> u64 {
        // Fewer operations make the better proof.
        10 - self.witnesses.len().min(9) as u64
    }

    fn tell(&self, facts: &Facts) -> Violation {
        let (first, last) = (self.witnesses[0], self.last());
        let node = facts.node_of(last);
        let name = facts.node_name(node);
        let told: Vec<String> = self.witnesses.iter().map(|witness| facts.tell(*witness)).collect();
        let cause = match (first, last) {
            (_, Witness::Sight(id)) if facts.sight(id).is_at(Level::Session) => {
                format!(
                    "{name} answers a session read from its own copy, which does not have the session's write yet."
                )
            }
            _ if facts.restarted_between(node, first, last) => {
                format!(
                    "{name} forgot what it had acknowledged, or its clock began again, when it was restarted."
                )
            }
            (Witness::Write(_), Witness::Sight(_)) => {
                format!(
                    "{name} acknowledges before it applies, reads from an old copy, or lets an older write replace a newer one."
                )
            }
            (Witness::Sight(_), Witness::Sight(_)) => {
                format!("{name} reads from an old copy, or lets an older write replace a newer one.")
            }
            (Witness::Write(_), Witness::Write(_)) => {
                format!("{name}'s clock does not advance with each write.")
            }
            (Witness::Sight(_), Witness::Write(_)) => {
                let origin = facts.stamp(first).map(|stamp| facts.origins.name(stamp.origin));
                match origin == Some(name) {
                    true => format!("{name}'s clock does not advance with each write."),
                    false => format!("{name} does not advance its clock when it receives a write."),
                }
            }
        };
        Violation {
            kind: self.kind,
            key: Some(facts.key_name(facts.key_of(last)).into()),
            nodes: vec![name.into()],
            story: format!("{}. {}.", told.join(". Then "), self.promise),
            cause,
            ops: facts.proof(&self.witnesses),
            faults: facts.faults_between(first, last),
        }
    }
}

/// A guarantee about the order of a session's writes: each gets a timestamp above those of the acknowledged writes, or
/// of the answered reads, before it. The answer is how many writes were compared. Linear.
pub fn judge_clock(facts: &Facts, after_reads: bool, findings: &mut Findings<Broken>) -> u64 {
    let (kind, promise) = match after_reads {
        true => ("writes-follow-reads", "A write must be ordered after what its client had read"),
        false => ("monotonic-writes", "A client's writes must be ordered as it made them"),
    };
    let mut floor: Floor<(u64, NodeId)> = Floor::new();
    let mut compared = 0;
    for step in &facts.steps {
        match *step {
            Step::Read(id) if after_reads && facts.sight(id).is_at(Level::Plain) => {
                let sight = facts.sight(id);
                floor.raise(facts, (sight.op.process, sight.node), Witness::Sight(id));
            }
            Step::Read(_) => {}
            Step::Write(id) => {
                compared += u64::from(judge_write(facts, id, &floor, kind, promise, findings));
                let write = facts.write(id);
                if !after_reads && write.acked() {
                    floor.raise(facts, (write.op.process, write.node), Witness::Write(id));
                }
            }
        }
    }
    compared
}

fn judge_write(
    facts: &Facts,
    id: WriteId,
    floor: &Floor<(u64, NodeId)>,
    kind: &'static str,
    promise: &'static str,
    findings: &mut Findings<Broken>,
) -> bool {
    let write = facts.write(id);
    let (true, Some(stamp)) = (write.acked(), write.stamp) else { return false };
    let session = (write.op.process, write.node);
    let Some((before, witness)) = floor.binding(facts, session, write.node, write.acked_ns()) else {
        return false;
    };
    if stamp.ts <= before.ts {
        findings.add(facts, Broken::new(kind, promise, vec![witness, Witness::Write(id)]));
    }
    true
}
