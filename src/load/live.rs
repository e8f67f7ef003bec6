//! What the load is doing right now, for whoever shows it; and what it did, for the report.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::client::Answer;
use crate::history::Outcome;

/// How many kinds of answers that were not understood are kept of each node.
const SAMPLES: usize = 5;

/// Counters that anyone may read while the load runs.
#[derive(Debug, Default)]
pub struct Live {
    nodes: Vec<NodeLive>,
    skipped_slots: AtomicU64,
    scheduled_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct NodeLive {
    id: Arc<str>,
    ok: AtomicU64,
    fail: AtomicU64,
    info: AtomicU64,
    in_flight: AtomicU64,
    writing: AtomicU64,
    not_understood: AtomicU64,
    samples: Mutex<Vec<Sample>>,
}

/// An answer that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sample {
    /// What had been asked: `read`, `write` …
    pub f: String,
    /// Why it was not understood.
    pub error: String,
    /// The beginning of what came the first time.
    pub raw: String,
    /// How often the same was asked and not understood for the same reason.
    pub count: u64,
}

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// They happened.
    pub ok: u64,
    /// They certainly did not.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

impl Counts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ok + self.fail + self.info
    }
}

/// What the clients saw of one node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NodeStats {
    /// The node.
    pub node: String,
    /// Its operations.
    pub counts: Counts,
    /// Answers that were not understood.
    pub not_understood: u64,
    /// One of each kind, those that came first.
    pub samples: Vec<Sample>,
}

/// What a load did.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LoadStats {
    /// Operations a second that were asked for; 0: as fast as they are answered.
    pub asked_rate: f64,
    /// Operations a second that were begun.
    pub achieved_rate: f64,
    /// How they ended.
    pub counts: Counts,
    /// Slots that passed while their client was still waiting for an earlier answer.
    pub skipped_slots: u64,
    /// The same by node, in the workload's order.
    pub nodes: Vec<NodeStats>,
}

impl Live {
    /// All zero, for these nodes.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let nodes = nodes.into_iter().map(|id| NodeLive { id: id.into(), ..NodeLive::default() }).collect();
        Arc::new(Self { nodes, ..Self::default() })
    }

    /// The sum over all nodes.
    pub fn counts(&self) -> Counts {
        (0..self.nodes.len()).map(|node| self.node_counts(node)).fold(Counts::default(), |sum, node| Counts {
            ok: sum.ok + node.ok,
            fail: sum.fail + node.fail,
            info: sum.info + node.info,
        })
    }

    /// The operations of one node, by its place in the list; zeros when there is none.
    pub fn node_counts(&self, node: usize) -> Counts {
        self.nodes.get(node).map_or(Counts::default(), |node| Counts {
            ok: node.ok.load(Ordering::Relaxed),
            fail: node.fail.load(Ordering::Relaxed),
            info: node.info.load(Ordering::Relaxed),
        })
    }

    /// Operations under way at a node now.
    pub fn in_flight(&self, node: usize) -> u64 {
        self.nodes.get(node).map_or(0, |node| node.in_flight.load(Ordering::Relaxed))
    }

    /// Those of them that change something.
    pub fn writing(&self, node: usize) -> u64 {
        self.nodes.get(node).map_or(0, |node| node.writing.load(Ordering::Relaxed))
    }

    /// Slots that were missed so far.
    pub fn skipped_slots(&self) -> u64 {
        self.skipped_slots.load(Ordering::Relaxed)
    }

    /// The latest schedule of an operation that was begun: [`Plan::keys_until`](super::Plan::keys_until) this has every
    /// key in use.
    pub fn scheduled_until(&self) -> Duration {
        Duration::from_nanos(self.scheduled_ns.load(Ordering::Relaxed))
    }

    pub(super) fn begun(&self, node: usize, mutates: bool, scheduled: Duration) {
        let scheduled_ns = u64::try_from(scheduled.as_nanos()).unwrap_or(u64::MAX);
        if self.scheduled_ns.load(Ordering::Relaxed) < scheduled_ns {
            self.scheduled_ns.fetch_max(scheduled_ns, Ordering::Relaxed);
        }
        if let Some(node) = self.nodes.get(node) {
            node.in_flight.fetch_add(1, Ordering::Relaxed);
            node.writing.fetch_add(u64::from(mutates), Ordering::Relaxed);
        }
    }

    /// What was under way at `from` goes on at `to`.
    pub(super) fn moved(&self, from: usize, to: usize, mutates: bool) {
        if let (Some(from), Some(to)) = (self.nodes.get(from), self.nodes.get(to)) {
            to.in_flight.fetch_add(1, Ordering::Relaxed);
            from.in_flight.fetch_sub(1, Ordering::Relaxed);
            to.writing.fetch_add(u64::from(mutates), Ordering::Relaxed);
            from.writing.fetch_sub(u64::from(mutates), Ordering::Relaxed);
        }
    }

    pub(super) fn ended(&self, node: usize, f: &str, mutates: bool, answer: &Answer) {
        let Some(node) = self.nodes.get(node) else { return };
        node.in_flight.fetch_sub(1, Ordering::Relaxed);
        node.writing.fetch_sub(u64::from(mutates), Ordering::Relaxed);
        let counter = match answer.outcome {
            Outcome::Ok => &node.ok,
            Outcome::Fail => &node.fail,
            Outcome::Info => &node.info,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        node.sample(f, answer);
    }

    /// Keeps the answer to a probe, should it not have been understood.
    pub(super) fn probed(&self, node: usize, f: &str, answer: &Answer) {
        if let Some(node) = self.nodes.get(node) {
            node.sample(f, answer);
        }
    }

    pub(super) fn skipped(&self, slots: u64) {
        self.skipped_slots.fetch_add(slots, Ordering::Relaxed);
    }

    /// What was done in `elapsed`.
    pub fn stats(&self, asked_rate: f64, elapsed: Duration) -> LoadStats {
        let counts = self.counts();
        let elapsed_s = elapsed.as_secs_f64();
        let nodes = self.nodes.iter().enumerate().map(|(place, node)| NodeStats {
            node: node.id.to_string(),
            counts: self.node_counts(place),
            not_understood: node.not_understood.load(Ordering::Relaxed),
            samples: node.samples.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        });
        LoadStats {
            asked_rate,
            achieved_rate: if elapsed_s > 0.0 { counts.total() as f64 / elapsed_s } else { 0.0 },
            counts,
            skipped_slots: self.skipped_slots(),
            nodes: nodes.collect(),
        }
    }
}

impl NodeLive {
    fn sample(&self, f: &str, answer: &Answer) {
        // An answer that is `ok` and shows nothing may have been understood: a heading, and nothing below it.
        let Some(raw) = answer.raw.as_ref().filter(|_| answer.outcome != Outcome::Ok) else { return };
        self.not_understood.fetch_add(1, Ordering::Relaxed);
        let error = answer.error.as_deref().unwrap_or_default();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = samples.iter_mut().find(|sample| sample.f == f && sample.error == error) {
            known.count += 1;
        } else if samples.len() < SAMPLES {
            samples.push(Sample { f: f.to_owned(), error: error.to_owned(), raw: raw.clone(), count: 1 });
        }
    }
}
