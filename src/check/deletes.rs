//! What a missing key proves where keys can be deleted.
//!
//! A missing key is below every version, unless a delete left it missing. A delete that was asked for, and did not
//! certainly fail, may have done so at any moment since; where its version is known, it explains nothing about writes
//! above that.

use std::collections::HashMap;

use super::facts::{KeyId, Write};
use super::stamp::Stamp;
use crate::history::Outcome;

/// All deletes that may have happened, by key.
#[derive(Default)]
pub struct Deletes {
    of: HashMap<KeyId, Vec<Upto>>,
}

/// A delete, and what is known of all of its key up to it.
struct Upto {
    asked_ns: u64,
    /// The greatest of their versions; `None` where one of them is not known.
    top: Option<Stamp>,
    /// When the last of them was acknowledged; `u64::MAX` where one never was.
    acked_ns: u64,
}

impl Deletes {
    /// Indexes the deletes among `writes`, which are in order of invocation.
    pub fn new(writes: &[Write]) -> Self {
        let mut of: HashMap<KeyId, Vec<Upto>> = HashMap::new();
        for write in writes.iter().filter(|write| write.deletes() && write.op.outcome != Outcome::Fail) {
            let before = of.entry(write.key).or_default();
            let (mut top, mut acked_ns) = (write.stamp, write.acked_ns());
            if let Some(last) = before.last() {
                top = top.zip(last.top).map(|(own, last)| own.max(last));
                acked_ns = acked_ns.max(last.acked_ns);
            }
            before.push(Upto { asked_ns: write.op.invoked_ns, top, acked_ns });
        }
        Deletes { of }
    }

    fn until(&self, key: KeyId, until_ns: u64) -> Option<&Upto> {
        let deletes = self.of.get(&key)?;
        deletes[..deletes.partition_point(|upto| upto.asked_ns <= until_ns)].last()
    }

    /// Whether a delete of `key` may explain that it was missing in an answer given by `until_ns`.
    pub fn any(&self, key: KeyId, until_ns: u64) -> bool {
        self.until(key, until_ns).is_some()
    }

    /// Whether the outcome of some delete of `key` is not known.
    pub fn unsure(&self, key: KeyId) -> bool {
        self.of.get(&key).and_then(|deletes| deletes.last()).is_some_and(|upto| upto.acked_ns == u64::MAX)
    }

    /// Whether a key found missing in an answer given by `until_ns` is certainly below `floor`.
    pub fn leave_below(&self, key: KeyId, until_ns: u64, floor: Stamp) -> bool {
        self.until(key, until_ns).is_none_or(|upto| upto.top.is_some_and(|top| top.is_below(floor)))
    }

    /// Whether every delete that may explain that answer had been acknowledged before `asked_ns`.
    pub fn all_acked_before(&self, key: KeyId, until_ns: u64, asked_ns: u64) -> bool {
        self.until(key, until_ns).is_none_or(|upto| upto.acked_ns < asked_ns)
    }
}
