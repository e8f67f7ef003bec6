//! `sequential`: sequential consistency (Lamport 1979).
//!
//! **Definition.** There is one order of all operations, of all keys together, that agrees with each process's own order
//! and in which each operation has the result that the specification gives it. Unlike linearizability it asks nothing of
//! real time, and it is not local: keys that are each in order need not be so together (Herlihy & Wing 1990, §3.3). An
//! operation of unknown outcome may stand at any place after its process's earlier operations, or nowhere.
//!
//! **How**, in this order, as deciding it is NP-complete (Gibbons & Korach 1997), even with distinct values:
//! 1. What is linearizable is sequential, and that is decided fast for registers with distinct values.
//! 2. For registers, necessary conditions: the bad patterns of causal convergence (see [`Causal`](super::Causal)), which
//!    is implied; then what each read forces ([`saturate`](super::saturate)) until nothing more follows or a cycle
//!    appears. In between, an order is guessed and checked ([`guess`](super::guess)).
//! 3. A search over all orders with a memory of where it has been ([`search`](super::search)). It tries first what
//!    was invoked first, so that what is nearly linearizable is found at once; where it comes to an end the verdict is
//!    exact.
//!
//! Beyond the budget the verdict is `unknown`.
//!
//! **Complexity.** Step 2: rounds × operations × sessions. Step 3: at most (operations a process)^processes × states.
//!
//! **Why it is sound.** `valid` rests on an order that was found, `invalid` on an implied level that fails, on a cycle
//! of what every order must contain, or on all orders having been tried. The proof is minimised against the search itself.

use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};

use super::causal::{by_invocation, chain, in_sessions, with_witnesses};
use super::guess::find_order;
use super::minimal::{Prover, minimise};
use super::patterns::{Pattern, look};
use super::registers::{Facts, INITIAL, MODELS, Node, Sessions, arrange};
use super::saturate::{Saturated, saturate};
use super::search::{Found, Hints, Searcher, searcher};
use crate::check::Verdict;
use crate::check::linearizability::{Budget, Options, judge as linearizable, observations};
use crate::check::models::Model;
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::calls::Calls;
use crate::history::{Outcome, Value};

/// The check.
pub struct Sequential;

/// How long finding the smallest proof may take.
const MOST_TIME: Duration = Duration::from_millis(2000);
/// What the search for an order may take of the budget: beyond it, more time seldom helps.
const MOST_SEARCH: Duration = Duration::from_secs(5);
/// What one search of a relaxed history may take; beyond it the operation in question stays in the proof.
const TIME_A_STEP: Duration = Duration::from_millis(250);

impl PlainCheck for Sequential {
    fn name(&self) -> &'static str {
        "sequential"
    }

    fn about(&self) -> &'static str {
        "all operations seem to take effect one after another, in an order that agrees with each client's own"
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        let began = Instant::now();
        let budget = question.budget;
        let mut answer = Answer { verdict: Verdict::Valid, reason: None, ..Answer::unknown("") };
        let model = question.model.unwrap_or(Model::Register);
        answer.evidence = evidence(calls, model);
        let mut options = Options::new(model, question.initial.clone());
        options.prove = false;
        options.budget.time = (budget.time / 4).min(MOST_SEARCH);
        options.budget.memory_bytes = budget.memory_bytes;
        if linearizable(calls, &options)?.verdict == Verdict::Valid {
            if observations(calls, model) == 0 {
                let evidence = answer.evidence;
                return Ok(Answer {
                    evidence,
                    ..Answer::unknown("no completed read: nothing could have been found")
                });
            }
            return Ok(answer);
        }
        let mut searcher = searcher(calls, model, &question.initial)?;
        let mut hints = Hints::default();
        if MODELS.contains(&model) {
            let facts = Facts::new(calls, question)?;
            match by_necessity(calls, question, &facts, &mut *searcher) {
                Ok(None) => return Ok(answer),
                Ok(Some(known)) => hints = known,
                Err(proof) => return Ok(invalid(answer, *proof)),
            }
        }
        let rest = budget.time.saturating_sub(began.elapsed()).min(MOST_SEARCH);
        match searcher.search(None, &hints, &Budget { time: rest, ..budget }) {
            Found::Order => Ok(answer),
            Found::None => {
                let all: Vec<u32> = (0..calls.calls.len() as u32).collect();
                let proof = by_search(
                    calls,
                    all,
                    &mut *searcher,
                    "no order of the operations agrees with all their results",
                );
                Ok(invalid(answer, proof))
            }
            Found::GivenUp(why) => Ok(Answer { verdict: Verdict::Unknown, reason: Some(why), ..answer }),
        }
    }
}

