//! One replica: what clients and peers ask of it. Nothing leaves it before what it says is on disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value as Json;

use super::bug::Bug;
use super::state::{Entry, State, Write};
use crate::node::kept::{Kept, Logged as _, unpoisoned};
use crate::node::random;

/// How often the copy behind [`Bug::CachedReads`] is renewed.
const CACHE_AGE: Duration = Duration::from_millis(200);
/// How wide the window of [`Bug::RacyTick`] is.
const RACE_WINDOW: Duration = Duration::from_millis(1);

/// What became of a write.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The timestamp of the write.
    pub ts: u64,
    /// Whether it won over what was there.
    pub applied: bool,
    /// The clock afterwards.
    pub lamport: u64,
}

/// One replica.
#[derive(Debug)]
pub struct Replica {
    /// Its name: the origin of its writes.
    pub id: String,
    bug: Option<Bug>,
    /// The clock and the store.
    pub kept: Arc<Kept<State>>,
    /// What [`Bug::CachedReads`] reads from.
    cache: Mutex<BTreeMap<String, Entry>>,
}

impl Replica {
    /// A replica over a recovered state; it answers writes once its log is written.
    pub fn new(id: &str, bug: Option<Bug>, state: State) -> Arc<Self> {
        let cache = Mutex::new(state.entries().clone());
        let id = id.to_owned();
        Arc::new(Replica { id, bug, kept: Arc::new(Kept::new(state)), cache })
    }

    /// Whether it has this bug.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// A client's write.
    pub async fn put(self: &Arc<Self>, key: String, value: Json) -> Taken {
        let raced = if self.has(Bug::RacyTick) { Some(self.tick_in_two_steps().await) } else { None };
        let (taken, seq) = {
            let mut state = self.lock();
            let ts = raced.unwrap_or_else(|| state.tick());
            let write = Write { key, value, ts, origin: self.id.clone() };
            let applied = if self.has(Bug::AckBeforeApply) {
                state.record_clock();
                self.apply_later(write);
                true
            } else {
                state.accept(write)
            };
            (Taken { ts, applied, lamport: state.clock() }, state.seq())
        };
        self.kept.on_disk(seq).await;
        taken
    }

    /// A client's read, and the clock.
    pub async fn get(&self, key: &str) -> (Option<Arc<Write>>, u64) {
        let (entry, lamport) = {
            let state = self.lock();
            let entry = if self.has(Bug::CachedReads) {
                unpoisoned(self.cache.lock()).get(key).cloned()
            } else {
                state.get(key).cloned()
            };
            (entry, state.clock())
        };
        let Some(Entry { write, seq }) = entry else {
            let nil = || Arc::new(Write { key: key.into(), value: 0.into(), ts: 0, origin: String::new() });
            return (self.has(Bug::NilDefault).then(nil), lamport);
        };
        self.kept.on_disk(seq).await;
        (Some(write), lamport)
    }

    /// A peer's write.
    pub async fn replicate(&self, write: Write) -> Taken {
        let (taken, seq) = {
            let mut state = self.lock();
            let ts = write.ts;
            let applied = state.receive(write);
            (Taken { ts, applied, lamport: state.clock() }, state.seq())
        };
        self.kept.on_disk(seq).await;
        taken
    }

    /// Every key with its entry, and the clock.
    pub async fn status(&self) -> (BTreeMap<String, Entry>, u64) {
        let (entries, lamport, seq) = {
            let state = self.lock();
            (state.entries().clone(), state.clock(), state.seq())
        };
        self.kept.on_disk(seq).await;
        (entries, lamport)
    }

    /// Anti-entropy: takes over what of a peer's store is news, and returns what the peer lacks.
    pub fn reconcile(&self, theirs: BTreeMap<String, Write>) -> Vec<Arc<Write>> {
        let mut state = self.lock();
        let durable = self.kept.durable();
        let missing = state
            .entries()
            .iter()
            .filter(|(key, entry)| entry.seq <= durable && state.surpasses(&entry.write, theirs.get(*key)))
            .map(|(_, entry)| Arc::clone(&entry.write))
            .collect();
        for (key, write) in theirs {
            if state.surpasses(&write, state.get(&key).map(|entry| &*entry.write)) {
                state.receive(write);
            }
        }
        self.kept.wake();
        missing
    }

    /// Waits for writes that peers should be told of, all of them on disk.
    pub async fn outgoing(&self) -> Vec<Arc<Write>> {
        let mut durable = self.kept.follow();
        loop {
            let reached = *durable.borrow_and_update();
            let writes = self.lock().take_outgoing(reached);
            if !writes.is_empty() {
                return writes;
            }
            if durable.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Renews the copy behind [`Bug::CachedReads`], for ever.
    pub async fn refresh_cache(&self) {
        loop {
            tokio::time::sleep(CACHE_AGE).await;
            let copy = self.lock().entries().clone();
            *unpoisoned(self.cache.lock()) = copy;
        }
    }

    /// [`Bug::RacyTick`]: whoever comes between the two steps reads the same clock.
    async fn tick_in_two_steps(&self) -> u64 {
        let ts = self.lock().clock() + 1;
        tokio::time::sleep(RACE_WINDOW).await;
        self.lock().advance(ts);
        ts
    }

    /// [`Bug::AckBeforeApply`]
    fn apply_later(self: &Arc<Self>, write: Write) {
        let replica = Arc::clone(self);
        let wait = Duration::from_millis(50 + random::below(251));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            replica.lock().accept(write);
            replica.kept.wake();
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.kept.lock()
    }
}
