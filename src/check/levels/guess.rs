//! A guess at a sequential order, and its proof.
//!
//! With an order of each key's writes everything is decided: a read comes after the write it read and before the next one
//! of the key, so there is a legal order of everything that contains these exactly when they and the processes'
//! orders have no cycle, and any order that agrees with them is it. That is checked in linear time, so the orders
//! of the writes may be guessed: first from real time, since many a store that answers reads from old copies orders its
//! writes all the same; then from how early each must come ([`Closure::deadlines`]). Where the guess is cyclic, what is not
//! on a cycle is kept, with one more guess in each cyclic part, and what follows from these is concluded before guessing
//! again. A guess that contradicts those before it is turned round.
//!
//! A guess that fails proves nothing.

use std::collections::HashSet;
use std::time::Duration;

use super::graph::{Edge, Graph};
use super::registers::{INITIAL, NONE, Sessions, WRITE};
use super::saturate::Closure;
use super::stint::Stint;
use crate::history::calls::{Call, Calls, OPEN};

/// How long guessing may take.
const MOST_TIME: Duration = Duration::from_secs(3);

/// Whether a legal order of everything was found. Not for compare-and-sets, whose two halves could be torn apart.
pub(super) fn find_order(calls: &Calls, sessions: &Sessions, most_bytes: usize) -> bool {
    let began = Stint::begin();
    let keys = calls.keys.len();
    let two_halves = sessions.nodes.windows(2).any(|pair| pair[0].call == pair[1].call);
    if two_halves || sessions.left_out > 0 || !sessions.thin.is_empty() {
        return false;
    }
    let call = |node: u32| &calls.calls[sessions.nodes[node as usize].call as usize];
    let ends = |index: u32| calls.calls[index as usize].ret;
    let mut writes: Vec<Vec<u32>> = vec![Vec::new(); keys];
    for (at, node) in (0_u32..).zip(&sessions.nodes).filter(|(_, node)| node.source == WRITE) {
        writes[node.key as usize].push(at);
    }
    let follows = |assumed: &[Edge]| Closure::new(sessions, keys, most_bytes, assumed);
    let mut assumed = in_real_time(&writes, &call);
    let mut closure = match follows(&assumed) {
        Some(closure) => closure,
        None => {
            assumed.clear();
            match follows(&assumed) {
                Some(closure) => closure,
                None => return false,
            }
        }
    };
    while !began.is_beyond(MOST_TIME) {
        let next = next_writes(sessions, &closure, &mut writes, &ends);
        let guesses = guesses(sessions, &writes, &next);
        let graph = Graph::new(sessions.nodes.len(), &[&closure.edges[..], &guesses].concat());
        if graph.sorted().is_some() {
            return true;
        }
        let (harmless, doubtful) = sorted_out(sessions, &graph, &guesses, &assumed);
        let Some(first) = doubtful.first().copied() else { return false };
        let turned = Edge { from: first.to, to: first.from, via: NONE };
        // The bold attempt first. If one guess alone contradicts what was assumed before, its opposite follows from that.
        let found = [[harmless, doubtful].concat(), vec![first], vec![turned]].into_iter().find_map(|more| {
            let more = [&assumed[..], &more].concat();
            follows(&more).map(|closure| (more, closure))
        });
        let Some((more, concluded)) = found else { return false };
        (assumed, closure) = (more, concluded);
        assumed.sort_unstable_by_key(|edge| (edge.from, edge.to));
        assumed.dedup();
    }
    false
}

/// The next write after each of its key, in the order of their deadlines; sorts `writes` by it.
fn next_writes(
    sessions: &Sessions,
    closure: &Closure,
    writes: &mut [Vec<u32>],
    ends: &dyn Fn(u32) -> u32,
) -> Vec<u32> {
    let deadlines = closure.deadlines(sessions, ends);
    let mut place = vec![0_u32; sessions.nodes.len()];
    for (at, node) in (0_u32..).zip(&closure.order) {
        place[*node as usize] = at;
    }
    let mut next = vec![NONE; sessions.nodes.len()];
    for writes in writes {
        writes.sort_unstable_by_key(|write| (deadlines[*write as usize], place[*write as usize]));
        for pair in writes.windows(2) {
            next[pair[0] as usize] = pair[1];
        }
    }
    next
}

/// New guesses about two writes each: those on no cycle, and one of each cyclic part.
fn sorted_out(
    sessions: &Sessions,
    graph: &Graph,
    guesses: &[Edge],
    assumed: &[Edge],
) -> (Vec<Edge>, Vec<Edge>) {
    let assumed: HashSet<(u32, u32)> = assumed.iter().map(|edge| (edge.from, edge.to)).collect();
    let component = graph.components();
    let mut seen: Vec<bool> = vec![false; sessions.nodes.len()];
    let (mut harmless, mut doubtful) = (Vec::new(), Vec::new());
    let new = |guess: &&Edge| {
        sessions.nodes[guess.from as usize].source == WRITE && !assumed.contains(&(guess.from, guess.to))
    };
    for guess in guesses.iter().filter(new) {
        let part = component[guess.from as usize];
        if part != component[guess.to as usize] {
            harmless.push(*guess);
        } else if !std::mem::replace(&mut seen[part as usize], true) {
            doubtful.push(*guess);
        }
    }
    (harmless, doubtful)
}

/// From each write to those of its key that began after it was over; only where no third lies between.
fn in_real_time<'a>(writes: &[Vec<u32>], call: &impl Fn(u32) -> &'a Call) -> Vec<Edge> {
    let mut edges = Vec::new();
    for writes in writes {
        let mut ended: Vec<u32> = writes.iter().copied().filter(|write| call(*write).ret != OPEN).collect();
        ended.sort_unstable_by_key(|write| call(*write).ret);
        for write in writes {
            let before = ended.partition_point(|other| call(*other).ret < call(*write).invoke);
            let mut since = 0;
            for other in ended[..before].iter().rev() {
                if call(*other).ret < since {
                    break;
                }
                since = since.max(call(*other).invoke);
                edges.push(Edge { from: *other, to: *write, via: NONE });
            }
        }
    }
    edges
}

/// What an order of each key's writes makes of writes and reads. `next`: the next write after each.
fn guesses(sessions: &Sessions, writes: &[Vec<u32>], next: &[u32]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (at, node) in (0_u32..).zip(&sessions.nodes) {
        let to = match node.source {
            WRITE => next[at as usize],
            INITIAL => writes[node.key as usize].first().copied().unwrap_or(NONE),
            source => next[source as usize],
        };
        if to != NONE {
            edges.push(Edge { from: at, to, via: NONE });
        }
    }
    edges
}
