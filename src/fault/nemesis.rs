//! Carrying out the schedule: one thread that sleeps until the next edge, folds what is in force, and does what differs.
//!
//! It owns the truth about which node should be up. Everything it touches is behind [`World`], so that the logic is
//! tested without a process. A signal leaves within 2 ms of its time (see `benches/faults.rs`): nothing here waits for
//! an effect; effects are looked at again later ([`Task::LookAgain`]) and end up in the fault's evidence.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use evidence::{Mishaps, datagrams, link_failure, link_json, since};
use taking_aim::Waiting;

use super::aim::AIM_WITHIN;
use super::fold::{Desired, fold};
use super::world::{Exit, LinkTotals, Message, World};
use super::{Demand, HowDown, ScheduledFault, Toll};

mod evidence;
mod taking_aim;

/// How much longer than asked a pause lasts at most, until it is seen to have stopped anybody.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);
/// How long a node may take to end after SIGTERM before it gets SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// What a fault that did not take effect says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ineffective {
    /// The fault's number within the run; `None`: it is no fault of the schedule, but something that went wrong beside.
    pub fault: Option<u64>,
    /// The fault's label.
    pub label: String,
    /// Why it is thought to have had no effect.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Begin(usize),
    End(usize),
    /// The duty cycle of a `slow` fault turns.
    Turn(usize),
    /// SIGTERM was not enough.
    Escalate(usize, u32),
    /// See whether a pause has taken effect.
    LookAgain(usize, u32),
}

#[derive(Clone, Debug, Default)]
struct Node {
    name: String,
    alive: bool,
    paused: bool,
    /// It was signalled to end and has not ended yet.
    ending: Option<HowDown>,
    /// It ended by itself; only the heal starts it again.
    crashed: bool,
    pid: u32,
}

#[derive(Clone, Debug, Default)]
struct InForce {
    asleep: bool,
    turns: u64,
    signalled: BTreeMap<String, u32>,
    ended: BTreeMap<String, Json>,
    stopped: BTreeSet<String>,
    links_before: BTreeMap<(String, String), LinkTotals>,
    /// When it was to end first.
    due: Option<Duration>,
    /// What there is to say of how it began.
    began: Map<String, Json>,
}

/// The nemesis of one run.
pub struct Nemesis<W> {
    world: W,
    schedule: Vec<ScheduledFault>,
    tasks: BinaryHeap<Reverse<(Duration, Task)>>,
    nodes: Vec<Node>,
    in_force: BTreeMap<usize, InForce>,
    links_set: BTreeMap<(String, String), Vec<Toll>>,
    /// Faults that are due and have not found their moment yet.
    waiting: BTreeMap<usize, Waiting>,
    ineffective: Vec<Ineffective>,
    healed: bool,
    aim_within: Duration,
}

impl<W: World> Nemesis<W> {
    /// A nemesis over `nodes` (id and pid), all of them up. Times of the schedule count from [`Nemesis::run`]'s `epoch`.
    pub fn new(world: W, schedule: Vec<ScheduledFault>, nodes: &[(String, u32)]) -> Self {
        let mut tasks = BinaryHeap::new();
        for (at, fault) in schedule.iter().enumerate() {
            tasks.push(Reverse((fault.at, Task::Begin(at))));
            // One that is pending lasts from whenever it begins.
            if let Some(until) = fault.until.filter(|_| fault.pending.is_none()) {
                tasks.push(Reverse((until.max(fault.at), Task::End(at))));
            }
        }
        let up = |(name, pid): &(String, u32)| Node {
            name: name.clone(),
            alive: true,
            pid: *pid,
            ..Node::default()
        };
        Self {
            world,
            schedule,
            tasks,
            nodes: nodes.iter().map(up).collect(),
            in_force: BTreeMap::new(),
            links_set: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ineffective: Vec::new(),
            healed: false,
            aim_within: AIM_WITHIN,
        }
    }

