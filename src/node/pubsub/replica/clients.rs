//! What clients ask for: messages published, and reads as new as all that was acknowledged before them.

use std::sync::Arc;

use super::{Answer, Replica, Role};
use crate::node::pubsub::bug::Bug;
use crate::node::pubsub::entry::{Entry, Post};
use crate::node::pubsub::rpc::{Outcome, Rpc};

/// Entries of a leader that may wait for a majority; more are refused, as whoever is cut off would gather them for ever.
const MAX_WAITING: u64 = 10_000;

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client of this node, by the number of its question.
    Client(u64),
    /// Another node, for one of its clients.
    Peer(usize, u64),
}

/// For whom an entry was appended.
#[derive(Debug)]
pub struct Proposed {
    /// The term it was appended in.
    pub term: u64,
    /// The message's id.
    pub id: String,
    /// Who wants to know.
    pub asker: Asker,
}

/// A read that waits for a majority.
#[derive(Debug)]
pub struct Confirming {
    /// The broadcast a majority has to answer.
    round: u64,
    /// Who wants to know.
    pub asker: Asker,
}

impl Replica {
    /// A client of this node publishes a message.
    pub fn publish(&mut self, ticket: u64, topic: String, id: String, text: String, now: super::Now) {
        self.now = now;
        match (&self.role, self.leader) {
            (Role::Leader(_), _) => self.publish_for(Asker::Client(ticket), topic, id, text),
            (_, Some(leader)) => self.send(leader, Rpc::Forward { ticket, topic, id, text }),
            (_, None) => self.answer(Asker::Client(ticket), Outcome::NotLeader),
        }
    }

    pub(super) fn publish_for(&mut self, asker: Asker, topic: String, id: String, text: String) {
        let clock = self.name().to_owned();
        let local = self.has(Bug::DedupLocal);
        let Role::Leader(leading) = &mut self.role else { return self.answer(asker, Outcome::NotLeader) };
        // An id that is on its way is appended once more, and found to be there when it is applied: only then is
        // anything certain.
        if if local { leading.taken.contains(&id) } else { self.topics.knows(&id) } {
            return self.answer(asker, Outcome::Duplicate);
        }
        if self.log.last() - self.commit >= MAX_WAITING {
            return self.answer(asker, Outcome::Busy);
        }
        if local {
            leading.taken.insert(id.clone());
        }
        let stamp = self.stamp.next(self.now);
        let post = Post { topic, id: id.clone(), stamp, clock, text };
        self.push(Entry { term: self.term, post: Some(Arc::new(post)) });
        self.log_changed(self.log.last());
        if self.has(Bug::AckBeforeCommit) {
            // The others hear of it with the next sign of life.
            return self.answer(asker, Outcome::Published);
        }
        self.proposed.insert(self.log.last(), Proposed { term: self.term, id, asker });
        self.broadcast();
        self.advance_commit();
    }

    pub(super) fn answer(&mut self, asker: Asker, outcome: Outcome) {
        match asker {
            Asker::Client(ticket) => {
                self.answers.push((ticket, Answer::Publish { outcome, redirected: false }))
            }
            Asker::Peer(to, ticket) => self.send(to, Rpc::Forwarded { ticket, outcome }),
        }
    }

    /// A client of this node wants to read all that was acknowledged before (read index, dissertation 6.4).
    pub fn read(&mut self, ticket: u64, now: super::Now) {
        self.now = now;
        match (&self.role, self.leader) {
            (Role::Leader(_), _) => self.read_for(Asker::Client(ticket)),
            (_, Some(leader)) => self.send(leader, Rpc::ReadIndex { ticket }),
            (_, None) => self.on_read_at(ticket, None),
        }
    }

    pub(super) fn read_for(&mut self, asker: Asker) {
        let Role::Leader(leading) = &mut self.role else { return self.read_at(asker, None) };
        // Answers to the next broadcast are of a time after the question.
        leading.reads.push(Confirming { round: leading.round + 1, asker });
        self.broadcast();
    }

    /// Answers the reads whose round a majority has answered. All that is committed by then is committed here, once an
    /// entry of this term is; until then the reads wait.
    pub(super) fn confirm_reads(&mut self) {
        let me = self.setup.me;
        let majority = self.majority();
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.reads.is_empty() || self.log.term(self.commit) != Some(self.term) {
            return;
        }
        let mut rounds: Vec<u64> = leading.peers.iter().map(|peer| peer.round).collect();
        rounds[me] = leading.round;
        rounds.sort_unstable();
        let confirmed = rounds[rounds.len() - majority];
        let (ready, waiting) =
            std::mem::take(&mut leading.reads).into_iter().partition(|read| read.round <= confirmed);
        leading.reads = waiting;
        let (ready, commit): (Vec<Confirming>, u64) = (ready, self.commit);
        for read in ready {
            self.read_at(read.asker, Some(commit));
        }
    }

    /// All that was acknowledged is in the log up to `index`.
    pub(super) fn on_read_at(&mut self, ticket: u64, index: Option<u64>) {
        match index {
            Some(index) if index > self.applied => self.reads.push((index, ticket)),
            _ => self.answers.push((ticket, Answer::Read { confirmed: index.is_some() })),
        }
    }

    /// A question nobody waits for any more.
    pub fn forget(&mut self, ticket: u64) {
        self.reads.retain(|(_, waiting)| *waiting != ticket);
    }
}
