//! What was found, and how it is told.

use super::facts::{Logs, Topic};
use crate::check::Violation;
use crate::check::listed::Listed;
use crate::check::tell::at;
use crate::history::{Op, Outcome, Value};

/// A contradiction in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which topic.
    pub topic: usize,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong. Numbers name events; `log` is the final answer that shows the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An acknowledged `publish` that is nowhere.
    Lost { op: u64, log: u64 },
    /// An answer that has it twice.
    Duplicated { value: Value, op: u64 },
    /// An answer or delivery of what nobody can have published by then.
    FromNowhere { value: Value, event: u64 },
    /// An answer or delivery of what is not in the log.
    Vanished { value: Value, event: u64, log: u64 },
    /// The answer has them in this order, the log in the other.
    Reordered { pair: [Value; 2], op: u64, log: u64 },
    /// The answer has them one after the other, the log something in between.
    Gap { pair: [Value; 2], op: u64, log: u64 },
    /// The first was acknowledged before the second was asked for, yet comes after it.
    RealTime { pair: [Value; 2], log: u64 },
    /// Two messages under one offset.
    OneOffset { offset: u64, pair: [Value; 2], events: [u64; 2] },
    /// One message under two offsets.
    TwoOffsets { value: Value, offsets: [u64; 2], events: [u64; 2] },
    /// A node's final answer differs from the log, first at that place.
    Diverged { node: String, at: usize, here: Option<Value>, there: Value, ops: [u64; 2] },
    /// A node that never told its log after the heal.
    Silent { op: u64 },
    /// A subscriber was sent it twice.
    SentTwice { value: Value, deliveries: [u64; 2] },
    /// A subscriber was sent two messages in the wrong order.
    SentInOrder { deliveries: [u64; 2], log: u64 },
    /// A subscriber was sent these two, and not what is between them.
    SentWithGap { missing: Value, deliveries: [u64; 2], log: u64 },
    /// A subscriber was never sent it, though it was asked for after the subscription; `delivery`: what it was sent first.
    SentLate { missing: Value, subscribe: u64, delivery: Option<u64>, log: u64 },
}

impl Listed<Logs<'_>> for Found {
    fn kind(&self) -> &'static str {
        match self.wrong {
            Wrong::Lost { .. } => "lost-acknowledged",
            Wrong::Duplicated { .. } => "duplicated",
            Wrong::FromNowhere { .. } => "from-nowhere",
            Wrong::Vanished { .. } => "vanished",
            Wrong::Reordered { .. } | Wrong::RealTime { .. } => "reordered",
            Wrong::Gap { .. } => "gap",
            Wrong::OneOffset { .. } | Wrong::TwoOffsets { .. } => "two-offsets",
            Wrong::Diverged { .. } => "diverged",
            Wrong::Silent { .. } => "silent",
            Wrong::SentTwice { .. } => "subscriber-duplicate",
            Wrong::SentInOrder { .. } => "subscriber-order",
            Wrong::SentWithGap { .. } | Wrong::SentLate { .. } => "subscriber-gap",
        }
    }

    fn about(&self, facts: &Logs) -> Vec<String> {
        let mut about = self.nodes(facts);
        about.push(facts.topics[self.topic].name.to_owned());
        about
    }

    fn severity(&self) -> u8 {
        match self.wrong {
            Wrong::Lost { .. } => 0,
            Wrong::Duplicated { .. } => 1,
            Wrong::Diverged { .. } => 2,
            Wrong::Vanished { .. } => 3,
            Wrong::Reordered { .. } | Wrong::RealTime { .. } => 4,
            Wrong::SentTwice { .. } | Wrong::SentInOrder { .. } | Wrong::SentWithGap { .. } => 5,
            Wrong::SentLate { .. } => 6,
            Wrong::Gap { .. } => 7,
            Wrong::OneOffset { .. } | Wrong::TwoOffsets { .. } => 8,
            Wrong::FromNowhere { .. } => 9,
            Wrong::Silent { .. } => 10,
        }
    }

    fn moment(&self, facts: &Logs) -> u64 {
        let when = |event: &u64| match facts.history.op(*event) {
            Some(op) => op.returned_ns.unwrap_or(op.invoked_ns),
            None => facts.history.delivery(*event).map_or(0, |delivery| delivery.time_ns),
        };
        self.events(facts).iter().map(when).max().unwrap_or_default()
    }

    fn tell(&self, facts: &Logs) -> Violation {
        let ops = self.events(facts);
        let began = |event: &u64| match facts.history.op(*event) {
            Some(op) => op.invoked_ns,
            None => facts.history.delivery(*event).map_or(u64::MAX, |delivery| delivery.time_ns),
        };
        let from_ns = ops.iter().map(began).min().unwrap_or_default();
        let topic = facts.topics[self.topic].name;
        Violation {
            kind: self.kind(),
            key: (!topic.is_empty()).then(|| topic.to_owned()),
            nodes: self.nodes(facts),
            story: self.story(facts),
            cause: self.cause().to_owned(),
            ops,
            faults: facts.history.faults_during(from_ns, self.moment(facts)),
            diagram: None,
        }
    }
}

