//! What the object could have been after each operation of a proof, for the sentence and the picture alike: every other
//! operation relaxed, as the proof demands, all ways are followed side by side until none is left.
//!
//! The states the search got stuck in are others: those of the whole history, in which what is no part of the proof
//! narrows them down. Beside a proof they would mislead, since it holds without that.
//!
//! Unlike the search this keeps every state that was possible at a moment, not only those some completion needs.
//! Proofs are small, and what is relaxed mostly drops out unobserved; where it does not, sentence and picture go without
//! these states.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::machine::{Item, Machine, NONE};
use super::{Options, machine};
use crate::history::calls::{Calls, OPEN};

/// Beyond so many steps from one way to another, none is told: a picture is not worth a search.
const MOST_STEPS: usize = 200_000;

/// What certainly happened is followed as bits of a word.
const MOST_CERTAIN: usize = 64;

/// One completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The operation that completed.
    pub(super) call: u32,
    /// What the object could be then; where the operation did not fit, what it could have been instead.
    pub(super) states: Vec<String>,
    /// Whether the operation fits any of the ways.
    pub(super) fits: bool,
}

/// One way the past may have gone: state, which open operations are done. Its value: how many of each kind of unknown
/// outcome were used, one list for each choice that no other makes needless.
type Ways = HashMap<(u32, u64), Vec<Vec<u16>>>;

/// The completions of `proof` in order, up to the one that fits no way; `None` where that cannot be told. `order` are
/// all operations of the object, by invocation.
pub(super) fn steps(calls: &Calls, options: &Options, order: &[u32], proof: &[u32]) -> Option<Vec<Step>> {
    let mut proof = proof.to_vec();
    proof.sort_unstable();
    if proof.len() > MOST_CERTAIN {
        return None;
    }
    let mut machine = machine(options).ok()?;
    let last = proof.iter().map(|call| calls.calls[*call as usize].ret).filter(|ret| *ret != OPEN).max()?;
    let mut items: Vec<Item> = Vec::new();
    for index in order {
        // What is invoked later has nothing to contradict.
        if calls.calls[*index as usize].invoke < last {
            items.extend(machine.item(calls, *index, proof.binary_search(index).is_err()).ok()?);
        }
    }
    machine.prune(&mut items);
    if items.iter().filter(|item| item.ret != OPEN).count() > MOST_CERTAIN {
        return None;
    }
    let mut walk = Walk::new(&mut *machine, &items);
    let mut events: Vec<(u32, usize)> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        events.push((item.invoke, at));
        if item.ret != OPEN {
            events.push((item.ret, at));
        }
    }
    events.sort_unstable();
    let mut steps = Vec::new();
    for (position, at) in events {
        let item = items[at];
        if position == item.invoke {
            walk.invoke(item);
            continue;
        }
        let step = walk.complete(item)?;
        let fits = step.fits;
        steps.push(step);
        if !fits {
            return Some(steps);
        }
    }
    // A proof ends in a contradiction; this one was cut short.
    None
}

struct Walk<'a> {
    machine: &'a mut dyn Machine,
    /// Operations that certainly happen, open now: bit, kind, call.
    open: Vec<(u64, u32, u32)>,
    free: u64,
    /// Kinds of operations of unknown outcome, and how many were invoked.
    kinds: Vec<u32>,
    available: Vec<u16>,
    ways: Ways,
    /// How often an operation that leaves the same state whatever was before can be of use.
    enough: u16,
    taken: usize,
}

impl<'a> Walk<'a> {
    fn new(machine: &'a mut dyn Machine, items: &[Item]) -> Self {
        let mut kinds: Vec<u32> =
            items.iter().filter(|item| item.ret == OPEN).map(|item| item.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let start = machine.initial();
        Walk {
            open: Vec::new(),
            free: u64::MAX,
            available: vec![0; kinds.len()],
            ways: HashMap::from([((start, 0), vec![vec![0; kinds.len()]])]),
            enough: (items.len() - items.iter().filter(|item| item.ret == OPEN).count() + 1) as u16,
            kinds,
            machine,
            taken: 0,
        }
    }

    fn invoke(&mut self, item: Item) {
        if item.ret == OPEN {
            if let Ok(at) = self.kinds.binary_search(&item.kind) {
                self.available[at] = self.available[at].saturating_add(1);
            }
            return;
        }
        // At most 64 of them exist, so a bit is free.
        let bit = 1 << self.free.trailing_zeros().min(63);
        self.free &= !bit;
        self.open.push((bit, item.kind, item.call));
    }

    fn complete(&mut self, item: Item) -> Option<Step> {
        self.spread()?;
        let at = self.open.iter().position(|(_, _, call)| *call == item.call)?;
        let (bit, ..) = self.open.swap_remove(at);
        self.free |= bit;
        let show = |ways: &Ways, machine: &dyn Machine| {
            let states: BTreeSet<u32> = ways.keys().map(|(state, _)| *state).collect();
            let mut shown: Vec<String> = states.into_iter().map(|state| machine.show(state)).collect();
            shown.sort_by(|left, right| (left.len(), left).cmp(&(right.len(), right)));
            shown
        };
        let before = std::mem::take(&mut self.ways);
        let (done, not): (Ways, Ways) = before.into_iter().partition(|((_, done), _)| done & bit != 0);
        if done.is_empty() {
            return Some(Step { call: item.call, states: show(&not, self.machine), fits: false });
        }
        self.ways = done.into_iter().map(|((state, done), used)| ((state, done & !bit), used)).collect();
        Some(Step { call: item.call, states: show(&self.ways, self.machine), fits: true })
    }

    /// Adds every way that what is open now can lead to.
    fn spread(&mut self) -> Option<()> {
        let mut stack: Vec<(u32, u64, Vec<u16>)> = Vec::new();
        for ((state, done), all) in &self.ways {
            stack.extend(all.iter().map(|used| (*state, *done, used.clone())));
        }
        while let Some((state, done, used)) = stack.pop() {
            for at in 0..self.open.len() {
                let (bit, kind, _) = self.open[at];
                if done & bit == 0 {
                    self.reach(state, kind, (done | bit, used.clone()), &mut stack);
                }
            }
            for at in 0..self.kinds.len() {
                let kind = self.kinds[at];
                let plenty = self.machine.settles(kind) && self.available[at] >= self.enough;
                if used[at] < self.available[at] {
                    let mut used = used.clone();
                    used[at] += u16::from(!plenty);
                    self.reach(state, kind, (done, used), &mut stack);
                }
            }
            if self.taken > MOST_STEPS {
                return None;
            }
        }
        Some(())
    }

    /// Takes one step.
    fn reach(
        &mut self,
        state: u32,
        kind: u32,
        (done, used): (u64, Vec<u16>),
        stack: &mut Vec<(u32, u64, Vec<u16>)>,
    ) {
        self.taken += 1;
        let state = self.machine.step(state, kind);
        if state == NONE {
            return;
        }
        let no_more = |less: &[u16], more: &[u16]| less.iter().zip(more).all(|(less, more)| less <= more);
        match self.ways.entry((state, done)) {
            Entry::Occupied(mut known) => {
                if known.get().iter().any(|other| no_more(other, &used)) {
                    return;
                }
                known.get_mut().retain(|other| !no_more(&used, other));
                known.get_mut().push(used.clone());
            }
            Entry::Vacant(new) => {
                new.insert(vec![used.clone()]);
            }
        }
        stack.push((state, done, used));
    }
}
