//! What the session guarantees say about the order of each key's versions.

use super::clocks::ByKey;
use super::graph::{Edge, Graph};
use super::registers::{INITIAL, NONE, Sessions, WRITE};
use crate::history::hash::Fast;

/// One of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guarantee {
    ReadYourWrites,
    MonotonicReads,
    MonotonicWrites,
    WritesFollowReads,
}

/// The operations a demand rests on; [`NONE`] where there are fewer than three.
pub(super) type Ground = [u32; 3];

/// What a guarantee and its premise demand.
pub(super) struct Demands {
    guarantee: Guarantee,
    /// "This version is older than that", among writes. [`Edge::via`] is twice the place in `grounds`, plus one where it
    /// is a demand of the premise.
    edges: Vec<Edge>,
    /// What each edge rests on, where that was asked for.
    grounds: Vec<Ground>,
    with_grounds: bool,
    /// Reads of the start for which the guarantee demands something newer.
    pub(super) late: Vec<Ground>,
    /// How many reads and writes the guarantee bears on.
    pub(super) judged: u64,
}

/// What a session has done so far.
#[derive(Clone, Default)]
struct Past {
    /// The last write of each key.
    wrote: Fast<u32, u32>,
    /// The last read of each key that found a write: the read and the write.
    read: Fast<u32, (u32, u32)>,
    /// Up to where (exclusive) the others' sessions precede writes that were read, and the read that showed it.
    seen: Fast<u32, (u32, u32)>,
}

impl Past {
    fn see(&mut self, sessions: &Sessions, write: u32, read: u32) {
        let node = &sessions.nodes[write as usize];
        self.raise(node.session, node.at + 1, read);
        let parent = sessions.parents[node.session as usize];
        if parent != NONE {
            let parent = &sessions.nodes[parent as usize];
            self.raise(parent.session, parent.at + 1, read);
        }
    }

    fn raise(&mut self, session: u32, until: u32, read: u32) {
        let known = self.seen.entry(session).or_insert((0, read));
        if known.0 < until {
            *known = (until, read);
        }
    }
}

impl Demands {
    /// Collects them. Time: reads × sessions at most.
    pub(super) fn new(sessions: &Sessions, keys: usize, guarantee: Guarantee, with_grounds: bool) -> Self {
        let mut demands = Demands {
            guarantee,
            edges: Vec::new(),
            grounds: Vec::new(),
            with_grounds,
            late: Vec::new(),
            judged: 0,
        };
        // What a client did before a write, that those who read the write must find done.
        let before = match guarantee {
            Guarantee::MonotonicWrites => ByKey::new(sessions, keys, |source| source == WRITE),
            Guarantee::WritesFollowReads => ByKey::new(sessions, keys, |source| source < INITIAL),
            _ => ByKey::new(sessions, 0, |_| false),
        };
        let mut branches: Fast<u32, Vec<u32>> = Fast::default();
        for (session, parent) in (0_u32..).zip(&sessions.parents) {
            if *parent != NONE {
                branches.entry(*parent).or_default().push(session);
            }
        }
        for session in (0..sessions.len()).filter(|session| sessions.parents[*session] == NONE) {
            let mut past = Past::default();
            for node in sessions.of(session) {
                demands.node(sessions, &before, node, &mut past);
                for branch in branches.get(&node).into_iter().flatten() {
                    let mut past = past.clone();
                    for node in sessions.of(*branch as usize) {
                        demands.node(sessions, &before, node, &mut past);
                    }
                }
            }
        }
        demands
    }

    fn node(&mut self, sessions: &Sessions, before: &ByKey, at: u32, past: &mut Past) {
        let node = &sessions.nodes[at as usize];
        if node.source == WRITE {
            self.write(at, node.key, past);
            past.wrote.insert(node.key, at);
            return;
        }
        self.read(at, node.key, node.source, past);
        if matches!(self.guarantee, Guarantee::MonotonicWrites | Guarantee::WritesFollowReads) {
            if node.source != INITIAL {
                past.see(sessions, node.source, at);
            }
            self.seen(sessions, before, at, past);
        }
        if node.source != INITIAL {
            past.read.insert(node.key, (at, node.source));
        }
    }

    fn write(&mut self, at: u32, key: u32, past: &Past) {
        if self.guarantee == Guarantee::WritesFollowReads {
            if let Some((read, found)) = past.read.get(&key) {
                self.judged += 1;
                self.older(*found, at, true, [*read, at, NONE]);
            }
        } else if let Some(own) = past.wrote.get(&key) {
            self.older(*own, at, self.guarantee == Guarantee::MonotonicWrites, [*own, at, NONE]);
        }
    }

