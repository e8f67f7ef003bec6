//! A specification made ready for the search: states, operations and transitions as numbers, each step computed once.

use std::collections::hash_map::Entry;

use crate::check::models::{Meaning, Said, Spec};
use crate::history::Outcome;
use crate::history::calls::{Call, Calls};
use crate::history::hash::Fast;

/// "No such state": the operation is impossible there.
pub(super) const NONE: u32 = u32::MAX;
/// How many steps are remembered before they are forgotten and computed again.
const MAX_MEMO: usize = 1 << 20;

/// An operation as the search sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Position of its invocation.
    pub(super) invoke: u32,
    /// Position of its completion; [`OPEN`](crate::history::calls::OPEN) when it may also never have happened.
    pub(super) ret: u32,
    /// Which operation it is: equal operations have equal kinds.
    pub(super) kind: u32,
    /// Its index in [`Calls::calls`].
    pub(super) call: u32,
}

/// A specification at work.
pub(super) trait Machine {
    /// The start.
    fn initial(&mut self) -> u32;
    /// The state after an operation of this kind, or [`NONE`].
    fn step(&mut self, state: u32, kind: u32) -> u32;
    /// Whether operations of this kind leave every state as it is.
    fn only_reads(&self, kind: u32) -> bool;
    /// Whether operations of this kind leave the same state whatever was before.
    fn settles(&self, kind: u32) -> bool;
    /// The state operations of this kind leave whatever was before, where that is so.
    fn leaves(&mut self, kind: u32) -> Option<u32>;
    /// Whether operations of this kind are possible in every state, and leave the same one whatever was before.
    fn overwrites(&self, kind: u32) -> bool;
    /// A state, for people.
    fn show(&self, state: u32) -> String;
    /// Roughly how many bytes are held.
    fn bytes(&self) -> usize;
    /// Forgets all states but these, and renumbers them in place.
    fn keep_only(&mut self, live: &mut dyn Iterator<Item = &mut u32>);
    /// Makes a call an item. Those in `relaxed` have their result forgotten and their outcome unknown.
    fn item(&mut self, calls: &Calls, call: u32, relaxed: bool) -> Result<Option<Item>, String>;
    /// Leaves out operations of unknown outcome that nothing could have observed.
    fn prune(&self, items: &mut Vec<Item>);
}

/// A [`Machine`] from a [`Spec`].
pub(super) struct Interned<S: Spec> {
    spec: S,
    states: Vec<S::State>,
    state_ids: Fast<S::State, u32>,
    kinds: Vec<S::Op>,
    reads: Vec<bool>,
    kind_ids: Fast<S::Op, u32>,
    memo: Fast<u64, u32>,
    decoded: Fast<u128, Option<(u32, bool)>>,
    heap: usize,
}

impl<S: Spec> Interned<S> {
    pub(super) fn new(spec: S) -> Self {
        Interned {
            spec,
            states: Vec::new(),
            state_ids: Fast::default(),
            kinds: Vec::new(),
            reads: Vec::new(),
            kind_ids: Fast::default(),
            memo: Fast::default(),
            decoded: Fast::default(),
            heap: 0,
        }
    }