impl Found {
    fn topic<'f, 'h>(&self, facts: &'f Logs<'h>) -> &'f Topic<'h> {
        &facts.topics[self.topic]
    }

    /// The requests to publish `value` that are part of a proof: why it can, or cannot, have been there.
    fn requests(&self, facts: &Logs, value: &Value) -> Vec<u64> {
        let message = self.topic(facts).messages.get(value);
        message.into_iter().flat_map(|message| message.ops.iter().map(|op| op.index)).collect()
    }

    fn events(&self, facts: &Logs) -> Vec<u64> {
        let mut events = match &self.wrong {
            Wrong::Lost { op, log } => vec![*op, *log],
            Wrong::Duplicated { op, .. } | Wrong::Silent { op } => vec![*op],
            Wrong::FromNowhere { value, event } => {
                let mut events = self.requests(facts, value);
                events.push(*event);
                events
            }
            Wrong::Vanished { event, log, .. } => vec![*event, *log],
            Wrong::Reordered { op, log, .. } | Wrong::Gap { op, log, .. } => vec![*op, *log],
            Wrong::RealTime { pair, log } => {
                let messages = &self.topic(facts).messages;
                let acked = messages.get(&pair[0]).and_then(|message| message.acked());
                let mut events = self.requests(facts, &pair[1]);
                events.extend(acked.map(|op| op.index));
                events.push(*log);
                events
            }
            Wrong::OneOffset { events, .. } | Wrong::TwoOffsets { events, .. } => events.to_vec(),
            Wrong::Diverged { ops, .. } => ops.to_vec(),
            Wrong::SentTwice { deliveries, .. } => deliveries.to_vec(),
            Wrong::SentInOrder { deliveries, log } | Wrong::SentWithGap { deliveries, log, .. } => {
                vec![deliveries[0], deliveries[1], *log]
            }
            Wrong::SentLate { missing, subscribe, delivery, log } => {
                let mut events = self.requests(facts, missing);
                events.extend([*subscribe, *log]);
                events.extend(*delivery);
                events
            }
        };
        events.sort_unstable();
        events.dedup();
        events
    }

