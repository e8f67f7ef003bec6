//! The compact form of a history that the general checkers work on: one [`Call`] of 28 bytes an operation.
//!
//! A call's place in time is the *position* of its events, not their timestamps: histories without timestamps
//! exist, and where two events carry the same nanosecond the order in which they were recorded decides. Names,
//! keys and values are interned; small whole numbers, which is what nearly every generated value is, are their own
//! id and take no room in a table.

use std::collections::HashMap;
use std::sync::Arc;

use super::model::single_copy_name;
use super::{History, Outcome, Value};

/// The position of an event that never came.
pub const OPEN: u32 = u32::MAX;

/// A value, interned in [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

const SMALL: u32 = 1 << 31;

impl ValueId {
    /// The id of [`Value::Nil`] in every table.
    pub const NIL: ValueId = ValueId(0);

    /// The id of a whole number in `0..2^31`, the same in every table.
    pub fn small(int: i64) -> Option<ValueId> {
        u32::try_from(int).ok().filter(|small| *small < SMALL).map(|small| ValueId(small | SMALL))
    }

    /// The id as a plain number, for tables indexed by it.
    pub fn raw(self) -> u32 {
        self.0
    }

    /// The whole number this is, when it is a small one.
    pub fn as_small(self) -> Option<u32> {
        (self.0 & SMALL != 0).then_some(self.0 & !SMALL)
    }
}

/// The table of values.
#[derive(Clone, Debug)]
pub struct Values {
    table: Vec<Value>,
    ids: HashMap<Value, u32>,
}

impl Default for Values {
    fn default() -> Self {
        Values { table: vec![Value::Nil], ids: HashMap::from([(Value::Nil, 0)]) }
    }
}

impl Values {
    /// The id of `value`; equal values have equal ids.
    pub fn intern(&mut self, value: Value) -> ValueId {
        match &value {
            Value::Nil => return ValueId::NIL,
            Value::Number(super::Number::Int(int)) => {
                if let Some(id) = ValueId::small(*int) {
                    return id;
                }
            }
            _ => {}
        }
        if let Some(id) = self.ids.get(&value) {
            return ValueId(*id);
        }
        let id = self.table.len() as u32;
        self.table.push(value.clone());
        self.ids.insert(value, id);
        ValueId(id)
    }

    /// The id of `value`, where it has one already.
    pub fn find(&self, value: &Value) -> Option<ValueId> {
        match value {
            Value::Number(super::Number::Int(int)) if ValueId::small(*int).is_some() => ValueId::small(*int),
            other => self.ids.get(other).map(|id| ValueId(*id)),
        }
    }

    /// The value behind an id of this table.
    pub fn get(&self, id: ValueId) -> Value {
        match id.as_small() {
            Some(small) => Value::int(i64::from(small)),
            None => self.table.get(id.0 as usize).cloned().unwrap_or_default(),
        }
    }

    /// One more than the largest id that is not a small number.
    pub fn table_len(&self) -> usize {
        self.table.len()
    }
}

/// One operation: positions, names and values as ids into its [`Calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The client process.
    pub process: u32,
    /// The key ([`Calls::keys`]); `0` is "no key".
    pub key: u32,
    /// What the invocation carried.
    pub input: ValueId,
    /// What an `ok` completion carried; [`ValueId::NIL`] otherwise.
    pub output: ValueId,
    /// Position of the invocation. Names the operation in reports.
    pub invoke: u32,
    /// Position of the completion of an `ok` or `fail`; [`OPEN`] when the outcome is unknown.
    pub ret: u32,
    /// The function ([`Calls::functions`]).
    pub f: u16,
    /// How it ended.
    pub outcome: Outcome,
}

/// A history in compact form.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// All calls, by invocation.
    pub calls: Vec<Call>,
    /// Names of the functions.
    pub functions: Vec<Arc<str>>,
    /// The keys; the first is "no key" ([`Value::Nil`]) once there is any call.
    pub keys: Vec<Value>,
    /// The values.
    pub values: Values,
    /// What was noticed while reading and does not make the history unusable, for people.
    pub notes: Vec<String>,
    text_keys: HashMap<Arc<str>, u32>,
    other_keys: HashMap<Value, u32>,
}

impl Calls {
    /// Nothing yet.
    pub fn new() -> Self {
        Calls { keys: vec![Value::Nil], ..Calls::default() }
    }

    /// The id of the function called `name`. There are at most 65,536: more are folded into the last,
    /// which no model knows.
    pub fn function(&mut self, name: &str) -> u16 {
        if let Some(at) = self.functions.iter().position(|known| **known == *name) {
            return at as u16;
        }
        if self.functions.len() < usize::from(u16::MAX) {
            self.functions.push(name.into());
        }
        (self.functions.len() - 1) as u16
    }

