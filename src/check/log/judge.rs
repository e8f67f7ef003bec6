//! Looking for contradictions.

use std::collections::{HashMap, HashSet};

use super::facts::{Logs, Subscription, Topic};
use super::found::{Found, Wrong};
use crate::history::{Entry, Op, Value};

/// Everything that contradicts the definitions, and how many losses were excused.
pub fn judge(facts: &Logs) -> (Vec<Found>, u64) {
    let (mut found, mut excused) = (Vec::new(), 0);
    for (at, topic) in facts.topics.iter().enumerate() {
        let mut wrongs = Vec::new();
        let log = Positions::of(topic);
        for op in &topic.answers {
            answer(facts, topic, op, &log, &mut wrongs);
        }
        offsets(topic, &mut wrongs);
        real_time(topic, &log, &mut wrongs);
        if facts.settled {
            excused += losses(facts, topic, &log, &mut wrongs);
            differences(facts, topic, &mut wrongs);
            wrongs.extend(topic.silent.values().map(|op| Wrong::Silent { op: op.index }));
        }
        for subscription in topic.subscriptions.values() {
            subscriber(facts, topic, subscription, &log, &mut wrongs);
        }
        found.extend(wrongs.into_iter().map(|wrong| Found { topic: at, wrong }));
    }
    (found, excused)
}

/// Where in the log each message is; of one that is there twice, the first place.
struct Positions<'h> {
    final_op: Option<u64>,
    at: HashMap<&'h Value, usize>,
    length: usize,
    /// All that any final answer shows: where the nodes differ, that is told, and what one of them has is not lost.
    anywhere: HashSet<&'h Value>,
    /// When the first of the final questions was asked, ns: what came later need not be in their answers.
    asked_ns: u64,
}

impl<'h> Positions<'h> {
    fn of(topic: &Topic<'h>) -> Self {
        let mut at = HashMap::new();
        let entries = topic.log().map_or(&[][..], |entries| entries);
        for (place, entry) in entries.iter().enumerate() {
            at.entry(&entry.value).or_insert(place);
        }
        let finals = || topic.finals.values().copied();
        let shown = finals().flat_map(|op| op.entries.iter().flat_map(|entries| entries.iter()));
        Positions {
            final_op: topic.reference().map(|op| op.index),
            at,
            length: entries.len(),
            anywhere: shown.map(|entry| &entry.value).collect(),
            asked_ns: finals().map(|op| op.invoked_ns).min().unwrap_or_default(),
        }
    }

    /// Whether what was acknowledged, shown or delivered at that time is missing from every final answer.
    fn misses(&self, value: &Value, since_ns: u64) -> bool {
        since_ns < self.asked_ns && !self.anywhere.contains(value)
    }
}

/// One answer: unbroken, in order, once each, and nothing that is not in the log.
fn answer(facts: &Logs, topic: &Topic, op: &Op, log: &Positions, wrongs: &mut Vec<Wrong>) {
    let Some(entries) = &op.entries else { return };
    let is_final = Some(op.index) == log.final_op;
    let mut seen: HashMap<&Value, usize> = HashMap::new();
    let mut before: Option<(usize, &Entry)> = None;
    for (place, entry) in entries.iter().enumerate() {
        if seen.insert(&entry.value, place).is_some() {
            wrongs.push(Wrong::Duplicated { value: entry.value.clone(), op: op.index });
            continue;
        }
        let asked_ns = topic.messages.get(&entry.value).and_then(super::facts::Message::asked_ns);
        if asked_ns.is_none_or(|asked_ns| op.end_ns() < asked_ns) {
            wrongs.push(Wrong::FromNowhere { value: entry.value.clone(), event: op.index });
            continue;
        }
        let Some(reference) = log.final_op.filter(|_| !is_final) else { continue };
        let Some(at) = log.at.get(&entry.value).copied() else {
            if log.misses(&entry.value, op.end_ns()) && facts.must_last(op.end_ns()) {
                wrongs.push(Wrong::Vanished { value: entry.value.clone(), event: op.index, log: reference });
            }
            continue;
        };
        if let Some((last, previous)) = before {
            let pair = [previous.value.clone(), entry.value.clone()];
            match at {
                at if at < last => wrongs.push(Wrong::Reordered { pair, op: op.index, log: reference }),
                at if at > last + 1 => wrongs.push(Wrong::Gap { pair, op: op.index, log: reference }),
                _ => {}
            }
        }
        before = Some((at, entry));
    }
}

