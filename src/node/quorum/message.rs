//! What nodes say to each other: `POST /internal/…`, JSON both ways.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Versions a leader can give in one term. Decimal, so that a version can be read: 3000000017 is the 17th of term 3.
pub const VERSIONS_PER_TERM: u64 = 1_000_000_000;
/// The highest term: all versions stay below 2^53, where JSON numbers are exact everywhere.
pub const MAX_TERM: u64 = 9_000_000;

/// The version of a value, as the leader of a term gives it: the term, then a number that grows within the term. So
/// versions are unique and totally ordered, over all keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version number `seq` of `term`.
    pub fn new(term: u64, seq: u64) -> Self {
        Version(term * VERSIONS_PER_TERM + seq)
    }

    /// The term it was given in.
    pub fn term(self) -> u64 {
        self.0 / VERSIONS_PER_TERM
    }

    /// Which one of its term it is.
    pub fn seq(self) -> u64 {
        self.0 % VERSIONS_PER_TERM
    }

    /// Whether a correct node may have given it.
    pub fn is_possible(self) -> bool {
        self.term() <= MAX_TERM
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A version of a key's value, or of its absence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The key.
    pub key: String,
    /// Any JSON; null where `deleted`.
    pub value: Json,
    /// Whether this is a tombstone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Which of the key's values it is.
    pub version: Version,
}

/// `POST /internal/heartbeat`: the leader lives. Also a round of these confirms its term.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The leader's term.
    pub term: u64,
    /// The leader.
    pub leader_id: String,
    /// Versions that W replicas are known to hold, of late. A hint: what is lost costs a strong read one round more.
    #[serde(default)]
    pub settled: Arc<Vec<(String, Version)>>,
}

/// `POST /internal/replicate`: the leader's write.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replicate {
    /// The leader's term.
    pub term: u64,
    /// The leader.
    pub leader_id: String,
    /// What to store.
    pub item: Arc<Item>,
}

/// `POST /internal/repair`: a version some replica lacks, from whoever found that out. It has no term: a version does
/// not become wrong with age, and the newer one stays.
#[derive(Debug, Serialize, Deserialize)]
pub struct Repair {
    /// What to store.
    pub item: Arc<Item>,
}

/// The answer to [`Heartbeat`], [`Replicate`] and [`Repair`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// `false` (status 409): the sender's term is over; `term` says which it is.
    pub success: bool,
    /// Who answers.
    pub node_id: String,
    /// Its term.
    pub term: u64,
}

/// `POST /internal/get`: what the node holds for a key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Get {
    /// The key.
    pub key: String,
}

/// The answer to [`Get`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    /// Who answers.
    pub node_id: String,
    /// Its term.
    pub term: u64,
    /// What it holds: null where it never heard of the key, a tombstone where it was deleted.
    pub item: Option<Arc<Item>>,
}

/// `POST /internal/vote`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vote {
    /// The term to lead in.
    pub term: u64,
    /// Who wants to.
    pub candidate_id: String,
    /// Only asks whether the vote would be given: nothing changes.
    #[serde(default)]
    pub pre: bool,
}

/// The answer to [`Vote`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voted {
    /// Whether it has the vote.
    pub granted: bool,
    /// Who answers.
    pub node_id: String,
    /// Its term.
    pub term: u64,
}

/// `POST /internal/sync`: asks for what the sender lacks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sync {
    /// A hash of the sender's keys and versions, hexadecimal.
    pub summary: String,
    /// The sender's keys and versions; absent at first, as equal summaries need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<BTreeMap<String, Version>>,
}

/// The answer to [`Sync`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// Who answers.
    pub node_id: String,
    /// Its term.
    pub term: u64,
    /// The summaries are equal: there is nothing to tell.
    pub same: bool,
    /// What is newer here, as far as it fits into one answer.
    pub entries: Vec<Arc<Item>>,
    /// There is more: ask again.
    pub more: bool,
}

/// Every answer tells who gives it, so that nodes learn which name is behind which URL.
pub trait Answer: DeserializeOwned {
    /// Who answers, and its term.
    fn from(&self) -> (&str, u64);
}

macro_rules! answers {
    ($($name:ident)*) => {
        $(impl Answer for $name {
            fn from(&self) -> (&str, u64) {
                (&self.node_id, self.term)
            }
        })*
    };
}

answers! { Done Got Voted Synced }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_term_first_and_exact_in_json() {
        let versions = [(1, 5), (2, 0), (2, 1), (3, 17)].map(|(term, seq)| Version::new(term, seq));
        assert!(versions.is_sorted());
        assert_eq!(
            (versions[3].term(), versions[3].seq(), versions[3].to_string()),
            (3, 17, "3000000017".into())
        );
        assert!(Version::new(MAX_TERM, VERSIONS_PER_TERM - 1).0 < 1 << 53);
        assert!(!Version(1 << 60).is_possible());
    }

    #[test]
    fn a_tombstone_is_not_a_null() {
        let null: Item = serde_json::from_str(r#"{"key":"k","value":null,"version":1000000001}"#).unwrap();
        let tombstone = Item { deleted: true, ..null.clone() };
        assert_eq!(
            serde_json::to_string(&tombstone).unwrap(),
            r#"{"key":"k","value":null,"deleted":true,"version":1000000001}"#
        );
        assert_ne!(null, tombstone);
    }
}
