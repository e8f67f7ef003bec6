//! How fast the checkers are, each figure beside something else measured in the same run: `cargo bench --bench check`.
//!
//! `-- --huge` adds ten million operations; `-- --registers`, `--recorded`, `--reading` and `--general` choose parts. The recorded histories are measured where they are found (see
//! `tests/histories.rs`). Times are medians of processor time; the peak is what the check allocated beyond the history itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use harness::check::Verdict;
use harness::check::generate::{Description, generate};
use harness::check::linearizability::{Judgement, Options, judge};
use harness::check::models::{Initial, Model};
use harness::history::calls::{Call, Calls};
use harness::history::import;
use harness::seed::Rng;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The processor time this process has used. Unlike the time on the clock it says the same on a busy machine.
fn used() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    assert_eq!(failed, 0, "the processor time cannot be told");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The median processor time and the median time on the clock.
fn medians(mut run: impl FnMut(), runs: usize) -> (Duration, Duration) {
    let (mut processor, mut clock) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (began, before) = (Instant::now(), used());
        run();
        processor.push(used() - before);
        clock.push(began.elapsed());
    }
    processor.sort_unstable();
    clock.sort_unstable();
    (processor[runs / 2], clock[runs / 2])
}

fn median(run: impl FnMut(), runs: usize) -> Duration {
    medians(run, runs).0
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Sorting the operations by time, from a random order: the yardstick.
fn sorting(calls: &Calls) -> Duration {
    let mut shuffled = calls.calls.clone();
    Rng::new(1, "shuffle").shuffle(&mut shuffled);
    let mut times: Vec<Duration> = (0..3)
        .map(|_| {
            let mut copy: Vec<Call> = shuffled.clone();
            let before = used();
            copy.sort_unstable_by_key(|call| call.invoke);
            let took = used() - before;
            assert!(copy.is_sorted_by_key(|call| call.invoke));
            took
        })
        .collect();
    times.sort_unstable();
    times[1]
}

fn check(calls: &Calls, options: &Options, expected: Verdict) -> Judgement {
    let judgement = judge(calls, options).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(judgement.verdict, expected, "{:?}", judgement.reason);
    judgement
}

fn generated(title: &str, description: &Description, options: &Options) {
    let calls = generate(description);
    let expected = if description.stale { Verdict::Invalid } else { Verdict::Valid };
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let judgement = check(&calls, options, expected);
    let peak = PEAK.load(Relaxed) - before + calls.calls.len() * size_of::<Call>();
    let runs = if calls.calls.len() > 2_000_000 { 3 } else { 7 };
    let (took, clock) = medians(|| drop(check(&calls, options, expected)), runs);
    let sort = sorting(&calls);
    println!(
        "{title:<58} {:>9.3} ms ({:.3} on the clock)  {:>6.1} ns/op  {:>5.2} of sorting ({:.3} ms)  {:>4} B/op{}",
        ms(took),
        ms(clock),
        took.as_nanos() as f64 / calls.calls.len() as f64,
        took.as_secs_f64() / sort.as_secs_f64(),
        ms(sort),
        peak / calls.calls.len(),
        judgement.failure.map_or(String::new(), |failure| format!(
            "  proof of {}{}",
            failure.proof.len(),
            if failure.minimal { "" } else { ", not shown minimal" }
        )),
    );
}

fn registers(huge: bool) {
    println!("\nregisters with distinct values");
    let options = Options::new(Model::Register, Initial::Default);
    let sizes: &[usize] =
        if huge { &[10_000, 100_000, 1_000_000, 10_000_000] } else { &[10_000, 100_000, 1_000_000] };
    for operations in sizes {
        for (clients, unknown_percent, stale) in [(5, 0, false), (50, 0, false), (5, 5, true), (50, 5, true)]
        {
            let description =
                Description { unknown_percent, stale, ..Description::register(*operations, clients, 7) };
            let stale = if stale { ", one stale read" } else { "" };
            let title = format!("{operations} ops, {clients} clients, {unknown_percent}% unknown{stale}");
            generated(&title, &description, &options);
        }
    }
    let description = Description { keys: 1000, ..Description::register(1_000_000, 50, 7) };
    generated("1000000 ops over 1000 keys, 50 clients", &description, &options);
}

fn general() {
    println!("\nthe general search");
    for (operations, clients, stale) in
        [(10_000, 5, false), (100_000, 5, false), (10_000, 10, false), (10_000, 5, true), (100_000, 5, true)]
    {
        let description = Description {
            values: Some(5),
            cas_percent: 20,
            stale,
            ..Description::register(operations, clients, 7)
        };
        let options = Options::new(Model::EtcdCasRegister, Initial::Default);
        let title = format!(
            "{operations} ops, {clients} clients, 5 values, 20% cas{}",
            if stale { ", stale" } else { "" }
        );
        generated(&title, &description, &options);
    }
}

/// A file, how long its check took, how long sorting it took.
type Timed = (String, Duration, Duration);

fn recorded() {
    let folder = std::env::var_os("HARNESS_HISTORIES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/histories"), Into::into);
    let Ok(expected) = std::fs::read_to_string(folder.join("EXPECTED.tsv")) else {
        println!("\nrecorded histories: skipped, {} is absent", folder.display());
        return;
    };
    println!("\nrecorded histories (verdict alone)");
    let mut groups: Vec<(&str, Vec<Timed>)> = Vec::new();
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let calls = import::read(&folder.join(columns[0]), import::Options::default())
            .unwrap_or_else(|why| panic!("{why}"));
        let initial = if columns[2].starts_with('"') {
            Initial::Default
        } else {
            columns[2].parse().unwrap_or_default()
        };
        let model = columns[1].parse().unwrap_or(Model::Register);
        let options = Options { prove: false, ..Options::new(model, initial) };
        let verdict = if columns[3] == "true" { Verdict::Valid } else { Verdict::Invalid };
        let took = median(|| drop(check(&calls, &options, verdict)), 9);
        let sort = sorting(&calls);
        let group = ["etcd", "memstress3-53", "memstress", "c10", "knossos"]
            .into_iter()
            .find(|group| columns[0].contains(group))
            .unwrap_or("others");
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, times)) => times.push((columns[0].to_owned(), took, sort)),
            None => groups.push((group, vec![(columns[0].to_owned(), took, sort)])),
        }
    }
    for (group, times) in groups {
        let total: Duration = times.iter().map(|(_, took, _)| *took).sum();
        let sort: Duration = times.iter().map(|(_, _, sort)| *sort).sum();
        let Some((worst, longest, _)) = times.iter().max_by_key(|(_, took, _)| *took) else { continue };
        println!(
            "{group:<14} {:>3} files {:>9.3} ms in all, {:>6.1} of sorting; worst {:.3} ms ({worst})",
            times.len(),
            ms(total),
            total.as_secs_f64() / sort.as_secs_f64(),
            ms(*longest)
        );
    }
}

