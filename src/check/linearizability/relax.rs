//! Which operations of a proof are needed: one pass tells it of all of them.
//!
//! An operation is needed when the history becomes legal once it is relaxed too. Asking that of each by itself takes as many
//! searches as there are operations. This search walks the events once and lets every configuration that has relaxed
//! nothing yet split at each invocation: into one in which this operation is relaxed, and one in which it is not.
//! From then on it matters only *what* the relaxed operation may still do, once: nothing ([`SPENT`]), or one operation of
//! its kind. Configurations that agree in that are one, and remember from which operations they stem as a set that
//! shares its parts with others. Those that are left at the end stem from the operations that are needed.
//!
//! It differs from [`search`](super::search) in one point: a configuration that used up fewer operations of unknown
//! outcome does not replace one that used more, since they may stem from other operations.
//!
//! Why the order among equals holds here too: an operation that is relaxed counts as done until it would have completed,
//! so nobody waits for it, and it may take effect whenever it is possible.
//!
//! Complexity: a search in which each configuration stands beside one for each kind of operation; within a step, the
//! configurations that lead to each other (states that repeat, mostly) are found to stem from the same operations
//! by their strong components (Tarjan 1972).

use std::time::Instant;

use super::machine::{Item, Machine, NONE};
use super::search::{Crashed, Slot, has, set, unset, within};
use super::supply::Supply;
use super::table::Counts;
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
    used: u32,
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

