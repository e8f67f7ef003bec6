//! The five bad patterns of causal consistency.

use super::clocks::{ByKey, IN_ORDER, READ_FROM, causal_edges, causal_order, last_known, sweep};
use super::graph::{Edge, Graph};
use super::registers::{INITIAL, Sessions, WRITE};
use crate::history::hash::Fast;

/// One of the patterns. *Before* is the causal order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    /// A read of what nobody wrote.
    ThinAir,
    /// Operations each of which comes before the others.
    CyclicCo,
    /// A read of the start, and before it a write of the same key.
    WriteCoInitRead,
    /// A read of w, and before it another write of the same key that w comes before.
    WriteCoRead,
    /// Writes that would each have to be overwritten by the others.
    CyclicCf,
}

impl Pattern {
    /// The stable name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Pattern::ThinAir => "thin-air-read",
            Pattern::CyclicCo => "cyclic-co",
            Pattern::WriteCoInitRead => "write-co-init-read",
            Pattern::WriteCoRead => "write-co-read",
            Pattern::CyclicCf => "cyclic-cf",
        }
    }
}

/// One occurrence.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) pattern: Pattern,
    pub(super) key: u32,
    /// Calls among which the proof is.
    pub(super) calls: Vec<u32>,
    /// Calls each of which comes before the next, for the story.
    pub(super) chain: Vec<u32>,
}

/// All that was found.
#[derive(Default)]
pub(super) struct Outcome {
    /// At most one a pattern and key.
    pub(super) found: Vec<Found>,
    /// How many there are in all: reads in a pattern, and cyclic parts.
    pub(super) total: u64,
    /// Where the clocks would have taken more memory than allowed.
    pub(super) given_up: bool,
}

/// At most so many occurrences are traced.
const MOST_TRACED: usize = 8;

/// Whether any pattern occurs; for few operations.
pub(super) fn any(sessions: &Sessions, keys: usize) -> bool {
    if !sessions.thin.is_empty() {
        return true;
    }
    let base = causal_edges(sessions);
    let Ok(order) = causal_order(sessions, &base) else { return true };
    let Some(conflicts) = conflicts(sessions, keys, &order, usize::MAX) else { return true };
    !conflicts.early.is_empty()
        || Graph::new(sessions.nodes.len(), &[base, conflicts.edges].concat()).sorted().is_none()
}

/// What the causal order forces beyond itself.
pub(super) struct Conflicts {
    /// `from` comes before the read `via` of `to`, so `to` must be the later one of the two. Only the last
    /// write of each session, and only where `from` does not come before `to` anyway.
    pub(super) edges: Vec<Edge>,
    /// (write, read): a read of the start after a write.
    pub(super) early: Vec<(u32, u32)>,
}

/// `None` beyond `most_bytes`.
pub(super) fn conflicts(
    sessions: &Sessions,
    keys: usize,
    order: &[u32],
    most_bytes: usize,
) -> Option<Conflicts> {
    let by_key = ByKey::new(sessions, keys, |source| source == WRITE);
    let mut conflicts = Conflicts { edges: Vec::new(), early: Vec::new() };
    sweep(sessions, order, most_bytes, |at, clock, of_source| {
        let node = &sessions.nodes[at as usize];
        if node.source == WRITE {
            return;
        }
        for (session, writes) in by_key.of(node.key) {
            let known = clock[session as usize];
            if node.source == INITIAL {
                if let Some(write) = last_known(writes, known) {
                    conflicts.early.push((write, at));
                    return;
                }
            } else if known > of_source[session as usize]
                && let Some(write) = last_known(writes, known)
                && sessions.nodes[write as usize].at >= of_source[session as usize]
            {
                conflicts.edges.push(Edge { from: write, to: node.source, via: at });
            }
        }
    })?;
    Some(conflicts)
}

/// Looks for all patterns. Time: operations × sessions.
pub(super) fn look(sessions: &Sessions, keys: usize, most_bytes: usize) -> Outcome {
    let mut outcome = Outcome::default();
    for (at, call) in sessions.thin.iter().enumerate() {
        if at < MOST_TRACED / 2 {
            outcome.add(Pattern::ThinAir, NO_KEY, vec![*call], vec![*call]);
        } else {
            outcome.total += 1;
        }
    }
    let base = causal_edges(sessions);
    let order = match causal_order(sessions, &base) {
        Ok(order) => order,
        Err(graph) => {
            cyclic(sessions, &graph, &graph, &mut outcome);
            return outcome;
        }
    };
    let Some(conflicts) = conflicts(sessions, keys, &order, most_bytes) else {
        outcome.given_up = true;
        return outcome;
    };
    let causal = Graph::new(sessions.nodes.len(), &base);
    for (write, read) in &conflicts.early {
        outcome.trace(sessions, &causal, Pattern::WriteCoInitRead, &[*write, *read]);
    }
    let edges = conflicts.edges;
    let mut all = base;
    all.extend_from_slice(&edges);
    let graph = Graph::new(sessions.nodes.len(), &all);
    if graph.sorted().is_some() {
        return outcome;
    }
    let component = graph.components();
    let inside: Vec<Edge> = edges
        .into_iter()
        .filter(|edge| component[edge.from as usize] == component[edge.to as usize])
        .collect();
    let overwritten = overwritten(sessions, &order, &inside, most_bytes);
    let mut reads: Vec<u32> = Vec::new();
    for edge in &overwritten {
        if !reads.contains(&edge.via) {
            reads.push(edge.via);
            outcome.trace(sessions, &causal, Pattern::WriteCoRead, &[edge.to, edge.from, edge.via]);
        }
    }
    // What remains without those reads is a conflict of its own.
    reads.sort_unstable();
    all.retain(|edge| edge.via >= READ_FROM || reads.binary_search(&edge.via).is_err());
    let rest = Graph::new(sessions.nodes.len(), &all);
    if rest.sorted().is_none() {
        cyclic(sessions, &rest, &causal, &mut outcome);
    }
    outcome
}