/// A message keeps its offset, and has it alone.
fn offsets(topic: &Topic, wrongs: &mut Vec<Wrong>) {
    let mut by_offset: HashMap<u64, (&Value, u64)> = HashMap::new();
    let mut by_value: HashMap<&Value, (u64, u64)> = HashMap::new();
    let shown = topic.answers.iter().flat_map(|op| {
        let entries = op.entries.iter().flat_map(|entries| entries.iter());
        entries.map(|entry| (op.index, entry))
    });
    let sent = topic.subscriptions.values().flat_map(|subscription| &subscription.deliveries);
    let sent = sent.map(|delivery| (delivery.index, &delivery.entry));
    for (event, entry) in shown.chain(sent) {
        let Some(offset) = entry.offset else { continue };
        let (value, first) = *by_offset.entry(offset).or_insert((&entry.value, event));
        if *value != entry.value {
            let pair = [value.clone(), entry.value.clone()];
            wrongs.push(Wrong::OneOffset { offset, pair, events: [first, event] });
            continue;
        }
        let (known, first) = *by_value.entry(&entry.value).or_insert((offset, event));
        // Within one answer that is a message there twice, and told as such.
        if known != offset && first != event {
            let value = entry.value.clone();
            wrongs.push(Wrong::TwoOffsets { value, offsets: [known, offset], events: [first, event] });
        }
    }
}

/// What was acknowledged before another was asked for comes before it. From the end of the log, the earliest
/// acknowledgement of all that comes later is enough to know.
fn real_time(topic: &Topic, log: &Positions, wrongs: &mut Vec<Wrong>) {
    let (Some(reference), Some(entries)) = (log.final_op, topic.log()) else { return };
    let mut earliest: Option<(u64, &Value)> = None;
    for entry in entries.iter().rev() {
        let Some(message) = topic.messages.get(&entry.value) else { continue };
        if let (Some(asked_ns), Some((acked_ns, later))) = (message.asked_ns(), earliest)
            && acked_ns < asked_ns
        {
            let pair = [later.clone(), entry.value.clone()];
            wrongs.push(Wrong::RealTime { pair, log: reference });
        }
        if let Some(acked_ns) = message.acked_ns()
            && earliest.is_none_or(|(known, _)| acked_ns < known)
        {
            earliest = Some((acked_ns, &entry.value));
        }
    }
}

fn losses(facts: &Logs, topic: &Topic, log: &Positions, wrongs: &mut Vec<Wrong>) -> u64 {
    let mut excused = 0;
    let Some(reference) = log.final_op else { return 0 };
    for (value, message) in &topic.messages {
        let Some(acked) = message.acked().filter(|op| log.misses(value, op.end_ns())) else { continue };
        match facts.excuses(acked.end_ns()) {
            true => excused += 1,
            false => wrongs.push(Wrong::Lost { op: acked.index, log: reference }),
        }
    }
    excused
}

fn differences(facts: &Logs, topic: &Topic, wrongs: &mut Vec<Wrong>) {
    let Some(reference) = topic.reference() else { return };
    let none = Vec::new();
    let longest = reference.entries.as_deref().unwrap_or(&none);
    for (node, op) in &topic.finals {
        let entries = op.entries.as_deref().unwrap_or(&none);
        let same = longest.iter().zip(entries).take_while(|(one, other)| one.value == other.value).count();
        let late = || same == entries.len() && !facts.had_time(topic, same, op.invoked_ns);
        if same < longest.len() && !late() {
            wrongs.push(Wrong::Diverged {
                node: (*node).to_owned(),
                at: same,
                here: entries.get(same).map(|entry| entry.value.clone()),
                there: longest[same].value.clone(),
                ops: [op.index, reference.index],
            });
        }
    }
}

