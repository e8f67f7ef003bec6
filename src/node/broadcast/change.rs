//! From one view to the next, by agreement among a majority of its members.
//!
//! Single-decree Paxos (Lamport, "The Part-Time Parliament", 1998), once a view: the members are the acceptors, the value is
//! the next view together with what the old one still has to deliver. A promise also gives up the old view: who made it
//! proposes, agrees, holds and delivers nothing more in it. So what a promise reports is all that its maker will ever
//! have done there.
//!
//! Time says only when to try. Whoever tries may be wrong about who is silent; it can remove nobody without a majority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::core::{Core, Line, View};
use super::message::{Ballot, Entry, Member, Message, Next, Rank, Report, Status};

/// So much later than the member before it each one tries, ms.
const TURN_MS: u64 = 250;
/// How long an attempt may take before another one is made, ms; doubled with each.
const ATTEMPT_MS: u64 = 1000;
/// How often it is doubled at most.
const MAX_DOUBLINGS: u64 = 4;

/// How far a view is from its end.
#[derive(Debug, Default)]
pub(super) struct Change {
    promised: Ballot,
    accepted: Option<(Ballot, Arc<Next>)>,
    /// What this member itself tries.
    attempt: Option<Attempt>,
    /// The latest attempt it knows of.
    latest: Ballot,
    /// When the last attempt was promised, ms.
    promised_at: u64,
    /// Since when there has been a reason to change the view, ms.
    wanted_since: Option<u64>,
}

impl Change {
    /// Whether this member has given up the view.
    pub fn is_under_way(&self) -> bool {
        self.promised > (0, 0)
    }
}

#[derive(Debug)]
struct Attempt {
    ballot: Ballot,
    reports: BTreeMap<Rank, Report>,
    /// The latest outcome that one of them had accepted.
    accepted: Option<(Ballot, Arc<Next>)>,
    /// The outcome that is asked for.
    next: Option<Arc<Next>>,
    accepted_by: BTreeSet<Rank>,
}

impl Core {
    /// The latest incarnation of a process.
    pub(super) fn inc_of(&self, rank: Rank) -> u64 {
        if rank == self.me { self.inc } else { self.peers[rank].inc }
    }

    /// What a peer that is heard told last.
    pub(super) fn status_of(&self, rank: Rank) -> Option<&Status> {
        self.peers[rank].status.as_ref().filter(|_| self.hears(rank))
    }

    /// Whether `one` hears `other`, as far as this process knows.
    pub(super) fn is_heard(&self, one: Rank, other: Rank) -> bool {
        let inc = self.inc_of(other);
        match one {
            _ if one == other => true,
            _ if one == self.me => self.hears(other),
            _ => inc > 0 && self.status_of(one).is_some_and(|status| status.hears[other] == inc),
        }
    }

    /// Whether a member is certainly gone, or has been silent, deaf or left behind for too long.
    fn is_suspect(&self, member: Member) -> bool {
        let Some(peer) = self.peers.get(member.rank).filter(|_| member.rank != self.me) else { return false };
        let silent_ms = self.now.saturating_sub(peer.with_us_at);
        self.is_dead(&member) || self.evict_after_ms > 0 && silent_ms > self.evict_after_ms
    }

    /// Whether a member died for certain: a later life of it was seen.
    fn is_dead(&self, member: &Member) -> bool {
        member.rank != self.me && self.inc_of(member.rank) > member.inc
    }

    /// Whether these are enough to agree for all: more than half of the members; or half, the first of them among those, when
    /// the others have died for certain. Any two such sets have a member in common, and each has one in common with
    /// every majority. (The second rule is that of Jajodia and Mutchler, "Dynamic voting algorithms for maintaining the
    /// consistency of a replicated database", 1990; they do without the deaths.)
    fn is_quorum(&self, ranks: impl Iterator<Item = Rank> + Clone) -> bool {
        let Some(view) = &self.view else { return false };
        let (members, count) = (view.members.len(), ranks.clone().count());
        let mut ranks = ranks;
        let has_first = view.members.first().is_some_and(|first| ranks.any(|rank| rank == first.rank));
        let dead = view.members.iter().filter(|member| self.is_dead(member)).count();
        count * 2 > members || count * 2 == members && dead * 2 == members && has_first
    }

