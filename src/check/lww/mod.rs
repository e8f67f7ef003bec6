//! `lww`: every node merges by last-writer-wins under one Lamport clock.
//!
//! **Definition.** The last-writer-wins register of Johnson and Thomas (*The Maintenance of Duplicate Databases*, RFC
//! 677, 1975), timestamps by Lamport's clocks (*Time, Clocks, and the Ordering of Events in a Distributed System*, CACM
//! 1978; the tie is broken by node as in his total order); the contract is spelled out in [`facts`](super::facts).
//! Reported are
//!
//! - `lost-update`: a node's final version is below an acknowledged one; or a write was acknowledged under a version
//!   that its node knew to be outranked already, so that it was lost from the start;
//! - `wrong-tie-winner`: as the first, where the timestamps are equal;
//! - `lamport`: a node gave a write a timestamp not above one that it had shown before;
//! - `version-backwards`: what a node shows under a key is below what it had acknowledged or shown before;
//! - `two-values-one-version`: two writes have one version;
//! - `relabelled`: one write has two versions;
//! - `phantom-value`, `failed-write-visible`: a read shows what nobody wrote (the final state is for `convergence`).
//!
//! **Complexity.** O(n log n): one replay in order of time, hash tables by key, node and life.
//!
//! **Soundness.** Everything is compared by version, never by real time alone: the last write in real time need not
//! win. Only plain reads and snapshots tell what a node holds. Each single rule is a consequence of the contract and the excuses in [`facts`](super::facts): versions at a node
//! only grow within what binds it; a timestamp is above all that the node had seen, of which what it *showed* is a
//! part; a version names one event of one node. Two writes share a version legitimately only across a restart that
//! lets the node forget its clock, so the same life must be certain, or the earlier acknowledgement durable.

mod found;
mod identity;

use super::facts::{Facts, KeyId, NodeId, SightId, Witness, WriteId};
use super::finals::Finals;
use super::findings::{Findings, evidence};
use super::floor::{Floor, Moment, replay};
use super::unversioned::Shown;
use super::{Check, CheckResult, phantom};
use crate::history::History;
use found::Found;

/// The check.
pub struct Lww;

impl Check for Lww {
    fn name(&self) -> &'static str {
        "lww"
    }

    fn about(&self) -> &'static str {
        "The write with the greatest Lamport timestamp wins everywhere, ties by origin; no acknowledged update is lost to a lesser one."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let finals = Finals::new(&facts);
        let replayed = judge_replay(&facts, finals.as_ref().ok(), &mut findings);
        let shared = identity::judge(&facts, &mut findings);
        let (judged, excused) = match &finals {
            Ok(finals) => judge_finals(&facts, finals, &mut findings),
            Err(_) => (0, 0),
        };
        judge_phantoms(&facts, finals.as_ref().ok(), &mut findings);
        let versioned =
            facts.writes.iter().filter(|write| write.acked() && write.stamp.is_some()).count() as u64;
        let unknown = if !facts.writes.iter().any(|write| write.acked()) {
            Some("no write was acknowledged".into())
        } else if versioned == 0 && judged == 0 {
            Some("the nodes show no versions, and no final value can be ordered without them".into())
        } else {
            match finals {
                Err(reason) => Some(reason),
                Ok(_) => (judged + replayed == 0)
                    .then(|| "nothing was shown that a write could be compared with".into()),
            }
        };
        let figures = evidence([
            ("acked_writes", facts.writes.iter().filter(|write| write.acked()).count() as u64),
            ("versioned_writes", versioned),
            ("ordered_pairs", replayed),
            ("ties", shared),
            ("final_states", judged),
        ]);
        let mut result = findings.conclude(&facts, figures, unknown);
        result.excused = excused;
        result
    }
}

