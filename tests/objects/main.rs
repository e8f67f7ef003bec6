//! Sets, counters, queues and ids: the checks against oracles written from their definitions, simulated objects that are
//! right, the same with something gone wrong, and the formats such histories come in. And the readers of
//! histories, fed with noise.

mod fuzz;
#[path = "../mutation/mod.rs"]
mod mutation;
mod oracle;
mod reading;
mod simulated;

use harness::check::Verdict;
use harness::check::plain::{Answer, Question, find};
use harness::history::calls::{Call, Calls, OPEN};
use harness::history::{Outcome, Value};

/// One operation, in a form that is easy to write and to change.
#[derive(Clone, Debug)]
struct Small {
    invoke: u32,
    ret: u32,
    process: u32,
    f: &'static str,
    input: Value,
    /// What an `ok` completion carries.
    output: Value,
    outcome: Outcome,
}

impl Small {
    fn ok(&self, f: &str) -> bool {
        self.f == f && self.outcome == Outcome::Ok
    }

    /// Its result forgotten, its outcome unknown.
    fn relaxed(&self) -> Small {
        Small { ret: OPEN, outcome: Outcome::Info, ..self.clone() }
    }
}

fn compact(history: &[Small]) -> Calls {
    let mut calls = Calls::new();
    for small in history {
        let ok = small.outcome == Outcome::Ok;
        let call = Call {
            process: small.process,
            key: 0,
            input: calls.values.intern(small.input.clone()),
            output: calls.values.intern(if ok { small.output.clone() } else { Value::Nil }),
            invoke: small.invoke,
            ret: if small.outcome == Outcome::Info { OPEN } else { small.ret },
            f: calls.function(small.f),
            outcome: small.outcome,
        };
        calls.calls.push(call);
    }
    calls
}

fn list(elements: &[i64]) -> Value {
    let texts: Vec<String> = elements.iter().map(i64::to_string).collect();
    Value::Json(format!("[{}]", texts.join(",")).into())
}

fn listed(value: &Value) -> Vec<i64> {
    let json = value.to_json();
    json.as_array().map_or_else(Vec::new, |items| items.iter().filter_map(|item| item.as_i64()).collect())
}

fn whole(value: &Value) -> i64 {
    value.to_json().as_i64().unwrap()
}

fn check(name: &str, history: &[Small]) -> Answer {
    judged(name, &compact(history))
}

fn judged(name: &str, calls: &Calls) -> Answer {
    let answer = find(name).unwrap().judge(calls, &Question::default()).unwrap();
    assert_eq!(answer.verdict == Verdict::Invalid, answer.total > 0);
    assert_eq!(answer.proofs.is_empty(), answer.total == 0);
    assert_eq!(answer.verdict == Verdict::Unknown, answer.reason.is_some());
    for proof in &answer.proofs {
        assert!(proof.minimal && !proof.ops.is_empty() && !proof.story.is_empty() && !proof.cause.is_empty());
        assert!(proof.ops.windows(2).all(|pair| pair[0] < pair[1]), "in order, once each: {proof:?}");
    }
    answer
}

fn kinds(answer: &Answer) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = answer.proofs.iter().map(|proof| proof.kind).collect();
    kinds.sort_unstable();
    kinds
}

fn stat(answer: &Answer, name: &str) -> u64 {
    answer.stats[name].as_u64().unwrap()
}
