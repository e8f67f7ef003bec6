//! The checks against the oracles, and against each other.

use std::collections::{BTreeMap, BTreeSet};

use harness::check::Verdict;
use harness::check::models::Model;
use harness::check::plain::{self, Answer, Question};
use harness::history::Outcome;
use harness::seed::Rng;

use crate::oracle::{self, Guarantee};
use crate::small::{Op, Shape, What, compact, draw, relaxed};

const CASES: u64 = 10_000;
/// Of shapes for which a check is not mainly meant.
const FEWER: u64 = 3_000;

fn answer(check: &str, ops: &[Op]) -> Answer {
    let question = Question { model: Some(Model::EtcdCasRegister), ..Question::default() };
    plain::find(check).unwrap().judge(&compact(ops), &question).unwrap()
}

/// Compares a check with an oracle, which says whether a history is legal, on random histories; how often each verdict came.
fn compare(check: &str, shape: Shape, cases: u64, legal: &dyn Fn(&[Op]) -> bool) -> BTreeMap<Verdict, u64> {
    let mut rng = Rng::new(7, check);
    let mut verdicts = BTreeMap::new();
    for case in 0..cases {
        let ops = draw(&mut rng, shape);
        let answer = answer(check, &ops);
        *verdicts.entry(answer.verdict).or_insert(0) += 1;
        let expected = legal(&ops);
        match answer.verdict {
            Verdict::Valid => assert!(expected, "{check} {case} misses: {ops:#?}"),
            Verdict::Invalid => assert!(!expected, "{check} {case} cries wolf: {answer:#?} of {ops:#?}"),
            Verdict::Unknown => {
                let said = answer.reason.as_deref().unwrap_or("");
                let nothing_to_judge = ["no ", "every "].iter().any(|start| said.starts_with(start));
                let about_values =
                    said.contains("written more than once") || said.contains("failed compare-and-set");
                let in_vain = said.contains("go back by themselves");
                assert!(nothing_to_judge || about_values || in_vain, "{said}");
                assert!(
                    expected || !in_vain && !nothing_to_judge || about_values,
                    "{check} {case} misses ({said}): {ops:#?}"
                );
            }
        }
        for proof in &answer.proofs {
            assert!(proof.minimal, "{check} {case}: {proof:#?} of {ops:#?}");
            assert!(!legal(&relaxed(&ops, &proof.ops)), "{check} {case}, no proof: {proof:#?} of {ops:#?}");
            for needless in &proof.ops {
                let without: Vec<u32> = proof.ops.iter().copied().filter(|op| op != needless).collect();
                assert!(
                    legal(&relaxed(&ops, &without)),
                    "{check} {case}: {needless} is needless in {proof:#?} of {ops:#?}"
                );
            }
        }
    }
    println!("{check} {shape:?}: {verdicts:?}");
    verdicts
}

fn both_occur(check: &str, shape: Shape, cases: u64, legal: &dyn Fn(&[Op]) -> bool) {
    let verdicts = compare(check, shape, cases, legal);
    for verdict in [Verdict::Valid, Verdict::Invalid] {
        let count = verdicts.get(&verdict).copied().unwrap_or(0);
        assert!(count >= cases / 200, "{check} {shape:?}: {count} times {verdict:?}");
    }
}

const DISTINCT: Shape = Shape { keys: 2, distinct: true, cas: false };
const ONE_KEY: Shape = Shape { keys: 1, distinct: true, cas: false };
const REPEATED: Shape = Shape { keys: 2, distinct: false, cas: false };
const CAS: Shape = Shape { keys: 1, distinct: false, cas: true };

#[test]
fn sequential() {
    both_occur("sequential", DISTINCT, CASES, &oracle::sequential);
}

#[test]
fn sequential_of_repeated_values() {
    both_occur("sequential", REPEATED, FEWER, &oracle::sequential);
    both_occur("sequential", CAS, FEWER, &oracle::sequential);
}

#[test]
fn causal() {
    both_occur("causal", DISTINCT, CASES, &oracle::causal);
}

#[test]
fn causal_of_repeated_values() {
    both_occur("causal", REPEATED, FEWER, &oracle::causal);
    both_occur("causal", CAS, FEWER, &oracle::causal);
}

/// `least`: how many violations there are at least on two keys.
fn guarantee(check: &str, guarantee: Guarantee, least: u64) {
    both_occur(check, ONE_KEY, CASES, &|ops| oracle::kept(ops, guarantee));
    let two = compare(check, DISTINCT, FEWER, &|ops| oracle::kept(ops, guarantee));
    assert!(two[&Verdict::Invalid] >= least, "{two:?}");
    compare(check, REPEATED, FEWER / 3, &|ops| oracle::kept(ops, guarantee));
}

