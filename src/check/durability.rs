//! `durability`: what was acknowledged survives crashes, as far as was declared.
//!
//! **Definition.** Design §5. `disk`: an acknowledged write survives the end of any process. `replicated`, `memory`: it
//! survives while one node that had it stays up. A write survives when the final state has it, or a write that wins
//! over it. With `disk` it must also be *at its own node* as soon as that node answers again.
//!
//! Only writes whose node was restarted after the acknowledgement are judged; lost updates without a crash are the
//! business of `lww`. In a store with a declared write quorum what is acknowledged must survive changes of leader as well,
//! so there every write that a fault followed is judged, as by [`quorum`](super::quorum::lost).
//!
//! **Complexity.** O(n log n): one replay in order of time.
//!
//! **Soundness.** `lost-acknowledged`: no node's final version is, or may be, as great as the write's; with `replicated`
//! and `memory` moreover some node provably had it, or something greater, in a life that lasted to the end, else the
//! loss is counted as excused. `forgotten`: a node shows less than what it had itself acknowledged before a restart.

use super::facts::{Facts, KeyId, LifeId, NodeId, SightId, Witness, WriteId};
use super::finals::Finals;
use super::findings::{Finding, Findings, evidence};
use super::floor::{Floor, Moment, replay};
use super::quorum::lost::{Fate, Lost, fate};
use super::quorum::{Declared, found};
use super::tell::at;
use super::unversioned::{Lost as LostByValue, Shown};
use super::{Check, CheckResult, Violation, lww};
use crate::history::{Durability as Promise, Fault, History, Phase};

/// The check.
pub struct Durability;

/// What it finds.
enum Found {
    /// An acknowledged write is nowhere to be found; with the snapshot of a node that must have it.
    Gone { write: WriteId, snapshot: u64, survivor: Option<Witness> },
    /// The same, by values alone.
    GoneByValue(LostByValue),
    /// The same in a store with a write quorum.
    GoneFromAll(Lost),
    /// A node shows less than what it had acknowledged before a restart.
    Forgotten { before: Witness, after: SightId },
}

impl Check for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn about(&self) -> &'static str {
        "What was acknowledged survives crashes, as far as the declared durability goes."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let crashed = |id: &WriteId| facts.write(*id).acked() && exposed(&facts, *id);
        let exposed = (0..facts.writes.len() as WriteId).filter(crashed).count() as u64;
        let seen_again = if facts.disk { judge_forgotten(&facts, &mut findings) } else { 0 };
        let finals = Finals::new(&facts);
        let (judged, excused) = match &finals {
            Ok(finals) => judge_finals(&facts, finals, &mut findings),
            Err(_) => (0, 0),
        };
        let unknown = match finals {
            _ if exposed == 0 && history.contract.write_quorum.is_some() => {
                Some("no fault followed an acknowledged write".into())
            }
            _ if exposed == 0 => Some("no node was restarted after it had acknowledged a write".into()),
            Err(reason) => Some(reason),
            Ok(_) if judged + seen_again == 0 => {
                Some("no final state could be compared with a write acknowledged before a crash".into())
            }
            Ok(_) => None,
        };
        let figures = evidence([
            // With quorums any fault puts it to the test, not only the end of the node that took the write.
            (
                match history.contract.write_quorum {
                    Some(_) => "acked_before_fault",
                    None => "acked_before_crash",
                },
                exposed,
            ),
            ("judged", judged),
            ("seen_after_restart", seen_again),
            ("restarts", facts.nodes.all().map(|node| u64::from(facts.life_until(node, u64::MAX))).sum()),
        ]);
        let mut result = findings.conclude(&facts, figures, unknown);
        result.excused = excused;
        result
    }
}

/// Whether the node of an acknowledged write was restarted after the acknowledgement; with a declared write quorum,
/// whether any fault was in force then.
fn exposed(facts: &Facts, id: WriteId) -> bool {
    let write = facts.write(id);
    let history = facts.history;
    let shaken = |fault: &Fault| fault.took_effect && fault.overlaps(write.acked_ns(), u64::MAX);
    if history.contract.write_quorum.is_some() && history.faults.iter().any(shaken) {
        return true;
    }
    facts.life_from(write.node, write.acked_ns()) < facts.life_until(write.node, u64::MAX)
}

fn judge_finals(facts: &Facts, finals: &Finals, findings: &mut Findings<Found>) -> (u64, u64) {
    let (mut judged, mut excused) = (0, 0);
    let shown = Shown::new(facts);
    let quorum = facts.history.contract.write_quorum.map(|_| Declared::of(facts.history));
    for key in facts.keys.all().filter(|key| !finals.busy(*key) && !finals.nodes.is_empty()) {
        let mut blind = false;
        for &id in finals.acked(key).iter().filter(|id| exposed(facts, **id)) {
            if let Some(declared) = quorum {
                match fate(facts, finals, declared, id) {
                    Fate::Unknown => {}
                    Fate::Kept => judged += 1,
                    Fate::Excused => excused += 1,
                    Fate::Lost(lost) => findings.add(facts, Found::GoneFromAll(lost)),
                }
                continue;
            }
            if facts.write(id).stamp.is_none() {
                blind = true;
                continue;
            }
            judged += 1;
            if !lww::lost_everywhere(facts, finals, id) {
                continue;
            }
            if finals.owed(facts, id) {
                let survivor = finals.surviving(key).map(|(_, witness)| witness).filter(|_| !facts.disk);
                let keeper = survivor.map_or(facts.write(id).node, |witness| facts.node_of(witness));
                let snapshot =
                    finals.nodes.iter().find(|(node, _)| *node == keeper).unwrap_or(&finals.nodes[0]);
                findings.add(facts, Found::Gone { write: id, snapshot: snapshot.1.index, survivor });
            } else {
                excused += 1;
            }
        }
        if blind && facts.disk {
            judged += 1;
            let lost = shown.lost(facts, finals, key).filter(|lost| exposed(facts, lost.write));
            lost.into_iter().for_each(|lost| findings.add(facts, Found::GoneByValue(lost)));
        }
    }
    (judged, excused)
}

