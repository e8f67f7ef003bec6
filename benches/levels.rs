//! How fast the checks of the consistency levels and of objects are, beside sorting the same operations by time:
//! `cargo bench --bench levels`; `-- --objects` leaves out the levels. Medians of processor time.

use std::time::Duration;

use harness::check::Verdict;
use harness::check::generate::{Anomaly, Simulated, Store, inject, simulate};
use harness::check::plain::{self, Question};
use harness::history::calls::{Call, Calls};
use harness::history::{Outcome, Value};
use harness::seed::Rng;

const CHECKS: [&str; 9] = [
    "eventual",
    "causal",
    "read-your-writes",
    "monotonic-reads",
    "monotonic-writes",
    "writes-follow-reads",
    "regular",
    "safe",
    "sequential",
];

/// The processor time this process has used. Unlike the time on the clock it says the same on a busy machine.
fn used() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    assert_eq!(failed, 0, "the processor time cannot be told");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn median(mut run: impl FnMut(), runs: usize) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let before = used();
            run();
            used() - before
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

/// A history of one object: `CLIENTS` at once, each operation open while as many others begin. `ask` says what the
/// n-th asks for and is answered.
fn object(operations: u32, ask: impl Fn(u32) -> (&'static str, Value, Value)) -> Calls {
    const CLIENTS: u32 = 50;
    let mut calls = Calls::new();
    for n in 0..operations {
        let (f, input, output) = ask(n);
        let call = Call {
            process: n % CLIENTS,
            key: 0,
            input: calls.values.intern(input),
            output: calls.values.intern(output),
            invoke: 2 * n,
            ret: 2 * (n + CLIENTS) - 1,
            f: calls.function(f),
            outcome: Outcome::Ok,
        };
        calls.calls.push(call);
    }
    calls
}

fn objects() {
    const OPERATIONS: u32 = 100_000;
    let int = |n: u32| Value::int(i64::from(n));
    let all: Vec<u32> = (0..OPERATIONS - 50).collect();
    let everything = Value::from_json(&serde_json::json!(all));
    let set = object(OPERATIONS, |n| match n + 1 == OPERATIONS {
        true => ("read", Value::Nil, everything.clone()),
        false => ("add", int(n), int(n)),
    });
    measure("a set, read once at the end", &set, &["set"], 5);
    // What had been added for certain: whatever is open is counted or not.
    let counter = object(OPERATIONS, |n| match n % 2 {
        0 => ("add", int(1), int(1)),
        _ => ("read", Value::Nil, int(n.saturating_sub(49).div_ceil(2))),
    });
    measure("a counter, half of it reads", &counter, &["counter"], 5);
    let queue = object(OPERATIONS, |n| match n % 2 {
        0 => ("enqueue", int(n / 2), int(n / 2)),
        _ => ("dequeue", Value::Nil, int(n / 2)),
    });
    measure("a queue, half of it dequeues", &queue, &["queue"], 5);
    let ids = object(OPERATIONS, |n| ("generate", Value::Nil, int(n)));
    measure("a source of ids", &ids, &["unique-ids"], 5);
}

fn main() {
    objects();
    if std::env::args().any(|argument| argument == "--objects") {
        return;
    }
    let wanted = Simulated {
        store: Store::Causal,
        operations: 100_000,
        sessions: 50,
        keys: 100,
        unknown_percent: 0,
        seed: 7,
    };
    let causal = simulate(&wanted);
    measure("a causal store, 50 sessions, 100 keys", &causal, &CHECKS[..8], 3);
    let mut thin = causal.clone();
    if inject(&mut thin, Anomaly::ThinAirRead, 1).is_some() {
        measure("with a thin-air read", &thin, &["causal", "sequential"], 3);
    }
    let unknown = simulate(&Simulated { unknown_percent: 5, ..wanted.clone() });
    measure("with 5% of writes of unknown outcome", &unknown, &CHECKS[..8], 3);
    let sequential = simulate(&Simulated { store: Store::Sequential, ..wanted.clone() });
    measure("a sequential store", &sequential, &CHECKS, 1);
    let eventual = simulate(&Simulated { store: Store::Eventual, ..wanted.clone() });
    measure("an eventual store, sticky sessions", &eventual, &CHECKS[..8], 3);
    let roaming = simulate(&Simulated { store: Store::EventualRoaming, ..wanted });
    measure("an eventual store, roaming sessions", &roaming, &CHECKS, 1);
}
