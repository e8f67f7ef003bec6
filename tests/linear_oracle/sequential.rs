//! Sequential consistency of every model, against every order that agrees with each process's own; of registers see
//! `tests/levels` as well.

use std::cell::Cell;
use std::collections::HashSet;

use harness::check::Verdict;
use harness::check::models::Model;
use harness::check::plain::{Question, find};
use harness::history::Outcome;
use harness::history::calls::Calls;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Plain, Small, State, apply, compact, draws, history, initial, put_plainly, relaxed, start};

const CASES: u32 = 2000;

/// Operations of at most two keys, each with its process.
#[derive(Clone, Debug)]
struct Sessions {
    history: Vec<Small>,
    processes: Vec<u32>,
    keys: Vec<usize>,
}

/// Gives each operation the first process that is free. One whose outcome is unknown is mostly replaced; a careless test
/// lets it go on.
fn sessions(model: Model, history: Vec<Small>) -> Sessions {
    let mut free_at: Vec<u32> = Vec::new();
    let mut processes = Vec::new();
    for (at, small) in history.iter().enumerate() {
        let process = free_at.iter().position(|free| *free < small.invoke).unwrap_or_else(|| {
            free_at.push(0);
            free_at.len() - 1
        });
        let goes_on = small.outcome != Outcome::Info || at % 3 == 0;
        free_at[process] = match (small.outcome, goes_on) {
            (Outcome::Info, true) => small.invoke,
            (Outcome::Info, false) => u32::MAX,
            _ => small.ret,
        };
        processes.push(process as u32);
    }
    let two = model.by_key() && history.len().is_multiple_of(2);
    let keys = history.iter().map(|small| if two { small.invoke as usize % 2 } else { 0 }).collect();
    Sessions { history, processes, keys }
}

impl Sessions {
    fn calls(&self) -> Calls {
        let mut calls = compact(&self.history);
        let names = ["x", "y"].map(|name| calls.text_key(name));
        for (at, call) in calls.calls.iter_mut().enumerate() {
            (call.process, call.key) = (self.processes[at], names[self.keys[at]]);
        }
        calls
    }

    fn relaxed(&self, kept: &[u32]) -> Sessions {
        Sessions { history: relaxed(&self.history, kept), ..self.clone() }
    }

    fn legal(&self, model: Model) -> bool {
        let ops: Vec<Plain> = self.history.iter().map(put_plainly).collect();
        let start = [start(model), start(model)];
        self.order(model, &ops, 0, start, &mut HashSet::new())
    }

    /// Whether what is not `placed` yet can go on from `states`.
    fn order(
        &self,
        model: Model,
        ops: &[Plain],
        placed: u32,
        states: [State; 2],
        been: &mut HashSet<(u32, [State; 2])>,
    ) -> bool {
        let is_placed = |at: usize| placed >> at & 1 == 1;
        let says = |at: usize| {
            ops[at].outcome != Outcome::Fail || ops[at].f == "cas" && model == Model::EtcdCasRegister
        };
        let due = |at: usize| says(at) && ops[at].outcome != Outcome::Info;
        if (0..ops.len()).all(|at| is_placed(at) || !due(at)) {
            return true;
        }
        if !been.insert((placed, states.clone())) {
            return false;
        }
        (0..ops.len()).any(|at| {
            let earlier = |other: usize| {
                due(other)
                    && self.processes[other] == self.processes[at]
                    && ops[other].invoke < ops[at].invoke
            };
            if is_placed(at) || !says(at) || (0..ops.len()).any(|other| !is_placed(other) && earlier(other)) {
                return false;
            }
            let mut states = states.clone();
            match apply(model, &states[self.keys[at]], &ops[at]) {
                None => false,
                Some(next) => {
                    states[self.keys[at]] = next;
                    self.order(model, ops, placed | 1 << at, states, been)
                }
            }
        })
    }
}

fn compare(model: Model) {
    let (valid, invalid) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let result = runner.run(&draws(), |draws| {
        let sessions = sessions(model, history(model, &draws, false));
        let question = Question { model: Some(model), initial: initial(model), ..Question::default() };
        let answer = find("sequential").unwrap().judge(&sessions.calls(), &question).unwrap();
        let expected = sessions.legal(model);
        match answer.verdict {
            Verdict::Valid => prop_assert!(expected, "missed: {:#?}", sessions),
            Verdict::Invalid => prop_assert!(!expected, "{:#?} of {:#?}", answer, sessions),
            Verdict::Unknown => {
                let why = answer.reason.as_deref().unwrap_or_default();
                prop_assert!(expected && why.starts_with("no completed read"), "{}: {:#?}", why, sessions);
            }
        }
        let counter = if expected { &valid } else { &invalid };
        counter.set(counter.get() + 1);
        for proof in &answer.proofs {
            prop_assert!(proof.minimal, "{:#?} of {:#?}", proof, sessions);
            prop_assert!(
                !sessions.relaxed(&proof.ops).legal(model),
                "no proof: {:#?} of {:#?}",
                proof,
                sessions
            );
            for needless in &proof.ops {
                let rest: Vec<u32> = proof.ops.iter().copied().filter(|op| op != needless).collect();
                prop_assert!(
                    sessions.relaxed(&rest).legal(model),
                    "{} is needless: {:#?} of {:#?}",
                    needless,
                    proof,
                    sessions
                );
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{model}: {error}");
    }
    println!("{model}: {} valid, {} invalid", valid.get(), invalid.get());
    assert!(valid.get() >= CASES / 20 && invalid.get() >= CASES / 20, "{model}");
}

#[test]
fn of_registers() {
    compare(Model::Register);
    compare(Model::CasRegister);
    compare(Model::EtcdCasRegister);
}

#[test]
fn of_multi_registers() {
    compare(Model::MultiRegister);
}

#[test]
fn of_strings() {
    compare(Model::KvAppend);
}

#[test]
fn of_counters() {
    compare(Model::Counter);
}

#[test]
fn of_sets() {
    compare(Model::Set);
}

#[test]
fn of_queues() {
    compare(Model::Queue);
}

#[test]
fn of_locks() {
    compare(Model::Mutex);
}
