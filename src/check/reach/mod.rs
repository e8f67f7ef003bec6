//! Who could reach whom, and when: what the fault record proves.
//!
//! Faults are the harness's own doing, so it knows, as no client can, which nodes were cut off from which. Two bounds are
//! drawn from that, and they are not each other's complement:
//!
//! - **From above** ([`Reach::heard`]): a set that has every node which *can* have received something the answering node
//!   was told after `from` and let it know before `to`. Claims that need more nodes than that are false.
//! - **From below** ([`windows`]): nodes of which it is *certain* that they were up and could talk, so that a store which
//!   does not serve breaks its promise.
//!
//! # What the upper bound assumes
//!
//! - Nodes talk over their links alone. A pair of nodes that was seen to talk past its link counts as never cut. Clients
//!   reach every node, and tell a node nothing about others.
//! - Others may relay: A hears C through B. So reachability is the closure over links, forth and back, without regard to
//!   the order in which a message would have to take them. That only makes the set larger.
//! - A link counts as cut only under a `partition` that took effect, and is cut for bytes sent while it is in force. What
//!   is asked during the cut is sent during it; that a cut holds bytes which arrive after the heal is no exception, for
//!   then the interval reaches beyond the end of the cut. A cut from A to C alone stops answers from A too, whoever opened
//!   the connection.
//! - A fault's begin is recorded *before* it is carried out and its end *after* it was lifted, by one thread. Between record
//!   and deed lie a few system calls, but that thread may be kept waiting: [`MARGIN_NS`] on both sides belongs to nobody.
//!   Where a link's counters, read before the begin was recorded and again before it was lifted, show that it delivered
//!   nothing, there is no doubt about its beginning.
//! - A paused node does nothing while it is stopped (evidence: it was *seen* stopped); the same margins. Where a process was
//!   started during a pause, it may have run until it was stopped as well, so the margin around each start counts as running.
//! - A process is dead before it was started and after it was found ended: `started_ns` is recorded after the start, so
//!   the margin before it counts as alive; it may have died earlier than was found out, never later.
//! - Slow, late and throttled links deliver in the end, and count as clean.

pub mod answers;
pub mod windows;

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::history::{Fault, History};

/// How long the harness may take between recording a fault and carrying it out, or between lifting it and recording that,
/// ns. Both are a few system calls; half a second is what a machine that does nothing but swap may make of them.
pub const MARGIN_NS: u64 = 500_000_000;

/// A set of nodes, a bit each, in the contract's order.
pub type Nodes = u64;

/// So many nodes are kept apart; of larger clusters nothing is claimed.
const MAX_NODES: usize = 64;

/// Half-open stretches of time, ns, ascending and apart.
type Spans = Vec<(u64, u64)>;

/// The fault record of one history, indexed.
pub struct Reach<'h> {
    /// The contract's nodes; empty where there are too many of them.
    names: Vec<&'h str>,
    /// When each node did certainly nothing.
    idle: Vec<Spans>,
    /// When nothing sent by one node was delivered to another.
    cut: HashMap<(usize, usize), Spans>,
}

impl<'h> Reach<'h> {
    /// Indexes the faults and lives of a history.
    pub fn new(history: &'h History) -> Self {
        let names: Vec<&str> = history.contract.nodes.iter().map(String::as_str).collect();
        let names = if names.len() > MAX_NODES { Vec::new() } else { names };
        let mut reach = Reach { idle: vec![Vec::new(); names.len()], names, cut: HashMap::new() };
        for node in 0..reach.names.len() {
            reach.idle[node] = reach.idle_of(history, node);
        }
        for fault in history.faults.iter().filter(|fault| &*fault.f == "partition") {
            let Some((from_ns, to_ns)) = certain(fault) else { continue };
            for (from, to) in fault.links() {
                let since_ns = if silent(fault, from, to) { fault.began_ns } else { from_ns };
                let (Some(from), Some(to)) = (reach.find(from), reach.find(to)) else { continue };
                reach.cut.entry((from, to)).or_default().push((since_ns, to_ns));
            }
        }
        for (from, to, _) in &history.bypasses {
            if let (Some(from), Some(to)) = (reach.find(from), reach.find(to)) {
                reach.cut.remove(&(from, to));
                reach.cut.remove(&(to, from));
            }
        }
        for spans in reach.cut.values_mut() {
            join(spans);
        }
        reach
    }

