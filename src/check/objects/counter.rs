//! `counter`: every read lies between what had certainly been added and what could have been.
//!
//! After Jepsen's `counter` checker. For a read, an addition is *certain* when it completed before the read was invoked,
//! and *possible* when it was invoked before the read completed and did not fail. Whatever the counter really did, it had
//! taken in all that is certain and some of what is possible. So the read is at least the start plus all certain
//! additions plus every other possible *negative* one, and at most the start plus all certain ones plus every other
//! possible *positive* one. Jepsen's checker allows for increments only; summing the two signs apart makes the bounds
//! sound for decrements too.
//!
//! **Sound**, since the bounds hold of every counter that loses nothing it acknowledged and invents nothing, linearizable
//! or not: one that is read later than it was written must still count what was acknowledged before the read began.
//! Additions of unknown outcome are possible for ever; failed ones and reads without an answer say nothing.
//!
//! **Left out**: sums within the bounds that no choice of additions gives (read 3 where only fives were added), and two
//! reads that contradict each other while each is within its own. `linearizability --model counter` finds these.
//!
//! The proof is the read and the fewest additions that, with everything else forgotten, leave it out of bounds: the
//! largest first, so that with any one less it would be within.
//!
//! Complexity: n log n for the sorting of events; 16 bytes an operation.

use super::{Lookup, Tally, each_key, figures, proof};
use crate::check::models::{Counter as Model, CounterOp, Meaning, Model as Name, Spec};
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::calls::{Calls, OPEN};
use crate::history::{Outcome, Value};

/// The check `counter`.
pub struct Counter;

/// A read out of its bounds.
struct Outside {
    call: u32,
    value: i128,
    low: i128,
    high: i128,
}

impl Outside {
    fn by(&self) -> u128 {
        if self.value > self.high { self.value.abs_diff(self.high) } else { self.low.abs_diff(self.value) }
    }
}

impl PlainCheck for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn about(&self) -> &'static str {
        "each read of a counter has all that was acknowledged before and nothing that was never added"
    }

    fn models(&self) -> &'static [Name] {
        &[Name::Counter]
    }

    fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
        let model = Model::new(&question.initial)?;
        let mut tally = Tally::default();
        let (mut reads, mut additions, mut certain) = (0, 0, 0);
        let keys = each_key(calls, |key, order| {
            let bounds = Bounds::of(calls, order, &model)?;
            reads += bounds.reads;
            additions += bounds.additions;
            certain += bounds.telling;
            bounds.tell(calls, order, &model, key, &mut tally);
            Ok(())
        })?;
        if reads == 0 {
            tally.unknown = Some("no completed read: nothing could have been found".into());
        } else if additions == 0 {
            tally.unknown = Some("nothing was ever added: a read of the start proves nothing".into());
        }
        let evidence = figures([("keys", keys), ("reads", reads), ("additions", additions)]);
        Ok(tally.answer(evidence, figures([("reads_after_an_acknowledged_addition", certain)])))
    }
}

/// What one counter showed.
struct Bounds {
    initial: i128,
    reads: u64,
    /// Additions that may have happened.
    additions: u64,
    /// Reads begun after something had been acknowledged.
    telling: u64,
    low: Vec<Outside>,
    high: Vec<Outside>,
}

/// An open read: the sums when it began.
#[derive(Clone, Copy)]
struct Began {
    value: i128,
    positive: i128,
    negative: i128,
}

