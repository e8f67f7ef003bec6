//! The general engine: just-in-time linearization over a frontier of configurations.
//!
//! After Wing & Gong (1993) and Lowe (*Testing for linearizability*, 2017). The events are walked in order. A
//! **configuration** is one way the past may have gone: the object's state, which of the operations now open have
//! already taken effect, and how many operations of unknown outcome were used up. The **frontier** holds all
//! configurations that agree with everything seen so far. It changes at a completion: each configuration in which
//! the completing operation has not taken effect yet is continued by other open operations, one after another, until it
//! has. If none survives, the history is not linearizable, and this completion is where it got stuck.
//!
//! *Just in time* loses nothing: an operation that takes effect after the one that completes may as well wait until a
//! completion needs it.
//!
//! What keeps the frontier small, and why each is sound:
//! - **Eager reads.** An operation that leaves every state as it is (a read, a failed compare-and-set that saw another
//!   value) takes effect as soon as it is possible: any continuation without it is a continuation with it. This is *not*
//!   so for writes, not even for a write of the value already there: it might be needed later.
//! - **Equal operations in order of deadline.** Of two open operations that are the same (a second write of 3), the
//!   one that completes first goes first: exchanging them in any legal order gives a legal order.
//! - **Operations of unknown outcome are counted by kind.** Equal ones are interchangeable from the moment of
//!   their invocation on, and one that certainly happened goes before one that need not have.
//! - **Plenty is not counted.** Where an operation leaves the same state whatever was before (a write, a
//!   compare-and-set), using it twice between two operations that certainly happen is using it once too often: the same
//!   state comes back. So when as many are left as there are completions to come, there will always be one. Nor is it
//!   counted from the moment on from which at any time more were invoked than *demanding* operations, those that are not
//!   possible in every state: see [`Supply`].
//! - **Dominance.** With the same state and the same open operations done, the configuration that used up fewer
//!   operations of unknown outcome can do whatever the other can.
//!
//! Complexity: exponential in the number of operations open at once, as it must be (the problem is NP-complete:
//! Gibbons & Korach 1997); linear in the length of the history otherwise. A [`Budget`] bounds time and memory.

use std::time::{Duration, Instant};

use super::machine::{Item, Machine, NONE};
use super::supply::Supply;
use super::table::{Config, Counts, Table};
use crate::history::calls::OPEN;
use crate::history::hash::Fast;

/// What a search may spend. Beyond it the verdict is `unknown`.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How long.
    pub time: Duration,
    /// How much memory, bytes.
    pub memory_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { time: Duration::from_secs(60), memory_bytes: 2 << 30 }
    }
}

/// Where a history could not be continued.
#[derive(Clone, Debug)]
pub(super) struct Stuck {
    /// The call whose completion no configuration agreed with.
    pub(super) call: u32,
    /// The states the object could be in just before, for people.
    pub(super) states: Vec<String>,
    /// The calls open at that moment.
    pub(super) open: Vec<u32>,
}

/// How a search ended.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Legal,
    Stuck(Stuck),
    /// Why it was given up.
    GivenUp(String),
}

/// How many states a stuck search tells of.
const MAX_SHOWN: usize = 8;

/// Whether the operations have a legal order. `items` are in order of invocation.
pub(super) fn search(machine: &mut dyn Machine, items: &[Item], budget: &Budget, began: Instant) -> Found {
    let supply = Supply::of(machine, items);
    search_with(machine, items, supply, budget, began)
}

/// The same, where the supply of operations of unknown outcome was looked at already.
pub(super) fn search_with(
    machine: &mut dyn Machine,
    items: &[Item],
    supply: Supply,
    budget: &Budget,
    began: Instant,
) -> Found {
    let mut open = 0_usize;
    let mut widest = 0;
    let mut events: Vec<(u32, u32)> = Vec::with_capacity(items.len() * 2);
    for (at, item) in items.iter().enumerate() {
        let at = at as u32;
        events.push((item.invoke, at << 1));
        if item.ret != OPEN {
            events.push((item.ret, at << 1 | 1));
        }
    }
    events.sort_unstable();
    for (_, event) in &events {
        if items[(event >> 1) as usize].ret != OPEN {
            open = if event & 1 == 0 { open + 1 } else { open - 1 };
            widest = widest.max(open);
        }
    }
    match widest {
        0..=64 => Search::<1>::new(machine, items, supply, budget, began).run(&events),
        65..=256 => Search::<4>::new(machine, items, supply, budget, began).run(&events),
        257..=1024 => Search::<16>::new(machine, items, supply, budget, began).run(&events),
        _ => Found::GivenUp(format!(
            "{widest} operations are open at once, more than the 1024 the general search can follow"
        )),
    }
}

