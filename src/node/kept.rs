//! State behind a lock whose changes a thread of its own writes to the log.
//!
//! Nothing leaves a node before what it says is on disk: an answer that showed a change which a crash then takes back
//! would be a lie to whoever read it, and the restarted node could make the same promise twice.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};

use super::log::{Log, LogError};
use super::serve::NodeError;

/// A state that knows what of it the log lacks.
pub trait Logged: Send + 'static {
    /// What the log is made of.
    type Record: Serialize + DeserializeOwned + Send + 'static;

    /// The number of the last change that has to be on disk; grows by one with each.
    fn seq(&self) -> u64;

    /// Takes what has not been handed out yet, all up to [`Logged::seq`]; `None` when that is nothing.
    fn take_pending(&mut self) -> Option<Self::Record>;

    /// One record of everything, which includes what is pending.
    fn whole(&self) -> Self::Record;
}

/// A state, and how far it is on disk.
#[derive(Debug)]
pub struct Kept<S> {
    state: Mutex<S>,
    /// Told of when the log has something to write.
    changed: Condvar,
    /// The last change on disk.
    durable: watch::Sender<u64>,
}

impl<S: Logged> Kept<S> {
    /// A state as it was recovered; its changes become durable once [`Kept::write_log`] runs.
    pub fn new(state: S) -> Self {
        let (durable, _) = watch::channel(0);
        Kept { state: Mutex::new(state), changed: Condvar::new(), durable }
    }

    /// The state. Whoever changes it calls [`Kept::on_disk`] or [`Kept::wake`] afterwards.
    pub fn lock(&self) -> MutexGuard<'_, S> {
        unpoisoned(self.state.lock())
    }

    /// The last change on disk.
    pub fn durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Follows [`Kept::durable`].
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Has changes written, without waiting for that.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until the change with the number `seq`, and all before it, are on disk.
    pub async fn on_disk(&self, seq: u64) {
        self.changed.notify_one();
        let mut durable = self.durable.subscribe();
        // The sender lives as long as `self`, so this waits and cannot fail.
        let _ = durable.wait_for(|reached| *reached >= seq).await;
    }

    /// Waits until all that was changed so far is on disk.
    pub async fn flush(&self) {
        let seq = self.lock().seq();
        self.on_disk(seq).await;
    }

    /// Writes the log as long as that works; blocks. Without a log everything counts as written at once.
    pub fn write_log(&self, mut log: Option<Log<S::Record>>) -> LogError {
        loop {
            let mut state = self.lock();
            let (record, seq) = loop {
                if let Some(record) = state.take_pending() {
                    break (record, state.seq());
                }
                state = unpoisoned(self.changed.wait(state));
            };
            drop(state);
            if let Some(log) = &mut log
                && let Err(error) = log.append(&record)
            {
                return error;
            }
            self.durable.send_replace(seq);
            if let Some(log) = log.as_mut().filter(|log| log.is_long()) {
                let mut state = self.lock();
                let (whole, seq) = (state.whole(), state.seq());
                state.take_pending();
                drop(state);
                if let Err(error) = log.compact(&whole) {
                    return error;
                }
                self.durable.send_replace(seq);
            }
        }
    }
}

/// Runs [`Kept::write_log`] on a thread of its own; the receiver hears why it ended.
///
/// # Errors
/// [`NodeError::System`] when there is no thread to be had.
pub fn spawn_log_writer<S: Logged>(
    kept: &Arc<Kept<S>>,
    log: Option<Log<S::Record>>,
) -> Result<oneshot::Receiver<LogError>, NodeError> {
    let kept = Arc::clone(kept);
    let (sender, receiver) = oneshot::channel();
    let write = move || {
        // The receiver is gone when the node stops anyway.
        let _ = sender.send(kept.write_log(log));
    };
    std::thread::Builder::new()
        .name("log".into())
        .spawn(write)
        .map_err(|error| NodeError::System("start the log's thread", error))?;
    Ok(receiver)
}

/// A lock that was poisoned guards data that is whole all the same: no holder panics halfway through a change.
pub fn unpoisoned<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}
