//! The fast engine: registers whose written values are distinct, by the zones of their values.
//!
//! After Gibbons & Korach (*Testing shared memories*, SIAM J. Comput. 1997). All operations on one value, its write
//! and its reads, form a **cluster**; in any legal order they stand together, the write first. A cluster's **zone**
//! lies between the earliest completion and the latest invocation among its operations. Where the earliest
//! completion comes first the zone is *forward*: the register must have held the value throughout. Otherwise it is
//! *backward*: all its operations overlap, and any single moment in the zone will do. The history is linearizable
//! exactly when
//! 1. every value read was written, and by a write invoked before the read completed,
//! 2. no two forward zones overlap,
//! 3. no backward zone lies within a forward one.
//!
//! Extended, soundly, to operations of unknown outcome:
//! - reads of unknown outcome, and failed operations, say nothing and have no effect: they drop out;
//! - a write of unknown outcome that nobody read may never have happened and drops out: taking it out of a legal order
//!   leaves a legal order;
//! - one that somebody read did happen, before its first read: its completion, never seen, is at most the earliest
//!   completion of its reads, which is what the zone's lower end then is without further ado;
//! - the initial value is a cluster whose write completed before everything else.
//!
//! Complexity: n log n for the sorting of zones, near-linear otherwise; some 50 bytes an operation.
//! Not for histories in which two writes that may have happened carry the same value: [`Zones::NotDistinct`].

use crate::history::Outcome;
use crate::history::calls::{Call, Calls, OPEN, ValueId};
use crate::history::hash::Fast;

/// What a function does to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Write,
    /// Writes "nothing".
    Delete,
    /// Says nothing and does nothing.
    Ignored,
    /// Not for this engine.
    Other,
}

/// What the history's functions and values mean to a register.
pub(super) struct Setting {
    /// What each function does.
    pub(super) roles: Vec<Role>,
    /// The initial value; absent where no operation names it.
    pub(super) initial: Option<ValueId>,
    /// A value whose reads say nothing.
    pub(super) unrecorded: Option<ValueId>,
}

impl Setting {
    fn role(&self, call: &Call) -> Role {
        self.roles[usize::from(call.f)]
    }

    /// What a call writes, if it may have happened.
    pub(super) fn written(&self, call: &Call) -> Option<ValueId> {
        if call.outcome == Outcome::Fail { None } else { self.would_write(call) }
    }

    /// Whether a call reads.
    pub(super) fn reads(&self, call: &Call) -> bool {
        self.role(call) == Role::Read
    }

    /// What a call writes, or would have written.
    pub(super) fn would_write(&self, call: &Call) -> Option<ValueId> {
        match self.role(call) {
            Role::Write => Some(call.input),
            Role::Delete => Some(ValueId::NIL),
            _ => None,
        }
    }
}

/// What the engine found about one register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Zones {
    Legal,
    NotDistinct,
    /// At most four calls that cannot be reconciled, not yet minimal, and what is wrong.
    Conflict(Conflict),
}

/// Why there is no legal order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// A read of a value nobody wrote.
    Phantom { read: u32 },
    /// A read that completed before its value's write was invoked.
    Foreseen { read: u32, write: u32 },
    /// Two values, each of which the register had to hold while it held the other.
    Both(ValueId, ValueId),
    /// The register had to hold the second throughout, yet held the first at some moment in between.
    Within(ValueId, ValueId),
}

/// A value's zone while it is being measured.
#[derive(Clone, Copy)]
struct Cluster {
    /// When its write was invoked.
    write: u32,
    /// The earliest completion.
    low: u32,
    /// The latest invocation.
    high: u32,
    value: ValueId,
}

/// Tables reused from key to key.
#[derive(Default)]
pub(super) struct Scratch {
    clusters: Vec<Cluster>,
    /// Cluster of each small number, plus one; of each other value.
    small: Vec<u32>,
    table: Vec<u32>,
    /// Where numbers are too large for a table.
    sparse: Fast<u32, u32>,
    forward: Vec<(u32, u32, u32)>,
}

impl Scratch {
    /// Tables for this history: one entry a value as long as that is no more than four a call.
    pub(super) fn new(calls: &Calls) -> Self {
        let most = calls.calls.iter().filter_map(|call| call.input.as_small()).max().unwrap_or(0) as usize;
        let dense = most <= 4 * calls.calls.len() + 1024;
        let small = if dense { vec![0; most + 1] } else { Vec::new() };
        Scratch { small, table: vec![0; calls.values.table_len()], ..Scratch::default() }
    }

    fn slot(&mut self, value: ValueId) -> &mut u32 {
        match value.as_small() {
            None => &mut self.table[value.raw() as usize],
            Some(small) if (small as usize) < self.small.len() => &mut self.small[small as usize],
            Some(small) => self.sparse.entry(small).or_insert(0),
        }
    }

    fn cluster(&self, value: ValueId) -> u32 {
        match value.as_small() {
            None => self.table.get(value.raw() as usize).copied().unwrap_or(0),
            Some(small) => match self.small.get(small as usize) {
                Some(cluster) => *cluster,
                None => self.sparse.get(&small).copied().unwrap_or(0),
            },
        }
    }

