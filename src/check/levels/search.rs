//! The search for a sequential order: depth first over how far each process has come, with a memory of where it has been.
//!
//! A **configuration** is how many operations of each process were placed, which operations of unknown outcome were, and the
//! state of each object: what can still come depends on nothing else, so none is looked at twice. What keeps it small,
//! and why each is sound:
//! - **Eager reads.** A process's next operation, if it leaves every state as it is, is placed as soon as it is possible:
//!   moved up to here in any order that goes on from here, it disturbs nobody.
//! - **An operation of unknown outcome that changes nothing is not placed**, and those that nothing could have observed are
//!   left out.
//! - **Hints**, where the caller has them: pairs that every order must contain, and values that are written
//!   only once, which must not be replaced before all have read them.
//!
//! Complexity: at most (operations a process)^processes × states; linear where the first choice is the right one: the
//! operation that should come earliest (see [`Forced::deadlines`]), or was invoked first. Of a long history the search is
//! given up when it comes no farther.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::saturate::Forced;
use crate::check::linearizability::Budget;
use crate::check::models::{
    Counter, Initial, KvAppend, Meaning, Model, MultiRegister, Mutex, Queue, Register, Said, Set, Spec,
};
use crate::history::Outcome;
use crate::history::calls::Calls;
use crate::history::hash::Fast;

/// A history of more operations than this is not searched to the end, only for an order that is nearly found.
const LONG: usize = 5_000;
/// So many configurations of a long history may be looked at in vain: where the first choices of some hundred operations are
/// wrong, undoing the last few helps no more, and all of them cannot be tried.
const MOST_IN_VAIN: usize = 30_000;

/// How a search ended.
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none.
    None,
    /// Why it was given up.
    GivenUp(String),
}

/// What is known beforehand about every order. Calls are named by their index.
#[derive(Default)]
pub(super) struct Hints {
    /// Pairs that every order contains, and in which order to try.
    pub(super) forced: Forced,
    /// (call, the write call of the value it reads): that value is written once only.
    pub(super) reads: Vec<(u32, u32)>,
}

/// Searches a history, or what remains of it when operations are relaxed.
pub(super) trait Searcher {
    /// `kept`: the calls, ascending, that are not relaxed; all where absent.
    fn search(&mut self, kept: Option<&[u32]>, hints: &Hints, budget: &Budget) -> Found;
}

/// A searcher for the model.
///
/// # Errors
/// A sentence, when the model does not know the history's operations or the initial value does not suit it.
pub(super) fn searcher<'a>(
    calls: &'a Calls,
    model: Model,
    initial: &Initial,
) -> Result<Box<dyn Searcher + 'a>, String> {
    let by_key = model.by_key();
    Ok(match model {
        Model::Register | Model::CasRegister | Model::EtcdCasRegister => {
            Box::new(Prepared::new(calls, Register::new(model, initial)?, by_key)?)
        }
        Model::MultiRegister => Box::new(Prepared::new(calls, MultiRegister::new(initial)?, by_key)?),
        Model::KvAppend => Box::new(Prepared::new(calls, KvAppend::new(initial)?, by_key)?),
        Model::Counter => Box::new(Prepared::new(calls, Counter::new(initial)?, by_key)?),
        Model::Set => Box::new(Prepared::new(calls, Set::new(initial)?, by_key)?),
        Model::Queue => Box::new(Prepared::new(calls, Queue::new(initial)?, by_key)?),
        Model::Mutex => Box::new(Prepared::new(calls, Mutex::new(initial)?, by_key)?),
    })
}

/// A history's calls as operations of a specification.
struct Prepared<'a, S: Spec> {
    calls: &'a Calls,
    spec: S,
    by_key: bool,
    meanings: Vec<Meaning<S::Op>>,
}

impl<'a, S: Spec> Prepared<'a, S> {
    fn new(calls: &'a Calls, spec: S, by_key: bool) -> Result<Self, String> {
        let mut prepared = Prepared { calls, spec, by_key, meanings: Vec::with_capacity(calls.calls.len()) };
        for index in 0..calls.calls.len() as u32 {
            let meaning = prepared.meaning(index, false)?;
            prepared.meanings.push(meaning);
        }
        Ok(prepared)
    }

