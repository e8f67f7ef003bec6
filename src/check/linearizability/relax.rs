//! Which operations of a proof are needed: one pass tells it of all of them.
//!
//! An operation is needed when the history becomes legal once it is relaxed too. Asking that of each by itself takes as many
//! searches as there are operations. This search walks the events once and lets every configuration that has relaxed
//! nothing yet split at each invocation: into one in which this operation is relaxed, and one in which it is not.
//! From then on it matters only *what* the relaxed operation may still do, once: nothing ([`SPENT`]), or one operation of
//! its kind. Configurations that agree in that are one, and remember from which operations they stem as a set that
//! shares its parts with others. Those that are left at the end stem from the operations that are needed.
//!
//! What it says is certain, but it may not say it of all: of the operations of unknown outcome it uses only some, so
//! that it need not count how many are left. To each operation that is not possible in every state, when it is
//! invoked, one of unknown outcome is promised that nobody else was promised and that makes it possible from any state
//! (for a read of 3, a write of 3 that was relaxed); and so to a relaxed one of each kind. Whatever way the past went, that one is still there. Every order
//! this search finds is legal; that it finds none proves nothing.
//!
//! Why the order among equals holds here too: an operation that is relaxed counts as done until it would have completed,
//! so nobody waits for it, and it may take effect whenever it is possible.
//!
//! Complexity: linear in the events, times the configurations, of which each stands beside one for each kind; within a step, the
//! configurations that lead to each other (states that repeat, mostly) are found to stem from the same operations
//! by their strong components (Tarjan 1972).

use std::time::Instant;

use super::machine::{Item, Machine, NONE};
use super::search::{Slot, has, set, stepped, unset, within};
use crate::history::calls::OPEN;
use crate::history::hash::Fast;

/// An operation as this search sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// As it is; `None` when it says nothing and does nothing.
    pub(super) kept: Option<Item>,
    /// Its kind when it is relaxed; `None` when it then does nothing.
    pub(super) relaxed: Option<u32>,
    /// Position of its invocation.
    pub(super) invoke: u32,
    /// Its number in the caller's list, when it is in question.
    pub(super) asked: Option<u32>,
}

/// What a configuration has relaxed: nothing,
const WHOLE: u32 = 0;
/// an operation that can do nothing any more,
const SPENT: u32 = 1;
/// or one that may still take effect: its kind, plus this.
const FIRST_KIND: u32 = 2;

/// How many configurations a step may have.
const MOST_CONFIGURATIONS: usize = 1 << 18;
/// How many entries the sets may have.
const MOST_ENTRIES: usize = 1 << 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Config<const W: usize> {
    state: u32,
    extra: u32,
    done: [u64; W],
}

/// Sets of operations that share their parts: each is a list of other sets, or one operation.
struct Origins {
    lists: Vec<Box<[u32]>>,
    ids: Fast<Box<[u32]>, u32>,
    entries: usize,
}

impl Origins {
    /// The set with nothing in it, and the sets of one operation each.
    fn new(operations: u32) -> Self {
        let lists = (0..=operations).map(|_| Box::default()).collect();
        Origins { lists, ids: Fast::default(), entries: 0 }
    }

    fn one(operation: u32) -> u32 {
        operation + 1
    }

    fn union(&mut self, mut parts: Vec<u32>) -> u32 {
        parts.sort_unstable();
        parts.dedup();
        if parts.first() == Some(&0) {
            parts.remove(0);
        }
        match parts[..] {
            [] => 0,
            [one] => one,
            _ => {
                let parts = parts.into_boxed_slice();
                if let Some(id) = self.ids.get(&parts) {
                    return *id;
                }
                let id = self.lists.len() as u32;
                self.entries += 2 * parts.len() + 8;
                self.lists.push(parts.clone());
                self.ids.insert(parts, id);
                id
            }
        }
    }

    /// The operations in any of `sets`.
    fn operations(&self, sets: impl Iterator<Item = u32>, operations: u32) -> Vec<u32> {
        let mut seen = vec![false; self.lists.len()];
        let mut stack: Vec<u32> = sets.collect();
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut seen[id as usize], true) {
                stack.extend(&self.lists[id as usize]);
            }
        }
        (0..operations).filter(|operation| seen[Self::one(*operation) as usize]).collect()
    }
}

/// What the search found.
#[derive(Debug)]
pub(super) enum Relaxed {
    /// There is a legal order as it is.
    Legal,
    /// Of those asked about, these certainly are needed.
    Needed(Vec<u32>),
    /// It was too much.
    GivenUp,
}

