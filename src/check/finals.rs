//! The state in which the nodes were found at the end.

use std::collections::{HashMap, HashSet};

use super::facts::{Facts, KeyId, NodeId, SightId, Witness, WriteId};
use super::stamp::Stamp;
use crate::history::{Op, Outcome, Phase};

/// What each node held at the end of the settle phase.
pub struct Finals<'h> {
    /// When the settle phase began, ns.
    pub settle_ns: u64,
    /// Nodes whose final state is known, with the snapshot that showed it.
    pub nodes: Vec<(NodeId, &'h Op)>,
    /// Nodes that were asked and never answered, or whose process was gone at the end.
    pub absent: Vec<NodeId>,
    /// Nodes that were not asked, or answered but not when it was over: what they hold is not known.
    pub silent: Vec<NodeId>,
    /// Those of the silent that answered, but nothing the protocol could make sense of.
    pub not_understood: Vec<NodeId>,
    at: HashMap<(NodeId, KeyId), SightId>,
    at_first: HashMap<(NodeId, KeyId), SightId>,
    surviving: HashMap<KeyId, (Stamp, Witness)>,
    written: HashMap<KeyId, Vec<WriteId>>,
    busy: Vec<bool>,
}

impl<'h> Finals<'h> {
    /// The final state, or why there is none that could be judged.
    ///
    /// A history that breaks off in the middle of the settle phase (the run was interrupted) has none: the nodes still had
    /// time to agree.
    pub fn new(facts: &Facts<'h>) -> Result<Self, String> {
        let history = facts.history;
        let Some(settle_ns) = history.phase_began_ns(Phase::Settle) else {
            return Err("the history has no settle phase, so no final state".into());
        };
        let deadline_ns =
            settle_ns.saturating_add(history.contract.settle_within_ms.saturating_mul(1_000_000));
        let last_ns = history.ops.iter().map(|op| op.returned_ns.unwrap_or(op.invoked_ns)).max().unwrap_or(0);
        let last_ns = last_ns.max(history.phase_began_ns(Phase::Done).unwrap_or(0));
        if history.converged_ms.is_none() && last_ns < deadline_ns {
            return Err("the history breaks off before the settle phase was over".into());
        }
        let mut finals = Finals {
            settle_ns,
            nodes: Vec::new(),
            absent: Vec::new(),
            silent: Vec::new(),
            not_understood: Vec::new(),
            at: HashMap::new(),
            at_first: HashMap::new(),
            surviving: HashMap::new(),
            written: HashMap::new(),
            busy: vec![false; facts.keys.all().len()],
        };
        finals.sort_nodes(facts, deadline_ns);
        finals.add_sights(facts);
        finals.add_writes(facts);
        finals.find_survivors(facts);
        Ok(finals)
    }

    fn sort_nodes(&mut self, facts: &Facts<'h>, deadline_ns: u64) {
        let history = facts.history;
        let answered = history.final_snapshots();
        let mut refused: HashMap<&str, u64> = HashMap::new();
        let mut not_understood: HashSet<&str> = HashSet::new();
        for op in &history.ops {
            if &*op.f == "snapshot" && op.end_index.is_some() && op.outcome != Outcome::Ok {
                if op.invoked_ns < self.settle_ns {
                    continue;
                }
                refused.extend(op.node.as_deref().map(|node| (node, op.invoked_ns)));
                if history.not_understood.contains(&op.index) {
                    not_understood.extend(op.node.as_deref());
                }
            }
        }
        let expected = if history.contract.nodes.is_empty() {
            facts.nodes.all().map(|id| facts.node_name(id)).collect()
        } else {
            history.contract.nodes.iter().map(String::as_str).collect::<Vec<_>>()
        };
        let last_ns = answered.values().map(|op| op.end_ns()).max().unwrap_or(self.settle_ns);
        for name in expected {
            let Some(node) = facts.nodes.find(name) else { continue };
            let gone = history.lives.get(name).and_then(|lives| lives.last());
            let gone = gone.is_some_and(|life| life.ended_ns.is_some_and(|ended_ns| ended_ns < last_ns));
            match answered.get(name) {
                Some(op) if !gone => {
                    let later = refused.get(name).is_some_and(|invoked_ns| *invoked_ns > op.invoked_ns);
                    if later && op.end_ns() < deadline_ns {
                        self.silent.push(node);
                    } else {
                        self.nodes.push((node, op));
                    }
                }
                // It is there and answers: what it means is the protocol file's matter, and no fault of its own.
                None if !gone && not_understood.contains(name) => {
                    self.silent.push(node);
                    self.not_understood.push(node);
                }
                None if !gone && !refused.contains_key(name) => self.silent.push(node),
                _ => self.absent.push(node),
            }
        }
    }

