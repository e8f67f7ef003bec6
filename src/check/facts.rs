//! What the checks of a last-writer-wins store have in common: who wrote which value under which version, who showed
//! it when, and what a restart lets a node forget.
//!
//! # The contract
//!
//! Each node has one Lamport clock (Lamport 1978): it grows with every event of the node, and when a replicated write
//! arrives it is set above that write's timestamp. A write taken by node N gets the version (ts, N), where ts is above
//! everything N has seen. Each node keeps, per key, the greatest version it has received; a tie in ts is decided by
//! the origin. Every write reaches every node in the end.
//!
//! # What counts as evidence
//!
//! - Only `ok` completions. An `info` write may take effect now, later or never; when it is seen, it happened.
//! - Order at a node: `a` came before `b` when `a` had returned before `b` was invoked, whichever clients asked.
//!   A snapshot may have been put together from single reads: any moment of its interval counts.
//! - Every written value is unique, so a value names its write. Where an answer shows no version, the version of the
//!   write whose value it shows stands in. A value that two writes share names none.
//! - Where versions show a timestamp without an origin, the origin is the node that took the write, provided the
//!   origins seen elsewhere are node names too; otherwise a tie is left undecided.
//! - An acknowledgement that names *another* node as origin is not taken for the version of the write.
//! - A missing key is below every version, whatever version the answer carries, unless a delete may have left it
//!   missing ([`deletes`](super::deletes)). A delete is a write of nothing: no value names it, only its own version.
//! - Reads at other levels than [`Level::Plain`] show what some replicas know, not what the node that answers holds.
//!
//! # What a restart excuses
//!
//! A process that ends loses what the declared durability lets it lose. A *restart* lies between two observations of a
//! node when its down time touches the interval from the invocation of the first to the return of the second; how it
//! was ended does not matter.
//!
//! - `disk`: what N itself acknowledged binds for ever, timestamps included. What N merely showed of others' writes may
//!   not have been synced yet, so it binds only within one life.
//! - `replicated`, `memory`: nothing N knew binds across a restart; its clock may begin again, and with it versions may
//!   come again. That an acknowledged write is *gone* is excused only when no node provably still had it (see
//!   [`Finals::surviving`](super::finals::Finals::surviving)).

use std::collections::HashMap;

use super::deletes::Deletes;
use super::stamp::{Origins, Stamp};
use crate::history::{Durability, History, Level, Op, Outcome, Value};

/// Number of a node.
pub type NodeId = u32;
/// Number of a key.
pub type KeyId = u32;
/// Place in [`Facts::writes`].
pub type WriteId = u32;
/// Place in [`Facts::sights`].
pub type SightId = u32;
/// How many restarts of a node came before; observations of one life agree on it.
pub type LifeId = u32;

/// A write or a delete that was invoked, whatever became of it.
pub struct Write<'h> {
    /// The operation.
    pub op: &'h Op,
    /// The node that was asked.
    pub node: NodeId,
    /// The key.
    pub key: KeyId,
    /// Its version, where it is known.
    pub stamp: Option<Stamp>,
    /// The sight that told the version; `None` where the acknowledgement did.
    pub told_by: Option<SightId>,
    /// The sight of it that returned first.
    pub first_shown: Option<SightId>,
}

impl Write<'_> {
    /// Whether it was acknowledged.
    pub fn acked(&self) -> bool {
        self.op.is_ok()
    }

    /// Whether it deletes its key.
    pub fn deletes(&self) -> bool {
        &*self.op.f == "delete"
    }

    /// When it was acknowledged; `u64::MAX` if it never was.
    pub fn acked_ns(&self) -> u64 {
        self.op.end_ns()
    }
}

/// What a node showed under one key: by a read, or as part of a snapshot.
pub struct Sight<'h> {
    /// The operation.
    pub op: &'h Op,
    /// The node that answered.
    pub node: NodeId,
    /// The key.
    pub key: KeyId,
    /// The value; [`Value::Nil`]: no such key.
    pub value: &'h Value,
    /// The one write of this value to any key; `None` when there is none, or more than one.
    pub writer: Option<WriteId>,
    /// The version, shown or inferred; `None` for a missing key.
    pub stamp: Option<Stamp>,
    /// Whether the answer itself showed the timestamp.
    pub explicit: bool,
}

