//! The nodes of the model.

use std::collections::BTreeSet;

use super::{Answer, Bug, Call, Entry, Event, Job, MS, Msg, Node, Role, Sim};

const DEADLINE: u64 = 800 * MS;
const BILLION: u64 = 1_000_000_000;

impl Sim {
    fn peers(&self, node: usize) -> Vec<usize> {
        (0..self.config.nodes).filter(|peer| *peer != node).collect()
    }

    fn tell_all(&mut self, node: usize, msg: &Msg) {
        for peer in self.peers(node) {
            self.send(node, peer, msg.clone());
        }
    }

    pub(super) fn tick(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let next = self.some(40 * MS, 60 * MS);
        self.at(next, Event::Tick(node, life));
        if self.rng.below(4) == 0 {
            let peers = self.peers(node);
            let peer = *self.rng.pick(&peers).unwrap();
            self.send(node, peer, Msg::Pull);
        }
        if self.nodes[node].role == Role::Leader {
            let term = self.nodes[node].term;
            self.tell_all(node, &Msg::Beat { term });
            self.note_silence(node);
            return;
        }
        if self.now - self.nodes[node].heard < self.nodes[node].patience || self.has(Bug::UrlSortsFirst) {
            return;
        }
        let patience = self.rng.between(300 * MS, 600 * MS);
        let now = self.now;
        let place = &mut self.nodes[node];
        (place.heard, place.patience) = (now, patience);
        place.term += 1;
        (place.role, place.leader, place.voted) = (Role::Candidate, None, Some(node));
        place.votes = BTreeSet::from([node]);
        let term = place.term;
        self.tell_all(node, &Msg::Vote { term });
        if self.has(Bug::TwoLeaders) {
            // Whoever is not answered by a lower one leads.
            self.win(node);
        } else if self.majority() == 1 {
            self.win(node);
        }
    }

    /// A leader that hears too few remembers what it had.
    fn note_silence(&mut self, node: usize) {
        let now = self.now;
        let place = &self.nodes[node];
        let silent = self.peers(node).iter().filter(|peer| now - place.answered[**peer] > 400 * MS).count();
        if silent >= self.majority() && self.nodes[node].lost_touch.is_none() {
            self.nodes[node].lost_touch = Some(self.nodes[node].store.clone());
        }
    }

    fn win(&mut self, node: usize) {
        let now = self.now;
        let alone = self.majority() == 1 || self.has(Bug::TwoLeaders);
        let place = &mut self.nodes[node];
        (place.role, place.leader, place.ready, place.seq) = (Role::Leader, Some(node), alone, 0);
        place.synced = BTreeSet::from([node]);
        place.answered = vec![now; place.answered.len()];
        place.lost_touch = None;
        let term = place.term;
        self.tell_all(node, &Msg::Beat { term });
        self.tell_all(node, &Msg::Pull);
    }

    /// A message of `term`: whether it is of an older one.
    fn see_term(&mut self, node: usize, term: u64) -> bool {
        if self.has(Bug::NoTermCheck) {
            let place = &mut self.nodes[node];
            if place.role != Role::Leader && term > place.term {
                (place.term, place.voted) = (term, None);
            }
            return false;
        }
        let place = &mut self.nodes[node];
        if term > place.term {
            (place.term, place.voted) = (term, None);
            if place.role == Role::Leader && self.config.bug == Some(Bug::OverwritesOnHeal) {
                self.overwrite(node);
            }
            let place = &mut self.nodes[node];
            (place.role, place.leader, place.ready) = (Role::Follower, None, false);
            self.fail_writes(node);
        }
        term < self.nodes[node].term
    }

    /// What it had when it lost touch, as if it were news.
    fn overwrite(&mut self, node: usize) {
        let Some(old) = self.nodes[node].lost_touch.take() else { return };
        let term = self.nodes[node].term;
        for (key, (value, _)) in old {
            let entry = (value, (term + 1) * BILLION + key as u64);
            self.apply(node, key, entry);
            for peer in self.peers(node) {
                self.send(node, peer, Msg::Repair { key, entry, job: u64::MAX });
            }
        }
    }

