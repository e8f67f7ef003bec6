//! The checks against the model of a quorum store: silent on correct stores, right on wrong ones.

use std::collections::BTreeMap;
use std::path::Path;

use harness::check::{Verdict, find};
use harness::history::{History, reader};
use harness::seed::Rng;

use crate::sim_quorum::{self, Bug, Config};

/// The checks that a quorum store is held to. `lww` and the other session guarantees are about clocks it does not have.
const CHECKS: [&str; 8] = [
    "quorum",
    "leader",
    "convergence",
    "durability",
    "read-your-writes",
    "monotonic-reads",
    "staleness",
    "linearizability",
];

/// Some seconds; for a soak set `HARNESS_SOAK` to the number of runs.
const CORRECT_RUNS: u64 = 100;

fn parse(text: &str) -> History {
    reader::read_from(text.as_bytes(), Path::new("simulated")).unwrap()
}

fn correct(seed: u64) -> Config {
    let mut rng = Rng::new(seed, "quorum config");
    let nodes = if rng.below(4) == 0 { 5 } else { 3 };
    let majority = nodes as u64 / 2 + 1;
    let usual = rng.below(3) > 0;
    let mut quorum = || if usual { majority } else { rng.between(1, nodes as u64) } as usize;
    let (write, read) = (quorum(), quorum());
    Config {
        bug: None,
        nodes,
        write,
        read,
        disk: rng.below(5) > 0,
        versions: rng.below(3) > 0,
        terms: rng.below(4) > 0,
        stalls: rng.below(3).saturating_sub(1),
        faults: rng.below(7),
        long: rng.below(4) == 0,
    }
}

fn never_blamed(part: u64) {
    let soak = std::env::var("HARNESS_SOAK").ok().and_then(|text| text.parse::<u64>().ok());
    let runs = soak.unwrap_or(CORRECT_RUNS).max(CORRECT_RUNS) / 2;
    let mut verdicts: BTreeMap<(&str, Verdict), u64> = BTreeMap::new();
    let mut bites: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in part * runs..(part + 1) * runs {
        let config = correct(seed);
        let text = sim_quorum::run(seed, &config);
        let history = parse(&text);
        for name in CHECKS {
            // Where votes and terms are forgotten the model does not keep its replicas equal; and single copies are
            // promised only where the quorums meet.
            let meets = config.read + config.write > config.nodes;
            if (name == "convergence" && !config.disk)
                || (name == "linearizability" && !(meets && config.disk))
            {
                continue;
            }
            let result = find(name).unwrap().check(&history);
            if result.verdict == Verdict::Invalid {
                let file = std::env::temp_dir().join(format!("blamed-quorum-{seed}.jsonl"));
                std::fs::write(&file, &text).unwrap();
                panic!(
                    "{name} blames seed {seed} ({config:?}, {}): {:#?}",
                    file.display(),
                    result.violations
                );
            }
            *verdicts.entry((name, result.verdict)).or_default() += 1;
            for (figure, count) in &result.evidence {
                let known = ["claims_while_cut_off", "strong_reads", "final_writes", "windows", "terms"];
                if let Some(figure) = known.iter().find(|known| *known == figure) {
                    *bites.entry(figure).or_default() += count.as_u64().unwrap_or(0);
                }
            }
        }
    }
    // Silence counts only where something could have been said.
    for name in ["quorum", "leader", "convergence", "durability", "read-your-writes", "staleness"] {
        let valid = verdicts.get(&(name, Verdict::Valid)).copied().unwrap_or(0);
        assert!(valid > runs / 3, "{name} was valid only {valid} times: {verdicts:?}");
    }
    for (figure, count) in &bites {
        assert!(*count > runs / 10, "{figure}: {count} in {runs} runs; {bites:?}");
    }
}

#[test]
fn a_correct_quorum_store_is_never_blamed() {
    never_blamed(0);
}

#[test]
fn another_correct_quorum_store_is_never_blamed() {
    never_blamed(1);
}

