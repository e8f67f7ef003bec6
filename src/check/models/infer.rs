//! Which model a history is of, told by the names of its functions.
//!
//! A name that only one kind of object has decides: `acquire`, `enqueue`, `append`, `cas` … What several objects have
//! in common (`read`, `get`) decides nothing; `add` leaves a set or a counter, which the values that were read tell
//! apart. Where names contradict each other or leave several models, the user has to say: a wrong model would make a
//! correct system look broken.
//!
//! Two models know compare-and-set. `cas-register` claims less (a failed one says nothing, and neither does a
//! completed read of nil), so it is taken unless the format says more: in Jepsen's logs of etcd, which Porcupine keeps, both are
//! observations. For the same reason a register in EDN or in Jepsen's JSON whose reads returned nil is a
//! `cas-register`: Knossos takes such a read, on any register, as one whose value was not recorded. That is a guess, so
//! the other meaning comes along as a [`Doubt`].

use super::{Model, items};
use crate::history::Outcome;
use crate::history::calls::{Calls, ValueId};
use crate::history::import::Format;

/// Which functions a model knows, and whether a name tells of it alone.
struct Vocabulary {
    model: Model,
    telling: &'static [&'static str],
    others: &'static [&'static str],
}

const VOCABULARIES: [Vocabulary; 8] = [
    Vocabulary { model: Model::MultiRegister, telling: &["txn"], others: &[] },
    Vocabulary { model: Model::Mutex, telling: &["acquire", "release", "lock", "unlock"], others: &[] },
    Vocabulary { model: Model::Queue, telling: &["enqueue", "dequeue"], others: &[] },
    Vocabulary { model: Model::KvAppend, telling: &["append"], others: &["get", "put", "read", "write"] },
    Vocabulary {
        model: Model::CasRegister,
        telling: &["cas"],
        others: &["read", "write", "get", "put", "delete"],
    },
    Vocabulary {
        model: Model::Counter,
        telling: &["increment", "inc", "decrement", "dec"],
        others: &["add", "read", "get"],
    },
    Vocabulary { model: Model::Set, telling: &["remove"], others: &["add", "read"] },
    // After those that know more: `put` and `write` are also theirs.
    Vocabulary { model: Model::Register, telling: &["write", "put", "delete"], others: &["read", "get"] },
];

/// What a history's operations were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The model.
    pub model: Model,
    /// What it may be as well.
    pub doubt: Option<Doubt>,
}

/// Another meaning of the same answers, which claims more. Where it makes a violation of what is none otherwise, nobody
/// but the user can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The model by which the answers mean that.
    pub model: Model,
    /// What to say when the verdict hangs on it.
    pub why: &'static str,
}

const WHAT_NIL_MEANS: Doubt = Doubt {
    model: Model::Register,
    why: "what a completed read of nil means decides here: nothing was found (--model register: a violation), or its \
          value was not recorded, as in Knossos' data (--model cas-register)",
};

impl Model {
    /// The model a history is of.
    ///
    /// # Errors
    /// A sentence that names the candidates, when its functions leave several or fit none.
    pub fn infer(calls: &Calls) -> Result<Model, String> {
        Model::infer_read_as(calls, None).map(|told| told.model)
    }

    /// As [`Model::infer`], of a history that was read in this format.
    ///
    /// # Errors
    /// As [`Model::infer`].
    pub fn infer_read_as(calls: &Calls, format: Option<Format>) -> Result<Told, String> {
        let used = used(calls);
        let told = by_names(&used, calls)?;
        let jepsen = matches!(format, Some(Format::JepsenEdn | Format::JepsenJson));
        let certain = |model| Told { model, doubt: None };
        Ok(match told {
            Model::CasRegister if format == Some(Format::PorcupineLog) => certain(Model::EtcdCasRegister),
            Model::Register if format == Some(Format::PorcupineKv) => certain(Model::KvAppend),
            Model::Register if jepsen && reads_nil(calls) => {
                Told { model: Model::CasRegister, doubt: Some(WHAT_NIL_MEANS) }
            }
            told => certain(told),
        })
    }
}

/// The functions that operations have; the table of names has those of faults, too.
fn used(calls: &Calls) -> Vec<&str> {
    let mut seen = vec![false; calls.functions.len()];
    for call in &calls.calls {
        if let Some(seen) = seen.get_mut(usize::from(call.f)) {
            *seen = true;
        }
    }
    let names = calls.functions.iter().zip(seen).filter(|(_, seen)| *seen).map(|(name, _)| &**name);
    names.filter(|name| *name != "snapshot").collect()
}

