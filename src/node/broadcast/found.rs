//! The first view: all processes of the table, once each of them hears all others.
//!
//! The first of them asks all; when all have agreed to the same incarnations the view begins. A process agrees only
//! while it is in no view, so there is no second first view while anyone is in one, and a process that was
//! started anew has to be let in by those who are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::core::Core;
use super::message::{Member, Message, Next, Rank};

/// Who leads the founding.
const FOUNDER: Rank = 0;

/// The founder's question.
#[derive(Debug)]
pub(super) struct Founding {
    members: Vec<Member>,
    agreed: BTreeSet<Rank>,
}

impl Core {
    /// Asks, when all hear all and nobody is in a view.
    pub(super) fn tick_founding(&mut self) {
        if self.view.is_some() || self.me != FOUNDER {
            return;
        }
        let ranks = 0..self.ids.len();
        let is_new =
            |rank: Rank| rank == self.me || self.status_of(rank).is_some_and(|status| status.view == 0);
        if !ranks.clone().all(is_new)
            || !ranks.clone().all(|one| ranks.clone().all(|other| self.is_heard(one, other)))
        {
            return;
        }
        let members: Vec<Member> = ranks.map(|rank| Member { rank, inc: self.inc_of(rank) }).collect();
        if self.founding.as_ref().is_some_and(|founding| founding.members == members) {
            return;
        }
        self.founding = Some(Founding { members: members.clone(), agreed: BTreeSet::from([self.me]) });
        for rank in 1..self.ids.len() {
            self.send(rank, Message::Found { members: members.clone() });
        }
        self.try_to_begin();
    }

    /// The founder asks.
    pub(super) fn found(&mut self, rank: Rank, members: &[Member]) {
        let is_known = |member: &Member| member.inc >= self.inc_of(member.rank);
        let me = Member { rank: self.me, inc: self.inc };
        if self.view.is_none() && rank == FOUNDER && members.contains(&me) && members.iter().all(is_known) {
            self.send(rank, Message::Founded { members: members.to_vec() });
        }
    }

    /// One agrees.
    pub(super) fn founded(&mut self, rank: Rank, members: &[Member]) {
        if let Some(founding) = self.founding.as_mut().filter(|founding| founding.members == members) {
            founding.agreed.insert(rank);
            self.try_to_begin();
        }
    }

    fn try_to_begin(&mut self) {
        let Some(founding) = &self.founding else { return };
        if self.view.is_some() || founding.agreed.len() < self.ids.len() {
            return;
        }
        let next = Next {
            group: self.inc,
            number: 1,
            members: founding.members.clone(),
            flush: Vec::new(),
            cut: vec![0; self.ids.len()],
            position: 0,
            clock: 0,
        };
        self.install(&Arc::new(next));
    }
}
