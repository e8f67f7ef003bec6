//! Anomalies put into a history of plain reads and writes by changing what one or two reads returned.

use crate::history::calls::{Call, Calls, ValueId};
use crate::history::{Outcome, Value};
use crate::seed::Rng;

/// What to put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A read returns what was certainly overwritten before it began.
    StaleRead,
    /// A client reads a key it wrote and finds an older write of its own, or nothing.
    LostOwnWrite,
    /// A client reads a value, another, and the first again.
    NonMonotonicRead,
    /// A client sees another's two writes in the wrong order.
    WriteOrderInversion,
    /// A read returns what nobody wrote.
    ThinAirRead,
    /// Two clients each read what the other writes only afterwards.
    CausalCycle,
}

impl Anomaly {
    /// All of them.
    pub const ALL: [Anomaly; 6] = [
        Anomaly::StaleRead,
        Anomaly::LostOwnWrite,
        Anomaly::NonMonotonicRead,
        Anomaly::WriteOrderInversion,
        Anomaly::ThinAirRead,
        Anomaly::CausalCycle,
    ];
}

/// Puts an anomaly in at a random place; the reads that were changed, or `None` where the history has no place for it.
pub fn inject(calls: &mut Calls, anomaly: Anomaly, seed: u64) -> Option<Vec<u32>> {
    let mut rng = Rng::new(seed, "anomalies");
    let changes = match anomaly {
        Anomaly::ThinAirRead => {
            let read = *rng.pick(&of(calls, "read"))?;
            let unheard_of = calls.values.intern(Value::int(-1 - rng.below(1_000_000) as i64));
            vec![(read, unheard_of)]
        }
        _ => {
            let mut places = places(calls, anomaly);
            rng.shuffle(&mut places);
            places.pop()?
        }
    };
    for (read, value) in &changes {
        calls.calls[*read as usize].output = *value;
    }
    Some(changes.into_iter().map(|(read, _)| read).collect())
}

/// The acknowledged calls of a function.
fn of(calls: &Calls, f: &str) -> Vec<u32> {
    let is = |call: &Call| call.outcome == Outcome::Ok && &*calls.functions[usize::from(call.f)] == f;
    (0_u32..).zip(&calls.calls).filter(|(_, call)| is(call)).map(|(at, _)| at).collect()
}

/// Reads and what they would have to return.
type Change = Vec<(u32, ValueId)>;

/// Everywhere the anomaly could be. For histories of up to a few hundred operations: up to cubic.
fn places(calls: &Calls, anomaly: Anomaly) -> Vec<Change> {
    let (reads, writes) = (of(calls, "read"), of(calls, "write"));
    let call = |at: &u32| calls.calls[*at as usize];
    let then = |one: &u32, other: &u32| call(one).process == call(other).process && one < other;
    let same_key = |one: &u32, other: &u32| call(one).key == call(other).key;
    let mut places: Vec<Change> = Vec::new();
    match anomaly {
        Anomaly::ThinAirRead => {}
        Anomaly::StaleRead => {
            for read in &reads {
                let done = || {
                    writes.iter().filter(|write| same_key(write, read) && call(write).ret < call(read).invoke)
                };
                let newest = done().map(|write| call(write).invoke).max().unwrap_or(0);
                if let Some(old) = done().find(|write| call(write).ret < newest) {
                    places.push(vec![(*read, call(old).input)]);
                }
            }
        }
        Anomaly::LostOwnWrite => {
            for read in &reads {
                let mut own = writes.iter().rev().filter(|write| then(write, read) && same_key(write, read));
                if own.next().is_some() {
                    places.push(vec![(*read, own.next().map_or(ValueId::NIL, |older| call(older).input))]);
                }
            }
        }
        Anomaly::NonMonotonicRead => {
            for last in &reads {
                let mut before = reads.iter().rev().filter(|read| then(read, last) && same_key(read, last));
                let Some(newer) = before.next() else { continue };
                let older = before.find(|read| {
                    call(read).output != call(newer).output && call(read).output != ValueId::NIL
                });
                if let Some(older) = older {
                    places.push(vec![(*last, call(older).output)]);
                }
            }
        }
        Anomaly::WriteOrderInversion => {
            for first in &writes {
                let Some(second) = writes.iter().find(|write| then(first, write) && same_key(first, write))
                else {
                    continue;
                };
                let late = |read: &&u32| {
                    same_key(read, first)
                        && call(read).process != call(first).process
                        && call(read).invoke > call(second).ret
                };
                for one in reads.iter().filter(late) {
                    if let Some(other) = reads.iter().find(|read| then(one, read) && same_key(one, read)) {
                        places.push(vec![(*one, call(second).input), (*other, call(first).input)]);
                    }
                }
            }
        }
        Anomaly::CausalCycle => {
            // For each client's write the last read before it.
            let pairs: Vec<(u32, u32)> = writes
                .iter()
                .filter_map(|write| reads.iter().rfind(|read| then(read, write)).map(|read| (*read, *write)))
                .collect();
            for (read, write) in &pairs {
                let crosswise = |(other_read, other_write): &&(u32, u32)| {
                    call(other_read).process != call(read).process
                        && same_key(other_read, write)
                        && same_key(read, other_write)
                };
                if let Some((other_read, other_write)) = pairs.iter().find(crosswise) {
                    places.push(vec![(*read, call(other_write).input), (*other_read, call(write).input)]);
                }
            }
        }
    }
    places
}
