//! A history of registers put in the terms of sessions: who read whose write, in which order of each client.
//!
//! What each operation's outcome makes of it, and why that is sound:
//! - a failed operation did not happen; a read of unknown outcome says nothing;
//! - a write of unknown outcome happened if somebody read its value, and otherwise need not have: leaving it out
//!   of a legal history leaves a legal history. It may have taken effect at any later time, so what its client did
//!   before it comes before it, and nothing comes after it by the client's order: where its process goes on,
//!   it is a session of its own that branches off ([`Sessions::parents`]);
//! - a compare-and-set that happened is a read followed at once by a write;
//! - a read of a value that several writes may have written (or a write and the start) says nothing: it is counted in
//!   [`Sessions::left_out`], since forgetting a result makes no legal history illegal.

use crate::check::models::{Initial, Meaning, Model, Register, RegisterOp, Said, Spec};
use crate::check::plain::Question;
use crate::history::calls::{Call, Calls, ValueId, Values};
use crate::history::hash::Fast;
use crate::history::{Outcome, Value};

/// In [`Node::source`]: this is a write.
pub(super) const WRITE: u32 = u32::MAX;
/// In [`Node::source`]: a read of what was there at the start.
pub(super) const INITIAL: u32 = u32::MAX - 1;
/// No such node.
pub(super) const NONE: u32 = u32::MAX;

/// What one call says about its register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub(super) call: u32,
    pub(super) process: u32,
    pub(super) key: u32,
    /// The value it read.
    pub(super) read: Option<ValueId>,
    /// The value it wrote, or would have written.
    pub(super) write: Option<ValueId>,
    pub(super) outcome: Outcome,
}

/// All that a history says about its registers, by invocation.
pub(super) struct Facts {
    pub(super) list: Vec<Fact>,
    /// What every register holds at the start; absent where no operation names it.
    pub(super) initial: Option<ValueId>,
    /// Failed compare-and-sets that say what the register did *not* hold.
    pub(super) saw_not: u64,
}

/// The models these checks can judge.
pub(super) const MODELS: &[Model] = &[Model::Register, Model::CasRegister, Model::EtcdCasRegister];

impl Facts {
    /// Decodes a history.
    ///
    /// # Errors
    /// A sentence, when the model is no register, does not know an operation or does not suit the initial value.
    pub(super) fn new(calls: &Calls, question: &Question) -> Result<Facts, String> {
        let model = question.model.unwrap_or(Model::Register);
        if !MODELS.contains(&model) {
            return Err(format!(
                "this check judges registers ({}), not the model `{model}`",
                MODELS.iter().map(|model| model.name()).collect::<Vec<_>>().join(", ")
            ));
        }
        let register = Register::new(model, &question.initial)?;
        let initial = match &question.initial {
            Initial::Value(value) => calls.values.find(value),
            _ => Some(ValueId::NIL),
        };
        let mut decoder = Decoder { calls, register, model, values: None };
        let mut facts = Facts { list: Vec::with_capacity(calls.calls.len()), initial, saw_not: 0 };
        for (index, call) in calls.calls.iter().enumerate() {
            if let Some((read, write)) = decoder.decode(call)? {
                let fact = Fact {
                    call: index as u32,
                    process: call.process,
                    key: call.key,
                    read,
                    write,
                    outcome: call.outcome,
                };
                facts.saw_not += u64::from(
                    model == Model::EtcdCasRegister && read.is_some() && fact.outcome == Outcome::Fail,
                );
                facts.list.push(fact);
            }
        }
        Ok(facts)
    }
}

/// The value a call read, and the one it wrote.
type ReadAndWritten = (Option<ValueId>, Option<ValueId>);

struct Decoder<'a> {
    calls: &'a Calls,
    register: Register,
    model: Model,
    /// With the parts of compare-and-sets, once there is one.
    values: Option<Values>,
}

