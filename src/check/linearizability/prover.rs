//! Makes a proof minimal.
//!
//! Relaxing is monotone: what is legal stays legal when more is relaxed. So an operation that is needed within a set is
//! needed within each part of it that is still proof, and three kinds of steps end in a minimal set:
//! - [`relax`] tells of all operations at once which of them are needed; those are settled;
//! - of the others, the fewest of the last are kept that are still proof together with what is settled (found by doubling and
//!   halving; without the first of them it is no proof: that one is settled, too);
//! - that repeats until all are settled, mostly after one or two rounds.
//!
//! Before that, whatever can go in bulk goes: everything but the last operations; observations, which can explain
//! nothing when relaxed; operations with the same effect, which are mostly needed all or none. With few values a minimal
//! proof may be large all the same: when any of ten thousand old writes of 3 could explain the stale read of 3 as soon
//! as its completion is forgotten, each of them is needed.
//!
//! Complexity: a search of the relaxed history a step, some dozens of steps. Where that takes too long, the set found
//! so far is given and said not to be known as minimal.

use std::time::{Duration, Instant};

use super::machine::{Item, Machine};
use super::relax::{Candidate, Relaxed, relax};
use super::search::{Budget, Found, search, search_with};
use super::supply::Supply;
use super::{Options, machine};
use crate::history::calls::{Calls, OPEN};

const MEMORY_BYTES: usize = 512 << 20;
/// A set of so many operations is small enough to go without the coarse steps.
const FEW: usize = 256;
/// How many effects are tried one after another.
const MOST_EFFECTS: usize = 64;

/// Of how many operations it is asked which effects matter.
const SAMPLE: usize = 1024;

/// What an operation does when it is relaxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It leaves this state.
    Leaves(u32),
    /// It is an operation of this kind, which leaves one state or another.
    Kind(u32),
}

/// One operation, by its position in the prover's list.
struct Operation {
    call: u32,
    invoke: u32,
    kept: Option<Item>,
    relaxed: Option<Item>,
    /// `None`: nothing.
    effect: Option<Effect>,
}

impl Operation {
    /// Whether relaxing it changes anything.
    fn matters(&self) -> bool {
        let meaning = |item: Option<Item>| item.map(|item| (item.kind, item.ret));
        meaning(self.kept) != meaning(self.relaxed)
    }
}

/// Tries sets of operations.
pub(super) struct Prover {
    /// All operations that can play a part, by invocation.
    operations: Vec<Operation>,
    machine: Box<dyn Machine>,
    items: Vec<Item>,
    deadline: Instant,
    /// What one relaxed search may take.
    step_time: Duration,
}

impl Prover {
    /// A prover for these calls, by invocation.
    ///
    /// # Errors
    /// As [`judge`](super::judge).
    pub(super) fn new(calls: &Calls, options: &Options, order: &[u32]) -> Result<Self, String> {
        let mut machine = machine(options)?;
        let mut operations = Vec::with_capacity(order.len());
        for call in order {
            let here = operations.len() as u32;
            let mut item = |relaxed| {
                let item = machine.item(calls, *call, relaxed)?;
                Ok::<_, String>(item.map(|item| Item { call: here, ..item }))
            };
            let (kept, relaxed) = (item(false)?, item(true)?);
            // What leaves every state as it is does nothing when it need not even be possible.
            let relaxed = relaxed.filter(|item| !machine.only_reads(item.kind));
            let effect = relaxed.map(|item| match machine.leaves(item.kind) {
                Some(state) => Effect::Leaves(state),
                None => Effect::Kind(item.kind),
            });
            operations.push(Operation {
                call: *call,
                invoke: calls.calls[*call as usize].invoke,
                kept,
                relaxed,
                effect,
            });
        }
        Ok(Prover {
            operations,
            machine,
            items: Vec::new(),
            deadline: Instant::now() + options.proof_time,
            step_time: options.proof_time / 8,
        })
    }

