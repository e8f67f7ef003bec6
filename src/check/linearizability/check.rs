//! The check as the command line and `[checks]` know it.

use serde_json::{Map, Value as Json};

use super::{Failure, Judgement, Options, judge};
use crate::check::Verdict;
use crate::check::models::{Model, Register};
use crate::check::plain::{Answer, PlainCheck, Proof, Question, observes};
use crate::history::Outcome;
use crate::history::calls::{Call, Calls};

/// What its violations are called.
pub(super) const KIND: &str = "not-linearizable";

/// `linearizability` (Herlihy & Wing 1990) against any model; see [`super`] for how and why.
pub struct Linearizability;

impl PlainCheck for Linearizability {
    fn name(&self) -> &'static str {
        "linearizability"
    }

    fn about(&self) -> &'static str {
        "each operation seems to take effect at one moment between its invocation and its completion"
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        let model = match question.model {
            Some(model) => model,
            None => Model::infer(calls)?,
        };
        let mut options = Options::new(model, question.initial.clone());
        options.budget = question.budget;
        Ok(answer(calls, model, judge(calls, &options)?))
    }
}

/// Functions whose completion alone tells something of the state before: a lock was free, a comparison held.
const TELLING: [&str; 5] = ["cas", "acquire", "release", "lock", "unlock"];

/// How many operations tell something of the state they met.
pub(in crate::check) fn observations(calls: &Calls, model: Model) -> usize {
    let nil_tells = !Register::nil_is_unrecorded(model);
    let tells_by_itself =
        |name: &str| TELLING.contains(&name) || (nil_tells && ["read", "get"].contains(&name));
    let telling: Vec<bool> = calls.functions.iter().map(|name| tells_by_itself(name)).collect();
    let tells = |call: &&Call| {
        let telling = telling.get(usize::from(call.f)).is_some_and(|telling| *telling);
        match call.outcome {
            Outcome::Ok => observes(call) || telling,
            // A read that failed says nothing in any model.
            Outcome::Fail => {
                model == Model::EtcdCasRegister && &*calls.functions[usize::from(call.f)] == "cas"
            }
            Outcome::Info => false,
        }
    };
    calls.calls.iter().filter(tells).count()
}

fn answer(calls: &Calls, model: Model, judgement: Judgement) -> Answer {
    let ok = calls.calls.iter().filter(|call| call.outcome == Outcome::Ok).count();
    let observations = observations(calls, model);
    let mut evidence = Map::new();
    evidence.insert("keys".into(), Json::from(judgement.keys));
    evidence.insert("operations".into(), Json::from(ok));
    evidence.insert("reads".into(), Json::from(observations));
    let toothless = judgement.verdict == Verdict::Valid && observations == 0;
    // The table of names has those of faults, too.
    let nothing = calls.calls.is_empty() && calls.functions.is_empty();
    Answer {
        // Of nothing at all there is nothing to say. Where operations never completed, or only faults were recorded, there is, little
        // as it is: the empty order explains it.
        verdict: if toothless && nothing { Verdict::Unknown } else { judgement.verdict },
        reason: match toothless {
            true => Some("no completed read: nothing could have been found".into()),
            false => judgement.reason,
        },
        evidence,
        proofs: judgement.failure.into_iter().map(|failure| proof(failure, model)).collect(),
        total: judgement.keys_invalid as u64,
        stats: Map::new(),
    }
}

fn proof(failure: Failure, model: Model) -> Proof {
    Proof {
        kind: KIND,
        key: failure.key,
        ops: failure.proof,
        minimal: failure.minimal,
        context: failure.context,
        states: failure.states,
        story: failure.story,
        cause: cause(model).into(),
    }
}

/// What a student should look at first: how objects of this kind most often go wrong.
fn cause(model: Model) -> &'static str {
    match model {
        Model::Register => {
            "an answer came from a copy that did not have, or no longer had, the newest acknowledged write"
        }
        Model::CasRegister | Model::EtcdCasRegister => {
            "an answer came from a copy that did not have, or no longer had, the newest acknowledged write; or a \
             compare-and-set compared with such a copy, or lets another write in between comparing and setting"
        }
        Model::MultiRegister => {
            "a transaction saw another one in part, or copies of different age: its reads and writes are not made \
             together"
        }
        Model::KvAppend => {
            "an append was lost, made twice (a retry that was not recognised) or made to an old copy; or a get was \
             answered from one"
        }
        Model::Counter => {
            "an addition was lost (reading, adding and writing back are not one step) or counted twice (a retry that \
             was not recognised); or a read was answered from a copy that did not have it"
        }
        Model::Set => {
            "a change was overwritten by somebody who had not seen it, undone, or made again by a late retry; or a \
             read was answered from a copy that did not have it"
        }
        Model::Queue => {
            "an element was given out twice, lost or taken out of turn: looking at the first one and taking it away \
             are not one step, or copies disagree about which is the first"
        }
        Model::Mutex => {
            "the lock was given away while somebody held it (a lease that ran out, a node that had not heard of the \
             holder), or released by somebody who did not hold it"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::import::{Options as Reading, read_from};

    /// Operations one after another, `f input output`.
    fn found(model: Model, ops: &[(&str, &str, &str)]) -> Proof {
        let event = |(f, input, output): &(&str, &str, &str)| {
            format!(
                "{{:process 0 :type :invoke :f :{f} :value {input}}}{{:process 0 :type :ok :f :{f} :value {output}}}"
            )
        };
        let text: String = ops.iter().map(event).collect();
        let options = Reading { format: None, keyed: Some(false) };
        let calls = read_from(text.as_bytes(), std::path::Path::new("h"), options)
            .unwrap_or_else(|error| panic!("{error}"));
        let question = Question { model: Some(model), ..Question::default() };
        let answer = Linearizability.judge(&calls, &question).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(answer.verdict, Verdict::Invalid, "{model}");
        answer.proofs[0].clone()
    }

    #[test]
    fn the_likely_cause_is_that_of_the_object() {
        let stale = &[("write", "1", "1"), ("write", "2", "2"), ("read", "nil", "1")][..];
        let cases = [
            (Model::Register, stale, "newest acknowledged write"),
            (Model::CasRegister, &[("write", "1", "1"), ("cas", "[2 3]", "[2 3]")][..], "compare-and-set"),
            (Model::EtcdCasRegister, stale, "compare-and-set"),
            (
                Model::MultiRegister,
                &[("txn", "[[:w :x 1]]", "nil"), ("txn", "[[:r :x nil]]", "[[:r :x 2]]")],
                "transaction",
            ),
            (Model::KvAppend, &[("append", "\"a\"", "\"a\""), ("get", "nil", "\"aa\"")], "append"),
            (Model::Counter, &[("add", "1", "1"), ("read", "nil", "0")], "addition"),
            (Model::Set, &[("add", "1", "1"), ("read", "nil", "[]")], "change"),
            (Model::Queue, &[("enqueue", "1", "1"), ("dequeue", "nil", "2")], "out of turn"),
            (Model::Mutex, &[("acquire", "nil", "nil"), ("acquire", "nil", "nil")], "lock"),
        ];
        assert_eq!(cases.len(), Model::ALL.len());
        let mut causes: Vec<String> = Vec::new();
        for (model, ops, word) in cases {
            let cause = found(model, ops).cause;
            assert!(cause.contains(word), "{model}: {cause}");
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        // The two with compare-and-set differ in what outcomes mean, not in how they break.
        assert_eq!(causes.len(), Model::ALL.len() - 1, "{causes:?}");
    }
}
