//! A follower that lacks entries which the leader let go of gets the leader's state in pieces (section 7).

use std::sync::Arc;

use super::entries::Entries;
use super::{Replica, Role};
use crate::node::pubsub::rpc::{Outcome, Rpc};
use crate::node::pubsub::topics::{Snapshot, Topics};

/// A piece, bytes.
const PIECE_BYTES: usize = 128 << 10;
/// A piece that is not answered for so long is sent again, ms.
const RESEND_MS: u64 = 500;
/// The largest state that is taken in, bytes.
const MAX_BYTES: usize = 1 << 30;

/// A state on its way to a follower.
#[derive(Clone, Debug)]
pub struct Outgoing {
    index: u64,
    last_term: u64,
    text: Arc<str>,
    /// So much has arrived,
    have: usize,
    /// and since then nothing has been sent again.
    since_ms: u64,
    /// A piece is on its way.
    sent: bool,
}

/// A state of which not all has arrived.
#[derive(Debug)]
pub struct Incoming {
    /// Its last entry and that one's term.
    last: (u64, u64),
    total: usize,
    text: String,
}

impl Replica {
    /// Sends the next piece of the state, or a sign of life while one is on its way.
    pub(super) fn send_install(&mut self, to: usize) {
        let now_ms = self.now.awake_ms;
        let none = matches!(&self.role, Role::Leader(leading) if leading.peers[to].install.is_none());
        let fresh = if none { self.outgoing() } else { None };
        let Role::Leader(leading) = &mut self.role else { return };
        let round = leading.round;
        let peer = &mut leading.peers[to];
        peer.install = peer.install.take().or(fresh);
        let Some(install) = &mut peer.install else { return };
        let overdue = now_ms >= install.since_ms + RESEND_MS;
        let piece = if install.sent && !overdue {
            String::new()
        } else {
            (install.sent, install.since_ms) = (true, now_ms);
            let mut end = install.text.len().min(install.have + PIECE_BYTES);
            while !install.text.is_char_boundary(end) {
                end += 1;
            }
            install.text[install.have..end].to_owned()
        };
        let (index, last_term) = (install.index, install.last_term);
        let (offset, total) = (install.have, install.text.len());
        let term = self.term;
        self.send(to, Rpc::Install { term, round, index, last_term, offset, total, piece });
    }

    fn outgoing(&self) -> Option<Outgoing> {
        let last_term = self.log.term(self.applied)?;
        let snapshot = self.topics.snapshot(self.applied, last_term);
        let text = serde_json::to_string(&snapshot).ok()?.into();
        Some(Outgoing { index: self.applied, last_term, text, have: 0, since_ms: 0, sent: false })
    }

    /// Takes a piece in; how much of the state there is now.
    pub(super) fn on_install(&mut self, last: (u64, u64), offset: usize, total: usize, piece: &str) -> usize {
        if last.0 <= self.commit {
            // It has all of that.
            self.incoming = None;
            return total;
        }
        if self.incoming.as_ref().is_none_or(|incoming| (incoming.last, incoming.total) != (last, total)) {
            self.incoming = Some(Incoming { last, total, text: String::new() });
        }
        let Some(incoming) = &mut self.incoming else { return 0 };
        if offset == incoming.text.len() && total <= MAX_BYTES {
            incoming.text.push_str(piece);
        }
        if incoming.text.len() < total {
            return incoming.text.len();
        }
        let Ok(snapshot) = serde_json::from_str::<Snapshot>(&incoming.text) else {
            self.incoming = None;
            return 0;
        };
        self.incoming = None;
        self.restore(&snapshot);
        total
    }

    fn restore(&mut self, snapshot: &Snapshot) {
        self.notes.push(format!("takes over the state as of entry {}", snapshot.index));
        let rest = if self.log.term(snapshot.index) == Some(snapshot.term) {
            self.log.from(snapshot.index + 1)
        } else {
            Vec::new()
        };
        self.log = Entries::after(snapshot.index, snapshot.term);
        rest.into_iter().for_each(|entry| self.log.push(entry));
        self.topics = Topics::restore(snapshot, self.setup.bug, Some(&self.topics));
        if snapshot.stamp.key() > self.stamp.key() {
            self.stamp = snapshot.stamp;
        }
        (self.commit, self.applied) = (snapshot.index, snapshot.index);
        self.state_changed();
        // What was appended here up to there is in that state, or it is nowhere.
        let later = self.proposed.split_off(&(snapshot.index + 1));
        for (_, proposed) in std::mem::replace(&mut self.proposed, later) {
            let known = self.topics.knows(&proposed.id);
            self.answer(proposed.asker, if known { Outcome::Published } else { Outcome::Replaced });
        }
        self.commit_to(snapshot.index);
    }

    pub(super) fn on_installed(&mut self, from: usize, index: u64, have: usize) {
        let Role::Leader(leading) = &mut self.role else { return };
        let peer = &mut leading.peers[from];
        let Some(install) = peer.install.as_mut().filter(|install| install.index == index) else { return };
        if have >= install.text.len() {
            peer.matched = peer.matched.max(index);
            peer.next = index + 1;
            peer.probing = true;
            peer.install = None;
            self.advance_commit();
        } else if have > install.have && install.text.is_char_boundary(have) || have == 0 && install.have > 0
        {
            // More than before; or nothing any more, as after a restart.
            (install.have, install.sent) = (have, false);
        } else {
            return;
        }
        self.send_next(from);
    }
}