    fn reset(&mut self) {
        for at in 0..self.clusters.len() {
            *self.slot(self.clusters[at].value) = 0;
        }
        self.sparse.clear();
        self.clusters.clear();
        self.forward.clear();
    }
}

/// Judges one register. `order` lists its calls by invocation.
pub(super) fn judge(calls: &Calls, order: &[u32], setting: &Setting, scratch: &mut Scratch) -> Zones {
    let verdict = measure(calls, order, setting, scratch).unwrap_or_else(|| compare(scratch));
    scratch.reset();
    verdict
}

/// Measures every zone; a verdict where that already gives one.
fn measure(calls: &Calls, order: &[u32], setting: &Setting, scratch: &mut Scratch) -> Option<Zones> {
    // A position no invocation has is not needed for the start: a completion is never at position 0.
    scratch.clusters.push(Cluster {
        write: 0,
        low: 0,
        high: 0,
        value: setting.initial.unwrap_or(ValueId::NIL),
    });
    if let Some(initial) = setting.initial {
        *scratch.slot(initial) = 1;
    }
    for index in order {
        let call = &calls.calls[*index as usize];
        if setting.role(call) == Role::Other {
            return Some(Zones::NotDistinct);
        }
        let Some(value) = setting.written(call) else { continue };
        let next = scratch.clusters.len() as u32 + 1;
        let slot = scratch.slot(value);
        if *slot != 0 {
            return Some(Zones::NotDistinct);
        }
        *slot = next;
        let low = if call.outcome == Outcome::Ok { call.ret } else { OPEN };
        scratch.clusters.push(Cluster { write: call.invoke, low, high: call.invoke, value });
    }
    for index in order {
        let call = &calls.calls[*index as usize];
        if call.outcome != Outcome::Ok
            || setting.role(call) != Role::Read
            || Some(call.output) == setting.unrecorded
        {
            continue;
        }
        let cluster = scratch.cluster(call.output) as usize;
        if cluster == 0 {
            return Some(Zones::Conflict(Conflict::Phantom { read: *index }));
        }
        let cluster = &mut scratch.clusters[cluster - 1];
        if call.ret < cluster.write {
            let value = cluster.value;
            let wrote = |index: &&u32| setting.written(&calls.calls[**index as usize]) == Some(value);
            let write = order.iter().find(wrote).copied().unwrap_or(*index);
            return Some(Zones::Conflict(Conflict::Foreseen { read: *index, write }));
        }
        cluster.low = cluster.low.min(call.ret);
        cluster.high = cluster.high.max(call.invoke);
    }
    None
}

/// Looks for two zones that cannot both be.
fn compare(scratch: &mut Scratch) -> Zones {
    let Scratch { clusters, forward, .. } = scratch;
    for (at, cluster) in clusters.iter().enumerate() {
        if cluster.low < cluster.high {
            forward.push((cluster.low, cluster.high, at as u32));
        }
    }
    forward.sort_unstable();
    for pair in forward.windows(2) {
        if pair[1].0 < pair[0].1 {
            let value = |at: u32| clusters[at as usize].value;
            return Zones::Conflict(Conflict::Both(value(pair[0].2), value(pair[1].2)));
        }
    }
    // Clusters come in order of their writes, so the zone to compare with is never far from the last.
    let mut near = 0;
    // The first cluster is the initial value's: it may be forward, but has no write that could be squeezed in.
    for cluster in clusters.iter().skip(1).filter(|cluster| cluster.low > cluster.high && cluster.low != OPEN)
    {
        while near + 1 < forward.len() && forward[near + 1].0 <= cluster.high {
            near += 1;
        }
        while near > 0 && forward[near].0 > cluster.high {
            near -= 1;
        }
        if let Some((low, high, outer)) = forward.get(near)
            && *low <= cluster.high
            && cluster.low < *high
        {
            return Zones::Conflict(Conflict::Within(cluster.value, clusters[*outer as usize].value));
        }
    }
    Zones::Legal
}

/// The calls that fix the ends of a value's zone: the earliest completion and the latest invocation; then its write.
pub(super) fn ends(
    calls: &Calls,
    order: &[u32],
    setting: &Setting,
    value: ValueId,
) -> (Vec<u32>, Option<u32>) {
    let mut earliest: Option<u32> = None;
    let mut latest: Option<u32> = None;
    let mut write = None;
    for index in order {
        let call = &calls.calls[*index as usize];
        let wrote = setting.written(call) == Some(value);
        let read = setting.role(call) == Role::Read && call.outcome == Outcome::Ok && call.output == value;
        if !wrote && !read {
            continue;
        }
        if wrote {
            write = Some(*index);
        }
        let ret = |index: u32| calls.calls[index as usize].ret;
        if call.outcome == Outcome::Ok && earliest.is_none_or(|other| call.ret < ret(other)) {
            earliest = Some(*index);
        }
        // In order of invocation: the last is the latest.
        latest = Some(*index);
    }
    let mut found: Vec<u32> = earliest.into_iter().chain(latest).collect();
    found.dedup();
    (found, write)
}
