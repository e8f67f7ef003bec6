//! Replication to one peer: a queue with the newest write of each key, delivered until the peer has it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::bug::Bug;
use super::state::Write;
use crate::node::http::{HttpError, Url};
use crate::node::pool::Pool;
use crate::node::random;

/// Deliveries under way at a time to a peer that answers.
const WINDOW: usize = 8;
/// How long an attempt may take while the peer answers as it should.
const BRISK: Duration = Duration::from_secs(1);
/// How long after one that timed out: the peer may be slow rather than gone.
const PATIENT: Duration = Duration::from_secs(5);
/// The waits between attempts at a peer that does not answer grow from this …
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
/// … to this.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// What the queue of [`Bug::BoundedQueue`] holds.
const BOUNDED_WRITES: usize = 32;

/// A peer and what it has yet to be told.
#[derive(Debug)]
pub struct Peer {
    /// The way to it.
    pub pool: Pool,
    bug: Option<Bug>,
    queue: Mutex<Queue>,
    queued: Notify,
    reachable: Notify,
}

/// Writes to deliver. Bounded by the number of keys, as a newer write of a key takes the older one's place.
#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<String>,
    newest: HashMap<String, Arc<Write>>,
}

impl Queue {
    fn push(&mut self, slot: String, write: Arc<Write>) {
        match self.newest.get_mut(&slot) {
            Some(queued) if queued.version() >= write.version() => {}
            Some(queued) => *queued = write,
            None => {
                self.newest.insert(slot.clone(), write);
                self.order.push_back(slot);
            }
        }
    }

    fn pop(&mut self) -> Option<Arc<Write>> {
        let slot = self.order.pop_front()?;
        self.newest.remove(&slot)
    }
}

/// How hard a peer is tried.
struct Pace {
    /// In a row.
    failures: u32,
    /// What the next attempt may take.
    patience: Duration,
    /// When the next attempt may begin.
    not_before: Instant,
}

impl Pace {
    /// One attempt at a time while the peer is silent: it says as much as eight.
    fn window(&self) -> usize {
        if self.failures == 0 { WINDOW } else { 1 }
    }
}

/// How one attempt ended.
enum Attempt {
    Delivered,
    /// The peer understood and will not have it, today or tomorrow.
    Rejected(String),
    Failed(HttpError),
}

impl Peer {
    /// A peer with nothing to be told yet; [`Peer::deliver`] does the telling.
    pub fn new(url: Url, bug: Option<Bug>) -> Arc<Self> {
        Arc::new(Peer {
            pool: Pool::new(url, if bug == Some(Bug::FireAndForget) { 0 } else { WINDOW }),
            bug,
            queue: Mutex::default(),
            queued: Notify::new(),
            reachable: Notify::new(),
        })
    }

    /// Queues `write` for the peer.
    pub fn tell(self: &Arc<Self>, write: Arc<Write>) {
        if self.bug == Some(Bug::FireAndForget) {
            let peer = Arc::clone(self);
            tokio::spawn(async move { peer.attempt(&write, BRISK).await });
            return;
        }
        let mut queue = self.lock_queue();
        // The bounded queue keeps every write, not the newest of each key, until it is full.
        let slot = if self.bug == Some(Bug::BoundedQueue) {
            if queue.order.len() >= BOUNDED_WRITES {
                return;
            }
            format!("{} {} {}", write.ts, write.origin, write.key)
        } else {
            write.key.clone()
        };
        queue.push(slot, write);
        drop(queue);
        self.queued.notify_one();
    }

    /// It answered something: no need to wait with what it has yet to be told.
    pub fn seen_alive(&self) {
        self.reachable.notify_one();
    }

    /// Delivers what is queued, for ever. `me` names this node in messages.
    pub async fn deliver(self: Arc<Self>, me: &str) {
        let mut under_way = JoinSet::new();
        let mut pace = Pace { failures: 0, patience: BRISK, not_before: Instant::now() };
        loop {
            let waiting = Instant::now() < pace.not_before;
            let free = !waiting && under_way.len() < pace.window();
            if let Some(write) = free.then(|| self.lock_queue().pop()).flatten() {
                let (peer, patience) = (Arc::clone(&self), pace.patience);
                under_way.spawn(async move {
                    let began = Instant::now();
                    let attempt = peer.attempt(&write, patience).await;
                    (write, attempt, began.elapsed())
                });
                continue;
            }
            tokio::select! {
                Some(ended) = under_way.join_next() => {
                    if let Ok((write, attempt, took)) = ended {
                        self.settle(me, &mut pace, write, attempt, took);
                    }
                }
                () = sleep_until(pace.not_before), if waiting => {}
                () = self.reachable.notified(), if waiting => pace.not_before = Instant::now(),
                () = self.queued.notified(), if free => {}
            }
        }
    }

