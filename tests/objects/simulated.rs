//! Simulated objects that keep their promises are never blamed, and what is then made wrong is found every time.

use std::collections::BTreeSet;

use harness::check::Verdict;
use harness::history::calls::OPEN;
use harness::history::{Outcome, Value};
use harness::seed::Rng;

use super::{Small, check, kinds, list, listed, whole};

const HISTORIES: u64 = 1000;
const OPERATIONS: usize = 60;
const CLIENTS: usize = 5;

/// An object with several copies. Operations take effect at one of them, copies learn from each other now and then.
trait Object {
    /// What a client asks for.
    fn ask(&mut self, rng: &mut Rng) -> (&'static str, Value);
    /// An operation takes effect: what it answers, or `None` when it fails.
    fn act(&mut self, f: &str, input: &Value, rng: &mut Rng) -> Option<Value>;
    /// The copies learn from each other.
    fn gossip(&mut self, _: &mut Rng) {}
    /// What each client asks for when all is over and all copies agree; `None`: nothing more.
    fn finally(&mut self) -> Option<&'static str>;
}

struct Run<'a, T> {
    rng: &'a mut Rng,
    object: T,
    history: Vec<Small>,
    position: u32,
    /// Operations of unknown outcome that may still take effect.
    late: Vec<usize>,
}

impl<T: Object> Run<'_, T> {
    fn tick(&mut self) -> u32 {
        self.position += 1;
        self.position
    }

    fn invoke(&mut self, process: u32, f: &'static str, input: Value) -> usize {
        let invoke = self.tick();
        let output = Value::Nil;
        self.history.push(Small { invoke, ret: OPEN, process, f, input, output, outcome: Outcome::Info });
        self.history.len() - 1
    }

    fn act(&mut self, at: usize) {
        let small = &mut self.history[at];
        match self.object.act(small.f, &small.input, self.rng) {
            Some(answer) => (small.output, small.outcome) = (answer, Outcome::Ok),
            None => small.outcome = Outcome::Fail,
        }
    }

    fn answer(&mut self, at: usize) {
        self.history[at].ret = self.tick();
    }
}

/// A history of `object`; `unknown` of 100 operations have an unknown outcome.
fn simulate(object: impl Object, rng: &mut Rng, unknown: u64) -> Vec<Small> {
    let mut run = Run { rng, object, history: Vec::new(), position: 0, late: Vec::new() };
    // The process, and the operation that is open: not yet done, or done.
    let mut clients: Vec<(u32, Option<(usize, bool)>)> = (0..CLIENTS as u32).map(|at| (at, None)).collect();
    while run.history.len() < OPERATIONS || clients.iter().any(|(_, open)| open.is_some()) {
        let at = run.rng.below(CLIENTS as u64) as usize;
        let (process, open) = clients[at];
        match open {
            None if run.history.len() < OPERATIONS => {
                let (f, input) = run.object.ask(run.rng);
                clients[at].1 = Some((run.invoke(process, f, input), false));
            }
            None => {}
            Some((call, false)) if run.rng.below(100) < unknown => {
                if run.rng.below(3) > 0 {
                    run.late.push(call);
                }
                clients[at] = (run.history.len() as u32 + CLIENTS as u32, None);
            }
            Some((call, false)) => {
                run.act(call);
                clients[at].1 = Some((call, true));
            }
            Some((call, true)) => {
                run.answer(call);
                clients[at].1 = None;
            }
        }
        if run.rng.below(4) == 0 {
            run.object.gossip(run.rng);
        }
        if run.rng.below(20) == 0 && !run.late.is_empty() {
            let late = run.rng.below(run.late.len() as u64) as usize;
            let late = run.late.swap_remove(late);
            run.act(late);
            let small = &mut run.history[late];
            (small.output, small.outcome) = (Value::Nil, Outcome::Info);
        }
    }
    for _ in 0..50 {
        run.object.gossip(run.rng);
    }
    while let Some(f) = run.object.finally() {
        let process = 1000 + run.history.len() as u32;
        let call = run.invoke(process, f, Value::Nil);
        run.act(call);
        run.answer(call);
    }
    run.history
}

/// A set of three copies that agree sooner or later.
#[derive(Default)]
struct Sets {
    copies: [BTreeSet<i64>; 3],
    next: i64,
    last_reads: u32,
}

impl Object for Sets {
    fn ask(&mut self, rng: &mut Rng) -> (&'static str, Value) {
        if rng.below(3) == 0 {
            return ("read", Value::Nil);
        }
        self.next += 1;
        ("add", Value::int(self.next))
    }

    fn act(&mut self, f: &str, input: &Value, rng: &mut Rng) -> Option<Value> {
        let copy = &mut self.copies[rng.below(3) as usize];
        if f == "read" {
            let elements: Vec<i64> = copy.iter().copied().collect();
            return Some(list(&elements));
        }
        if rng.below(20) == 0 {
            return None;
        }
        copy.insert(whole(input));
        Some(input.clone())
    }