    fn idle_of(&self, history: &History, node: usize) -> Spans {
        let name = self.names[node];
        let lives = history.lives.get(name).map_or(&[][..], |lives| lives);
        let mut spans = Vec::new();
        let mut dead_ns = 0;
        for life in lives {
            spans.push((dead_ns, life.started_ns.saturating_sub(MARGIN_NS)));
            dead_ns = dead_ns.max(life.ended_ns.unwrap_or(u64::MAX));
        }
        if !lives.is_empty() {
            spans.push((dead_ns, u64::MAX));
        }
        for fault in history.faults.iter().filter(|fault| &*fault.f == "pause") {
            let seen = fault.evidence.get("stopped").and_then(Json::as_array);
            let stopped = seen.is_some_and(|nodes| nodes.iter().any(|node| node.as_str() == Some(name)));
            let Some((mut from_ns, to_ns)) = certain(fault).filter(|_| stopped) else { continue };
            for life in lives.iter().filter(|life| (fault.began_ns..to_ns).contains(&life.started_ns)) {
                spans.push((from_ns, life.started_ns.saturating_sub(MARGIN_NS)));
                from_ns = from_ns.max(life.started_ns.saturating_add(MARGIN_NS));
            }
            spans.push((from_ns, to_ns));
        }
        join(&mut spans);
        spans
    }

    /// How many nodes there are; 0 where nothing is claimed.
    pub fn total(&self) -> usize {
        self.names.len()
    }

    /// The number of a node.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// All nodes.
    pub fn all(&self) -> Nodes {
        match self.total() {
            MAX_NODES => Nodes::MAX,
            total => (1 << total) - 1,
        }
    }

    /// The names of a set.
    pub fn names(&self, nodes: Nodes) -> Vec<&'h str> {
        members(nodes).map(|node| self.names[node]).collect()
    }

    /// Whether nothing that `from` sent in the interval was delivered to `to` in it.
    pub fn is_cut(&self, from: usize, to: usize, from_ns: u64, to_ns: u64) -> bool {
        self.cut.get(&(from, to)).is_some_and(|spans| covers(spans, from_ns, to_ns))
    }

    /// Whether `node` did nothing in the interval: dead, or stopped.
    pub fn is_idle(&self, node: usize, from_ns: u64, to_ns: u64) -> bool {
        covers(&self.idle[node], from_ns, to_ns)
    }

    /// Every node that can have heard of something `node` was told after `from_ns`, and let it know before `to_ns`; `node`
    /// itself among them.
    pub fn heard(&self, node: usize, from_ns: u64, to_ns: u64) -> Nodes {
        let idle = members(self.all()).filter(|other| *other != node && self.is_idle(*other, from_ns, to_ns));
        let awake = self.all() & !idle.fold(0, |idle, other| idle | 1 << other);
        let forth = self.closure(node, awake, |from, to| !self.is_cut(from, to, from_ns, to_ns));
        let back = self.closure(node, awake, |from, to| !self.is_cut(to, from, from_ns, to_ns));
        forth & back
    }

    fn closure(&self, start: usize, awake: Nodes, passes: impl Fn(usize, usize) -> bool) -> Nodes {
        let mut known: Nodes = 1 << start;
        let mut fresh = vec![start];
        while let Some(from) = fresh.pop() {
            for to in members(awake & !known) {
                if passes(from, to) {
                    known |= 1 << to;
                    fresh.push(to);
                }
            }
        }
        known
    }
}

/// The places of a set.
pub fn members(nodes: Nodes) -> impl Iterator<Item = usize> {
    (0..MAX_NODES).filter(move |node| nodes >> node & 1 == 1)
}

/// When a fault was certainly in force: what took effect and was seen to end.
fn certain(fault: &Fault) -> Option<(u64, u64)> {
    let ended_ns = fault.ended_ns.filter(|_| fault.took_effect)?;
    Some((fault.began_ns.saturating_add(MARGIN_NS), ended_ns.saturating_sub(MARGIN_NS)))
}

/// Whether the link delivered nothing at all from before the begin was recorded until after the last moment before it was
/// lifted: then it was as good as cut from the record on.
fn silent(fault: &Fault, from: &str, to: &str) -> bool {
    let link = fault.evidence.get("links").and_then(|links| links.get(format!("{from}→{to}")));
    let counted = |name: &str| link.and_then(|link| link.get(name)).and_then(Json::as_u64);
    // Datagrams are counted only where there are any.
    counted("delivered_bytes") == Some(0) && counted("datagrams").unwrap_or(0) == 0
}

/// Sorts stretches, drops empty ones, and joins those that touch.
fn join(spans: &mut Spans) {
    spans.retain(|(from_ns, to_ns)| from_ns < to_ns);
    spans.sort_unstable();
    let mut joined: Spans = Vec::with_capacity(spans.len());
    for &(from_ns, to_ns) in spans.iter() {
        match joined.last_mut() {
            Some(last) if from_ns <= last.1 => last.1 = last.1.max(to_ns),
            _ => joined.push((from_ns, to_ns)),
        }
    }
    *spans = joined;
}

/// Whether one stretch covers the whole interval.
fn covers(spans: &Spans, from_ns: u64, to_ns: u64) -> bool {
    let place = spans.partition_point(|span| span.0 <= from_ns);
    place.checked_sub(1).is_some_and(|place| to_ns < spans[place].1)
}
