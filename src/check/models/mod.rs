//! Sequential specifications: what one copy of the object, used by one client at a time, would do.
//!
//! A specification is a start state and a partial function `step(state, op) → state`: `None` where the operation could
//! not have had this result in this state. How an operation's *outcome* bears on it is decided once, in
//! [`Spec::decode`]: it happened ([`Meaning::Must`]), it may have happened at any time after its invocation
//! ([`Meaning::May`]), or it neither did anything nor says anything ([`Meaning::Nothing`]).

mod counter;
mod infer;
mod kv_append;
mod multi;
mod mutex;
mod queue;
mod register;
mod set;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::Arc;

pub use counter::{Counter, CounterOp};
pub use infer::{Doubt, Told};
pub use kv_append::KvAppend;
pub use multi::MultiRegister;
pub(super) use multi::{first_read, written};
pub use mutex::Mutex;
pub use queue::{Queue, QueueOp};
pub use register::{Register, RegisterOp};
pub use set::Set;

use crate::history::{Outcome, Value};

/// What an operation's outcome makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning<Op> {
    /// It took effect once between its invocation and its completion.
    Must(Op),
    /// It took effect at most once, at any time after its invocation.
    May(Op),
    /// It had no effect and tells nothing.
    Nothing,
}

/// What was said about one operation.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The function.
    pub f: &'a str,
    /// What the invocation carried.
    pub input: &'a Value,
    /// What the completion carried; [`Value::Nil`] unless `ok`.
    pub output: &'a Value,
    /// How it ended.
    pub outcome: Outcome,
}

impl Said<'_> {
    /// For an operation that has an effect and whose result says nothing: `fail` is nothing.
    fn effect<Op>(&self, op: Op) -> Meaning<Op> {
        match self.outcome {
            Outcome::Ok => Meaning::Must(op),
            Outcome::Info => Meaning::May(op),
            Outcome::Fail => Meaning::Nothing,
        }
    }

    /// For an operation without an effect: only a completed one says something.
    fn observation<Op>(&self, op: Op) -> Meaning<Op> {
        if self.outcome == Outcome::Ok { Meaning::Must(op) } else { Meaning::Nothing }
    }

    pub(super) fn unknown<T>(&self, model: Model, known: &str) -> Result<T, String> {
        Err(format!("the model `{model}` knows {known}; this history has `{}`", self.f))
    }

    pub(super) fn bad_value<T>(&self, expected: &str, found: &Value) -> Result<T, String> {
        Err(format!("`{}` takes {expected}; this history has {found}", self.f))
    }
}

/// A sequential specification.
pub trait Spec: Sync {
    /// The object's state.
    type State: Clone + Eq + Hash + Debug + Send;
    /// An operation with its result.
    type Op: Clone + Eq + Hash + Debug + Send;

    /// The state before all operations.
    fn initial(&self) -> Self::State;

    /// The state after `op`; `None` when `op` cannot have had this result in `state`.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether `op` leaves every state as it is. Such an operation may be taken as soon as it is possible.
    fn only_reads(&self, op: &Self::Op) -> bool;

    /// The state that `op` leaves whatever was before, where it is possible; `None` when that depends.
    fn leaves(&self, _op: &Self::Op) -> Option<Self::State> {
        None
    }

    /// Whether `op` is possible in every state, and leaves the same one whatever was before.
    fn overwrites(&self, _op: &Self::Op) -> bool {
        false
    }

    /// What an operation means.
    ///
    /// # Errors
    /// A sentence, when the model has no such operation or it has no such value.
    fn decode(&self, said: Said<'_>) -> Result<Meaning<Self::Op>, String>;

    /// Which operations of unknown outcome may be left out altogether because nothing could tell whether they
    /// happened. `ops` are all distinct operations of the object's history.
    fn unobserved(&self, ops: &[Self::Op]) -> Vec<bool> {
        vec![false; ops.len()]
    }

    /// Roughly how many bytes a state takes on the heap.
    fn heap_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    /// A state, for people.
    fn show(&self, state: &Self::State) -> String;
}

/// The models by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Reads and writes. A read of `nil` found nothing.
    Register,
    /// And compare-and-set, as Knossos has it: a failed one says only that it did not happen; the value of a read of
    /// `nil` was not recorded.
    CasRegister,
    /// And compare-and-set, as etcd answers: a failed one saw another value; a read of `nil` found nothing.
    EtcdCasRegister,
    /// Several registers, read and written together by transactions. Not divisible by key.
    MultiRegister,
    /// A string a key, with get, put and append.
    KvAppend,
    /// A number with add and read.
    Counter,
    /// A set with add, remove and read.
    Set,
    /// First in, first out.
    Queue,
    /// A lock.
    Mutex,
}

impl Model {
    /// All of them, with their names.
    pub const ALL: [(Model, &'static str); 9] = [
        (Model::Register, "register"),
        (Model::CasRegister, "cas-register"),
        (Model::EtcdCasRegister, "etcd-cas-register"),
        (Model::MultiRegister, "multi-register"),
        (Model::KvAppend, "kv-append"),
        (Model::Counter, "counter"),
        (Model::Set, "set"),
        (Model::Queue, "queue"),
        (Model::Mutex, "mutex"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Model::ALL.iter().find(|(model, _)| *model == self).map_or("?", |(_, name)| name)
    }

    /// Whether each key is an object of its own, so that a history is linearizable when each key's part is
    /// (Herlihy & Wing 1990, locality).
    pub fn by_key(self) -> bool {
        self != Model::MultiRegister
    }
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((model, _)) = Model::ALL.iter().find(|(_, known)| *known == name) {
            return Ok(*model);
        }
        let near = Model::ALL.iter().max_by(|(_, left), (_, right)| {
            strsim::jaro_winkler(left, name).total_cmp(&strsim::jaro_winkler(right, name))
        });
        let names: Vec<&str> = Model::ALL.iter().map(|(_, known)| *known).collect();
        Err(format!(
            "there is no model `{name}`: expected one of {}; did you mean `{}`?",
            names.join(", "),
            near.map_or("register", |(_, known)| known)
        ))
    }
}

/// The state before all operations, as the user gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// The model's own: nothing, zero, empty, free.
    #[default]
    Default,
    /// One value: `0`, `nil`, `abc`.
    Value(Value),
    /// One a register: `x=0,y=0`.
    Registers(BTreeMap<Arc<str>, Value>),
}

impl FromStr for Initial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(Initial::Value(value(text)));
        }
        let mut registers = BTreeMap::new();
        for part in text.split(',') {
            let Some((name, initial)) = part.split_once('=') else {
                return Err(format!(
                    "expected NAME=VALUE, separated by commas, as in x=0,y=0; found `{part}`"
                ));
            };
            if registers.insert(name.trim().into(), value(initial.trim())).is_some() {
                return Err(format!("register `{}` is given twice", name.trim()));
            }
        }
        Ok(Initial::Registers(registers))
    }
}

fn value(text: &str) -> Value {
    match text {
        "nil" | "null" => Value::Nil,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match text.parse::<serde_json::Number>() {
            Ok(number) => Value::from_json(&serde_json::Value::Number(number)),
            Err(_) => Value::Text(text.trim_matches('"').into()),
        },
    }
}

/// The elements of a list value.
pub(super) fn items(value: &Value) -> Option<Vec<Value>> {
    let Value::Json(text) = value else { return None };
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Array(items)) => Some(items.iter().map(Value::from_json).collect()),
        _ => None,
    }
}

/// A value, for people.
pub(super) fn show(value: &Value) -> String {
    if value.is_nil() { "nil".into() } else { value.to_string() }
}