    fn gossip(&mut self, rng: &mut Rng) {
        let (from, to) = (rng.below(3) as usize, rng.below(3) as usize);
        let known = self.copies[from].clone();
        self.copies[to].extend(known);
    }

    fn finally(&mut self) -> Option<&'static str> {
        self.last_reads += 1;
        (self.last_reads <= 3).then_some("read")
    }
}

#[derive(Default)]
struct Count {
    sum: i64,
    last_reads: u32,
}

impl Object for Count {
    fn ask(&mut self, rng: &mut Rng) -> (&'static str, Value) {
        match rng.below(4) {
            0 => ("read", Value::Nil),
            1 => ("decrement", Value::int(1 + rng.below(3) as i64)),
            _ => ("add", Value::int(rng.below(9) as i64 - 2)),
        }
    }

    fn act(&mut self, f: &str, input: &Value, rng: &mut Rng) -> Option<Value> {
        match f {
            "read" => return Some(Value::int(self.sum)),
            _ if rng.below(20) == 0 => return None,
            "decrement" => self.sum -= whole(input),
            _ => self.sum += whole(input),
        }
        Some(input.clone())
    }

    fn finally(&mut self) -> Option<&'static str> {
        self.last_reads += 1;
        (self.last_reads == 1).then_some("read")
    }
}

/// A queue that delivers in any order.
#[derive(Default)]
struct Bag {
    held: Vec<i64>,
    next: i64,
    over: bool,
}

impl Object for Bag {
    fn ask(&mut self, rng: &mut Rng) -> (&'static str, Value) {
        if rng.below(2) == 0 {
            return ("dequeue", Value::Nil);
        }
        self.next += 1;
        // Some values are put in twice.
        ("enqueue", Value::int(self.next / 3 * 2 + self.next % 2))
    }

    fn act(&mut self, f: &str, input: &Value, rng: &mut Rng) -> Option<Value> {
        if rng.below(20) == 0 && !self.over {
            return None;
        }
        if f == "enqueue" {
            self.held.push(whole(input));
            return Some(input.clone());
        }
        if self.held.is_empty() {
            return Some(Value::Nil);
        }
        let at = rng.below(self.held.len() as u64) as usize;
        Some(Value::int(self.held.swap_remove(at)))
    }

    fn finally(&mut self) -> Option<&'static str> {
        let drained = self.over && self.held.is_empty() && self.next < 0;
        if self.over && self.held.is_empty() {
            // One more, which finds it empty.
            self.next = -1;
        }
        self.over = true;
        (!drained).then_some("dequeue")
    }
}

#[derive(Default)]
struct Ids {
    next: i64,
}

impl Object for Ids {
    fn ask(&mut self, _: &mut Rng) -> (&'static str, Value) {
        ("generate", Value::Nil)
    }

    fn act(&mut self, _: &str, _: &Value, rng: &mut Rng) -> Option<Value> {
        self.next += 1 + rng.below(3) as i64;
        Some(Value::int(self.next))
    }

    fn finally(&mut self) -> Option<&'static str> {
        None
    }
}

/// Positions of the completed operations of these functions.
fn done(history: &[Small], f: &str) -> Vec<usize> {
    (0..history.len()).filter(|at| history[*at].ok(f)).collect()
}

fn pick(rng: &mut Rng, from: &[usize]) -> usize {
    *rng.pick(from).unwrap()
}

/// Positions of the dequeues that returned something.
fn taken(history: &[Small]) -> Vec<usize> {
    done(history, "dequeue").into_iter().filter(|at| !history[*at].output.is_nil()).collect()
}

/// Breaks a history; the kind of violation that must be found.
type Break = fn(&mut Vec<Small>, &mut Rng) -> &'static str;

/// 1000 histories: none is blamed, and whatever is broken is found.
fn prove<T: Object>(name: &str, new: fn() -> T, unknown: u64, breaks: &[Break]) {
    let mut undecided = 0;
    for seed in 0..HISTORIES {
        let mut rng = Rng::new(seed, name);
        let unknown = if seed % 2 == 0 { unknown } else { 0 };
        let history = simulate(new(), &mut rng, unknown);
        let answer = check(name, &history);
        assert_ne!(answer.verdict, Verdict::Invalid, "seed {seed}: {answer:#?}");
        assert!(unknown > 0 || answer.verdict == Verdict::Valid, "seed {seed}: {:?}", answer.reason);
        undecided += u64::from(answer.verdict == Verdict::Unknown);
        for (number, damage) in breaks.iter().enumerate() {
            let mut broken = history.clone();
            let kind = damage(&mut broken, &mut rng);
            let found = check(name, &broken);
            assert!(kinds(&found).contains(&kind), "seed {seed}, break {number}: no {kind} in {found:#?}");
            // What it is blamed for touches what was broken.
            let changed = |op: &u32| {
                history.get(*op as usize).is_none_or(|was| {
                    let now = &broken[*op as usize];
                    (was.invoke, &was.output) != (now.invoke, &now.output)
                })
            };
            let proof = found.proofs.iter().find(|proof| proof.kind == kind).unwrap();
            assert!(kind == "lost" || proof.ops.iter().any(changed), "seed {seed}: {proof:?}");
        }
    }
    println!("{name}: {undecided} of {HISTORIES} undecided");
    assert!(undecided < HISTORIES / 2, "{name}: {undecided} undecided");
}

