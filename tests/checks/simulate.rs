//! The checks against the model: silent on correct clusters, right on wrong ones.

use std::collections::BTreeMap;
use std::path::Path;

use harness::check::{CHECKS, Verdict, find};
use harness::history::{History, reader};
use harness::seed::Rng;

use crate::sim::{self, Bug, Config, Durability, Shown};

fn parse(text: &str) -> History {
    reader::read_from(text.as_bytes(), Path::new("simulated")).unwrap()
}

fn correct(seed: u64) -> Config {
    let mut rng = Rng::new(seed, "config");
    let shown =
        [Shown::Full, Shown::Full, Shown::NoOrigin, Shown::OnlyAcks, Shown::OnlyReads, Shown::Nothing];
    let durability = [Durability::Disk, Durability::Disk, Durability::Replicated, Durability::Memory];
    Config {
        bug: None,
        durability: *rng.pick(&durability).unwrap(),
        shown: *rng.pick(&shown).unwrap(),
        lower_wins: rng.below(3) == 0,
        crashes: rng.below(4) > 0,
        clock_restarts: rng.below(2) == 0,
    }
}

#[test]
fn a_correct_cluster_is_never_blamed() {
    never_blamed(0..CORRECT_RUNS / 2);
}

#[test]
fn another_correct_cluster_is_never_blamed() {
    never_blamed(CORRECT_RUNS / 2..CORRECT_RUNS);
}

/// Some seconds; for a soak set `HARNESS_SOAK` to the number of runs.
const CORRECT_RUNS: u64 = 600;

fn never_blamed(seeds: std::ops::Range<u64>) {
    let soak = std::env::var("HARNESS_SOAK").ok().and_then(|text| text.parse::<u64>().ok());
    let factor = soak.map_or(1, |runs| runs.div_ceil(CORRECT_RUNS));
    let seeds = seeds.start * factor..seeds.end * factor;
    let runs = seeds.end - seeds.start;
    let mut verdicts: BTreeMap<(&str, Verdict), u64> = BTreeMap::new();
    for seed in seeds {
        let config = correct(seed);
        let run = sim::run(seed, &config);
        let history = parse(&run.history);
        for check in CHECKS {
            // Clocks that begin again may give a version twice: then no rule says who wins, and the replicas differ.
            if check.name() == "convergence" && run.version_twice {
                continue;
            }
            let result = check.check(&history);
            if result.verdict == Verdict::Invalid {
                let file = std::env::temp_dir().join(format!("blamed-{seed}.jsonl"));
                std::fs::write(&file, &run.history).unwrap();
                panic!(
                    "{} blames seed {seed} ({config:?}, {}): {:#?}",
                    check.name(),
                    file.display(),
                    result.violations
                );
            }
            *verdicts.entry((check.name(), result.verdict)).or_default() += 1;
        }
    }
    // Silence counts only where something could have been said.
    // A store without quorums and leaders gives these nothing to judge.
    for check in CHECKS.iter().filter(|check| !["quorum", "leader"].contains(&check.name())) {
        let valid = verdicts.get(&(check.name(), Verdict::Valid)).copied().unwrap_or(0);
        assert!(valid > runs / 3, "{} was valid only {valid} times: {verdicts:?}", check.name());
    }
}

/// So many histories of each bug; one of them must show it at least.
const BUG_RUNS: u64 = 20;

/// How many of `seeds` histories with `bug` each `check/kind` rejects.
fn rejected(bug: Bug, durability: Durability, shown: Shown, seeds: u64) -> BTreeMap<String, u64> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..seeds {
        let config = Config {
            bug: Some(bug),
            durability,
            shown,
            lower_wins: false,
            crashes: true,
            clock_restarts: false,
        };
        let history = parse(&sim::run(seed, &config).history);
        for check in CHECKS {
            let result = check.check(&history);
            let mut kinds: Vec<&str> = result.violations.iter().map(|violation| violation.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            for kind in kinds {
                *found.entry(format!("{}/{kind}", check.name())).or_default() += 1;
            }
            for violation in &result.violations {
                assert!((1..=4).contains(&violation.ops.len()), "{violation:?}");
                assert!(!violation.story.is_empty() && !violation.cause.is_empty(), "{violation:?}");
                let known = |index: &u64| history.op(*index).is_some();
                assert!(violation.ops.iter().all(known), "{violation:?}");
            }
        }
    }
    found
}