#[test]
fn read_your_writes() {
    guarantee("read-your-writes", Guarantee::ReadYourWrites, 100);
}

#[test]
fn monotonic_reads() {
    guarantee("monotonic-reads", Guarantee::MonotonicReads, 50);
}

#[test]
fn monotonic_writes() {
    guarantee("monotonic-writes", Guarantee::MonotonicWrites, 20);
}

#[test]
fn writes_follow_reads() {
    guarantee("writes-follow-reads", Guarantee::WritesFollowReads, 20);
}

#[test]
fn regular_and_safe() {
    for (check, safe) in [("regular", false), ("safe", true)] {
        both_occur(check, ONE_KEY, CASES, &|ops| oracle::regular(ops, safe));
        both_occur(check, REPEATED, FEWER, &|ops| oracle::regular(ops, safe));
    }
}

/// As a test with a last phase does: everybody reads every key, mostly to find the same.
fn read_at_the_end(rng: &mut Rng, ops: &mut Vec<Op>) {
    let processes: BTreeSet<u32> = ops.iter().map(|op| op.process).collect();
    let keys: BTreeSet<u32> = ops.iter().map(|op| op.key).collect();
    for key in keys {
        let written = ops.iter().find(|op| op.key == key && op.what != What::Read).map_or(0, |op| op.value);
        for process in processes.iter().copied() {
            let invoke = 2 * ops.len() as u32 + 16;
            let value = if rng.below(8) > 0 { written } else { rng.below(4) as i64 };
            let read = What::Read;
            ops.push(Op { process, key, invoke, ret: invoke + 1, what: read, value, outcome: Outcome::Ok });
        }
    }
}

/// Here `unknown` is the rule, so the oracle says exactly when it is not.
#[test]
fn eventual() {
    let mut rng = Rng::new(7, "eventual");
    let mut seen = BTreeMap::new();
    for case in 0..CASES {
        let shape = [DISTINCT, ONE_KEY, REPEATED, CAS][case as usize % 4];
        let mut ops = draw(&mut rng, shape);
        if case % 8 < 4 {
            read_at_the_end(&mut rng, &mut ops);
        }
        let answer = answer("eventual", &ops);
        *seen.entry(answer.verdict).or_insert(0) += 1;
        let expected = match oracle::eventual(&ops) {
            (false, _) => Verdict::Invalid,
            (true, true) => Verdict::Valid,
            (true, false) => Verdict::Unknown,
        };
        assert_eq!(answer.verdict, expected, "{case}: {answer:#?} of {ops:#?}");
        assert!(answer.verdict != Verdict::Unknown || answer.reason.is_some());
        let legal = |kept: &[u32]| oracle::eventual(&relaxed(&ops, kept)).0;
        for proof in &answer.proofs {
            assert!(proof.minimal && !legal(&proof.ops), "{case}, no proof: {proof:#?} of {ops:#?}");
            for needless in &proof.ops {
                let without: Vec<u32> = proof.ops.iter().copied().filter(|op| op != needless).collect();
                assert!(legal(&without), "{case}: {needless} is needless in {proof:#?} of {ops:#?}");
            }
        }
    }
    println!("eventual: {seen:?}");
    assert!(seen.len() == 3 && seen.values().all(|count| *count >= CASES / 200), "{seen:?}");
}

/// Whatever breaks a level breaks all that imply it.
#[test]
fn the_ladder_is_one() {
    let implies = [
        ("linearizability", "sequential"),
        ("sequential", "causal"),
        ("causal", "read-your-writes"),
        ("causal", "monotonic-reads"),
        ("causal", "monotonic-writes"),
        ("causal", "writes-follow-reads"),
        ("linearizability", "eventual"),
        ("linearizability", "regular"),
        ("regular", "safe"),
    ];
    for shape in [DISTINCT, ONE_KEY, REPEATED, CAS] {
        let mut rng = Rng::new(11, "ladder");
        for case in 0..250 {
            let ops = draw(&mut rng, shape);
            let verdicts: BTreeMap<&str, Verdict> = implies
                .iter()
                .flat_map(|(stronger, weaker)| [*stronger, *weaker])
                .map(|check| (check, answer(check, &ops).verdict))
                .collect();
            for (stronger, weaker) in implies {
                assert!(
                    verdicts[weaker] != Verdict::Invalid || verdicts[stronger] == Verdict::Invalid,
                    "{case}: {stronger} does not imply {weaker} on {ops:#?}"
                );
            }
        }
    }
}
