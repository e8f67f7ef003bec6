//! Several registers, read and written together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Initial, Meaning, Model, Said, Spec, items, show};
use crate::history::{Outcome, Value};

/// `multi-register`: transactions `[[:read :x 1] [:write :y 2]]`, also with `:r` and `:w`. A read of `nil` inside a
/// transaction was not recorded, as in Knossos.
#[derive(Clone, Debug)]
pub struct MultiRegister {
    initial: BTreeMap<Arc<str>, Value>,
}

/// One read or write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Micro {
    /// The register holds this.
    Read(Arc<str>, Value),
    /// It holds this from now on.
    Write(Arc<str>, Value),
}

impl MultiRegister {
    /// Registers that `initial` does not name start as [`Value::Nil`].
    ///
    /// # Errors
    /// A sentence, when `initial` is a single value that is not nil.
    pub fn new(initial: &Initial) -> Result<Self, String> {
        match initial {
            Initial::Default | Initial::Value(Value::Nil) => Ok(MultiRegister { initial: BTreeMap::new() }),
            Initial::Registers(registers) => Ok(MultiRegister { initial: registers.clone() }),
            Initial::Value(value) => Err(format!(
                "the model `multi-register` needs an initial value a register, as in x=0,y=0; found {value}"
            )),
        }
    }
}

fn transaction(value: &Value) -> Option<Vec<Micro>> {
    items(value)?
        .iter()
        .map(|micro| {
            let [f, register, value] = <[Value; 3]>::try_from(items(micro)?).ok()?;
            let name: Arc<str> = match register {
                Value::Text(name) => name,
                other => other.to_string().into(),
            };
            match f {
                Value::Text(f) if matches!(&*f, "read" | "r") => Some(Micro::Read(name, value)),
                Value::Text(f) if matches!(&*f, "write" | "w") => Some(Micro::Write(name, value)),
                _ => None,
            }
        })
        .collect()
}

/// The registers that an answered transaction read before it wrote them, and what it found there.
pub(in crate::check) fn first_read(answer: &Value) -> Vec<(Arc<str>, Value)> {
    let mut first: Vec<(Arc<str>, Value)> = Vec::new();
    let mut touched: Vec<Arc<str>> = Vec::new();
    for micro in transaction(answer).unwrap_or_default() {
        let (Micro::Read(name, _) | Micro::Write(name, _)) = &micro;
        if touched.contains(name) {
            continue;
        }
        touched.push(name.clone());
        if let Micro::Read(name, value) = micro
            && !value.is_nil()
        {
            first.push((name, value));
        }
    }
    first
}

/// The registers and values that a transaction would write.
pub(in crate::check) fn written(input: &Value) -> Vec<(Arc<str>, Value)> {
    let write = |micro| match micro {
        Micro::Write(name, value) => Some((name, value)),
        Micro::Read(..) => None,
    };
    transaction(input).unwrap_or_default().into_iter().filter_map(write).collect()
}

impl Spec for MultiRegister {
    type State = BTreeMap<Arc<str>, Value>;
    type Op = Vec<Micro>;

    fn initial(&self) -> Self::State {
        self.initial.clone()
    }

    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let mut next = state.clone();
        for micro in op {
            match micro {
                Micro::Read(name, value) => {
                    if next.get(name).unwrap_or(&Value::Nil) != value {
                        return None;
                    }
                }
                // "Never written" and "holds nil" are one state.
                Micro::Write(name, Value::Nil) => drop(next.remove(name)),
                Micro::Write(name, value) => drop(next.insert(name.clone(), value.clone())),
            }
        }
        Some(next)
    }

    fn only_reads(&self, op: &Self::Op) -> bool {
        op.iter().all(|micro| matches!(micro, Micro::Read(..)))
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<Self::Op>, String> {
        if said.f != "txn" {
            return said.unknown(Model::MultiRegister, "txn");
        }
        // A completion of nil tells nothing of what was read.
        let answered = said.outcome == Outcome::Ok && !said.output.is_nil();
        let value = if answered { said.output } else { said.input };
        let Some(mut op) = transaction(value) else {
            return said.bad_value("[[:read register value] [:write register value] …]", value);
        };
        op.retain(|micro| match micro {
            Micro::Read(_, value) => answered && !value.is_nil(),
            Micro::Write(..) => true,
        });
        Ok(if op.is_empty() { Meaning::Nothing } else { said.effect(op) })
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        state.len() * 64
    }

    fn show(&self, state: &Self::State) -> String {
        if state.is_empty() {
            return "all nil".to_owned();
        }
        let registers: Vec<String> =
            state.iter().map(|(name, value)| format!("{name}={}", show(value))).collect();
        registers.join(" ")
    }
}