    /// Leaves out what promises nothing of a single copy and calls the rest by its names ([`single_copy_name`]).
    pub fn as_of_a_single_copy(&mut self) {
        let names: Vec<Arc<str>> = self.functions.iter().map(|name| (**name).into()).collect();
        let plain: Vec<Option<u16>> =
            names.iter().map(|name| single_copy_name(name).map(|plain| self.function(plain))).collect();
        self.calls.retain_mut(|call| match plain.get(usize::from(call.f)) {
            Some(Some(plain)) => {
                call.f = *plain;
                true
            }
            Some(None) => false,
            None => true,
        });
    }

    /// The id of a key that is a string, without building a [`Value`] when it is known.
    pub fn text_key(&mut self, name: &str) -> u32 {
        if let Some(id) = self.text_keys.get(name) {
            return *id;
        }
        let id = self.keys.len() as u32;
        let shared: Arc<str> = name.into();
        self.keys.push(Value::Text(shared.clone()));
        self.text_keys.insert(shared, id);
        id
    }

    /// The id of any key; [`Value::Nil`] is "no key".
    pub fn key(&mut self, key: Value) -> u32 {
        match key {
            Value::Nil => 0,
            Value::Text(text) => self.text_key(&text),
            other => match self.other_keys.get(&other) {
                Some(id) => *id,
                None => {
                    let id = self.keys.len() as u32;
                    self.keys.push(other.clone());
                    self.other_keys.insert(other, id);
                    id
                }
            },
        }
    }

    /// From the paired operations of a run, as clients of a single copy would have them: what read at a weaker level, and
    /// what the harness asked for itself, is left out ([`single_copy_name`]). [`Op::index`](super::Op::index) becomes the position, so a call's
    /// `invoke` names the operation. `None` when an index does not fit 32 bits.
    pub fn from_history(history: &History) -> Option<Calls> {
        let mut calls = Calls::new();
        calls.calls.reserve(history.ops.len());
        for op in history.ops.iter().filter(|op| op.snapshot.is_none()) {
            let Some(f) = single_copy_name(&op.f) else { continue };
            let value = calls.values.intern(op.value.clone());
            let read = matches!(f, "read" | "get");
            let ok = op.outcome == Outcome::Ok;
            let call = Call {
                process: u32::try_from(op.process).ok()?,
                key: op.key.as_ref().map_or(0, |key| calls.text_key(key)),
                input: if read { ValueId::NIL } else { value },
                output: if ok { value } else { ValueId::NIL },
                invoke: position(op.index)?,
                ret: match (op.outcome, op.end_index) {
                    (Outcome::Ok | Outcome::Fail, Some(end)) => position(end)?,
                    _ => OPEN,
                },
                f: calls.function(f),
                outcome: op.outcome,
            };
            calls.calls.push(call);
        }
        Some(calls)
    }

    /// The calls of each key: indices into [`Calls::calls`], in order of invocation, concatenated by key, and
    /// where each key's begin (one more entry than there are keys).
    pub fn by_key(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0_u32; self.keys.len() + 1];
        for call in &self.calls {
            starts[call.key as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; self.calls.len()];
        for (index, call) in self.calls.iter().enumerate() {
            let slot = &mut next[call.key as usize];
            order[*slot as usize] = index as u32;
            *slot += 1;
        }
        (order, starts)
    }

    /// An operation in a sentence: `p3 read 17`, `p1 write 4 (outcome unknown)`.
    pub fn describe(&self, call: &Call) -> String {
        let f = self.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
        let show = |id| match self.values.get(id) {
            Value::Nil => "nil".to_owned(),
            other => other.to_string(),
        };
        let said = match call.outcome {
            Outcome::Ok
                if call.input == call.output || call.output == ValueId::NIL && call.input != ValueId::NIL =>
            {
                show(call.input)
            }
            Outcome::Ok if call.input == ValueId::NIL => show(call.output),
            Outcome::Ok => format!("{} → {}", show(call.input), show(call.output)),
            Outcome::Fail => format!("{} (failed)", show(call.input)),
            Outcome::Info => format!("{} (outcome unknown)", show(call.input)),
        };
        match self.keys.get(call.key as usize) {
            Some(key) if !key.is_nil() => format!("p{} {f} {said} of {key}", call.process),
            _ => format!("p{} {f} {said}", call.process),
        }
    }
}

fn position(index: u64) -> Option<u32> {
    u32::try_from(index).ok().filter(|position| *position < OPEN)
}
