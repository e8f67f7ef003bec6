//! `monotonic-reads`: what a client reads never gets older.
//!
//! **Definition.** Terry et al. 1994, §3.2: of two reads in a session, the second one's server has all the writes that
//! the first one's result shows. With last-writer-wins: a read's version is not below that of any earlier read of the
//! key by this process at this node.
//!
//! Without versions: a value that was read, and then was found replaced by another, must not come back.
//!
//! **Complexity.** Linear: one pass, hash tables by process, node and key.
//!
//! **Soundness.** Versions at a node only grow, within what binds it across restarts (see [`facts`](super::facts)). By
//! values: from x to y means that y wins over x, so x after y is a step down, whatever the versions; a missing key is
//! below everything that no delete may have erased.
//!
//! **Levels.** Plain reads alone: a session read promises the session's own writes, an eventual read nothing, and a strong
//! read more (`quorum`, `linearizability`).

use std::collections::HashMap;

use super::facts::{Facts, KeyId, LifeId, NodeId, SightId, Step, Witness, WriteId};
use super::findings::{Findings, evidence};
use super::floor::Floor;
use super::session::Broken;
use super::{Check, CheckResult};
use crate::history::{History, Level};

/// The check.
pub struct MonotonicReads;

const PROMISE: &str = "What a client reads must never get older";

type Place = (u64, NodeId, KeyId);

/// What a session has read of a key in one life of the node, by value.
#[derive(Default)]
struct Seen {
    last: Option<SightId>,
    /// Reads whose value, of unknown version, was found replaced, with the read that found it.
    replaced: HashMap<WriteId, (SightId, SightId)>,
}

impl Check for MonotonicReads {
    fn name(&self) -> &'static str {
        "monotonic-reads"
    }

    fn about(&self) -> &'static str {
        "What a client reads from its node never gets older."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let mut floor: Floor<Place> = Floor::new();
        let mut seen: HashMap<(Place, LifeId), Seen> = HashMap::new();
        let (mut pairs, mut judged) = (0_u64, 0_u64);
        for step in &facts.steps {
            let Step::Read(id) = *step else { continue };
            let sight = facts.sight(id);
            if !sight.is_at(Level::Plain) {
                continue;
            }
            let place = (sight.op.process, sight.node, sight.key);
            let binding = floor.binding(&facts, place, sight.node, sight.answered_ns());
            let by_version = binding.filter(|(floor, _)| facts.is_below(sight, *floor));
            let life = facts.life_until(sight.node, sight.answered_ns());
            let same_life = facts.same_life(sight.node, sight.asked_ns(), sight.answered_ns());
            let before = same_life.then(|| seen.entry((place, life)).or_default());
            let again = before.as_ref().is_some_and(|seen| seen.last.is_some());
            pairs += u64::from(binding.is_some() || again);
            judged += u64::from((binding.is_some() && (sight.stamp.is_some() || sight.is_nil())) || again);
            let by_value = before.and_then(|seen| seen.judge(&facts, id));
            let witnesses = by_version.map(|(_, before)| vec![before, Witness::Sight(id)]).or(by_value);
            if let Some(witnesses) = witnesses {
                findings.add(&facts, Broken::new("monotonic-reads", PROMISE, witnesses));
            }
            floor.raise(&facts, place, Witness::Sight(id));
        }
        let unknown = (judged == 0).then(|| match pairs {
            0 => "no client read a key twice at one node".into(),
            _ => "the nodes show no versions by which two reads could be compared".into(),
        });
        findings.conclude(&facts, evidence([("reads_after_read", pairs), ("judged", judged)]), unknown)
    }
}

impl Seen {
    /// Takes a read into account; the proof, by values alone, that it is a step down.
    fn judge(&mut self, facts: &Facts, id: SightId) -> Option<Vec<Witness>> {
        let sight = facts.sight(id);
        let last = self.last.map(|last| (last, facts.sight(last)));
        if sight.is_nil() {
            // With a known version this is what the floor says already.
            let (last, _) = last.filter(|(_, before)| before.stamp.is_none())?;
            if facts.deletes.any(sight.key, sight.answered_ns()) {
                return None;
            }
            return Some(vec![Witness::Sight(last), Witness::Sight(id)]);
        }
        if let Some((last, before)) = last
            && before.value != sight.value
            && before.stamp.is_none()
            && let Some(writer) = before.writer
        {
            self.replaced.entry(writer).or_insert((last, id));
        }
        let back = sight
            .writer
            .filter(|_| sight.stamp.is_none())
            .and_then(|writer| self.replaced.get(&writer))
            .copied();
        self.last = Some(id);
        back.map(|(first, other)| vec![Witness::Sight(first), Witness::Sight(other), Witness::Sight(id)])
    }
}
