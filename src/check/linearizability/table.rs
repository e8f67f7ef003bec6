//! Configurations and the table that keeps only those no other one dominates.

use crate::history::hash::{Fast, Mix};
use std::hash::Hasher;

/// One way the past may have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config<const W: usize> {
    /// The object's state.
    pub(super) state: u32,
    /// How many operations of unknown outcome were used up, by kind: an id in [`Counts`].
    pub(super) used: u32,
    /// Which open operations have taken effect, by slot.
    pub(super) done: [u64; W],
}

/// Vectors of counts, interned: each a sorted list of (kind, count), zero counts left out. Id 0 is "none".
pub(super) struct Counts {
    lists: Vec<Box<[(u32, u32)]>>,
    ids: Fast<Box<[(u32, u32)]>, u32>,
    steps: Fast<u64, u32>,
    held: usize,
    kept: usize,
}

impl Counts {
    pub(super) fn new() -> Self {
        let none: Box<[(u32, u32)]> = Box::new([]);
        let ids = Fast::from_iter([(none.clone(), 0)]);
        Counts { lists: vec![none], ids, steps: Fast::default(), held: 0, kept: 0 }
    }

    pub(super) fn get(&self, id: u32, kind: u32) -> u32 {
        let list = &self.lists[id as usize];
        list.binary_search_by_key(&kind, |(kind, _)| *kind).map_or(0, |at| list[at].1)
    }