    /// A minimal proof within `set`, which is proof; and whether every operation of it is known to be needed.
    pub(super) fn within(&mut self, set: &[u32]) -> (Vec<u32>, bool) {
        let mask = self.mask(set);
        self.minimise(mask)
    }

    /// A minimal proof among the calls `before`, which are proof: the search got stuck at the position `stuck_at`.
    pub(super) fn among(&mut self, before: &[u32], stuck_at: u32) -> (Vec<u32>, bool) {
        let mut mask = self.mask(before);
        // What completed later has mostly no part in it.
        let mut earlier = mask.clone();
        for (at, operation) in self.operations.iter().enumerate() {
            earlier[at] &= operation.kept.is_none_or(|item| item.ret <= stuck_at || item.ret == OPEN);
        }
        if self.is_proof(&earlier) == Some(true) {
            mask = earlier;
        }
        let chosen = members(&mask);
        self.keep_the_last(&mut mask, &chosen);
        if members(&mask).len() > FEW {
            let observations: Vec<u32> =
                members(&mask).into_iter().filter(|at| self.at(*at).relaxed.is_none()).collect();
            self.keep_the_last(&mut mask, &observations);
            self.keep_effects(&mut mask);
        }
        self.minimise(mask)
    }

    fn at(&self, at: u32) -> &Operation {
        &self.operations[at as usize]
    }

    /// The set of these calls, as far as relaxing them changes anything.
    fn mask(&self, set: &[u32]) -> Vec<bool> {
        let mut mask = vec![false; self.operations.len()];
        for call in set {
            // The calls of a history are in order of invocation.
            if let Ok(at) = self.operations.binary_search_by_key(call, |operation| operation.call) {
                mask[at] = self.operations[at].matters();
            }
        }
        mask
    }