impl Decoder<'_> {
    /// What a call read and wrote, or would have; `None` when it says nothing.
    fn decode(&mut self, call: &Call) -> Result<Option<ReadAndWritten>, String> {
        let f = self.calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
        let unrecorded = call.output == ValueId::NIL && Register::nil_is_unrecorded(self.model);
        Ok(match f {
            "snapshot" => None,
            "read" | "get" if call.outcome != Outcome::Ok || unrecorded => None,
            "read" | "get" => Some((Some(call.output), None)),
            "write" | "put" => Some((None, Some(call.input))),
            "delete" => Some((None, Some(ValueId::NIL))),
            _ => {
                let input = self.calls.values.get(call.input);
                // As if its outcome were unknown: what it would have done, whatever became of it.
                let said = Said { f, input: &input, output: &Value::Nil, outcome: Outcome::Info };
                match self.register.decode(said)? {
                    Meaning::Must(RegisterOp::Cas(from, to)) | Meaning::May(RegisterOp::Cas(from, to)) => {
                        let values = self.values.get_or_insert_with(|| self.calls.values.clone());
                        Some((Some(values.intern(from)), Some(values.intern(to))))
                    }
                    _ => None,
                }
            }
        })
    }
}

/// One read or write that happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) call: u32,
    pub(super) key: u32,
    pub(super) session: u32,
    /// Its place in its session, from 0.
    pub(super) at: u32,
    /// [`WRITE`], [`INITIAL`], or the node of the write that was read.
    pub(super) source: u32,
}

/// What happened, session by session.
#[derive(Default)]
pub(super) struct Sessions {
    /// All nodes; those of a session stand together, in its order.
    pub(super) nodes: Vec<Node>,
    /// Where each session's nodes begin, and the end of the last.
    pub(super) starts: Vec<u32>,
    /// The node after which a session branches off; [`NONE`] for a client's own.
    pub(super) parents: Vec<u32>,
    /// Calls that read what nobody wrote.
    pub(super) thin: Vec<u32>,
    /// Reads that were left out since several writes may have written what they found.
    pub(super) left_out: u64,
    /// How many writes each ambiguous read could have read.
    pub(super) ambiguous: Vec<u32>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.parents.len()
    }

    pub(super) fn of(&self, session: usize) -> std::ops::Range<u32> {
        self.starts[session]..self.starts[session + 1]
    }

    /// How many reads there are.
    pub(super) fn reads(&self) -> usize {
        self.nodes.iter().filter(|node| node.source != WRITE).count() + self.thin.len()
    }
}

const THIN: u32 = u32::MAX - 2;
const DROPPED: u32 = u32::MAX - 3;

/// The writes by what they wrote: the first, how many, and for each the next with the same value.
struct Writers {
    first: Fast<(u32, ValueId), (u32, u32)>,
    next: Vec<u32>,
}

impl Writers {
    fn new(list: &[Fact]) -> Self {
        let mut writers = Writers { first: Fast::default(), next: vec![NONE; list.len()] };
        writers.first.reserve(list.len() / 2);
        for (at, fact) in list.iter().enumerate().rev() {
            if let Some(value) = fact.write.filter(|_| fact.outcome != Outcome::Fail) {
                let known = writers.first.entry((fact.key, value)).or_insert((NONE, 0));
                writers.next[at] = known.0;
                *known = (at as u32, known.1 + 1);
            }
        }
        writers
    }
}

/// Arranges what is known. Where a read could have read several writes, `choice` says which, in order; where it says
/// nothing, the read is left out.
pub(super) fn arrange(list: &[Fact], initial: Option<ValueId>, choice: &[u32]) -> Sessions {
    let mut sessions = Sessions { starts: vec![0], ..Sessions::default() };
    let sources = sources(list, initial, choice, &mut sessions.ambiguous);
    let happened = happened(list, &sources);
    let mut order: Vec<u32> = (0..list.len() as u32).filter(|at| happened[*at as usize]).collect();
    order.sort_by_key(|at| list[*at as usize].process);
    let mut placed = Placer { list, sources, node_of: vec![NONE; list.len()], sessions };
    let mut branches: Vec<(u32, u32)> = Vec::new();
    for (place, at) in order.iter().enumerate() {
        let process = list[*at as usize].process;
        let goes_on = order.get(place + 1).is_some_and(|next| list[*next as usize].process == process);
        let last = placed.open_session();
        if list[*at as usize].outcome == Outcome::Info && goes_on {
            branches.push((*at, last));
        } else {
            placed.place(*at);
        }
        if !goes_on {
            placed.close(NONE);
        }
    }
    for (at, parent) in branches {
        placed.place(at);
        placed.close(parent);
    }
    placed.finish()
}