fn evidence(calls: &Calls, model: Model) -> Map<String, Json> {
    let mut processes: Vec<u32> = calls.calls.iter().map(|call| call.process).collect();
    processes.sort_unstable();
    processes.dedup();
    let mut keys: Vec<u32> = calls.calls.iter().map(|call| call.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut evidence = Map::new();
    evidence.insert("keys".into(), Json::from(keys.len()));
    evidence.insert("sessions".into(), Json::from(processes.len()));
    let ok = calls.calls.iter().filter(|call| call.outcome == Outcome::Ok).count();
    evidence.insert("operations".into(), Json::from(ok));
    evidence.insert("reads".into(), Json::from(observations(calls, model)));
    evidence
}

fn invalid(answer: Answer, proof: Proof) -> Answer {
    Answer { verdict: Verdict::Invalid, proofs: vec![proof], total: 1, ..answer }
}

/// What every order must contain, or nothing where one was found already; the proof, where there is none.
fn by_necessity(
    calls: &Calls,
    question: &Question,
    facts: &Facts,
    searcher: &mut dyn Searcher,
) -> Result<Option<Hints>, Box<Proof>> {
    let sessions = arrange(&facts.list, facts.initial, &[]);
    let keys = calls.keys.len();
    let looked = look(&sessions, keys, question.budget.memory_bytes);
    if let Some(found) = looked.found.first() {
        let story = match found.pattern {
            Pattern::ThinAir => format!("{}, which nobody wrote", chain(calls, &found.chain)),
            _ => format!(
                "not even causally consistent ({}): {}",
                found.pattern.name(),
                chain(calls, &found.chain)
            ),
        };
        let prover = Prover::new(facts, Instant::now() + MOST_TIME);
        let set = prover.with_failed_writes(&with_witnesses(calls, &sessions, &found.calls));
        let mut proof = by_search(calls, set, searcher, &story);
        let context = found.chain.iter().copied().filter(|call| !proof.ops.contains(call));
        proof.context.extend(context);
        proof.context.sort_unstable();
        proof.context.dedup();
        return Err(Box::new(proof));
    }
    let ends = &|call: u32| calls.calls[call as usize].ret;
    if facts.saw_not == 0 && find_order(calls, &sessions, question.budget.memory_bytes) {
        return Ok(None);
    }
    if let Saturated::Forced(forced) = saturate(&sessions, keys, question.budget.memory_bytes, ends) {
        let read = |node: &Node| {
            (node.source < INITIAL).then(|| (node.call, sessions.nodes[node.source as usize].call))
        };
        return Ok(Some(Hints { forced, reads: sessions.nodes.iter().filter_map(read).collect() }));
    }
    // The cycle's reasons are spread over the history: let trials find them.
    let prover = Prover::new(facts, Instant::now() + MOST_TIME);
    let all: Vec<u32> = facts.list.iter().map(|fact| fact.call).collect();
    let cyclic = |sessions: &Sessions| matches!(saturate(sessions, keys, usize::MAX, ends), Saturated::Cycle);
    let set = prover.prove(&all, &cyclic).map_or(all, |(set, _)| set);
    let story = format!("no order has room for all of these: {}", in_sessions(calls, &set));
    Err(Box::new(by_search(calls, set, searcher, &story)))
}

/// The smallest proof among `set`, which is proof.
fn by_search(calls: &Calls, set: Vec<u32>, searcher: &mut dyn Searcher, story: &str) -> Proof {
    let deadline = Instant::now() + MOST_TIME;
    let budget = Budget { time: TIME_A_STEP, memory_bytes: 256 << 20 };
    let is_proof = |kept: &[u32]| match searcher.search(Some(kept), &Hints::default(), &budget) {
        Found::Order => Some(false),
        Found::None => Some(true),
        Found::GivenUp(_) => None,
    };
    let (ops, minimal) = minimise(set, deadline, is_proof);
    let keys: Vec<u32> = ops.iter().map(|call| calls.calls[*call as usize].key).collect();
    let one = keys.first().copied().filter(|first| keys.iter().all(|key| key == first));
    Proof {
        kind: "not-sequential",
        key: one.map_or(Value::Nil, |key| calls.keys[key as usize].clone()),
        ops: by_invocation(calls, ops),
        minimal,
        context: Vec::new(),
        states: Vec::new(),
        story: story.into(),
        cause: "two clients saw the same operations in different orders: copies answer reads by themselves, or different keys are kept in order apart from each other".into(),
    }
}