fn change(small: &mut Small, change: impl FnOnce(&mut Vec<i64>)) {
    let mut elements = listed(&small.output);
    change(&mut elements);
    small.output = list(&elements);
}

#[test]
fn sets() {
    let lost: Break = |history, rng| {
        let add = pick(rng, &done(history, "add"));
        let (element, reads) = (whole(&history[add].input), done(history, "read"));
        let from = rng.below(reads.len() as u64) as usize;
        for read in &reads[from..] {
            change(&mut history[*read], |elements| elements.retain(|other| *other != element));
        }
        "lost"
    };
    let from_nowhere: Break = |history, rng| {
        let read = pick(rng, &done(history, "read"));
        change(&mut history[read], |elements| elements.push(99_999));
        "phantom"
    };
    let before_its_time: Break = |history, _| {
        let (first, last) = (done(history, "read")[0], *done(history, "add").last().unwrap());
        let early = whole(&history[last].input);
        assert!(history[last].invoke > history[first].ret);
        change(&mut history[first], |elements| elements.push(early));
        "phantom"
    };
    let twice: Break = |history, rng| {
        let reads = done(history, "read");
        let some: Vec<usize> =
            reads.into_iter().filter(|at| !listed(&history[*at].output).is_empty()).collect();
        let read = pick(rng, &some);
        change(&mut history[read], |elements| {
            let again = elements[rng.below(elements.len() as u64) as usize];
            elements.push(again);
        });
        "duplicated"
    };
    prove("set", Sets::default, 5, &[lost, from_nowhere, before_its_time, twice]);
}

/// More than all additions of unknown outcome together can explain.
fn beyond(history: &[Small], rng: &mut Rng) -> i64 {
    let unknown = history.iter().filter(|small| small.f != "read" && small.outcome == Outcome::Info);
    1 + rng.below(3) as i64 + unknown.map(|small| whole(&small.input).abs()).sum::<i64>()
}

#[test]
fn counters() {
    let low: Break = |history, rng| {
        let by = beyond(history, rng);
        let last = history.last_mut().unwrap();
        last.output = Value::int(whole(&last.output) - by);
        "too-low"
    };
    let high: Break = |history, rng| {
        let by = beyond(history, rng);
        let last = history.last_mut().unwrap();
        last.output = Value::int(whole(&last.output) + by);
        "too-high"
    };
    prove("counter", Count::default, 5, &[low, high]);
}

#[test]
fn ids() {
    let again: Break = |history, rng| {
        let all = done(history, "generate");
        let at = 1 + rng.below(all.len() as u64 - 1) as usize;
        history[all[at]].output = history[all[rng.below(at as u64) as usize]].output.clone();
        "duplicated"
    };
    prove("unique-ids", Ids::default, 5, &[again]);
}

#[test]
fn queues() {
    /// Takes away more dequeues than those of unknown outcome can account for.
    fn vanish(history: &mut Vec<Small>, taken: Vec<usize>, rng: &mut Rng) -> &'static str {
        // Where the enqueue was not acknowledged nothing is lost: take from those that were.
        let unacknowledged: BTreeSet<Value> = history
            .iter()
            .filter(|small| small.f == "enqueue" && small.outcome == Outcome::Info)
            .map(|small| small.input.clone())
            .collect();
        let mut known: Vec<usize> =
            taken.into_iter().filter(|at| !unacknowledged.contains(&history[*at].output)).collect();
        rng.shuffle(&mut known);
        let unknown =
            history.iter().filter(|small| small.f == "dequeue" && small.outcome == Outcome::Info).count();
        known.truncate(unknown + 1);
        known.sort_unstable();
        for at in known.into_iter().rev() {
            history.remove(at);
        }
        "lost"
    }
    let lost: Break = |history, rng| {
        let taken = taken(history);
        vanish(history, taken, rng)
    };
    let again: Break = |history, _| {
        let taken = taken(history);
        // As often as it was put in, and once more.
        let value = history[taken[0]].output.clone();
        let put = history.iter().filter(|small| small.f == "enqueue" && small.input == value).count();
        for at in taken.iter().rev().take(put + 1) {
            history[*at].output = value.clone();
        }
        "duplicated"
    };
    let from_nowhere: Break = |history, rng| {
        let taken = taken(history);
        history[pick(rng, &taken)].output = Value::int(99_999);
        "phantom"
    };
    prove("queue", Bag::default, 3, &[lost, again, from_nowhere]);
}
