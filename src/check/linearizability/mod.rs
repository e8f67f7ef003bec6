//! Linearizability: each operation seems to take effect at one moment between its invocation and its completion
//! (Herlihy & Wing 1990).
//!
//! Two engines behind one check, chosen by what each key's history allows: [`zones`] for registers whose written
//! values are distinct, n log n; [`search`] for everything else. Keys are judged apart where the model allows, on as many
//! threads as there are cores. Every invalid verdict comes with a [`Failure`]: the smallest set of operations that
//! is proof by itself ([`proof`]).

mod check;
mod machine;
mod proof;
mod prover;
mod relax;
mod search;
mod steps;
mod supply;
mod table;
mod timeline;
mod zones;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use check::Linearizability;
pub(super) use check::observations;
pub use search::Budget;
pub use timeline::{picture, timeline};

use self::machine::{Interned, Item, Machine};
use self::search::{Found, Stuck};
use self::zones::{Role, Scratch, Setting, Zones};
use super::Verdict;
use super::models::{Counter, Initial, KvAppend, Model, MultiRegister, Mutex, Queue, Register, Set};
use crate::history::Value;
use crate::history::calls::{Calls, ValueId};

/// What finding the smallest proof may take.
const PROOF_TIME: Duration = Duration::from_millis(2500);

/// What to check against.
#[derive(Clone, Debug)]
pub struct Options {
    /// The specification.
    pub model: Model,
    /// Its start.
    pub initial: Initial,
    /// What the general search may spend.
    pub budget: Budget,
    /// Whether the general search is used even where the fast engine would do.
    pub search_only: bool,
    /// Whether an invalid verdict is given its smallest proof.
    pub prove: bool,
    /// How long finding the smallest proof may take; the smallest found by then is given.
    pub proof_time: Duration,
}

impl Options {
    /// With the default budget, the fastest engine and a proof.
    pub fn new(model: Model, initial: Initial) -> Self {
        Options {
            model,
            initial,
            budget: Budget::default(),
            search_only: false,
            prove: true,
            proof_time: PROOF_TIME,
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The conclusion: invalid when any key is, else unknown when any key is.
    pub verdict: Verdict,
    /// Why, when it is unknown.
    pub reason: Option<String>,
    /// How many objects were judged.
    pub keys: usize,
    /// How many of them by the fast engine.
    pub keys_by_zones: usize,
    /// How many are not linearizable.
    pub keys_invalid: usize,
    /// The first of them, explained.
    pub failure: Option<Failure>,
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The key; [`Value::Nil`] where there are none.
    pub key: Value,
    /// The proof, by invocation: with every other operation's result forgotten and its outcome unknown, there is still no
    /// legal order. Indices into [`Calls::calls`].
    pub proof: Vec<u32>,
    /// Whether each operation of the proof is known to be needed.
    pub minimal: bool,
    /// Further operations that help to understand it.
    pub context: Vec<u32>,
    /// For the general search: the states the object could be in where it got stuck.
    pub states: Vec<String>,
    /// What happened, in one sentence.
    pub story: String,
}

/// How one key ended.
enum KeyVerdict {
    Legal,
    Unknown(String),
    Conflict(zones::Conflict),
    Stuck(Stuck),
}

/// Judges a history.
///
/// # Errors
/// A sentence, when the model does not know the history's operations or the initial value does not suit it.
pub fn judge(calls: &Calls, options: &Options) -> Result<Judgement, String> {
    let began = Instant::now();
    // Fails early, before threads are started.
    machine(options)?;
    let (order, starts) = match options.model.by_key() {
        true => calls.by_key(),
        false => ((0..calls.calls.len() as u32).collect(), vec![0, calls.calls.len() as u32]),
    };
    let keys: Vec<usize> = (0..starts.len() - 1).filter(|key| starts[*key] < starts[key + 1]).collect();
    let part = |key: usize| &order[starts[key] as usize..starts[key + 1] as usize];
    let verdicts = judge_keys(calls, options, &keys, &part, began)?;
    let mut judgement = Judgement {
        verdict: Verdict::Valid,
        reason: None,
        keys: keys.len(),
        keys_by_zones: verdicts.iter().filter(|(_, _, by_zones)| *by_zones).count(),
        keys_invalid: 0,
        failure: None,
    };
    for (key, verdict, _) in verdicts {
        let name = if options.model.by_key() { calls.keys[key].clone() } else { Value::Nil };
        match verdict {
            KeyVerdict::Legal => {}
            KeyVerdict::Unknown(why) => {
                judgement.verdict = judgement.verdict.max(Verdict::Unknown);
                let whose = if name.is_nil() { String::new() } else { format!("key {name}: ") };
                judgement.reason.get_or_insert(whose + &why);
            }
            bad => {
                judgement.verdict = Verdict::Invalid;
                judgement.keys_invalid += 1;
                if judgement.failure.is_none() {
                    judgement.failure = Some(proof::explain(calls, options, part(key), name, &bad)?);
                }
            }
        }
    }
    if judgement.verdict == Verdict::Invalid {
        judgement.reason = None;
    }
    Ok(judgement)
}

type KeyResult = (usize, KeyVerdict, bool);

/// Judges all keys, on several threads when there is enough to do; in the order of keys.
fn judge_keys<'a>(
    calls: &Calls,
    options: &Options,
    keys: &[usize],
    part: &(impl Fn(usize) -> &'a [u32] + Sync),
    began: Instant,
) -> Result<Vec<KeyResult>, String> {
    const WORTH_A_THREAD: usize = 20_000;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<KeyResult>, String> {
        let mut judge = KeyJudge::new(calls, options, began)?;
        let mut done = Vec::new();
        while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (verdict, by_zones) = judge.judge(part(*key))?;
            done.push((*key, verdict, by_zones));
        }
        Ok(done)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(keys.len()).min(calls.calls.len() / WORTH_A_THREAD + 1);
    if threads < 2 {
        return work();
    }
    let results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut results = vec![work()];
        for other in others {
            results.push(match other.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
        }
        results
    });
    let mut all = Vec::with_capacity(keys.len());
    for result in results {
        all.append(&mut result?);
    }
    all.sort_unstable_by_key(|(key, ..)| *key);
    Ok(all)
}

struct KeyJudge<'a> {
    calls: &'a Calls,
    options: &'a Options,
    began: Instant,
    machine: Box<dyn Machine>,
    zones: Option<(Setting, Scratch)>,
    items: Vec<Item>,
}

