//! One register: read, write, compare-and-set.

use std::collections::HashSet;

use super::{Initial, Meaning, Model, Said, Spec, items, show};
use crate::history::{Outcome, Value};

/// `register`, `cas-register` and `etcd-cas-register`: they differ in what outcomes mean, not in what a register does.
#[derive(Clone, Debug)]
pub struct Register {
    model: Model,
    initial: Value,
}

/// An operation on a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOp {
    /// It holds this.
    Read(Value),
    /// It holds this from now on.
    Write(Value),
    /// It held the first and holds the second from now on.
    Cas(Value, Value),
    /// It does not hold this.
    Differs(Value),
}

impl Register {
    /// A register of one of the three models. The default start is [`Value::Nil`].
    ///
    /// # Errors
    /// A sentence, when `initial` names several registers.
    pub fn new(model: Model, initial: &Initial) -> Result<Self, String> {
        let initial = match initial {
            Initial::Default => Value::Nil,
            Initial::Value(value) => value.clone(),
            Initial::Registers(_) => {
                return Err(format!("the model `{model}` has one initial value, as in 0 or nil"));
            }
        };
        Ok(Register { model, initial })
    }

    /// Whether a completed read of `nil` says nothing: its value was not recorded.
    pub fn nil_is_unrecorded(model: Model) -> bool {
        model == Model::CasRegister
    }
}

impl Spec for Register {
    type State = Value;
    type Op = RegisterOp;

    fn initial(&self) -> Value {
        self.initial.clone()
    }

    fn step(&self, state: &Value, op: &RegisterOp) -> Option<Value> {
        match op {
            RegisterOp::Read(value) => (state == value).then(|| state.clone()),
            RegisterOp::Write(value) => Some(value.clone()),
            RegisterOp::Cas(from, to) => (state == from).then(|| to.clone()),
            RegisterOp::Differs(value) => (state != value).then(|| state.clone()),
        }
    }

    fn only_reads(&self, op: &RegisterOp) -> bool {
        match op {
            RegisterOp::Read(_) | RegisterOp::Differs(_) => true,
            RegisterOp::Write(_) => false,
            RegisterOp::Cas(from, to) => from == to,
        }
    }

    fn leaves(&self, op: &RegisterOp) -> Option<Value> {
        match op {
            RegisterOp::Read(value) | RegisterOp::Write(value) | RegisterOp::Cas(_, value) => {
                Some(value.clone())
            }
            RegisterOp::Differs(_) => None,
        }
    }

    fn overwrites(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Write(_))
    }

    fn decode(&self, said: Said<'_>) -> Result<Meaning<RegisterOp>, String> {
        Ok(match said.f {
            "read" | "get" if said.output.is_nil() && Register::nil_is_unrecorded(self.model) => {
                Meaning::Nothing
            }
            "read" | "get" => said.observation(RegisterOp::Read(said.output.clone())),
            "write" | "put" => said.effect(RegisterOp::Write(said.input.clone())),
            "delete" => said.effect(RegisterOp::Write(Value::Nil)),
            "cas" if self.model != Model::Register => {
                let pair = items(said.input).and_then(|items| <[Value; 2]>::try_from(items).ok());
                let Some([from, to]) = pair else { return said.bad_value("[expected new]", said.input) };
                match said.outcome {
                    Outcome::Fail if self.model == Model::EtcdCasRegister => {
                        Meaning::Must(RegisterOp::Differs(from))
                    }
                    _ => said.effect(RegisterOp::Cas(from, to)),
                }
            }
            _ if self.model == Model::Register => return said.unknown(self.model, "read, write and delete"),
            _ => return said.unknown(self.model, "read, write, delete and cas"),
        })
    }

    /// A write of unknown outcome whose value nobody saw may never have happened: taken out of any legal order, what
    /// followed it up to the next write found the value before it, and none of them looked. With observations of
    /// what the register did *not* hold that is no longer so.
    fn unobserved(&self, ops: &[RegisterOp]) -> Vec<bool> {
        let mut seen = HashSet::new();
        for op in ops {
            match op {
                RegisterOp::Read(value) | RegisterOp::Cas(value, _) => {
                    seen.insert(value);
                }
                RegisterOp::Differs(_) => return vec![false; ops.len()],
                RegisterOp::Write(_) => {}
            }
        }
        let unseen = |op: &RegisterOp| match op {
            RegisterOp::Write(value) | RegisterOp::Cas(_, value) => !seen.contains(value),
            _ => false,
        };
        ops.iter().map(unseen).collect()
    }

    fn show(&self, state: &Value) -> String {
        show(state)
    }
}