    fn apply(&mut self, node: usize, key: usize, entry: Entry) {
        let newer = self.nodes[node].store.get(&key).is_none_or(|(_, version)| *version < entry.1);
        if newer || self.has(Bug::NoVersions) {
            self.nodes[node].store.insert(key, entry);
        }
    }

    pub(super) fn receive(&mut self, from: usize, node: usize, msg: Msg) {
        let now = self.now;
        self.nodes[node].answered[from] = now;
        match msg {
            Msg::Vote { term } => {
                self.see_term(node, term);
                let lowest = !self.has(Bug::TwoLeaders) || from < node;
                let place = &mut self.nodes[node];
                let granted = lowest && term == place.term && place.voted.is_none_or(|voted| voted == from);
                if granted {
                    (place.voted, place.heard) = (Some(from), now);
                }
                let term = place.term;
                self.send(node, from, Msg::Voted { term, granted });
            }
            Msg::Voted { term, granted } => {
                self.see_term(node, term);
                let majority = self.majority();
                let place = &mut self.nodes[node];
                if granted && place.role == Role::Candidate && place.term == term {
                    place.votes.insert(from);
                    if place.votes.len() >= majority {
                        self.win(node);
                    }
                }
            }
            Msg::Beat { term } => {
                let old = self.see_term(node, term);
                let own = self.nodes[node].role == Role::Leader;
                if !old && !own {
                    let place = &mut self.nodes[node];
                    (place.role, place.leader, place.heard) = (Role::Follower, Some(from), now);
                }
                let term = self.nodes[node].term;
                self.send(node, from, Msg::Beaten { term });
            }
            Msg::Beaten { term } => {
                self.see_term(node, term);
            }
            Msg::Store { term, key, entry, job } => {
                let old = self.see_term(node, term);
                if !old {
                    if self.nodes[node].role != Role::Leader {
                        let place = &mut self.nodes[node];
                        (place.role, place.leader, place.heard) = (Role::Follower, Some(from), now);
                    }
                    self.apply(node, key, entry);
                }
                let term = self.nodes[node].term;
                self.send(node, from, Msg::Stored { term, ok: !old, job });
            }
            Msg::Stored { term, ok, job } => {
                self.see_term(node, term);
                if let Some(Job::Write { holders, .. }) = self.nodes[node].jobs.get_mut(&job).filter(|_| ok) {
                    holders.insert(from);
                    self.look_at_write(node, job);
                }
            }
            Msg::Get { key, job } => {
                let entry = self.nodes[node].store.get(&key).copied();
                self.send(node, from, Msg::Got { entry, job });
            }
            Msg::Got { entry, job } => self.got(node, from, entry, job),
            Msg::Repair { key, entry, job } => {
                self.apply(node, key, entry);
                self.send(node, from, Msg::Repaired { job });
            }
            Msg::Repaired { job } => {
                if let Some(Job::Read { holders, .. }) = self.nodes[node].jobs.get_mut(&job) {
                    holders.insert(from);
                    self.look_at_read(node, job);
                }
            }
            Msg::Pull => {
                let (term, mut store) = (self.nodes[node].term, self.nodes[node].store.clone());
                // Nobody is told of deletes.
                store.retain(|_, entry| entry.0.is_some() || !self.has(Bug::DeleteNotReplicated));
                self.send(node, from, Msg::Pulled { term, store });
            }
            Msg::Pulled { term, store } => self.pulled(node, from, term, store),
        }
    }

    fn pulled(&mut self, node: usize, from: usize, term: u64, store: super::Store) {
        self.see_term(node, term);
        for (key, entry) in store {
            let newer = self.nodes[node].store.get(&key).is_none_or(|own| own.1 < entry.1);
            if newer {
                self.nodes[node].store.insert(key, entry);
            }
        }
        let majority = self.majority();
        let place = &mut self.nodes[node];
        if place.role == Role::Leader {
            place.synced.insert(from);
            place.ready |= place.synced.len() >= majority;
        }
    }

    // What clients ask.

