//! Evidence: what each directed link has carried, held, delayed, reset and thrown away.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happened on one directed link since the network began. Bytes are those that flow in its direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Bytes handed to the receiving end.
    pub bytes: u64,
    /// Connections its sending node opened over it.
    pub connections: u64,
    /// Bytes a cut has ever held.
    pub held_bytes: u64,
    /// Bytes a cut holds at this moment.
    pub held_bytes_now: u64,
    /// Connections on which a cut of this link held something, their opening included.
    pub held_connections: u64,
    /// Of those, connections that were attempted during a cut.
    pub held_opens: u64,
    /// Connections attempted during a cut that wait at this moment.
    pub held_opens_now: u64,
    /// Bytes held back for a delay.
    pub delayed_bytes: u64,
    /// Nanoseconds the most delayed byte spent in the proxy, from its receipt until it was handed on.
    pub max_delay_added_ns: u64,
    /// Bytes that had to wait for the rate.
    pub throttled_bytes: u64,
    /// Connections reset because the policy said so.
    pub reset_connections: u64,
    /// Bytes that were never handed on: their opener had gone, or an end was reset.
    pub discarded_bytes: u64,
    /// Connections attempted during a cut whose opener had gone when it was lifted.
    pub discarded_connections: u64,
    /// Datagrams handed to the receiving end; their bytes are among `bytes`.
    pub datagrams: u64,
    /// Datagrams lost to a cut.
    pub cut_datagrams: u64,
    /// Datagrams lost because the policy said so.
    pub dropped_datagrams: u64,
    /// Datagrams that were sent on twice.
    pub duplicated_datagrams: u64,
    /// Datagrams that arrived after one that had been sent later.
    pub reordered_datagrams: u64,
    /// Datagrams sent on with bits flipped.
    pub corrupted_datagrams: u64,
    /// Datagrams held back for a delay.
    pub delayed_datagrams: u64,
    /// Datagrams that had to wait for the rate.
    pub throttled_datagrams: u64,
    /// Datagrams lost because more were on their way than a link holds: under a rate, as at a router whose queue is full.
    pub overflowed_datagrams: u64,
    /// Datagrams that could not be handed on: the system refused them, or the network was closed.
    pub discarded_datagrams: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub bytes: AtomicU64,
    pub connections: AtomicU64,
    pub held_bytes: AtomicU64,
    pub held_bytes_now: AtomicU64,
    pub held_connections: AtomicU64,
    pub held_opens: AtomicU64,
    pub held_opens_now: AtomicU64,
    pub delayed_bytes: AtomicU64,
    pub max_delay_added_ns: AtomicU64,
    pub throttled_bytes: AtomicU64,
    pub reset_connections: AtomicU64,
    pub discarded_bytes: AtomicU64,
    pub discarded_connections: AtomicU64,
    pub datagrams: AtomicU64,
    pub cut_datagrams: AtomicU64,
    pub dropped_datagrams: AtomicU64,
    pub duplicated_datagrams: AtomicU64,
    pub reordered_datagrams: AtomicU64,
    pub corrupted_datagrams: AtomicU64,
    pub delayed_datagrams: AtomicU64,
    pub throttled_datagrams: AtomicU64,
    pub overflowed_datagrams: AtomicU64,
    pub discarded_datagrams: AtomicU64,
}

impl Counters {
    pub fn snapshot(&self) -> LinkCounters {
        LinkCounters {
            bytes: self.bytes.load(Relaxed),
            connections: self.connections.load(Relaxed),
            held_bytes: self.held_bytes.load(Relaxed),
            held_bytes_now: self.held_bytes_now.load(Relaxed),
            held_connections: self.held_connections.load(Relaxed),
            held_opens: self.held_opens.load(Relaxed),
            held_opens_now: self.held_opens_now.load(Relaxed),
            delayed_bytes: self.delayed_bytes.load(Relaxed),
            max_delay_added_ns: self.max_delay_added_ns.load(Relaxed),
            throttled_bytes: self.throttled_bytes.load(Relaxed),
            reset_connections: self.reset_connections.load(Relaxed),
            discarded_bytes: self.discarded_bytes.load(Relaxed),
            discarded_connections: self.discarded_connections.load(Relaxed),
            datagrams: self.datagrams.load(Relaxed),
            cut_datagrams: self.cut_datagrams.load(Relaxed),
            dropped_datagrams: self.dropped_datagrams.load(Relaxed),
            duplicated_datagrams: self.duplicated_datagrams.load(Relaxed),
            reordered_datagrams: self.reordered_datagrams.load(Relaxed),
            corrupted_datagrams: self.corrupted_datagrams.load(Relaxed),
            delayed_datagrams: self.delayed_datagrams.load(Relaxed),
            throttled_datagrams: self.throttled_datagrams.load(Relaxed),
            overflowed_datagrams: self.overflowed_datagrams.load(Relaxed),
            discarded_datagrams: self.discarded_datagrams.load(Relaxed),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Relaxed);
}

pub(super) fn take_off(counter: &AtomicU64, amount: usize) {
    counter.fetch_sub(amount as u64, Relaxed);
}