fn by_names(used: &[&str], calls: &Calls) -> Result<Model, String> {
    let knows = |vocabulary: &&Vocabulary, name: &str| {
        vocabulary.telling.contains(&name) || vocabulary.others.contains(&name)
    };
    let told: Vec<&Vocabulary> = VOCABULARIES
        .iter()
        .filter(|vocabulary| used.iter().any(|name| vocabulary.telling.contains(name)))
        .filter(|vocabulary| used.iter().all(|name| knows(vocabulary, name)))
        .collect();
    if let Some(vocabulary) = told.first() {
        return Ok(vocabulary.model);
    }
    let list = used.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match used {
        [] => Ok(Model::Register),
        _ if used.contains(&"add") && used.iter().all(|name| ["add", "read", "get"].contains(name)) => {
            set_or_counter(calls, &list)
        }
        ["read"] | ["get"] | ["read", "get"] | ["get", "read"] => {
            let nothing = |id: ValueId| id == ValueId::NIL;
            match calls.calls.iter().all(|call| nothing(call.output)) {
                // Nothing was seen, so nothing can be wrong, whatever it was.
                true => Ok(Model::Register),
                false => Err(which(&list, &[Model::Register, Model::Counter, Model::Set])),
            }
        }
        _ => {
            let some = |vocabulary: &&Vocabulary| used.iter().any(|name| vocabulary.telling.contains(name));
            let near: Vec<Model> =
                VOCABULARIES.iter().filter(some).map(|vocabulary| vocabulary.model).collect();
            let near = match near.as_slice() {
                [] => String::new(),
                [only] => format!("; nearest is {only}"),
                several => format!("; parts of it are {}", or(several)),
            };
            Err(format!("no model knows all of {list}{near}"))
        }
    }
}

fn set_or_counter(calls: &Calls, list: &str) -> Result<Model, String> {
    let (mut lists, mut numbers) = (false, false);
    for call in calls.calls.iter().filter(|call| call.outcome == Outcome::Ok) {
        let read = calls.functions.get(usize::from(call.f)).is_some_and(|name| &**name != "add");
        if !read || call.output == ValueId::NIL {
            continue;
        }
        let value = calls.values.get(call.output);
        lists |= items(&value).is_some();
        numbers |= matches!(value, crate::history::Value::Number(_));
    }
    match (lists, numbers) {
        (true, false) => Ok(Model::Set),
        (false, true) => Ok(Model::Counter),
        _ => Err(which(list, &[Model::Set, Model::Counter])),
    }
}

fn which(list: &str, candidates: &[Model]) -> String {
    format!("the model cannot be told from {list}: it may be {}", or(candidates))
}