/// An open operation that certainly happens.
#[derive(Clone, Copy)]
pub(super) struct Slot<const W: usize> {
    pub(super) kind: u32,
    pub(super) ret: u32,
    pub(super) call: u32,
    /// Open operations of the same kind that go first.
    pub(super) before: [u64; W],
}

/// A kind of operation of unknown outcome.
struct Crashed<const W: usize> {
    kind: u32,
    /// How many were invoked so far.
    invoked: u32,
    /// Whether it leaves the same state whatever was before.
    settles: bool,
    /// Open operations of this kind that certainly happen, and go first.
    before: [u64; W],
}

struct Search<'a, const W: usize> {
    machine: &'a mut dyn Machine,
    items: &'a [Item],
    budget: &'a Budget,
    began: Instant,
    slots: Vec<Option<Slot<W>>>,
    slot_of: Vec<u32>,
    /// The open operations that leave states as they are, and the others.
    readers: [u64; W],
    writers: [u64; W],
    crashed: Vec<Crashed<W>>,
    crashed_ids: Fast<u32, u32>,
    counts: Counts,
    frontier: Vec<Config<W>>,
    tried: Table<W>,
    next: Table<W>,
    stack: Vec<u32>,
    /// How many completions are still to come.
    to_come: u32,
    supply: Supply,
    now: u32,
    work: u64,
    states_kept: usize,
}

impl<'a, const W: usize> Search<'a, W> {
    fn new(
        machine: &'a mut dyn Machine,
        items: &'a [Item],
        supply: Supply,
        budget: &'a Budget,
        began: Instant,
    ) -> Self {
        let initial = machine.initial();
        Search {
            machine,
            items,
            budget,
            began,
            slots: Vec::new(),
            slot_of: vec![u32::MAX; items.len()],
            readers: [0; W],
            writers: [0; W],
            crashed: Vec::new(),
            crashed_ids: Fast::default(),
            counts: Counts::new(),
            frontier: vec![Config { state: initial, used: 0, done: [0; W] }],
            tried: Table::new(),
            next: Table::new(),
            stack: Vec::new(),
            to_come: items.iter().filter(|item| item.ret != OPEN).count() as u32,
            supply,
            now: 0,
            work: 0,
            states_kept: 0,
        }
    }

    fn run(mut self, events: &[(u32, u32)]) -> Found {
        for (seen, (position, event)) in events.iter().enumerate() {
            self.now = *position;
            let item = event >> 1;
            if event & 1 == 0 {
                self.invoke(item);
                continue;
            }
            let survived = match self.complete(item) {
                Ok(survived) => survived,
                Err(why) => {
                    return Found::GivenUp(format!(
                        "{why} after {seen} of {} events, with {} configurations in question",
                        events.len(),
                        self.frontier.len() + self.tried.len()
                    ));
                }
            };
            if !survived {
                return Found::Stuck(self.stuck(item));
            }
        }
        Found::Legal
    }

