//! Views and lives: how they begin and end.

use std::sync::Arc;

use super::channel::Channel;
use super::core::{Core, Line, Peer, View};
use super::message::{Member, Message, Next, Rank, Status};
use super::order::Order;

impl Core {
    /// What a peer tells of itself.
    pub(super) fn note(&mut self, rank: Rank, status: Status) {
        let number = self.view.as_ref().map_or(0, |view| view.number);
        let me = Member { rank: self.me, inc: self.inc };
        if number > 0 && status.view > number && !status.members.contains(&me) {
            self.leave(Line::Evicted { view: status.view });
        }
        let peer = &mut self.peers[rank];
        if status.hears[self.me] == self.inc && status.view >= number {
            peer.with_us_at = self.now;
        }
        peer.status = Some(status);
    }

    /// A peer has a new incarnation: nothing of the earlier one matters any more.
    pub(super) fn restarted(&mut self, rank: Rank, inc: u64) {
        self.peers[rank] = Peer { inc, ..Peer::default() };
    }

    /// Ends the view, if there is one, and begins the next.
    pub(super) fn install(&mut self, next: &Arc<Next>) {
        let (mut unsaid, mut old) = (Vec::new(), Vec::new());
        if let Some(view) = self.view.take() {
            old.clone_from(&view.members);
            self.clock = view.order.clock();
            let (group, number, members) = (view.group, view.number, view.members);
            let (deliveries, again) = view.order.finish(next);
            unsaid = again;
            // For the ids of those members.
            self.view = Some(View::new(group, number, members, Order::new(self.me, self.bug, next, 0)));
            self.tell(deliveries);
        }
        if !next.members.contains(&Member { rank: self.me, inc: self.inc }) {
            return self.leave(Line::Evicted { view: next.number });
        }
        self.founding = None;
        for rank in 0..self.ids.len() {
            match next.members.iter().find(|member| member.rank == rank) {
                Some(member) if member.inc > self.peers[rank].inc => self.restarted(rank, member.inc),
                None if old.contains(&Member { rank, inc: self.peers[rank].inc }) => {
                    self.peers[rank].channel.abandon();
                }
                _ => {}
            }
            self.peers[rank].with_us_at = self.now;
        }
        let members = next.members.clone();
        let names: Vec<&str> = members.iter().map(|member| &*self.ids[member.rank]).collect();
        let (group, number, position, members) = (next.group, next.number, next.position, names.join(","));
        self.told.push(Line::View { group, number, position, members });
        let order = Order::new(self.me, self.bug, next, self.clock);
        self.view = Some(View::new(group, number, next.members.clone(), order));
        // Before anything else of that view: whoever hears of it knows how it began.
        self.send_all(Message::Decide { next: Arc::clone(next) });
        for (line, text) in unsaid {
            self.unsaid.insert((0, line), (line, text));
        }
    }

    /// Ends this life, for a reason that the user is told. The next one may be let in.
    pub(super) fn leave(&mut self, why: Line) {
        self.told.push(why);
        if let Some(view) = self.view.take() {
            self.clock = view.order.clock();
        }
        self.reincarnate(self.inc + 1);
    }

    /// Begins another life.
    pub(super) fn reincarnate(&mut self, inc: u64) {
        self.inc = inc;
        self.lines = 0;
        self.unsaid.clear();
        self.own.clear();
        self.founding = None;
        for peer in &mut self.peers {
            peer.channel = Channel::default();
            peer.once.clear();
        }
    }
}
