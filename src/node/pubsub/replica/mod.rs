//! One replica of the log: Raft as a pure state machine. Messages, time, published messages and the disk's progress come in;
//! messages and answers go out. It does nothing by itself, so whole clusters of it run in a test, under any schedule.
//!
//! Raft is Ongaro and Ousterhout's, "In Search of an Understandable Consensus Algorithm" (2014); sections and figures below are
//! that paper's. Pre-vote, stickiness to a leader and read index are of Ongaro's dissertation (2014; 9.6, 4.2.3, 6.4).

mod append;
mod clients;
mod disk;
mod election;
mod entries;
mod install;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::append::Progress;
use self::clients::{Asker, Confirming, Proposed};
use self::disk::Dirty;
use self::entries::Entries;
use self::install::Incoming;
use super::bug::Bug;
use super::entry::{Entry, Now, Stamp};
use super::rpc::{Outcome, Rpc};
use super::topics::Topics;

/// Between two signs of life of a leader, ms.
pub const HEARTBEAT_MS: u64 = 60;
/// A follower that hears nothing of a leader for so long, plus up to [`ELECTION_SPREAD_MS`] at random, stands for
/// election: six heartbeats, so that a machine with far more to do than processors does not depose its leaders.
pub const ELECTION_MIN_MS: u64 = 400;
/// See [`ELECTION_MIN_MS`].
pub const ELECTION_SPREAD_MS: u64 = 400;
/// A leader that a majority has not answered for so long steps down. Safety does not need it; clients of a leader that is
/// cut off do, and so do followers that hear it without being heard.
pub const LEASE_MS: u64 = 1000;

/// Messages that wait for the disk at most. A disk that hangs would gather them for ever; the oldest are lost, as messages
/// may be.
const MAX_OUTBOX: usize = 10_000;

/// What a replica is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// All nodes' names, sorted.
    pub members: Vec<String>,
    /// Which of them this one is.
    pub me: usize,
    /// The bug it has.
    pub bug: Option<Bug>,
    /// So many applied entries are kept for followers that are behind; twice as many are too many.
    pub keep_entries: usize,
    /// For the spread of elections.
    pub seed: u64,
}

/// What a node is to the others.
#[derive(Debug)]
enum Role {
    Follower,
    Candidate {
        /// Asks whether it would be elected.
        pre: bool,
        votes: Vec<bool>,
    },
    Leader(Leading),
}

/// What a leader keeps for its term.
#[derive(Debug)]
struct Leading {
    /// By member; its own is not used.
    peers: Vec<Progress>,
    /// Broadcasts so far.
    round: u64,
    last_beat_ms: u64,
    /// Reads that wait for a majority to confirm a round.
    reads: Vec<Confirming>,
    /// The ids it took, all that [`Bug::DedupLocal`] remembers.
    taken: std::collections::HashSet<String>,
}

/// What came of something a client of this node asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What became of a message; `redirected`: by way of the leader, which is another node.
    Publish {
        /// What became of it.
        outcome: Outcome,
        /// Another node decided.
        redirected: bool,
    },
    /// All that was acknowledged before the question is applied here, unless the leader could not be asked.
    Read {
        /// Whether that is so.
        confirmed: bool,
    },
}

/// What a step leads to.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Messages, each with the member it is for.
    pub send: Vec<(usize, Rpc)>,
    /// Answers, each with the number of the question.
    pub answers: Vec<(u64, Answer)>,
    /// What is worth a line in the node's log.
    pub notes: Vec<String>,
}

/// One replica.
#[derive(Debug)]
pub struct Replica {
    setup: Setup,
    now: Now,
    random: u64,

    // --- On disk (figure 2: persistent state) ---
    term: u64,
    vote: Option<String>,
    log: Entries,
    dirty: Dirty,
    /// The last change that has to be on disk, and the last one of term or vote.
    seq: u64,
    promised_seq: u64,
    durable_seq: u64,
    /// The last entry on disk here, and entries on their way there: (change, last entry then).
    durable: u64,
    unsynced: VecDeque<(u64, u64)>,

