//! Faults that are not settled before they begin: whom they are aimed at, and when just they begin.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::{Ineffective, Nemesis, Node, Reverse, Task};
use crate::fault::ScheduledFault;
use crate::fault::aim::{Parts, WRITE_WITHIN, When};
use crate::fault::world::World;

/// How often it is looked again who plays which part. Nodes are asked every 100 ms.
const AIM_POLL: Duration = Duration::from_millis(10);

/// How often it is looked again whether a write is under way: it is so for a millisecond or less.
const WRITE_POLL: Duration = Duration::from_micros(50);

/// A fault that is due.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    since: Duration,
    /// Since when there is somebody to aim at.
    aimed: Option<Duration>,
    /// Why there is nobody.
    why: String,
}

impl<W: World> Nemesis<W> {
    /// Settles what is not settled yet of the fault, and says how it came to begin. `None`: its moment has not come, or
    /// will not come.
    pub(super) fn take_aim(&mut self, fault: usize, now: Duration) -> Option<Map<String, Json>> {
        let Some(pending) = self.schedule[fault].pending.clone() else { return Some(Map::new()) };
        let first = Waiting { since: now, aimed: None, why: String::new() };
        let Waiting { since, aimed, .. } = *self.waiting.entry(fault).or_insert(first);
        let parts = self.parts();
        let effect = match pending.aim(&self.schedule[fault].label, parts.as_ref().ok()) {
            Ok(effect) => effect,
            Err(_) => {
                let alone = |parts: Parts| format!("no node but the leader, {}, was up", parts.leader);
                let why = parts.map_or_else(|why| why, alone);
                self.waiting.entry(fault).and_modify(|waiting| waiting.why = why);
                if now < since + self.aim_within {
                    self.tasks.push(Reverse((now + AIM_POLL, Task::Begin(fault))));
                } else {
                    self.give_up(fault, now);
                }
                return None;
            }
        };
        let aimed = aimed.unwrap_or(now);
        self.waiting.entry(fault).and_modify(|waiting| {
            waiting.aimed = Some(aimed);
            waiting.why.clear();
        });
        let mut began = Map::new();
        if pending.when == When::Writing {
            let watched = if effect.target.is_empty() { pending.nodes() } else { &effect.target };
            let under_way: u64 = watched.iter().map(|node| self.world.writes_under_way(node)).sum();
            if under_way == 0 && now < aimed + WRITE_WITHIN {
                self.tasks.push(Reverse((now + WRITE_POLL, Task::Begin(fault))));
                return None;
            }
            began.insert("writes_under_way".into(), json!(under_way));
        }
        self.waiting.remove(&fault);
        // Of less than what it takes to look, there is nothing to tell.
        if let Some(waited) = now.checked_sub(since).filter(|waited| *waited >= AIM_POLL) {
            began.insert("waited_ms".into(), json!(waited.as_millis() as u64));
        }
        let scheduled = &mut self.schedule[fault];
        (scheduled.target, scheduled.label, scheduled.demands) =
            (effect.target, effect.label, effect.demands);
        if let Some(until) = scheduled.until {
            self.tasks.push(Reverse((now + until.saturating_sub(scheduled.at), Task::End(fault))));
        }
        Some(began)
    }

    /// Counts the writes under way once more, right before the signals leave: what was answered since the fault was aimed is
    /// in the middle of nothing. Afterwards would be too late, for the writes of a killed node end with it.
    pub(super) fn note_writes(&mut self, fault: usize) {
        const WRITES: &str = "writes_under_way";
        let ScheduledFault { target, pending: Some(pending), .. } = &self.schedule[fault] else { return };
        let Some(state) = self.in_force.get_mut(&fault).filter(|state| state.began.contains_key(WRITES))
        else {
            return;
        };
        let watched = if target.is_empty() { pending.nodes() } else { target };
        let under_way: u64 = watched.iter().map(|node| self.world.writes_under_way(node)).sum();
        state.began.insert(WRITES.into(), json!(under_way));
    }

    /// The fault did not find its moment.
    pub(super) fn give_up(&mut self, fault: usize, now: Duration) {
        let Some(Waiting { since, why, .. }) = self.waiting.remove(&fault) else { return };
        let waited_s = now.saturating_sub(since).as_secs_f64();
        let why = if why.is_empty() {
            format!("no write was under way in the {waited_s:.1} s until the heal")
        } else {
            format!("there was nobody to aim at for {waited_s:.1} s: {why}")
        };
        let scheduled = &mut self.schedule[fault];
        scheduled.target.clear();
        scheduled.demands.clear();
        let (id, label) = (scheduled.id, scheduled.label.clone());
        let drawn = scheduled.pending.as_ref().is_some_and(|pending| pending.drawn);
        self.record(fault, "begin", None, json!({}));
        self.record(fault, "end", Some(false), json!({"aimless": true, "drawn": drawn, "why_not": why}));
        self.ineffective.push(Ineffective { fault: Some(id), label, why });
    }

    /// Who plays which part now, or why that is not known. A node that is down or stopped cannot be known to lead: what it said
    /// last it may have said before.
    fn parts(&self) -> Result<Parts, String> {
        let up = |node: &Node| node.alive && node.ending.is_none();
        let Some(leader) = self.world.leader() else { return Err("no node said that it leads".to_owned()) };
        match self.node(&leader) {
            None => return Err(format!("{leader}, which is said to lead, is none of the nodes")),
            Some(node) if !up(node) => {
                return Err(format!("{leader}, the last to say that it leads, is down"));
            }
            Some(node) if node.paused => {
                return Err(format!("{leader}, the last to say that it leads, is stopped"));
            }
            Some(_) => {}
        }
        let others = self.nodes.iter().filter(|node| node.name != leader && up(node));
        Ok(Parts { followers: others.map(|node| node.name.clone()).collect(), leader })
    }
}
