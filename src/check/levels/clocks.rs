//! The causal order by vector clocks: how much of each session every operation knows of.

use super::graph::{Edge, Graph};
use super::registers::{INITIAL, NONE, Sessions, WRITE};

/// In [`Edge::via`]: one after the other in a session.
pub(super) const IN_ORDER: u32 = u32::MAX;
/// In [`Edge::via`]: a write and a read of it.
pub(super) const READ_FROM: u32 = u32::MAX - 1;

/// The edges of the causal order: each session's order, and from each write to its reads.
pub(super) fn causal_edges(sessions: &Sessions) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(sessions.nodes.len() * 3 / 2);
    for session in 0..sessions.len() {
        let range = sessions.of(session);
        if sessions.parents[session] != NONE {
            edges.push(Edge { from: sessions.parents[session], to: range.start, via: IN_ORDER });
        }
        for node in range.clone() {
            let source = sessions.nodes[node as usize].source;
            if source != WRITE && source != INITIAL {
                edges.push(Edge { from: source, to: node, via: READ_FROM });
            }
            if node + 1 < range.end {
                edges.push(Edge { from: node, to: node + 1, via: IN_ORDER });
            }
        }
    }
    edges
}

/// Some operations of each key, session by session.
pub(super) struct ByKey {
    /// Where each key's groups begin.
    keys: Vec<u32>,
    /// (session, where its operations begin); one more than there are groups.
    groups: Vec<(u32, u32)>,
    /// (place in the session, node)
    places: Vec<(u32, u32)>,
}

impl ByKey {
    /// Those whose [`source`](super::registers::Node::source) is `wanted`.
    pub(super) fn new(sessions: &Sessions, keys: usize, wanted: impl Fn(u32) -> bool) -> Self {
        let mut all: Vec<(u32, u32, u32, u32)> = (0_u32..)
            .zip(&sessions.nodes)
            .filter(|(_, node)| wanted(node.source))
            .map(|(at, node)| (node.key, node.session, node.at, at))
            .collect();
        all.sort_unstable();
        let mut by_key = ByKey { keys: vec![0; keys + 1], groups: Vec::new(), places: Vec::new() };
        for (at, (key, session, place, node)) in all.iter().enumerate() {
            if at == 0 || (all[at - 1].0, all[at - 1].1) != (*key, *session) {
                by_key.groups.push((*session, at as u32));
                by_key.keys[*key as usize + 1] += 1;
            }
            by_key.places.push((*place, *node));
        }
        by_key.groups.push((NONE, all.len() as u32));
        for key in 0..keys {
            by_key.keys[key + 1] += by_key.keys[key];
        }
        by_key
    }

    /// For each session with operations of `key`: the session, and their places and nodes.
    pub(super) fn of(&self, key: u32) -> impl Iterator<Item = (u32, &[(u32, u32)])> {
        let (from, to) = (self.keys[key as usize] as usize, self.keys[key as usize + 1] as usize);
        (from..to).map(|group| {
            let (session, begin) = self.groups[group];
            (session, &self.places[begin as usize..self.groups[group + 1].1 as usize])
        })
    }

    /// The last operation of `key` by `session` among its first `known` ones.
    pub(super) fn last(&self, key: u32, session: u32, known: u32) -> Option<u32> {
        let (from, to) = (self.keys[key as usize] as usize, self.keys[key as usize + 1] as usize);
        let group =
            from + self.groups[from..to].binary_search_by_key(&session, |(session, _)| *session).ok()?;
        let places = &self.places[self.groups[group].1 as usize..self.groups[group + 1].1 as usize];
        last_known(places, known)
    }
}

/// The last of some operations of a session among its first `known` ones.
pub(super) fn last_known(places: &[(u32, u32)], known: u32) -> Option<u32> {
    let count = places.partition_point(|(place, _)| *place < known);
    (count > 0).then(|| places[count - 1].1)
}

/// Walks the causal order. `visit` is told each node, how many operations of each session come before it, and, for a
/// read of a write, how many of each session that write knows of, itself included.
///
/// A clock is kept only as long as somebody still needs it: the session's next operation, or the readers of a write.
/// Time: operations × sessions. `None` when the clocks would take more than `most_bytes`.
pub(super) fn sweep(
    sessions: &Sessions,
    order: &[u32],
    most_bytes: usize,
    mut visit: impl FnMut(u32, &[u32], &[u32]),
) -> Option<()> {
    let width = sessions.len();
    let mut needed = vec![0_u32; sessions.nodes.len()];
    for parent in sessions.parents.iter().filter(|parent| **parent != NONE) {
        needed[*parent as usize] += 1;
    }
    for node in &sessions.nodes {
        if node.source != WRITE && node.source != INITIAL {
            needed[node.source as usize] += 1;
        }
    }
    let mut current: Vec<Vec<u32>> = vec![Vec::new(); width];
    let mut kept: Vec<Vec<u32>> = vec![Vec::new(); sessions.nodes.len()];
    let mut spare: Vec<Vec<u32>> = Vec::new();
    let mut held = 0_usize;
    let release = |clock: Vec<u32>, spare: &mut Vec<Vec<u32>>, held: &mut usize| {
        *held -= 1;
        if spare.len() < 1024 {
            spare.push(clock);
        }
    };
    for at in order {
        let node = &sessions.nodes[*at as usize];
        let session = node.session as usize;
        let mut clock = std::mem::take(&mut current[session]);
        if clock.is_empty() {
            clock = spare.pop().unwrap_or_default();
            clock.clear();
            held += 1;
            let parent = sessions.parents[session];
            if parent == NONE {
                clock.resize(width, 0);
            } else {
                clock.extend_from_slice(&kept[parent as usize]);
                needed[parent as usize] -= 1;
                if needed[parent as usize] == 0 {
                    release(std::mem::take(&mut kept[parent as usize]), &mut spare, &mut held);
                }
            }
        }
        if node.source == WRITE || node.source == INITIAL {
            visit(*at, &clock, &[]);
        } else {
            let source = node.source as usize;
            for (mine, theirs) in clock.iter_mut().zip(&kept[source]) {
                *mine = (*mine).max(*theirs);
            }
            visit(*at, &clock, &kept[source]);
            needed[source] -= 1;
            if needed[source] == 0 {
                release(std::mem::take(&mut kept[source]), &mut spare, &mut held);
            }
        }
        clock[session] = node.at + 1;
        if needed[*at as usize] > 0 {
            let mut copy = spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(&clock);
            kept[*at as usize] = copy;
            held += 1;
        }
        if at + 1 < sessions.starts[session + 1] {
            current[session] = clock;
        } else {
            release(clock, &mut spare, &mut held);
        }
        if held * width * size_of::<u32>() > most_bytes {
            return None;
        }
    }
    Some(())
}

/// The causal order as a graph, and one order that agrees with it; `Err` with the graph when it is cyclic.
pub(super) fn causal_order(sessions: &Sessions, edges: &[Edge]) -> Result<Vec<u32>, Graph> {
    let graph = Graph::new(sessions.nodes.len(), edges);
    graph.sorted().ok_or(graph)
}
