//! Clients, links and faults of the model.

use super::{Bug, CLIENTS, Call, Event, Fault, MAIN, MS, Msg, Role, SETTLE, Sim, TIMEOUT};

impl Sim {
    /// A message on its way: held where the link is cut, however it came to be sent.
    pub(super) fn send(&mut self, from: usize, to: usize, msg: Msg) {
        if self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0) {
            self.held.push((from, to, msg));
            return;
        }
        let way = match self.rng.below(40) {
            0 => self.some(20 * MS, 120 * MS),
            _ => self.some(MS / 2, 6 * MS),
        };
        self.at(way, Event::Deliver { from, to, msg });
    }

    pub(super) fn mutates(&self, call: usize) -> bool {
        matches!(self.calls[call].f, "write" | "delete")
    }

    pub(super) fn invoke(&mut self, client: usize) {
        if self.phase != "main" {
            return;
        }
        let key = match self.rotate {
            true => (self.now / (500 * MS)) as usize + self.rng.below(2) as usize,
            false => self.rng.below(4) as usize,
        };
        let f = match self.rng.below(20) {
            0..=6 => "write",
            7 => "delete",
            8..=12 => "strong-read",
            13..=15 => "session-read",
            _ => "eventual-read",
        };
        let any = self.rng.below(self.config.nodes as u64) as usize;
        let writes = matches!(f, "write" | "delete");
        let node = self
            .believed
            .map(|(_, leader)| leader)
            .filter(|_| writes && self.rng.below(12) > 0)
            .unwrap_or(any);
        let value = (f == "write").then(|| {
            self.next_value += 1;
            self.next_value
        });
        let process = self.process[client];
        let least = self.own.get(&(process, key)).copied().unwrap_or(0);
        self.ask(Call { client, process, f, key, value, node, least, closed: false, arrived: false });
    }

    fn ask(&mut self, call: Call) {
        let id = self.calls.len();
        self.calls.push(call);
        self.record_invoke(id);
        // Now and then a request is under way for very long: a full backlog.
        let far = self.calls[id].f != "status" && self.rng.below(60) == 0;
        let way = if far { self.rng.between(20 * MS, 3_000 * MS) } else { self.some(0, 2 * MS) };
        self.at(way, Event::Arrive(id));
        self.at(TIMEOUT, Event::Timeout(id));
    }

    pub(super) fn close(&mut self, id: usize, kind: &'static str, answer: Option<super::Answer>) {
        if std::mem::replace(&mut self.calls[id].closed, true) {
            return;
        }
        self.record_completion(id, kind, answer.as_ref());
        let call = self.calls[id].clone();
        if call.f == "status" {
            self.probing[call.node] = None;
            self.note_leader(&call, kind, answer.as_ref());
            return;
        }
        if kind == "ok" && self.mutates(id) {
            let version = answer.and_then(|answer| answer.version).unwrap_or(0);
            let own = self.own.entry((call.process, call.key)).or_default();
            *own = version.max(*own);
        }
        if kind == "info" {
            self.process[call.client] += CLIENTS;
        }
        let think =
            if kind == "ok" { self.rng.between(5 * MS, 60 * MS) } else { self.rng.between(30 * MS, 90 * MS) };
        self.at(think, Event::Invoke(call.client));
    }

    pub(super) fn probe(&mut self, node: usize) {
        if self.phase == "done" {
            return;
        }
        self.at(100 * MS, Event::Probe(node));
        if self.probing[node].is_some() {
            return;
        }
        self.probing[node] = Some(self.calls.len());
        let process = 100_000 + node;
        let (client, key, value) = (usize::MAX, 0, None);
        self.ask(Call {
            client,
            process,
            f: "status",
            key,
            value,
            node,
            least: 0,
            closed: false,
            arrived: false,
        });
    }

    fn note_leader(&mut self, call: &Call, kind: &str, answer: Option<&super::Answer>) {
        let Some(answer) = answer.filter(|_| kind == "ok") else { return };
        let term = answer.term.unwrap_or(0);
        if answer.role == Some(Role::Leader) && self.believed.is_none_or(|(known, _)| known <= term) {
            self.believed = Some((term, call.node));
        }
    }

    // Faults: recorded, then carried out; lifted, then recorded.

    fn draw_fault(&mut self) -> Fault {
        let nodes = self.config.nodes;
        let any = self.rng.below(nodes as u64) as usize;
        let leader = self.believed.map_or(any, |(_, leader)| leader);
        let node = if self.rng.below(2) == 0 { leader } else { any };
        let pairs = |cut: &dyn Fn(usize, usize) -> bool| {
            let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
            all.filter(|(from, to)| from != to && cut(*from, *to)).collect::<Vec<_>>()
        };
        match self.rng.below(9) {
            0..=1 => Fault::Kill(node),
            2 => Fault::Pause(node),
            3..=5 => Fault::Cut(pairs(&|from, to| from == node || to == node)),
            6 => Fault::Cut(pairs(&|from, _| from == node)),
            7 => Fault::Cut(pairs(&|from, to| (from, to) == (node, (node + 1) % nodes))),
            _ => Fault::Cut(pairs(&|_, _| true)),
        }
    }

    pub(super) fn begin_fault(&mut self, fault: usize) {
        if self.phase != "main" {
            return;
        }
        let what = self.draw_fault();
        self.faults[fault].what = Some(what);
        self.faults[fault].began = true;
        self.record_fault(fault, false);
        let late = if self.rng.below(10) == 0 {
            self.rng.between(50 * MS, 450 * MS)
        } else {
            self.rng.between(0, 3 * MS)
        };
        self.at(late, Event::Apply(fault));
    }

    pub(super) fn apply_fault(&mut self, fault: usize) {
        let (least, most) = match self.rng.below(2) {
            _ if self.config.long => (5_000, 7_000),
            0 => (700, 2_000),
            _ => (700, 6_000),
        };
        let length = self.rng.between(least, most) * MS;
        match self.faults[fault].what.clone() {
            Some(Fault::Kill(node)) => self.kill(node),
            Some(Fault::Pause(node)) => self.nodes[node].paused += 1,
            Some(Fault::Cut(links)) => {
                links.into_iter().for_each(|link| *self.cuts.entry(link).or_default() += 1)
            }
            None => {}
        }
        self.at(length, Event::Lift(fault));
    }

    pub(super) fn lift_fault(&mut self, fault: usize) {
        if std::mem::replace(&mut self.faults[fault].over, true) {
            return;
        }
        match self.faults[fault].what.clone() {
            Some(Fault::Kill(node)) if !self.nodes[node].up && !self.other_kill(node, fault) => {
                self.restart(node)
            }
            Some(Fault::Kill(_)) => {}
            Some(Fault::Pause(node)) => {
                self.nodes[node].paused -= 1;
                self.wake(node);
            }
            Some(Fault::Cut(links)) => links.into_iter().for_each(|link| self.heal(link)),
            None => {}
        }
        let late = if self.rng.below(10) == 0 {
            self.rng.between(50 * MS, 450 * MS)
        } else {
            self.rng.between(0, 3 * MS)
        };
        self.at(late, Event::End(fault));
    }

    pub(super) fn end_fault(&mut self, fault: usize) {
        self.record_fault(fault, true);
    }

    fn other_kill(&self, node: usize, but: usize) -> bool {
        let others = self
            .faults
            .iter()
            .enumerate()
            .filter(|(place, fault)| *place != but && fault.began && !fault.over);
        others.into_iter().any(|(_, fault)| matches!(fault.what, Some(Fault::Kill(other)) if other == node))
    }

    fn wake(&mut self, node: usize) {
        if self.nodes[node].paused > 0 {
            return;
        }
        let inbox = std::mem::take(&mut self.nodes[node].inbox);
        for event in inbox {
            let after = self.rng.between(0, MS);
            self.at(after, event);
        }
    }

    /// What a cut held flows on, unless the connection was given up meanwhile.
    fn heal(&mut self, link: (usize, usize)) {
        let cuts = self.cuts.entry(link).or_default();
        *cuts -= 1;
        if *cuts > 0 {
            return;
        }
        let (flowing, held) =
            std::mem::take(&mut self.held).into_iter().partition(|(from, to, _)| (*from, *to) == link);
        self.held = held;
        let flowing: Vec<(usize, usize, Msg)> = flowing;
        for (from, to, msg) in flowing {
            if self.rng.below(2) == 0 {
                let way = self.rng.between(0, 5 * MS);
                self.at(way, Event::Deliver { from, to, msg });
            }
        }
    }

    fn kill(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        self.nodes[node].up = false;
        let life = self.nodes[node].life;
        self.nodes[node].inbox.clear();
        for id in 0..self.calls.len() {
            let call = &self.calls[id];
            if call.node == node && call.arrived && !call.closed {
                let kind = if self.mutates(id) { "info" } else { "fail" };
                self.close(id, kind, None);
            }
        }
        let found = self.rng.between(0, 40 * MS);
        self.at(found, Event::Exited(node, life));
    }

    fn restart(&mut self, node: usize) {
        let (disk, now) = (self.config.disk, self.now);
        let patience = self.rng.between(300 * MS, 600 * MS);
        let place = &mut self.nodes[node];
        let old = std::mem::take(place);
        place.up = true;
        place.life = old.life + 1;
        place.paused = old.paused;
        (place.heard, place.patience) = (now, patience);
        place.answered = vec![0; old.answered.len()];
        if disk {
            (place.store, place.term, place.voted) = (old.store, old.term, old.voted);
        }
        let life = place.life;
        self.at(MS, Event::Tick(node, life));
        let late = self.rng.between(0, 60 * MS);
        self.at(late, Event::Started(node, life));
        self.at(late + 20 * MS, Event::Ready(node, life));
    }

    pub(super) fn started(&mut self, node: usize, life: u32) {
        self.nemesis("start", Some(node), &format!("{{\"pid\":{}}}", super::log::pid(node, life)));
    }

    pub(super) fn exited(&mut self, node: usize, life: u32) {
        let pid = super::log::pid(node, life);
        self.nemesis("exit", Some(node), &format!("{{\"pid\":{pid},\"signal\":9,\"expected\":true}}"));
    }

    pub(super) fn phase(&mut self, phase: &'static str) {
        if phase == "heal" {
            for fault in 0..self.faults.len() {
                if self.faults[fault].began && !self.faults[fault].over {
                    self.lift_fault(fault);
                }
            }
            self.at(1_500 * MS, Event::Phase("settle"));
        }
        if phase == "settle" {
            self.at(MS, Event::Poll);
            self.at(SETTLE + 2 * MS, Event::Done);
        }
        self.phase = phase;
        self.nemesis("phase", None, &format!("{phase:?}"));
    }

    pub(super) fn poll(&mut self) {
        let shown = |sim: &Self, node: usize| sim.nodes[node].store.clone();
        let all: Vec<_> = (0..self.config.nodes).map(|node| shown(self, node)).collect();
        for (node, store) in all.iter().enumerate() {
            self.record_snapshot(node, store);
        }
        if all.iter().all(|store| *store == all[0])
            && self.now > MAIN + 2_500 * MS
            && !self.has(Bug::NoVersions)
        {
            let ms = (self.now - MAIN) / MS;
            self.nemesis("converged", None, &format!("{{\"ms\":{ms}}}"));
            self.at(1, Event::Done);
            return;
        }
        self.at(150 * MS, Event::Poll);
    }
}