/// Which fact each read read.
fn sources(list: &[Fact], initial: Option<ValueId>, choice: &[u32], ambiguous: &mut Vec<u32>) -> Vec<u32> {
    let writers = Writers::new(list);
    let mut sources = vec![NONE; list.len()];
    for (at, fact) in list.iter().enumerate() {
        let Some(value) = fact.read.filter(|_| fact.outcome != Outcome::Fail) else { continue };
        let (first, written) = writers.first.get(&(fact.key, value)).copied().unwrap_or((NONE, 0));
        let at_start = Some(value) == initial;
        sources[at] = match written + u32::from(at_start) {
            0 => THIN,
            1 if at_start => INITIAL,
            1 => first,
            count => {
                let chosen = choice.get(ambiguous.len()).copied();
                ambiguous.push(count);
                match chosen {
                    None => DROPPED,
                    Some(chosen) if chosen == written => INITIAL,
                    Some(chosen) => (0..chosen).fold(first, |at, _| writers.next[at as usize]),
                }
            }
        };
    }
    sources
}

/// Which facts are certain: what was acknowledged, and what that shows.
fn happened(list: &[Fact], sources: &[u32]) -> Vec<bool> {
    let mut happened = vec![false; list.len()];
    let mut shown: Vec<u32> = Vec::new();
    for (at, fact) in list.iter().enumerate() {
        if fact.outcome == Outcome::Ok {
            happened[at] = true;
            shown.push(sources[at]);
        }
    }
    while let Some(source) = shown.pop() {
        if (source as usize) < list.len() && !happened[source as usize] {
            happened[source as usize] = true;
            shown.push(sources[source as usize]);
        }
    }
    happened
}

struct Placer<'a> {
    list: &'a [Fact],
    sources: Vec<u32>,
    node_of: Vec<u32>,
    sessions: Sessions,
}

impl Placer<'_> {
    /// The last node of the session that is being filled.
    fn open_session(&self) -> u32 {
        let begun = self.sessions.starts.last().copied().unwrap_or(0);
        let end = self.sessions.nodes.len() as u32;
        if end > begun { end - 1 } else { NONE }
    }

    fn place(&mut self, at: u32) {
        let fact = self.list[at as usize];
        match self.sources[at as usize] {
            NONE => {}
            THIN => self.sessions.thin.push(fact.call),
            DROPPED => self.sessions.left_out += 1,
            source => self.push(fact, source),
        }
        if fact.write.is_some() {
            self.node_of[at as usize] = self.sessions.nodes.len() as u32;
            self.push(fact, WRITE);
        }
    }

    fn push(&mut self, fact: Fact, source: u32) {
        let begun = self.sessions.starts.last().copied().unwrap_or(0);
        self.sessions.nodes.push(Node {
            call: fact.call,
            key: fact.key,
            session: self.sessions.parents.len() as u32,
            at: self.sessions.nodes.len() as u32 - begun,
            source,
        });
    }

    fn close(&mut self, parent: u32) {
        let end = self.sessions.nodes.len() as u32;
        if self.open_session() != NONE {
            self.sessions.starts.push(end);
            self.sessions.parents.push(parent);
        }
    }

    /// Facts become nodes.
    fn finish(mut self) -> Sessions {
        for node in &mut self.sessions.nodes {
            if node.source < DROPPED {
                node.source = self.node_of[node.source as usize];
            }
        }
        self.sessions.thin.sort_unstable();
        self.sessions
    }
}
