//! From events to calls: pairs each completion with its invocation, and names every rule that is broken.

use serde_json::Value as Json;

use super::Trouble;
use super::echo::contradiction;
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
    /// The same as Clojure's keywords.
    pub(super) const KEYWORDS: &'static str = ":invoke, :ok, :fail or :info";

    pub(super) fn from_name(name: &[u8]) -> Option<Kind> {
        Some(match name {
            b"invoke" => Kind::Invoke,
            b"ok" => Kind::Done(Outcome::Ok),
            b"fail" => Kind::Done(Outcome::Fail),
            b"info" => Kind::Done(Outcome::Info),
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Done(Outcome::Ok) => "ok",
            Kind::Done(Outcome::Fail) => "fail",
            Kind::Done(Outcome::Info) => "info",
        }
    }
}

/// Whose event it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Actor {
    Client(u32),
    /// Anything that is no number: a nemesis.
    Other(Json),
}

/// One event, its names interned.
pub(super) struct Event {
    pub(super) line: u64,
    pub(super) actor: Actor,
    pub(super) kind: Kind,
    pub(super) f: u16,
    /// The key, where the event has a field for it.
    pub(super) key: Option<u32>,
    pub(super) value: Json,
    pub(super) time: Option<i64>,
    pub(super) index: Option<u64>,
    /// Its other fields; gathered only for who watches.
    pub(super) more: Vec<(String, Json)>,
}

/// An event while its fields are being read, in whatever order they come.
pub(super) struct Draft {
    line: u64,
    pub(super) process: Option<Json>,
    pub(super) kind: Option<Kind>,
    pub(super) f: Option<u16>,
    pub(super) key: Option<u32>,
    pub(super) value: Json,
    pub(super) time: Option<i64>,
    pub(super) index: Option<u64>,
    pub(super) more: Vec<(String, Json)>,
}

impl Draft {
    pub(super) fn new(line: u64) -> Self {
        Draft {
            line,
            process: None,
            kind: None,
            f: None,
            key: None,
            value: Json::Null,
            time: None,
            index: None,
            more: Vec::new(),
        }
    }

    /// The event, when all its fields are in. `spell` writes a field's name as the format does.
    pub(super) fn finish(self, spell: impl Fn(&str) -> String) -> Result<Event, Trouble> {
        let line = self.line;
        let malformed = |what: String| Trouble::Malformed(line, what);
        let missing = |field: &str| malformed(format!("expected a field {} in this event", spell(field)));
        let actor = match self.process.ok_or_else(|| missing("process"))? {
            Json::Number(number) => {
                let client = number.as_u64().and_then(|number| u32::try_from(number).ok());
                Actor::Client(client.ok_or_else(|| {
                    malformed(format!("expected a process number from 0 to 4294967295, found {number}"))
                })?)
            }
            other => Actor::Other(other),
        };
        // A nemesis is no part of the history proper: it may leave out what operations need.
        let other = matches!(actor, Actor::Other(_));
        Ok(Event {
            line,
            actor,
            kind: self.kind.or(other.then_some(Kind::Done(Outcome::Info))).ok_or_else(|| missing("type"))?,
            f: self.f.or(other.then_some(NO_FUNCTION)).ok_or_else(|| missing("f"))?,
            key: self.key,
            value: self.value,
            time: self.time,
            index: self.index,
            more: self.more,
        })
    }
}

/// What a nemesis's event without a function has.
const NO_FUNCTION: u16 = u16::MAX;

/// One event in its place, for whoever watches a history being read.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its position in the order of events.
    pub position: u32,
    /// Its time, where it has one (Jepsen's and ours: ns since the run began).
    pub time: Option<i64>,
    /// The client's number, or the nemesis's name.
    pub process: Json,
    /// `invoke`, `ok`, `fail` or `info`.
    pub kind: &'static str,
    /// The function; empty for a nemesis's event without one.
    pub f: &'a str,
    /// The key; [`Value::Nil`] where there is none.
    pub key: &'a Value,
    /// The value, without the key.
    pub value: &'a Json,
    /// All other fields.
    pub more: &'a [(String, Json)],
}