    fn meaning(&self, index: u32, relaxed: bool) -> Result<Meaning<S::Op>, String> {
        let call = &self.calls.calls[index as usize];
        let f = self.calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
        if f == "snapshot" {
            // What a node says it holds, taken outside the clients' order.
            return Ok(Meaning::Nothing);
        }
        let outcome = if relaxed { Outcome::Info } else { call.outcome };
        let input = self.calls.values.get(call.input);
        let output = match outcome {
            Outcome::Ok => self.calls.values.get(call.output),
            _ => crate::history::Value::Nil,
        };
        self.spec.decode(Said { f, input: &input, output: &output, outcome })
    }
}

impl<S: Spec> Searcher for Prepared<'_, S> {
    fn search(&mut self, kept: Option<&[u32]>, hints: &Hints, budget: &Budget) -> Found {
        let mut walk = Walk::new(&self.spec);
        let mut processes: Fast<u32, u32> = Fast::default();
        let mut objects: Fast<u32, u32> = Fast::default();
        for index in 0..self.calls.calls.len() as u32 {
            let call = &self.calls.calls[index as usize];
            let relaxed = kept.is_some_and(|kept| kept.binary_search(&index).is_err());
            let meaning = match relaxed {
                false => self.meanings[index as usize].clone(),
                // What it asked for was understood when its answer was.
                true => self.meaning(index, true).unwrap_or(Meaning::Nothing),
            };
            let (op, must) = match meaning {
                Meaning::Must(op) => (op, true),
                Meaning::May(op) => (op, false),
                Meaning::Nothing => continue,
            };
            let next = processes.len() as u32;
            let process = *processes.entry(call.process).or_insert(next);
            let next = objects.len() as u32;
            let object = *objects.entry(if self.by_key { call.key } else { 0 }).or_insert(next);
            walk.add(
                Item {
                    reads: self.spec.only_reads(&op),
                    op,
                    call: index,
                    invoke: call.invoke,
                    object,
                    process,
                },
                must,
            );
        }
        walk.objects = objects.len();
        walk.leave_out_unobserved();
        walk.hint(hints);
        walk.run(budget)
    }
}

struct Item<O> {
    op: O,
    reads: bool,
    call: u32,
    invoke: u32,
    object: u32,
    process: u32,
}

/// A step of the walk: the item, the state of its object before, and the write its object's value came from.
#[derive(Clone, Copy)]
struct Step {
    item: u32,
    state: u32,
    writer: u32,
}

/// A place to come back to.
struct Fork {
    /// How many steps led there.
    steps: usize,
    /// What has not been tried, the most promising last.
    untried: Vec<u32>,
}

const NONE: u32 = u32::MAX;

struct Walk<'s, S: Spec> {
    spec: &'s S,
    items: Vec<Item<S::Op>>,
    /// Each process's items that certainly happened.
    lines: Vec<Vec<u32>>,
    /// Items of unknown outcome, and how far their process must have come.
    loose: Vec<(u32, u32)>,
    objects: usize,
    /// How far each process has come.
    come: Vec<u32>,
    /// Which of the loose items are placed.
    placed: Vec<bool>,
    state_of: Vec<u32>,
    states: Vec<S::State>,
    state_ids: HashMap<S::State, u32>,
    memo: Fast<(u32, u32), u32>,
    steps: Vec<Step>,
    /// By item: how many items must still come before it, and which wait for it.
    waits_for: Vec<u32>,
    waiting: Vec<Vec<u32>>,
    /// By item: the item whose value it reads, where that is written once; how many such reads are still to come.
    source: Vec<u32>,
    unread: Vec<u32>,
    /// By item: how early it should come.
    deadline: Vec<u32>,
    /// The item that wrote what each object holds.
    writer: Vec<u32>,
}

impl<'s, S: Spec> Walk<'s, S> {
    fn new(spec: &'s S) -> Self {
        Walk {
            spec,
            items: Vec::new(),
            lines: Vec::new(),
            loose: Vec::new(),
            objects: 0,
            come: Vec::new(),
            placed: Vec::new(),
            state_of: Vec::new(),
            states: Vec::new(),
            state_ids: HashMap::new(),
            memo: Fast::default(),
            steps: Vec::new(),
            waits_for: Vec::new(),
            waiting: Vec::new(),
            source: Vec::new(),
            unread: Vec::new(),
            deadline: Vec::new(),
            writer: Vec::new(),
        }
    }

