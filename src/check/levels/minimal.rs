//! The smallest proof, for the checks of this folder.
//!
//! A set of operations is **proof** when the history stays illegal with every operation outside the set *relaxed*: its
//! result forgotten and its outcome unknown, so that it may have taken effect at any time after its invocation, or
//! never. For registers that leaves of the outside only the writes whose values the set's reads found, as
//! writes of unknown outcome (a failed write too, once relaxed, may have happened). So each trial looks at a few
//! operations, however long the history is.

use std::collections::HashSet;
use std::time::Instant;

use super::registers::{Fact, Facts, Sessions, arrange};
use crate::history::Outcome;
use crate::history::calls::ValueId;
use crate::history::hash::Fast;

/// How many ways of pairing ambiguous reads with writes are tried before a set is taken for no proof.
const MOST_PAIRINGS: u64 = 4096;

/// Tries sets of operations, named by their place in [`Facts::list`].
pub(super) struct Prover<'a> {
    facts: &'a Facts,
    /// All writes of a value, failed ones too.
    writers: Fast<(u32, ValueId), Vec<u32>>,
    pub(super) deadline: Instant,
}

impl<'a> Prover<'a> {
    pub(super) fn new(facts: &'a Facts, deadline: Instant) -> Self {
        let mut writers: Fast<(u32, ValueId), Vec<u32>> = Fast::default();
        for (at, fact) in facts.list.iter().enumerate() {
            if let Some(value) = fact.write {
                writers.entry((fact.key, value)).or_default().push(at as u32);
            }
        }
        Prover { facts, writers, deadline }
    }

    fn writers_of(&self, fact: &Fact) -> &[u32] {
        let read = fact.read.and_then(|value| self.writers.get(&(fact.key, value)));
        read.map_or(&[], |writers| writers.as_slice())
    }

    /// The place of a call's fact.
    fn fact_of(&self, call: u32) -> Option<u32> {
        self.facts.list.binary_search_by_key(&call, |fact| fact.call).ok().map(|at| at as u32)
    }

    /// The history with everything outside `kept`, which ascends, relaxed; without what then neither did nor says
    /// anything.
    fn relaxed(&self, kept: &[u32]) -> Vec<Fact> {
        let mut present: HashSet<u32> = kept.iter().copied().collect();
        let mut unseen: Vec<u32> = kept.to_vec();
        while let Some(at) = unseen.pop() {
            for writer in self.writers_of(&self.facts.list[at as usize]) {
                if present.insert(*writer) {
                    unseen.push(*writer);
                }
            }
        }
        let mut present: Vec<u32> = present.into_iter().collect();
        present.sort_unstable();
        let relax = |at: u32| {
            let fact = self.facts.list[at as usize];
            let as_it_was = kept.binary_search(&at).is_ok();
            if as_it_was { fact } else { Fact { outcome: Outcome::Info, ..fact } }
        };
        present.into_iter().map(relax).collect()
    }

    /// Whether `kept` is proof that the history is `bad`: whichever writes its reads read.
    pub(super) fn is_proof(&self, kept: &[u32], bad: &dyn Fn(&Sessions) -> bool) -> bool {
        let list = self.relaxed(kept);
        let first = arrange(&list, self.facts.initial, &[]);
        let ways = first.ambiguous.iter().fold(1_u64, |ways, count| ways.saturating_mul(u64::from(*count)));
        if ways == 1 {
            return bad(&first);
        }
        // With a read forgotten there is less to explain, so what is bad without the ambiguous ones is bad with them.
        if bad(&first) {
            return true;
        }
        ways <= MOST_PAIRINGS
            && (0..ways).all(|way| {
                let mut rest = way;
                let digit = |count: &u32| {
                    let digit = rest % u64::from(*count);
                    rest /= u64::from(*count);
                    digit as u32
                };
                let choice: Vec<u32> = first.ambiguous.iter().map(digit).collect();
                bad(&arrange(&list, self.facts.initial, &choice))
            })
    }

    /// Whether the history is `bad` with everything but these calls relaxed.
    pub(super) fn shows(&self, calls: &[u32], bad: &dyn Fn(&Sessions) -> bool) -> bool {
        let mut set: Vec<u32> = calls.iter().filter_map(|call| self.fact_of(*call)).collect();
        set.sort_unstable();
        set.dedup();
        self.is_proof(&set, bad)
    }

    /// A minimal proof, as calls, from calls of which some are; whether it is known to be minimal. `None` when they
    /// are no proof.
    pub(super) fn prove(&self, calls: &[u32], bad: &dyn Fn(&Sessions) -> bool) -> Option<(Vec<u32>, bool)> {
        let set: Vec<u32> =
            self.with_failed_writes(calls).iter().filter_map(|call| self.fact_of(*call)).collect();
        if !self.is_proof(&set, bad) {
            return None;
        }
        let (set, minimal) = minimise(set, self.deadline, |kept| Some(self.is_proof(kept, bad)));
        Some((set.into_iter().map(|at| self.facts.list[at as usize].call).collect(), minimal))
    }

    /// These calls and the failed writes of the values they read, ascending: relaxed, those may have happened.
    pub(super) fn with_failed_writes(&self, calls: &[u32]) -> Vec<u32> {
        let facts = calls.iter().filter_map(|call| self.fact_of(*call));
        let failed = facts
            .flat_map(|at| self.writers_of(&self.facts.list[at as usize]))
            .map(|at| &self.facts.list[*at as usize])
            .filter(|fact| fact.outcome == Outcome::Fail);
        let mut set: Vec<u32> = failed.map(|fact| fact.call).chain(calls.iter().copied()).collect();
        set.sort_unstable();
        set.dedup();
        set
    }

    /// The writes that a proof's reads read and that are no part of it.
    pub(super) fn context(&self, proof: &[u32]) -> Vec<u32> {
        let facts = proof.iter().filter_map(|call| self.fact_of(*call));
        let mut context: Vec<u32> = facts
            .flat_map(|at| self.writers_of(&self.facts.list[at as usize]))
            .map(|at| self.facts.list[*at as usize].call)
            .filter(|call| !proof.contains(call))
            .collect();
        context.sort_unstable();
        context.dedup();
        context
    }
}

/// Drops what is not needed from `set`, which is proof, as long as the rest `is_proof`; whether what remains is known to
/// be minimal. `is_proof` is `None` where it could not be decided.
///
/// Relaxing is monotone, so one pass over single operations is enough; whole runs of them go first, since of many
/// most are not needed.
pub(super) fn minimise(
    set: Vec<u32>,
    deadline: Instant,
    mut is_proof: impl FnMut(&[u32]) -> Option<bool>,
) -> (Vec<u32>, bool) {
    let mut kept = set;
    let mut run = kept.len().div_ceil(4).max(1);
    let mut minimal = true;
    loop {
        let mut at = 0;
        while at < kept.len() {
            if Instant::now() > deadline {
                return (kept, false);
            }
            let to = (at + run).min(kept.len());
            let without: Vec<u32> = kept[..at].iter().chain(&kept[to..]).copied().collect();
            match is_proof(&without) {
                Some(true) => kept = without,
                Some(false) => at = to,
                None => {
                    minimal = minimal && run > 1;
                    at = to;
                }
            }
        }
        if run == 1 {
            return (kept, minimal);
        }
        run = run.div_ceil(4).min(run - 1);
    }
}
