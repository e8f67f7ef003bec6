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

fn answer(calls: &Calls, model: Model, judgement: Judgement) -> Answer {
    let ok = calls.calls.iter().filter(|call| call.outcome == Outcome::Ok).count();
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
    let observations = calls.calls.iter().filter(tells).count();
    let mut evidence = Map::new();
    evidence.insert("keys".into(), Json::from(judgement.keys));
    evidence.insert("operations".into(), Json::from(ok));
    evidence.insert("reads".into(), Json::from(observations));
    let toothless = judgement.verdict == Verdict::Valid && observations == 0;
    Answer {
        // Of nothing at all there is nothing to say.
        verdict: if toothless && ok == 0 { Verdict::Unknown } else { judgement.verdict },
        reason: match toothless {
            true => Some("no completed read: nothing could have been found".into()),
            false => judgement.reason,
        },
        evidence,
        proofs: judgement.failure.into_iter().map(proof).collect(),
        total: judgement.keys_invalid as u64,
        stats: Map::new(),
    }
}

fn proof(failure: Failure) -> Proof {
    Proof {
        kind: KIND,
        key: failure.key,
        ops: failure.proof,
        minimal: failure.minimal,
        context: failure.context,
        states: failure.states,
        story: failure.story,
        cause:
            "an answer came from a copy that did not have, or no longer had, the newest acknowledged write"
                .into(),
    }
}