    fn late(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// The last completion of a set: what is invoked later has nothing to contradict.
    fn last(&self, mask: &[bool]) -> u32 {
        let kept = |(operation, kept): (&Operation, &bool)| operation.kept.filter(|_| *kept);
        let items = self.operations.iter().zip(mask).filter_map(kept);
        items.filter(|item| item.ret != OPEN).map(|item| item.ret).max().unwrap_or(0)
    }

    /// Whether these operations are proof; `None` when that could not be decided in time.
    fn is_proof(&mut self, mask: &[bool]) -> Option<bool> {
        let last = self.last(mask);
        self.items.clear();
        for (operation, kept) in self.operations.iter().zip(mask) {
            if operation.invoke < last {
                self.items.extend(if *kept { operation.kept } else { operation.relaxed });
            }
        }
        self.machine.prune(&mut self.items);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let budget = Budget { time: self.step_time.min(left), memory_bytes: MEMORY_BYTES };
        // What is illegal although there is always one more is illegal, and that is quickly told.
        let unlimited = Supply::unlimited(&*self.machine, &self.items);
        match search_with(&mut *self.machine, &self.items, unlimited, &budget, Instant::now()) {
            Found::Stuck(_) => return Some(true),
            Found::Legal => {}
            Found::GivenUp(_) => return None,
        }
        // And what is legal with those of unknown outcome used sparingly is legal.
        if let Relaxed::Legal = self.relax(mask, mask, &[]) {
            return Some(false);
        }
        match search(&mut *self.machine, &self.items, &budget, Instant::now()) {
            Found::Legal => Some(false),
            Found::Stuck(_) => Some(true),
            Found::GivenUp(_) => None,
        }
    }

    /// Keeps of `some` only the last, as few as sixteen times a power of four, as long as the set stays proof. Nearly all
    /// are not worth the try.
    fn keep_the_last(&mut self, mask: &mut Vec<bool>, some: &[u32]) {
        let mut count = 16;
        while count < some.len() && (count <= FEW || count < some.len() / 4) && !self.late() {
            let mut fewer = mask.clone();
            some[..some.len() - count].iter().for_each(|at| fewer[*at as usize] = false);
            if self.is_proof(&fewer) == Some(true) {
                *mask = fewer;
                return;
            }
            count *= 4;
        }
    }

    /// Keeps of the old operations only those with as few effects as the set needs to stay proof: with few values, those
    /// that could explain the answer that nothing explains.
    fn keep_effects(&mut self, mask: &mut Vec<bool>) {
        let chosen = members(mask);
        let old = &chosen[..chosen.len().saturating_sub(FEW)];
        let mut effects: Vec<Effect> = Vec::new();
        for at in old {
            if let Some(effect) = self.at(*at).effect
                && !effects.contains(&effect)
            {
                effects.push(effect);
            }
            if effects.len() > MOST_EFFECTS {
                return;
            }
        }
        // The effects of operations that are needed by themselves, then the fewest others.
        let mut kept: Vec<Effect> = Vec::new();
        // Some of the last will do to see which.
        let mut settled = mask.clone();
        chosen.iter().rev().take(SAMPLE).for_each(|at| settled[*at as usize] = false);
        for at in self.needed(mask, &settled) {
            kept.extend(
                self.at(at).effect.filter(|effect| effects.contains(effect) && !kept.contains(effect)),
            );
        }
        effects.retain(|effect| !kept.contains(effect));
        let with = |prover: &Self, mask: &[bool], kept: &[Effect]| {
            let mut fewer = mask.to_vec();
            for at in old {
                fewer[*at as usize] = prover.at(*at).effect.is_some_and(|effect| kept.contains(&effect));
            }
            fewer
        };
        while !self.late() {
            let fewer = with(self, mask, &kept);
            if self.is_proof(&fewer) == Some(true) {
                *mask = fewer;
                return;
            }
            let (mut too_few, mut enough) = (0, effects.len());
            while too_few + 1 < enough && !self.late() {
                let count = too_few + (enough - too_few) / 2;
                let fewer = with(self, mask, &[&kept, &effects[..count]].concat());
                if self.is_proof(&fewer) == Some(true) { enough = count } else { too_few = count }
            }
            let Some(last) = enough.checked_sub(1) else { return };
            kept.push(effects[last]);
            effects.truncate(last);
        }
    }

    fn minimise(&mut self, mut mask: Vec<bool>) -> (Vec<u32>, bool) {
        let mut settled = vec![false; mask.len()];
        loop {
            let found = self.needed(&mask, &settled);
            found.into_iter().for_each(|at| settled[at as usize] = true);
            let mut spare: Vec<u32> =
                members(&mask).into_iter().filter(|at| !settled[*at as usize]).collect();
            self.likely_last(&mut spare, &settled);
            if spare.is_empty() {
                return (self.calls(&mask), true);
            }
            let (enough, sure) = self.fewest_of_the_last(&settled, &spare);
            for at in &spare[..spare.len() - enough] {
                mask[*at as usize] = false;
            }
            if enough == 0 {
                return (self.calls(&mask), true);
            }
            if !sure {
                return self.one_by_one(mask, &settled);
            }
            settled[spare[spare.len() - enough] as usize] = true;
        }
    }

    /// Puts those to the end that do what most of the settled do.
    fn likely_last(&self, spare: &mut [u32], settled: &[bool]) {
        let mut effects: Vec<(Effect, usize)> = Vec::new();
        for at in members(settled) {
            let Some(effect) = self.at(at).effect else { continue };
            match effects.iter().position(|(known, _)| *known == effect) {
                Some(known) => effects[known].1 += 1,
                None if effects.len() < MOST_EFFECTS => effects.push((effect, 1)),
                None => {}
            }
        }
        let most = effects.iter().max_by_key(|(_, count)| *count).map(|(effect, _)| *effect);
        spare.sort_by_key(|at| most.is_some() && self.at(*at).effect == most);
    }

    /// How many of the last of `spare` it takes to be proof with what is settled; and whether one less is certainly too few.
    fn fewest_of_the_last(&mut self, settled: &[bool], spare: &[u32]) -> (usize, bool) {
        let (mut too_few, mut enough, mut sure) = (None, spare.len(), true);
        let mut step = 0;
        // Doubling from none, then halving.
        loop {
            let count = match too_few {
                Some(few) if few + 1 >= enough => return (enough, sure),
                Some(few) if enough == spare.len() && few + step < enough => few + step,
                Some(few) => few + (enough - few) / 2,
                None if enough == 0 => return (0, sure),
                None => 0,
            };
            step = (2 * step).max(1);
            if self.late() {
                return (enough, false);
            }
            let mut fewer = settled.to_vec();
            spare[spare.len() - count..].iter().for_each(|at| fewer[*at as usize] = true);
            match self.is_proof(&fewer) {
                Some(true) => enough = count,
                answer => {
                    // Treated as too few: the set is only larger for it.
                    sure &= answer.is_some();
                    too_few = Some(count);
                }
            }
        }
    }

    /// Relaxes the operations of the set that are not settled, one after another.
    fn relax(&mut self, mask: &[bool], settled: &[bool], asked: &[u32]) -> Relaxed {
        let last = self.last(mask);
        let mut numbers = (0..).zip(asked).peekable();
        let mut candidates = Vec::with_capacity(self.operations.len());
        for (at, operation) in self.operations.iter().enumerate() {
            let number = numbers.next_if(|(_, asked)| **asked as usize == at).map(|(number, _)| number);
            let kept = if mask[at] { operation.kept } else { operation.relaxed };
            if operation.invoke < last && (kept.is_some() || number.is_some()) {
                let relaxed = operation.relaxed.map(|item| item.kind);
                candidates.push(Candidate { kept, relaxed, invoke: operation.invoke, asked: number });
            }
        }
        debug_assert!(asked.iter().all(|at| mask[*at as usize] && !settled[*at as usize]));
        relax(&mut *self.machine, &candidates, asked.len() as u32, self.deadline)
    }

    /// Which operations of the set certainly are needed, apart from those that are settled.
    fn needed(&mut self, mask: &[bool], settled: &[bool]) -> Vec<u32> {
        let asked: Vec<u32> = members(mask).into_iter().filter(|at| !settled[*at as usize]).collect();
        match self.relax(mask, settled, &asked) {
            Relaxed::Needed(found) => found.into_iter().map(|number| asked[number as usize]).collect(),
            Relaxed::Legal | Relaxed::GivenUp => Vec::new(),
        }
    }

    /// Drops operations in runs, shorter and shorter, as long as there is time.
    fn one_by_one(&mut self, mut mask: Vec<bool>, settled: &[bool]) -> (Vec<u32>, bool) {
        let mut left: Vec<u32> = members(&mask).into_iter().filter(|at| !settled[*at as usize]).collect();
        let mut run = left.len().div_ceil(4).max(1);
        let mut minimal = true;
        loop {
            for chunk in left.chunks(run) {
                if self.late() {
                    return (self.calls(&mask), false);
                }
                let mut without = mask.clone();
                chunk.iter().for_each(|at| without[*at as usize] = false);
                match self.is_proof(&without) {
                    Some(true) => mask = without,
                    Some(false) => {}
                    None => minimal = minimal && run > 1,
                }
            }
            left.retain(|at| mask[*at as usize]);
            if run == 1 {
                return (self.calls(&mask), minimal);
            }
            run = run.div_ceil(4).min(run - 1);
        }
    }

    fn calls(&self, mask: &[bool]) -> Vec<u32> {
        members(mask).into_iter().map(|at| self.at(at).call).collect()
    }
}

/// The positions that are in a set.
fn members(mask: &[bool]) -> Vec<u32> {
    (0..mask.len() as u32).filter(|at| mask[*at as usize]).collect()
}
