//! The clock and the store: what one lock guards.
//!
//! Lamport's rules (1978): a node ticks before each write of its own, and on receiving one goes to
//! `max(clock, ts) + 1`. Of two writes to a key the one with the greater `(ts, origin)` stays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::bug::Bug;
use crate::node::kept::Logged;

/// The largest timestamp taken from others: beyond it JSON numbers are no longer exact everywhere.
pub const MAX_TS: u64 = 1 << 53;

/// A write, as peers tell each other of it and as the log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// The key.
    pub key: String,
    /// Any JSON.
    pub value: Json,
    /// The Lamport timestamp its origin gave it.
    pub ts: u64,
    /// The node that took it from a client.
    pub origin: String,
}

impl Write {
    /// What decides between two writes to a key: the timestamp, then the origin.
    pub fn version(&self) -> (u64, &str) {
        (self.ts, &self.origin)
    }
}

/// What the store holds for a key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The write that won so far.
    pub write: Arc<Write>,
    /// The log record it is in: it may be shown once that is on disk.
    pub seq: u64,
}

/// What the log is made of.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The clock when it was written.
    pub clock: u64,
    /// What was applied, in that order.
    pub writes: Vec<Arc<Write>>,
}

/// The clock, the store, and what still has to leave for the disk and the peers.
#[derive(Debug)]
pub struct State {
    id: String,
    bug: Option<Bug>,
    clock_skew_ms: i64,
    clock: u64,
    store: BTreeMap<String, Entry>,
    seq: u64,
    pending: Option<Vec<Arc<Write>>>,
    outgoing: VecDeque<(u64, Arc<Write>)>,
}

impl State {
    /// What the log's `records` say.
    pub fn recover(id: &str, bug: Option<Bug>, clock_skew_ms: i64, records: Vec<Record>) -> Self {
        let clock = records.last().map_or(0, |record| record.clock);
        let clock = if bug == Some(Bug::ClockReset) { 0 } else { clock };
        let mut state = State {
            id: id.to_owned(),
            bug,
            clock_skew_ms,
            clock,
            store: BTreeMap::new(),
            seq: 0,
            pending: None,
            outgoing: VecDeque::new(),
        };
        for write in records.into_iter().flat_map(|record| record.writes) {
            state.insert(write);
        }
        state
    }

    /// The clock.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Moves the clock to at least `clock`.
    pub fn advance(&mut self, clock: u64) {
        self.clock = self.clock.max(clock);
    }

    /// Ticks for a write of this node's own; the timestamp it gets.
    pub fn tick(&mut self) -> u64 {
        match self.bug {
            Some(Bug::NoTick) => {}
            Some(Bug::WallClock) => self.clock = wall_clock_ms(self.clock_skew_ms),
            _ => self.clock += 1,
        }
        self.clock
    }

    /// The receive rule, for a timestamp that came from a peer.
    fn witness(&mut self, ts: u64) {
        match self.bug {
            Some(Bug::NoReceiveRule | Bug::NoTick | Bug::WallClock) => {}
            _ => self.clock = self.clock.max(ts) + 1,
        }
    }

    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.store.get(key)
    }

    /// All entries, by key.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.store
    }

    /// Takes in a write of this node's own, to be replicated; whether it won.
    pub fn accept(&mut self, write: Write) -> bool {
        let write = Arc::new(write);
        let wins = self.wins(&write);
        self.record(wins.then(|| Arc::clone(&write)));
        if wins {
            self.insert(Arc::clone(&write));
        }
        self.outgoing.push_back((self.seq, write));
        wins
    }

    /// Takes in a write from a peer; whether it won.
    pub fn receive(&mut self, write: Write) -> bool {
        self.witness(write.ts);
        let write = Arc::new(write);
        let wins = self.bug == Some(Bug::LastArrivalWins) || self.wins(&write);
        self.record(wins.then(|| Arc::clone(&write)));
        if wins {
            self.insert(Arc::clone(&write));
        }
        if wins && self.bug == Some(Bug::RelabelsOrigin) {
            let forwarded = Write { origin: self.id.clone(), ..Write::clone(&write) };
            self.outgoing.push_back((self.seq, Arc::new(forwarded)));
        }
        wins
    }

    /// Puts the clock on record though no write was applied, so that it does not run backwards over a crash.
    pub fn record_clock(&mut self) {
        self.record(None);
    }

    /// Whether `ours` is worth telling to a node that has `theirs`, as anti-entropy sees it.
    pub fn surpasses(&self, ours: &Write, theirs: Option<&Write>) -> bool {
        match theirs {
            None => true,
            // A node that compares no timestamps cannot tell which of two is newer, it only fills gaps.
            Some(_) if self.bug == Some(Bug::LastArrivalWins) => false,
            Some(theirs) => self.beats(ours, theirs),
        }
    }

    /// The writes whose log records are on disk, for the peers.
    pub fn take_outgoing(&mut self, durable: u64) -> Vec<Arc<Write>> {
        let count = self.outgoing.partition_point(|(seq, _)| *seq <= durable);
        self.outgoing.drain(..count).map(|(_, write)| write).collect()
    }

    fn wins(&self, write: &Write) -> bool {
        self.store.get(&write.key).is_none_or(|entry| self.beats(write, &entry.write))
    }

    fn beats(&self, challenger: &Write, holder: &Write) -> bool {
        if self.bug == Some(Bug::NoTieBreak) {
            return challenger.ts > holder.ts;
        }
        challenger.version() > holder.version()
    }

    fn record(&mut self, write: Option<Arc<Write>>) {
        self.seq += 1;
        self.pending.get_or_insert_default().extend(write);
    }

    fn insert(&mut self, write: Arc<Write>) {
        if self.bug == Some(Bug::KeyCollision) {
            self.store.insert(slot_mate(&write.key), Entry { write: Arc::clone(&write), seq: self.seq });
        }
        self.store.insert(write.key.clone(), Entry { write, seq: self.seq });
    }
}

