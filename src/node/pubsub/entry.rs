//! What the replicated log is made of, and the hybrid time it is stamped with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What the clocks say where a node takes a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Time the node was awake, ms since it began; only ever compared with itself.
    pub awake_ms: u64,
    /// The machine's clock, ms since 1970.
    pub wall_ms: u64,
    /// The same, corrected towards the other nodes' clocks.
    pub corrected_ms: u64,
}

/// A hybrid logical clock's reading (Kulkarni et al., "Logical Physical Clocks", 2014): `corrected_ts` is the greatest
/// physical time seen so far, `logical` counts events within it. Pairs (`corrected_ts`, `logical`) grow strictly along
/// the log, whoever leads and however the clocks differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The leader's own clock, ms since 1970, uncorrected.
    pub ts: u64,
    /// Physical part, ms since 1970.
    pub corrected_ts: u64,
    /// Logical part.
    pub logical: u64,
}

impl Stamp {
    /// The stamp of what happens `now`, after what is stamped `self`.
    pub fn next(self, now: Now) -> Stamp {
        if now.corrected_ms > self.corrected_ts {
            return Stamp { ts: now.wall_ms, corrected_ts: now.corrected_ms, logical: 0 };
        }
        Stamp { ts: now.wall_ms, corrected_ts: self.corrected_ts, logical: self.logical + 1 }
    }

    /// Its place in hybrid time.
    pub fn key(self) -> (u64, u64) {
        (self.corrected_ts, self.logical)
    }
}

/// A message as its producer published it, stamped by the leader that took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// The topic.
    pub topic: String,
    /// The producer's name for it; in the whole cluster one id is one message.
    pub id: String,
    /// When.
    pub stamp: Stamp,
    /// Whose clock said so: the leader's name.
    pub clock: String,
    /// The message.
    pub text: String,
}

/// An entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that appended it.
    pub term: u64,
    /// `None`: the entry with which a leader begins its term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<Arc<Post>>,
}

impl Entry {
    /// About how many bytes it takes on the wire.
    pub fn size(&self) -> usize {
        self.post.as_ref().map_or(16, |post| 160 + post.topic.len() + post.id.len() + post.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(corrected_ms: u64) -> Now {
        Now { awake_ms: 0, wall_ms: corrected_ms + 7, corrected_ms }
    }

    #[test]
    fn hybrid_time_grows_whatever_the_clock_does() {
        let first = Stamp::default().next(at(100));
        assert_eq!((first.ts, first.key()), (107, (100, 0)));
        let second = first.next(at(100));
        let behind = second.next(at(40));
        let ahead = behind.next(at(101));
        assert_eq!([second.key(), behind.key(), ahead.key()], [(100, 1), (100, 2), (101, 0)]);
        assert_eq!(behind.ts, 47, "the machine's own clock is told as it is");
    }
}
