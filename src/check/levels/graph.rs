//! Directed graphs of operations: orders, cycles and shortest paths.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::history::hash::Fast;

/// "This comes before that", and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    /// What forces it; each check has its own meaning for it.
    pub(super) via: u32,
}

/// A graph, its edges by where they begin.
pub(super) struct Graph {
    starts: Vec<u32>,
    /// (to, via)
    out: Vec<(u32, u32)>,
}

impl Graph {
    pub(super) fn new(nodes: usize, edges: &[Edge]) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        for edge in edges {
            starts[edge.from as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut out = vec![(0, 0); edges.len()];
        for edge in edges {
            let slot = &mut next[edge.from as usize];
            out[*slot as usize] = (edge.to, edge.via);
            *slot += 1;
        }
        Graph { starts, out }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where one gets from `node`, and why.
    pub(super) fn out(&self, node: u32) -> &[(u32, u32)] {
        &self.out[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }

    /// The nodes in an order that agrees with every edge; `None` when there is a cycle. Linear.
    pub(super) fn sorted(&self) -> Option<Vec<u32>> {
        let mut incoming = vec![0_u32; self.len()];
        for (to, _) in &self.out {
            incoming[*to as usize] += 1;
        }
        let mut order: Vec<u32> =
            (0..self.len() as u32).filter(|node| incoming[*node as usize] == 0).collect();
        let mut done = 0;
        while done < order.len() {
            let node = order[done];
            done += 1;
            for (to, _) in self.out(node) {
                incoming[*to as usize] -= 1;
                if incoming[*to as usize] == 0 {
                    order.push(*to);
                }
            }
        }
        (order.len() == self.len()).then_some(order)
    }

    /// The strongly connected component of each node (Tarjan 1972), without recursion. Linear.
    pub(super) fn components(&self) -> Vec<u32> {
        const UNSEEN: u32 = u32::MAX;
        let nodes = self.len();
        let mut index = vec![UNSEEN; nodes];
        let mut low = vec![0_u32; nodes];
        let mut component = vec![UNSEEN; nodes];
        let (mut open, mut walk): (Vec<u32>, Vec<(u32, u32)>) = (Vec::new(), Vec::new());
        let (mut counter, mut components) = (0, 0);
        for root in 0..nodes as u32 {
            if index[root as usize] != UNSEEN {
                continue;
            }
            walk.push((root, 0));
            while let Some((node, step)) = walk.pop() {
                let at = node as usize;
                if step == 0 {
                    index[at] = counter;
                    low[at] = counter;
                    counter += 1;
                    open.push(node);
                }
                if let Some((to, _)) = self.out(node).get(step as usize) {
                    walk.push((node, step + 1));
                    if index[*to as usize] == UNSEEN {
                        walk.push((*to, 0));
                    } else if component[*to as usize] == UNSEEN {
                        low[at] = low[at].min(index[*to as usize]);
                    }
                    continue;
                }
                if low[at] == index[at] {
                    while let Some(member) = open.pop() {
                        component[member as usize] = components;
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
                if let Some((parent, _)) = walk.last() {
                    low[*parent as usize] = low[*parent as usize].min(low[at]);
                }
            }
        }
        component
    }

    /// The lightest path, among the nodes that are `allowed` (Dijkstra 1959). Empty when `from` is `to`.
    pub(super) fn path(
        &self,
        from: u32,
        to: u32,
        allowed: impl Fn(u32) -> bool,
        weight: impl Fn(u32) -> u32,
    ) -> Option<Vec<Edge>> {
        let mut reached: Fast<u32, (u32, Edge)> = Fast::default();
        let mut queue = BinaryHeap::from([Reverse((0_u32, from))]);
        reached.insert(from, (0, Edge { from, to: from, via: 0 }));
        while let Some(Reverse((so_far, node))) = queue.pop() {
            if node == to {
                break;
            }
            if reached.get(&node).is_some_and(|(best, _)| *best < so_far) {
                continue;
            }
            for (next, via) in self.out(node) {
                let total = so_far + weight(*via);
                if allowed(*next) && reached.get(next).is_none_or(|(best, _)| total < *best) {
                    reached.insert(*next, (total, Edge { from: node, to: *next, via: *via }));
                    queue.push(Reverse((total, *next)));
                }
            }
        }
        let mut path = Vec::new();
        let mut at = to;
        while at != from {
            let (_, edge) = reached.get(&at)?;
            path.push(*edge);
            at = edge.from;
        }
        path.reverse();
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(u32, u32)]) -> Graph {
        let edges: Vec<Edge> = edges.iter().map(|(from, to)| Edge { from: *from, to: *to, via: 1 }).collect();
        Graph::new(nodes, &edges)
    }

    #[test]
    fn cycles_and_paths() {
        let acyclic = graph(4, &[(2, 1), (1, 0), (2, 3)]);
        let order = acyclic.sorted().unwrap();
        let place = |node| order.iter().position(|found| *found == node).unwrap();
        assert!(place(2) < place(1) && place(1) < place(0) && place(2) < place(3));
        let cyclic = graph(6, &[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (0, 2)]);
        assert!(cyclic.sorted().is_none());
        let components = cyclic.components();
        assert!(components[0] == components[1] && components[1] == components[2]);
        assert!(
            components[3] == components[4]
                && components[2] != components[3]
                && components[5] != components[0]
        );
        let steps = |path: Vec<Edge>| path.iter().map(|edge| edge.to).collect::<Vec<_>>();
        assert_eq!(steps(cyclic.path(0, 3, |_| true, |via| via).unwrap()), [2, 3]);
        assert_eq!(steps(cyclic.path(0, 3, |node| node != 2, |via| via).unwrap_or_default()), [0; 0]);
        assert_eq!(cyclic.path(3, 0, |_| true, |via| via), None);
    }
}