impl Logged for State {
    type Record = Record;

    fn seq(&self) -> u64 {
        self.seq
    }

    fn take_pending(&mut self) -> Option<Record> {
        self.pending.take().map(|writes| Record { clock: self.clock, writes })
    }

    fn whole(&self) -> Record {
        let writes = self.store.values().map(|entry| Arc::clone(&entry.write)).collect();
        Record { clock: self.clock, writes }
    }
}

/// The key that shares a slot with `key`, in a table that drops the lowest bit of the last character: k2 and k3.
fn slot_mate(key: &str) -> String {
    let mut chars: Vec<char> = key.chars().collect();
    if let Some(last) = chars.last_mut() {
        *last = char::from_u32(u32::from(*last) ^ 1).unwrap_or(*last);
    }
    chars.into_iter().collect()
}

fn wall_clock_ms(skew_ms: i64) -> u64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(now_ms).unwrap_or(MAX_TS).saturating_add_signed(skew_ms).min(MAX_TS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(bug: Option<Bug>) -> State {
        State::recover("B", bug, 0, Vec::new())
    }

    fn write(key: &str, value: i64, ts: u64, origin: &str) -> Write {
        Write { key: key.into(), value: json!(value), ts, origin: origin.into() }
    }

    fn put(state: &mut State, key: &str, value: i64) -> u64 {
        let ts = state.tick();
        state.accept(write(key, value, ts, "B"));
        ts
    }

    fn value(state: &State, key: &str) -> Json {
        state.get(key).map_or(Json::Null, |entry| entry.write.value.clone())
    }

    #[test]
    fn the_clock_follows_lamport() {
        let mut node = state(None);
        assert_eq!(put(&mut node, "k1", 1), 1);
        node.receive(write("k2", 2, 7, "A"));
        assert_eq!(node.clock(), 8);
        assert_eq!(put(&mut node, "k1", 3), 9);
        // A receive that loses is an event all the same.
        assert!(!node.receive(write("k1", 0, 2, "C")));
        assert_eq!(node.clock(), 10);
    }

    #[test]
    fn the_greater_timestamp_then_the_greater_origin_wins() {
        let mut node = state(None);
        assert!(node.receive(write("k", 1, 5, "B")));
        assert!(!node.receive(write("k", 2, 4, "C")), "older");
        assert!(!node.receive(write("k", 3, 5, "A")), "lower origin");
        assert!(!node.receive(write("k", 1, 5, "B")), "the same again");
        assert!(node.receive(write("k", 4, 5, "C")), "higher origin");
        assert!(node.receive(write("k", 5, 6, "A")), "newer");
        assert_eq!(value(&node, "k"), json!(5));
    }

    #[test]
    fn what_is_pending_is_handed_out_once_and_in_order() {
        let mut node = state(None);
        put(&mut node, "k1", 1);
        put(&mut node, "k2", 2);
        assert!(!node.receive(write("k1", 0, 0, "A")));
        let pending = node.take_pending().unwrap();
        assert_eq!((pending.clock, pending.writes.len(), node.seq()), (3, 2, 3));
        assert!(node.take_pending().is_none());
        assert_eq!(node.take_outgoing(1).len(), 1);
        assert_eq!(node.take_outgoing(9).len(), 1, "received writes are not sent on");
    }

    #[test]
    fn each_bug_of_the_state_is_that_bug() {
        let mut node = state(Some(Bug::NoTieBreak));
        node.receive(write("k", 1, 5, "A"));
        assert!(!node.receive(write("k", 2, 5, "C")));
        assert!(node.receive(write("k", 3, 6, "A")));

        let mut node = state(Some(Bug::LastArrivalWins));
        node.receive(write("k", 1, 5, "A"));
        assert!(node.receive(write("k", 2, 4, "A")));
        assert!(!node.surpasses(&write("k", 1, 9, "A"), Some(&write("k", 2, 4, "A"))));

        let mut node = state(Some(Bug::NoReceiveRule));
        node.receive(write("k", 1, 50, "A"));
        assert_eq!(put(&mut node, "k", 2), 1);
        assert_eq!(value(&node, "k"), json!(1), "the local write vanished");

        let mut node = state(Some(Bug::NoTick));
        assert_eq!((put(&mut node, "k", 1), put(&mut node, "k", 2)), (0, 0));

        let mut node = state(Some(Bug::KeyCollision));
        put(&mut node, "k3", 1);
        put(&mut node, "k2", 2);
        assert_eq!(value(&node, "k3"), json!(2));
        assert_eq!(value(&node, "k4"), json!(null));

        let mut node = state(Some(Bug::RelabelsOrigin));
        node.receive(write("k", 1, 5, "A"));
        assert_eq!(*node.take_outgoing(9)[0], write("k", 1, 5, "B"));
        assert_eq!(node.get("k").unwrap().write.origin, "A");

        let record = Record { clock: 41, writes: vec![Arc::new(write("k", 1, 41, "B"))] };
        let node = State::recover("B", Some(Bug::ClockReset), 0, vec![record]);
        assert_eq!((node.clock(), value(&node, "k")), (0, json!(1)));

        let hour = 3_600_000;
        let mut node = State::recover("B", Some(Bug::WallClock), -hour, Vec::new());
        let late = put(&mut node, "k", 1);
        let mut node = State::recover("B", Some(Bug::WallClock), 0, Vec::new());
        node.receive(write("k", 2, MAX_TS, "A"));
        let now = put(&mut node, "k", 3);
        assert!(now - late >= hour as u64 && now < MAX_TS, "{late} {now}");
    }
}