/// Versions and clocks, in order of time; the answer is how many pairs were compared.
fn judge_replay(facts: &Facts, finals: Option<&Finals>, findings: &mut Findings<Found>) -> u64 {
    let mut held: Floor<(NodeId, KeyId)> = Floor::new();
    let mut clock: Floor<NodeId> = Floor::new();
    let mut pairs = 0;
    replay(facts, |moment| match moment {
        Moment::Asked(Witness::Sight(id)) | Moment::Answered(Witness::Sight(id))
            if !facts.sight(id).is_local() => {}
        Moment::Asked(Witness::Sight(id)) => {
            let sight = facts.sight(id);
            let floor = held.binding(facts, (sight.node, sight.key), sight.node, sight.answered_ns());
            let Some((floor, witness)) = floor else { return };
            pairs += 1;
            let lost = finals.is_some_and(|finals| told_as_lost(facts, finals, witness, id));
            if facts.is_below(sight, floor) && !lost {
                findings.add(facts, Found::Backwards { before: witness, after: id });
            }
        }
        Moment::Asked(Witness::Write(id)) => {
            let write = facts.write(id);
            let Some(stamp) = write.stamp else { return };
            let place = (write.node, write.key);
            if let Some((floor, witness)) = held.binding(facts, place, write.node, write.acked_ns())
                && stamp.is_below(floor)
            {
                findings.add(facts, Found::Outranked { write: id, by: witness });
            } else if let Some((floor, witness)) =
                clock.binding(facts, write.node, write.node, write.acked_ns())
            {
                pairs += 1;
                if stamp.ts <= floor.ts {
                    findings.add(facts, Found::Clock { write: id, seen: witness });
                }
            }
        }
        Moment::Answered(witness) => {
            let node = facts.node_of(witness);
            held.raise(facts, (node, facts.key_of(witness)), witness);
            clock.raise(facts, node, witness);
        }
    });
    pairs
}

/// Whether a step back is in the final state and below an acknowledged write: then it is a lost update.
fn told_as_lost(facts: &Facts, finals: &Finals, before: Witness, after: SightId) -> bool {
    let sight = facts.sight(after);
    let write = match before {
        Witness::Write(id) => Some(id),
        Witness::Sight(id) => facts.sight(id).writer,
    };
    let early = |id| facts.write(id).acked_ns() < finals.settle_ns && facts.write(id).key == sight.key;
    finals.held(sight.node, sight.key) == Some(after) && !finals.busy(sight.key) && write.is_some_and(early)
}

/// Final versions against acknowledged ones; the answer is how many states were compared, and how many losses excused.
fn judge_finals(facts: &Facts, finals: &Finals, findings: &mut Findings<Found>) -> (u64, u64) {
    let (mut judged, mut excused) = (0, 0);
    let shown = Shown::new(facts);
    for key in facts.keys.all().filter(|key| !finals.busy(*key)) {
        let stamped = |id: &&WriteId| facts.write(**id).stamp.is_some();
        let acked = finals.acked(key).iter().filter(stamped);
        let (owed, gone): (Vec<WriteId>, Vec<WriteId>) = acked.partition(|id| finals.owed(facts, **id));
        excused += gone.iter().filter(|id| lost_everywhere(facts, finals, **id)).count() as u64;
        let greatest = owed.into_iter().max_by_key(|id| facts.write(*id).stamp);
        for (node, op) in &finals.nodes {
            if let Some(id) = greatest
                && let Some(stamp) = facts.write(id).stamp
            {
                judged += 1;
                if finals.below(facts, *node, key, stamp) {
                    let write = facts.write(id);
                    let crashed = !facts.disk && !facts.same_life(write.node, write.op.invoked_ns, u64::MAX);
                    let survivor = finals.surviving(key).map(|(_, witness)| witness).filter(|_| crashed);
                    let why = (lost_everywhere(facts, finals, id), survivor);
                    let held = finals.held(*node, key);
                    findings.add(facts, Found::lost(facts, id, (*node, op.index), held, why));
                }
            } else {
                judged += u64::from(!finals.acked(key).is_empty());
            }
        }
        if let Some(lost) = greatest.is_none().then(|| shown.lost(facts, finals, key)).flatten() {
            findings.add(facts, Found::LostByValue(lost));
        }
    }
    (judged, excused)
}

/// Whether no node's final state has `write`, or anything that may win over it.
pub(super) fn lost_everywhere(facts: &Facts, finals: &Finals, id: WriteId) -> bool {
    let write = facts.write(id);
    let Some(stamp) = write.stamp else { return false };
    !finals.nodes.is_empty()
        && finals.nodes.iter().all(|(node, _)| finals.below(facts, *node, write.key, stamp))
}

fn judge_phantoms(facts: &Facts, finals: Option<&Finals>, findings: &mut Findings<Found>) {
    let last = |op: u64| finals.is_some_and(|finals| finals.nodes.iter().any(|(_, last)| last.index == op));
    for (id, sight) in facts.sights.iter().enumerate() {
        if let Some(phantom) = phantom::judge(facts, sight)
            && !last(sight.op.index)
        {
            findings.add(facts, Found::Phantom(id as u32, phantom));
        }
    }
}