fn subscriber(
    facts: &Logs,
    topic: &Topic,
    subscription: &Subscription,
    log: &Positions,
    wrongs: &mut Vec<Wrong>,
) {
    let mut seen: HashMap<&Value, u64> = HashMap::new();
    let mut before: Option<(usize, u64)> = None;
    for delivery in &subscription.deliveries {
        let value = &delivery.entry.value;
        if let Some(first) = seen.insert(value, delivery.index) {
            wrongs.push(Wrong::SentTwice { value: value.clone(), deliveries: [first, delivery.index] });
            continue;
        }
        let asked_ns = topic.messages.get(value).and_then(super::facts::Message::asked_ns);
        if asked_ns.is_none_or(|asked_ns| delivery.time_ns < asked_ns) {
            wrongs.push(Wrong::FromNowhere { value: value.clone(), event: delivery.index });
            continue;
        }
        let Some(reference) = log.final_op else { continue };
        let Some(at) = log.at.get(value).copied() else {
            if log.misses(value, delivery.time_ns) && facts.must_last(delivery.time_ns) {
                wrongs.push(Wrong::Vanished { value: value.clone(), event: delivery.index, log: reference });
            }
            continue;
        };
        if let Some((last, previous)) = before {
            let deliveries = [previous, delivery.index];
            match at {
                at if at < last => wrongs.push(Wrong::SentInOrder { deliveries, log: reference }),
                at if at > last + 1 => wrongs.push(Wrong::SentWithGap {
                    missing: entry_at(topic, last + 1),
                    deliveries,
                    log: reference,
                }),
                _ => {}
            }
        }
        before = Some((at, delivery.index));
    }
    ends(facts, topic, subscription, log, before, wrongs);
}

fn entry_at(topic: &Topic, place: usize) -> Value {
    topic.log().and_then(|entries| entries.get(place)).map_or(Value::Nil, |entry| entry.value.clone())
}

/// What a subscription owes at its two ends: whatever was asked for after it was confirmed, up to the last message.
fn ends(
    facts: &Logs,
    topic: &Topic,
    subscription: &Subscription,
    log: &Positions,
    last: Option<(usize, u64)>,
    wrongs: &mut Vec<Wrong>,
) {
    let (Some(op), Some(shown), Some(entries)) = (subscription.op, topic.reference(), topic.log()) else {
        return;
    };
    let reference = shown.index;
    let Some(confirmed_ns) = op.returned_ns else { return };
    let owed = |place: &usize| {
        let message = topic.messages.get(&entries[*place].value);
        message.and_then(super::facts::Message::asked_ns).is_some_and(|asked_ns| asked_ns > confirmed_ns)
    };
    let first_place = subscription.deliveries.iter().find_map(|delivery| log.at.get(&delivery.entry.value));
    if let Some(first_place) = first_place
        && let Some(missed) = (0..*first_place).find(owed)
    {
        let first = subscription
            .deliveries
            .iter()
            .find(|delivery| log.at.get(&delivery.entry.value) == Some(first_place));
        wrongs.push(Wrong::SentLate {
            missing: entries[missed].value.clone(),
            subscribe: op.index,
            delivery: first.map(|delivery| delivery.index),
            log: reference,
        });
    }
    let lasted = facts.settled && subscription.ended_ns.is_none();
    let restarted = facts.history.restarted_between(subscription.node(), confirmed_ns, u64::MAX);
    if lasted && !restarted {
        let from = last.map_or(0, |(place, _)| place + 1);
        if let Some(missed) = (from..log.length).find(owed)
            && facts.had_time(topic, missed, shown.invoked_ns)
        {
            wrongs.push(Wrong::SentLate {
                missing: entries[missed].value.clone(),
                subscribe: op.index,
                delivery: None,
                log: reference,
            });
        }
    }
}
