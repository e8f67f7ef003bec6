//! Acknowledged writes that no replica has in the end.
//!
//! W replicas held the write when it was acknowledged, and replicas replace only by what is newer. So of any N - W + 1
//! replicas that have kept their memory one holds it, or something newer, for ever. The write is lost when all whose final
//! state is known hold something certainly older, and those that kept their memory are that many.
//!
//! What is older: see [`stale`](super::stale); by time only where any two write quorums meet (2 W > N) and nothing was
//! forgotten, so that the store can know the order. A missing key is older unless a delete may have come after the write; an acknowledged delete is lost
//! where everybody holds an older value.

use super::found::Found;
use super::stale::older_in_time;
use super::{Declared, acked};
use crate::check::facts::{Facts, NodeId, WriteId};
use crate::check::finals::Finals;
use crate::check::findings::Findings;

/// An acknowledged write that is gone, and what proves it.
pub struct Lost {
    /// The write.
    pub write: WriteId,
    /// Nodes that hold something older, with the snapshots that show it.
    pub snapshots: Vec<(NodeId, u64)>,
    /// The writes of what is held instead, where time alone makes them older.
    pub before: Vec<WriteId>,
}

/// What became of an acknowledged write.
pub enum Fate {
    /// Too few of the replicas that must have kept it were seen.
    Unknown,
    /// Nothing says that it is gone.
    Kept,
    /// It is gone, but so may be the memory of all that had it.
    Excused,
    /// It is gone.
    Lost(Lost),
}

/// Judges the final state; how many acknowledged writes were held against it.
pub fn judge(facts: &Facts, finals: &Finals, declared: Declared, findings: &mut Findings<Found>) -> u64 {
    let mut judged = 0;
    for key in facts.keys.all().filter(|key| !finals.busy(*key)) {
        for &id in finals.acked(key) {
            let fate = fate(facts, finals, declared, id);
            judged += u64::from(matches!(fate, Fate::Kept | Fate::Lost(_)));
            if let Fate::Lost(lost) = fate {
                findings.add(facts, Found::Lost(lost));
            }
        }
    }
    judged
}

/// What became of an acknowledged write whose key nobody wrote any more.
pub fn fate(facts: &Facts, finals: &Finals, declared: Declared, id: WriteId) -> Fate {
    let Some(quorum) = declared.write else { return Fate::Unknown };
    let write = facts.write(id);
    let kept = |node: NodeId| facts.disk || facts.same_life(node, write.op.invoked_ns, u64::MAX);
    let keepers = finals.nodes.iter().filter(|(node, _)| kept(*node)).count();
    let enough = (declared.nodes + 1).saturating_sub(quorum).max(1) as usize;
    if finals.nodes.len() < enough || !acked(write) {
        return Fate::Unknown;
    }
    let held = finals.nodes.iter().map(|(node, _)| older(facts, finals, declared, *node, id));
    let Some(held) = held.collect::<Option<Vec<Option<WriteId>>>>() else {
        return if keepers < enough { Fate::Unknown } else { Fate::Kept };
    };
    if keepers < enough {
        return Fate::Excused;
    }
    // So many snapshots, and what orders what they hold, are the proof.
    let proof = finals.nodes.iter().zip(held).filter(|((node, _), _)| kept(*node)).take(enough);
    let (snapshots, before): (Vec<_>, Vec<_>) =
        proof.map(|((node, op), before)| ((*node, op.index), before)).unzip();
    Fate::Lost(Lost { write: id, snapshots, before: before.into_iter().flatten().collect() })
}

/// Whether what `node` held in the end is certainly older than a write: `Some` then, with the write of what it holds where
/// time alone orders the two.
fn older(
    facts: &Facts,
    finals: &Finals,
    declared: Declared,
    node: NodeId,
    id: WriteId,
) -> Option<Option<WriteId>> {
    let write = facts.write(id);
    if write.stamp.is_some_and(|stamp| finals.below(facts, node, write.key, stamp)) {
        return Some(None);
    }
    declared.ordering().filter(|_| facts.nothing_forgotten(u64::MAX))?;
    match finals.held(node, write.key).map(|id| facts.sight(id)).filter(|sight| !sight.is_nil()) {
        None => {
            let shown_ns = finals.shown_ns(node);
            let earlier = facts.deletes.all_acked_before(write.key, shown_ns, write.op.invoked_ns);
            (!write.deletes() && earlier).then_some(None)
        }
        Some(sight) => {
            let writer = sight.writer.filter(|writer| older_in_time(facts, sight, *writer, write))?;
            Some(Some(writer))
        }
    }
}
