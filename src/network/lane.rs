//! The state of a directed link, shared by every connection and conduit that flows over it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::lock;
use super::passages::{Passage, Passages};
use super::policy::LinkPolicy;

/// How far a late sender may catch up with its rate: what timers cost must not lower the throughput asked for.
const CATCH_UP: Duration = Duration::from_millis(20);

/// A direction of byte flow between two nodes.
pub(super) struct Lane {
    pub from: usize,
    pub to: usize,
    pub counters: Counters,
    pub passages: Passages,
    /// Bumped with every change: one load tells a connection that nothing changed.
    generation: AtomicU64,
    state: Mutex<State>,
    /// When the next throttled byte may leave.
    free_at: Mutex<Option<Instant>>,
}

/// What a connection copies out of its lane when the generation has moved on.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    pub generation: u64,
    pub policy: LinkPolicy,
    /// How often a reset has begun. A reset lifted before a connection looked must still reach it.
    pub resets: u64,
}

impl Lane {
    pub fn new(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            counters: Counters::default(),
            passages: Passages::default(),
            generation: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            free_at: Mutex::new(None),
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn state(&self) -> State {
        *lock(&self.state)
    }

    /// Notes what became of a piece that was `received`.
    pub fn passed(&self, kind: Kind, received: Instant, handed_on: Option<Instant>, bytes: usize) {
        self.passages.push(Passage { received, handed_on, bytes, datagram: kind == Kind::Conduit });
    }

    /// Returns the policy it replaced.
    pub fn set(&self, policy: LinkPolicy) -> LinkPolicy {
        let mut state = lock(&self.state);
        let before = state.policy;
        if before != policy {
            if before.rate != policy.rate {
                *lock(&self.free_at) = None;
            }
            state.policy = policy;
            state.generation += 1;
            state.resets += u64::from(policy.reset && !before.reset);
            self.generation.store(state.generation, Ordering::Release);
        }
        before
    }

    /// Reserves the next turn to send `bytes` at `rate` bytes a second, and says when it is. Connections take turns
    /// in the order they ask, one each, so that a rate is shared evenly.
    pub fn reserve(&self, bytes: usize, rate: u64, now: Instant) -> Instant {
        let mut free_at = lock(&self.free_at);
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let turn = free_at.map_or(now, |at| at.max(earliest));
        *free_at = Some(turn + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64));
        turn
    }
}

/// What runs between two nodes, whoever began it: both of their lanes concern all of it.
#[derive(Default)]
pub(super) struct Pair {
    running: Mutex<HashMap<(Kind, u64), Arc<Gate>>>,
}

/// What a task carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Connection,
    /// Datagrams from one node to one socket of the other.
    Conduit,
}

/// Held while a task runs, so that who changes a policy can wait until nothing acts on the old one.
#[derive(Default)]
struct Gate(Mutex<Option<Waker>>);

impl Pair {
    /// Returns when nothing acts on an older policy any more.
    pub fn policy_changed(&self) {
        let gates: Vec<_> = lock(&self.running).values().cloned().collect();
        for gate in gates {
            if let Some(waker) = &*lock(&gate.0) {
                waker.wake_by_ref();
            }
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        lock(&self.running).keys().filter(|(kind, _)| *kind == Kind::Connection).count()
    }
}

/// Runs a task under its pair's supervision.
pub(super) struct Supervised<F> {
    task: Pin<Box<F>>,
    gate: Arc<Gate>,
    pair: Arc<Pair>,
    key: (Kind, u64),
}

impl<F: Future<Output = ()>> Supervised<F> {
    /// `number` is unique within the pair and kind. Registered before `task` first looks at a policy: no change is missed.
    pub fn new(pair: Arc<Pair>, kind: Kind, number: u64, task: F) -> Self {
        let gate = Arc::new(Gate::default());
        lock(&pair.running).insert((kind, number), Arc::clone(&gate));
        Self { task: Box::pin(task), gate, pair, key: (kind, number) }
    }
}

impl<F: Future<Output = ()>> Future for Supervised<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut waker = lock(&this.gate.0);
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        this.task.as_mut().poll(cx)
    }
}

impl<F> Drop for Supervised<F> {
    fn drop(&mut self) {
        lock(&self.pair.running).remove(&self.key);
        // The waker keeps the task's memory, the task holds this gate.
        *lock(&self.gate.0) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_keep_the_rate_and_catch_up_only_a_little() {
        let lane = Lane::new(0, 1);
        let start = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(lane.reserve(100, 1000, start), start);
        assert_eq!(lane.reserve(100, 1000, start), start + ms(100));
        assert_eq!(lane.reserve(100, 1000, start), start + ms(200));
        // 7 ms late: the turn counts from when it was due.
        assert_eq!(lane.reserve(100, 1000, start + ms(307)), start + ms(300));
        // A second of silence does not become a second's worth of burst.
        assert_eq!(lane.reserve(100, 1000, start + ms(1400)), start + ms(1380));
    }

    #[test]
    fn a_reset_that_was_lifted_again_is_remembered() {
        let lane = Lane::new(0, 1);
        let before = lane.state();
        lane.set(LinkPolicy { reset: true, ..LinkPolicy::default() });
        lane.set(LinkPolicy::default());
        let after = lane.state();
        assert_eq!((before.resets, after.resets), (0, 1));
        assert_eq!(after.policy, LinkPolicy::default());
        assert_ne!(before.generation, after.generation);
    }

    #[test]
    fn setting_the_same_policy_changes_nothing() {
        let lane = Lane::new(0, 1);
        lane.set(LinkPolicy { rate: Some(5), ..LinkPolicy::default() });
        let generation = lane.generation();
        lane.set(LinkPolicy { rate: Some(5), ..LinkPolicy::default() });
        assert_eq!(lane.generation(), generation);
    }
}