    /// Carries out the schedule until told to leave; the faults that had no effect, and the world back.
    pub fn run(mut self, epoch: Instant, inbox: &Receiver<Message>) -> (Vec<Ineffective>, W) {
        loop {
            // What has happened comes before what is due: tasks that are due all the time must not keep the heal waiting.
            let message = match self.tasks.peek() {
                Some(Reverse((due, _))) => match inbox.recv_timeout(due.saturating_sub(epoch.elapsed())) {
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some(Reverse((_, task))) = self.tasks.pop() {
                            // Not when it was due: on a machine too slow to keep the schedule, a duty cycle that makes
                            // up for its missed turns would leave no time for anything else.
                            self.carry_out(task, epoch.elapsed());
                        }
                        continue;
                    }
                    received => received.ok(),
                },
                None => inbox.recv().ok(),
            };
            match message {
                Some(Message::Exited(node, exit)) => self.exited(&node, exit, epoch.elapsed()),
                Some(Message::Heal(done)) => {
                    self.heal(epoch.elapsed());
                    // The run may have given up waiting; then nobody needs to know.
                    let _ = done.send(());
                }
                Some(Message::Leave) | None => return (self.ineffective, self.world),
            }
        }
    }

    fn carry_out(&mut self, task: Task, now: Duration) {
        match task {
            Task::Begin(fault) => self.begin(fault, now),
            Task::End(fault) => self.end(fault, now),
            Task::Turn(fault) => self.turn(fault, now),
            Task::Escalate(node, pid) => self.escalate(node, pid),
            Task::LookAgain(node, tries) => self.look_again(node, tries, now),
        }
    }

    fn begin(&mut self, fault: usize, now: Duration) {
        let Some(began) = self.take_aim(fault, now) else { return };
        let mut state = InForce { began, ..InForce::default() };
        for (from, to) in links_of(&self.schedule[fault]) {
            state.links_before.insert((from.clone(), to.clone()), self.world.link_totals(&from, &to));
        }
        // Recorded before it is carried out: what fails because of it must not seem to have failed before it.
        let links: Vec<_> = state.links_before.keys().map(|(from, to)| format!("{from}→{to}")).collect();
        let mut evidence = state.began.clone();
        if !links.is_empty() {
            evidence.insert("links".into(), json!(links));
        }
        self.record(fault, "begin", None, Json::Object(evidence));
        self.in_force.insert(fault, state);
        self.note_writes(fault);
        self.settle_into(now);
        for demand in &self.schedule[fault].demands {
            if let Demand::Slow { .. } = demand {
                self.tasks.push(Reverse((now, Task::Turn(fault))));
            }
        }
    }

    fn end(&mut self, fault: usize, now: Duration) {
        self.look_before_waking(fault);
        let Some(state) = self.in_force.get_mut(&fault) else { return };
        let overdue = now.saturating_sub(*state.due.get_or_insert(now));
        let Some(state) = self.in_force.get(&fault) else { return };
        let ending = |node: &Node| node.ending.is_some();
        let waiting = |demand: &Demand| match demand {
            Demand::Down { node, .. } => {
                !state.ended.contains_key(node) && self.node(node).is_some_and(ending)
            }
            Demand::Paused { node } | Demand::Slow { node, .. } => {
                overdue < STOPPED_WITHIN
                    && !state.stopped.contains(node)
                    && self.node(node).is_some_and(|node| node.alive && !ending(node))
            }
            Demand::Link { .. } => false,
        };
        // A restart has no length of its own: it is over when the process has ended. A pause that is over before the machine has
        // come to stop anybody would have been none.
        if !self.healed && self.schedule[fault].demands.iter().any(waiting) {
            self.tasks.push(Reverse((now + Duration::from_millis(2), Task::End(fault))));
            return;
        }
        let (evidence, failing) = self.end_evidence(fault);
        self.in_force.remove(&fault);
        self.settle_into(now);
        self.record(fault, "end", Some(failing.is_none()), evidence);
        if let Some(why) = failing {
            let ScheduledFault { id, label, .. } = &self.schedule[fault];
            self.ineffective.push(Ineffective { fault: Some(*id), label: label.clone(), why });
        }
    }

    fn turn(&mut self, fault: usize, now: Duration) {
        self.look_before_waking(fault);
        let Some(state) = self.in_force.get_mut(&fault) else { return };
        let cycle = self.schedule[fault].demands.iter().find_map(|demand| match demand {
            Demand::Slow { running, period, .. } => Some((*running, *period)),
            _ => None,
        });
        let Some((running, period)) = cycle else { return };
        state.asleep = !state.asleep;
        state.turns += 1;
        let share = if state.asleep { 1.0 - running } else { running };
        // A cycle shorter than the timer can keep would only burn the CPU it is meant to take away.
        let next = now + period.mul_f64(share.clamp(0.0, 1.0)).max(Duration::from_millis(1));
        self.tasks.push(Reverse((next, Task::Turn(fault))));
        self.settle_into(now);
    }

    /// A stop may be over before anybody looks again, and on a busy machine take its time: so the last look is right
    /// before its end.
    fn look_before_waking(&mut self, fault: usize) {
        let asleep = self.in_force.get(&fault).is_some_and(|state| state.asleep);
        let stopped: Vec<String> = self.schedule[fault]
            .demands
            .iter()
            .filter_map(|demand| match demand {
                Demand::Slow { node, .. } if asleep => Some(node.clone()),
                Demand::Paused { node } => Some(node.clone()),
                _ => None,
            })
            .collect();
        for node in stopped {
            let unseen = |state: &InForce| !state.stopped.contains(&node);
            if self.in_force.get(&fault).is_some_and(unseen) && self.world.is_stopped(&node) {
                self.note_stopped(&node);
            }
        }
    }

    fn escalate(&mut self, node: usize, pid: u32) {
        let Node { name, ending, pid: current, .. } = &self.nodes[node];
        if *current == pid && *ending == Some(HowDown::Stop) {
            self.world.end(&name.clone(), HowDown::Kill);
            self.nodes[node].ending = Some(HowDown::Kill);
        }
    }

    fn look_again(&mut self, node: usize, tries: u32, now: Duration) {
        let Node { name, paused, alive, .. } = &self.nodes[node];
        if !*paused || !*alive {
            return;
        }
        if self.world.is_stopped(name) {
            let name = name.clone();
            self.note_stopped(&name);
        } else if tries < 12 {
            self.tasks
                .push(Reverse((now + Duration::from_millis(1 << tries), Task::LookAgain(node, tries + 1))));
        }
    }

    fn note_stopped(&mut self, name: &str) {
        for (fault, state) in &mut self.in_force {
            if self.schedule[*fault].demands.iter().any(|demand| pauses(demand, name)) {
                state.stopped.insert(name.to_owned());
            }
        }
    }

    fn exited(&mut self, name: &str, exit: Exit, now: Duration) {
        let Some(at) = self.nodes.iter().position(|node| node.name == name) else { return };
        if self.nodes[at].pid != exit.pid {
            return;
        }
        let expected = self.nodes[at].ending.is_some();
        self.world.exited(name, &exit, expected);
        let node = &mut self.nodes[at];
        (node.alive, node.paused, node.ending, node.crashed) = (false, false, None, !expected);
        let how = json!({"pid": exit.pid, "signal": exit.signal, "code": exit.code});
        for (fault, state) in &mut self.in_force {
            if self.schedule[*fault].demands.iter().any(|demand| ends(demand, name)) {
                state.ended.insert(name.to_owned(), how.clone());
            }
        }
        self.settle_into(now);
    }

    fn heal(&mut self, now: Duration) {
        self.healed = true;
        self.tasks.retain(|Reverse((_, task))| matches!(task, Task::Escalate(..)));
        for fault in self.in_force.keys().copied().collect::<Vec<_>>() {
            self.end(fault, now);
        }
        for fault in self.waiting.keys().copied().collect::<Vec<_>>() {
            self.give_up(fault, now);
        }
        for node in &mut self.nodes {
            node.crashed = false;
        }
        self.settle_into(now);
    }

    /// Makes the world what the fold over the faults in force says.
    fn settle_into(&mut self, now: Duration) {
        let desired = {
            let demands = self.in_force.iter().flat_map(|(fault, state)| {
                self.schedule[*fault].demands.iter().map(move |demand| (demand, state.asleep))
            });
            fold(demands)
        };
        self.settle_links(&desired);
        for at in 0..self.nodes.len() {
            self.settle_node(at, &desired, now);
        }
    }

    fn settle_links(&mut self, desired: &Desired) {
        for (link, _) in self.links_set.iter().filter(|(link, _)| !desired.links.contains_key(*link)) {
            self.world.link(&link.0, &link.1, &[]);
        }
        for (link, tolls) in
            desired.links.iter().filter(|(link, tolls)| self.links_set.get(*link) != Some(*tolls))
        {
            self.world.link(&link.0, &link.1, tolls);
        }
        self.links_set = desired.links.clone();
    }

    fn settle_node(&mut self, at: usize, desired: &Desired, now: Duration) {
        let name = self.nodes[at].name.clone();
        let desire = desired.nodes.get(&name).copied().unwrap_or_default();
        match (desire.down, self.nodes[at].alive) {
            (Some(how), true) => self.take_down(at, &name, how, now),
            (None, false) if !self.nodes[at].crashed => self.bring_up(at, &name),
            _ => {}
        }
        let node = &self.nodes[at];
        if node.alive
            && node.ending.is_none()
            && node.paused != desire.paused
            && self.world.pause(&name, desire.paused)
        {
            self.nodes[at].paused = desire.paused;
            if desire.paused {
                self.look_again(at, 0, now);
            }
        }
    }

    fn take_down(&mut self, at: usize, name: &str, how: HowDown, now: Duration) {
        if matches!(self.nodes[at].ending, Some(earlier) if earlier == how || earlier == HowDown::Kill) {
            return;
        }
        let Some(pid) = self.world.end(name, how) else { return };
        self.nodes[at].ending = Some(how);
        if how == HowDown::Stop {
            self.tasks.push(Reverse((now + STOP_GRACE, Task::Escalate(at, pid))));
        }
        for (fault, state) in &mut self.in_force {
            if self.schedule[*fault].demands.iter().any(|demand| ends(demand, name)) {
                state.signalled.insert(name.to_owned(), pid);
            }
        }
    }

    fn bring_up(&mut self, at: usize, name: &str) {
        match self.world.start(name) {
            Ok(pid) => {
                let node = &mut self.nodes[at];
                (node.alive, node.pid, node.paused, node.ending) = (true, pid, false, None);
            }
            Err(why) => {
                self.nodes[at].crashed = true;
                self.ineffective.push(Ineffective { fault: None, label: format!("start {name} again"), why });
            }
        }
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// What proves that the fault was in force, and, where nothing does, why it is thought not to have been.
    fn end_evidence(&self, fault: usize) -> (Json, Option<String>) {
        let state = &self.in_force[&fault];
        let mut links = Map::new();
        let mut failing = None;
        let mut crossing = 0;
        let mut mishaps = Mishaps::default();
        for demand in &self.schedule[fault].demands {
            let failed = match demand {
                Demand::Down { node, .. } => {
                    let going = |node: &Node| !node.alive || node.ending.is_some();
                    let down = state.ended.contains_key(node) || self.node(node).is_some_and(going);
                    (!down).then(|| format!("{node}'s process was signalled and did not end"))
                }
                Demand::Paused { node } | Demand::Slow { node, .. } => {
                    let down = self.node(node).is_some_and(|node| !node.alive || node.ending.is_some());
                    let stopped = state.stopped.contains(node) || down;
                    (!stopped).then(|| format!("{node}'s processes were never seen stopped"))
                }
                Demand::Link { from, to, toll } => {
                    let before =
                        state.links_before.get(&(from.clone(), to.clone())).copied().unwrap_or_default();
                    let ever = self.world.link_totals(from, to);
                    let during = since(before, ever);
                    mishaps.add(*toll, &ever, &during);
                    crossing += datagrams(&during)
                        + during.delayed_datagrams
                        + during.held_bytes
                        + during.held_connections
                        + during.delayed_bytes
                        + during.reset_connections;
                    links.insert(format!("{from}→{to}"), link_json(&during));
                    link_failure(from, to, *toll, &during)
                }
            };
            failing = failing.or(failed);
        }
        failing = failing.or(mishaps.failure());
        let mut evidence = state.began.clone();
        let unanswered = state.signalled.iter().filter(|(node, _)| !state.ended.contains_key(*node));
        let signalled: Map<_, _> = unanswered.map(|(node, pid)| (node.clone(), json!(pid))).collect();
        if !signalled.is_empty() {
            evidence.insert("signalled".into(), Json::Object(signalled));
        }
        let killed: Map<_, _> = state.ended.clone().into_iter().collect();
        if !killed.is_empty() {
            evidence.insert("exits".into(), Json::Object(killed));
        }
        if !state.stopped.is_empty() {
            evidence.insert("stopped".into(), json!(state.stopped));
        }
        if state.turns > 0 {
            evidence.insert("cycles".into(), json!(state.turns / 2));
        }
        if !links.is_empty() {
            evidence.insert("links".into(), Json::Object(links));
            evidence.insert("idle".into(), json!(crossing == 0));
        }
        if let Some(why) = &failing {
            evidence.insert("why_not".into(), json!(why));
        }
        (Json::Object(evidence), failing)
    }

    fn record(&mut self, fault: usize, edge: &str, took_effect: Option<bool>, evidence: Json) {
        let ScheduledFault { id, f, target, label, .. } = &self.schedule[fault];
        let mut value = json!({"fault": id, "edge": edge, "target": target, "label": label});
        if let Some(took_effect) = took_effect {
            value["took_effect"] = json!(took_effect);
        }
        value["evidence"] = evidence;
        self.world.record(f, value);
    }
}

fn links_of(fault: &ScheduledFault) -> Vec<(String, String)> {
    let link = |demand: &Demand| match demand {
        Demand::Link { from, to, .. } => Some((from.clone(), to.clone())),
        _ => None,
    };
    fault.demands.iter().filter_map(link).collect()
}

fn ends(demand: &Demand, name: &str) -> bool {
    matches!(demand, Demand::Down { node, .. } if node == name)
}

fn pauses(demand: &Demand, name: &str) -> bool {
    matches!(demand, Demand::Paused { node } | Demand::Slow { node, .. } if node == name)
}

#[cfg(test)]
mod tests;