    fn add(&mut self, item: Item<S::Op>, must: bool) {
        let process = item.process as usize;
        if self.lines.len() <= process {
            self.lines.resize(process + 1, Vec::new());
        }
        let at = self.items.len() as u32;
        match must {
            true => self.lines[process].push(at),
            false => self.loose.push((at, self.lines[process].len() as u32)),
        }
        self.items.push(item);
    }

    fn leave_out_unobserved(&mut self) {
        if self.loose.is_empty() {
            return;
        }
        let mut ops: Vec<Vec<&S::Op>> = vec![Vec::new(); self.objects];
        let mut seen: HashSet<(u32, &S::Op)> = HashSet::new();
        for item in &self.items {
            if seen.insert((item.object, &item.op)) {
                ops[item.object as usize].push(&item.op);
            }
        }
        let mut needless: HashSet<(u32, S::Op)> = HashSet::new();
        for (object, ops) in (0_u32..).zip(ops) {
            let ops: Vec<S::Op> = ops.into_iter().cloned().collect();
            let unobserved = self.spec.unobserved(&ops);
            let of_object = ops.into_iter().zip(unobserved).filter(|(_, needless)| *needless);
            needless.extend(of_object.map(|(op, _)| (object, op)));
        }
        let items = &self.items;
        self.loose.retain(|(item, _)| {
            let item = &items[*item as usize];
            !needless.contains(&(item.object, item.op.clone()))
        });
    }

    fn hint(&mut self, hints: &Hints) {
        let count = self.items.len();
        self.waits_for = vec![0; count];
        self.waiting = vec![Vec::new(); count];
        self.source = vec![NONE; count];
        self.unread = vec![0; count];
        let item_of = |call: u32| self.items.binary_search_by_key(&call, |item| item.call).ok();
        for (before, after) in &hints.forced.pairs {
            if let (Some(before), Some(after)) = (item_of(*before), item_of(*after)) {
                self.waits_for[after] += 1;
                self.waiting[before].push(after as u32);
            }
        }
        self.deadline = self.items.iter().map(|item| item.invoke).collect();
        for (call, deadline) in &hints.forced.deadlines {
            if let Ok(item) = self.items.binary_search_by_key(call, |item| item.call) {
                self.deadline[item] = *deadline;
            }
        }
        for (read, write) in &hints.reads {
            if let (Some(read), Some(write)) = (item_of(*read), item_of(*write)) {
                self.source[read] = write as u32;
                self.unread[write] += 1;
            }
        }
    }

    fn intern(&mut self, state: S::State) -> u32 {
        if let Some(id) = self.state_ids.get(&state) {
            return *id;
        }
        let id = self.states.len() as u32;
        self.states.push(state.clone());
        self.state_ids.insert(state, id);
        id
    }

    /// The state after an item; [`NONE`] where it is impossible now.
    fn after(&mut self, item: u32) -> u32 {
        if self.waits_for[item as usize] > 0 {
            return NONE;
        }
        let object = self.items[item as usize].object as usize;
        let state = self.state_of[object];
        let next = match self.memo.get(&(state, item)) {
            Some(next) => *next,
            None => {
                let next = self.spec.step(&self.states[state as usize], &self.items[item as usize].op);
                let next = next.map_or(NONE, |next| self.intern(next));
                self.memo.insert((state, item), next);
                next
            }
        };
        // What is read nowhere else must not be replaced before all have read it.
        let writer = self.writer[object];
        let own = u32::from(writer != NONE && self.source[item as usize] == writer);
        if !self.items[item as usize].reads && writer != NONE && self.unread[writer as usize] > own {
            return NONE;
        }
        next
    }

    fn place(&mut self, item: u32, next: u32) {
        let (object, process) =
            (self.items[item as usize].object as usize, self.items[item as usize].process);
        self.steps.push(Step { item, state: self.state_of[object], writer: self.writer[object] });
        self.state_of[object] = next;
        if !self.items[item as usize].reads {
            self.writer[object] = item;
        }
        match self.loose.binary_search_by_key(&item, |(item, _)| *item) {
            Ok(loose) => self.placed[loose] = true,
            Err(_) => self.come[process as usize] += 1,
        }
        if self.source[item as usize] != NONE {
            self.unread[self.source[item as usize] as usize] -= 1;
        }
        for at in 0..self.waiting[item as usize].len() {
            let waiting = self.waiting[item as usize][at];
            self.waits_for[waiting as usize] -= 1;
        }
    }