impl Sight<'_> {
    /// Whether the node said that it has no such key.
    pub fn is_nil(&self) -> bool {
        self.value.is_nil()
    }

    /// Whether it shows what its node itself holds: a snapshot's entry, or a plain read.
    pub fn is_local(&self) -> bool {
        matches!(self.op.level(), None | Some(Level::Plain))
    }

    /// Whether it is a read at this level.
    pub fn is_at(&self, level: Level) -> bool {
        self.op.level() == Some(level)
    }

    /// When it was asked for, ns.
    pub fn asked_ns(&self) -> u64 {
        self.op.invoked_ns
    }

    /// When the answer was there, ns.
    pub fn answered_ns(&self) -> u64 {
        self.op.end_ns()
    }
}

/// One piece of evidence of what a node held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// It acknowledged this write.
    Write(WriteId),
    /// It showed this.
    Sight(SightId),
}

/// An operation of a client session, in order.
#[derive(Clone, Copy)]
pub enum Step {
    /// A write.
    Write(WriteId),
    /// A read that was answered.
    Read(SightId),
}

/// Numbers for names.
#[derive(Default)]
pub struct Names<'h> {
    ids: HashMap<&'h str, u32>,
    names: Vec<&'h str>,
}

impl<'h> Names<'h> {
    fn id(&mut self, name: &'h str) -> u32 {
        *self.ids.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() as u32 - 1
        })
    }

    /// The number of `name`, if it has one.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// The name behind a number.
    pub fn name(&self, id: u32) -> &'h str {
        self.names[id as usize]
    }

    /// All numbers in use.
    pub fn all(&self) -> std::ops::Range<u32> {
        0..self.names.len() as u32
    }
}

/// The writes of one value.
#[derive(Default)]
struct Writers {
    ids: Vec<WriteId>,
}

/// A history, indexed. Building it takes time and memory linear in the history.
pub struct Facts<'h> {
    /// The history.
    pub history: &'h History,
    /// Versions of it.
    pub origins: Origins,
    /// Its nodes; the contract's first, in its order.
    pub nodes: Names<'h>,
    /// Keys that some client named.
    pub keys: Names<'h>,
    /// Every write invoked, in order.
    pub writes: Vec<Write<'h>>,
    /// Everything shown, in order of invocation.
    pub sights: Vec<Sight<'h>>,
    /// Reads and writes, in order of invocation.
    pub steps: Vec<Step>,
    /// Keys that nodes hold, that no client named, and whose values nobody wrote: not the clients' business.
    pub foreign_keys: u64,
    /// Whether acknowledged writes must survive a crash of their node.
    pub disk: bool,
    /// What may have left keys missing.
    pub deletes: Deletes,
    by_value: HashMap<&'h Value, Writers>,
    down: Vec<Vec<(u64, u64)>>,
    origins_are_nodes: bool,
}

impl<'h> Facts<'h> {
    /// Indexes a history.
    pub fn new(history: &'h History) -> Self {
        let mut facts = Facts {
            history,
            origins: Origins::new(history),
            nodes: Names::default(),
            keys: Names::default(),
            writes: Vec::new(),
            sights: Vec::new(),
            steps: Vec::new(),
            foreign_keys: 0,
            disk: history.contract.durability == Durability::Disk,
            deletes: Deletes::default(),
            by_value: HashMap::new(),
            down: Vec::new(),
            origins_are_nodes: true,
        };
        for node in &history.contract.nodes {
            facts.nodes.id(node);
        }
        facts.add_writes();
        facts.judge_origins();
        facts.stamp_writes_by_ack();
        facts.deletes = Deletes::new(&facts.writes);
        facts.add_sights();
        facts.learn_from_sights();
        facts.add_restarts();
        facts
    }

    fn add_writes(&mut self) {
        for op in &self.history.ops {
            if let Some(node) = &op.node {
                self.nodes.id(node);
            }
            let Some(key) = &op.key else { continue };
            let key = self.keys.id(key);
            let (Some(node), "write" | "delete") = (&op.node, &*op.f) else { continue };
            let id = self.writes.len() as WriteId;
            if &*op.f == "write" {
                self.by_value.entry(&op.value).or_default().ids.push(id);
            }
            let node = self.nodes.id(node);
            self.writes.push(Write { op, node, key, stamp: None, told_by: None, first_shown: None });
        }
    }