    // --- Volatile ---
    role: Role,
    leader: Option<usize>,
    /// The last word of a leader.
    heard_ms: Option<u64>,
    election_ms: u64,
    commit: u64,
    applied: u64,
    topics: Topics,
    /// The greatest stamp in the log.
    stamp: Stamp,
    incoming: Option<Incoming>,
    /// By entry, for whom it was appended.
    proposed: BTreeMap<u64, Proposed>,
    /// Reads of this node's clients that wait until an entry is applied: (entry, question).
    reads: Vec<(u64, u64)>,
    /// Messages, each with the change that has to be on disk before it may leave.
    outbox: VecDeque<(u64, usize, Rpc)>,
    answers: Vec<(u64, Answer)>,
    notes: Vec<String>,
}

impl Replica {
    // --- What may be looked at ---

    /// The applied log.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// `leader`, `candidate` or `follower`.
    pub fn role(&self) -> &'static str {
        match self.role {
            Role::Follower => "follower",
            Role::Candidate { .. } => "candidate",
            Role::Leader(_) => "leader",
        }
    }

    /// The leader's name, as far as known.
    pub fn leader(&self) -> Option<&str> {
        self.leader.and_then(|leader| self.setup.members.get(leader)).map(String::as_str)
    }

    /// The last entry that is committed, as far as known here.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// The last entry that is applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        self.log.last()
    }

    fn has(&self, bug: Bug) -> bool {
        self.setup.bug == Some(bug)
    }

    fn name(&self) -> &str {
        self.setup.members.get(self.setup.me).map_or("", String::as_str)
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.setup.me;
        (0..self.setup.members.len()).filter(move |member| *member != me)
    }

    fn majority(&self) -> usize {
        self.setup.members.len() / 2 + 1
    }

    // --- What happens to it ---

    /// Time passes.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        if matches!(self.role, Role::Leader(_)) {
            self.tick_leader();
        } else if now.awake_ms >= self.election_ms {
            self.campaign();
        }
    }

    /// A message of the member `from` arrives.
    pub fn step(&mut self, from: usize, rpc: Rpc, now: Now) {
        self.now = now;
        match rpc {
            Rpc::Vote { term, pre, last_index, last_term } => {
                self.on_vote(from, term, pre, (last_term, last_index))
            }
            Rpc::Voted { term, pre, granted } => self.on_voted(from, term, pre, granted),
            Rpc::Append { term, round, prev_index, prev_term, entries, commit } => {
                if self.hear(from, term, round) {
                    self.on_append(from, round, (prev_index, prev_term), entries, commit);
                }
            }
            Rpc::Appended { term, round, ok, index } => {
                if self.heard_back(from, term, round) {
                    self.on_appended(from, ok, index);
                }
            }
            Rpc::Install { term, round, index, last_term, offset, total, piece } => {
                if self.hear(from, term, round) {
                    let have = self.on_install((index, last_term), offset, total, &piece);
                    self.send(from, Rpc::Installed { term: self.term, round, index, have });
                }
            }
            Rpc::Installed { term, round, index, have } => {
                if self.heard_back(from, term, round) {
                    self.on_installed(from, index, have);
                }
            }
            Rpc::Forward { ticket, topic, id, text } => {
                self.publish_for(Asker::Peer(from, ticket), topic, id, text)
            }
            Rpc::Forwarded { ticket, outcome } => {
                self.answers.push((ticket, Answer::Publish { outcome, redirected: true }));
            }
            Rpc::ReadIndex { ticket } => self.read_for(Asker::Peer(from, ticket)),
            Rpc::ReadAt { ticket, index } => self.on_read_at(ticket, index),
        }
    }

    /// What may leave the node now.
    pub fn take_outputs(&mut self) -> Outputs {
        let mut outputs = Outputs {
            send: Vec::new(),
            answers: std::mem::take(&mut self.answers),
            notes: std::mem::take(&mut self.notes),
        };
        let durable = self.durable_seq;
        for (after, to, rpc) in std::mem::take(&mut self.outbox) {
            if after <= durable {
                outputs.send.push((to, rpc));
            } else {
                self.outbox.push_back((after, to, rpc));
            }
        }
        outputs
    }

    /// Sends a message as soon as all is on disk that it says: terms and votes for every message, entries for those that
    /// say an entry is there.
    fn send(&mut self, to: usize, rpc: Rpc) {
        let after = match rpc {
            Rpc::Appended { ok: true, .. } | Rpc::Installed { .. } => self.seq,
            _ => self.promised_seq,
        };
        if self.outbox.len() >= MAX_OUTBOX {
            self.outbox.pop_front();
        }
        self.outbox.push_back((after, to, rpc));
    }

    /// A uniform number below `bound` (xorshift64*, Vigna 2016).
    fn draw(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound.max(1)
    }

    // --- The log and what it comes to ---

    fn push(&mut self, entry: Entry) {
        if let Some(post) = &entry.post
            && post.stamp.key() > self.stamp.key()
        {
            self.stamp = post.stamp;
        }
        self.log.push(entry);
    }

    /// Everything up to `index` is committed.
    fn commit_to(&mut self, index: u64) {
        self.commit = self.commit.max(index.min(self.log.last()));
        let mut batch: Vec<(u64, Entry)> = Vec::new();
        for index in self.applied + 1..=self.commit {
            let Some(entry) = self.log.get(index) else { break };
            batch.push((index, entry.clone()));
        }
        for (index, entry) in batch {
            self.apply(index, &entry);
            self.applied += 1;
        }
        let applied = self.applied;
        let (ready, waiting) =
            std::mem::take(&mut self.reads).into_iter().partition(|(at, _)| *at <= applied);
        self.reads = waiting;
        let ready: Vec<(u64, u64)> = ready;
        self.answers.extend(ready.into_iter().map(|(_, ticket)| (ticket, Answer::Read { confirmed: true })));
        self.compact();
    }

    fn apply(&mut self, index: u64, entry: &Entry) {
        let mut outcome = Outcome::Duplicate;
        if let Some(post) = &entry.post {
            let age_ms = self.now.corrected_ms.saturating_sub(post.stamp.corrected_ts);
            let swap = self.has(Bug::ReordersTopic) && self.draw(4) == 0;
            if self.topics.apply(index, post, age_ms > 300, swap) {
                outcome = Outcome::Published;
            }
        }
        if let Some(proposed) = self.proposed.remove(&index) {
            // Another leader's entry in its place: this one cannot be committed any more, there is no other place for it.
            let outcome = if proposed.term == entry.term { outcome } else { Outcome::Replaced };
            self.answer(proposed.asker, outcome);
        }
    }

    /// Lets go of entries nobody is likely to ask for. What is not on disk yet has to stay until it is.
    fn compact(&mut self) {
        if self.log.len() > self.setup.keep_entries.saturating_mul(2) {
            let on_disk = self.dirty.log_from.map_or(u64::MAX, |from| from - 1);
            let base = self.applied.min(on_disk).saturating_sub(self.setup.keep_entries as u64);
            self.log.compact(base);
        }
    }

    /// HISTORY: at most `count` messages of a topic, the first from `from` on, or the last.
    pub fn history(&self, topic: &str, from: Option<u64>, count: usize) -> Vec<super::topics::Placed> {
        if !self.has(Bug::DirtyHistory) || matches!(self.role, Role::Leader(_)) {
            return self.topics.history(topic, from, count);
        }
        let mut all = self.topics.history(topic, Some(0), usize::MAX);
        for index in self.applied + 1..=self.log.last() {
            if let Some(post) = self.log.get(index).and_then(|entry| entry.post.as_ref())
                && post.topic == topic
                && !self.topics.knows(&post.id)
                && !all.iter().any(|(_, placed)| placed.id == post.id)
            {
                all.push((all.len() as u64, Arc::clone(post)));
            }
        }
        let first =
            from.map_or(all.len().saturating_sub(count), |from| usize::try_from(from).unwrap_or(all.len()));
        all.into_iter().skip(first).take(count).collect()
    }
}
