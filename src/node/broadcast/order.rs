//! ISIS within one view: who proposed what, what is agreed, what is held back, and what may be delivered.
//!
//! Knows nothing of networks and nothing of time. `super` argues why the order is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bug::Bug;
use super::message::{Entry, Next, Rank, Report};

/// A message that is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which one it is in the total order, from 1.
    pub position: u64,
    /// Its sender.
    pub rank: Rank,
    /// Which line of its sender.
    pub line: u64,
    /// What the user said.
    pub text: Arc<str>,
}

/// What an entry is ordered by: timestamp, then sender, and last which of its messages. Of one sender's messages no two have
/// the same timestamp.
type Key = (u64, u64, Rank, u64);

#[derive(Debug)]
struct Known {
    entry: Entry,
    /// How many messages came before it.
    arrival: u64,
    /// When it came, ms.
    at: u64,
}

/// The order of one process's view.
#[derive(Debug)]
pub struct Order {
    me: Rank,
    bug: Option<Bug>,
    /// For each rank whether it is a member.
    is_member: Vec<bool>,
    /// Lamport's clock.
    clock: u64,
    /// All messages that a member may still need, by sender and number.
    known: BTreeMap<(Rank, u64), Known>,
    /// Those that are not delivered.
    held_back: BTreeSet<Key>,
    arrivals: u64,
    /// How often messages came again, under `duplicates-on-retry`.
    again: BTreeMap<(Rank, u64), u64>,
    /// By rank: messages that have arrived.
    accepted: Vec<u64>,
    /// By rank: messages that have been delivered.
    delivered: Vec<u64>,
    /// By member, then by sender: agreed messages that the member has.
    held: Vec<Vec<u64>>,
    /// What was proposed, by rank, for each of this process's messages that is not agreed.
    proposals: BTreeMap<u64, Vec<Option<u64>>>,
    position: u64,
}

impl Order {
    /// The order of the view that `next` begins.
    pub fn new(me: Rank, bug: Option<Bug>, next: &Next, clock: u64) -> Self {
        let ranks = next.cut.len();
        let mut is_member = vec![false; ranks];
        next.members.iter().for_each(|member| is_member[member.rank] = true);
        Order {
            me,
            bug,
            is_member,
            clock: clock.max(next.clock),
            known: BTreeMap::new(),
            held_back: BTreeSet::new(),
            arrivals: 0,
            again: BTreeMap::new(),
            accepted: next.cut.clone(),
            delivered: next.cut.clone(),
            held: vec![next.cut.clone(); ranks],
            proposals: BTreeMap::new(),
            position: next.position,
        }
    }

    /// This process's clock.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// By rank, the agreed messages this process has.
    pub fn held(&self) -> &[u64] {
        &self.held[self.me]
    }

    /// How many of this process's messages are not known to be everywhere.
    pub fn outstanding(&self) -> u64 {
        self.accepted[self.me] - self.held_by_all(self.me)
    }

    /// Takes in a message of this process's own: its number and the timestamp it proposes for it itself.
    pub fn say(&mut self, now: u64, line: u64, text: Arc<str>) -> (u64, u64) {
        let n = self.accepted[self.me] + 1;
        let ts = self.accept(now, self.me, n, line, text);
        let mut proposals = vec![None; self.is_member.len()];
        proposals[self.me] = Some(ts);
        self.proposals.insert(n, proposals);
        (n, ts)
    }

    /// Takes in another's message, for which its sender proposes a timestamp: what this process proposes.
    pub fn hear(&mut self, now: u64, rank: Rank, message: (u64, u64, u64), text: &Arc<str>) -> Option<u64> {
        let (n, line, ts) = message;
        // Channels keep the order; whatever else comes is not from a correct process.
        if n != self.accepted[rank] + 1 {
            return None;
        }
        self.clock = self.clock.max(ts);
        Some(self.accept(now, rank, n, line, Arc::clone(text)))
    }

