//! What values alone prove, where nodes show no versions.
//!
//! Values are unique, so a value names its write. If node N had *shown* value x before write w was asked of it, then N
//! gave w a version above that of x (Lamport's clock condition), whatever the versions are: x ≺ w. Hence whoever holds
//! x after it must hold w, or something above w, has lost w. Nothing else can be concluded: a write that is the last in
//! real time need not win.

use std::collections::HashMap;

use super::facts::{Facts, KeyId, LifeId, NodeId, SightId, Witness, WriteId};
use super::finals::Finals;
use crate::history::Phase;

/// When each node first showed each write, by life.
pub struct Shown {
    first: HashMap<(WriteId, NodeId, LifeId), Witness>,
}

impl Shown {
    /// Indexes a history; empty, at no cost, where every version is known.
    pub fn new(facts: &Facts) -> Self {
        let mut shown = Shown { first: HashMap::new() };
        let blind_write = facts.writes.iter().any(|write| write.acked() && write.stamp.is_none());
        let blind_sight = facts.sights.iter().any(|sight| sight.writer.is_some() && sight.stamp.is_none());
        if !blind_write && !blind_sight {
            return shown;
        }
        for (id, write) in facts.writes.iter().enumerate().filter(|(_, write)| write.acked()) {
            shown.add(facts, id as WriteId, write.node, Witness::Write(id as WriteId));
        }
        for (id, sight) in facts.sights.iter().enumerate() {
            let same_key = |writer: &WriteId| facts.write(*writer).key == sight.key;
            if let Some(writer) = sight.writer.filter(same_key).filter(|_| sight.is_local()) {
                shown.add(facts, writer, sight.node, Witness::Sight(id as SightId));
            }
        }
        shown
    }

    fn add(&mut self, facts: &Facts, write: WriteId, node: NodeId, witness: Witness) {
        let ends = |witness| facts.op(witness).end_ns();
        let first = self.first.entry((write, node, facts.life_of(witness))).or_insert(witness);
        if ends(witness) < ends(*first) {
            *first = witness;
        }
    }

    /// The witness that x ≺ w: w's node had shown x before w was asked of it, and no restart excuses that.
    pub fn precedes(&self, facts: &Facts, x: WriteId, w: WriteId) -> Option<Witness> {
        let (older, newer) = (facts.write(x), facts.write(w));
        if x == w || !newer.acked() || older.key != newer.key {
            return None;
        }
        let own = Witness::Write(x);
        if older.node == newer.node && facts.durable(own) && older.acked_ns() < newer.op.invoked_ns {
            return Some(own);
        }
        let life = facts.life_until(newer.node, newer.acked_ns());
        let first = *self.first.get(&(x, newer.node, life))?;
        (facts.op(first).end_ns() < newer.op.invoked_ns).then_some(first)
    }

    /// A node whose final state of `key` is certainly older than a write that must be there.
    pub fn lost(&self, facts: &Facts, finals: &Finals, key: KeyId) -> Option<Lost> {
        let mut latest: HashMap<NodeId, WriteId> = HashMap::new();
        for &id in finals.acked(key) {
            let write = facts.write(id);
            let kept = facts.disk
                || (!finals.absent.contains(&write.node)
                    && facts.same_life(write.node, write.op.invoked_ns, u64::MAX));
            let newer = |known: &WriteId| facts.write(*known).op.invoked_ns < write.op.invoked_ns;
            if kept && latest.get(&write.node).is_none_or(newer) {
                latest.insert(write.node, id);
            }
        }
        let mut latest: Vec<WriteId> = latest.into_values().collect();
        latest.sort_unstable();
        for &(node, op) in &finals.nodes {
            let held = finals.held(node, key).filter(|id| !facts.sight(*id).is_nil());
            if held.is_none() && facts.deletes.any(key, op.end_ns()) {
                continue;
            }
            for &write in &latest {
                let witness = match held {
                    None => None,
                    Some(id) => {
                        let Some(writer) = facts.sight(id).writer else { continue };
                        let Some(witness) = self.precedes(facts, writer, write) else { continue };
                        Some(witness)
                    }
                };
                return Some(Lost { key, node, snapshot: op.index, held, write, witness });
            }
        }
        None
    }
}

/// A final state that is older than an acknowledged write, by values alone.
pub struct Lost {
    /// The key.
    pub key: KeyId,
    /// The node whose final state it is.
    pub node: NodeId,
    snapshot: u64,
    held: Option<SightId>,
    /// The write.
    pub write: WriteId,
    /// Shows that what is held is older.
    witness: Option<Witness>,
}

impl Lost {
    /// What happened.
    pub fn story(&self, facts: &Facts) -> String {
        let (node, key) = (facts.node_name(self.node), facts.key_name(self.key));
        let before =
            self.witness.map(|witness| format!("{}. Later ", facts.tell(witness))).unwrap_or_default();
        let held = self.held.map_or("nothing".into(), |id| facts.sight(id).value.to_string());
        format!(
            "{before}{}. In the end {node} holds {held} under {key}: the update is lost.",
            facts.tell_write(self.write)
        )
    }

    /// Why, probably.
    pub fn cause(&self, facts: &Facts) -> String {
        let (node, from) = (facts.node_name(self.node), facts.node_name(facts.write(self.write).node));
        format!("{from}'s write was never kept, or never reached {node}, or an older one replaced it.")
    }

    /// The operations that prove it, and the faults in force meanwhile.
    pub fn proof(&self, facts: &Facts) -> (Vec<u64>, Vec<String>) {
        let write = facts.write(self.write).op;
        let mut ops = vec![write.index, self.snapshot];
        ops.extend(self.witness.map(|witness| facts.op(witness).index));
        ops.sort_unstable();
        ops.dedup();
        let settle_ns = facts.history.phase_began_ns(Phase::Settle).unwrap_or(u64::MAX);
        (ops, facts.history.faults_during(write.invoked_ns, settle_ns))
    }
}