    /// Whether so many members died for certain that no quorum is left.
    fn is_lost(&self) -> bool {
        let members = self.view.iter().flat_map(|view| &view.members);
        let living = members.filter(|member| !self.is_dead(member)).map(|member| member.rank);
        self.view.is_some() && !self.is_quorum(living)
    }

    /// The members that are not suspect.
    fn alive(&self) -> Vec<Member> {
        let members = self.view.iter().flat_map(|view| &view.members);
        members.copied().filter(|member| !self.is_suspect(*member)).collect()
    }

    /// Processes that want in and whom all of `alive` hear, and they them: or they would soon be out again.
    fn joiners(&self, alive: &[Member]) -> Vec<Member> {
        let wants_in = |rank: &Rank| {
            let is_outside = self.status_of(*rank).is_some_and(|status| status.view == 0);
            let is_in = alive.iter().any(|member| member.rank == *rank);
            let hear =
                |member: &Member| self.is_heard(member.rank, *rank) && self.is_heard(*rank, member.rank);
            is_outside && !is_in && alive.iter().all(hear)
        };
        let others = (0..self.ids.len()).filter(|rank| *rank != self.me);
        others.filter(wants_in).map(|rank| Member { rank, inc: self.peers[rank].inc }).collect()
    }

    /// Tries to change the view when there is a reason, a majority to do it with, and no better one to try.
    pub(super) fn tick_change(&mut self) {
        let alive = self.alive();
        let can_agree = self.is_quorum(alive.iter().map(|member| member.rank));
        let has_joiners = !self.joiners(&alive).is_empty();
        let (now, is_lost) = (self.now, self.is_lost());
        if let Some(view) = self.view.as_ref().filter(|_| is_lost) {
            return self.leave(Line::Dissolved { view: view.number });
        }
        let Some(view) = &mut self.view else { return };
        let change = &mut view.change;
        if alive.len() == view.members.len() && !has_joiners && !change.is_under_way() {
            change.wanted_since = None;
            return;
        }
        let since = *change.wanted_since.get_or_insert(now);
        let turn = alive.iter().position(|member| member.rank == self.me).unwrap_or(0) as u64;
        let attempt_ms = ATTEMPT_MS << change.latest.0.min(MAX_DOUBLINGS);
        let after = if change.is_under_way() { change.promised_at + attempt_ms } else { since };
        if !can_agree || now < after + turn * TURN_MS {
            return;
        }
        let ballot = (change.latest.0 + 1, self.me);
        change.attempt = Some(Attempt {
            ballot,
            reports: BTreeMap::new(),
            accepted: None,
            next: None,
            accepted_by: BTreeSet::new(),
        });
        let view = view.number;
        self.send_all(Message::Prepare { view, ballot });
        self.send(self.me, Message::Prepare { view, ballot });
    }

    /// A message of the agreement on the next view.
    pub(super) fn handle_change(&mut self, rank: Rank, message: &Message) {
        let now = self.now;
        let Some(view) = self.view.as_mut().filter(|view| message.view() == Some(view.number)) else {
            return;
        };
        let (number, change) = (view.number, &mut view.change);
        match message {
            Message::Prepare { ballot, .. } | Message::Accept { ballot, .. } if *ballot < change.promised => {
                let promised = change.promised;
                self.send(rank, Message::Refused { view: number, promised });
            }
            Message::Prepare { ballot, .. } => {
                change.promise(*ballot, now);
                let (accepted, report) = (change.accepted.clone(), view.order.report());
                self.send(rank, Message::Promise { view: number, ballot: *ballot, accepted, report });
            }
            Message::Promise { ballot, accepted, report, .. } => {
                let attempt = change.attempt.as_mut().filter(|attempt| attempt.ballot == *ballot);
                let Some(attempt) = attempt.filter(|attempt| attempt.next.is_none()) else { return };
                attempt.reports.insert(rank, report.clone());
                let latest = |value: &Option<(Ballot, Arc<Next>)>| value.as_ref().map(|(ballot, _)| *ballot);
                if latest(accepted) > latest(&attempt.accepted) {
                    attempt.accepted.clone_from(accepted);
                }
                self.ask_to_accept(number);
            }
            Message::Accept { ballot, next, .. } => {
                change.promise(*ballot, now);
                change.accepted = Some((*ballot, Arc::clone(next)));
                self.send(rank, Message::Accepted { view: number, ballot: *ballot });
            }
            Message::Accepted { ballot, .. } => {
                let Some(attempt) = change.attempt.as_mut().filter(|attempt| attempt.ballot == *ballot)
                else {
                    return;
                };
                attempt.accepted_by.insert(rank);
                let (next, accepted_by) = (attempt.next.clone(), attempt.accepted_by.clone());
                if let Some(next) = next.filter(|_| self.is_quorum(accepted_by.iter().copied())) {
                    self.install(&next);
                }
            }
            Message::Refused { promised, .. } => change.latest = change.latest.max(*promised),
            _ => {}
        }
    }

