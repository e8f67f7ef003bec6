//! Who leads (section 5.2 and 5.4.1), with a pre-vote, so that a node that was cut off deposes nobody.

use super::append::Progress;
use super::clients::Asker;
use super::{ELECTION_MIN_MS, ELECTION_SPREAD_MS, Leading, Replica, Role};
use crate::node::pubsub::bug::Bug;
use crate::node::pubsub::entry::Entry;
use crate::node::pubsub::rpc::Rpc;

impl Replica {
    /// Draws the time of the next election.
    pub(super) fn rest(&mut self) {
        self.election_ms = self.now.awake_ms + ELECTION_MIN_MS + self.draw(ELECTION_SPREAD_MS + 1);
    }

    /// No word of a leader for too long: would a majority vote for this node?
    pub(super) fn campaign(&mut self) {
        self.leader = None;
        self.ask_for_votes(true);
    }

    fn ask_for_votes(&mut self, pre: bool) {
        self.rest();
        let mut votes = vec![false; self.setup.members.len()];
        votes[self.setup.me] = true;
        self.role = Role::Candidate { pre, votes };
        let term = if pre { self.term + 1 } else { self.term };
        let (last_index, last_term) = (self.log.last(), self.log.last_term());
        for to in self.others() {
            self.send(to, Rpc::Vote { term, pre, last_index, last_term });
        }
        self.count_votes();
    }

    /// A majority would vote for it: it votes for itself and asks in earnest.
    fn stand(&mut self) {
        self.term += 1;
        self.vote = Some(self.name().to_owned());
        self.promise();
        self.ask_for_votes(false);
    }

    pub(super) fn on_vote(&mut self, from: usize, term: u64, pre: bool, last: (u64, u64)) {
        // 5.4.1: whoever leads has every committed entry, as no voter lets one lead that has less than itself.
        let has_all = last >= (self.log.last_term(), self.log.last());
        if pre {
            let hears = self.heard_ms.is_some_and(|heard| self.now.awake_ms < heard + ELECTION_MIN_MS);
            let content = match self.role {
                Role::Leader(_) => true,
                _ => self.leader.is_some() && hears,
            };
            let granted = term > self.term && has_all && !content;
            let term = if granted { term } else { self.term };
            self.send(from, Rpc::Voted { term, pre, granted });
            return;
        }
        self.see_term(term);
        let candidate = self.setup.members.get(from).cloned();
        let free = self.vote.is_none() || self.vote == candidate;
        let granted = term == self.term && free && has_all;
        if granted {
            self.vote = candidate;
            self.promise();
            self.rest();
        }
        self.send(from, Rpc::Voted { term: self.term, pre, granted });
    }

    pub(super) fn on_voted(&mut self, from: usize, term: u64, pre: bool, granted: bool) {
        if !granted {
            self.see_term(term);
            return;
        }
        let expected = if pre { self.term + 1 } else { self.term };
        if let Role::Candidate { pre: asks, votes } = &mut self.role
            && *asks == pre
            && term == expected
        {
            votes[from] = true;
            self.count_votes();
        }
    }

    fn count_votes(&mut self) {
        let Role::Candidate { pre, votes } = &self.role else { return };
        if votes.iter().filter(|vote| **vote).count() < self.majority() {
            return;
        }
        if *pre { self.stand() } else { self.lead() }
    }

    fn lead(&mut self) {
        self.notes.push(format!("leader of term {}", self.term));
        let peer = Progress::new(self.log.last() + 1, self.now.awake_ms);
        self.leader = Some(self.setup.me);
        self.role = Role::Leader(Leading {
            peers: vec![peer; self.setup.members.len()],
            round: 0,
            last_beat_ms: self.now.awake_ms,
            reads: Vec::new(),
            taken: std::collections::HashSet::new(),
        });
        self.commit_older_terms();
        // 5.4.2 and section 8: what earlier leaders left is committed by an entry of this term, so there is one at once.
        self.push(Entry { term: self.term, post: None });
        self.log_changed(self.log.last());
        self.broadcast();
        self.advance_commit();
    }

    /// Somebody is in a later term.
    pub(super) fn see_term(&mut self, term: u64) {
        if term > self.term {
            self.term = term;
            self.vote = None;
            self.promise();
            self.follow(None);
        }
    }

    /// Follows `leader`, or waits for one.
    pub(super) fn follow(&mut self, leader: Option<usize>) {
        let before = std::mem::replace(&mut self.role, Role::Follower);
        self.leader = leader;
        if let Role::Leader(leading) = before {
            self.notes.push("no longer the leader".into());
            for read in leading.reads {
                self.read_at(read.asker, None);
            }
            self.rest();
        }
    }

    /// A message of the leader of `term`; `false`: it is none any more, and is told so.
    pub(super) fn hear(&mut self, from: usize, term: u64, round: u64) -> bool {
        if term < self.term {
            self.send(from, Rpc::Appended { term: self.term, round, ok: false, index: 0 });
            return false;
        }
        self.see_term(term);
        if matches!(self.role, Role::Leader(_)) {
            // A term has one leader. Where a node with a bug takes itself for a second one, each is deaf to the other.
            return false;
        }
        self.follow(Some(from));
        self.heard_ms = Some(self.now.awake_ms);
        self.rest();
        self.commit_older_terms();
        true
    }

    /// The bug that takes what earlier terms left for committed, because a later one has begun.
    fn commit_older_terms(&mut self) {
        if self.has(Bug::CommitsOldTerm) {
            let last = self.log.last_before_term(self.term);
            self.commit_to(last);
        }
    }

    /// Tells whoever asked for a read how far to apply.
    pub(super) fn read_at(&mut self, asker: Asker, index: Option<u64>) {
        match asker {
            Asker::Client(ticket) => self.on_read_at(ticket, index),
            Asker::Peer(to, ticket) => self.send(to, Rpc::ReadAt { ticket, index }),
        }
    }
}