    fn add_sights(&mut self, facts: &Facts) {
        let finals: HashMap<NodeId, u64> = self.nodes.iter().map(|(node, op)| (*node, op.index)).collect();
        let mut first: HashMap<NodeId, u64> = HashMap::new();
        for (id, sight) in facts.sights.iter().enumerate() {
            if sight.op.snapshot.is_none() || sight.asked_ns() < self.settle_ns {
                continue;
            }
            let place = (sight.node, sight.key);
            if *first.entry(sight.node).or_insert(sight.op.index) == sight.op.index {
                self.at_first.insert(place, id as SightId);
            }
            if finals.get(&sight.node) == Some(&sight.op.index) {
                self.at.insert(place, id as SightId);
            }
        }
    }

    fn add_writes(&mut self, facts: &Facts) {
        for (id, write) in facts.writes.iter().enumerate() {
            let late = write.op.invoked_ns >= self.settle_ns
                || (write.acked() && write.acked_ns() >= self.settle_ns);
            self.busy[write.key as usize] |= late;
            if write.acked() && !late {
                self.written.entry(write.key).or_default().push(id as WriteId);
            }
        }
    }

    fn find_survivors(&mut self, facts: &Facts) {
        let writes =
            (0..facts.writes.len() as WriteId).filter(|id| facts.write(*id).acked()).map(Witness::Write);
        let local = |id: &SightId| facts.sight(*id).is_local();
        let sights = (0..facts.sights.len() as SightId).filter(local).map(Witness::Sight);
        for witness in writes.chain(sights) {
            let node = facts.node_of(witness);
            let Some(stamp) = facts.stamp(witness) else { continue };
            if self.absent.contains(&node) || !facts.same_life(node, facts.op(witness).invoked_ns, u64::MAX) {
                continue;
            }
            let known = self.surviving.entry(facts.key_of(witness)).or_insert((stamp, witness));
            if known.0 < stamp {
                *known = (stamp, witness);
            }
        }
    }

    /// When `node` had shown its final state, ns; `u64::MAX` where it is not known.
    pub fn shown_ns(&self, node: NodeId) -> u64 {
        self.nodes.iter().find(|(other, _)| *other == node).map_or(u64::MAX, |(_, op)| op.end_ns())
    }

    /// What `node` held under `key`; `None`: no such key.
    pub fn held(&self, node: NodeId, key: KeyId) -> Option<SightId> {
        self.at.get(&(node, key)).copied()
    }

    /// Writes of `key` that were acknowledged before the settle phase.
    pub fn acked(&self, key: KeyId) -> &[WriteId] {
        self.written.get(&key).map_or(&[], |writes| writes)
    }

    /// Whether `key` was still being written when the settle phase had begun: its final state proves nothing.
    pub fn busy(&self, key: KeyId) -> bool {
        self.busy.get(key as usize).copied().unwrap_or(false)
    }

    /// The greatest version of `key` that some node provably had in a life that lasted to the end. In a system that
    /// keeps nothing on disk this, and what it covers, is all that must still be there: of anything greater, every
    /// node that provably had it was restarted, or gone, after it showed it.
    pub fn surviving(&self, key: KeyId) -> Option<(Stamp, Witness)> {
        self.surviving.get(&key).copied()
    }

    /// Whether `write` must be there at the end, or something that wins over it.
    pub fn owed(&self, facts: &Facts, write: WriteId) -> bool {
        let write = facts.write(write);
        let survives = |stamp| self.surviving(write.key).is_some_and(|(survivor, _)| survivor.covers(stamp));
        facts.disk || write.stamp.is_some_and(survives)
    }

    /// Whether a write of unknown outcome was done only after the settle phase had begun: its node did not have it when
    /// it was first asked. How long the others may take to agree then counts from a moment nobody knows.
    pub fn late(&self, facts: &Facts, id: WriteId) -> bool {
        let write = facts.write(id);
        if write.acked() {
            return false;
        }
        let Some(first) = self.at_first.get(&(write.node, write.key)) else { return true };
        let first = facts.sight(*first);
        let covers = match (first.stamp, write.stamp) {
            (Some(first), Some(stamp)) => first.covers(stamp),
            _ => false,
        };
        first.writer != Some(id) && !covers
    }

    /// Whether a delete of unknown outcome may have been done only after the settle phase had begun: some node had the key
    /// when it was first asked, and has it no more.
    pub fn deleted_late(&self, facts: &Facts, key: KeyId) -> bool {
        let shows = |id: Option<&SightId>| id.is_some_and(|id| !facts.sight(*id).is_nil());
        let lost = |(node, _): &(NodeId, &Op)| {
            shows(self.at_first.get(&(*node, key))) && !shows(self.at.get(&(*node, key)))
        };
        facts.deletes.unsure(key) && self.nodes.iter().any(lost)
    }

    /// Whether what `node` held under `key` is certainly below `floor`.
    pub fn below(&self, facts: &Facts, node: NodeId, key: KeyId, floor: Stamp) -> bool {
        match self.held(node, key) {
            Some(id) => facts.is_below(facts.sight(id), floor),
            None => facts.deletes.leave_below(key, self.shown_ns(node), floor),
        }
    }
}
