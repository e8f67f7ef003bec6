//! What logs owe: every message that was acknowledged, delivered or shown, to be there before a run may end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::history::{Entry, Value};

/// The messages of a run, by topic. Kept as long as the run: as large as the logs.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// How many messages have been asked for.
    asked: u64,
    topics: HashMap<Arc<str>, Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// How many had been asked for when it first was, itself included.
    asked: HashMap<Value, u64>,
    /// What must be in the log.
    owed: HashSet<Value>,
}

impl Ledger {
    /// A message is about to be asked for.
    pub fn asked(&self, topic: &Arc<str>, value: &Value) {
        let mut books = self.lock();
        books.asked += 1;
        let asked = books.asked;
        books.topics.entry(Arc::clone(topic)).or_default().asked.entry(value.clone()).or_insert(asked);
    }

    /// A message was acknowledged, delivered or shown.
    pub fn seen(&self, topic: &str, value: &Value) {
        let mut books = self.lock();
        // What nobody asked for is owed to nobody.
        if let Some(book) = books.topics.get_mut(topic)
            && book.asked.contains_key(value)
        {
            book.owed.insert(value.clone());
        }
    }

    /// How many messages have been asked for: one that is asked for later has a larger number.
    pub fn so_far(&self) -> u64 {
        self.lock().asked
    }

    /// Whether a log has all that it must have.
    pub fn is_all_in(&self, topic: &str, log: &[Entry]) -> bool {
        let there: HashSet<&Value> = log.iter().map(|entry| &entry.value).collect();
        let books = self.lock();
        books.topics.get(topic).is_none_or(|book| book.owed.iter().all(|value| there.contains(value)))
    }

    /// Whether any of the entries was asked for after so many others.
    pub fn any_after(&self, topic: &str, entries: &[Entry], so_far: u64) -> bool {
        let books = self.lock();
        let Some(book) = books.topics.get(topic) else { return false };
        entries.iter().filter_map(|entry| book.asked.get(&entry.value)).any(|asked| *asked > so_far)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        Entry { value: Value::Text(value.into()), offset: None, ts: None }
    }

    #[test]
    fn a_log_owes_what_was_seen_and_nothing_else() {
        let ledger = Ledger::default();
        let topic: Arc<str> = "t".into();
        for value in ["a", "b", "c"] {
            ledger.asked(&topic, &entry(value).value);
        }
        assert!(ledger.is_all_in("t", &[]));
        ledger.seen("t", &entry("b").value);
        assert!(!ledger.is_all_in("t", &[entry("a")]));
        assert!(ledger.is_all_in("t", &[entry("a"), entry("b")]));
        assert!(ledger.is_all_in("other", &[]));
        ledger.seen("t", &entry("nobody's").value);
        assert!(ledger.is_all_in("t", &[entry("b")]));
    }

    #[test]
    fn who_subscribed_late_is_owed_what_was_asked_for_later() {
        let ledger = Ledger::default();
        let topic: Arc<str> = "t".into();
        ledger.asked(&topic, &entry("a").value);
        let confirmed = ledger.so_far();
        ledger.asked(&topic, &entry("b").value);
        // Asked for again it is the message it was.
        ledger.asked(&topic, &entry("a").value);
        assert!(!ledger.any_after("t", &[entry("a")], confirmed));
        assert!(ledger.any_after("t", &[entry("a"), entry("b")], confirmed));
    }
}