    fn settle(&self, me: &str, pace: &mut Pace, write: Arc<Write>, attempt: Attempt, took: Duration) {
        let peer = self.pool.url.as_str();
        match attempt {
            Attempt::Delivered => {
                if pace.failures > 0 {
                    say!("{me}: {peer} answers again");
                }
                pace.failures = 0;
                pace.patience = if took < BRISK / 2 { BRISK } else { PATIENT };
            }
            Attempt::Rejected(why) => say!("{me}: {peer} rejects {}: {why}", write.key),
            Attempt::Failed(error) => {
                if pace.failures == 0 {
                    say!("{me}: {peer} does not answer: {error}");
                }
                pace.failures = pace.failures.saturating_add(1);
                if matches!(error, HttpError::TimedOut) {
                    pace.patience = PATIENT;
                }
                pace.not_before = Instant::now() + back_off(pace.failures);
                self.put_back(write, &error);
            }
        }
    }

    fn put_back(&self, write: Arc<Write>, error: &HttpError) {
        match self.bug {
            // Down is down: nobody keeps anything for it.
            Some(Bug::NoCatchUp) if matches!(error, HttpError::Refused) => {
                *self.lock_queue() = Queue::default();
            }
            Some(Bug::BoundedQueue) => {
                let slot = format!("{} {} {}", write.ts, write.origin, write.key);
                self.lock_queue().push(slot, write);
            }
            _ => self.lock_queue().push(write.key.clone(), write),
        }
    }

    async fn attempt(&self, write: &Write, patience: Duration) -> Attempt {
        let body = match serde_json::to_vec(write) {
            Ok(body) => Bytes::from(body),
            Err(error) => return Attempt::Rejected(error.to_string()),
        };
        match self.pool.call("/replicate", Some(body), patience).await {
            Err(error) => Attempt::Failed(error),
            Ok((status, _)) if status.is_success() => Attempt::Delivered,
            Ok((status, body)) if status.is_client_error() => {
                let body: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                Attempt::Rejected(format!("{status} {body}"))
            }
            Ok((status, _)) => Attempt::Failed(HttpError::Broken(format!("it answers {status}"))),
        }
    }

    fn lock_queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait before the next attempt after so many `failures` in a row; half of it is random, so that nodes that lost
/// each other at one moment do not come back at one moment.
fn back_off(failures: u32) -> Duration {
    let whole = BACK_OFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(BACK_OFF_MAX);
    whole / 2 + Duration::from_millis(random::below(whole.as_millis() as u64 / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, ts: u64) -> Arc<Write> {
        Arc::new(Write { key: key.into(), value: ts.into(), ts, origin: "A".into() })
    }

    fn drain(peer: &Peer) -> Vec<u64> {
        std::iter::from_fn(|| peer.lock_queue().pop()).map(|write| write.ts).collect()
    }

    fn peer(bug: Option<Bug>) -> Arc<Peer> {
        Peer::new(Url::parse("http://127.0.0.1:1").unwrap(), bug)
    }

    #[test]
    fn the_queue_holds_the_newest_write_of_each_key() {
        let peer = peer(None);
        for (key, ts) in [("k1", 1), ("k2", 2), ("k1", 3)] {
            peer.tell(write(key, ts));
        }
        peer.put_back(write("k1", 1), &HttpError::TimedOut);
        peer.put_back(write("k3", 0), &HttpError::Refused);
        assert_eq!(drain(&peer), [3, 2, 0]);
    }

    #[test]
    fn the_bugs_of_the_queue_lose_what_they_should() {
        let bounded = peer(Some(Bug::BoundedQueue));
        (0..40).for_each(|ts| bounded.tell(write("k", ts)));
        assert_eq!(drain(&bounded), (0..32).collect::<Vec<_>>());

        let forgetful = peer(Some(Bug::NoCatchUp));
        forgetful.put_back(write("k1", 1), &HttpError::Refused);
        forgetful.put_back(write("k2", 2), &HttpError::TimedOut);
        assert_eq!(drain(&forgetful), [2]);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        for failures in [1, 2, 3, 50, u32::MAX] {
            let wait = back_off(failures);
            assert!(wait >= BACK_OFF_MIN / 2 && wait <= BACK_OFF_MAX, "{failures}: {wait:?}");
        }
    }
}
