//! Who published what, and what each node showed and sent of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::check::misread;
use crate::history::{Delivery, Durability, Entry, History, Op, Outcome, Phase, Value};

/// A message somebody was asked to publish.
#[derive(Default)]
pub struct Message<'h> {
    /// The requests: more than one where an unknown outcome made a client ask again.
    pub ops: Vec<&'h Op>,
}

impl<'h> Message<'h> {
    /// When it can first have been published, ns; `None`: it certainly never was.
    pub fn asked_ns(&self) -> Option<u64> {
        self.ops.iter().filter(|op| op.outcome != Outcome::Fail).map(|op| op.invoked_ns).min()
    }

    /// The first request that was acknowledged.
    pub fn acked(&self) -> Option<&'h Op> {
        self.ops.iter().filter(|op| op.is_ok()).min_by_key(|op| op.returned_ns).copied()
    }

    /// When it was first acknowledged, ns.
    pub fn acked_ns(&self) -> Option<u64> {
        self.acked().and_then(|op| op.returned_ns)
    }
}

/// What one subscriber was sent.
#[derive(Default)]
pub struct Subscription<'h> {
    /// Its `subscribe`, where the history has it.
    pub op: Option<&'h Op>,
    /// In the order of arrival.
    pub deliveries: Vec<&'h Delivery>,
    /// When its connection ended, ns; `None`: it lasted.
    pub ended_ns: Option<u64>,
}

impl Subscription<'_> {
    /// The node it is at.
    pub fn node(&self) -> &str {
        let delivered = self.deliveries.first().map(|delivery| &*delivery.node);
        self.op.and_then(|op| op.node.as_deref()).or(delivered).unwrap_or("?")
    }
}

/// One topic.
#[derive(Default)]
pub struct Topic<'h> {
    /// Its name; empty where there are none.
    pub name: &'h str,
    /// What was published, by value.
    pub messages: HashMap<&'h Value, Message<'h>>,
    /// Every answer that showed its log, in order of invocation.
    pub answers: Vec<&'h Op>,
    /// The last answer of each node in the settle phase.
    pub finals: BTreeMap<&'h str, &'h Op>,
    /// Nodes that were asked then and never answered, with the last question.
    pub silent: BTreeMap<&'h str, &'h Op>,
    /// By subscribing process.
    pub subscriptions: BTreeMap<u64, Subscription<'h>>,
}

impl<'h> Topic<'h> {
    /// The longest final answer, and the first of equals: the log.
    pub fn reference(&self) -> Option<&'h Op> {
        let length = |op: &Op| op.entries.as_ref().map_or(0, |entries| entries.len());
        self.finals.values().copied().reduce(|best, op| if length(op) > length(best) { op } else { best })
    }

    /// The log's entries.
    pub fn log(&self) -> Option<&'h Arc<Vec<Entry>>> {
        self.reference()?.entries.as_ref()
    }
}

/// Takes away what was not understood. Why, if anything was.
fn leave_out_misread(history: &History, topics: &mut BTreeMap<&str, Topic>) -> Option<String> {
    let [entries, subscriptions] = misread::logs(history);
    for topic in topics.values_mut() {
        if entries.is_some() {
            topic.answers.clear();
            topic.finals.clear();
            topic.silent.clear();
        }
        if subscriptions.is_some() {
            topic.subscriptions.clear();
        }
    }
    let both: Vec<String> = entries.into_iter().chain(subscriptions).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// A history of logs, indexed by topic.
pub struct Logs<'h> {
    /// The history.
    pub history: &'h History,
    /// In the order of their names.
    pub topics: Vec<Topic<'h>>,
    /// Whether the run healed and had its time to bring everybody up to date.
    pub settled: bool,
    /// Why what nodes showed, or subscribers were sent, was left out: it was not understood.
    pub misread: Option<String>,
    /// When the settle phase began, ns.
    settle_ns: u64,
}

