//! What each read forces on every sequential order of distinct values.
//!
//! If r reads w, then in any legal order no other write w' to the key stands between them. So whatever comes before r
//! comes before w (or is w), and whatever comes after w comes after r. Starting from the processes' own orders and
//! from "w before r", these two conclusions are drawn until nothing more follows (Gibbons & Korach 1997 call it the
//! closure of the forced order), each time over vector clocks: a session's last write before r, and its first after w,
//! speak for the others.
//!
//! A cycle proves that there is no order. That there is none does not prove that there is an order.

use std::time::Duration;

use super::clocks::{ByKey, causal_edges, last_known};
use super::graph::{Edge, Graph};
use super::registers::{INITIAL, NONE, Sessions, WRITE};
use super::stint::Stint;

/// How it ended.
pub(super) enum Saturated {
    /// No order is possible.
    Cycle,
    /// What every order contains.
    Forced(Forced),
}

/// What every order contains. Calls are named by their index.
#[derive(Default)]
pub(super) struct Forced {
    /// The first comes before the second.
    pub(super) pairs: Vec<(u32, u32)>,
    /// (call, how early it should come): an order in which each operation comes before its completion, and before whatever
    /// it must come before does so, is likely, though not certain, to be legal.
    pub(super) deadlines: Vec<(u32, u32)>,
}

/// How long the conclusions may take; beyond it, what was concluded so far is used.
const MOST_TIME: Duration = Duration::from_secs(2);

/// Draws the conclusions. `ends` is when a call was completed. Time: rounds × operations × sessions. Without room for the
/// clocks (`most_bytes`) nothing is concluded.
pub(super) fn saturate(
    sessions: &Sessions,
    keys: usize,
    most_bytes: usize,
    ends: &dyn Fn(u32) -> u32,
) -> Saturated {
    if !sessions.thin.is_empty() {
        return Saturated::Cycle;
    }
    let Some(closure) = Closure::new(sessions, keys, most_bytes, &[]) else { return Saturated::Cycle };
    let call = |node: u32| sessions.nodes[node as usize].call;
    let pairs = closure.edges.iter().map(|edge| (call(edge.from), call(edge.to)));
    let deadlines = closure.deadlines(sessions, ends);
    Saturated::Forced(Forced {
        pairs: pairs.filter(|(from, to)| from != to).collect(),
        deadlines: (0_u32..).zip(deadlines).map(|(node, deadline)| (call(node), deadline)).collect(),
    })
}

/// All that follows.
pub(super) struct Closure {
    pub(super) edges: Vec<Edge>,
    /// An order that agrees with the edges.
    pub(super) order: Vec<u32>,
    graph: Graph,
}

impl Closure {
    /// What follows if `besides` is true, too; `None` where that is a contradiction.
    pub(super) fn new(sessions: &Sessions, keys: usize, most_bytes: usize, besides: &[Edge]) -> Option<Self> {
        let began = Stint::begin();
        let mut edges = causal_edges(sessions);
        edges.extend_from_slice(besides);
        let by_key = ByKey::new(sessions, keys, |source| source == WRITE);
        let clocks = sessions.nodes.len().saturating_mul(sessions.len());
        let fits = clocks.saturating_mul(size_of::<u32>()) <= most_bytes;
        loop {
            let graph = Graph::new(sessions.nodes.len(), &edges);
            let order = graph.sorted()?;
            if !fits || began.is_beyond(MOST_TIME) {
                return Some(Closure { edges, order, graph });
            }
            let new = round(sessions, &by_key, &graph, &order)?;
            if new.is_empty() {
                return Some(Closure { edges, order, graph });
            }
            edges.extend(new);
        }
    }

    /// By node: the earliest completion among what it comes before, itself included.
    pub(super) fn deadlines(&self, sessions: &Sessions, ends: &dyn Fn(u32) -> u32) -> Vec<u32> {
        let mut deadline: Vec<u32> = sessions.nodes.iter().map(|node| ends(node.call)).collect();
        for at in self.order.iter().rev() {
            for (to, _) in self.graph.out(*at) {
                deadline[*at as usize] = deadline[*at as usize].min(deadline[*to as usize]);
            }
        }
        deadline
    }
}

/// How much of each session comes before each operation, itself included.
struct Past {
    width: usize,
    clocks: Vec<u32>,
}

impl Past {
    fn new(sessions: &Sessions, graph: &Graph, order: &[u32]) -> Self {
        let width = sessions.len();
        let mut past = Past { width, clocks: vec![0; width * sessions.nodes.len()] };
        for at in order {
            let node = &sessions.nodes[*at as usize];
            past.clocks[*at as usize * width + node.session as usize] = node.at + 1;
            for (to, _) in graph.out(*at) {
                let (from, to) = (*at as usize * width, *to as usize * width);
                for session in 0..width {
                    past.clocks[to + session] = past.clocks[to + session].max(past.clocks[from + session]);
                }
            }
        }
        past
    }

    fn of(&self, node: u32) -> &[u32] {
        &self.clocks[node as usize * self.width..][..self.width]
    }

    /// Whether one operation is, or comes before, another.
    fn before(&self, sessions: &Sessions, one: u32, other: u32) -> bool {
        let node = &sessions.nodes[one as usize];
        self.of(other)[node.session as usize] > node.at
    }
}

/// The new conclusions; `None` where a read of the start comes too late.
fn round(sessions: &Sessions, by_key: &ByKey, graph: &Graph, order: &[u32]) -> Option<Vec<Edge>> {
    let past = Past::new(sessions, graph, order);
    let mut new = Vec::new();
    let mut conclude = |from: u32, to: u32| {
        if from != to && !past.before(sessions, from, to) {
            new.push(Edge { from, to, via: NONE });
        }
    };
    for (read, node) in (0_u32..).zip(&sessions.nodes).filter(|(_, node)| node.source != WRITE) {
        for (session, writes) in by_key.of(node.key) {
            let earlier = last_known(writes, past.of(read)[session as usize]);
            if node.source == INITIAL {
                if earlier.is_some() {
                    return None;
                }
                conclude(read, writes[0].1);
                continue;
            }
            if let Some(write) = earlier {
                conclude(write, node.source);
            }
            let first = writes.partition_point(|(_, write)| !past.before(sessions, node.source, *write));
            let later = writes[first..].iter().find(|(_, write)| *write != node.source);
            if let Some((_, write)) = later {
                conclude(read, *write);
            }
        }
    }
    Some(new)
}