    /// The outcome of an agreement, heard from one who has it from a majority.
    pub(super) fn decided(&mut self, next: &Arc<Next>) {
        let me = Member { rank: self.me, inc: self.inc };
        let follows = match &self.view {
            Some(view) => next.number == view.number + 1,
            None => next.members.contains(&me),
        };
        if follows {
            self.install(next);
        }
    }

    /// Asks for an outcome, once there are promises enough.
    fn ask_to_accept(&mut self, number: u64) {
        let attempt = self.view.as_ref().and_then(|view| view.change.attempt.as_ref());
        if !attempt.is_some_and(|attempt| self.is_quorum(attempt.reports.keys().copied())) {
            return;
        }
        let alive = self.alive();
        let members = [alive.clone(), self.joiners(&alive)].concat();
        let Some(mut attempt) = self.view.as_mut().and_then(|view| view.change.attempt.take()) else {
            return;
        };
        let Some(view) = &mut self.view else { return };
        let next = match &attempt.accepted {
            Some((_, next)) => Arc::clone(next),
            None => Arc::new(outcome(view, members, attempt.reports.values())),
        };
        attempt.next = Some(Arc::clone(&next));
        let message = |next| Message::Accept { view: number, ballot: attempt.ballot, next };
        let (to_others, to_me) = (message(Arc::clone(&next)), message(next));
        view.change.attempt = Some(attempt);
        self.send_all(to_others);
        self.send(self.me, to_me);
    }
}

impl Change {
    fn promise(&mut self, ballot: Ballot, now: u64) {
        self.promised = ballot;
        self.latest = self.latest.max(ballot);
        self.promised_at = now;
    }
}

/// The next view and what the old one has to deliver, from the reports of a majority.
///
/// An agreed timestamp that anybody reports stands. A message without one has been delivered by nobody, and nobody will
/// deliver it under another timestamp than the one it gets here, after all others.
fn outcome<'a>(
    old: &View,
    mut members: Vec<Member>,
    reports: impl Iterator<Item = &'a Report> + Clone,
) -> Next {
    members.sort_by_key(|member| member.rank);
    let mut known: BTreeMap<(Rank, u64), Entry> = BTreeMap::new();
    for entry in reports.clone().flat_map(|report| &report.entries) {
        let best = known.entry((entry.rank, entry.n)).or_insert_with(|| entry.clone());
        if entry.agreed && !best.agreed {
            *best = entry.clone();
        }
    }
    let agreed = known.values().filter(|entry| entry.agreed).map(|entry| entry.ts);
    let mut clock = reports.clone().map(|report| report.clock).chain(agreed).max().unwrap_or(0);
    // By sender and number: a sender's messages stay in its order.
    for entry in known.values_mut().filter(|entry| !entry.agreed) {
        clock += 1;
        (entry.ts, entry.agreed) = (clock, true);
    }
    let delivered = |rank: Rank| reports.clone().map(|report| report.delivered[rank]).max().unwrap_or(0);
    let last = |rank: Rank| known.range((rank, 0)..=(rank, u64::MAX)).next_back().map_or(0, |((_, n), _)| *n);
    let ranks = reports.clone().map(|report| report.delivered.len()).max().unwrap_or(0);
    let stays = |rank: Rank| members.iter().any(|member| member.rank == rank && old.members.contains(member));
    let cut = (0..ranks).map(|rank| if stays(rank) { delivered(rank).max(last(rank)) } else { 0 }).collect();
    // Every report gives the same sum: what is not in the reports any more was delivered by all who made them.
    let end = |report: &Report| {
        let left = known.values().filter(|entry| entry.n > report.delivered[entry.rank]).count();
        report.position + left as u64
    };
    let position = reports.clone().map(end).max().unwrap_or(0);
    let mut flush: Vec<Entry> = known.into_values().collect();
    flush.sort_by_key(|entry| (entry.ts, entry.rank));
    Next { group: old.group, number: old.number + 1, members, flush, cut, position, clock }
}