    fn accept(&mut self, at: u64, rank: Rank, n: u64, line: u64, text: Arc<str>) -> u64 {
        self.accepted[rank] = n;
        self.clock += 1;
        self.arrivals += 1;
        let entry = Entry { rank, n, line, ts: self.clock, agreed: false, text };
        let known = Known { entry, arrival: self.arrivals, at };
        self.held_back.insert(self.key(&known));
        self.known.insert((rank, n), known);
        self.clock
    }

    /// A member proposes `ts` for this process's message `n`.
    pub fn propose(&mut self, rank: Rank, n: u64, ts: u64) {
        self.clock = self.clock.max(ts);
        if let Some(proposals) = self.proposals.get_mut(&n) {
            proposals[rank] = Some(ts);
        }
    }

    /// This process's messages for which all members have proposed, with the timestamps that are thereby agreed. What came
    /// before `impatient` waits for nobody.
    pub fn agree(&mut self, impatient: u64) -> Vec<(u64, u64)> {
        let mut agreed = Vec::new();
        while let Some(first) = self.proposals.first_entry() {
            let mut proposals = first.get().iter().zip(&self.is_member);
            let is_missing = proposals.any(|(ts, is_member)| *is_member && ts.is_none());
            let came_at = self.known.get(&(self.me, *first.key())).map(|known| known.at);
            if is_missing && came_at.is_none_or(|at| at >= impatient) {
                break;
            }
            let (n, proposals) = first.remove_entry();
            let proposals = proposals.into_iter().flatten();
            let ts = if self.bug == Some(Bug::MinProposal) { proposals.min() } else { proposals.max() };
            // Its own is always there.
            let ts = ts.unwrap_or(0);
            agreed.push((n, ts));
            self.settle(self.me, n, ts);
        }
        agreed
    }

    /// The timestamp of a message is agreed.
    pub fn settle(&mut self, rank: Rank, n: u64, ts: u64) {
        self.clock = self.clock.max(ts);
        let Some(mut known) = self.known.remove(&(rank, n)) else { return };
        if self.held_back.remove(&self.key(&known)) {
            known.entry.ts = ts;
            self.held_back.insert(self.key(&known));
        }
        known.entry.ts = ts;
        known.entry.agreed = true;
        self.known.insert((rank, n), known);
        let held = &mut self.held[self.me][rank];
        while self.known.get(&(rank, *held + 1)).is_some_and(|known| known.entry.agreed) {
            *held += 1;
        }
    }

    /// A member says what it holds.
    pub fn note_held(&mut self, rank: Rank, counts: &[u64]) {
        for (held, told) in self.held[rank].iter_mut().zip(counts) {
            *held = (*held).max(*told);
        }
    }

    /// Another copy of a message came that had come before.
    pub fn hear_again(&mut self, rank: Rank, n: u64, line: u64, text: &Arc<str>) -> Option<Delivery> {
        if n > self.delivered[rank] {
            *self.again.entry((rank, n)).or_insert(0) += 1;
            return None;
        }
        self.position += 1;
        Some(Delivery { position: self.position, rank, line, text: Arc::clone(text) })
    }

