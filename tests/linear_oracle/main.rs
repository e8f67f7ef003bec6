//! The linearizability engines against an exhaustive oracle that shares nothing with them: no specification, no
//! memo, no pruning. It tries every order that real time allows, with every choice of which operations of unknown
//! outcome happened. In [`sequential`] the same for orders that real time does not bind.

mod sequential;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use harness::check::Verdict;
use harness::check::generate::{Description, generate};
use harness::check::linearizability::{Options, judge};
use harness::check::models::{Initial, Model};
use harness::history::calls::{Call, Calls, OPEN, ValueId};
use harness::history::{Outcome, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// One random operation: where it begins, how long it takes, what it is, how it ends.
#[derive(Clone, Debug)]
struct Draw {
    start: u8,
    length: u8,
    f: u8,
    a: i64,
    b: i64,
    outcome: Outcome,
}

/// An operation as drawn.
#[derive(Clone, Debug)]
struct Small {
    invoke: u32,
    ret: u32,
    f: &'static str,
    input: Value,
    output: Value,
    outcome: Outcome,
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let outcome = prop_oneof![6 => Just(Outcome::Ok), 1 => Just(Outcome::Fail), 2 => Just(Outcome::Info)];
    let one = (0..20_u8, 0..8_u8, 0..8_u8, 0..3_i64, 0..3_i64, outcome);
    prop::collection::vec(one, 1..=8).prop_map(|all| {
        let draw = |(start, length, f, a, b, outcome)| Draw { start, length, f, a, b, outcome };
        all.into_iter().map(draw).collect()
    })
}

fn int(value: i64) -> Value {
    Value::int(value)
}

fn json(text: String) -> Value {
    Value::Json(text.into())
}

/// Function, input and output of a draw.
fn word(model: Model, draw: &Draw) -> (&'static str, Value, Value) {
    let (a, b) = (draw.a, draw.b);
    match (model, draw.f) {
        (Model::Register | Model::CasRegister | Model::EtcdCasRegister, 0..=2) => {
            ("read", Value::Nil, int(a))
        }
        (Model::Register | Model::CasRegister | Model::EtcdCasRegister, 3) if b == 0 => {
            ("read", Value::Nil, Value::Nil)
        }
        (Model::CasRegister | Model::EtcdCasRegister, 6..) => {
            let pair = json(format!("[{a},{b}]"));
            ("cas", pair.clone(), pair)
        }
        (Model::Register | Model::CasRegister | Model::EtcdCasRegister, _) => ("write", int(a), int(a)),
        (Model::MultiRegister, f) => {
            let micro = |what: u8, name: &str, value: i64| match what {
                0 => format!("[\"read\",\"{name}\",{value}]"),
                1 => format!("[\"read\",\"{name}\",null]"),
                _ => format!("[\"write\",\"{name}\",{value}]"),
            };
            let parts = match f {
                0 => vec![micro(0, "x", a)],
                1 => vec![micro(0, "x", a), micro(0, "y", b)],
                2 => vec![micro(2, "x", a)],
                3 => vec![micro(2, "y", b)],
                4 => vec![micro(2, "x", a), micro(2, "y", b)],
                5 => vec![micro(0, "y", b), micro(2, "y", a)],
                6 => vec![micro(1, "x", 0), micro(0, "y", b)],
                _ => vec![micro(2, "y", a), micro(0, "y", b)],
            };
            let value = json(format!("[{}]", parts.join(",")));
            ("txn", value.clone(), value)
        }
        (Model::KvAppend, f) => {
            let texts = ["", "a", "b", "ab", "ba", "aa"];
            let text = Value::Text(texts[((a * 3 + b) as usize) % texts.len()].into());
            match f {
                0..=3 => ("get", Value::Nil, text),
                4 => ("put", text.clone(), text),
                _ => {
                    let tail = Value::Text(["a", "b", ""][a as usize].into());
                    ("append", tail.clone(), tail)
                }
            }
        }
        (Model::Counter, 0..=3) => ("read", Value::Nil, int(a + b - 1)),
        (Model::Counter, _) => ("add", int(a - 1), int(a - 1)),
        (Model::Set, 0..=3) => {
            let elements: Vec<String> = [0, 1, 2]
                .iter()
                .filter(|element| (a * 3 + b) >> **element & 1 == 1)
                .map(|element: &i64| element.to_string())
                .collect();
            ("read", Value::Nil, json(format!("[{}]", elements.join(","))))
        }
        (Model::Set, 4..=6) => ("add", int(a), int(a)),
        (Model::Set, _) => ("remove", int(a), int(a)),
        (Model::Queue, 0..=2) => ("dequeue", Value::Nil, int(a)),
        (Model::Queue, 3) => ("dequeue", Value::Nil, Value::Nil),
        (Model::Queue, _) => ("enqueue", int(a), int(a)),
        (Model::Mutex, f) => (if f % 2 == 0 { "acquire" } else { "release" }, Value::Nil, Value::Nil),
    }
}

/// Places draws on a line of distinct positions.
fn history(model: Model, draws: &[Draw], distinct: bool) -> Vec<Small> {
    let mut ends: Vec<(u32, usize, bool)> = Vec::new();
    for (at, draw) in draws.iter().enumerate() {
        let start = u32::from(draw.start) * 2;
        ends.push((start, at, false));
        ends.push((start + 1 + u32::from(draw.length) * 2, at, true));
    }
    ends.sort_unstable();
    let mut all: Vec<Small> = Vec::new();
    let mut writes = 0;
    for (at, draw) in draws.iter().enumerate() {
        let (mut f, mut input, mut output) = word(model, draw);
        if distinct && f == "write" {
            writes += 1;
            input = int(writes);
            output = input.clone();
            if writes > 3 {
                (f, input, output) = ("read", Value::Nil, int(draw.a + 1));
            }
        } else if distinct && f == "read" && draw.b > 0 {
            output = int(draw.a + 1);
        }
        let position = |end| ends.iter().position(|found| *found == (found.0, at, end)).unwrap() as u32;
        let ret = if draw.outcome == Outcome::Info { OPEN } else { position(true) };
        all.push(Small { invoke: position(false), ret, f, input, output, outcome: draw.outcome });
    }
    all.sort_by_key(|small| small.invoke);
    all
}

fn compact(history: &[Small]) -> Calls {
    let mut calls = Calls::new();
    for (process, small) in history.iter().enumerate() {
        let call = Call {
            process: process as u32,
            key: 0,
            input: calls.values.intern(small.input.clone()),
            output: if small.outcome == Outcome::Ok {
                calls.values.intern(small.output.clone())
            } else {
                calls.values.intern(Value::Nil)
            },
            invoke: small.invoke,
            ret: small.ret,
            f: calls.function(small.f),
            outcome: small.outcome,
        };
        calls.calls.push(call);
    }
    calls
}

// ---- the oracle ----

/// The state of any of the objects.
type State = Vec<i64>;

const NIL: i64 = -99;

/// A value as plain numbers: a string's bytes, a list's elements, a transaction's (write?, register, value) in a row.
fn plain(value: &Value) -> State {
    fn flat(json: &serde_json::Value, into: &mut State) {
        match json {
            serde_json::Value::Array(items) => items.iter().for_each(|item| flat(item, into)),
            serde_json::Value::String(name) => into.push(i64::from(name == "write" || name == "y")),
            serde_json::Value::Null => into.push(NIL),
            number => into.push(number.as_i64().unwrap()),
        }
    }
    let mut numbers = Vec::new();
    match value {
        Value::Text(text) => numbers.extend(text.bytes().map(i64::from)),
        other => flat(&other.to_json(), &mut numbers),
    }
    numbers
}

/// An operation in the oracle's own words.
#[derive(Clone, Debug)]
struct Plain {
    invoke: u32,
    ret: u32,
    f: &'static str,
    input: State,
    output: State,
    outcome: Outcome,
}

fn start(model: Model) -> State {
    match model {
        Model::MultiRegister => vec![0, 0],
        Model::Counter => vec![0],
        Model::KvAppend | Model::Set | Model::Queue | Model::Mutex => vec![],
        _ => vec![NIL],
    }
}

/// What an operation of known or unknown result does; `None` if it cannot.
fn apply(model: Model, state: &State, op: &Plain) -> Option<State> {
    let known = op.outcome == Outcome::Ok;
    let holds = |wanted: bool, next: State| wanted.then_some(next);
    let same = || state.clone();
    let sees = || holds(!known || *state == op.output, state.clone());
    match (model, op.f) {
        (Model::CasRegister, "read") if op.output == [NIL] => Some(same()),
        (_, "read" | "get") => sees(),
        (_, "write" | "put") => Some(op.input.clone()),
        (_, "cas") if op.outcome == Outcome::Fail => holds(state[0] != op.input[0], same()),
        (_, "cas") => holds(state[0] == op.input[0], vec![op.input[1]]),
        (_, "txn") => {
            let mut next = same();
            for micro in if known { &op.output } else { &op.input }.chunks(3) {
                let register = &mut next[micro[1] as usize];
                if micro[0] == 1 {
                    *register = micro[2];
                } else if known && micro[2] != NIL && *register != micro[2] {
                    return None;
                }
            }
            Some(next)
        }
        (_, "append") => Some([same(), op.input.clone()].concat()),
        (Model::Counter, _) => Some(vec![state[0] + op.input[0]]),
        (Model::Set, f) => {
            let mut elements: BTreeSet<i64> = state.iter().copied().collect();
            if f == "add" {
                elements.insert(op.input[0])
            } else {
                elements.remove(&op.input[0])
            };
            Some(elements.into_iter().collect())
        }
        (_, "enqueue") => Some([same(), op.input.clone()].concat()),
        (_, "dequeue") if !known => Some(state.iter().skip(1).copied().collect()),
        (_, "dequeue") if op.output == [NIL] => holds(state.is_empty(), same()),
        (_, "dequeue") => holds(state.first() == op.output.first(), state.iter().skip(1).copied().collect()),
        (Model::Mutex, "acquire") => holds(state.is_empty(), vec![1]),
        (Model::Mutex, _) => holds(!state.is_empty(), vec![]),
        _ => unreachable!("{} {}", model, op.f),
    }
}

fn put_plainly(op: &Small) -> Plain {
    Plain {
        invoke: op.invoke,
        ret: op.ret,
        f: op.f,
        input: plain(&op.input),
        output: plain(&op.output),
        outcome: op.outcome,
    }
}

/// Whether some order is legal.
fn legal(model: Model, history: &[Small]) -> bool {
    let says_something =
        |op: &&Small| op.outcome != Outcome::Fail || op.f == "cas" && model == Model::EtcdCasRegister;
    let ops: Vec<Plain> = history.iter().filter(says_something).map(put_plainly).collect();
    order(model, &start(model), &mut vec![false; ops.len()], &ops)
}

/// Whether what is not `placed` yet can go on from `state`.
fn order(model: Model, state: &State, placed: &mut [bool], ops: &[Plain]) -> bool {
    let due = |at: &usize| !placed[*at] && ops[*at].outcome != Outcome::Info;
    let Some(first_end) = (0..ops.len()).filter(due).map(|at| ops[at].ret).min() else { return true };
    for at in 0..ops.len() {
        if !placed[at]
            && ops[at].invoke < first_end
            && let Some(next) = apply(model, state, &ops[at])
        {
            placed[at] = true;
            let found = order(model, &next, placed, ops);
            placed[at] = false;
            if found {
                return true;
            }
        }
    }
    false
}

/// The history with everything outside `kept` relaxed.
fn relaxed(history: &[Small], kept: &[u32]) -> Vec<Small> {
    let relax = |(at, op): (usize, &Small)| {
        let mut op = op.clone();
        if !kept.contains(&(at as u32)) {
            op.outcome = Outcome::Info;
            op.ret = OPEN;
        }
        op
    };
    history.iter().enumerate().map(relax).collect()
}

// ---- the comparison ----

fn initial(model: Model) -> Initial {
    match model {
        Model::MultiRegister => "x=0,y=0".parse().unwrap(),
        _ => Initial::Default,
    }
}

/// Compares on `cases` random histories; how many were valid and how many invalid.
fn compare(model: Model, distinct: bool, search_only: bool, cases: u32) -> (u32, u32) {
    let (valid, invalid) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&draws(), |draws| {
        let history = history(model, &draws, distinct);
        let calls = compact(&history);
        let mut options = Options::new(model, initial(model));
        options.proof_time = Duration::from_secs(300);
        options.search_only = search_only;
        let judgement = judge(&calls, &options).unwrap();
        let expected = legal(model, &history);
        let counter = if expected { &valid } else { &invalid };
        counter.set(counter.get() + 1);
        let verdict = if expected { Verdict::Valid } else { Verdict::Invalid };
        prop_assert_eq!(judgement.verdict, verdict, "{:#?}", history);
        if distinct || search_only {
            prop_assert_eq!(judgement.keys_by_zones == 1, !search_only);
        }
        if let Some(failure) = judgement.failure {
            prop_assert!(failure.minimal);
            // Each operation has a process of its own, so the sentence names operations. Of one outside the proof nothing
            // is known but that it had begun.
            for named in named(&failure.story) {
                let begun = format!("p{named} began to write");
                prop_assert!(
                    failure.proof.contains(&named) || failure.story.contains(&begun),
                    "{:?} of {:#?}",
                    failure,
                    history
                );
            }
            prop_assert!(
                !legal(model, &relaxed(&history, &failure.proof)),
                "no proof: {:?} of {:#?}",
                failure,
                history
            );
            for needless in &failure.proof {
                let without: Vec<u32> = failure.proof.iter().copied().filter(|op| op != needless).collect();
                prop_assert!(
                    legal(model, &relaxed(&history, &without)),
                    "{} needless: {:?} of {:#?}",
                    needless,
                    failure,
                    history
                );
            }
            if distinct && !search_only {
                prop_assert!(failure.proof.len() <= 4);
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{model}: {error}");
    }
    println!("{model}: {} valid, {} invalid", valid.get(), invalid.get());
    (valid.get(), invalid.get())
}

/// The processes that a sentence names.
fn named(story: &str) -> Vec<u32> {
    let words = story.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('p')?.parse().ok()).collect()
}

fn both_occur(model: Model, distinct: bool, search_only: bool) {
    let (valid, invalid) = compare(model, distinct, search_only, 10_000);
    assert!(valid >= 1000 && invalid >= 1000, "{model}: {valid} valid, {invalid} invalid");
}

#[test]
fn zones_of_distinct_values() {
    both_occur(Model::Register, true, false);
}

#[test]
fn zones_where_nil_was_not_recorded() {
    // Compare-and-set is not for zones: only reads and writes are drawn, and `nil` says nothing.
    let (valid, invalid) = compare_without_cas(10_000);
    assert!(valid >= 1000 && invalid >= 1000, "{valid} valid, {invalid} invalid");
}

fn compare_without_cas(cases: u32) -> (u32, u32) {
    let (valid, invalid) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&draws(), |draws| {
        let history = history(Model::Register, &draws, true);
        let judgement =
            judge(&compact(&history), &Options::new(Model::CasRegister, Initial::Default)).unwrap();
        prop_assert_eq!(judgement.keys_by_zones, 1);
        let expected = legal(Model::CasRegister, &history);
        let counter = if expected { &valid } else { &invalid };
        counter.set(counter.get() + 1);
        prop_assert_eq!(judgement.verdict == Verdict::Valid, expected, "{:#?}", history);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    (valid.get(), invalid.get())
}

#[test]
fn search_of_distinct_values() {
    both_occur(Model::Register, true, true);
}

#[test]
fn search_register() {
    both_occur(Model::Register, false, false);
}

#[test]
fn search_cas_register() {
    both_occur(Model::CasRegister, false, false);
}

#[test]
fn search_etcd_cas_register() {
    both_occur(Model::EtcdCasRegister, false, false);
}

#[test]
fn search_multi_register() {
    both_occur(Model::MultiRegister, false, false);
}

#[test]
fn search_kv_append() {
    both_occur(Model::KvAppend, false, false);
}

#[test]
fn search_counter() {
    both_occur(Model::Counter, false, false);
}

#[test]
fn search_set() {
    both_occur(Model::Set, false, false);
}

#[test]
fn search_queue() {
    both_occur(Model::Queue, false, false);
}

#[test]
fn search_mutex() {
    both_occur(Model::Mutex, false, false);
}

/// The calls with everything outside `kept` relaxed.
fn relaxed_calls(calls: &Calls, kept: &[u32]) -> Calls {
    let mut relaxed = calls.clone();
    for (at, call) in relaxed.calls.iter_mut().enumerate() {
        if !kept.contains(&(at as u32)) {
            call.outcome = Outcome::Info;
            call.ret = OPEN;
            call.output = ValueId::NIL;
        }
    }
    relaxed
}

/// With few values nearly every old write of the stale value could explain it, were its completion forgotten: the smallest
/// proof is large, and there is no other way than to find that out of each.
#[test]
fn proofs_with_few_values_are_minimal() {
    let mut proved = 0;
    for (seed, unknown_percent) in [(1, 0), (2, 0), (3, 1), (5, 1)] {
        let description = Description {
            values: Some(5),
            cas_percent: 20,
            unknown_percent,
            stale: true,
            ..Description::register(400, 5, seed)
        };
        let calls = generate(&description);
        let mut options = Options::new(Model::EtcdCasRegister, Initial::Default);
        // Whatever else this machine does meanwhile.
        options.proof_time = Duration::from_secs(300);
        let judgement = judge(&calls, &options).unwrap();
        // A stale read of one of five values is no violation where somebody may just have written it again.
        let Some(failure) = judgement.failure else { continue };
        assert!(failure.minimal && failure.proof.len() > 4, "{failure:?}");
        options.prove = false;
        let verdict = |kept: &[u32]| judge(&relaxed_calls(&calls, kept), &options).unwrap().verdict;
        assert_eq!(verdict(&failure.proof), Verdict::Invalid);
        for needless in &failure.proof {
            let rest: Vec<u32> = failure.proof.iter().copied().filter(|op| op != needless).collect();
            assert_eq!(verdict(&rest), Verdict::Valid, "{needless} of {failure:?}");
        }
        println!("seed {seed}: a proof of {}", failure.proof.len());
        proved += 1;
    }
    assert!(proved >= 3);
}