#[test]
fn every_bug_is_found_by_the_right_check() {
    let cases: [(Bug, &[&str]); 14] = [
        (Bug::NoTieBreak, &["convergence/diverged", "lww/wrong-tie-winner"]),
        (Bug::LastArrivalWins, &["convergence/diverged", "lww/version-backwards", "lww/lost-update"]),
        (Bug::NoReceiveRule, &["lww/lamport", "lww/lost-update", "writes-follow-reads/writes-follow-reads"]),
        (Bug::NoTick, &["lww/lamport", "lww/two-values-one-version", "monotonic-writes/monotonic-writes"]),
        (Bug::RacyTick, &["lww/two-values-one-version"]),
        (Bug::ForgetsOnCrash, &["durability/forgotten", "durability/lost-acknowledged"]),
        (Bug::ClockReset, &["lww/lamport", "lww/lost-update"]),
        (Bug::AckBeforeApply, &["read-your-writes/read-your-writes"]),
        (Bug::CachedReads, &["read-your-writes/read-your-writes", "lww/version-backwards"]),
        (Bug::RelabelsOrigin, &["lww/relabelled", "convergence/diverged"]),
        (Bug::KeyCollision, &["lww/phantom-value", "convergence/phantom-value"]),
        (Bug::NilDefault, &["lww/phantom-value"]),
        (Bug::LostReplication, &["convergence/diverged"]),
        (Bug::NoCatchUp, &["convergence/diverged"]),
    ];
    for (bug, expected) in cases {
        let found = rejected(bug, Durability::Disk, Shown::Full, BUG_RUNS);
        for name in expected {
            let times = found.get(*name).copied().unwrap_or(0);
            assert!(times >= 1, "{bug:?}: {name} rejected {times} of {BUG_RUNS} histories; found {found:?}");
        }
    }
}

#[test]
fn bugs_are_found_without_versions_too() {
    let cases: [(Bug, &[&str]); 5] = [
        (Bug::LastArrivalWins, &["convergence/diverged"]),
        (Bug::AckBeforeApply, &["read-your-writes/read-your-writes"]),
        (Bug::CachedReads, &["read-your-writes/read-your-writes"]),
        (Bug::ForgetsOnCrash, &["read-your-writes/read-your-writes"]),
        (Bug::KeyCollision, &["lww/phantom-value"]),
    ];
    for (bug, expected) in cases {
        let found = rejected(bug, Durability::Disk, Shown::Nothing, BUG_RUNS);
        for name in expected {
            let times = found.get(*name).copied().unwrap_or(0);
            assert!(times >= 1, "{bug:?}: {name} rejected {times} of {BUG_RUNS} histories; found {found:?}");
        }
    }
}

#[test]
fn losses_without_a_disk_are_excused_and_counted() {
    let (mut excused, mut blamed) = (0, 0);
    for seed in 0..200 {
        let config = Config {
            bug: None,
            durability: Durability::Memory,
            shown: Shown::Full,
            lower_wins: false,
            crashes: true,
            clock_restarts: false,
        };
        let mut history = parse(&sim::run(seed, &config).history);
        let result = find("durability").unwrap().check(&history);
        assert_ne!(result.verdict, Verdict::Invalid, "seed {seed}: {:?}", result.violations);
        // The same history is a loss where a disk was promised.
        history.contract.durability = harness::history::Durability::Disk;
        let strict = find("durability").unwrap().check(&history);
        if result.excused > 0 {
            excused += 1;
            assert_eq!(strict.verdict, Verdict::Invalid, "seed {seed}");
        }
        blamed += u64::from(strict.verdict == Verdict::Invalid);
    }
    assert!(excused > 2 && blamed > excused, "{excused} excused, {blamed} blamed");
}
