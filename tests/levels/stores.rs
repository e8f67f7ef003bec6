//! Histories of simulated stores: no false alarm at the level a store keeps, and every anomaly found.

use harness::check::Verdict;
use harness::check::generate::{Anomaly, Description, Simulated, Store, generate, inject, simulate};
use harness::check::plain::{self, Answer, Question};
use harness::history::calls::Calls;

const HISTORIES: u64 = 1000;

fn answer(check: &str, calls: &Calls) -> Answer {
    plain::find(check).unwrap().judge(calls, &Question::default()).unwrap()
}

fn linearizable(seed: u64) -> Calls {
    let description = Description { keys: 2, unknown_percent: 5, ..Description::register(50, 4, seed) };
    generate(&description)
}

fn simulated(store: Store, seed: u64) -> Calls {
    simulate(&Simulated { store, operations: 50, sessions: 4, keys: 2, unknown_percent: 5, seed })
}

const SESSIONS: [&str; 4] =
    ["read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads"];

/// How often each check alarms, by `made` histories; those it should hold for must not.
fn no_false_alarm(made: &dyn Fn(u64) -> Calls, holds: &[&str], broken: &[&str]) {
    let mut alarms = vec![0; broken.len()];
    for seed in 0..HISTORIES {
        let calls = made(seed);
        for check in holds {
            let answer = answer(check, &calls);
            assert!(answer.verdict != Verdict::Invalid, "{check}, seed {seed}: {answer:#?}");
            if ["linearizability", "sequential", "causal", "regular"].contains(check) {
                assert_eq!(answer.verdict, Verdict::Valid, "{check}, seed {seed}: {answer:#?}");
            }
        }
        for (check, alarms) in broken.iter().zip(&mut alarms) {
            *alarms += u64::from(answer(check, &calls).verdict == Verdict::Invalid);
        }
    }
    for (check, alarms) in broken.iter().zip(alarms) {
        assert!(alarms > HISTORIES / 50, "{check} found only {alarms} of what such a store does");
    }
}

#[test]
fn a_linearizable_store_is_everything() {
    let below = ["linearizability", "sequential", "causal", "eventual", "regular", "safe"];
    no_false_alarm(&linearizable, &[&below[..], &SESSIONS[..]].concat(), &[]);
}

#[test]
fn a_sequential_store_is_no_more_and_no_less() {
    let holds = [&["sequential", "causal", "eventual"][..], &SESSIONS[..]].concat();
    no_false_alarm(&|seed| simulated(Store::Sequential, seed), &holds, &["linearizability", "regular"]);
}

#[test]
fn a_causal_store_is_no_more_and_no_less() {
    let holds = [&["causal", "eventual"][..], &SESSIONS[..]].concat();
    no_false_alarm(&|seed| simulated(Store::Causal, seed), &holds, &["linearizability", "sequential"]);
}

#[test]
fn an_eventual_store_is_no_more_and_no_less() {
    let sticky = |seed| simulated(Store::Eventual, seed);
    no_false_alarm(&sticky, &["eventual", "read-your-writes", "monotonic-reads"], &["causal"]);
    let roaming = |seed| simulated(Store::EventualRoaming, seed);
    no_false_alarm(&roaming, &["eventual"], &["causal", "read-your-writes", "monotonic-reads"]);
}

#[test]
fn every_anomaly_is_found() {
    let stale: &[&str] = &["linearizability", "regular"];
    for (anomaly, finders) in [
        (Anomaly::StaleRead, stale),
        (Anomaly::LostOwnWrite, &["read-your-writes", "causal", "sequential", "linearizability"]),
        (Anomaly::NonMonotonicRead, &["monotonic-reads", "causal", "sequential", "linearizability"]),
        (Anomaly::WriteOrderInversion, &["monotonic-writes", "causal", "sequential", "linearizability"]),
        (Anomaly::ThinAirRead, &["eventual", "causal", "sequential", "linearizability", "regular"]),
        (Anomaly::CausalCycle, &["causal", "sequential", "linearizability"]),
    ] {
        let mut injected = 0;
        for seed in 0..HISTORIES {
            let mut calls = match anomaly {
                Anomaly::StaleRead => linearizable(seed),
                _ => simulated(if seed % 2 == 0 { Store::Causal } else { Store::Sequential }, seed),
            };
            let Some(changed) = inject(&mut calls, anomaly, seed) else { continue };
            injected += 1;
            for check in finders {
                let answer = answer(check, &calls);
                assert_eq!(
                    answer.verdict,
                    Verdict::Invalid,
                    "{anomaly:?} at {changed:?}, seed {seed}: {check}: {answer:#?}"
                );
                for proof in &answer.proofs {
                    assert!(proof.minimal && !proof.ops.is_empty(), "{check}, seed {seed}: {proof:#?}");
                }
            }
        }
        assert!(injected >= HISTORIES / 2, "{anomaly:?} was put in only {injected} times");
    }
}
/// Too long to be searched: an order has to be guessed.
#[test]
fn long_histories_of_a_sequential_store_are_sequential() {
    for (operations, sessions, keys) in [(1000, 10, 1), (2000, 20, 20), (3000, 50, 100)] {
        let wanted =
            Simulated { store: Store::Sequential, operations, sessions, keys, unknown_percent: 5, seed: 7 };
        let calls = simulate(&wanted);
        assert_eq!(answer("linearizability", &calls).verdict, Verdict::Invalid);
        let answer = answer("sequential", &calls);
        assert_eq!(answer.verdict, Verdict::Valid, "{wanted:?}: {answer:#?}");
    }
}