impl Bounds {
    fn of(calls: &Calls, order: &[u32], model: &Model) -> Result<Bounds, String> {
        let mut lookup = Lookup::new(calls);
        let initial = model.initial();
        let mut found =
            Bounds { initial, reads: 0, additions: 0, telling: 0, low: Vec::new(), high: Vec::new() };
        // (position, index into `known`, whether it completes)
        let mut events: Vec<(u32, u32, bool)> = Vec::new();
        let mut known: Vec<(u32, CounterOp)> = Vec::new();
        for index in order {
            let call = &calls.calls[*index as usize];
            let said = lookup.said(call);
            if said.f == "snapshot" {
                continue;
            }
            let (op, must) = match model.decode(said)? {
                Meaning::Must(op) => (op, true),
                Meaning::May(op) => (op, false),
                Meaning::Nothing => continue,
            };
            let at = known.len() as u32;
            events.push((call.invoke, at, false));
            if must && call.ret != OPEN {
                events.push((call.ret, at, true));
            }
            known.push((*index, op));
        }
        events.sort_unstable();
        // What was acknowledged and what was attempted so far, by sign.
        let (mut acknowledged, mut attempted) = ((0_i128, 0_i128), (0_i128, 0_i128));
        let mut some_acknowledged = false;
        let mut began: Vec<Option<Began>> = vec![None; known.len()];
        for (_, at, completes) in events {
            let (call, op) = &known[at as usize];
            match (op, completes) {
                (CounterOp::Add(by), false) => {
                    found.additions += 1;
                    add(&mut attempted, *by);
                }
                (CounterOp::Add(by), true) => {
                    some_acknowledged = true;
                    add(&mut acknowledged, *by);
                }
                (CounterOp::Read(value), false) => {
                    let (positive, negative) = acknowledged;
                    found.telling += u64::from(some_acknowledged);
                    began[at as usize] = Some(Began { value: *value, positive, negative });
                }
                (CounterOp::Read(_), true) => {
                    let Some(read) = began[at as usize] else { continue };
                    found.reads += 1;
                    let low = initial + read.positive + attempted.1;
                    let high = initial + read.negative + attempted.0;
                    let outside = Outside { call: *call, value: read.value, low, high };
                    if read.value < low {
                        found.low.push(outside);
                    } else if read.value > high {
                        found.high.push(outside);
                    }
                }
            }
        }
        Ok(found)
    }

    fn tell(&self, calls: &Calls, order: &[u32], model: &Model, key: &Value, tally: &mut Tally) {
        for (kind, all) in [("too-low", &self.low), ("too-high", &self.high)] {
            // Of those equally far out the first, which `max_by_key` would not give.
            if let Some(worst) = all.iter().rev().max_by_key(|outside| outside.by()) {
                let proof = explain(calls, order, model, key, kind, worst, self.initial);
                tally.found(all.len() as u64, proof);
            }
        }
    }
}

fn add(sums: &mut (i128, i128), by: i128) {
    if by > 0 { sums.0 += by } else { sums.1 += by }
}

/// The read, and the fewest additions that keep it out of bounds when all others are forgotten.
fn explain(
    calls: &Calls,
    order: &[u32],
    model: &Model,
    key: &Value,
    kind: &'static str,
    outside: &Outside,
    initial: i128,
) -> Proof {
    let too_low = kind == "too-low";
    let read = &calls.calls[outside.call as usize];
    let mut lookup = Lookup::new(calls);
    // The bound when everything is forgotten: all that was ever attempted may have happened.
    let mut bound = initial;
    // What moves it towards the read's being impossible, once it is known again.
    let mut moves: Vec<(i128, u32)> = Vec::new();
    for index in order {
        let call = &calls.calls[*index as usize];
        if call.invoke > read.ret {
            break;
        }
        let Ok(Meaning::May(CounterOp::Add(by))) = model.decode(lookup.attempted(call)) else { continue };
        // Taken into the loose bound where it helps the read, and then known not to have happened; or the other way.
        let helps = if too_low { by < 0 } else { by > 0 };
        if helps {
            bound += by;
            if call.outcome == Outcome::Fail {
                moves.push((by.abs(), *index));
            }
        } else if call.outcome == Outcome::Ok && call.ret < read.invoke && by != 0 {
            moves.push((by.abs(), *index));
        }
    }
    moves.sort_unstable_by_key(|(by, index)| (std::cmp::Reverse(*by), *index));
    let mut ops = vec![outside.call];
    for (by, index) in moves {
        let out = if too_low { outside.value < bound } else { outside.value > bound };
        if out {
            break;
        }
        bound += if too_low { by } else { -by };
        ops.push(index);
    }
    let (process, value) = (read.process, outside.value);
    let (story, cause) = if too_low {
        let low = outside.low;
        (
            format!(
                "p{process} read {value}, but what had been acknowledged before makes it {low} at the least"
            ),
            "an acknowledged addition was lost, or the read came from a copy that did not have it",
        )
    } else {
        let high = outside.high;
        (
            format!(
                "p{process} read {value}, but all that had been asked for by then makes it {high} at the most"
            ),
            "an addition was counted twice (a retry that was not recognised), or one that failed was counted all the same",
        )
    };
    proof(calls, kind, key, ops, story, cause)
}
