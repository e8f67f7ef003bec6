//! A write: stored by the leader, replicated to all at once, acknowledged when two things are known.
//!
//! 1. W replicas have it on disk, the leader's own included.
//! 2. A majority has confirmed the leader's term after the write was stored there. Otherwise a leader that was deposed in
//!    its sleep could, with W = 1, acknowledge a write which newer ones have outranked already. Where W is a majority, the
//!    replicas' answers say both; below that a heartbeat asks, without the value, so that W = 1 means one copy.
//!
//! When the time is up, the outcome is unknown: the write stays where it arrived, and may spread later.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::bug::Bug;
use super::leader::confirm;
use super::message::{Done, Heartbeat, Item, Replicate, Version};
use super::node::{Node, Peer};
use super::state::Role;
use crate::node::http::HttpError;
use crate::node::random;

/// How long a write may take before its outcome counts as unknown.
pub const DEADLINE: Duration = Duration::from_millis(800);
/// How long one try at one peer may take.
const ATTEMPT: Duration = Duration::from_millis(400);
/// Between tries.
const PAUSE: Duration = Duration::from_millis(40);

/// What became of a write that a leader took.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The version it has, whatever becomes of it.
    pub version: Version,
    /// How many replicas are known to hold it.
    pub acks: usize,
    /// Whether it holds: otherwise nobody knows yet.
    pub achieved: bool,
}

/// Why a write was not begun, and never will be.
#[derive(Debug)]
pub enum NotBegun {
    /// This node does not lead, or not yet.
    NotLeader,
    /// [`Bug::RefusesWithQuorum`]
    Refused,
}

/// What a peer's answer says of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ack {
    Stored,
    Confirmed,
}

/// What is asked of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Store,
    Confirm,
}

/// Writes `value`, or deletes the key where there is none.
///
/// # Errors
/// [`NotBegun`]: it certainly did not happen.
pub async fn write(node: &Arc<Node>, key: String, value: Option<Json>) -> Result<Written, NotBegun> {
    let deadline = Instant::now() + DEADLINE;
    wait_ready(node, deadline).await;
    if node.has(Bug::RefusesWithQuorum) && !node.change(|state, now| state.hears_all(now)) {
        let leads = node.follow().borrow().role == Role::Leader;
        return Err(if leads { NotBegun::Refused } else { NotBegun::NotLeader });
    }
    let early = node.has(Bug::AckThenReplicate);
    let begun = node.change(|state, now| {
        let version = state.next_version(now)?;
        let (deleted, value) = (value.is_none(), value.unwrap_or_default());
        let item = Arc::new(Item { key, value, deleted, version });
        let seq = if early { 0 } else { state.apply(&item) };
        Some((item, seq))
    });
    let Some((item, seq)) = begun else { return Err(NotBegun::NotLeader) };
    let version = item.version;
    if early {
        replicate_later(node, item);
        return Ok(Written { version, acks: node.write_quorum, achieved: true });
    }
    let mut written = gather(node, &item, seq, deadline).await;
    if written.achieved {
        node.settle(&item.key, version);
    }
    if node.has(Bug::ClaimsQuorum) {
        written = Written { achieved: true, acks: written.acks.max(node.write_quorum), ..written };
    }
    Ok(written)
}

/// A leader that has yet to fetch what a majority had takes writes in a moment.
async fn wait_ready(node: &Node, deadline: Instant) {
    let mut standing = node.follow();
    // At the deadline it turns out that it cannot be written.
    let _ = timeout_at(deadline, standing.wait_for(|now| now.ready || now.role != Role::Leader)).await;
}

async fn gather(node: &Arc<Node>, item: &Arc<Item>, seq: u64, deadline: Instant) -> Written {
    let version = item.version;
    let term = version.term();
    let told = node.kept.lock().tells(item);
    let (sender, mut acks) = mpsc::unbounded_channel();
    for peer in &node.peers {
        let mut asks = Vec::new();
        if told {
            asks.push(Ask::Store);
        }
        if !told || node.write_quorum < node.majority() {
            asks.push(Ask::Confirm);
        }
        for ask in asks {
            // They go on when this write is acknowledged: the other replicas want it too.
            let (node, peer, item) = (Arc::clone(node), Arc::clone(peer), Arc::clone(item));
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Some(ack) = persuade(&node, &peer, ask, &item, deadline).await {
                    // Nobody listens any more when the write is decided.
                    let _ = sender.send((peer.index, ack));
                }
            });
        }
    }
    drop(sender);

    let mut stored = vec![false; node.peers.len()];
    let mut confirmed = vec![false; node.peers.len()];
    let mut own = false;
    loop {
        let extra = usize::from(node.has(Bug::CountsItselfTwice));
        let mut holders = stored.iter().filter(|has| **has).count() + usize::from(own) + extra;
        let confirms = confirmed.iter().filter(|has| **has).count() + 1 + extra;
        if !told && confirms >= node.majority() && own {
            // The bug answers as if the tombstone had arrived.
            holders = holders.max(node.write_quorum);
        }
        let wanted = if node.has(Bug::RefusesWithQuorum) { node.total() } else { node.write_quorum };
        if holders >= wanted && confirms >= node.majority() {
            // Its own confirmation, last of all.
            let achieved = node.change(|state, _| state.leads_in(term));
            return Written { version, acks: holders, achieved };
        }
        let acks = tokio::select! {
            // What has arrived counts, also where the deadline has passed in the same sleep.
            biased;
            Some((peer, ack)) = acks.recv() => {
                confirmed[peer] = true;
                stored[peer] |= ack == Ack::Stored;
                continue;
            }
            () = node.kept.on_disk(seq), if !own => {
                own = true;
                continue;
            }
            () = node.deposed(term) => holders,
            () = sleep_until(deadline) => holders,
        };
        return Written { version, acks, achieved: false };
    }
}

/// Asks `peer` until it answers or the time is up; `None` then, and when it says that this term is over.
async fn persuade(node: &Node, peer: &Peer, ask: Ask, item: &Arc<Item>, deadline: Instant) -> Option<Ack> {
    let (term, leader_id) = (item.version.term(), node.id.clone());
    let store = Replicate { term, leader_id: leader_id.clone(), item: Arc::clone(item) };
    let beat = Heartbeat { term, leader_id, settled: Arc::default() };
    loop {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let patience = left.min(ATTEMPT);
        let (answer, ack) = match ask {
            Ask::Confirm => (confirm(node, peer, &beat, patience).await, Ack::Confirmed),
            Ask::Store => {
                let done: Result<Done, HttpError> =
                    node.ask(peer, "/internal/replicate", &store, patience).await;
                (done.map(|done| done.success), Ack::Stored)
            }
        };
        match answer {
            Ok(true) => return Some(ack),
            Ok(false) => return None,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// [`Bug::AckThenReplicate`]
fn replicate_later(node: &Arc<Node>, item: Arc<Item>) {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        sleep(Duration::from_millis(50 + random::below(101))).await;
        let seq = node.change(|state, _| state.apply(&item));
        gather(&node, &item, seq, Instant::now() + DEADLINE).await;
    });
}
