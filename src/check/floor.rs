//! Replaying a history in real time, and what a node must not go below.

use std::collections::HashMap;
use std::hash::Hash;

use super::facts::{Facts, LifeId, NodeId, SightId, Witness, WriteId};
use super::stamp::Stamp;

/// A moment of the replay.
#[derive(Clone, Copy)]
pub enum Moment {
    /// Something was asked.
    Asked(Witness),
    /// Its `ok` answer was there.
    Answered(Witness),
}

/// Calls `see` with every acknowledged write and every sight, when it was asked and when it was answered, in order of
/// time. What was asked at the very moment of an answer comes first: the two overlap. O(n log n).
pub fn replay(facts: &Facts, mut see: impl FnMut(Moment)) {
    let writes = (0..facts.writes.len() as WriteId).filter(|id| facts.write(*id).acked()).map(Witness::Write);
    let sights = (0..facts.sights.len() as SightId).map(Witness::Sight);
    let mut moments = Vec::with_capacity(2 * (facts.writes.len() + facts.sights.len()));
    for witness in writes.chain(sights) {
        let op = facts.op(witness);
        moments.push((op.invoked_ns, false, op.index, witness));
        moments.push((op.end_ns(), true, op.index, witness));
    }
    moments.sort_by_key(|(ns, answered, index, _)| (*ns, *answered, *index));
    for (_, answered, _, witness) in moments {
        see(if answered { Moment::Answered(witness) } else { Moment::Asked(witness) });
    }
}

/// The greatest version proved so far, for each `K` and life of a node; and, apart, the greatest that binds for ever.
pub struct Floor<K> {
    life: HashMap<(K, LifeId), (Stamp, Witness)>,
    ever: HashMap<K, (Stamp, Witness)>,
}

impl<K: Copy + Eq + Hash> Floor<K> {
    /// Nothing proved yet.
    pub fn new() -> Self {
        Floor { life: HashMap::new(), ever: HashMap::new() }
    }

    /// Takes a witness into account. Without a known version it proves nothing.
    pub fn raise(&mut self, facts: &Facts, key: K, witness: Witness) {
        let Some(stamp) = facts.stamp(witness) else { return };
        let higher = |known: &mut (Stamp, Witness)| {
            if known.0 < stamp {
                *known = (stamp, witness);
            }
        };
        if facts.durable(witness) {
            self.ever.entry(key).and_modify(higher).or_insert((stamp, witness));
        }
        self.life.entry((key, facts.life_of(witness))).and_modify(higher).or_insert((stamp, witness));
    }

    /// What binds `node` for an answer given by `until_ns`.
    pub fn binding(&self, facts: &Facts, key: K, node: NodeId, until_ns: u64) -> Option<(Stamp, Witness)> {
        let life = self.life.get(&(key, facts.life_until(node, until_ns))).copied();
        let ever = self.ever.get(&key).copied();
        match (life, ever) {
            (Some(life), Some(ever)) => Some(if life.0 >= ever.0 { life } else { ever }),
            (life, ever) => life.or(ever),
        }
    }

    /// What was proved in one life.
    pub fn in_life(&self, key: K, life: LifeId) -> Option<(Stamp, Witness)> {
        self.life.get(&(key, life)).copied()
    }
}
