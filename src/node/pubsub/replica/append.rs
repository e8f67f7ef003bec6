//! The leader's log becomes the followers', and what a majority has is committed (sections 5.3 and 5.4.2).

use super::install::Outgoing;
use super::{HEARTBEAT_MS, LEASE_MS, Replica, Role};
use crate::node::pubsub::bug::Bug;
use crate::node::pubsub::entry::Entry;
use crate::node::pubsub::rpc::Rpc;

/// Entries in one message, bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Entries on their way to a follower that has not confirmed them yet.
const WINDOW: u64 = 256;

/// What a leader knows of a follower.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The next entry to send.
    pub next: u64,
    /// So far its log is the same, on its disk.
    pub matched: u64,
    /// Where their logs part is being found out: nothing is sent but questions.
    pub probing: bool,
    /// The last broadcast it answered,
    pub round: u64,
    /// and when that came.
    pub heard_ms: u64,
    /// The state on its way there.
    pub install: Option<Outgoing>,
}

impl Progress {
    pub fn new(next: u64, now_ms: u64) -> Self {
        Progress { next, matched: 0, probing: true, round: 0, heard_ms: now_ms, install: None }
    }
}

impl Replica {
    pub(super) fn tick_leader(&mut self) {
        let now_ms = self.now.awake_ms;
        let others: Vec<usize> = self.others().collect();
        let Role::Leader(leading) = &mut self.role else { return };
        let fresh = others.iter().filter(|peer| now_ms < leading.peers[**peer].heard_ms + LEASE_MS).count();
        if fresh + 1 < self.setup.members.len() / 2 + 1 {
            self.follow(None);
            return;
        }
        if now_ms >= leading.last_beat_ms + HEARTBEAT_MS {
            leading.last_beat_ms = now_ms;
            self.broadcast();
        }
    }

    /// Sends every follower what it lacks, or a sign of life.
    pub(super) fn broadcast(&mut self) {
        let Role::Leader(leading) = &mut self.role else { return };
        leading.round += 1;
        for peer in self.others() {
            self.send_next(peer);
        }
        self.confirm_reads();
    }

    /// Sends a follower what comes next for it.
    pub(super) fn send_next(&mut self, to: usize) {
        let Role::Leader(leading) = &mut self.role else { return };
        let (round, peer) = (leading.round, &mut leading.peers[to]);
        let prev_index = peer.next - 1;
        let Some(prev_term) = self.log.term(prev_index) else {
            return self.send_install(to);
        };
        peer.install = None;
        let full = peer.probing || peer.next > peer.matched + WINDOW;
        let entries = if full { Vec::new() } else { self.log.batch(peer.next, BATCH_BYTES) };
        // It is taken for sent well; where it was not, the next sign of life finds out.
        peer.next += entries.len() as u64;
        let (term, commit) = (self.term, self.commit);
        self.send(to, Rpc::Append { term, round, prev_index, prev_term, entries, commit });
    }

    pub(super) fn on_append(
        &mut self,
        from: usize,
        round: u64,
        prev: (u64, u64),
        entries: Vec<Entry>,
        commit: u64,
    ) {
        let (mut prev_index, mut prev_term) = prev;
        let gone = usize::try_from(self.log.base().saturating_sub(prev_index)).unwrap_or(usize::MAX);
        if gone > 0 {
            // What is gone here was committed, so the leader has the same.
            (prev_index, prev_term) = (self.log.base(), self.log.term(self.log.base()).unwrap_or(0));
        }
        let last_new = prev.0 + entries.len() as u64;
        if self.log.term(prev_index) != Some(prev_term) {
            // As far as it may be: before all of the term that differs, which spares a round for each entry of it.
            let index = if prev_index > self.log.last() {
                self.log.last()
            } else {
                (self.log.first_of_term(prev_index).saturating_sub(1))
                    .max(self.commit.min(prev_index.saturating_sub(1)))
            };
            return self.send(from, Rpc::Appended { term: self.term, round, ok: false, index });
        }
        let mut changed_from = None;
        for (index, entry) in (prev_index + 1..).zip(entries.into_iter().skip(gone)) {
            match self.log.term(index) {
                Some(term) if term == entry.term => continue,
                Some(_) => {
                    if self.has(Bug::OffByOneTruncate) {
                        self.log.truncate(index);
                        changed_from.get_or_insert(index);
                        continue;
                    }
                    self.log.truncate(index - 1);
                }
                None => {}
            }
            changed_from.get_or_insert(index);
            self.push(entry);
        }
        if let Some(from) = changed_from {
            self.log_changed(from);
        }
        // Not beyond what was compared: what follows here may be a deposed leader's.
        self.commit_to(commit.min(last_new));
        let index = last_new.max(prev_index);
        self.send(from, Rpc::Appended { term: self.term, round, ok: true, index });
    }

    /// An answer to this leader; `false` where it is none.
    pub(super) fn heard_back(&mut self, from: usize, term: u64, round: u64) -> bool {
        self.see_term(term);
        let now_ms = self.now.awake_ms;
        let current = term == self.term;
        let Role::Leader(leading) = &mut self.role else { return false };
        if !current {
            return false;
        }
        let peer = &mut leading.peers[from];
        peer.heard_ms = now_ms;
        peer.round = peer.round.max(round);
        self.confirm_reads();
        true
    }

    pub(super) fn on_appended(&mut self, from: usize, ok: bool, index: u64) {
        let last = self.log.last();
        let Role::Leader(leading) = &mut self.role else { return };
        let peer = &mut leading.peers[from];
        if !ok {
            if index + 1 < peer.next {
                // Also below what it confirmed: too little is never wrong, and a disk that lost something can be mended.
                peer.matched = peer.matched.min(index);
                peer.next = index + 1;
                peer.probing = true;
                self.send_next(from);
            }
            return;
        }
        let index = index.min(last);
        peer.matched = peer.matched.max(index);
        peer.next = peer.next.max(index + 1);
        let was_probing = std::mem::take(&mut peer.probing);
        let more = peer.next <= last && (was_probing || peer.next <= peer.matched + WINDOW);
        self.advance_commit();
        if more {
            self.send_next(from);
        }
    }

    /// 5.4.2: committed is what a majority has on disk, counted for entries of this term alone; those before come along
    /// with them. An older entry on a majority may still be replaced (figure 8).
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leading) = &self.role else { return };
        let mut matched: Vec<u64> = leading.peers.iter().map(|peer| peer.matched).collect();
        matched[self.setup.me] = self.durable;
        matched.sort_unstable();
        let index = matched[matched.len() - self.majority()];
        if index > self.commit && self.log.term(index) == Some(self.term) {
            self.commit_to(index);
            // Followers apply what they know to be committed, and subscribers wait for it there.
            self.broadcast();
        }
    }
}