/// Relaxes one operation after another of those asked about (numbers in `0..asked`). `candidates` are in order of
/// invocation.
pub(super) fn relax(
    machine: &mut dyn Machine,
    candidates: &[Candidate],
    asked: u32,
    deadline: Instant,
) -> Relaxed {
    let mut events: Vec<(u32, u32)> = Vec::with_capacity(candidates.len() * 2);
    for (at, candidate) in candidates.iter().enumerate() {
        events.push((candidate.invoke, (at as u32) << 1));
        if let Some(item) = candidate.kept.filter(|item| item.ret != OPEN) {
            events.push((item.ret, (at as u32) << 1 | 1));
        }
    }
    events.sort_unstable();
    let (mut open, mut widest) = (0_usize, 0);
    for (_, event) in &events {
        if candidates[(event >> 1) as usize].kept.is_some_and(|item| item.ret != OPEN) {
            open = if event & 1 == 0 { open + 1 } else { open - 1 };
            widest = widest.max(open);
        }
    }
    match widest {
        0..=64 => Relaxing::<1>::new(machine, candidates, asked, deadline).run(&events),
        65..=256 => Relaxing::<4>::new(machine, candidates, asked, deadline).run(&events),
        _ => None,
    }
    .unwrap_or(Relaxed::GivenUp)
}

struct Relaxing<'a, const W: usize> {
    machine: &'a mut dyn Machine,
    candidates: &'a [Candidate],
    asked: u32,
    deadline: Instant,
    slots: Vec<Option<Slot<W>>>,
    slot_of: Vec<u32>,
    readers: [u64; W],
    writers: [u64; W],
    /// Operations of unknown outcome that overwrite: how many of each kind are promised to nobody yet.
    free: Vec<(u32, u32)>,
    /// What is promised to the operation in each slot: the state it leaves.
    promised: Vec<u32>,
    /// What is promised to a relaxed operation of each kind. One promise a kind is enough: nobody relaxes two.
    promised_extra: Vec<(u32, u32)>,
    /// Each with the operations it stems from.
    frontier: Vec<(Config<W>, u32)>,
    origins: Origins,
    step: Step<W>,
}

/// The configurations of one step.
struct Step<const W: usize> {
    ids: Fast<Config<W>, u32>,
    configs: Vec<Config<W>>,
    /// What each stems from by itself.
    own: Vec<u32>,
    /// Which leads to which.
    edges: Vec<(u32, u32)>,
}

impl<const W: usize> Step<W> {
    fn enter(&mut self, config: Config<W>) -> u32 {
        let next = self.configs.len() as u32;
        let id = *self.ids.entry(config).or_insert(next);
        if id == next {
            self.configs.push(config);
            self.own.push(0);
        }
        id
    }
}

impl<'a, const W: usize> Relaxing<'a, W> {
    fn new(machine: &'a mut dyn Machine, candidates: &'a [Candidate], asked: u32, deadline: Instant) -> Self {
        let config = Config { state: machine.initial(), extra: WHOLE, done: [0; W] };
        Relaxing {
            machine,
            candidates,
            asked,
            deadline,
            slots: Vec::new(),
            slot_of: vec![u32::MAX; candidates.len()],
            readers: [0; W],
            writers: [0; W],
            free: Vec::new(),
            promised: Vec::new(),
            promised_extra: Vec::new(),
            frontier: vec![(config, 0)],
            origins: Origins::new(asked),
            step: Step { ids: Fast::default(), configs: Vec::new(), own: Vec::new(), edges: Vec::new() },
        }
    }

    fn run(mut self, events: &[(u32, u32)]) -> Option<Relaxed> {
        for (_, event) in events {
            if event & 1 == 0 {
                self.invoke(event >> 1);
            } else {
                self.complete(event >> 1)?;
            }
            if self.frontier.is_empty() {
                return Some(Relaxed::Needed(Vec::new()));
            }
        }
        if self.frontier.iter().any(|(config, _)| config.extra == WHOLE) {
            return Some(Relaxed::Legal);
        }
        let left = self.frontier.iter().map(|(_, origin)| *origin);
        Some(Relaxed::Needed(self.origins.operations(left, self.asked)))
    }

    fn invoke(&mut self, at: u32) {
        let candidate = self.candidates[at as usize];
        let mut own_slot = None;
        match candidate.kept {
            Some(item) if item.ret == OPEN => self.invoke_unknown(item.kind),
            Some(item) => own_slot = Some(self.invoke_certain(at, item)),
            None => {}
        }
        let Some(asked) = candidate.asked else { return };
        if let Some(kind) = candidate.relaxed
            && self.promised_extra.iter().all(|(known, _)| *known != kind)
        {
            let promise = self.promise(kind);
            self.promised_extra.push((kind, promise));
        }
        let one = Origins::one(asked);
        for which in 0..self.frontier.len() {
            let (mut config, _) = self.frontier[which];
            if config.extra != WHOLE {
                continue;
            }
            config.extra = candidate.relaxed.map_or(SPENT, |kind| FIRST_KIND + kind);
            if let Some(slot) = own_slot {
                set(&mut config.done, slot);
            }
            match self.frontier.iter_mut().find(|(other, _)| *other == config) {
                Some((_, origin)) => *origin = self.origins.union(vec![*origin, one]),
                None => self.frontier.push((config, one)),
            }
        }
    }