    pub(super) fn arrive(&mut self, id: usize) {
        self.calls[id].arrived = true;
        let Call { node, f, key, value, least, .. } = self.calls[id].clone();
        match f {
            "status" => {
                let answer = Answer { role: Some(self.nodes[node].role), ..self.answer(node, "ok") };
                self.reply(id, answer);
            }
            "write" | "delete" => self.write(id, node, key, value),
            "eventual-read" => self.answer_local(id, node, key),
            "session-read" => {
                let own = self.nodes[node].store.get(&key).map_or(0, |entry| entry.1);
                if self.has(Bug::UnreadPending) || own >= least {
                    self.answer_local(id, node, key);
                } else {
                    self.read(id, node, key, least);
                }
            }
            _ if self.has(Bug::LocalStrongRead) => self.answer_local(id, node, key),
            _ => self.read(id, node, key, 0),
        }
    }

    fn answer(&self, node: usize, kind: &'static str) -> Answer {
        let Node { term, leader, .. } = self.nodes[node];
        let (value, version, achieved, acks, role) = (None, None, None, None, None);
        Answer { kind, value, version, achieved, acks, role, term: Some(term), leader }
    }

    fn reply(&mut self, call: usize, answer: Answer) {
        let life = self.nodes[self.calls[call].node].life;
        let way = self.some(0, 3 * MS);
        self.at(way, Event::Reply(call, life, answer));
    }

    fn answer_local(&mut self, call: usize, node: usize, key: usize) {
        let entry = self.nodes[node].store.get(&key).copied();
        self.answer_entry(call, node, entry);
    }

    fn answer_entry(&mut self, call: usize, node: usize, entry: Option<Entry>) {
        let value = entry.and_then(|entry| entry.0);
        let version = entry.map(|entry| entry.1);
        let answer = Answer { value, version, term: None, ..self.answer(node, "ok") };
        self.reply(call, answer);
    }

    fn hears_all(&self, node: usize) -> bool {
        self.peers(node).iter().all(|peer| self.now - self.nodes[node].answered[*peer] < 300 * MS)
    }

    fn write(&mut self, call: usize, node: usize, key: usize, value: Option<i64>) {
        let refuses = self.has(Bug::RefusesWithQuorum) && !self.hears_all(node);
        let place = &self.nodes[node];
        if place.role != Role::Leader || !place.ready || refuses {
            let answer = Answer { role: Some(place.role), ..self.answer(node, "fail") };
            return self.reply(call, answer);
        }
        let place = &mut self.nodes[node];
        place.seq += 1;
        let (term, version) = (place.term, place.term * BILLION + place.seq);
        let entry = (value, version);
        let met = Answer {
            value,
            version: Some(version),
            achieved: Some(true),
            acks: Some(self.config.write),
            ..self.answer(node, "ok")
        };
        if self.has(Bug::AckThenReplicate) {
            let (life, after) = (self.nodes[node].life, self.rng.between(50 * MS, 150 * MS));
            self.at(after, Event::Late { node, life, key, entry });
            return self.reply(call, met);
        }
        self.apply(node, key, entry);
        if self.has(Bug::DeleteNotReplicated) && value.is_none() {
            return self.reply(call, met);
        }
        let job = self.start(node, Job::Write { call, version, holders: BTreeSet::from([node]) });
        self.tell_all(node, &Msg::Store { term, key, entry, job });
        self.look_at_write(node, job);
    }

    fn start(&mut self, node: usize, job: Job) -> u64 {
        self.next_job += 1;
        let (id, life) = (self.next_job, self.nodes[node].life);
        self.nodes[node].jobs.insert(id, job);
        self.at(DEADLINE, Event::Deadline { node, life, job: id });
        id
    }

    pub(super) fn replicate_late(&mut self, node: usize, key: usize, entry: Entry) {
        self.apply(node, key, entry);
        let term = self.nodes[node].term;
        self.tell_all(node, &Msg::Store { term, key, entry, job: u64::MAX });
    }

    fn look_at_write(&mut self, node: usize, job: u64) {
        let Some(Job::Write { call, version, holders, .. }) = self.nodes[node].jobs.get(&job).cloned() else {
            return;
        };
        let extra = usize::from(self.has(Bug::CountsItselfTwice));
        let needed = if self.has(Bug::RefusesWithQuorum) {
            self.config.nodes
        } else {
            self.config.write.max(self.majority())
        };
        let still = self.nodes[node].role == Role::Leader && self.nodes[node].term == version / BILLION;
        if holders.len() + extra >= needed && still {
            self.nodes[node].jobs.remove(&job);
            self.end_write(call, node, version, holders.len() + extra, true);
        }
    }

