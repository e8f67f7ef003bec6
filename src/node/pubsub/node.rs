//! One node: its replica, and what is around it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::clock::Clock;
use super::entry::Now;
use super::replica::{Answer, Outputs, Replica};
use super::rpc::Envelope;
use crate::node::kept::{Kept, unpoisoned};
use crate::node::random;

/// Topics that STATUS tells the offsets of.
const TOLD_TOPICS: usize = 1000;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// All nodes' names, sorted.
    pub members: Vec<String>,
    /// The replica, and how far it is on disk.
    pub kept: Arc<Kept<Replica>>,
    /// The time.
    pub clock: Clock,
    /// By member, what waits to be sent; `None` for itself.
    peers: Vec<Option<mpsc::Sender<Bytes>>>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    tickets: AtomicU64,
    ids: AtomicU64,
    applied: watch::Sender<u64>,
    /// Begins the ids that this node gives to messages without one.
    prefix: String,
}

impl Node {
    /// A node over a recovered replica.
    pub fn new(
        id: &str,
        members: Vec<String>,
        replica: Replica,
        clock: Clock,
        peers: Vec<Option<mpsc::Sender<Bytes>>>,
    ) -> Arc<Self> {
        // Of the process before, answers may still be on their way.
        let first = random::below(1 << 52);
        let (applied, _) = watch::channel(replica.applied());
        Arc::new(Node {
            id: id.to_owned(),
            members,
            kept: Arc::new(Kept::new(replica)),
            clock,
            peers,
            waiting: Mutex::default(),
            tickets: AtomicU64::new(first),
            ids: AtomicU64::new(1),
            applied,
            prefix: format!("{id}-{:x}", random::below(1 << 40)),
        })
    }

    /// Something happens to the replica, and what comes of it leaves.
    pub fn change<T>(&self, act: impl FnOnce(&mut Replica, Now) -> T) -> T {
        let mut replica = self.kept.lock();
        let now = self.clock.now();
        let outcome = act(&mut replica, now);
        let outputs = replica.take_outputs();
        let applied = replica.applied();
        // Under the lock, so that messages leave in the order in which they came to be.
        self.emit(outputs);
        self.applied.send_if_modified(|last| std::mem::replace(last, applied) != applied);
        drop(replica);
        self.kept.wake();
        outcome
    }

    fn emit(&self, outputs: Outputs) {
        for note in outputs.notes {
            say!("{}: {note}", self.id);
        }
        for (to, rpc) in outputs.send {
            let (Some(Some(peer)), Some(name)) = (self.peers.get(to), self.members.get(to)) else { continue };
            let envelope = Envelope { from: self.id.clone(), to: name.clone(), rpc };
            let Ok(mut line) = serde_json::to_vec(&envelope) else { continue };
            line.push(b'\n');
            // Where too much waits already, or nobody is there, it is lost, as messages are.
            let _ = peer.try_send(Bytes::from(line));
        }
        let mut waiting = unpoisoned(self.waiting.lock());
        for (ticket, answer) in outputs.answers {
            if let Some(asker) = waiting.remove(&ticket) {
                // Whoever asked may have given up.
                let _ = asker.send(answer);
            }
        }
    }

    /// Asks the replica something and waits for the answer; `None` where that takes too long.
    pub async fn ask(
        &self,
        patience: Duration,
        question: impl FnOnce(&mut Replica, u64, Now),
    ) -> Option<Answer> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        unpoisoned(self.waiting.lock()).insert(ticket, asker);
        self.change(|replica, now| question(replica, ticket, now));
        let answer = timeout(patience, answer).await.ok().and_then(Result::ok);
        if answer.is_none() {
            unpoisoned(self.waiting.lock()).remove(&ticket);
            self.change(|replica, _| replica.forget(ticket));
        }
        answer
    }

    /// Follows how far the log is applied.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// An id for a message that came without one.
    pub fn fresh_id(&self) -> String {
        format!("{}-{}", self.prefix, self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Which member has this name; none where it is this node's own.
    pub fn peer(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member == name && name != self.id)
    }

    /// Has the replica told what is on disk, for ever.
    pub async fn follow_disk(self: Arc<Self>) {
        let mut durable = self.kept.follow();
        // The sender lives as long as `self`.
        while durable.changed().await.is_ok() {
            let seq = *durable.borrow_and_update();
            self.change(|replica, now| replica.on_disk(seq, now));
        }
    }

    /// What STATUS answers.
    pub fn status(&self) -> Json {
        let offset_us = self.clock.offset_us();
        let replica = self.kept.lock();
        let topics = replica.topics();
        let offsets: serde_json::Map<String, Json> = topics
            .lengths()
            .take(TOLD_TOPICS)
            .map(|(name, length)| (name.to_owned(), length.into()))
            .collect();
        json!({
            "id": self.id,
            "role": replica.role(),
            "term": replica.term(),
            "leader": replica.leader(),
            "commit_index": replica.commit(),
            "applied_index": replica.applied(),
            "last_index": replica.last(),
            "messages": topics.published(),
            "offsets": offsets,
            "digest": format!("{:016x}", topics.digest()),
            "clock_offset_us": offset_us,
        })
    }
}