    fn invoke_unknown(&mut self, kind: u32) {
        if !self.machine.overwrites(kind) {
            return;
        }
        match self.free.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.free.push((kind, 1)),
        }
        // Who had to do without may have it now.
        for at in 0..self.promised_extra.len() {
            if let (kind, NONE) = self.promised_extra[at] {
                self.promised_extra[at].1 = self.promise(kind);
            }
        }
    }

    /// Promises an operation one of unknown outcome that makes it possible; the state that one leaves, or [`NONE`].
    fn promise(&mut self, kind: u32) -> u32 {
        if self.machine.overwrites(kind) {
            return NONE;
        }
        let initial = self.machine.initial();
        // Of those that would do, the kind of which most are left.
        let mut best: Option<(usize, u32)> = None;
        for (at, (helper, count)) in self.free.iter().enumerate() {
            if *count > best.map_or(0, |(best, _)| self.free[best].1) {
                let state = self.machine.step(initial, *helper);
                if self.machine.step(state, kind) != NONE {
                    best = Some((at, state));
                }
            }
        }
        let Some((at, state)) = best else { return NONE };
        self.free[at].1 -= 1;
        state
    }

    fn invoke_certain(&mut self, at: u32, item: Item) -> usize {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.promised.push(NONE);
            self.slots.len() - 1
        });
        self.promised[slot] = self.promise(item.kind);
        let mut before = [0; W];
        for (other, held) in self.slots.iter_mut().enumerate() {
            if let Some(held) = held
                && held.kind == item.kind
            {
                if held.ret < item.ret { set(&mut before, other) } else { set(&mut held.before, slot) }
            }
        }
        self.slots[slot] = Some(Slot { kind: item.kind, ret: item.ret, call: item.call, before });
        self.slot_of[at as usize] = slot as u32;
        if self.machine.only_reads(item.kind) {
            set(&mut self.readers, slot);
            for (config, _) in &mut self.frontier {
                if self.machine.step(config.state, item.kind) != NONE {
                    set(&mut config.done, slot);
                }
            }
        } else {
            set(&mut self.writers, slot);
        }
        slot
    }

    fn complete(&mut self, at: u32) -> Option<()> {
        let slot = self.slot_of[at as usize] as usize;
        if self.frontier.iter().any(|(config, _)| !has(&config.done, slot)) {
            self.advance(slot)?;
        }
        for (config, _) in &mut self.frontier {
            unset(&mut config.done, slot);
        }
        self.slots[slot] = None;
        unset(&mut self.readers, slot);
        unset(&mut self.writers, slot);
        for other in self.slots.iter_mut().flatten() {
            unset(&mut other.before, slot);
        }
        self.merge();
        Some(())
    }

    /// Makes one of configurations that have become equal.
    fn merge(&mut self) {
        let frontier = std::mem::take(&mut self.frontier);
        self.step.ids.clear();
        let mut parts: Vec<(Config<W>, Vec<u32>)> = Vec::with_capacity(frontier.len());
        for (config, origin) in frontier {
            let next = parts.len() as u32;
            let at = *self.step.ids.entry(config).or_insert(next);
            match parts.get_mut(at as usize) {
                Some((_, origins)) => origins.push(origin),
                None => parts.push((config, vec![origin])),
            }
        }
        self.frontier =
            parts.into_iter().map(|(config, origins)| (config, self.origins.union(origins))).collect();
    }

    /// Continues every configuration until the operation in `slot` has taken effect or was relaxed.
    fn advance(&mut self, slot: usize) -> Option<()> {
        self.step.ids.clear();
        self.step.configs.clear();
        self.step.own.clear();
        self.step.edges.clear();
        let frontier = std::mem::take(&mut self.frontier);
        for (config, origin) in &frontier {
            let id = self.step.enter(*config);
            self.step.own[id as usize] = *origin;
        }
        let mut at = 0;
        while at < self.step.configs.len() {
            if at.is_multiple_of(256) {
                let too_many = at > MOST_CONFIGURATIONS || self.origins.entries > MOST_ENTRIES;
                if too_many || Instant::now() > self.deadline {
                    return None;
                }
            }
            let config = self.step.configs[at];
            if !has(&config.done, slot) {
                self.expand(config, at as u32);
            }
            at += 1;
        }
        let origins = components(&self.step, &mut self.origins);
        let survivors = self.step.configs.iter().zip(origins);
        self.frontier.extend(
            survivors.filter(|(config, _)| has(&config.done, slot)).map(|(config, origin)| (*config, origin)),
        );
        Some(())
    }

    fn expand(&mut self, config: Config<W>, from: u32) {
        for word in 0..W {
            let mut bits = (self.writers[word] | self.readers[word]) & !config.done[word];
            while bits != 0 {
                let chosen = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(held) = self.slots[chosen]
                    && within(&held.before, &config.done)
                {
                    let mut next = config;
                    set(&mut next.done, chosen);
                    // A reader that is possible as it is has been taken already.
                    self.reach(next, held.kind, from);
                    if self.promised[chosen] != NONE {
                        self.reach(Config { state: self.promised[chosen], ..next }, held.kind, from);
                    }
                }
            }
        }
        if config.extra >= FIRST_KIND {
            let kind = config.extra - FIRST_KIND;
            let next = Config { extra: SPENT, ..config };
            self.reach(next, kind, from);
            let promise = self.promised_extra.iter().find(|(known, _)| *known == kind);
            if let Some((_, state)) = promise.filter(|(_, state)| *state != NONE) {
                self.reach(Config { state: *state, ..next }, kind, from);
            }
        }
    }

    /// Takes one step, then every read that has become possible.
    fn reach(&mut self, mut config: Config<W>, kind: u32, from: u32) {
        let (done, readers) = (&mut config.done, &self.readers);
        let Some(state) = stepped(self.machine, config.state, done, kind, readers, &self.slots) else {
            return;
        };
        config.state = state;
        let to = self.step.enter(config);
        // What has relaxed nothing stems from nothing.
        if config.extra != WHOLE && to != from {
            self.step.edges.push((from, to));
        }
    }
}

