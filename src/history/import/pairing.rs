//! From events to calls: pairs each completion with its invocation, and names every rule that is broken.

use serde_json::Value as Json;

use crate::history::calls::{Call, Calls, OPEN, ValueId};
use crate::history::hash::Fast;
use crate::history::{Outcome, Value};

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invoke,
    Done(Outcome),
}

impl Kind {
    pub(super) const NAMES: &'static str = "invoke, ok, fail or info";

    pub(super) fn from_name(name: &[u8]) -> Option<Kind> {
        Some(match name {
            b"invoke" => Kind::Invoke,
            b"ok" => Kind::Done(Outcome::Ok),
            b"fail" => Kind::Done(Outcome::Fail),
            b"info" => Kind::Done(Outcome::Info),
            _ => return None,
        })
    }
}

/// One event of a client, its names interned.
pub(super) struct Event {
    pub(super) line: u64,
    pub(super) process: u32,
    pub(super) kind: Kind,
    pub(super) f: u16,
    /// The key, where the event has a field for it.
    pub(super) key: Option<u32>,
    pub(super) value: Json,
    pub(super) time: Option<i64>,
    pub(super) index: Option<u64>,
}

struct Pending {
    call: u32,
    line: u64,
    time: Option<i64>,
}

/// Whether values are `[key value]`, decided by the first operation that can tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyed {
    Undecided,
    No,
    Yes { since: u64 },
}

/// Builds [`Calls`] from events in the order they were recorded. Memory: the calls, and the open operations.
pub(super) struct Pairing {
    pub(super) calls: Calls,
    open: Fast<u32, Pending>,
    next: u32,
    newest: Option<(i64, u64)>,
    disorder: u64,
    keyed: Keyed,
}

impl Pairing {
    pub(super) fn new(keyed: Option<bool>) -> Self {
        let keyed = match keyed {
            None => Keyed::Undecided,
            Some(false) => Keyed::No,
            Some(true) => Keyed::Yes { since: 1 },
        };
        Pairing { calls: Calls::new(), open: Fast::default(), next: 0, newest: None, disorder: 0, keyed }
    }

    /// The position of the next event: its `index` where it has one, else one more than the last.
    pub(super) fn position(&mut self, index: Option<u64>) -> Result<u32, String> {
        let position = match index {
            None => self.next,
            Some(index) => {
                let Some(position) = u32::try_from(index).ok().filter(|position| *position < OPEN - 1) else {
                    return Err(format!(
                        "index {index} is beyond 4,294,967,293, the most that can be checked"
                    ));
                };
                if position < self.next {
                    return Err(format!(
                        "index {position} comes after index {}: indices must rise",
                        self.next - 1
                    ));
                }
                position
            }
        };
        if position >= OPEN - 1 {
            return Err("more events than can be checked (4,294,967,293)".into());
        }
        self.next = position + 1;
        Ok(position)
    }

    /// Takes one event. The error says which rule it breaks.
    pub(super) fn push(&mut self, event: Event) -> Result<(), String> {
        let position = self.position(event.index)?;
        self.watch_clock(&event);
        match event.kind {
            Kind::Invoke => self.invoke(event, position),
            Kind::Done(outcome) => self.complete(event, outcome, position),
        }
    }

    fn watch_clock(&mut self, event: &Event) {
        let Some(time) = event.time else { return };
        match self.newest {
            Some((newest, line)) if time < newest => {
                self.disorder += 1;
                if self.disorder == 1 {
                    self.calls.notes.push(format!(
                        "line {}: time {time} is before {newest} of line {line}; the order of the file is taken as the order of events",
                        event.line
                    ));
                }
            }
            _ => self.newest = Some((time, event.line)),
        }
    }