    /// The nodes that are wrong, as far as one can say.
    fn nodes(&self, facts: &Logs) -> Vec<String> {
        let node = |event: u64| -> Vec<String> {
            let of_op = facts.history.op(event).and_then(|op| op.node.as_deref());
            let of_delivery = facts.history.delivery(event).map(|delivery| &*delivery.node);
            of_op.or(of_delivery).map(str::to_owned).into_iter().collect()
        };
        match &self.wrong {
            Wrong::Lost { op, .. }
            | Wrong::Duplicated { op, .. }
            | Wrong::Silent { op }
            | Wrong::Reordered { op, .. }
            | Wrong::Gap { op, .. } => node(*op),
            Wrong::FromNowhere { event, .. } | Wrong::Vanished { event, .. } => node(*event),
            Wrong::RealTime { log, .. } => node(*log),
            Wrong::OneOffset { events, .. } | Wrong::TwoOffsets { events, .. } => {
                let mut nodes = [node(events[0]), node(events[1])].concat();
                nodes.dedup();
                nodes
            }
            Wrong::Diverged { node, .. } => vec![node.clone()],
            Wrong::SentTwice { deliveries, .. }
            | Wrong::SentInOrder { deliveries, .. }
            | Wrong::SentWithGap { deliveries, .. } => node(deliveries[1]),
            Wrong::SentLate { subscribe, .. } => node(*subscribe),
        }
    }

    fn story(&self, facts: &Logs) -> String {
        let node = self.nodes(facts).join(" and ");
        let keeper = |log: u64| facts.history.op(log).and_then(|op| op.node.as_deref()).unwrap_or("?");
        let when = |event: u64| match facts.history.op(event) {
            Some(op) => at(op.returned_ns.unwrap_or(op.invoked_ns)),
            None => facts.history.delivery(event).map_or_else(String::new, |found| at(found.time_ns)),
        };
        let did = |event: u64| if facts.history.op(event).is_some() { "showed" } else { "sent a subscriber" };
        match &self.wrong {
            Wrong::Lost { op, log } => {
                let value = facts.history.op(*op).map(|op| op.value.plain()).unwrap_or_default();
                format!(
                    "{node} acknowledged {value} at {}. In the end it is in no node's log, not in {}'s either.",
                    when(*op),
                    keeper(*log)
                )
            }
            Wrong::Duplicated { value, op } => {
                format!("{node}'s log, as it showed it at {}, has {} twice.", when(*op), value.plain())
            }
            Wrong::FromNowhere { value, event } => {
                format!(
                    "{node} {} {} at {}, {}.",
                    did(*event),
                    value.plain(),
                    when(*event),
                    self.nobody(facts, value)
                )
            }
            Wrong::Vanished { value, event, log } => format!(
                "{node} {} {} at {}, but in the end it is not in the log ({} has the longest): it was never committed, or was lost.",
                did(*event),
                value.plain(),
                when(*event),
                keeper(*log)
            ),
            Wrong::Reordered { pair, op, log } => format!(
                "At {} {node} showed {} before {}; in the end {}'s log has them the other way round.",
                when(*op),
                pair[0].plain(),
                pair[1].plain(),
                keeper(*log)
            ),
            Wrong::Gap { pair, op, log } => format!(
                "At {} {node} showed {} and right after it {}; {}'s log has something in between.",
                when(*op),
                pair[0].plain(),
                pair[1].plain(),
                keeper(*log)
            ),
            Wrong::RealTime { pair, .. } => {
                let messages = &self.topic(facts).messages;
                let acked_ns = messages.get(&pair[0]).and_then(|message| message.acked_ns());
                format!(
                    "{} had been acknowledged at {} when {} was first asked for, but it comes after it in {node}'s log.",
                    pair[0].plain(),
                    at(acked_ns.unwrap_or_default()),
                    pair[1].plain()
                )
            }
            Wrong::OneOffset { offset, pair, events } => format!(
                "Offset {offset} was {} at {} and {} at {}.",
                pair[0].plain(),
                when(events[0]),
                pair[1].plain(),
                when(events[1])
            ),
            Wrong::TwoOffsets { value, offsets, events } => format!(
                "{} had offset {} at {} and offset {} at {}.",
                value.plain(),
                offsets[0],
                when(events[0]),
                offsets[1],
                when(events[1])
            ),
            Wrong::Diverged { node, at, here, there, ops } => {
                let here =
                    here.as_ref().map_or_else(|| "ends".to_owned(), |here| format!("has {}", here.plain()));
                format!(
                    "After the heal {node}'s log {here} at place {at}, where {}'s has {}.",
                    keeper(ops[1]),
                    there.plain()
                )
            }
            Wrong::Silent { op } => {
                let error =
                    facts.history.op(*op).and_then(|op| op.error.as_deref()).unwrap_or("no answer came");
                format!("{node} never told its log after the heal: {error}.")
            }
            Wrong::SentTwice { value, deliveries } => format!(
                "{node} sent a subscriber {} at {} and again at {}.",
                value.plain(),
                when(deliveries[0]),
                when(deliveries[1])
            ),
            Wrong::SentInOrder { deliveries, log } => {
                let [first, then] = deliveries.map(|index| self.delivered(facts, index));
                format!(
                    "{node} sent a subscriber {first} before {then}; {}'s log has them the other way round.",
                    keeper(*log)
                )
            }
            Wrong::SentWithGap { missing, deliveries, log } => {
                let [first, then] = deliveries.map(|index| self.delivered(facts, index));
                format!(
                    "{node} sent a subscriber {first} and then {then} (at {}); {}'s log has {} between them.",
                    when(deliveries[1]),
                    keeper(*log),
                    missing.plain()
                )
            }
            Wrong::SentLate { missing, subscribe, delivery, log } => {
                let first = delivery.map(|index| self.delivered(facts, index));
                let instead =
                    first.map_or_else(String::new, |first| format!("; the first it was sent was {first}"));
                format!(
                    "{node} confirmed a subscription at {}. {} was published after that and is in {}'s log, but the subscriber was never sent it{instead}.",
                    when(*subscribe),
                    missing.plain(),
                    keeper(*log)
                )
            }
        }
    }