/// How many of `seeds` histories with `bug` each `check/kind` rejects.
fn rejected(bug: Bug, versions: bool, seeds: u64) -> BTreeMap<String, u64> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..seeds {
        let config = Config {
            bug: Some(bug),
            nodes: 3,
            write: 2,
            read: 2,
            disk: true,
            versions,
            terms: true,
            stalls: 0,
            // What is refused in vain takes a while to show, with nothing else going on.
            faults: if bug == Bug::RefusesWithQuorum { 1 } else { 4 },
            long: bug == Bug::RefusesWithQuorum,
        };
        let history = parse(&sim_quorum::run(seed, &config));
        for name in CHECKS.into_iter().filter(|name| *name != "linearizability") {
            let result = find(name).unwrap().check(&history);
            let mut kinds: Vec<&str> = result.violations.iter().map(|violation| violation.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            for kind in kinds {
                *found.entry(format!("{name}/{kind}")).or_default() += 1;
            }
            for violation in &result.violations {
                assert!((1..=6).contains(&violation.ops.len()), "{violation:?}");
                assert!(!violation.story.is_empty() && !violation.cause.is_empty(), "{violation:?}");
                let known = |index: &u64| history.op(*index).is_some();
                assert!(violation.ops.iter().all(known), "{violation:?}");
            }
        }
    }
    found
}

/// Each bug, and the kinds that must be found in at least so many of [`BUG_RUNS`] histories.
type Cases<'a> = &'a [(Bug, &'a [(&'a str, u64)])];

const BUG_RUNS: u64 = 16;

fn are_found(cases: Cases, versions: bool) {
    for (bug, expected) in cases {
        let found = rejected(*bug, versions, BUG_RUNS);
        for (name, least) in *expected {
            let times = found.get(*name).copied().unwrap_or(0);
            assert!(
                times >= *least,
                "{bug:?}: {name} rejected {times} of {BUG_RUNS} histories; found {found:?}"
            );
        }
    }
}

#[test]
fn every_bug_of_answers_is_found_by_the_right_check() {
    let cases: Cases = &[
        (Bug::ClaimsQuorum, &[("quorum/impossible-quorum", 3)]),
        (Bug::CountsItselfTwice, &[("quorum/impossible-quorum", 8)]),
        (Bug::FirstAnswerWins, &[("quorum/stale-strong-read", 8)]),
        (Bug::NoVersions, &[("quorum/stale-strong-read", 8)]),
        (Bug::LocalStrongRead, &[("quorum/stale-strong-read", 8)]),
        (Bug::UnreadPending, &[("read-your-writes/read-your-writes", 4)]),
        (Bug::DeleteNotReplicated, &[("quorum/deleted-value-returned", 8), ("convergence/diverged", 3)]),
    ];
    are_found(cases, true);
}

#[test]
fn every_bug_of_leaders_is_found_by_the_right_check() {
    let cases: Cases = &[
        (Bug::NoTermCheck, &[("leader/deposed-leader-acknowledged", 4)]),
        (Bug::TwoLeaders, &[("leader/two-leaders-one-term", 4)]),
        (Bug::UrlSortsFirst, &[("leader/no-leader", BUG_RUNS), ("quorum/refused-with-quorum", 4)]),
        (Bug::AckThenReplicate, &[("quorum/stale-strong-read", 8), ("quorum/lost-acknowledged", 1)]),
        (Bug::OverwritesOnHeal, &[("quorum/lost-acknowledged", 3), ("durability/lost-acknowledged", 1)]),
        (Bug::RefusesWithQuorum, &[("quorum/refused-with-quorum", 2)]),
    ];
    are_found(cases, true);
}

#[test]
fn quorum_bugs_are_found_without_versions_too() {
    let cases: Cases = &[
        (Bug::ClaimsQuorum, &[("quorum/impossible-quorum", 3)]),
        (Bug::FirstAnswerWins, &[("quorum/stale-strong-read", 8)]),
        (Bug::LocalStrongRead, &[("quorum/stale-strong-read", 8)]),
        (Bug::UnreadPending, &[("read-your-writes/read-your-writes", 1)]),
        (Bug::DeleteNotReplicated, &[("quorum/deleted-value-returned", 8)]),
        (Bug::AckThenReplicate, &[("quorum/stale-strong-read", 8)]),
        (Bug::OverwritesOnHeal, &[("quorum/lost-acknowledged", 2)]),
    ];
    are_found(cases, false);
}
