//! What of a replica is on disk, and how it comes back from there.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::entries::Entries;
use super::{Replica, Role, Setup};
use crate::node::kept::Logged;
use crate::node::pubsub::bug::Bug;
use crate::node::pubsub::entry::{Entry, Now, Stamp};
use crate::node::pubsub::topics::{Snapshot, Topics};

/// How late [`Bug::NoFsync`] writes entries, ms.
const LATE_MS: u64 = 3000;

/// What the file of a replica is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The term.
    pub term: u64,
    /// Who has this node's vote in that term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<String>,
    /// A state that takes the place of all entries before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// What the log is from there on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

/// The end of a log: whatever was there from `from` on is replaced.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tail {
    /// The index of the first entry.
    pub from: u64,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What the file lacks.
#[derive(Debug, Default)]
pub struct Dirty {
    /// The term or the vote.
    promise: bool,
    /// The state, as another node sent it.
    snapshot: bool,
    /// Entries from there on.
    pub log_from: Option<u64>,
    /// Since when, ms awake.
    since_ms: u64,
    /// The node stops: the bug's tail is written too, as the kernel would write its cache.
    stopping: bool,
}

impl Replica {
    /// A replica as its file's `records` say.
    pub fn recover(setup: Setup, records: Vec<Record>, now: Now) -> Self {
        let mut replica = Replica {
            random: setup.seed | 1,
            now,
            term: 0,
            vote: None,
            log: Entries::default(),
            dirty: Dirty::default(),
            seq: 0,
            promised_seq: 0,
            durable_seq: 0,
            durable: 0,
            unsynced: VecDeque::new(),
            role: Role::Follower,
            leader: None,
            heard_ms: None,
            election_ms: 0,
            commit: 0,
            applied: 0,
            topics: Topics::new(setup.bug),
            stamp: Stamp::default(),
            incoming: None,
            proposed: BTreeMap::new(),
            reads: Vec::new(),
            outbox: VecDeque::new(),
            answers: Vec::new(),
            notes: Vec::new(),
            setup,
        };
        for record in records {
            (replica.term, replica.vote) = (record.term, record.vote);
            if let Some(snapshot) = record.snapshot {
                replica.topics = Topics::restore(&snapshot, replica.setup.bug, None);
                replica.stamp = snapshot.stamp;
                replica.log = Entries::after(snapshot.index, snapshot.term);
                (replica.applied, replica.commit) = (snapshot.index, snapshot.index);
            }
            if let Some(tail) = record.tail {
                replica.log.truncate(tail.from.saturating_sub(1));
                tail.entries.into_iter().for_each(|entry| replica.push(entry));
            }
        }
        replica.durable = replica.log.last();
        if replica.has(Bug::VoteTwice) {
            (replica.term, replica.vote) = (replica.term.saturating_sub(1), None);
        }
        replica.rest();
        replica
    }

    /// The term or the vote changed.
    pub(super) fn promise(&mut self) {
        self.dirty.promise = true;
        self.seq += 1;
        self.promised_seq = self.seq;
    }

    /// The log changed from `from` on.
    pub(super) fn log_changed(&mut self, from: u64) {
        if self.dirty.log_from.is_none() {
            self.dirty.since_ms = self.now.awake_ms;
        }
        self.dirty.log_from = Some(self.dirty.log_from.map_or(from, |before| before.min(from)));
        let cut = from - 1;
        self.durable = self.durable.min(cut);
        self.unsynced.iter_mut().for_each(|(_, last)| *last = (*last).min(cut));
        if self.has(Bug::NoFsync) {
            self.durable = self.log.last();
            return;
        }
        self.seq += 1;
        self.unsynced.push_back((self.seq, self.log.last()));
    }

    /// The state was replaced, and with it the log.
    pub(super) fn state_changed(&mut self) {
        self.unsynced.clear();
        self.log_changed(self.log.base() + 1);
        self.dirty.snapshot = true;
        // For the bug too: a new state is synced, as it replaces the file.
        self.seq += 1;
        self.unsynced.push_back((self.seq, self.log.last()));
    }

    /// All changes up to `seq` are on disk.
    pub fn on_disk(&mut self, seq: u64, now: Now) {
        self.now = now;
        self.durable_seq = self.durable_seq.max(seq);
        while let Some(&(change, last)) = self.unsynced.front()
            && change <= seq
        {
            self.durable = self.durable.max(last);
            self.unsynced.pop_front();
        }
        self.advance_commit();
    }

    /// The node is asked to stop.
    pub fn stop(&mut self) {
        self.dirty.stopping = true;
        // A change to wait for, also where the bug counted none.
        self.seq += u64::from(self.dirty.log_from.is_some());
    }
}

impl Logged for Replica {
    type Record = Record;

    fn seq(&self) -> u64 {
        self.seq
    }

    fn take_pending(&mut self) -> Option<Record> {
        let late = self.has(Bug::NoFsync) && !self.dirty.stopping && !self.dirty.snapshot;
        let due = !late || self.now.awake_ms >= self.dirty.since_ms + LATE_MS;
        let from = if due { self.dirty.log_from.take() } else { None };
        let promise = std::mem::take(&mut self.dirty.promise);
        if from.is_none() && !promise {
            return None;
        }
        if std::mem::take(&mut self.dirty.snapshot) {
            return Some(self.whole());
        }
        let tail = from.map(|from| Tail { from, entries: self.log.from(from) });
        Some(Record { term: self.term, vote: self.vote.clone(), snapshot: None, tail })
    }

    fn whole(&self) -> Record {
        let term = self.log.term(self.applied).unwrap_or(0);
        let from = self.applied + 1;
        Record {
            term: self.term,
            vote: self.vote.clone(),
            snapshot: Some(self.topics.snapshot(self.applied, term)),
            tail: Some(Tail { from, entries: self.log.from(from) }),
        }
    }
}
