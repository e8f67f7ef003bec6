//! What one lock guards: the term, the vote, the role, and the store.
//!
//! Time comes in as an argument, so that every rule here can be tested without waiting.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::bug::Bug;
use super::message::{Item, MAX_TERM, VERSIONS_PER_TERM, Version, Vote};
use crate::node::kept::Logged;
use crate::node::random;

/// A follower that hears nothing for so long, plus up to [`ELECTION_SPREAD`] at random, stands for election …
pub const ELECTION_MIN: Duration = Duration::from_millis(300);
/// … so that seldom two do at one time.
pub const ELECTION_SPREAD: Duration = Duration::from_millis(300);
/// A leader without word from a majority for so long no longer takes itself for one. Not what safety rests on: a write
/// asks a majority anyhow. It spares clients of a cut-off leader the wait.
pub const LEASE: Duration = Duration::from_millis(600);
/// Where [`Bug::OverwritesOnHeal`] begins to number what it pushes: above all that the new leader has given so far.
const PUSHED_FROM_SEQ: u64 = 900_000_000;

/// What a node is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Has a majority's votes in its term.
    Leader,
}

impl Role {
    /// As `/status` says it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
    }
}

/// A node's place among the others, as those who wait follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The term.
    pub term: u64,
    /// The role.
    pub role: Role,
    /// Leads, and has what a majority had before: it takes writes.
    pub ready: bool,
    /// The leader, as far as known.
    pub leader: Option<String>,
}

impl Standing {
    /// Whether it leads in `term`.
    pub fn leads_in(&self, term: u64) -> bool {
        self.role == Role::Leader && self.term == term
    }
}

/// What the store holds for a key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The newest version this node has heard of.
    pub item: Arc<Item>,
    /// The change that brought it: it may be shown once that is on disk.
    pub seq: u64,
    /// W replicas are known to hold this version or newer ones. Replicas keep what they hold, so this never ends.
    pub settled: bool,
}

/// What the log is made of.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The term.
    pub term: u64,
    /// Who has this node's vote in that term.
    pub vote: Option<String>,
    /// What was stored, in that order.
    pub items: Vec<Arc<Item>>,
}

/// The term, the vote, the role and the store.
#[derive(Debug)]
pub struct State {
    id: String,
    bug: Option<Bug>,
    term: u64,
    vote: Option<String>,
    role: Role,
    ready: bool,
    leader: Option<String>,
    /// The last version given in this term, by this leader.
    last_given: u64,
    entries: BTreeMap<String, Entry>,
    summary: u64,
    seq: u64,
    pending: Option<Vec<Arc<Item>>>,
    /// The last change of term or vote.
    promised_seq: u64,
    /// The last word of a leader.
    heard: Option<Instant>,
    /// When to stand for election.
    election: Instant,
    /// Per peer: when the last message that it answered to this leader was sent.
    answered: Vec<Instant>,
    /// How many peers have to answer for the leader to stay one.
    followers_needed: usize,
    /// What [`Bug::OverwritesOnHeal`] will push, and the term it led in.
    stash: Option<(u64, Vec<Arc<Item>>)>,
    /// What it pushes now.
    outbox: Vec<Arc<Item>>,
}

impl State {
    /// What the log's `records` say, in a cluster with so many `peers`.
    pub fn recover(id: &str, bug: Option<Bug>, records: Vec<Record>, peers: usize, now: Instant) -> Self {
        let mut state = State {
            id: id.to_owned(),
            bug,
            term: 0,
            vote: None,
            role: Role::Follower,
            ready: false,
            leader: None,
            last_given: 0,
            entries: BTreeMap::new(),
            summary: 0,
            seq: 0,
            pending: None,
            promised_seq: 0,
            heard: None,
            election: now,
            answered: vec![now; peers],
            followers_needed: peers.div_ceil(2),
            stash: None,
            outbox: Vec::new(),
        };
        for record in records {
            (state.term, state.vote) = (record.term, record.vote);
            record.items.into_iter().for_each(|item| state.insert(item));
        }
        state.rest(now);
        state
    }

    // --- Terms and roles ---

    /// The term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The change to wait for before speaking in this term.
    pub fn promised_seq(&self) -> u64 {
        self.promised_seq
    }

    /// Where the node stands.
    pub fn standing(&self) -> Standing {
        Standing { term: self.term, role: self.role, ready: self.ready, leader: self.leader.clone() }
    }

    /// Whether it leads in `term`.
    pub fn leads_in(&self, term: u64) -> bool {
        self.role == Role::Leader && self.term == term
    }

    /// When to stand for election; `None` for a leader.
    pub fn election(&self) -> Option<Instant> {
        (self.role != Role::Leader).then_some(self.election)
    }

    /// Draws the time of the next election.
    pub fn rest(&mut self, now: Instant) {
        let spread = random::below(ELECTION_SPREAD.as_millis() as u64 + 1);
        self.election = now + ELECTION_MIN + Duration::from_millis(spread);
    }