    /// What a session did itself before a read.
    fn read(&mut self, at: u32, key: u32, found: u32, past: &Past) {
        if self.guarantee == Guarantee::ReadYourWrites {
            if let Some(own) = past.wrote.get(&key) {
                self.judged += 1;
                self.no_newer(*own, found, true, [*own, at, NONE]);
            }
        } else if let Some((read, newest)) = past.read.get(&key) {
            let judged = self.guarantee == Guarantee::MonotonicReads;
            self.judged += u64::from(judged);
            // A start read too late speaks against the premise alone.
            if judged || found != INITIAL {
                self.no_newer(*newest, found, judged, [*read, at, NONE]);
            }
        }
    }

    /// What others did before the writes that this session has read.
    fn seen(&mut self, sessions: &Sessions, before: &ByKey, at: u32, past: &Past) {
        let node = &sessions.nodes[at as usize];
        for (session, (until, through)) in &past.seen {
            let Some(done) = before.last(node.key, *session, *until) else { continue };
            // That a reader goes on finding what it read is the premise; but it might have found what was there before.
            if sessions.nodes[*through as usize].source == done {
                let earlier = before.last(node.key, *session, sessions.nodes[done as usize].at);
                self.judged += u64::from(earlier.is_some() && *through != at);
                continue;
            }
            let source = sessions.nodes[done as usize].source;
            self.judged += 1;
            let older = if source == WRITE { done } else { source };
            self.no_newer(older, node.source, true, [done, *through, at]);
        }
    }

    fn no_newer(&mut self, older: u32, newer: u32, judged: bool, ground: Ground) {
        if older != newer {
            self.older(older, newer, judged, ground);
        }
    }

    fn older(&mut self, older: u32, newer: u32, judged: bool, ground: Ground) {
        if newer == INITIAL {
            self.late.push(ground);
            return;
        }
        let via = (self.grounds.len() as u32) << 1 | u32::from(!judged);
        self.edges.push(Edge { from: older, to: newer, via });
        if self.with_grounds {
            self.grounds.push(ground);
        }
    }

    fn graph(&self, sessions: &Sessions) -> Graph {
        Graph::new(sessions.nodes.len(), &self.edges)
    }

    /// Whether no order of versions agrees with everything demanded.
    pub(super) fn cyclic(&self, sessions: &Sessions) -> bool {
        self.graph(sessions).sorted().is_none()
    }

    /// Leaves out what the premise demands.
    pub(super) fn without_premise(mut self) -> Self {
        self.edges.retain(|edge| edge.via & 1 == 0);
        self
    }

    /// Demands of the guarantee that lie on cycles, by the cyclic part they lie in, each with what one such cycle rests
    /// on. Lazily: the caller stops when it has seen enough. To be called with grounds.
    pub(super) fn each_cycle(
        &self,
        sessions: &Sessions,
        mut visit: impl FnMut(u32, &[Edge], Vec<u32>) -> bool,
    ) {
        let graph = self.graph(sessions);
        let component = graph.components();
        let inside = |edge: &&Edge| component[edge.from as usize] == component[edge.to as usize];
        let mut judged: Vec<&Edge> =
            self.edges.iter().filter(inside).filter(|edge| edge.via & 1 == 0).collect();
        judged.sort_unstable_by_key(|edge| (component[edge.from as usize], edge.via));
        for edge in judged {
            let part = component[edge.from as usize];
            let allowed = |node: u32| component[node as usize] == part;
            let Some(mut cycle) = graph.path(edge.to, edge.from, allowed, |via| 2 + (via & 1)) else {
                continue;
            };
            cycle.insert(0, *edge);
            let nodes = cycle.iter().flat_map(|edge| self.grounds[(edge.via >> 1) as usize]);
            let calls = nodes.filter(|node| *node != NONE).map(|node| sessions.nodes[node as usize].call);
            if !visit(part, &cycle, calls.collect()) {
                return;
            }
        }
    }
}

/// Whether a guarantee and its premise contradict each other; for few operations.
pub(super) fn broken(sessions: &Sessions, keys: usize, guarantee: Guarantee) -> bool {
    let demands = Demands::new(sessions, keys, guarantee, true);
    if !demands.late.is_empty() {
        return true;
    }
    let mut found = false;
    if demands.cyclic(sessions) {
        demands.each_cycle(sessions, |_, _, _| {
            found = true;
            false
        });
    }
    found
}

/// Whether a guarantee is broken whatever becomes of its premise; for few operations.
pub(super) fn broken_alone(sessions: &Sessions, keys: usize, guarantee: Guarantee) -> bool {
    let demands = Demands::new(sessions, keys, guarantee, false).without_premise();
    !demands.late.is_empty() || demands.cyclic(sessions)
}
