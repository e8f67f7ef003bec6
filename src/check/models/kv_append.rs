//! A string with get, put and append.

use std::sync::Arc;

use super::{Initial, Meaning, Model, Said, Spec};
use crate::history::Value;

/// `kv-append`: each key holds a string, empty at first. A get of `nil` is a get of the empty string.
#[derive(Clone, Debug)]
pub struct KvAppend {
    initial: Arc<str>,
}

/// An operation on a string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringOp {
    /// It is this.
    Get(Arc<str>),
    /// It is this from now on.
    Put(Arc<str>),
    /// It has this at its end from now on.
    Append(Arc<str>),
}

impl KvAppend {
    /// # Errors
    /// A sentence, when `initial` names several registers.
    pub fn new(initial: &Initial) -> Result<Self, String> {
        match initial {
            Initial::Default => Ok(KvAppend { initial: "".into() }),
            Initial::Value(value) => Ok(KvAppend { initial: text(value) }),
            Initial::Registers(_) => Err("the model `kv-append` has one initial string for all keys".into()),
        }
    }
}

fn text(value: &Value) -> Arc<str> {
    match value {
        Value::Nil => "".into(),
        Value::Text(text) => text.clone(),
        other => other.to_string().into(),
    }
}

impl Spec for KvAppend {
    type State = Arc<str>;
    type Op = StringOp;

    fn initial(&self) -> Arc<str> {
        self.initial.clone()
    }

    fn step(&self, state: &Arc<str>, op: &StringOp) -> Option<Arc<str>> {
        match op {
            StringOp::Get(value) => (state == value).then(|| state.clone()),
            StringOp::Put(value) => Some(value.clone()),
            StringOp::Append(tail) if tail.is_empty() => Some(state.clone()),
            StringOp::Append(tail) => Some([&**state, &**tail].concat().into()),
        }
    }

    fn only_reads(&self, op: &StringOp) -> bool {
        match op {
            StringOp::Get(_) => true,
            StringOp::Put(_) => false,
            StringOp::Append(tail) => tail.is_empty(),
        }
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<StringOp>, String> {
        Ok(match said.f {
            "get" | "read" => said.observation(StringOp::Get(text(said.output))),
            "put" | "write" => said.effect(StringOp::Put(text(said.input))),
            "append" => said.effect(StringOp::Append(text(said.input))),
            _ => return said.unknown(Model::KvAppend, "get, put and append"),
        })
    }

    fn heap_bytes(&self, state: &Arc<str>) -> usize {
        state.len()
    }

    fn show(&self, state: &Arc<str>) -> String {
        format!("{state:?}")
    }
}
