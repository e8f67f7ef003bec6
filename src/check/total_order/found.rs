//! What was found, and how it is told.

use super::facts::{Broadcasts, MessageId, ProcessId};
use crate::check::Violation;
use crate::check::diagram::{Moment, space_time};
use crate::check::listed::Listed;
use crate::check::misread;
use crate::check::tell::at;
use crate::history::{Delivery, Op};

/// A contradiction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A delivery of what nobody sent.
    Strange { delivery: u64 },
    /// A delivery of what certainly had not been sent by then.
    Early { message: MessageId, delivery: u64 },
    /// Two deliveries of one message by one process.
    Repeated { first: u64, again: u64 },
    /// `first` before `then` at `here`, the other way round at `there`.
    Order { first: MessageId, then: MessageId, here: ProcessId, there: ProcessId },
    /// `had` delivered `missing` before `later`; `lacks` delivered `later` alone.
    Gap { missing: MessageId, later: MessageId, had: ProcessId, lacks: ProcessId },
    /// `had` delivered it, `lacks` never did.
    Missing { message: MessageId, had: ProcessId, lacks: ProcessId },
    /// It was given it to send, and nobody ever delivered it.
    OwnMissing { message: MessageId, process: ProcessId },
    /// One sender sent `first` and after it `then`; the process delivered `then` first.
    Fifo { first: MessageId, then: MessageId, process: ProcessId },
    /// The sender of `then` had delivered `cause` (that delivery) before it sent; the process delivered `then` first.
    Causal { cause: MessageId, then: MessageId, sender: u64, process: ProcessId },
}

impl Listed<Broadcasts<'_>> for Found {
    fn kind(&self) -> &'static str {
        match self {
            Found::Strange { .. } | Found::Early { .. } => "from-nowhere",
            Found::Repeated { .. } => "duplicate",
            Found::Order { .. } => "order",
            Found::Gap { .. } => "gap",
            Found::Missing { .. } => "missing",
            Found::OwnMissing { .. } => "own-message-missing",
            Found::Fifo { .. } => "not-fifo",
            Found::Causal { .. } => "not-causal",
        }
    }

    fn severity(&self) -> u8 {
        match self {
            Found::Strange { .. } | Found::Early { .. } => 0,
            Found::Repeated { .. } => 1,
            Found::Order { .. } => 2,
            Found::Fifo { .. } => 3,
            Found::Causal { .. } => 4,
            Found::Gap { .. } => 5,
            Found::Missing { .. } => 6,
            Found::OwnMissing { .. } => 7,
        }
    }

    fn moment(&self, facts: &Broadcasts) -> u64 {
        self.moments(facts).iter().map(|moment| moment.at).max().unwrap_or_default()
    }

    fn about(&self, facts: &Broadcasts) -> Vec<String> {
        self.nodes(facts)
    }

    fn tell(&self, facts: &Broadcasts) -> Violation {
        let moments = self.moments(facts);
        let mut ops: Vec<u64> = self.deliveries(facts).iter().map(|delivery| delivery.index).collect();
        ops.extend(self.sendings(facts).iter().map(|op| op.index));
        ops.sort_unstable();
        ops.dedup();
        let from_ns = moments.iter().map(|moment| moment.at).min().unwrap_or_default();
        // What never came may have been lost under any fault since.
        let to_ns = match self {
            Found::Missing { .. } | Found::OwnMissing { .. } => u64::MAX,
            _ => moments.iter().map(|moment| moment.at).max().unwrap_or_default(),
        };
        Violation {
            kind: self.kind(),
            key: None,
            nodes: self.nodes(facts),
            story: self.story(facts),
            cause: self.cause(facts) + &self.doubt(facts),
            ops,
            faults: facts.history.faults_during(from_ns, to_ns),
            diagram: (moments.len() > 1).then(|| space_time(&[], &moments)),
        }
    }
}

impl Found {
    /// The nodes it is about.
    fn nodes(&self, facts: &Broadcasts) -> Vec<String> {
        let node = |process: &ProcessId| facts.sequences[*process].node.to_owned();
        let of = |index: &u64| {
            facts.history.delivery(*index).map_or_else(String::new, |delivery| delivery.node.to_string())
        };
        match self {
            Found::Strange { delivery } | Found::Early { delivery, .. } => vec![of(delivery)],
            Found::Repeated { again, .. } => vec![of(again)],
            Found::Order { here, there, .. } => vec![node(here), node(there)],
            // The one that is wrong.
            Found::Gap { lacks, .. } | Found::Missing { lacks, .. } => vec![node(lacks)],
            Found::OwnMissing { process, .. }
            | Found::Fifo { process, .. }
            | Found::Causal { process, .. } => vec![node(process)],
        }
    }

