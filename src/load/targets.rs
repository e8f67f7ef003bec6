//! The nodes, as clients reach them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::ledger::Ledger;
use super::{Leaders, Live};
use crate::client::{Answer, Client, Console, Protocol, Way};
use crate::history::recorder::Recorder;
use crate::history::{Entry, Outcome, Value};

/// All that clients and probers share.
#[derive(Debug)]
pub struct Targets {
    pub(super) protocol: Arc<Protocol>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) live: Arc<Live>,
    pub(super) leaders: Leaders,
    pub(super) list: Vec<Target>,
    /// Messages that nodes have taken so far.
    pub(super) acked: AtomicU64,
    /// Messages that nobody knows to have been taken or not.
    pub(super) unknown: AtomicU64,
    pub(super) ledger: Ledger,
    pub(super) timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Target {
    pub id: Arc<str>,
    way: Way,
    permits: Option<Semaphore>,
}

impl Targets {
    /// `nodes` in the workload's order. `timeout` bounds each operation, `max_in_flight` the operations under way at one
    /// node at a time, probes included.
    pub fn new(
        protocol: Arc<Protocol>,
        recorder: Arc<Recorder>,
        nodes: &[(String, impl Into<Way> + Clone)],
        timeout: Duration,
        max_in_flight: Option<u32>,
    ) -> Arc<Self> {
        let permits = || max_in_flight.map(|most| Semaphore::new(most.max(1) as usize));
        let live = Live::new(nodes.iter().map(|(id, _)| id.as_str()));
        let mut list = Vec::new();
        for (id, way) in nodes {
            list.push(Target { id: id.as_str().into(), way: way.clone().into(), permits: permits() });
        }
        let leaders = Leaders::new(list.iter().map(|target| &target.id));
        Arc::new(Self {
            protocol,
            recorder,
            live,
            leaders,
            list,
            acked: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            ledger: Ledger::default(),
            timeout,
        })
    }

    /// What clients speak.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// The counters.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Who leads.
    pub fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    /// The place of the node that an answer means by `hint`: its id, or a URL or address with its port. Nodes know each other
    /// by addresses that lead through links, so the host says nothing.
    pub fn place_of(&self, hint: &str) -> Option<usize> {
        let hint = hint.trim();
        if let Some(place) = self.list.iter().position(|target| *target.id == *hint) {
            return Some(place);
        }
        let authority = hint.split_once("://").map_or(hint, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let port: u16 = authority.rsplit_once(':')?.1.parse().ok()?;
        let at = |target: &Target| matches!(&target.way, Way::Net(address) if address.port() == port);
        self.list.iter().position(at)
    }

    /// Whether the protocol knows how to subscribe, and what is delivered then.
    pub fn can_subscribe(&self) -> bool {
        self.protocol.has("subscribe") && self.protocol.delivers()
    }

    /// Notes what came of a message.
    pub(super) fn sent(&self, topic: &str, value: &Value, outcome: Outcome) {
        match outcome {
            Outcome::Ok => {
                self.ledger.seen(topic, value);
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Info => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Fail => {}
        }
    }

    /// Notes what a node showed of a log: with the last entry, all before it.
    pub(super) fn shown(&self, topic: &str, answer: &Answer) {
        if let Some(last) = answer.entries.as_deref().and_then(|entries| entries.last()) {
            self.ledger.seen(topic, &last.value);
        }
    }

    /// Whether a log has every message that was acknowledged, delivered or shown.
    pub fn is_all_in(&self, topic: &str, log: &[Entry]) -> bool {
        self.ledger.is_all_in(topic, log)
    }

    /// Messages that may have been taken though nobody said so.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Messages that nodes have taken so far.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// The node's standard input and output, where clients talk to it by these.
    pub fn console(&self, place: usize) -> Option<&Arc<Console>> {
        match &self.list.get(place)?.way {
            Way::Console(console) => Some(console),
            Way::Net(_) => None,
        }
    }

    /// A new connection to the node at `place` of the list; `None`: there is no such node.
    pub fn client(&self, place: usize) -> Option<Client> {
        let target = self.list.get(place)?;
        Some(Client::new(Arc::clone(&self.protocol), target.way.clone(), self.timeout))
    }
}

impl Target {
    /// Waits until the node may be asked. `None`: there is no limit.
    pub async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permit_or(|| {}).await
    }

    /// As [`Target::permit`], but calls `before_waiting` if it must wait.
    pub async fn permit_or(&self, before_waiting: impl FnOnce()) -> Option<SemaphorePermit<'_>> {
        let permits = self.permits.as_ref()?;
        if let Ok(permit) = permits.try_acquire() {
            return Some(permit);
        }
        before_waiting();
        // The semaphore is never closed, so an error cannot occur; without a permit the limit would not hold, no more.
        permits.acquire().await.ok()
    }
}