/// With `disk`: sights at a node after a restart, against what it had acknowledged in earlier lives. The answer is how
/// many there were.
fn judge_forgotten(facts: &Facts, findings: &mut Findings<Found>) -> u64 {
    let mut own: Floor<(NodeId, KeyId)> = Floor::new();
    let mut compared = 0;
    replay(facts, |moment| match moment {
        Moment::Answered(witness @ Witness::Write(id)) => {
            own.raise(facts, (facts.write(id).node, facts.write(id).key), witness);
        }
        Moment::Asked(Witness::Sight(id)) => {
            let sight = facts.sight(id);
            if !sight.is_local() {
                return;
            }
            let earlier = 0..facts.life_until(sight.node, sight.answered_ns());
            let bound = earlier
                .filter_map(|life: LifeId| own.in_life((sight.node, sight.key), life))
                .max_by_key(|(stamp, _)| *stamp);
            let Some((stamp, before)) = bound else { return };
            compared += 1;
            if facts.is_below(sight, stamp) {
                findings.add(facts, Found::Forgotten { before, after: id });
            }
        }
        Moment::Asked(Witness::Write(_)) | Moment::Answered(Witness::Sight(_)) => {}
    });
    compared
}

impl Finding for Found {
    fn kind(&self) -> &'static str {
        match self {
            Found::Gone { .. } | Found::GoneByValue(_) | Found::GoneFromAll(_) => "lost-acknowledged",
            Found::Forgotten { .. } => "forgotten",
        }
    }

    fn key(&self, facts: &Facts) -> Option<KeyId> {
        Some(match self {
            Found::Gone { write, .. } => facts.write(*write).key,
            Found::GoneByValue(lost) => lost.key,
            Found::GoneFromAll(lost) => facts.write(lost.write).key,
            Found::Forgotten { after, .. } => facts.sight(*after).key,
        })
    }

    fn weight(&self) -> u64 {
        match self {
            Found::Gone { .. } | Found::GoneFromAll(_) => 3,
            Found::GoneByValue(_) => 2,
            Found::Forgotten { .. } => 1,
        }
    }

    fn tell(&self, facts: &Facts) -> Violation {
        let key = self.key(facts).map(|key| facts.key_name(key).to_owned());
        let (node, story, cause, (ops, faults)) = match self {
            Found::Gone { write, snapshot, survivor } => tell_gone(facts, *write, *snapshot, *survivor),
            Found::GoneByValue(lost) => (lost.node, lost.story(facts), lost.cause(facts), lost.proof(facts)),
            Found::GoneFromAll(lost) => {
                let found::Told { story, cause, ops, faults, .. } = found::lost(facts, lost);
                (facts.write(lost.write).node, story, cause, (ops, faults))
            }
            Found::Forgotten { before, after } => {
                let sight = facts.sight(*after);
                let node = facts.node_name(sight.node);
                let story = format!(
                    "{}. {node} was restarted. Then {}: it forgot what it had acknowledged.",
                    facts.tell(*before),
                    facts.tell_sight(*after)
                );
                let cause = format!(
                    "{node} acknowledges before the write is safe on disk, or does not read its disk when it starts."
                );
                let after = Witness::Sight(*after);
                (
                    sight.node,
                    story,
                    cause,
                    (facts.proof(&[*before, after]), facts.faults_between(*before, after)),
                )
            }
        };
        Violation {
            kind: self.kind(),
            key,
            nodes: vec![facts.node_name(node).into()],
            story,
            cause,
            ops,
            faults,
            diagram: None,
        }
    }
}

fn tell_gone(
    facts: &Facts,
    id: WriteId,
    snapshot: u64,
    survivor: Option<Witness>,
) -> (NodeId, String, String, (Vec<u64>, Vec<String>)) {
    let write = facts.write(id);
    let node = facts.node_name(write.node);
    let lives = facts.history.lives.get(node).map_or(&[][..], |lives| lives);
    let ended =
        lives.iter().filter_map(|life| life.ended_ns).find(|ended_ns| *ended_ns >= write.op.invoked_ns);
    let crash = ended.map_or(String::new(), |ns| format!(" {node}'s process ended at {}.", at(ns)));
    let had = survivor.map_or(String::new(), |witness| format!(" {}, and stayed up.", facts.tell(witness)));
    let story =
        format!("{}.{crash}{had} In the end no node has it, or anything newer.", facts.tell_write(id));
    let cause = match facts.history.contract.durability {
        Promise::Disk => {
            format!(
                "{node} acknowledges before the write is safe on disk, or does not read its disk when it starts."
            )
        }
        Promise::Replicated | Promise::Memory => {
            "A node that had it let an older write replace it after the crash.".to_owned()
        }
    };
    let mut ops = facts.proof(&[Witness::Write(id)]);
    ops.extend(survivor.map(|witness| facts.op(witness).index));
    ops.push(snapshot);
    ops.sort_unstable();
    ops.dedup();
    let settle_ns = facts.history.phase_began_ns(Phase::Settle).unwrap_or(u64::MAX);
    (write.node, story, cause, (ops, facts.history.faults_during(write.op.invoked_ns, settle_ns)))
}