    fn delivered(&self, facts: &Logs, index: u64) -> String {
        facts.history.delivery(index).map(|delivery| delivery.entry.value.plain()).unwrap_or_default()
    }

    fn nobody(&self, facts: &Logs, value: &Value) -> &'static str {
        match self.topic(facts).messages.get(value) {
            None => "which nobody ever published to this topic",
            Some(message) if message.ops.iter().all(|op: &&Op| op.outcome == Outcome::Fail) => {
                "though whoever was asked to publish it had said that it would not"
            }
            Some(_) => "before anybody was asked to publish it",
        }
    }

    fn cause(&self) -> &'static str {
        match &self.wrong {
            Wrong::Lost { .. } => {
                "a publish is acknowledged before a majority has it on disk, or a new leader lacks what was committed, or an entry of an earlier term is taken for committed too soon"
            }
            Wrong::Duplicated { .. } => {
                "ids of published messages are forgotten, or known to one node only, or a log is applied twice after a restart"
            }
            Wrong::FromNowhere { .. } => "a message is changed on the way, or a refused one was kept",
            Wrong::Vanished { .. } => "a node shows entries before they are committed",
            Wrong::Reordered { .. } | Wrong::RealTime { .. } => {
                "entries are not applied in the order of the log"
            }
            Wrong::Gap { .. } => "an entry is skipped when the log is applied or shown",
            Wrong::OneOffset { .. } | Wrong::TwoOffsets { .. } => {
                "offsets are counted by each node for itself, or a conflicting entry was not removed"
            }
            Wrong::Diverged { .. } => {
                "a node does not catch up, keeps a conflicting entry, or applies entries that were not committed"
            }
            Wrong::Silent { .. } => "the node is down, stuck, or waits for a leader",
            Wrong::SentTwice { .. } => "a subscriber is sent again what is applied again",
            Wrong::SentInOrder { .. } => {
                "a subscriber is sent entries as they arrive, not as they are applied"
            }
            Wrong::SentWithGap { .. } | Wrong::SentLate { .. } => {
                "a subscriber is sent only what comes in live, not what the node catches up on"
            }
        }
    }
}