    pub(super) fn one_more(&mut self, id: u32, kind: u32) -> u32 {
        let step = u64::from(id) << 32 | u64::from(kind);
        if let Some(next) = self.steps.get(&step) {
            return *next;
        }
        let mut list = self.lists[id as usize].to_vec();
        match list.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(at) => list[at].1 += 1,
            Err(at) => list.insert(at, (kind, 1)),
        }
        let next = self.intern(list.into());
        self.steps.insert(step, next);
        next
    }

    fn intern(&mut self, list: Box<[(u32, u32)]>) -> u32 {
        if let Some(id) = self.ids.get(&list) {
            return *id;
        }
        let id = self.lists.len() as u32;
        self.held += 2 * (list.len() * 8 + 32);
        self.lists.push(list.clone());
        self.ids.insert(list, id);
        id
    }

    /// Whether each count of `left` is at most that of `right`.
    fn at_most(&self, left: u32, right: u32) -> bool {
        if left == right || left == 0 {
            return true;
        }
        let (left, right) = (&self.lists[left as usize], &self.lists[right as usize]);
        if left.len() > right.len() {
            return false;
        }
        let mut rest = right.iter();
        left.iter().all(|(kind, count)| {
            rest.find(|(other, _)| other >= kind).is_some_and(|(other, most)| other == kind && count <= most)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.held + self.steps.capacity() * 16
    }

    /// Whether it is worth forgetting what is no longer used.
    pub(super) fn is_large(&self) -> bool {
        self.bytes() > (4 << 20) + 2 * self.kept
    }

    /// Forgets all vectors but these, and renumbers them in place.
    pub(super) fn keep_only(&mut self, live: &mut dyn Iterator<Item = &mut u32>) {
        let old = std::mem::replace(self, Counts::new());
        for id in live {
            *id = self.intern(old.lists[*id as usize].clone());
        }
        self.kept = self.bytes();
    }
}

struct Node<const W: usize> {
    config: Config<W>,
    /// The next node with the same state and the same operations done; `END` at the last.
    next: u32,
    dominated: bool,
}

const END: u32 = u32::MAX;

/// A set of configurations, none of which dominates another.
pub(super) struct Table<const W: usize> {
    /// (generation, first node): an entry of an earlier generation is empty.
    buckets: Vec<(u32, u32)>,
    generation: u32,
    heads: usize,
    nodes: Vec<Node<W>>,
}

impl<const W: usize> Table<W> {
    pub(super) fn new() -> Self {
        Table { buckets: vec![(0, 0); 64], generation: 1, heads: 0, nodes: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.buckets.fill((0, 0));
            self.generation = 1;
        }
        self.heads = 0;
        self.nodes.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The configuration of a node, unless another has come to dominate it.
    pub(super) fn get(&self, node: u32) -> Option<Config<W>> {
        let node = &self.nodes[node as usize];
        (!node.dominated).then_some(node.config)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Config<W>> {
        self.nodes.iter().filter(|node| !node.dominated).map(|node| node.config)
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * 8 + self.nodes.capacity() * size_of::<Node<W>>()
    }

    /// Puts a configuration in, unless one in the table dominates it; its node.
    pub(super) fn insert(&mut self, config: Config<W>, counts: &Counts) -> Option<u32> {
        let node = self.nodes.len() as u32;
        let bucket = self.find(&config);
        let (generation, head) = self.buckets[bucket];
        let mut next = END;
        if generation == self.generation {
            let mut at = head;
            while at != END {
                let other = &self.nodes[at as usize];
                if !other.dominated && counts.at_most(other.config.used, config.used) {
                    return None;
                }
                at = other.next;
            }
            let mut at = head;
            while at != END {
                let other = &mut self.nodes[at as usize];
                other.dominated |= counts.at_most(config.used, other.config.used);
                at = other.next;
            }
            next = head;
        } else {
            self.heads += 1;
        }
        self.buckets[bucket] = (self.generation, node);
        self.nodes.push(Node { config, next, dominated: false });
        if self.heads * 2 > self.buckets.len() {
            self.grow();
        }
        Some(node)
    }

    /// The bucket of this state and these operations: theirs, or an empty one.
    fn find(&self, config: &Config<W>) -> usize {
        let mut hash = Mix::default();
        hash.write_u32(config.state);
        config.done.iter().for_each(|word| hash.write_u64(*word));
        let mask = self.buckets.len() - 1;
        let mut bucket = (hash.finish() >> 7) as usize & mask;
        loop {
            let (generation, head) = self.buckets[bucket];
            if generation != self.generation {
                return bucket;
            }
            let held = &self.nodes[head as usize].config;
            if held.state == config.state && held.done == config.done {
                return bucket;
            }
            bucket = (bucket + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = self.buckets.len() * 4;
        let old = std::mem::replace(&mut self.buckets, vec![(0, 0); size]);
        for (generation, head) in old {
            if generation == self.generation {
                let bucket = self.find(&self.nodes[head as usize].config);
                self.buckets[bucket] = (generation, head);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_compare_by_each_kind() {
        let mut counts = Counts::new();
        let a = counts.one_more(0, 3);
        let ab = counts.one_more(a, 7);
        let ba = counts.one_more(0, 7);
        let ba = counts.one_more(ba, 3);
        let aa = counts.one_more(a, 3);
        assert_eq!(ab, ba);
        assert_eq!((counts.get(aa, 3), counts.get(aa, 7), counts.get(ab, 7)), (2, 0, 1));
        assert!(counts.at_most(0, a) && counts.at_most(a, ab) && counts.at_most(a, aa));
        assert!(!counts.at_most(ab, aa) && !counts.at_most(aa, ab) && !counts.at_most(ab, a));
    }

    #[test]
    fn only_the_frugal_stay() {
        let mut counts = Counts::new();
        let (one, other) = (counts.one_more(0, 0), counts.one_more(0, 1));
        let both = counts.one_more(one, 1);
        let config = |used| Config { state: 4, used, done: [9] };
        let mut table = Table::<1>::new();
        assert_eq!(table.insert(config(both), &counts), Some(0));
        assert_eq!(table.insert(config(one), &counts), Some(1));
        assert_eq!(table.insert(config(both), &counts), None);
        assert_eq!(table.insert(config(other), &counts), Some(2));
        assert_eq!(table.get(0), None);
        assert_eq!(table.iter().count(), 2);
        for state in 0..1000 {
            table.insert(Config { state, used: 0, done: [1] }, &counts);
            table.insert(Config { state, used: one, done: [1] }, &counts);
        }
        assert_eq!(table.iter().count(), 1002);
        table.clear();
        assert!(table.is_empty());
        assert_eq!(table.insert(config(both), &counts), Some(0));
    }
}
