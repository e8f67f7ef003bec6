//! What an object may have held before everything else, where nobody said.
//!
//! A history does not tell: where the first read returns 0, which nobody had written, either the object began as 0 or the
//! read is wrong. The verdict is that of the start asked for. What is found here is only a hint at the other answer: a start
//! that the earliest reads suggest, and by which the whole history is linearizable.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Verdict;
use super::linearizability::{Options, judge};
use super::models::{Initial, Model, first_read, written};
use super::plain::Question;
use crate::history::calls::{Call, Calls};
use crate::history::{Outcome, Value};

/// How long trying a start may take.
const MOST_TIME: Duration = Duration::from_secs(1);
/// How many are tried.
const MOST_TRIED: usize = 4;

/// As `--initial` has it, a start by which a history that is not linearizable would be; `None` where one was asked for, or
/// none is known.
pub fn other(calls: &Calls, question: &Question) -> Option<String> {
    let model = question.model.filter(|_| question.initial == Initial::Default)?;
    let candidates = match model {
        Model::Register | Model::CasRegister | Model::EtcdCasRegister => values(calls),
        Model::MultiRegister => registers(calls),
        _ => return None,
    };
    let fits = |initial: &Initial| {
        let mut options = Options::new(model, initial.clone());
        options.prove = false;
        options.budget = question.budget;
        options.budget.time = question.budget.time.min(MOST_TIME);
        judge(calls, &options).is_ok_and(|judgement| judgement.verdict == Verdict::Valid)
    };
    candidates.into_iter().take(MOST_TRIED).find(fits).map(|initial| told(&initial))
}

/// Completed calls, in the order of their completions.
fn completed(calls: &Calls) -> Vec<&Call> {
    let mut completed: Vec<&Call> = calls.calls.iter().filter(|call| call.outcome == Outcome::Ok).collect();
    completed.sort_unstable_by_key(|call| call.ret);
    completed
}

/// What was read first of each key.
fn values(calls: &Calls) -> Vec<Initial> {
    let mut seen = vec![false; calls.keys.len()];
    let mut values: Vec<Value> = Vec::new();
    for call in completed(calls) {
        let f = calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
        let read = matches!(f, "read" | "get") && !calls.values.get(call.output).is_nil();
        if read && !std::mem::replace(&mut seen[call.key as usize], true) {
            let value = calls.values.get(call.output);
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    values.into_iter().map(Initial::Value).collect()
}

/// What was read first of each register: of those of which nobody wrote it, and of all.
fn registers(calls: &Calls) -> Vec<Initial> {
    let mut first = BTreeMap::new();
    for call in completed(calls) {
        for (name, value) in first_read(&calls.values.get(call.output)) {
            first.entry(name).or_insert(value);
        }
    }
    let mut unexplained = first.clone();
    for (name, value) in calls.calls.iter().flat_map(|call| written(&calls.values.get(call.input))) {
        if unexplained.get(&name) == Some(&value) {
            unexplained.remove(&name);
        }
    }
    let mut starts = vec![Initial::Registers(unexplained), Initial::Registers(first)];
    starts.retain(|start| *start != Initial::Registers(BTreeMap::new()));
    starts
}

fn told(initial: &Initial) -> String {
    match initial {
        Initial::Default => "nil".into(),
        Initial::Value(value) => value.plain(),
        Initial::Registers(registers) => {
            let each = registers.iter().map(|(name, value)| format!("{name}={}", value.plain()));
            each.collect::<Vec<_>>().join(",")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::import::{Options as Reading, read_from};

    fn start(model: Model, text: &str) -> Option<String> {
        let calls = match read_from(text.as_bytes(), std::path::Path::new("h"), Reading::default()) {
            Ok(calls) => calls,
            Err(error) => panic!("{error}"),
        };
        other(&calls, &Question { model: Some(model), ..Question::default() })
    }

    #[test]
    fn only_a_start_that_explains_everything_is_hinted_at() {
        let read = |process: u32, value: &str| {
            format!(
                "{{:process {process} :type :invoke :f :read}}{{:process {process} :type :ok :f :read :value {value}}}"
            )
        };
        let write = "{:process 9 :type :invoke :f :write :value 1}{:process 9 :type :ok :f :write :value 1}";
        let zero = read(0, "0") + write;
        assert_eq!(start(Model::Register, &zero).as_deref(), Some("0"));
        assert_eq!(start(Model::CasRegister, &zero.replace('0', "2")).as_deref(), Some("2"));
        assert_eq!(start(Model::Register, &(zero.clone() + &read(1, "0"))), None, "1 had been written");
        assert_eq!(start(Model::Register, &(zero + &read(1, "1") + &read(1, "7"))), None);
        let txn = |value: &str| {
            format!(
                "{{:process 0 :type :invoke :f :txn :value {value}}}{{:process 0 :type :ok :f :txn :value {value}}}"
            )
        };
        let two = txn("[[:w :z 1] [:r :z 1] [:r :x 3]]") + &txn("[[:r :x 3] [:r :y \"a\"]]");
        assert_eq!(start(Model::MultiRegister, &two).as_deref(), Some("x=3,y=a"));
        assert_eq!(start(Model::MultiRegister, &(two + &txn("[[:r :x 4]]"))), None);
    }
}