    fn invoke(&mut self, at: u32) {
        let item = self.items[at as usize];
        if item.ret == OPEN {
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
            return;
        }
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
            for config in &mut self.frontier {
                if self.machine.step(config.state, item.kind) != NONE {
                    set(&mut config.done, slot);
                }
            }
        } else {
            set(&mut self.writers, slot);
        }
    }

    /// Lets an operation complete; whether any configuration agrees.
    fn complete(&mut self, at: u32) -> Result<bool, String> {
        let slot = self.slot_of[at as usize] as usize;
        if self.frontier.iter().any(|config| !has(&config.done, slot)) && !self.advance(slot)? {
            return Ok(false);
        }
        for config in &mut self.frontier {
            unset(&mut config.done, slot);
        }
        self.to_come -= 1;
        self.slots[slot] = None;
        unset(&mut self.readers, slot);
        unset(&mut self.writers, slot);
        for other in self.slots.iter_mut().flatten() {
            unset(&mut other.before, slot);
        }
        if let Some(id) = self.crashed_ids.get(&self.items[at as usize].kind) {
            unset(&mut self.crashed[*id as usize].before, slot);
        }
        self.tidy();
        Ok(true)
    }

    /// Continues every configuration until the operation in `slot` has taken effect.
    fn advance(&mut self, slot: usize) -> Result<bool, String> {
        self.tried.clear();
        self.next.clear();
        for config in &self.frontier {
            if has(&config.done, slot) {
                self.next.insert(*config, &self.counts);
            } else {
                self.tried.insert(*config, &self.counts);
            }
        }
        self.stack.clear();
        self.stack.extend(0..self.tried.len() as u32);
        while let Some(node) = self.stack.pop() {
            self.spend()?;
            let Some(config) = self.tried.get(node) else { continue };
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
                        self.reach(next, held.kind, slot);
                    }
                }
            }
            for id in 0..self.crashed.len() {
                let crashed = &self.crashed[id];
                let left = crashed.invoked.saturating_sub(self.counts.get(config.used, id as u32));
                if left > 0 && within(&crashed.before, &config.done) {
                    let kind = crashed.kind;
                    let plenty =
                        self.supply.is_plenty(kind, self.now) || crashed.settles && left >= self.to_come;
                    let mut next = config;
                    let state = self.machine.step(config.state, kind);
                    if state != NONE && state != config.state {
                        if !plenty {
                            next.used = self.counts.one_more(config.used, id as u32);
                        }
                        self.reach(next, kind, slot);
                    }
                }
            }
        }
        if self.next.is_empty() {
            return Ok(false);
        }
        self.frontier.clear();
        self.frontier.extend(self.next.iter());
        Ok(true)
    }

    /// Takes one step, then every read that has become possible.
    #[inline]
    fn reach(&mut self, mut config: Config<W>, kind: u32, target: usize) {
        let (done, readers) = (&mut config.done, &self.readers);
        let Some(state) = stepped(self.machine, config.state, done, kind, readers, &self.slots) else {
            return;
        };
        config.state = state;
        if has(&config.done, target) {
            self.next.insert(config, &self.counts);
        } else if let Some(node) = self.tried.insert(config, &self.counts) {
            self.stack.push(node);
        }
    }

    fn spend(&mut self) -> Result<(), String> {
        self.work += 1;
        if !self.work.is_multiple_of(512) {
            return Ok(());
        }
        if self.began.elapsed() > self.budget.time {
            return Err(format!("the time of {:?} was used up", self.budget.time));
        }
        let bytes = self.tried.bytes()
            + self.next.bytes()
            + self.counts.bytes()
            + self.machine.bytes()
            + self.frontier.capacity() * size_of::<Config<W>>();
        if bytes > self.budget.memory_bytes {
            return Err(format!("the memory of {} MiB was used up", self.budget.memory_bytes >> 20));
        }
        Ok(())
    }

    /// Forgets states and counts no configuration refers to any more, when there are many.
    fn tidy(&mut self) {
        const MANY: usize = 16 << 20;
        if self.machine.bytes() > MANY + 2 * self.states_kept {
            self.machine.keep_only(&mut self.frontier.iter_mut().map(|config| &mut config.state));
            self.states_kept = self.machine.bytes();
        }
        if self.counts.is_large() {
            self.counts.keep_only(&mut self.frontier.iter_mut().map(|config| &mut config.used));
        }
    }

    fn stuck(&self, at: u32) -> Stuck {
        let mut seen: Vec<u32> = self.frontier.iter().map(|config| config.state).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.truncate(MAX_SHOWN);
        Stuck {
            call: self.items[at as usize].call,
            states: seen.into_iter().map(|state| self.machine.show(state)).collect(),
            open: self.slots.iter().flatten().map(|held| held.call).collect(),
        }
    }
}

/// The state after one step; every read that is possible then is `done` too (`readers` are the slots that only read).
/// `None`: the step is impossible.
#[inline]
pub(super) fn stepped<const W: usize>(
    machine: &mut dyn Machine,
    state: u32,
    done: &mut [u64; W],
    kind: u32,
    readers: &[u64; W],
    slots: &[Option<Slot<W>>],
) -> Option<u32> {
    let state = machine.step(state, kind);
    if state == NONE {
        return None;
    }
    for word in 0..W {
        let mut bits = readers[word] & !done[word];
        while bits != 0 {
            let reader = word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if let Some(held) = &slots[reader]
                && machine.step(state, held.kind) != NONE
            {
                set(done, reader);
            }
        }
    }
    Some(state)
}

pub(super) fn set<const W: usize>(mask: &mut [u64; W], bit: usize) {
    mask[bit / 64] |= 1 << (bit % 64);
}

pub(super) fn unset<const W: usize>(mask: &mut [u64; W], bit: usize) {
    mask[bit / 64] &= !(1 << (bit % 64));
}

pub(super) fn has<const W: usize>(mask: &[u64; W], bit: usize) -> bool {
    mask[bit / 64] >> (bit % 64) & 1 == 1
}

/// Whether all of `inner` is in `outer`.
pub(super) fn within<const W: usize>(inner: &[u64; W], outer: &[u64; W]) -> bool {
    inner.iter().zip(outer).all(|(inner, outer)| inner & !outer == 0)
}