    /// The leader has been silent for too long; if this comes to nothing, the next try is in a while.
    pub fn give_up_leader(&mut self, now: Instant) {
        if self.role != Role::Leader {
            self.leader = None;
        }
        self.rest(now);
    }

    /// A leader that has not heard from a majority for [`LEASE`] steps down: it may have slept through an election.
    pub fn lapse(&mut self, now: Instant) {
        let fresh = self.answered.iter().filter(|sent| now.duration_since(**sent) < LEASE).count();
        // The bug's leader never finds out that its time is over.
        if self.role == Role::Leader && fresh < self.followers_needed && self.bug != Some(Bug::NoTermCheck) {
            say!("{}: no word from a majority, no longer the leader of term {}", self.id, self.term);
            self.follow(now);
        }
    }

    /// A peer answered what this leader sent it at `sent`.
    pub fn answered(&mut self, peer: usize, term: u64, sent: Instant) {
        if self.leads_in(term)
            && let Some(last) = self.answered.get_mut(peer)
        {
            *last = (*last).max(sent);
        }
    }

    /// Whether every peer has answered this leader within [`LEASE`].
    pub fn hears_all(&self, now: Instant) -> bool {
        self.answered.iter().all(|sent| now.duration_since(*sent) < LEASE)
    }

    /// Somebody is in a later term.
    pub fn see_term(&mut self, term: u64, now: Instant) {
        let deaf = self.bug == Some(Bug::NoTermCheck) && self.role == Role::Leader;
        if term > self.term && !deaf {
            self.enter(term, None, now);
        }
    }

    /// A message of the leader of `term`.
    ///
    /// # Errors
    /// This node's term, when that is later: the sender was deposed.
    pub fn hear(&mut self, term: u64, leader: &str, now: Instant) -> Result<(), u64> {
        if self.bug == Some(Bug::NoTermCheck) {
            if self.role == Role::Leader {
                return Ok(());
            }
        } else if term < self.term {
            return Err(self.term);
        } else if term == self.term && self.role == Role::Leader {
            // A term has one leader, unless leaders need no majority.
            if self.bug != Some(Bug::TwoLeaders) || leader >= self.id.as_str() {
                return Err(self.term);
            }
        }
        if term > self.term {
            self.enter(term, None, now);
        } else if self.role != Role::Follower {
            self.follow(now);
        }
        if self.leader.as_deref() != Some(leader) {
            self.leader = Some(leader.to_owned());
        }
        self.heard = Some(now);
        self.rest(now);
        self.push_stash(term);
        Ok(())
    }

    /// Whether the candidate has this node's vote.
    pub fn vote(&mut self, request: &Vote, now: Instant) -> bool {
        let deaf = self.bug == Some(Bug::NoTermCheck) && self.role == Role::Leader;
        if request.pre {
            let led = self.heard.is_some_and(|heard| now.duration_since(heard) < ELECTION_MIN);
            return request.term > self.term && self.role != Role::Leader && !led;
        }
        if deaf || request.term < self.term {
            return false;
        }
        if request.term > self.term {
            self.enter(request.term, Some(request.candidate_id.clone()), now);
        } else if self.vote.is_none() {
            self.vote = Some(request.candidate_id.clone());
            self.promise();
        }
        let granted = self.vote.as_ref() == Some(&request.candidate_id);
        if granted {
            self.rest(now);
        }
        granted
    }

    /// Stands for election in the next term, if nobody leads; that term, and the change to wait for.
    pub fn stand(&mut self, term: u64, now: Instant) -> bool {
        let led = self.heard.is_some_and(|heard| now.duration_since(heard) < ELECTION_MIN);
        if self.role == Role::Leader || led || term != self.term + 1 || term > MAX_TERM {
            return false;
        }
        self.enter(term, Some(self.id.clone()), now);
        self.role = Role::Candidate;
        true
    }

    /// A majority voted for this node in `term`; whether it leads now. It takes writes after [`State::make_ready`].
    pub fn win(&mut self, term: u64, followers_needed: usize, now: Instant) -> bool {
        if self.role != Role::Candidate || self.term != term {
            return false;
        }
        self.role = Role::Leader;
        self.leader = Some(self.id.clone());
        self.last_given = 0;
        self.answered.fill(now);
        self.followers_needed = followers_needed;
        true
    }

    /// The leader of `term` has what a majority had.
    pub fn make_ready(&mut self, term: u64) -> bool {
        self.ready |= self.leads_in(term);
        self.ready
    }

    /// The next version, if this node may give one.
    pub fn next_version(&mut self, now: Instant) -> Option<Version> {
        if self.role != Role::Leader || !self.ready {
            return None;
        }
        if self.last_given + 1 >= VERSIONS_PER_TERM {
            self.follow(now);
            return None;
        }
        self.last_given += 1;
        Some(Version::new(self.term, self.last_given))
    }

