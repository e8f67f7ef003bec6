//! Each check against its definition, tried out literally on small random histories: every read against every element,
//! every subset of additions, every way to give each dequeue its enqueue.

use std::collections::BTreeSet;

use harness::check::Verdict;
use harness::check::linearizability::{Options, judge};
use harness::check::models::{Initial, Model};
use harness::check::plain::{Answer, Proof};
use harness::history::calls::OPEN;
use harness::history::{Outcome, Value};
use harness::seed::Rng;

use super::{Small, check, compact, kinds, list, listed, stat, whole};

const HISTORIES: u64 = 10_000;
const VALUES: i64 = 3;

/// Up to eight operations on a line of distinct positions; `say` gives each its function and values.
fn random(rng: &mut Rng, say: impl Fn(&mut Rng) -> (&'static str, Value, Value)) -> Vec<Small> {
    let count = 1 + rng.below(8);
    let mut ends: Vec<(u64, u64)> = Vec::new();
    for at in 0..count {
        let start = rng.below(20);
        ends.push((start, at));
        ends.push((start + 1 + rng.below(8), at));
    }
    ends.sort_unstable();
    let place = |at: u64, last: bool| {
        let mut places = (0..ends.len()).filter(|place| ends[*place].1 == at);
        if last { places.next_back() } else { places.next() }.unwrap() as u32
    };
    let mut all: Vec<Small> = (0..count)
        .map(|at| {
            let (f, input, output) = say(rng);
            let outcome = match rng.below(9) {
                0 => Outcome::Fail,
                1 | 2 => Outcome::Info,
                _ => Outcome::Ok,
            };
            let ret = if outcome == Outcome::Info { OPEN } else { place(at, true) };
            Small { invoke: place(at, false), ret, process: at as u32, f, input, output, outcome }
        })
        .collect();
    all.sort_by_key(|small| small.invoke);
    all
}

/// Runs `compare` on many random histories; how often each verdict came.
fn compare(
    label: &str,
    say: impl Fn(&mut Rng) -> (&'static str, Value, Value) + Copy,
    compare: impl Fn(&[Small]) -> Verdict,
) {
    let mut verdicts = [0; 3];
    for seed in 0..HISTORIES {
        let history = random(&mut Rng::new(seed, label), say);
        verdicts[compare(&history) as usize] += 1;
    }
    println!("{label}: {verdicts:?} valid, unknown, invalid");
    assert!(verdicts.iter().all(|count| *count >= 300), "{label}: {verdicts:?} valid, unknown, invalid");
}

/// The violations `kind` of a history, of which only `kept` are as they were.
fn with_only(name: &str, kind: &str, history: &[Small], kept: &[u32]) -> bool {
    let relax = |(at, small): (usize, &Small)| {
        if kept.contains(&(at as u32)) { small.clone() } else { small.relaxed() }
    };
    let relaxed: Vec<Small> = history.iter().enumerate().map(relax).collect();
    kinds(&check(name, &relaxed)).contains(&kind)
}

/// With everything else relaxed a proof stays one, and with any one of its operations relaxed too it does not.
fn minimal_when_relaxed(name: &str, proof: &Proof, history: &[Small]) {
    assert!(with_only(name, proof.kind, history, &proof.ops), "no proof: {proof:?} of {history:#?}");
    for needless in &proof.ops {
        let rest: Vec<u32> = proof.ops.iter().copied().filter(|op| op != needless).collect();
        assert!(!with_only(name, proof.kind, history, &rest), "{needless}: {proof:?} of {history:#?}");
    }
}

/// A linearizable object is never blamed.
fn innocent(model: Model, answer: &Answer, history: &[Small]) {
    let mut options = Options::new(model, Initial::Default);
    options.prove = false;
    if judge(&compact(history), &options).unwrap().verdict == Verdict::Valid {
        assert_ne!(answer.verdict, Verdict::Invalid, "{answer:#?} of {history:#?}");
    }
}

// ---- set ----

fn say_set(rng: &mut Rng) -> (&'static str, Value, Value) {
    let value = Value::int(rng.below(VALUES as u64) as i64);
    match rng.below(16) {
        0..=6 => ("add", value.clone(), value),
        7 => ("remove", value.clone(), value),
        8 => ("read", Value::Nil, Value::Nil),
        9 => ("read", Value::Nil, list(&[1, 0, 1])),
        _ => {
            let mask = rng.below(8);
            let elements: Vec<i64> = (0..VALUES).filter(|element| mask >> element & 1 == 1).collect();
            ("read", Value::Nil, list(&elements))
        }
    }
}

#[derive(Default, PartialEq, Eq, Debug)]
struct SetFound {
    lost: u64,
    phantom: u64,
    duplicated: u64,
    stale: u64,
    never_read: u64,
    removed: u64,
}

fn set_by_definition(history: &[Small]) -> (SetFound, Verdict) {
    let mut found = SetFound::default();
    let reads: Vec<&Small> = history.iter().filter(|small| small.ok("read")).collect();
    let mut judged = 0;
    for value in 0..VALUES {
        let of = |f: &'static str| {
            history.iter().filter(move |small| small.f == f && small.input == Value::int(value))
        };
        let shows = |read: &&&Small| listed(&read.output).contains(&value);
        let lacks = |read: &&&Small| !listed(&read.output).contains(&value);
        let acknowledged = of("add").filter(|add| add.outcome == Outcome::Ok).map(|add| add.ret).min();
        let first_seen = reads.iter().filter(shows).map(|read| read.ret).min();
        let Some(known) = acknowledged.into_iter().chain(first_seen).min() else { continue };
        let twice = |read: &&&Small| listed(&read.output).iter().filter(|item| **item == value).count() > 1;
        found.duplicated += u64::from(reads.iter().any(|read| twice(&read)));
        found.phantom += u64::from(
            reads
                .iter()
                .filter(shows)
                .any(|read| !of("add").any(|add| add.outcome != Outcome::Fail && add.invoke < read.ret)),
        );
        if of("remove").any(|remove| remove.outcome != Outcome::Fail) {
            found.removed += 1;
            continue;
        }
        let without: Vec<&&Small> = reads.iter().filter(lacks).filter(|read| read.invoke > known).collect();
        let lost = without.iter().any(|read| {
            reads.iter().all(|other| other.invoke <= read.invoke)
                && reads.iter().filter(shows).all(|seen| seen.ret < read.invoke)
        });
        let never = first_seen.is_none() && reads.iter().all(|read| read.invoke < known);
        judged += u64::from(!reads.is_empty());
        found.lost += u64::from(lost);
        found.stale += u64::from(!without.is_empty() && !lost);
        found.never_read += u64::from(never);
    }
    let verdict = if found.lost + found.phantom + found.duplicated > 0 {
        Verdict::Invalid
    } else if reads.is_empty() || found.never_read > 0 || judged == 0 {
        Verdict::Unknown
    } else {
        Verdict::Valid
    };
    (found, verdict)
}

#[test]
fn set() {
    compare("set", say_set, |history| {
        let answer = check("set", history);
        let found = SetFound {
            lost: stat(&answer, "lost"),
            phantom: stat(&answer, "phantom"),
            duplicated: stat(&answer, "duplicated"),
            stale: stat(&answer, "stale"),
            never_read: stat(&answer, "never_read"),
            removed: stat(&answer, "removed"),
        };
        let (expected, verdict) = set_by_definition(history);
        assert_eq!(found, expected, "{history:#?}");
        assert_eq!(answer.verdict, verdict, "{:?} {history:#?}", answer.reason);
        assert_eq!(answer.total, found.lost + found.phantom + found.duplicated);
        if found.duplicated == 0 {
            innocent(Model::Set, &answer, history);
        }
        for proof in &answer.proofs {
            if proof.kind != "lost" {
                minimal_when_relaxed("set", proof, history);
                continue;
            }
            // That nobody saw it later is no operation: the two alone are the proof, and neither without the other.
            let alone = |ops: &[u32]| {
                let kept: Vec<Small> = ops.iter().map(|op| history[*op as usize].clone()).collect();
                set_by_definition(&kept).0.lost > 0
            };
            assert!(alone(&proof.ops) && !alone(&proof.ops[..1]) && !alone(&proof.ops[1..]), "{proof:?}");
        }
        answer.verdict
    });
}

// ---- counter ----

fn say_counter(rng: &mut Rng) -> (&'static str, Value, Value) {
    match rng.below(12) {
        0..=4 => ("read", Value::Nil, Value::int(rng.between(0, 8) as i64 - 4)),
        5 => ("increment", Value::Nil, Value::Nil),
        6 => ("decrement", Value::int(2), Value::Nil),
        _ => ("add", Value::int(rng.between(0, 6) as i64 - 3), Value::Nil),
    }
}

fn amount(small: &Small) -> i64 {
    match small.f {
        "increment" => 1,
        "decrement" => -whole(&small.input),
        _ => whole(&small.input),
    }
}

#[test]
fn counter() {
    compare("counter", say_counter, |history| {
        let answer = check("counter", history);
        let (mut low, mut high) = (0, 0);
        let additions: Vec<&Small> = history.iter().filter(|small| small.f != "read").collect();
        let reads: Vec<&Small> = history.iter().filter(|small| small.ok("read")).collect();
        for read in &reads {
            let possible: Vec<&&Small> = additions
                .iter()
                .filter(|add| add.outcome != Outcome::Fail && add.invoke < read.ret)
                .collect();
            // Every choice of what the read took in.
            let mut sums = BTreeSet::new();
            for choice in 0..1_u32 << possible.len() {
                let taken = |at: &usize| choice >> at & 1 == 1;
                let certain =
                    |at: &usize| possible[*at].outcome == Outcome::Ok && possible[*at].ret < read.invoke;
                if (0..possible.len()).all(|at| taken(&at) || !certain(&at)) {
                    sums.insert(
                        (0..possible.len()).filter(taken).map(|at| amount(possible[at])).sum::<i64>(),
                    );
                }
            }
            low += u64::from(whole(&read.output) < *sums.first().unwrap());
            high += u64::from(whole(&read.output) > *sums.last().unwrap());
        }
        let nothing = reads.is_empty() || additions.iter().all(|add| add.outcome == Outcome::Fail);
        let verdict = match low + high {
            1.. => Verdict::Invalid,
            0 if nothing => Verdict::Unknown,
            0 => Verdict::Valid,
        };
        assert_eq!(answer.verdict, verdict, "{:?} {history:#?}", answer.reason);
        assert_eq!(answer.total, low + high, "{history:#?}");
        assert_eq!(kinds(&answer).contains(&"too-low"), low > 0);
        assert_eq!(kinds(&answer).contains(&"too-high"), high > 0);
        innocent(Model::Counter, &answer, history);
        for proof in &answer.proofs {
            minimal_when_relaxed("counter", proof, history);
        }
        answer.verdict
    });
}

// ---- unique ids ----

#[test]
fn unique_ids() {
    let say = |rng: &mut Rng| ("generate", Value::Nil, Value::int(rng.below(12) as i64));
    compare("unique-ids", say, |history| {
        let answer = check("unique-ids", history);
        let issued: Vec<&Small> = history.iter().filter(|small| small.ok("generate")).collect();
        let mut pairs = 0;
        for (at, one) in issued.iter().enumerate() {
            pairs += issued[..at].iter().filter(|other| other.output == one.output).count();
        }
        let verdict = match pairs {
            1.. => Verdict::Invalid,
            0 if issued.len() < 2 => Verdict::Unknown,
            0 => Verdict::Valid,
        };
        assert_eq!(answer.verdict, verdict, "{history:#?}");
        for proof in &answer.proofs {
            assert_eq!(proof.ops.len(), 2);
            minimal_when_relaxed("unique-ids", proof, history);
        }
        answer.verdict
    });
}

// ---- queue ----

fn say_queue(rng: &mut Rng) -> (&'static str, Value, Value) {
    let value = Value::int(rng.below(VALUES as u64) as i64);
    match rng.below(16) {
        0..=6 => ("enqueue", value.clone(), value),
        7..=11 => ("dequeue", Value::Nil, value),
        12 => ("drain", Value::Nil, list(&[1, 1])),
        13 => ("drain", Value::Nil, list(&[2])),
        _ => ("dequeue", Value::Nil, Value::Nil),
    }
}

/// A place an enqueued element may have gone to.
#[derive(Clone, Copy)]
enum Taker {
    /// It returned this; when it completed.
    Known(i64, u32),
    /// Anything, once.
    Unknown,
    /// Anything, any number of times.
    Everything,
}

/// The most of `put` (value, invoked) that can each go to a taker of its own, tried out.
fn most(put: &[(i64, u32)], takers: &[Taker], free: &mut Vec<bool>) -> usize {
    let Some(((value, invoked), rest)) = put.split_first() else { return 0 };
    let mut best = most(rest, takers, free);
    for at in 0..takers.len() {
        let fits = match takers[at] {
            Taker::Known(of, until) => of == *value && *invoked < until,
            Taker::Unknown | Taker::Everything => true,
        };
        if free[at] && fits {
            free[at] = matches!(takers[at], Taker::Everything);
            best = best.max(1 + most(rest, takers, free));
            free[at] = true;
        }
    }
    best
}

#[derive(Default, PartialEq, Eq, Debug)]
struct QueueFound {
    lost: u64,
    phantom: u64,
    duplicated: u64,
    /// Acknowledged elements whose fate nobody knows.
    open: u64,
}

fn queue_by_definition(history: &[Small]) -> (QueueFound, Verdict) {
    let mut found = QueueFound::default();
    let mut takers = Vec::new();
    for small in history {
        match (small.f, small.outcome) {
            ("dequeue", Outcome::Ok) if !small.output.is_nil() => {
                takers.push(Taker::Known(whole(&small.output), small.ret));
            }
            ("drain", Outcome::Ok) => {
                takers.extend(listed(&small.output).into_iter().map(|value| Taker::Known(value, small.ret)));
            }
            ("dequeue", Outcome::Info) => takers.push(Taker::Unknown),
            ("drain", Outcome::Info) => takers.push(Taker::Everything),
            _ => {}
        }
    }
    let puts = |wanted: &dyn Fn(&Small) -> bool| -> Vec<(i64, u32)> {
        let put = history.iter().filter(|small| small.f == "enqueue" && wanted(small));
        put.map(|small| (whole(&small.input), small.invoke)).collect()
    };
    for value in 0..VALUES {
        let known: Vec<Taker> = takers
            .iter()
            .copied()
            .filter(|taker| matches!(taker, Taker::Known(of, _) if *of == value))
            .collect();
        let put = puts(&|small| small.outcome != Outcome::Fail && small.input == Value::int(value));
        let from_nowhere =
            |taker: &Taker| matches!(taker, Taker::Known(_, until) if put.iter().all(|(_, at)| at > until));
        if known.iter().any(from_nowhere) {
            found.phantom += 1;
        } else if most(&put, &known, &mut vec![true; known.len()]) < known.len() {
            found.duplicated += 1;
        }
    }
    // What was taken, whenever: for losses the order does not count.
    let any_time = |taker: &Taker| match taker {
        Taker::Known(value, _) => Taker::Known(*value, OPEN),
        other => *other,
    };
    let takers: Vec<Taker> = takers.iter().map(any_time).collect();
    let known: Vec<Taker> =
        takers.iter().copied().filter(|taker| matches!(taker, Taker::Known(..))).collect();
    let empty = |small: &&Small| small.ok("drain") || small.ok("dequeue") && small.output.is_nil();
    let last = history.iter().filter(empty).map(|small| small.invoke).max();
    let before = puts(&|small| small.outcome == Outcome::Ok && last.is_some_and(|last| small.ret < last));
    found.lost = (before.len() - most(&before, &takers, &mut vec![true; takers.len()])) as u64;
    let all = puts(&|small| small.outcome == Outcome::Ok);
    found.open = (all.len() - most(&all, &known, &mut vec![true; known.len()])) as u64 - found.lost;
    let verdict = if found.lost + found.phantom + found.duplicated > 0 {
        Verdict::Invalid
    } else if known.is_empty() && last.is_none()
        || puts(&|small| small.outcome != Outcome::Fail).is_empty()
        || found.open > 0
    {
        Verdict::Unknown
    } else {
        Verdict::Valid
    };
    (found, verdict)
}

#[test]
fn queue() {
    compare("queue", say_queue, |history| {
        let answer = check("queue", history);
        let found = QueueFound {
            lost: stat(&answer, "lost"),
            phantom: stat(&answer, "phantom"),
            duplicated: stat(&answer, "duplicated"),
            open: stat(&answer, "unaccounted") + stat(&answer, "not_drained"),
        };
        let (expected, verdict) = queue_by_definition(history);
        assert_eq!(found, expected, "{history:#?}");
        assert_eq!(answer.verdict, verdict, "{:?} {history:#?}", answer.reason);
        if history.iter().all(|small| small.f != "drain") {
            innocent(Model::Queue, &answer, history);
        }
        for proof in &answer.proofs {
            if proof.kind != "lost" {
                minimal_when_relaxed("queue", proof, history);
                continue;
            }
            // Without any enqueue but those of the proof something is lost, and without one of them nothing is.
            let alone = |ops: &[u32]| {
                let kept =
                    |(at, small): &(usize, &Small)| small.f != "enqueue" || ops.contains(&(*at as u32));
                let kept: Vec<Small> =
                    history.iter().enumerate().filter(kept).map(|(_, small)| small.clone()).collect();
                queue_by_definition(&kept).0.lost > 0
            };
            assert!(alone(&proof.ops), "{proof:?} of {history:#?}");
            for needless in proof.ops.iter().filter(|op| history[**op as usize].f == "enqueue") {
                let rest: Vec<u32> = proof.ops.iter().copied().filter(|op| op != needless).collect();
                assert!(!alone(&rest), "{needless}: {proof:?} of {history:#?}");
            }
        }
        answer.verdict
    });
}
