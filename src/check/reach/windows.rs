//! Stretches in which enough nodes could certainly do what was promised of them.
//!
//! The fault record is cut at every edge: a fault begins or ends, a process starts, answers first, or ends. Between two
//! edges nothing changes. A window has the largest group of nodes that were up (they had answered since they were started),
//! untouched by any fault whether it took effect or not, and joined by untouched links in both directions.
//!
//! The nodes outside the group must be unable to disturb it: idle, or not heard by any of it. A node that is heard but does not
//! hear, or that is merely slow, may stand for election again and again and depose whom the others elected; a correct store
//! need not withstand that (Howard, Abraham, *Raft does not Guarantee Liveness in the face of Network Faults*, 2020), so
//! nothing is concluded there.
//!
//! The end of a window is brought forward by [`MARGIN_NS`](super::MARGIN_NS): a process may have died before that was found out.

use super::{MARGIN_NS, Nodes, Reach, members};
use crate::history::{Fault, History, Phase};

/// Groups are looked for by trying; larger clusters have no windows.
const MAX_NODES: usize = 16;

/// A stretch without an edge, and who could talk in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Since when the state of the faults is what it is, ns.
    pub from_ns: u64,
    /// Until when that is certain, ns.
    pub until_ns: u64,
    /// The nodes that could all talk to each other, undisturbed by the rest.
    pub group: Nodes,
}

/// All windows with a group of at least `least` nodes, in order of time.
pub fn windows(reach: &Reach, history: &History, least: usize) -> Vec<Window> {
    let total = reach.total();
    if total == 0 || total > MAX_NODES {
        return Vec::new();
    }
    let over_ns = over(history);
    let edges = edges(history, over_ns);
    let found = edges.windows(2).filter_map(|pair| {
        let (from_ns, edge_ns) = (pair[0], pair[1]);
        // Nothing happens at the end of the record but that it ends.
        let until_ns = if edge_ns == over_ns { edge_ns } else { edge_ns.saturating_sub(MARGIN_NS) };
        let group = group(reach, history, from_ns, edge_ns);
        let window = Window { from_ns, until_ns, group };
        let fits = group.count_ones() as usize >= least && from_ns < until_ns;
        (fits && undisturbed(reach, window)).then_some(window)
    });
    found.collect()
}

/// When the last thing was recorded that clients saw: after it the harness takes the nodes down.
fn over(history: &History) -> u64 {
    let last_ns = history.ops.iter().map(|op| op.returned_ns.unwrap_or(op.invoked_ns)).max().unwrap_or(0);
    history.phase_began_ns(Phase::Done).unwrap_or(u64::MAX).min(last_ns)
}

fn edges(history: &History, over_ns: u64) -> Vec<u64> {
    let mut edges = vec![0, over_ns];
    for fault in &history.faults {
        edges.push(fault.began_ns);
        edges.extend(fault.ended_ns);
    }
    for life in history.lives.values().flatten() {
        edges.push(life.started_ns);
        edges.extend(life.ready_ns);
        edges.extend(life.ended_ns);
    }
    edges.retain(|edge_ns| *edge_ns <= over_ns);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The largest group that was untouched between two edges.
fn group(reach: &Reach, history: &History, from_ns: u64, to_ns: u64) -> Nodes {
    let over =
        |fault: &&Fault| fault.began_ns < to_ns && fault.ended_ns.is_none_or(|ended_ns| ended_ns > from_ns);
    let mut touched: Nodes = 0;
    let mut links = vec![0; reach.total()];
    for fault in history.faults.iter().filter(over) {
        let on = fault.links();
        for (from, to) in &on {
            let (Some(from), Some(to)) = (reach.find(from), reach.find(to)) else { continue };
            links[from] |= 1 << to;
            links[to] |= 1 << from;
        }
        if on.is_empty() && fault.target.is_empty() {
            // Whatever it is, it may be anywhere.
            return 0;
        }
        if on.is_empty() {
            touched |=
                fault.target.iter().filter_map(|node| reach.find(node)).fold(0, |set, node| set | 1 << node);
        }
    }
    let up = members(reach.all() & !touched).filter(|node| {
        let lives = history.lives.get(reach.names[*node]).map_or(&[][..], |lives| lives);
        lives.iter().any(|life| {
            life.ready_ns.is_some_and(|ready_ns| ready_ns <= from_ns)
                && life.ended_ns.is_none_or(|ended_ns| ended_ns >= to_ns)
        })
    });
    let up = up.fold(0, |up, node| up | 1 << node);
    largest(up, &links)
}

/// The largest subset of `among` no two of which are joined in `apart`; of equally large ones the first.
fn largest(among: Nodes, apart: &[Nodes]) -> Nodes {
    let Some(node) = members(among).find(|node| apart[*node] & among != 0) else { return among };
    let without = largest(among & !(1 << node), apart);
    let with = 1 << node | largest(among & !(1 << node) & !apart[node], apart);
    if with.count_ones() >= without.count_ones() { with } else { without }
}

fn undisturbed(reach: &Reach, window: Window) -> bool {
    let (from_ns, until_ns) = (window.from_ns.saturating_add(MARGIN_NS), window.until_ns.saturating_sub(1));
    let outside = reach.all() & !window.group;
    if outside != 0 && from_ns >= until_ns {
        return false;
    }
    members(outside).all(|outside| {
        let unheard = |inside| reach.is_cut(outside, inside, from_ns, until_ns);
        reach.is_idle(outside, from_ns, until_ns) || members(window.group).all(unheard)
    })
}