impl<'a> KeyJudge<'a> {
    fn new(calls: &'a Calls, options: &'a Options, began: Instant) -> Result<Self, String> {
        let zones = if options.search_only { None } else { setting(calls, options) };
        let zones = zones.map(|setting| (setting, Scratch::new(calls)));
        Ok(KeyJudge { calls, options, began, machine: machine(options)?, zones, items: Vec::new() })
    }

    fn judge(&mut self, order: &[u32]) -> Result<(KeyVerdict, bool), String> {
        if let Some((setting, scratch)) = &mut self.zones {
            match zones::judge(self.calls, order, setting, scratch) {
                Zones::Legal => return Ok((KeyVerdict::Legal, true)),
                Zones::Conflict(conflict) => return Ok((KeyVerdict::Conflict(conflict), true)),
                Zones::NotDistinct => {}
            }
        }
        self.items.clear();
        for index in order {
            self.items.extend(self.machine.item(self.calls, *index, false)?);
        }
        self.machine.prune(&mut self.items);
        let found = search::search(&mut *self.machine, &self.items, &self.options.budget, self.began);
        let verdict = match found {
            Found::Legal => KeyVerdict::Legal,
            Found::Stuck(stuck) => KeyVerdict::Stuck(stuck),
            Found::GivenUp(why) => KeyVerdict::Unknown(why),
        };
        Ok((verdict, false))
    }
}

/// What each function means to the fast engine, where the model is a register.
fn setting(calls: &Calls, options: &Options) -> Option<Setting> {
    if !matches!(options.model, Model::Register | Model::CasRegister | Model::EtcdCasRegister) {
        return None;
    }
    let role = |f: &str| match f {
        "read" | "get" => Role::Read,
        "write" | "put" => Role::Write,
        "delete" => Role::Delete,
        "snapshot" => Role::Ignored,
        _ => Role::Other,
    };
    let initial = match &options.initial {
        Initial::Value(value) => calls.values.find(value),
        _ => Some(ValueId::NIL),
    };
    Some(Setting {
        roles: calls.functions.iter().map(|f| role(f)).collect(),
        initial,
        unrecorded: Register::nil_is_unrecorded(options.model).then_some(ValueId::NIL),
    })
}

/// The model, ready for the search.
fn machine(options: &Options) -> Result<Box<dyn Machine>, String> {
    let initial = &options.initial;
    Ok(match options.model {
        Model::Register | Model::CasRegister | Model::EtcdCasRegister => {
            Box::new(Interned::new(Register::new(options.model, initial)?))
        }
        Model::MultiRegister => Box::new(Interned::new(MultiRegister::new(initial)?)),
        Model::KvAppend => Box::new(Interned::new(KvAppend::new(initial)?)),
        Model::Counter => Box::new(Interned::new(Counter::new(initial)?)),
        Model::Set => Box::new(Interned::new(Set::new(initial)?)),
        Model::Queue => Box::new(Interned::new(Queue::new(initial)?)),
        Model::Mutex => Box::new(Interned::new(Mutex::new(initial)?)),
    })
}