    fn enter(&mut self, term: u64, vote: Option<String>, now: Instant) {
        self.follow(now);
        (self.term, self.vote) = (term, vote);
        self.heard = None;
        self.promise();
    }

    fn follow(&mut self, now: Instant) {
        if self.role == Role::Leader {
            self.rest(now);
            if self.bug == Some(Bug::OverwritesOnHeal) {
                let map = self.entries.values().map(|entry| Arc::clone(&entry.item)).collect();
                self.stash = Some((self.term, map));
            }
        }
        self.role = Role::Follower;
        self.ready = false;
        self.leader = None;
    }

    fn promise(&mut self) {
        self.record(None);
        self.promised_seq = self.seq;
    }

    // --- The store ---

    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All entries, tombstones too, by key.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// Takes `item` in where it is newer than what is there; the change to wait for before this node may say that it
    /// holds it, or a newer one.
    pub fn apply(&mut self, item: &Arc<Item>) -> u64 {
        let newer = match self.entries.get(&item.key) {
            None => true,
            Some(_) if self.bug == Some(Bug::NoVersions) => true,
            Some(held) => item.version > held.item.version,
        };
        if newer {
            self.record(Some(Arc::clone(item)));
            self.insert(Arc::clone(item));
            if item.version.term() == self.term {
                self.last_given = self.last_given.max(item.version.seq());
            }
        }
        self.entries.get(&item.key).map_or(self.seq, |held| held.seq)
    }

    /// W replicas hold `version` of `key` or newer ones.
    pub fn settle(&mut self, key: &str, version: Version) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.settled |= entry.item.version <= version;
        }
    }

    /// A hash of all keys and versions; equal ones need no comparing.
    pub fn summary(&self) -> u64 {
        self.summary
    }

    /// All keys with their versions.
    pub fn versions(&self) -> BTreeMap<String, Version> {
        let told = self.entries.values().filter(|entry| self.tells(&entry.item));
        told.map(|entry| (entry.item.key.clone(), entry.item.version)).collect()
    }

    /// What is newer here than in `theirs`, as far as it is on disk.
    pub fn newer_than(&self, theirs: &BTreeMap<String, Version>, durable: u64) -> Vec<Arc<Item>> {
        let newer = |item: &Item| match theirs.get(&item.key) {
            None => true,
            // A node without versions cannot tell which is newer, it only fills gaps.
            Some(_) if self.bug == Some(Bug::NoVersions) => false,
            Some(version) => item.version > *version,
        };
        let told = self.entries.values().filter(|entry| entry.seq <= durable && self.tells(&entry.item));
        told.map(|entry| &entry.item).filter(|item| newer(item)).map(Arc::clone).collect()
    }

    /// Whether the others ever hear of `item`.
    pub fn tells(&self, item: &Item) -> bool {
        !(item.deleted && self.bug == Some(Bug::DeleteNotReplicated))
    }

    /// What a deposed leader pushes under [`Bug::OverwritesOnHeal`].
    pub fn take_outbox(&mut self) -> Vec<Arc<Item>> {
        std::mem::take(&mut self.outbox)
    }

    fn push_stash(&mut self, term: u64) {
        let Some((_, map)) = self.stash.take_if(|(led_in, _)| term > *led_in) else { return };
        for (item, seq) in map.into_iter().zip(PUSHED_FROM_SEQ..VERSIONS_PER_TERM) {
            let news = Arc::new(Item { version: Version::new(term, seq), ..Item::clone(&item) });
            self.apply(&news);
            self.outbox.push(news);
        }
    }

    fn record(&mut self, item: Option<Arc<Item>>) {
        self.seq += 1;
        self.pending.get_or_insert_default().extend(item);
    }

    fn insert(&mut self, item: Arc<Item>) {
        let key = item.key.clone();
        let before = self.entries.get(&key).map(|entry| Arc::clone(&entry.item));
        for item in [before.as_ref(), Some(&item)].into_iter().flatten() {
            if self.tells(item) {
                // Exclusive or takes the old one out and puts the new one in, whatever the order of keys.
                self.summary ^= hash(item);
            }
        }
        self.entries.insert(key, Entry { item, seq: self.seq, settled: false });
    }
}

/// A hash that is the same in every process of this build.
fn hash(item: &Item) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&item.key, item.version.0).hash(&mut hasher);
    hasher.finish()
}

impl Logged for State {
    type Record = Record;

    fn seq(&self) -> u64 {
        self.seq
    }

    fn take_pending(&mut self) -> Option<Record> {
        let items = self.pending.take()?;
        Some(Record { term: self.term, vote: self.vote.clone(), items })
    }

    fn whole(&self) -> Record {
        let items = self.entries.values().map(|entry| Arc::clone(&entry.item)).collect();
        Record { term: self.term, vote: self.vote.clone(), items }
    }
}

#[cfg(test)]
mod tests;
