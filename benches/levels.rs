//! How fast the checks of the consistency levels are, beside sorting the same operations by time:
//! `cargo bench --bench levels`. Medians of the time on the clock.

use std::time::{Duration, Instant};

use harness::check::Verdict;
use harness::check::generate::{Anomaly, Simulated, Store, inject, simulate};
use harness::check::plain::{self, Question};
use harness::history::calls::Calls;
use harness::seed::Rng;

const CHECKS: [&str; 8] = [
    "causal",
    "read-your-writes",
    "monotonic-reads",
    "monotonic-writes",
    "writes-follow-reads",
    "regular",
    "safe",
    "sequential",
];

fn median(mut run: impl FnMut(), runs: usize) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[runs / 2]
}

/// Sorting the operations by time, from a random order: the yardstick.
fn sorting(calls: &Calls) -> Duration {
    let mut shuffled = calls.calls.clone();
    Rng::new(1, "shuffle").shuffle(&mut shuffled);
    median(
        || {
            let mut copy = shuffled.clone();
            copy.sort_unstable_by_key(|call| call.invoke);
            assert!(copy.is_sorted_by_key(|call| call.invoke));
        },
        5,
    )
}

fn measure(title: &str, calls: &Calls, checks: &[&str], runs: usize) {
    let sort = sorting(calls);
    println!("\n{title}: {} operations, sorted in {:.2} ms", calls.calls.len(), sort.as_secs_f64() * 1e3);
    for name in checks {
        let Some(check) = plain::find(name) else { panic!("no check {name}") };
        let judge = || check.judge(calls, &Question::default()).unwrap_or_else(|why| panic!("{why}"));
        let answer = judge();
        let took = median(|| drop(judge()), runs);
        let proof = answer.proofs.first().map_or(String::new(), |proof| {
            let minimal = if proof.minimal { "" } else { ", not shown minimal" };
            format!(
                "  {} ({} shown), first proof of {}{minimal}",
                proof.kind,
                answer.proofs.len(),
                proof.ops.len()
            )
        });
        let verdict = match answer.verdict {
            Verdict::Valid => "valid",
            Verdict::Invalid => "invalid",
            Verdict::Unknown => "unknown",
        };
        println!(
            "  {name:<20} {:>9.1} ms  {:>7.1} of sorting  {verdict}{proof}{}",
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() / sort.as_secs_f64(),
            answer.reason.map_or(String::new(), |why| format!("  ({why})"))
        );
    }
}

fn main() {
    let wanted = Simulated {
        store: Store::Causal,
        operations: 100_000,
        sessions: 50,
        keys: 100,
        unknown_percent: 0,
        seed: 7,
    };
    let causal = simulate(&wanted);
    measure("a causal store, 50 sessions, 100 keys", &causal, &CHECKS[..7], 3);
    let mut thin = causal.clone();
    if inject(&mut thin, Anomaly::ThinAirRead, 1).is_some() {
        measure("with a thin-air read", &thin, &["causal", "sequential"], 3);
    }
    let unknown = simulate(&Simulated { unknown_percent: 5, ..wanted.clone() });
    measure("with 5% of writes of unknown outcome", &unknown, &CHECKS[..7], 3);
    let sequential = simulate(&Simulated { store: Store::Sequential, ..wanted.clone() });
    measure("a sequential store", &sequential, &CHECKS, 1);
    let eventual = simulate(&Simulated { store: Store::Eventual, ..wanted.clone() });
    measure("an eventual store, sticky sessions", &eventual, &CHECKS[..7], 3);
    let roaming = simulate(&Simulated { store: Store::EventualRoaming, ..wanted });
    measure("an eventual store, roaming sessions", &roaming, &CHECKS, 1);
}
