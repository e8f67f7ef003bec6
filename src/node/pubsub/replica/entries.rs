//! The log in memory: entries by index, from 1, of which the oldest may be gone.

use std::collections::VecDeque;

use crate::node::pubsub::entry::Entry;

/// A log whose entries up to `base` are gone; they are committed and applied.
#[derive(Debug, Default)]
pub struct Entries {
    base: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
}

impl Entries {
    /// A log without entries that goes on after `base`.
    pub fn after(base: u64, base_term: u64) -> Self {
        Entries { base, base_term, entries: VecDeque::new() }
    }

    /// The last entry that is gone; 0: none.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The index of the last entry; 0: none.
    pub fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The term of the last entry; 0: none.
    pub fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.base_term, |entry| entry.term)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry at `index`.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.base + 1)?).ok()?)
    }

    /// The term of the entry at `index`, also of the last one that is gone; 0 at 0.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base { Some(self.base_term) } else { self.get(index).map(|entry| entry.term) }
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Removes all after `last`.
    pub fn truncate(&mut self, last: u64) {
        self.entries.truncate(usize::try_from(last.saturating_sub(self.base)).unwrap_or(usize::MAX));
    }

    /// Lets go of all up to `base`.
    pub fn compact(&mut self, base: u64) {
        let Some(term) = self.term(base).filter(|_| base > self.base) else { return };
        self.entries.drain(..(base - self.base) as usize);
        (self.base, self.base_term) = (base, term);
    }

    /// All entries from `from` on.
    pub fn from(&self, from: u64) -> Vec<Entry> {
        self.batch(from, usize::MAX)
    }

    /// Entries from `from` on, at least one where there is one, about `bytes` at most.
    pub fn batch(&self, from: u64, bytes: usize) -> Vec<Entry> {
        let skip = usize::try_from(from.saturating_sub(self.base + 1)).unwrap_or(usize::MAX);
        let mut left = bytes;
        let mut batch = Vec::new();
        for entry in self.entries.iter().skip(skip) {
            if entry.size() > left && !batch.is_empty() {
                break;
            }
            left = left.saturating_sub(entry.size());
            batch.push(entry.clone());
        }
        batch
    }

    /// The first entry in a row with the term of the one at `index`.
    pub fn first_of_term(&self, mut index: u64) -> u64 {
        let term = self.term(index);
        while index > self.base && self.term(index - 1) == term {
            index -= 1;
        }
        index
    }

    /// The last entry of a term before `term`.
    pub fn last_before_term(&self, term: u64) -> u64 {
        let newer = self.entries.iter().rev().take_while(|entry| entry.term >= term).count();
        self.last() - newer as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_index_when_older_ones_go() {
        let mut log = Entries::default();
        assert_eq!((log.last(), log.last_term(), log.term(0), log.term(1)), (0, 0, Some(0), None));
        for term in [1, 1, 2, 2, 2, 4] {
            log.push(Entry { term, post: None });
        }
        assert_eq!((log.first_of_term(5), log.first_of_term(1), log.last_before_term(4)), (3, 1, 5));
        log.compact(4);
        log.compact(2);
        assert_eq!((log.base(), log.last(), log.len(), log.last_term()), (4, 6, 2, 4));
        assert_eq!((log.term(3), log.term(4), log.term(5), log.get(4)), (None, Some(2), Some(2), None));
        assert_eq!((log.batch(5, 1).len(), log.from(5).len(), log.from(7).len()), (1, 2, 0));
        log.truncate(5);
        assert_eq!((log.last(), log.last_term()), (5, 2));
        log.truncate(1);
        assert_eq!((log.last(), log.last_term()), (4, 2), "what is gone is not cut off");
        assert_eq!(log.last_before_term(1), 4);
    }
}