/// `set or counter`
fn or(models: &[Model]) -> String {
    let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn reads_nil(calls: &Calls) -> bool {
    calls.calls.iter().any(|call| {
        call.outcome == Outcome::Ok
            && call.output == ValueId::NIL
            && calls.functions.get(usize::from(call.f)).is_some_and(|f| matches!(&**f, "read" | "get"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Counter, Initial, KvAppend, MultiRegister, Mutex, Queue, Register, Said, Set, Spec};
    use super::*;
    use crate::history::Value;
    use crate::history::import::{Options, read_from};

    /// Operations as `f` or `f value`, each completed with that value.
    fn infer(ops: &[&str], format: Option<Format>) -> Result<Model, String> {
        let mut text = "{:process :nemesis :type :info :f :start :value nil}\n".to_owned();
        for op in ops {
            let (f, value) = op.split_once(' ').unwrap_or((op, "nil"));
            text += &format!("{{:process 0 :type :invoke :f :{f} :value {value}}}");
            text += &format!("{{:process 0 :type :ok :f :{f} :value {value}}}\n");
        }
        let options = Options { format: Some(Format::JepsenEdn), keyed: Some(false) };
        let calls = read_from(text.as_bytes(), Path::new("h"), options).map_err(|error| error.to_string())?;
        Model::infer_read_as(&calls, format).map(|told| told.model)
    }

    #[test]
    fn a_guess_comes_with_its_doubt() {
        let doubt = |text: &str, format| {
            let options = Options { format: Some(Format::JepsenEdn), keyed: Some(false) };
            let calls = read_from(text.as_bytes(), Path::new("h"), options).expect("it is whole");
            Model::infer_read_as(&calls, Some(format)).expect("it has a model").doubt.map(|doubt| doubt.model)
        };
        let read = |value: &str| {
            format!("{{:process 0 :type :invoke :f :read}}{{:process 0 :type :ok :f :read :value {value}}}")
        };
        let write = "{:process 0 :type :invoke :f :write :value 1}{:process 0 :type :ok :f :write :value 1}";
        let cas = "{:process 0 :type :invoke :f :cas :value [1 2]}";
        let nil = format!("{write}{}", read("nil"));
        assert_eq!(doubt(&nil, Format::JepsenEdn), Some(Model::Register));
        assert_eq!(doubt(&nil, Format::Jsonl), None, "ours say what was found");
        assert_eq!(doubt(&format!("{write}{}", read("1")), Format::JepsenEdn), None, "no read of nil");
        assert_eq!(doubt(&format!("{nil}{cas}"), Format::JepsenEdn), None, "Knossos' own model");
    }

    #[test]
    fn names_tell_the_model() {
        for (ops, model) in [
            (&["read 3", "write 3"][..], Model::Register),
            (&["get", "put", "delete"], Model::Register),
            (&["read", "cas"], Model::CasRegister),
            (&["get", "append"], Model::KvAppend),
            (&["get", "put", "append"], Model::KvAppend),
            (&["enqueue", "dequeue"], Model::Queue),
            (&["dequeue"], Model::Queue),
            (&["acquire"], Model::Mutex),
            (&["lock", "unlock"], Model::Mutex),
            (&["txn"], Model::MultiRegister),
            (&["add 3", "read [3]"], Model::Set),
            (&["add 3", "remove 3"], Model::Set),
            (&["add 3", "read 3"], Model::Counter),
            (&["increment", "read 3"], Model::Counter),
            (&["read"], Model::Register),
            (&[], Model::Register),
        ] {
            assert_eq!(infer(ops, None), Ok(model), "{ops:?}");
        }
        for (ops, why) in [
            (&["add 3", "read"][..], "the model cannot be told from `add`, `read`: it may be set or counter"),
            (&["read 3"], "the model cannot be told from `read`: it may be register, counter or set"),
            (&["read", "generate"], "no model knows all of `read`, `generate`"),
            (&["read", "enqueue"], "no model knows all of `read`, `enqueue`; nearest is queue"),
            (
                &["cas", "enqueue"],
                "no model knows all of `cas`, `enqueue`; parts of it are queue or cas-register",
            ),
        ] {
            assert_eq!(infer(ops, None), Err(why.to_owned()), "{ops:?}");
        }
    }

    #[test]
    fn the_format_says_what_nil_and_failure_mean() {
        for (ops, format, model) in [
            (&["read", "cas"][..], Format::PorcupineLog, Model::EtcdCasRegister),
            (&["read", "cas"], Format::JepsenEdn, Model::CasRegister),
            (&["read", "write"], Format::PorcupineLog, Model::Register),
            (&["read", "write"], Format::JepsenEdn, Model::CasRegister),
            (&["read 1", "write 1"], Format::JepsenEdn, Model::Register),
            (&["read", "write"], Format::Jsonl, Model::Register),
            (&["get", "put"], Format::PorcupineKv, Model::KvAppend),
        ] {
            assert_eq!(infer(ops, Some(format)), Ok(model), "{ops:?} {format}");
        }
    }

    /// The vocabularies are those of the specifications.
    #[test]
    fn every_name_is_known_to_its_model() {
        let names: Vec<&str> =
            VOCABULARIES.iter().flat_map(|known| known.telling.iter().chain(known.others).copied()).collect();
        fn knows(spec: Result<impl Spec, String>, f: &str) -> bool {
            let said = Said { f, input: &Value::Nil, output: &Value::Nil, outcome: Outcome::Info };
            match spec.expect("the default start suits every model").decode(said) {
                Ok(_) => true,
                Err(why) => !why.contains("knows"),
            }
        }
        let initial = Initial::Default;
        for vocabulary in &VOCABULARIES {
            for name in &names {
                let known = match vocabulary.model {
                    Model::Register | Model::CasRegister | Model::EtcdCasRegister => {
                        knows(Register::new(vocabulary.model, &initial), name)
                    }
                    Model::MultiRegister => knows(MultiRegister::new(&initial), name),
                    Model::KvAppend => knows(KvAppend::new(&initial), name),
                    Model::Counter => knows(Counter::new(&initial), name),
                    Model::Set => knows(Set::new(&initial), name),
                    Model::Queue => knows(Queue::new(&initial), name),
                    Model::Mutex => knows(Mutex::new(&initial), name),
                };
                let listed = vocabulary.telling.contains(name) || vocabulary.others.contains(name);
                assert_eq!(known, listed, "{} and {name}", vocabulary.model);
            }
        }
    }
}