    fn back_to(&mut self, steps: usize) {
        while self.steps.len() > steps {
            let Some(Step { item, state, writer }) = self.steps.pop() else { return };
            let (object, process) =
                (self.items[item as usize].object as usize, self.items[item as usize].process);
            self.state_of[object] = state;
            self.writer[object] = writer;
            match self.loose.binary_search_by_key(&item, |(item, _)| *item) {
                Ok(loose) => self.placed[loose] = false,
                Err(_) => self.come[process as usize] -= 1,
            }
            if self.source[item as usize] != NONE {
                self.unread[self.source[item as usize] as usize] += 1;
            }
            for at in 0..self.waiting[item as usize].len() {
                let waiting = self.waiting[item as usize][at];
                self.waits_for[waiting as usize] += 1;
            }
        }
    }

    /// Places every read that is possible.
    fn read_eagerly(&mut self) {
        for line in 0..self.lines.len() {
            while let Some(item) = self.lines[line].get(self.come[line] as usize).copied()
                && self.items[item as usize].reads
            {
                let next = self.after(item);
                if next == NONE {
                    break;
                }
                self.place(item, next);
            }
        }
    }

    /// What can come next, the most promising last.
    fn choices(&mut self) -> Vec<u32> {
        let mut choices = Vec::new();
        for line in 0..self.lines.len() {
            if let Some(item) = self.lines[line].get(self.come[line] as usize).copied()
                && self.after(item) != NONE
            {
                choices.push(item);
            }
        }
        for loose in 0..self.loose.len() {
            let (item, from) = self.loose[loose];
            let (object, process) = (self.items[item as usize].object, self.items[item as usize].process);
            if self.placed[loose] || self.come[process as usize] < from {
                continue;
            }
            let next = self.after(item);
            if next != NONE && next != self.state_of[object as usize] {
                choices.push(item);
            }
        }
        choices.sort_unstable_by_key(|item| Reverse((self.deadline[*item as usize], *item)));
        choices
    }

    fn configuration(&self) -> Box<[u32]> {
        let mut key = self.come.clone();
        key.extend_from_slice(&self.state_of);
        let words = self.placed.chunks(32).map(|bits| {
            bits.iter().enumerate().fold(0_u32, |word, (at, placed)| word | u32::from(*placed) << at)
        });
        key.extend(words);
        key.into_boxed_slice()
    }

    fn run(mut self, budget: &Budget) -> Found {
        let began = Instant::now();
        let start = self.intern(self.spec.initial());
        self.state_of = vec![start; self.objects];
        self.writer = vec![NONE; self.objects];
        self.come = vec![0; self.lines.len()];
        self.placed = vec![false; self.loose.len()];
        let musts: usize = self.lines.iter().map(Vec::len).sum();
        let each = (self.come.len() + self.state_of.len() + self.placed.len() / 32 + 8) * size_of::<u32>();
        let mut been: HashSet<Box<[u32]>> = HashSet::new();
        let mut forks: Vec<Fork> = Vec::new();
        let (mut farthest, mut been_then) = (0, 0);
        loop {
            self.read_eagerly();
            let come: usize = self.come.iter().map(|come| *come as usize).sum();
            if come > farthest {
                (farthest, been_then) = (come, been.len());
            }
            if come == musts {
                return Found::Order;
            }
            if been.insert(self.configuration()) {
                let untried = self.choices();
                forks.push(Fork { steps: self.steps.len(), untried });
            }
            let given_up = |why: &str| {
                Found::GivenUp(format!(
                    "{why} after {} configurations; the longest order found has {farthest} of {musts} operations",
                    been.len()
                ))
            };
            if musts > LONG && been.len() - been_then > MOST_IN_VAIN {
                return given_up("the search for an order comes no farther");
            }
            if been.len() * each + self.memo.len() * 24 > budget.memory_bytes {
                return given_up("the search for an order needs too much memory");
            }
            if been.len().is_multiple_of(64) && began.elapsed() > budget.time {
                return given_up("the search for an order takes too long");
            }
            loop {
                let Some(fork) = forks.last_mut() else { return Found::None };
                let (steps, next) = (fork.steps, fork.untried.pop());
                self.back_to(steps);
                let Some(item) = next else {
                    forks.pop();
                    continue;
                };
                let after = self.after(item);
                self.place(item, after);
                break;
            }
        }
    }
}