    fn got<'h>(facts: &Broadcasts<'h>, process: ProcessId, id: MessageId) -> Option<&'h Delivery> {
        let sequence = &facts.sequences[process];
        sequence.place.get(&id).map(|place| sequence.items[*place].1)
    }

    fn deliveries<'h>(&self, facts: &Broadcasts<'h>) -> Vec<&'h Delivery> {
        let named = |index: u64| facts.history.delivery(index);
        let got = |process, id| Found::got(facts, process, id);
        let all = match *self {
            Found::Strange { delivery } | Found::Early { delivery, .. } => vec![named(delivery)],
            Found::Repeated { first, again } => vec![named(first), named(again)],
            Found::Order { first, then, here, there } => {
                vec![got(here, first), got(here, then), got(there, then), got(there, first)]
            }
            Found::Gap { missing, later, had, lacks } => {
                vec![got(had, missing), got(had, later), got(lacks, later)]
            }
            Found::Missing { message, had, .. } => vec![got(had, message)],
            Found::OwnMissing { .. } => Vec::new(),
            Found::Fifo { first, then, process } => vec![got(process, then), got(process, first)],
            Found::Causal { cause, then, sender, process } => {
                vec![named(sender), got(process, then), got(process, cause)]
            }
        };
        all.into_iter().flatten().collect()
    }

    /// The sendings that are part of the proof.
    fn sendings<'h>(&self, facts: &Broadcasts<'h>) -> Vec<&'h Op> {
        let messages = match *self {
            Found::Early { message, .. } | Found::OwnMissing { message, .. } => vec![message],
            Found::Fifo { first, then, .. } => vec![first, then],
            Found::Causal { then, .. } => vec![then],
            _ => Vec::new(),
        };
        messages.into_iter().flat_map(|id| facts.messages[id].ops.iter().copied()).collect()
    }

    fn moments(&self, facts: &Broadcasts) -> Vec<Moment> {
        let got = self.deliveries(facts).into_iter().map(|delivery| Moment {
            place: delivery.node.to_string(),
            at: delivery.time_ns,
            label: format!("got {}", delivery.entry.value.plain()),
        });
        let sent = self.sendings(facts).into_iter().map(|op| Moment {
            place: op.node.as_deref().unwrap_or("?").to_owned(),
            at: op.invoked_ns,
            label: format!("sent {}", op.value.plain()),
        });
        sent.chain(got).collect()
    }

    /// Whoever lacks a message may have delivered it in a line that was not recognised.
    fn doubt(&self, facts: &Broadcasts) -> String {
        let (Found::Gap { lacks, .. }
        | Found::Missing { lacks, .. }
        | Found::OwnMissing { process: lacks, .. }) = *self
        else {
            return String::new();
        };
        let node = facts.sequences[lacks].node;
        let line = misread::said_otherwise(facts.history, node);
        line.map_or_else(String::new, |line| {
            format!("; or `deliver` of the protocol file does not fit all of its deliveries: {node} also printed `{line}`")
        })
    }

    fn story(&self, facts: &Broadcasts) -> String {
        let name = |id: MessageId| facts.name(id);
        let node = |process: ProcessId| match &facts.sequences[process] {
            sequence if sequence.life == 0 => sequence.node.to_owned(),
            sequence => format!("{} (started again {}×)", sequence.node, sequence.life),
        };
        let when = |process, id| {
            Found::got(facts, process, id).map_or_else(String::new, |delivery| at(delivery.time_ns))
        };
        match *self {
            Found::Strange { delivery } => {
                let delivery = facts.history.delivery(delivery);
                let (node, value, when) = delivery.map_or_else(Default::default, |delivery| {
                    (delivery.node.to_string(), delivery.entry.value.plain(), at(delivery.time_ns))
                });
                format!("{node} delivered {value} at {when}, which nobody ever sent.")
            }
            Found::Early { message, delivery } => {
                let delivered = facts.history.delivery(delivery);
                let node = delivered.map_or_else(String::new, |delivery| delivery.node.to_string());
                match facts.messages[message].asked_ns() {
                    Some(asked_ns) => format!(
                        "{node} delivered {} before anybody was asked to send it ({}).",
                        name(message),
                        at(asked_ns)
                    ),
                    None => format!(
                        "{node} delivered {}, though the node that was to send it had said that it would not.",
                        name(message)
                    ),
                }
            }
            Found::Repeated { first, again } => {
                let moment = |index| {
                    facts.history.delivery(index).map_or_else(String::new, |delivery| at(delivery.time_ns))
                };
                let node = self.nodes(facts).join("");
                let value = facts.history.delivery(first).map(|delivery| delivery.entry.value.plain());
                format!(
                    "{node} delivered {} at {} and again at {}.",
                    value.unwrap_or_default(),
                    moment(first),
                    moment(again)
                )
            }
            Found::Order { first, then, here, there } => format!(
                "{} delivered {} before {}, but {} delivered {} before {}.",
                node(here),
                name(first),
                name(then),
                node(there),
                name(then),
                name(first)
            ),
            Found::Gap { missing, later, had, lacks } => format!(
                "{} delivered {} and then {}, but {} delivered {} (at {}) without ever having delivered {}.",
                node(had),
                name(missing),
                name(later),
                node(lacks),
                name(later),
                when(lacks, later),
                name(missing)
            ),
            Found::Missing { message, had, lacks } => format!(
                "{} delivered {} at {}; {} was there all along and never did.",
                node(had),
                name(message),
                when(had, message),
                node(lacks)
            ),
            Found::OwnMissing { message, process } => {
                let asked_ns = facts.messages[message].asked_ns().unwrap_or_default();
                format!(
                    "{} was given {} to send at {}; nobody ever delivered it, not even {} itself, though everybody was there.",
                    node(process),
                    name(message),
                    at(asked_ns),
                    node(process)
                )
            }
            Found::Fifo { first, then, process } => format!(
                "{} sent {} and after it {}, but {} delivered {} (at {}) before {}.",
                facts.messages[first].ops[0].node.as_deref().unwrap_or("?"),
                name(first),
                name(then),
                node(process),
                name(then),
                when(process, then),
                name(first)
            ),
            Found::Causal { cause, then, process, .. } => format!(
                "{} had delivered {} when it sent {}, but {} delivered {} (at {}) before {}.",
                facts.messages[then].ops[0].node.as_deref().unwrap_or("?"),
                name(cause),
                name(then),
                node(process),
                name(then),
                when(process, then),
                name(cause)
            ),
        }
    }

    fn cause(&self, facts: &Broadcasts) -> String {
        let restarted = |process: ProcessId| facts.sequences[process].life > 0;
        match *self {
            Found::Strange { .. } => {
                "messages are cut, joined or changed on the way: the end of one is not told from the beginning of the next".to_owned()
            }
            Found::Early { .. } => "a message was sent though its sender said otherwise".to_owned(),
            Found::Repeated { .. } => {
                "a message that was sent again, because no acknowledgement came, is taken for a new one".to_owned()
            }
            Found::Order { first, then, .. } => {
                let sender = |id: MessageId| facts.messages[id].ops[0].node.as_deref();
                let same = sender(first) == sender(then);
                if same {
                    "messages are delivered as they arrive, and one sender's may overtake each other".to_owned()
                } else {
                    "messages are delivered as they arrive, or before it is certain that none with a smaller timestamp can come; or equal timestamps are not decided by the sender".to_owned()
                }
            }
            Found::Gap { lacks, .. } if restarted(lacks) => {
                "a process that comes back misses what was sent while it came in".to_owned()
            }
            Found::Gap { .. } | Found::Missing { .. } => {
                "a lost message is not sent again, or the others do not wait until everybody has it".to_owned()
            }
            Found::OwnMissing { .. } if facts.history.deliveries.is_empty() => {
                "deliveries are not printed on standard output, or stay in its buffer: flush it after each line".to_owned()
            }
            Found::OwnMissing { .. } => {
                "a lost message is not sent again, or the group never goes on after a fault".to_owned()
            }
            Found::Fifo { .. } => "a sender's messages are not numbered, or nobody waits for the number that is next".to_owned(),
            Found::Causal { .. } => {
                "the clock is not set forward by what is received, so that an answer can get a smaller timestamp than what it answers".to_owned()
            }
        }
    }
}