    fn end_write(&mut self, call: usize, node: usize, version: u64, acks: usize, achieved: bool) {
        let claims = self.has(Bug::ClaimsQuorum);
        let acks = if claims { acks.max(self.config.write) } else { acks };
        let kind = if achieved || claims { "ok" } else { "info" };
        let value = self.calls[call].value;
        let achieved = Some(achieved || claims);
        let term = Some(version / BILLION);
        let answer = Answer {
            value,
            version: Some(version),
            achieved,
            acks: Some(acks),
            term,
            leader: Some(node),
            ..self.answer(node, kind)
        };
        self.reply(call, answer);
    }

    fn fail_writes(&mut self, node: usize) {
        let jobs: Vec<u64> = self.nodes[node].jobs.keys().copied().collect();
        for job in jobs {
            if let Some(Job::Write { .. }) = self.nodes[node].jobs.get(&job) {
                self.give_up(node, job);
            }
        }
    }

    pub(super) fn give_up(&mut self, node: usize, job: u64) {
        match self.nodes[node].jobs.remove(&job) {
            Some(Job::Write { call, version, holders, .. }) => {
                self.end_write(call, node, version, holders.len(), false);
            }
            Some(Job::Read { call, .. }) => {
                let answer = self.answer(node, "fail");
                self.reply(call, answer);
            }
            None => {}
        }
    }

    fn read(&mut self, call: usize, node: usize, key: usize, least: u64) {
        let own = self.nodes[node].store.get(&key).copied();
        let got = vec![(node, own)];
        let job =
            self.start(node, Job::Read { call, key, least, got, newest: None, holders: BTreeSet::new() });
        self.tell_all(node, &Msg::Get { key, job });
        self.look_at_got(node, job);
    }

    fn got(&mut self, node: usize, from: usize, entry: Option<Entry>, job: u64) {
        if let Some(Job::Read { got, holders, .. }) = self.nodes[node].jobs.get_mut(&job)
            && holders.is_empty()
        {
            got.push((from, entry));
            self.look_at_got(node, job);
        }
    }

    fn look_at_got(&mut self, node: usize, job: u64) {
        let Some(Job::Read { call, key, least, got, .. }) = self.nodes[node].jobs.get(&job).cloned() else {
            return;
        };
        let newest = got.iter().filter_map(|(_, entry)| *entry).max_by_key(|entry| entry.1);
        if got.len() < self.config.read || newest.map_or(0, |entry| entry.1) < least {
            return;
        }
        let first = self.has(Bug::FirstAnswerWins);
        if first || self.has(Bug::NoVersions) {
            let mut answers = got.iter().filter_map(|(_, entry)| *entry);
            let entry = if first { answers.find(|entry| entry.0.is_some()) } else { answers.next_back() };
            self.nodes[node].jobs.remove(&job);
            return self.answer_entry(call, node, entry);
        }
        let Some(newest) = newest else {
            self.nodes[node].jobs.remove(&job);
            return self.answer_entry(call, node, None);
        };
        self.apply(node, key, newest);
        let has: BTreeSet<usize> =
            got.iter().filter(|(_, entry)| *entry == Some(newest)).map(|(peer, _)| *peer).collect();
        if let Some(Job::Read { holders, newest: found, .. }) = self.nodes[node].jobs.get_mut(&job) {
            (*holders, *found) = (has.clone(), Some(newest));
            holders.insert(node);
        }
        for peer in self.peers(node).into_iter().filter(|peer| !has.contains(peer)) {
            self.send(node, peer, Msg::Repair { key, entry: newest, job });
        }
        self.look_at_read(node, job);
    }

    fn look_at_read(&mut self, node: usize, job: u64) {
        let Some(Job::Read { call, newest: Some(newest), holders, .. }) =
            self.nodes[node].jobs.get(&job).cloned()
        else {
            return;
        };
        if holders.len() >= self.config.write {
            self.nodes[node].jobs.remove(&job);
            self.answer_entry(call, node, Some(newest));
        }
    }
}