/// Takes each event as it is read; an error ends the reading.
pub type Watch<'a> = dyn FnMut(Seen<'_>) -> std::io::Result<()> + 'a;

struct Pending {
    call: u32,
    line: u64,
    time: Option<i64>,
}

/// The event with the latest time so far.
struct Newest {
    time: i64,
    line: u64,
    kind: Kind,
    f: u16,
    actor: Actor,
}

/// Whether values are `[key value]`, decided by the first operation that can tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyed {
    Undecided,
    No,
    Yes { since: u64 },
}

/// Builds [`Calls`] from events in the order they were recorded. Memory: the calls, and the open operations.
pub(super) struct Pairing<'a> {
    pub(super) calls: Calls,
    watch: Option<&'a mut Watch<'a>>,
    /// What the watcher said when it could take no more.
    pub(super) refused: Option<std::io::Error>,
    /// Whether the first event was the `run` of our own recorder; unknown before there is one.
    ours: Option<bool>,
    open: Fast<u32, Pending>,
    next: u32,
    newest: Option<Newest>,
    disorder: u64,
    keyed: Keyed,
}

impl<'a> Pairing<'a> {
    pub(super) fn new(keyed: Option<bool>, watch: Option<&'a mut Watch<'a>>) -> Self {
        let keyed = match keyed {
            None => Keyed::Undecided,
            Some(false) => Keyed::No,
            Some(true) => Keyed::Yes { since: 1 },
        };
        Pairing {
            calls: Calls::new(),
            watch,
            refused: None,
            ours: None,
            open: Fast::default(),
            next: 0,
            newest: None,
            disorder: 0,
            keyed,
        }
    }

    /// Whether events are wanted whole, with fields that no operation needs.
    pub(super) fn watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The position of the next event: its `index` where it has one, else one more than the last.
    fn position(&mut self, index: Option<u64>) -> Result<u32, String> {
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
        let f = usize::from(event.f);
        if self.ours.is_none() {
            let run = self.calls.functions.get(f).is_some_and(|name| &**name == "run");
            self.ours = Some(run && event.actor == Actor::Other(Json::from("nemesis")));
        }
        self.watch_clock(&event);
        let key = match (&event.actor, event.kind) {
            (Actor::Other(_), _) => 0,
            (Actor::Client(process), Kind::Invoke) => self.invoke(*process, &event, position)?,
            (Actor::Client(process), Kind::Done(outcome)) => {
                self.complete(*process, &event, outcome, position)?
            }
        };
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let (process, value) = match event.actor {
            Actor::Client(process) if event.key.is_none() && matches!(self.keyed, Keyed::Yes { .. }) => {
                (Json::from(process), event.value.get(1).unwrap_or(&event.value))
            }
            Actor::Client(process) => (Json::from(process), &event.value),
            Actor::Other(name) => (name, &event.value),
        };
        let seen = Seen {
            position,
            time: event.time,
            process,
            kind: event.kind.name(),
            f: self.calls.functions.get(f).map_or("", |name| name),
            key: self.calls.keys.get(key as usize).unwrap_or(&Value::Nil),
            value,
            more: &event.more,
        };
        watch(seen).map_err(|error| {
            self.refused = Some(error);
            String::new()
        })
    }

    fn watch_clock(&mut self, event: &Event) {
        let Some(time) = event.time else { return };
        if let Some(newest) = self.newest.as_ref().filter(|newest| time < newest.time) {
            self.disorder += 1;
            if self.disorder == 1 {
                let note = format!(
                    "line {}: time {time} is before {} of line {}: {} comes after {}; the order of the file is taken as the order of events",
                    event.line,
                    newest.time,
                    newest.line,
                    self.named(&event.actor, event.kind, event.f),
                    self.named(&newest.actor, newest.kind, newest.f),
                );
                self.calls.notes.push(note);
            }
            return;
        }
        let Event { line, kind, f, .. } = *event;
        self.newest = Some(Newest { time, line, kind, f, actor: event.actor.clone() });
    }

    /// An event, for people: `process 3's ok of read`.
    fn named(&self, actor: &Actor, kind: Kind, f: u16) -> String {
        let who = match actor {
            Actor::Client(process) => format!("process {process}"),
            Actor::Other(Json::String(name)) => name.clone(),
            Actor::Other(other) => other.to_string(),
        };
        let what =
            self.calls.functions.get(usize::from(f)).map_or(String::new(), |name| format!(" of {name}"));
        format!("{who}'s {}{what}", kind.name())
    }

