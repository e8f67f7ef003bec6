//! One node: its state, its peers, and how both are spoken to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bug::Bug;
use super::message::{Answer, Item, MAX_TERM, Version};
use super::state::{Standing, State};
use crate::node::http::{HttpError, Url};
use crate::node::kept::{Kept, unpoisoned};
use crate::node::pool::Pool;

/// Connections kept open to a peer.
const IDLE_CONNECTIONS: usize = 16;
/// Settled versions told with one heartbeat; what does not fit is not told.
const MAX_SETTLED: usize = 512;

/// Another node.
#[derive(Debug)]
pub struct Peer {
    /// Its place in [`Node::peers`].
    pub index: usize,
    pool: Pool,
    /// Its name, once it has answered.
    name: Mutex<Option<String>>,
}

impl Peer {
    /// A peer at `url` that has not answered yet.
    pub fn new(index: usize, url: Url) -> Arc<Self> {
        Arc::new(Peer { index, pool: Pool::new(url, IDLE_CONNECTIONS), name: Mutex::default() })
    }

    /// Where it listens, as this node was told.
    pub fn url(&self) -> &str {
        self.pool.url.as_str()
    }

    /// Whether it is known by this name.
    pub fn is_called(&self, name: &str) -> bool {
        unpoisoned(self.name.lock()).as_deref() == Some(name)
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub id: String,
    bug: Option<Bug>,
    /// The others.
    pub peers: Vec<Arc<Peer>>,
    /// W: how many replicas hold an acknowledged write.
    pub write_quorum: usize,
    /// R: how many replicas a strong read asks.
    pub read_quorum: usize,
    /// The term, the vote, the role and the store.
    pub kept: Arc<Kept<State>>,
    standing: watch::Sender<Standing>,
    settled: Mutex<Vec<(String, Version)>>,
}

impl Node {
    /// A node over a recovered state.
    pub fn new(
        id: &str,
        bug: Option<Bug>,
        peers: Vec<Arc<Peer>>,
        write_quorum: usize,
        read_quorum: usize,
        state: State,
    ) -> Arc<Self> {
        let (standing, _) = watch::channel(state.standing());
        let (id, kept) = (id.to_owned(), Arc::new(Kept::new(state)));
        Arc::new(Node {
            id,
            bug,
            peers,
            write_quorum,
            read_quorum,
            kept,
            standing,
            settled: Mutex::default(),
        })
    }

    /// Whether it has this bug.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// N: nodes in the cluster.
    pub fn total(&self) -> usize {
        self.peers.len() + 1
    }

    /// How many nodes make a leader and confirm its term.
    pub fn majority(&self) -> usize {
        if self.has(Bug::TwoLeaders) { 1 } else { self.total() / 2 + 1 }
    }

    /// Looks at the state, and changes it: whoever lost its lease in the meantime has stepped down before, and those
    /// who wait hear of what came of it.
    pub fn change<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = self.kept.lock();
        state.lapse(now);
        let outcome = act(&mut state, now);
        // Under the lock: standings are published in the order in which they came to be.
        let standing = state.standing();
        self.standing.send_if_modified(|last| {
            let changed = *last != standing;
            if changed {
                *last = standing;
            }
            changed
        });
        drop(state);
        self.kept.wake();
        outcome
    }

    /// Follows where the node stands.
    pub fn follow(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Waits until this node does not lead in `term` any more.
    pub async fn deposed(&self, term: u64) {
        let mut standing = self.follow();
        // The sender lives as long as `self`.
        let _ = standing.wait_for(|now| !now.leads_in(term)).await;
    }

    /// Takes `item` in and waits until it, or what is newer, is on disk.
    pub async fn store(&self, item: &Arc<Item>) {
        let seq = self.change(|state, _| state.apply(item));
        self.kept.on_disk(seq).await;
    }

    /// Where the node called `name` listens, as far as known.
    pub fn url_of(&self, name: &str) -> Option<&str> {
        self.peers.iter().find(|peer| peer.is_called(name)).map(|peer| peer.url())
    }

    /// Notes that W replicas hold `version`, and has the others told.
    pub fn settle(&self, key: &str, version: Version) {
        self.change(|state, _| state.settle(key, version));
        let mut settled = unpoisoned(self.settled.lock());
        if settled.len() < MAX_SETTLED {
            settled.push((key.to_owned(), version));
        }
    }

    /// What was settled since the last time.
    pub fn take_settled(&self) -> Arc<Vec<(String, Version)>> {
        Arc::new(std::mem::take(&mut *unpoisoned(self.settled.lock())))
    }

    /// Asks `peer` something, within `patience`. What the answer says of names and terms is noted.
    ///
    /// # Errors
    /// [`HttpError`]; also for an answer that is none of this store's.
    pub async fn ask<A: Answer>(
        &self,
        peer: &Peer,
        path: &str,
        message: &impl Serialize,
        patience: Duration,
    ) -> Result<A, HttpError> {
        let body = serde_json::to_vec(message).map_err(|error| HttpError::Broken(error.to_string()))?;
        let (status, body) = peer.pool.call(path, Some(Bytes::from(body)), patience).await?;
        if !matches!(status, StatusCode::OK | StatusCode::CONFLICT) {
            return Err(HttpError::Broken(format!("it answers {status}")));
        }
        let answer: A =
            serde_json::from_slice(&body).map_err(|error| HttpError::Broken(error.to_string()))?;
        let (name, term) = answer.from();
        let is_news = {
            let mut known = unpoisoned(peer.name.lock());
            let is_news = known.as_deref() != Some(name);
            if is_news {
                *known = Some(name.to_owned());
            }
            is_news
        };
        if name == self.id {
            // This node itself, or one that votes and counts as if it were: its word must not count twice.
            if is_news {
                say!("{}: {} has this node's own id: every node needs one of its own", self.id, peer.url());
            }
            return Err(HttpError::Broken("it has this node's own id".into()));
        }
        if term <= MAX_TERM {
            self.change(|state, now| state.see_term(term, now));
        }
        Ok(answer)
    }
}
