//! `log`: a replicated log keeps what it acknowledged, once, in one order, for everybody.
//!
//! **Definition.** Each topic is one log, an atomic broadcast among replicas (Ongaro and Ousterhout, *In Search of an
//! Understandable Consensus Algorithm*, 2014, §5.3 "State Machine Safety": no two servers apply different entries at an index).
//! A client's view of it is linearizable appends: what was acknowledged before another was asked for comes before it. A
//! message is named by its value; sent again after an unknown outcome it is the same message and must be there once.
//!
//! | kind | what it proves |
//! |---|---|
//! | `lost-acknowledged` | an acknowledged message is in no node's log in the end |
//! | `duplicated` | a log has a message twice |
//! | `reordered` | two answers have two messages in different orders, or a message comes before one that had been acknowledged before it was asked for |
//! | `diverged` | after the heal, two nodes' logs differ |
//! | `silent` | a node never told its log after the heal |
//! | `vanished` | a node showed, or delivered, a message that is in no log in the end: it was not committed |
//! | `gap` | an answer leaves out a message between two that it has |
//! | `from-nowhere` | a message that nobody can have published by then |
//! | `two-offsets` | one message under two offsets, or two messages under one |
//! | `subscriber-gap`, `subscriber-duplicate`, `subscriber-order` | what a subscriber was sent is no unbroken part of the log |
//!
//! **The log** of a topic is what the nodes show of it in the end: the longest final answer. An answer shows the last so
//! many entries, so any answer, at any time and any node, must be an unbroken part of the log: entries that are shown are
//! committed, and committed entries stay. A follower may be late.
//!
//! **What a crash excuses** is declared: with `memory` an acknowledged message may be gone when a node was started again
//! after it, with `replicated` when every node was. Such losses are counted as excused.
//!
//! **Soundness.** Only `ok` answers count. Final answers are the last of the settle phase, and differences between nodes count
//! only when its time is over. A message of unknown outcome may take its place in the log at any time, also between those last
//! questions: so only what was acknowledged, shown or delivered before the first of them must be in one of their answers, and a
//! node or subscriber that merely lacks the end of the log lacks it only if some of that end was known in the first half of the
//! settling. A subscription owes what was asked for after it was confirmed, as long as its connection
//! lasts, and nothing when that has ended.
//!
//! **Complexity.** Linear in the entries shown, with hash tables by message.

mod facts;
mod found;
mod judge;

use serde_json::{Map, Value as Json, json};

use super::findings::evidence;
use super::listed::conclude;
use super::{Check, CheckResult};
use crate::history::History;
use facts::{Logs, Topic};

/// The check.
pub struct Log;

impl Check for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn about(&self) -> &'static str {
        "Every node's log has every acknowledged message, once, in one order, and subscribers are sent that order."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Logs::new(history);
        let (found, excused) = judge::judge(&facts);
        let acked = facts.topics.iter().flat_map(|topic| topic.messages.values());
        let acked = acked.filter(|message| message.acked_ns().is_some()).count() as u64;
        let finals: usize = facts.topics.iter().map(|topic| topic.finals.len()).sum();
        let deliveries: usize = facts
            .topics
            .iter()
            .flat_map(|topic| topic.subscriptions.values())
            .map(|subscription| subscription.deliveries.len())
            .sum();
        let figures = evidence([
            ("topics", facts.topics.len() as u64),
            ("acknowledged", acked),
            ("answers", facts.topics.iter().map(|topic| topic.answers.len() as u64).sum()),
            ("deliveries", deliveries as u64),
        ]);
        let unknown = match (acked, finals) {
            (0, _) => Some("no message was acknowledged"),
            _ if facts.misread.is_some() => facts.misread.as_deref(),
            (_, 0) if deliveries == 0 => Some("no node told its log after the heal"),
            _ => None,
        };
        let mut result = conclude(&facts, found, figures, unknown);
        result.excused = excused;
        result.stats = stats(&facts);
        result
    }
}

/// How far timestamps run backwards along the log, in the system's own unit; and how long each fault kept publishers waiting.
fn stats(facts: &Logs) -> Map<String, Json> {
    let mut stats = Map::new();
    let (mut stamped, mut backwards, mut most) = (0_u64, 0_u64, 0.0_f64);
    for entries in facts.topics.iter().filter_map(Topic::log) {
        let mut newest = f64::MIN;
        for ts in entries.iter().filter_map(|entry| entry.ts) {
            stamped += 1;
            let ts = ts.as_f64();
            if ts < newest {
                backwards += 1;
                most = most.max(newest - ts);
            }
            newest = newest.max(ts);
        }
    }
    if stamped > 0 {
        stats.insert(
            "timestamps".into(),
            json!({"entries": stamped, "backwards": backwards, "backwards_most": most}),
        );
    }
    let waits: Vec<Json> =
        facts.history.faults.iter().filter_map(|fault| wait(facts, fault.began_ns)).collect();
    let labelled = facts.history.faults.iter().map(|fault| &fault.label).zip(waits);
    let rows: Vec<Json> = labelled.map(|(label, ms)| json!({"fault": label, "next_ack_ms": ms})).collect();
    if !rows.is_empty() {
        stats.insert("failover".into(), rows.into());
    }
    stats
}

/// From `began_ns` to the first acknowledgement of what was asked after it, ms; null: there was none.
fn wait(facts: &Logs, began_ns: u64) -> Option<Json> {
    let messages = facts.topics.iter().flat_map(|topic| topic.messages.values());
    let acks = messages.flat_map(|message| &message.ops).filter(|op| op.is_ok() && op.invoked_ns >= began_ns);
    let next_ns = acks.filter_map(|op| op.returned_ns).min();
    Some(next_ns.map_or(Json::Null, |next_ns| json!((next_ns - began_ns) / 1_000_000)))
}