/// Those of the operations asked about (`0..asked`) whose relaxing makes the history legal; `None` when that was too much.
/// `candidates` are in order of invocation; as they are, they have no legal order.
pub(super) fn needed(
    machine: &mut dyn Machine,
    candidates: &[Candidate],
    asked: u32,
    deadline: Instant,
) -> Option<Vec<u32>> {
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
    crashed: Vec<Crashed<W>>,
    crashed_ids: Fast<u32, u32>,
    counts: Counts,
    /// Each with the operations it stems from.
    frontier: Vec<(Config<W>, u32)>,
    origins: Origins,
    step: Step<W>,
    to_come: u32,
    supply: Supply,
    now: u32,
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
        let config = Config { state: machine.initial(), used: 0, extra: WHOLE, done: [0; W] };
        let items: Vec<Item> = candidates.iter().filter_map(|candidate| candidate.kept).collect();
        Relaxing {
            candidates,
            asked,
            deadline,
            slots: Vec::new(),
            slot_of: vec![u32::MAX; candidates.len()],
            readers: [0; W],
            writers: [0; W],
            crashed: Vec::new(),
            crashed_ids: Fast::default(),
            counts: Counts::new(),
            frontier: vec![(config, 0)],
            origins: Origins::new(asked),
            step: Step { ids: Fast::default(), configs: Vec::new(), own: Vec::new(), edges: Vec::new() },
            to_come: items.iter().filter(|item| item.ret != OPEN).count() as u32,
            supply: Supply::of(machine, &items),
            now: 0,
            machine,
        }
    }

    fn run(mut self, events: &[(u32, u32)]) -> Option<Vec<u32>> {
        for (position, event) in events {
            self.now = *position;
            if event & 1 == 0 {
                self.invoke(event >> 1);
            } else {
                self.complete(event >> 1)?;
            }
            if self.frontier.is_empty() {
                return Some(Vec::new());
            }
        }
        // Legal as it is: nothing of it is needed, but then it is no proof either.
        if self.frontier.iter().any(|(config, _)| config.extra == WHOLE) {
            return None;
        }
        let left = self.frontier.iter().map(|(_, origin)| *origin);
        Some(self.origins.operations(left, self.asked))
    }

    fn invoke(&mut self, at: u32) {
        let candidate = self.candidates[at as usize];
        let mut own_slot = None;
        match candidate.kept {
            Some(item) if item.ret == OPEN => self.invoke_unknown(item),
            Some(item) => own_slot = Some(self.invoke_certain(at, item)),
            None => {}
        }
        let Some(asked) = candidate.asked else { return };
        let whole: Vec<Config<W>> =
            self.frontier.iter().map(|(config, _)| *config).filter(|config| config.extra == WHOLE).collect();
        for mut config in whole {
            config.extra = match candidate.relaxed {
                Some(kind) if !self.is_plenty(kind, config.used) => FIRST_KIND + kind,
                _ => SPENT,
            };
            if let Some(slot) = own_slot {
                set(&mut config.done, slot);
            }
            let one = Origins::one(asked);
            match self.frontier.iter_mut().find(|(other, _)| *other == config) {
                Some((_, origin)) => *origin = self.origins.union(vec![*origin, one]),
                None => self.frontier.push((config, one)),
            }
        }
    }

    /// Whether one more of this kind changes nothing: there will always be one.
    fn is_plenty(&self, kind: u32, used: u32) -> bool {
        self.crashed_ids.get(&kind).is_some_and(|id| {
            let crashed = &self.crashed[*id as usize];
            let left = crashed.invoked.saturating_sub(self.counts.get(used, *id));
            self.supply.is_plenty(kind, self.now) || crashed.settles && left >= self.to_come
        })
    }

    fn invoke_unknown(&mut self, item: Item) {
        let id = *self.crashed_ids.entry(item.kind).or_insert_with(|| {
            let mut before = [0; W];
            for (slot, held) in self.slots.iter().enumerate() {
                if held.is_some_and(|held| held.kind == item.kind) {
                    set(&mut before, slot);
                }
            }
            let settles = self.machine.settles(item.kind);
            self.crashed.push(Crashed { kind: item.kind, invoked: 0, settles, before });
            self.crashed.len() as u32 - 1
        });
        self.crashed[id as usize].invoked += 1;
    }

    fn invoke_certain(&mut self, at: u32, item: Item) -> usize {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let mut before = [0; W];
        for (other, held) in self.slots.iter_mut().enumerate() {
            if let Some(held) = held
                && held.kind == item.kind
            {
                if held.ret < item.ret { set(&mut before, other) } else { set(&mut held.before, slot) }
            }
        }
        if let Some(id) = self.crashed_ids.get(&item.kind) {
            set(&mut self.crashed[*id as usize].before, slot);
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
        self.to_come -= 1;
        let kind = self.slots[slot].map(|held| held.kind);
        self.slots[slot] = None;
        unset(&mut self.readers, slot);
        unset(&mut self.writers, slot);
        for other in self.slots.iter_mut().flatten() {
            unset(&mut other.before, slot);
        }
        if let Some(id) = kind.and_then(|kind| self.crashed_ids.get(&kind)) {
            unset(&mut self.crashed[*id as usize].before, slot);
        }
        self.merge();
        Some(())
    }

    /// Makes one of configurations that have become equal: what was plenty may be said to be spent.
    fn merge(&mut self) {
        let mut frontier = std::mem::take(&mut self.frontier);
        for (config, _) in &mut frontier {
            if config.extra >= FIRST_KIND && self.is_plenty(config.extra - FIRST_KIND, config.used) {
                config.extra = SPENT;
            }
        }
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
            let mut bits = self.writers[word] & !config.done[word];
            while bits != 0 {
                let chosen = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(held) = self.slots[chosen]
                    && within(&held.before, &config.done)
                {
                    let mut next = config;
                    set(&mut next.done, chosen);
                    self.reach(next, held.kind, from);
                }
            }
        }
        for id in 0..self.crashed.len() {
            let crashed = &self.crashed[id];
            let left = crashed.invoked.saturating_sub(self.counts.get(config.used, id as u32));
            if left > 0 && within(&crashed.before, &config.done) {
                let kind = crashed.kind;
                let plenty = self.supply.is_plenty(kind, self.now) || crashed.settles && left >= self.to_come;
                let state = self.machine.step(config.state, kind);
                if state != NONE && state != config.state {
                    let mut next = config;
                    if !plenty {
                        next.used = self.counts.one_more(config.used, id as u32);
                    }
                    self.reach(next, kind, from);
                }
            }
        }
        if config.extra >= FIRST_KIND {
            let next = Config { extra: SPENT, ..config };
            self.reach(next, config.extra - FIRST_KIND, from);
        }
    }

    /// Takes one step, then every read that has become possible.
    fn reach(&mut self, mut config: Config<W>, kind: u32, from: u32) {
        let state = self.machine.step(config.state, kind);
        if state == NONE {
            return;
        }
        config.state = state;
        for word in 0..W {
            let mut bits = self.readers[word] & !config.done[word];
            while bits != 0 {
                let reader = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(held) = &self.slots[reader]
                    && self.machine.step(state, held.kind) != NONE
                {
                    set(&mut config.done, reader);
                }
            }
        }
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