impl<'h> Logs<'h> {
    /// Indexes a history. Linear.
    pub fn new(history: &'h History) -> Self {
        let mut topics: BTreeMap<&str, Topic> = BTreeMap::new();
        let settle_ns = history.phase_began_ns(Phase::Settle).unwrap_or(u64::MAX);
        for op in &history.ops {
            let name = op.key.as_deref().unwrap_or_default();
            if !matches!(&*op.f, "publish" | "history" | "subscribe") {
                continue;
            }
            let topic = topics.entry(name).or_insert_with(|| Topic { name, ..Topic::default() });
            match (&*op.f, &op.entries) {
                ("publish", _) => topic.messages.entry(&op.value).or_default().ops.push(op),
                ("subscribe", _) if op.is_ok() => {
                    let subscription = topic.subscriptions.entry(op.process).or_default();
                    subscription.op = Some(op);
                }
                ("history", shown) => {
                    topic.answers.extend(shown.as_ref().map(|_| op));
                    let Some(node) = op.node.as_deref().filter(|_| op.invoked_ns >= settle_ns) else {
                        continue;
                    };
                    let map = if shown.is_some() { &mut topic.finals } else { &mut topic.silent };
                    map.insert(node, op);
                }
                _ => {}
            }
        }
        for delivery in &history.deliveries {
            let (Some(process), name) = (delivery.subscriber, delivery.key.as_deref().unwrap_or_default())
            else {
                continue;
            };
            let topic = topics.entry(name).or_insert_with(|| Topic { name, ..Topic::default() });
            topic.subscriptions.entry(process).or_default().deliveries.push(delivery);
        }
        for topic in topics.values_mut() {
            topic.silent.retain(|node, _| !topic.finals.contains_key(node));
            for (process, subscription) in &mut topic.subscriptions {
                subscription.ended_ns = history.unsubscribed.get(process).copied();
            }
        }
        let misread = leave_out_misread(history, &mut topics);
        let settled = settle_ns < u64::MAX
            && (history.phase_began_ns(Phase::Done).is_some() || history.converged_ms.is_some());
        Logs { history, topics: topics.into_values().collect(), settled, misread, settle_ns }
    }

    /// Whether what was shown at `shown_ns` must be in the log in the end.
    pub fn must_last(&self, shown_ns: u64) -> bool {
        self.settled && !self.excuses(shown_ns)
    }

    /// Whether what the log has from `place` on was known early enough to be everywhere when that was asked at `asked_ns`: in the
    /// first half of the settling. A message of unknown outcome may take its place at any time, also between the last
    /// questions, and a follower may be late. Linear in the entries shown.
    pub fn had_time(&self, topic: &Topic, place: usize, asked_ns: u64) -> bool {
        let until_ns = self.settle_ns + asked_ns.saturating_sub(self.settle_ns) / 2;
        let entries = topic.log().map_or(&[][..], |entries| entries);
        // What comes later in the log was known later, so the earliest of all is when the first was.
        let rest: HashSet<&Value> = entries.iter().skip(place).map(|entry| &entry.value).collect();
        let acked = topic.messages.iter().filter(|(value, _)| rest.contains(*value));
        let mut acked = acked.filter_map(|(_, message)| message.acked_ns());
        let mut shown = topic.answers.iter().filter(|op| op.end_ns() <= until_ns);
        let mut sent = topic.subscriptions.values().flat_map(|subscription| &subscription.deliveries);
        let shows = |op: &&Op| {
            op.entries.iter().flat_map(|entries| entries.iter()).any(|entry| rest.contains(&entry.value))
        };
        acked.any(|ns| ns <= until_ns)
            || shown.any(shows)
            || sent.any(|delivery| delivery.time_ns <= until_ns && rest.contains(&delivery.entry.value))
    }

    /// Whether what was declared lets what was acknowledged, or shown, at `since_ns` be forgotten by the end.
    pub fn excuses(&self, since_ns: u64) -> bool {
        let restarted = |node: &String| self.history.restarted_between(node, since_ns, u64::MAX);
        let nodes = &self.history.contract.nodes;
        match self.history.contract.durability {
            Durability::Disk => false,
            Durability::Replicated => nodes.iter().all(restarted),
            Durability::Memory => nodes.iter().any(restarted),
        }
    }
}