    fn judge_origins(&mut self) {
        let named = |origin: &str| origin.is_empty() || self.nodes.find(origin).is_some();
        self.origins_are_nodes = self.history.ops.iter().all(|op| {
            let held = op.snapshot.iter().flat_map(|snapshot| snapshot.values());
            let held = held.filter_map(|held| held.version.as_ref());
            op.version.iter().chain(held).all(|version| named(&version.origin))
        });
    }

    fn coordinator_rank(&self, node: NodeId) -> u32 {
        if self.origins_are_nodes { self.origins.rank(self.nodes.name(node)) } else { 0 }
    }

    fn stamp_writes_by_ack(&mut self) {
        for place in 0..self.writes.len() {
            let write = &self.writes[place];
            let (true, Some(version)) = (write.acked(), &write.op.version) else { continue };
            let mut stamp = self.origins.stamp(version);
            let another = self.nodes.find(&version.origin).is_some_and(|origin| origin != write.node);
            if another {
                continue;
            }
            if !stamp.has_origin() {
                stamp.origin = self.coordinator_rank(write.node);
            }
            self.writes[place].stamp = Some(stamp);
        }
    }

    fn add_sights(&mut self) {
        let mut write = 0;
        for op in &self.history.ops {
            let Some(node) = op.node.as_ref().map(|node| self.nodes.id(node)) else { continue };
            match (&*op.f, &op.key, &op.snapshot) {
                ("write" | "delete", Some(_), _) => {
                    self.steps.push(Step::Write(write));
                    write += 1;
                }
                (_, Some(key), _) if op.is_ok() && op.level().is_some() => {
                    let key = self.keys.id(key);
                    self.steps.push(Step::Read(self.sights.len() as SightId));
                    self.add_sight(op, node, key, &op.value, op.version.as_ref());
                }
                (_, _, Some(snapshot)) if op.is_ok() => {
                    for (name, held) in snapshot.iter() {
                        let written = self.by_value.contains_key(&held.value);
                        match self.keys.find(name) {
                            None if !written => self.foreign_keys += 1,
                            _ => {
                                let key = self.keys.id(name);
                                self.add_sight(op, node, key, &held.value, held.version.as_ref());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn add_sight(
        &mut self,
        op: &'h Op,
        node: NodeId,
        key: KeyId,
        value: &'h Value,
        version: Option<&crate::history::Version>,
    ) {
        let writer = match self.by_value.get(value).map(|writers| &writers.ids[..]) {
            Some([only]) if !value.is_nil() => Some(*only),
            _ => None,
        };
        let mut stamp = version.filter(|_| !value.is_nil()).map(|version| self.origins.stamp(version));
        if let (Some(stamp), Some(writer)) = (&mut stamp, writer)
            && !stamp.has_origin()
        {
            stamp.origin = self.coordinator_rank(self.writes[writer as usize].node);
        }
        self.sights.push(Sight { op, node, key, value, writer, stamp, explicit: stamp.is_some() });
    }

    fn learn_from_sights(&mut self) {
        for id in 0..self.sights.len() {
            let sight = &self.sights[id];
            let Some(writer) = sight.writer else { continue };
            let write = &self.writes[writer as usize];
            let earlier = |known: SightId| sight.answered_ns() < self.sights[known as usize].answered_ns();
            let first = write.first_shown.is_none_or(earlier);
            let stamp = sight.stamp;
            let write = &mut self.writes[writer as usize];
            if first {
                write.first_shown = Some(id as SightId);
            }
            if write.stamp.is_none() && stamp.is_some() && write.op.outcome != Outcome::Fail {
                write.stamp = stamp;
                write.told_by = Some(id as SightId);
            }
        }
        for sight in &mut self.sights {
            if let (None, Some(writer)) = (sight.stamp, sight.writer) {
                sight.stamp = self.writes[writer as usize].stamp;
            }
        }
    }

    fn add_restarts(&mut self) {
        for id in self.nodes.all() {
            let lives = self.history.lives.get(self.nodes.name(id)).map_or(&[][..], |lives| lives);
            let down = lives.windows(2).map(|pair| {
                let started_ns = pair[1].started_ns;
                (pair[0].ended_ns.unwrap_or(started_ns).min(started_ns), started_ns)
            });
            self.down.push(down.collect());
        }
    }

    /// The write `id`.
    pub fn write(&self, id: WriteId) -> &Write<'h> {
        &self.writes[id as usize]
    }

    /// The sight `id`.
    pub fn sight(&self, id: SightId) -> &Sight<'h> {
        &self.sights[id as usize]
    }

    /// Whether what is shown is certainly below `floor`.
    pub fn is_below(&self, sight: &Sight, floor: Stamp) -> bool {
        match sight.is_nil() {
            true => self.deletes.leave_below(sight.key, sight.answered_ns(), floor),
            false => sight.stamp.is_some_and(|stamp| stamp.is_below(floor)),
        }
    }

    /// All writes of `value`.
    pub fn writers(&self, value: &Value) -> &[WriteId] {
        self.by_value.get(value).map_or(&[], |writers| &writers.ids)
    }

    /// The operation behind a witness.
    pub fn op(&self, witness: Witness) -> &'h Op {
        match witness {
            Witness::Write(id) => self.write(id).op,
            Witness::Sight(id) => self.sight(id).op,
        }
    }

    /// The version a witness proves.
    pub fn stamp(&self, witness: Witness) -> Option<Stamp> {
        match witness {
            Witness::Write(id) => self.write(id).stamp,
            Witness::Sight(id) => self.sight(id).stamp,
        }
    }

    /// The node a witness is about.
    pub fn node_of(&self, witness: Witness) -> NodeId {
        match witness {
            Witness::Write(id) => self.write(id).node,
            Witness::Sight(id) => self.sight(id).node,
        }
    }

    /// The key a witness is about.
    pub fn key_of(&self, witness: Witness) -> KeyId {
        match witness {
            Witness::Write(id) => self.write(id).key,
            Witness::Sight(id) => self.sight(id).key,
        }
    }

    /// Whether a witness binds its node across restarts.
    pub fn durable(&self, witness: Witness) -> bool {
        self.disk
            && match witness {
                Witness::Write(id) => self.write(id).acked(),
                Witness::Sight(id) => {
                    let sight = self.sight(id);
                    let own = |id| self.write(id).acked() && self.write(id).node == sight.node;
                    sight.is_local() && sight.writer.is_some_and(own)
                }
            }
    }

    /// How many restarts of `node` were over before `from_ns`: the earliest life in which something asked then can
    /// have been answered.
    pub fn life_from(&self, node: NodeId, from_ns: u64) -> LifeId {
        self.down[node as usize].partition_point(|(_, started_ns)| *started_ns < from_ns) as LifeId
    }

    /// How many restarts of `node` had begun by `until_ns`: the latest life in which something answered then can have
    /// been.
    pub fn life_until(&self, node: NodeId, until_ns: u64) -> LifeId {
        self.down[node as usize].partition_point(|(ended_ns, _)| *ended_ns <= until_ns) as LifeId
    }

    /// Whether no restart of `node` touches the interval.
    pub fn same_life(&self, node: NodeId, from_ns: u64, until_ns: u64) -> bool {
        self.life_from(node, from_ns) == self.life_until(node, until_ns)
    }

    /// Whether every node still knew at `until_ns` all that it had ever known.
    pub fn nothing_forgotten(&self, until_ns: u64) -> bool {
        self.disk || self.nodes.all().all(|node| self.same_life(node, 0, until_ns))
    }

    /// The first life of a witness's interval, see [`Facts::life_from`].
    pub fn life_of(&self, witness: Witness) -> LifeId {
        self.life_from(self.node_of(witness), self.op(witness).invoked_ns)
    }

    /// The operations that prove what the witnesses say: theirs, and those that told versions they do not show.
    pub fn proof(&self, witnesses: &[Witness]) -> Vec<u64> {
        let mut ops = Vec::new();
        for &witness in witnesses {
            ops.push(self.op(witness).index);
            let write = match witness {
                Witness::Write(id) => Some(self.write(id)),
                Witness::Sight(id) if self.sight(id).explicit || self.sight(id).stamp.is_none() => None,
                Witness::Sight(id) => self.sight(id).writer.map(|writer| self.write(writer)),
            };
            let Some(write) = write else { continue };
            match write.told_by {
                Some(sight) => ops.push(self.sight(sight).op.index),
                None => ops.push(write.op.index),
            }
        }
        ops.sort_unstable();
        ops.dedup();
        ops
    }
}