    fn invoke(&mut self, event: Event, position: u32) -> Result<(), String> {
        if let Some(pending) = self.open.get(&event.process) {
            return Err(format!(
                "process {} invokes while its operation of line {} is still open",
                event.process, pending.line
            ));
        }
        let (key, value) = self.split(&event)?;
        let input = self.calls.values.intern(value);
        let call = self.calls.calls.len() as u32;
        self.calls.calls.push(Call {
            process: event.process,
            key,
            input,
            output: ValueId::NIL,
            invoke: position,
            ret: OPEN,
            f: event.f,
            outcome: Outcome::Info,
        });
        self.open.insert(event.process, Pending { call, line: event.line, time: event.time });
        Ok(())
    }

    fn complete(&mut self, event: Event, outcome: Outcome, position: u32) -> Result<(), String> {
        let Some(pending) = self.open.remove(&event.process) else {
            return Err(format!("process {} completes an operation it never invoked", event.process));
        };
        let invoked = self.calls.calls[pending.call as usize];
        if invoked.f != event.f {
            let name = |f: u16| self.calls.functions.get(usize::from(f)).map_or("?", |name| &**name);
            return Err(format!(
                "process {} completes a {} but had invoked a {} on line {}",
                event.process,
                name(event.f),
                name(invoked.f),
                pending.line
            ));
        }
        if let (Some(began), Some(ended)) = (pending.time, event.time)
            && ended < began
        {
            return Err(format!(
                "time runs backwards: process {} completes at {ended} what it invoked at {began} on line {}",
                event.process, pending.line
            ));
        }
        let mut output = ValueId::NIL;
        if outcome == Outcome::Ok {
            let (key, value) = match (event.key, self.keyed) {
                (None, Keyed::No | Keyed::Undecided) => (invoked.key, Value::from_json(&event.value)),
                _ => self.split(&event)?,
            };
            if key != invoked.key {
                let name = |key: u32| self.calls.keys.get(key as usize).cloned().unwrap_or_default();
                return Err(format!(
                    "process {} completes on key {} what it invoked on key {} on line {}",
                    event.process,
                    name(key),
                    name(invoked.key),
                    pending.line
                ));
            }
            output = self.calls.values.intern(value);
        }
        let call = &mut self.calls.calls[pending.call as usize];
        call.outcome = outcome;
        call.output = output;
        call.ret = if outcome == Outcome::Info { OPEN } else { position };
        Ok(())
    }

    /// The key and the value of an event.
    fn split(&mut self, event: &Event) -> Result<(u32, Value), String> {
        if let Some(key) = event.key {
            return Ok((key, Value::from_json(&event.value)));
        }
        if self.keyed == Keyed::Undecided
            && let Some(keyed) = self.looks_keyed(event)
        {
            self.keyed = if keyed { Keyed::Yes { since: event.line } } else { Keyed::No };
        }
        let Keyed::Yes { since } = self.keyed else { return Ok((0, Value::from_json(&event.value))) };
        match &event.value {
            Json::Array(pair) if pair.len() == 2 => {
                let key = self.calls.key(Value::from_json(&pair[0]));
                Ok((key, Value::from_json(&pair[1])))
            }
            _ => Err(format!("a value [key value] was expected, as on line {since}")),
        }
    }

    /// Whether an invocation's value is `[key value]`; `None` where it could be either.
    fn looks_keyed(&self, event: &Event) -> Option<bool> {
        let f = self.calls.functions.get(usize::from(event.f)).map_or("", |name| &**name);
        let Json::Array(items) = &event.value else {
            return Some(false);
        };
        if items.len() != 2 {
            return Some(false);
        }
        Some(match f {
            "cas" => items[1].is_array(),
            "txn" => !items[0].is_array() && items[1].is_array(),
            _ => true,
        })
    }

    /// The calls, when all events are in. Operations still open have an unknown outcome.
    pub(super) fn finish(mut self) -> Calls {
        if self.disorder > 1 {
            self.calls
                .notes
                .push(format!("{} events in all have a time before an earlier event's", self.disorder));
        }
        self.calls.calls.shrink_to_fit();
        self.calls
    }
}