    fn invoke(&mut self, process: u32, event: &Event, position: u32) -> Result<u32, String> {
        if let Some(pending) = self.open.get(&process) {
            return Err(format!(
                "process {process} invokes while its operation of line {} is still open",
                pending.line
            ));
        }
        let (key, value) = self.split(event)?;
        let input = self.calls.values.intern(value);
        let call = self.calls.calls.len() as u32;
        self.calls.calls.push(Call {
            process,
            key,
            input,
            output: ValueId::NIL,
            invoke: position,
            ret: OPEN,
            f: event.f,
            outcome: Outcome::Info,
        });
        self.open.insert(process, Pending { call, line: event.line, time: event.time });
        Ok(key)
    }

    fn complete(
        &mut self,
        process: u32,
        event: &Event,
        outcome: Outcome,
        position: u32,
    ) -> Result<u32, String> {
        let Some(pending) = self.open.remove(&process) else {
            return Err(format!("process {process} completes an operation it never invoked"));
        };
        let invoked = self.calls.calls[pending.call as usize];
        if invoked.f != event.f {
            let name = |f: u16| self.calls.functions.get(usize::from(f)).map_or("?", |name| &**name);
            return Err(format!(
                "process {process} completes a {} but had invoked a {} on line {}",
                name(event.f),
                name(invoked.f),
                pending.line
            ));
        }
        if let (Some(began), Some(ended)) = (pending.time, event.time)
            && ended < began
        {
            return Err(format!(
                "time runs backwards: process {process} completes at {ended} what it invoked at {began} on line {}",
                pending.line
            ));
        }
        let mut output = ValueId::NIL;
        if outcome == Outcome::Ok {
            let (key, value) = match (event.key, self.keyed) {
                (None, Keyed::No | Keyed::Undecided) => (invoked.key, Value::from_json(&event.value)),
                _ => self.split(event)?,
            };
            if key != invoked.key {
                let name = |key: u32| self.calls.keys.get(key as usize).cloned().unwrap_or_default();
                return Err(format!(
                    "process {process} completes on key {} what it invoked on key {} on line {}",
                    name(key),
                    name(invoked.key),
                    pending.line
                ));
            }
            output = self.calls.values.intern(value);
            // Our own recorder keeps what the node answered a write with; what it wrote is what was asked.
            if output != ValueId::NIL && output != invoked.input && self.ours == Some(false) {
                self.repeated(process, &invoked, output, pending.line)?;
            }
        }
        let call = &mut self.calls.calls[pending.call as usize];
        call.outcome = outcome;
        call.output = output;
        call.ret = if outcome == Outcome::Info { OPEN } else { position };
        Ok(invoked.key)
    }

    /// Whether a completion with another value than the invocation's is an answer, and no contradiction.
    fn repeated(&self, process: u32, invoked: &Call, output: ValueId, line: u64) -> Result<(), String> {
        let f = self.calls.functions.get(usize::from(invoked.f)).map_or("?", |name| &**name);
        // Looking at a name is quick, and of nearly all operations enough: reads.
        if matches!(f, "read" | "get") {
            return Ok(());
        }
        let (asked, answered) = (self.calls.values.get(invoked.input), self.calls.values.get(output));
        match contradiction(f, &asked, &answered) {
            Some(what) => Err(format!(
                "process {process} completes {what}, invoked on line {line}: a completion has the value again, or nil"
            )),
            None => Ok(()),
        }
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

    /// The calls, when all events are in. Operations still open have an unknown outcome. Those of our own runs are taken
    /// as [`Calls::from_history`] takes them: as clients of a single copy would have them.
    pub(super) fn finish(mut self) -> Calls {
        if self.ours == Some(true) {
            self.calls.as_of_a_single_copy();
        }
        if self.disorder > 1 {
            self.calls
                .notes
                .push(format!("{} events in all have a time before an earlier event's", self.disorder));
        }
        self.calls.calls.shrink_to_fit();
        self.calls
    }
}