const NO_KEY: u32 = u32::MAX;

impl Outcome {
    fn add(&mut self, pattern: Pattern, key: u32, calls: Vec<u32>, chain: Vec<u32>) {
        self.total += 1;
        if self.found.len() < MOST_TRACED {
            self.found.push(Found { pattern, key, calls, chain });
        }
    }

    /// Adds an occurrence in which each of `stops` comes before the next, unless the key has one.
    fn trace(&mut self, sessions: &Sessions, causal: &Graph, pattern: Pattern, stops: &[u32]) {
        let key = sessions.nodes[stops[0] as usize].key;
        let known = self.found.iter().any(|found| found.pattern == pattern && found.key == key);
        if known || self.found.len() >= MOST_TRACED {
            self.total += 1;
            return;
        }
        let mut path = Vec::new();
        for pair in stops.windows(2) {
            path.extend(causal.path(pair[0], pair[1], |_| true, weight).unwrap_or_default());
        }
        let mut calls = calls_along(sessions, &path);
        let chain = calls.clone();
        calls.extend(stops.iter().map(|node| sessions.nodes[*node as usize].call));
        self.add(pattern, key, calls, chain);
    }
}

/// Steps within a session cost no further operation.
fn weight(via: u32) -> u32 {
    match via {
        IN_ORDER => 0,
        READ_FROM => 1,
        _ => 4,
    }
}

/// The calls at which a path leaves or enters a session, in its order.
fn calls_along(sessions: &Sessions, path: &[Edge]) -> Vec<u32> {
    let mut calls: Vec<u32> = Vec::new();
    let mut add = |node: u32| {
        let call = sessions.nodes[node as usize].call;
        if calls.last() != Some(&call) {
            calls.push(call);
        }
    };
    for (at, edge) in path.iter().enumerate() {
        let runs_on = at > 0 && path[at - 1].via == IN_ORDER && edge.via == IN_ORDER;
        if !runs_on {
            add(edge.from);
        }
        if !(edge.via == IN_ORDER && path.get(at + 1).is_some_and(|next| next.via == IN_ORDER)) {
            add(edge.to);
        }
    }
    calls
}

/// The conflicts in which the write that was read comes before the other: w before w' before a read of w.
fn overwritten(sessions: &Sessions, order: &[u32], inside: &[Edge], most_bytes: usize) -> Vec<Edge> {
    let mut asked: Fast<u32, Vec<usize>> = Fast::default();
    for (at, edge) in inside.iter().enumerate() {
        asked.entry(edge.from).or_default().push(at);
    }
    let mut found = Vec::new();
    let swept = sweep(sessions, order, most_bytes, |at, clock, _| {
        for question in asked.get(&at).into_iter().flatten() {
            let read = &sessions.nodes[inside[*question].to as usize];
            if clock[read.session as usize] > read.at {
                found.push(inside[*question]);
            }
        }
    });
    // The same walk fitted before.
    debug_assert!(swept.is_some());
    found
}

/// A short cycle of each cyclic part of `graph`, whose edges are explained by paths in `causal`.
fn cyclic(sessions: &Sessions, graph: &Graph, causal: &Graph, outcome: &mut Outcome) {
    /// From so many edges of a part a way back is looked for.
    const MOST_TRIED: usize = 24;
    let component = graph.components();
    let mut candidates: Fast<u32, Vec<Edge>> = Fast::default();
    for from in 0..graph.len() as u32 {
        for (to, via) in graph.out(from) {
            if component[from as usize] == component[*to as usize] && *via != IN_ORDER {
                candidates.entry(component[from as usize]).or_default().push(Edge {
                    from,
                    to: *to,
                    via: *via,
                });
            }
        }
    }
    let mut parts: Vec<(u32, Vec<Edge>)> = candidates.into_iter().collect();
    parts.sort_unstable_by_key(|(part, edges)| (edges.len(), *part));
    for (part, mut edges) in parts {
        if outcome.found.len() >= MOST_TRACED {
            outcome.total += 1;
            continue;
        }
        edges.sort_unstable_by_key(|edge| (weight(edge.via), edge.from.abs_diff(edge.to)));
        let back = |edge: &Edge| {
            let inside = |node: u32| component[node as usize] == part;
            let mut cycle = graph.path(edge.to, edge.from, inside, weight)?;
            cycle.push(*edge);
            Some(cycle)
        };
        let cycles = edges.iter().take(MOST_TRIED).filter_map(back);
        let cost = |cycle: &Vec<Edge>| (cycle.iter().map(|edge| weight(edge.via)).sum::<u32>(), cycle.len());
        let Some(cycle) = cycles.min_by_key(cost) else { continue };
        let conflicts: Vec<Edge> = cycle.iter().copied().filter(|edge| edge.via < READ_FROM).collect();
        let mut calls = calls_along(sessions, &cycle);
        let chain = calls.clone();
        for conflict in &conflicts {
            let path = causal.path(conflict.from, conflict.via, |_| true, weight).unwrap_or_default();
            calls.extend(calls_along(sessions, &path));
            calls.push(sessions.nodes[conflict.via as usize].call);
        }
        let (pattern, key) = match conflicts.first() {
            Some(conflict) => (Pattern::CyclicCf, sessions.nodes[conflict.to as usize].key),
            None => (Pattern::CyclicCo, NO_KEY),
        };
        outcome.add(pattern, key, calls, chain);
    }
}