    fn state(&mut self, state: S::State) -> u32 {
        match self.state_ids.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                // Held twice: in the list and as the map's key.
                self.heap += 2 * (self.spec.heap_bytes(new.key()) + size_of::<S::State>() + 16);
                self.states.push(new.key().clone());
                *new.insert(self.states.len() as u32 - 1)
            }
        }
    }

    fn kind(&mut self, op: S::Op) -> u32 {
        match self.kind_ids.entry(op) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.reads.push(self.spec.only_reads(new.key()));
                self.kinds.push(new.key().clone());
                *new.insert(self.kinds.len() as u32 - 1)
            }
        }
    }

    /// The kind of a call and whether it certainly happened; `None` when it neither did nor says anything.
    fn decode(&mut self, calls: &Calls, call: &Call, relaxed: bool) -> Result<Option<(u32, bool)>, String> {
        let outcome = if relaxed { Outcome::Info } else { call.outcome };
        let output = if outcome == Outcome::Ok { call.output.raw() } else { 0 };
        let said = u128::from(call.input.raw())
            | u128::from(output) << 32
            | u128::from(call.f) << 64
            | (outcome as u128) << 80;
        if let Some(known) = self.decoded.get(&said) {
            return Ok(*known);
        }
        let f = calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
        let (input, output) = (calls.values.get(call.input), calls.values.get(call.output));
        let meaning = if f == "snapshot" {
            // What a node says it holds, taken outside the clients' order.
            Meaning::Nothing
        } else {
            self.spec.decode(Said { f, input: &input, output: &output, outcome })?
        };
        let known = match meaning {
            Meaning::Must(op) => Some((self.kind(op), true)),
            Meaning::May(op) => Some((self.kind(op), false)),
            Meaning::Nothing => None,
        };
        self.decoded.insert(said, known);
        Ok(known)
    }
}

impl<S: Spec> Machine for Interned<S> {
    fn initial(&mut self) -> u32 {
        let initial = self.spec.initial();
        self.state(initial)
    }

    #[inline]
    fn step(&mut self, state: u32, kind: u32) -> u32 {
        let transition = u64::from(state) << 32 | u64::from(kind);
        if let Some(next) = self.memo.get(&transition) {
            return *next;
        }
        let next = match self.spec.step(&self.states[state as usize], &self.kinds[kind as usize]) {
            Some(next) => self.state(next),
            None => NONE,
        };
        if self.memo.len() >= MAX_MEMO {
            self.memo.clear();
        }
        self.memo.insert(transition, next);
        next
    }

    fn only_reads(&self, kind: u32) -> bool {
        self.reads[kind as usize]
    }

    fn settles(&self, kind: u32) -> bool {
        self.spec.leaves(&self.kinds[kind as usize]).is_some()
    }

    fn leaves(&mut self, kind: u32) -> Option<u32> {
        let state = self.spec.leaves(&self.kinds[kind as usize])?;
        Some(self.state(state))
    }

    fn overwrites(&self, kind: u32) -> bool {
        self.spec.overwrites(&self.kinds[kind as usize])
    }

    fn show(&self, state: u32) -> String {
        self.spec.show(&self.states[state as usize])
    }

    fn bytes(&self) -> usize {
        self.heap + self.memo.capacity() * 16
    }

    fn keep_only(&mut self, live: &mut dyn Iterator<Item = &mut u32>) {
        let old = std::mem::take(&mut self.states);
        self.state_ids.clear();
        self.memo.clear();
        self.heap = 0;
        let mut renumbered: Fast<u32, u32> = Fast::default();
        for state in live {
            *state = match renumbered.get(state) {
                Some(id) => *id,
                None => {
                    let id = self.state(old[*state as usize].clone());
                    renumbered.insert(*state, id);
                    id
                }
            };
        }
    }

    fn item(&mut self, calls: &Calls, index: u32, relaxed: bool) -> Result<Option<Item>, String> {
        let call = &calls.calls[index as usize];
        let decoded = self.decode(calls, call, relaxed)?;
        Ok(decoded.map(|(kind, must)| Item {
            invoke: call.invoke,
            ret: if must { call.ret } else { crate::history::calls::OPEN },
            kind,
            call: index,
        }))
    }

    fn prune(&self, items: &mut Vec<Item>) {
        // Kinds may stem from other keys of the same machine; only this object's count.
        let mut present: Vec<u32> = items.iter().map(|item| item.kind).collect();
        present.sort_unstable();
        present.dedup();
        let ops: Vec<S::Op> = present.iter().map(|kind| self.kinds[*kind as usize].clone()).collect();
        let needless = self.spec.unobserved(&ops);
        if needless.iter().any(|needless| *needless) {
            items.retain(|item| {
                let at = present.binary_search(&item.kind);
                item.ret != crate::history::calls::OPEN || !at.is_ok_and(|at| needless[at])
            });
        }
    }
}