    /// Delivers what is agreed, has no smaller timestamp before it, and is held so by a majority: no next view will
    /// know better. What came before `impatient` waits for no majority, and nothing waits for it.
    pub fn deliver(&mut self, impatient: u64) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while let Some(key) = self.deliverable(impatient) {
            self.held_back.remove(&key);
            let (_, _, rank, n) = key;
            self.delivered[rank] = n;
            let Some(known) = self.known.get(&(rank, n)) else { continue };
            let copies = 1 + self.again.remove(&(rank, n)).unwrap_or(0);
            for _ in 0..copies {
                self.position += 1;
                let Entry { line, text, .. } = &known.entry;
                deliveries.push(Delivery {
                    position: self.position,
                    rank,
                    line: *line,
                    text: Arc::clone(text),
                });
            }
        }
        self.forget();
        deliveries
    }

    fn deliverable(&self, impatient: u64) -> Option<Key> {
        let ready = |key: &&Key| {
            let (_, _, rank, n) = **key;
            let known = self.known.get(&(rank, n)).filter(|known| known.entry.agreed);
            known.is_some_and(|known| known.at < impatient || self.is_held_by_majority(rank, n))
        };
        let is_overdue = |key: &Key| {
            let known = self.known.get(&(key.2, key.3));
            known.is_some_and(|known| !known.entry.agreed && known.at < impatient)
        };
        match self.bug {
            Some(Bug::DeliverOnArrival) => self.held_back.first().copied(),
            Some(Bug::NotCausal) => {
                let is_next = |key: &&Key| key.3 == self.delivered[key.2] + 1;
                self.held_back.iter().filter(is_next).find(ready).copied()
            }
            _ => self.held_back.iter().find(|key| !is_overdue(key)).filter(ready).copied(),
        }
    }

    fn is_held_by_majority(&self, rank: Rank, n: u64) -> bool {
        let members = || self.held.iter().zip(&self.is_member).filter(|(_, is_member)| **is_member);
        let holders = members().filter(|(held, _)| held[rank] >= n).count();
        holders * 2 > members().count()
    }

    fn held_by_all(&self, rank: Rank) -> u64 {
        let members = self.held.iter().zip(&self.is_member).filter(|(_, is_member)| **is_member);
        // This process is one of the members.
        members.map(|(held, _)| held[rank]).min().unwrap_or(0)
    }

    /// Forgets what is delivered here and agreed everywhere: whoever takes part in the next agreement has it.
    fn forget(&mut self) {
        for rank in 0..self.is_member.len() {
            let last = self.held_by_all(rank).min(self.delivered[rank]);
            while let Some((&(of, n), _)) = self.known.range((rank, 0)..).next()
                && of == rank
                && n <= last
            {
                self.known.remove(&(of, n));
            }
        }
    }

    fn key(&self, known: &Known) -> Key {
        let Known { entry, arrival, .. } = known;
        let ts = if self.bug == Some(Bug::DeliverOnArrival) { *arrival } else { entry.ts };
        let tie = if self.bug == Some(Bug::NoSenderTieBreak) { *arrival } else { entry.rank as u64 };
        (ts, tie, entry.rank, entry.n)
    }

    /// What this process knows, for those who agree on the next view.
    pub fn report(&self) -> Report {
        Report {
            entries: self.known.values().map(|known| known.entry.clone()).collect(),
            delivered: self.delivered.clone(),
            position: self.position,
            clock: self.clock,
        }
    }

    /// Ends the view as `next` has it: what is delivered last, and the lines of this process that nobody in the agreement
    /// knew, which may be said again in the next view.
    pub fn finish(mut self, next: &Next) -> (Vec<Delivery>, Vec<(u64, Arc<str>)>) {
        // What is agreed and not in `flush` was forgotten by all whose reports made it: delivered there, and agreed
        // everywhere. It keeps its place.
        let mut last: BTreeMap<(u64, Rank), &Entry> = BTreeMap::new();
        let agreed = self.known.values().map(|known| &known.entry).filter(|entry| entry.agreed);
        let in_flush: BTreeSet<(Rank, u64)> = next.flush.iter().map(|entry| (entry.rank, entry.n)).collect();
        let others = agreed.filter(|entry| !in_flush.contains(&(entry.rank, entry.n)));
        for entry in next.flush.iter().chain(others) {
            last.insert((entry.ts, entry.rank), entry);
        }
        let mut deliveries = Vec::new();
        for entry in last.into_values() {
            let Some(delivered) = self.delivered.get_mut(entry.rank) else { continue };
            if entry.n > *delivered {
                *delivered = entry.n;
                self.position += 1;
                let (position, text) = (self.position, Arc::clone(&entry.text));
                deliveries.push(Delivery { position, rank: entry.rank, line: entry.line, text });
            }
        }
        let mine = self.known.range((self.me, self.delivered[self.me] + 1)..);
        let unsaid = mine
            .take_while(|((rank, _), _)| *rank == self.me)
            .map(|(_, known)| (known.entry.line, Arc::clone(&known.entry.text)))
            .collect();
        (deliveries, unsaid)
    }
}