/// What each configuration of a step stems from: its own, and what those stem from that lead to it.
fn components<const W: usize>(step: &Step<W>, origins: &mut Origins) -> Vec<u32> {
    const NEW: u32 = u32::MAX;
    const INCOMPLETE: u32 = u32::MAX;
    let count = step.configs.len();
    // Who leads to each.
    let mut starts = vec![0_u32; count + 1];
    for (_, to) in &step.edges {
        starts[*to as usize + 1] += 1;
    }
    for at in 0..count {
        starts[at + 1] += starts[at];
    }
    let mut next = starts.clone();
    let mut leading = vec![0_u32; step.edges.len()];
    for (from, to) in &step.edges {
        leading[next[*to as usize] as usize] = *from;
        next[*to as usize] += 1;
    }
    let leading = |at: u32| &leading[starts[at as usize] as usize..starts[at as usize + 1] as usize];
    // Tarjan, without recursion: a component is complete when all that leads to it is.
    let mut found = vec![INCOMPLETE; count];
    let (mut index, mut low, mut counter) = (vec![NEW; count], vec![0_u32; count], 0);
    let (mut path, mut open, mut is_open) = (Vec::<(u32, usize)>::new(), Vec::new(), vec![false; count]);
    for root in 0..count as u32 {
        if index[root as usize] != NEW {
            continue;
        }
        path.push((root, 0));
        while let Some((at, edge)) = path.last_mut() {
            let me = *at as usize;
            if *edge == 0 && index[me] == NEW {
                (index[me], low[me]) = (counter, counter);
                counter += 1;
                open.push(*at);
                is_open[me] = true;
            }
            if let Some(other) = leading(*at).get(*edge) {
                *edge += 1;
                let other_at = *other as usize;
                if index[other_at] == NEW {
                    path.push((*other, 0));
                } else if is_open[other_at] {
                    low[me] = low[me].min(index[other_at]);
                }
                continue;
            }
            path.pop();
            if let Some((above, _)) = path.last() {
                low[*above as usize] = low[*above as usize].min(low[me]);
            }
            if low[me] == index[me] {
                let first = open.iter().rposition(|member| *member as usize == me).unwrap_or(0);
                let members = open.split_off(first);
                let mut parts = Vec::new();
                for member in &members {
                    is_open[*member as usize] = false;
                    parts.push(step.own[*member as usize]);
                    // What is not complete yet is of this component.
                    let complete = leading(*member).iter().map(|other| found[*other as usize]);
                    parts.extend(complete.filter(|origin| *origin != INCOMPLETE));
                }
                let origin = origins.union(parts);
                for member in members {
                    found[member as usize] = origin;
                }
            }
        }
    }
    found
}