fn reading() {
    println!("\nreading history.jsonl (from memory)");
    let calls = generate(&Description { keys: 8, ..Description::register(500_000, 10, 7) });
    let mut events: Vec<(u32, String)> = Vec::new();
    for call in &calls.calls {
        let f = &calls.functions[usize::from(call.f)];
        let key = calls.keys[call.key as usize].to_json();
        let line = |position: u32, kind: &str, value: serde_json::Value| {
            let (process, time) = (call.process, u64::from(position) * 1731);
            format!(
                "{{\"index\":{position},\"time\":{time},\"process\":{process},\"type\":\"{kind}\",\"f\":\"{f}\",\"key\":{key},\"value\":{value},\"node\":\"B\"}}\n"
            )
        };
        events.push((call.invoke, line(call.invoke, "invoke", calls.values.get(call.input).to_json())));
        events.push((call.ret, line(call.ret, "ok", calls.values.get(call.output).to_json())));
    }
    events.sort_unstable_by_key(|(position, _)| *position);
    let text: String = events.iter().map(|(_, line)| line.as_str()).collect();
    let read = || import::read_from(text.as_bytes(), Path::new("memory"), import::Options::default());
    let same = read().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(same.calls.len(), calls.calls.len());
    let took = median(|| drop(read()), 5);
    let lines = median(|| assert_eq!(memchr::memchr_iter(b'\n', text.as_bytes()).count(), events.len()), 5);
    println!(
        "{} events, {} MB: {:.0} MB/s, {:.2} M events/s; counting lines alone takes {:.3} of that",
        events.len(),
        text.len() / 1_000_000,
        text.len() as f64 / took.as_secs_f64() / 1e6,
        events.len() as f64 / took.as_secs_f64() / 1e6,
        lines.as_secs_f64() / took.as_secs_f64()
    );
}

fn main() {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let all = !["--registers", "--recorded", "--reading", "--general"].into_iter().any(asked);
    if all || asked("--registers") {
        registers(asked("--huge"));
    }
    if all || asked("--recorded") {
        recorded();
    }
    if all || asked("--reading") {
        reading();
    }
    if all || asked("--general") {
        general();
    }
}