#[cfg(test)]
mod tests {
    use super::super::core::Settings;
    use super::*;

    fn member(rank: Rank) -> Member {
        Member { rank, inc: 10 }
    }

    /// The process with rank 0 in a first view of `n`, of whom `dead` have a later life.
    fn core(n: usize, dead: &[Rank]) -> Core {
        let ids = (0..n).map(|rank| format!("p{rank}").into()).collect();
        let mut core = Core::new(Settings { ids, me: 0, inc: 10, evict_after_ms: 0, bug: None }, 0);
        let (members, cut) = ((0..n).map(member).collect(), vec![0; n]);
        let next = Next { group: 10, number: 1, members, flush: Vec::new(), cut, position: 0, clock: 0 };
        core.install(&Arc::new(next));
        dead.iter().for_each(|rank| core.restarted(*rank, 11));
        core
    }

    #[test]
    fn any_two_quorums_meet_whoever_is_known_to_be_dead() {
        for n in 1..=6 {
            let sets = |bits: usize| (0..n).filter(|rank| bits >> rank & 1 == 1).collect::<Vec<_>>();
            let mut quorums = Vec::new();
            for dead in (0..1 << n).filter(|bits| bits & 1 == 0) {
                let core = core(n, &sets(dead));
                let is_quorum = |bits: &usize| core.is_quorum(sets(*bits).into_iter());
                quorums.extend((0..1 << n).filter(is_quorum));
                let living = !dead & ((1 << n) - 1);
                assert_eq!(core.is_lost(), !is_quorum(&living), "{n}: {dead:b}");
                assert!(living.count_ones() as usize * 2 < n || !core.is_lost(), "the first one lives");
            }
            for one in &quorums {
                for other in 0..1_usize << n {
                    let is_other = quorums.contains(&other) || other.count_ones() as usize * 2 > n;
                    assert!(!is_other || one & other != 0, "{n}: {one:b} and {other:b}");
                }
            }
        }
    }

    fn entry(rank: Rank, n: u64, ts: u64, agreed: bool) -> Entry {
        Entry { rank, n, line: n, ts, agreed, text: "x".into() }
    }

    #[test]
    fn the_outcome_keeps_what_was_agreed_and_orders_the_rest_after_it() {
        let core = core(3, &[]);
        // 0 has delivered 1:1, and lacks what 2 has said last; 1 knows on what was agreed for 2:1.
        let zero = Report {
            entries: vec![entry(1, 1, 4, true), entry(2, 1, 5, false), entry(0, 1, 6, false)],
            delivered: vec![0, 1, 0],
            position: 1,
            clock: 7,
        };
        let one = Report {
            entries: vec![entry(1, 1, 4, true), entry(2, 1, 9, true), entry(2, 2, 3, false)],
            delivered: vec![0, 0, 0],
            position: 0,
            clock: 9,
        };
        let new = Member { rank: 2, inc: 11 };
        let next = outcome(core.view.as_ref().unwrap(), vec![new, member(0)], [zero, one].iter());
        let flush =
            [entry(1, 1, 4, true), entry(2, 1, 9, true), entry(0, 1, 10, true), entry(2, 2, 11, true)];
        let expected = Next {
            group: 10,
            number: 2,
            members: vec![member(0), new],
            flush: flush.to_vec(),
            cut: vec![1, 0, 0],
            position: 4,
            clock: 11,
        };
        assert_eq!(next, expected);
    }
}
