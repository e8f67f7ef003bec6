//! Collecting violations: one a kind and key is listed, the worst; all are counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value as Json};

use super::facts::{Facts, KeyId};
use super::{CheckResult, MAX_VIOLATIONS, Verdict, Violation};

/// A violation as its check knows it: typed, small, able to tell its story.
pub trait Finding {
    /// The stable name of its kind.
    fn kind(&self) -> &'static str;
    /// The key it is about.
    fn key(&self, facts: &Facts) -> Option<KeyId>;
    /// How bad it is, compared to others of the same check.
    fn weight(&self) -> u64;
    /// The violation, told.
    fn tell(&self, facts: &Facts) -> Violation;
}

/// The violations of one check.
pub struct Findings<V> {
    worst: HashMap<(&'static str, Option<KeyId>), V>,
    total: u64,
}

impl<V: Finding> Findings<V> {
    /// None yet.
    pub fn new() -> Self {
        Findings { worst: HashMap::new(), total: 0 }
    }

    /// One more. Of equally bad ones the first is kept.
    pub fn add(&mut self, facts: &Facts, finding: V) {
        self.total += 1;
        match self.worst.entry((finding.kind(), finding.key(facts))) {
            Entry::Vacant(entry) => {
                entry.insert(finding);
            }
            Entry::Occupied(mut entry) if entry.get().weight() < finding.weight() => {
                entry.insert(finding);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// The result: invalid with any violation, else unknown with a reason, else valid.
    pub fn conclude(
        self,
        facts: &Facts,
        evidence: Map<String, Json>,
        unknown: Option<String>,
    ) -> CheckResult {
        let mut worst: Vec<V> = self.worst.into_values().collect();
        worst
            .sort_by_key(|finding| (std::cmp::Reverse(finding.weight()), finding.kind(), finding.key(facts)));
        let told = worst.iter().take(MAX_VIOLATIONS).map(|finding| {
            let violation = finding.tell(facts);
            // A story that begins with a node's name keeps it as it is.
            let story = match violation.story.strip_prefix("process ") {
                Some(rest) => format!("Process {rest}"),
                None => violation.story,
            };
            Violation { story, ..violation }
        });
        let violations: Vec<_> = told.collect();
        let verdict = match (&violations[..], &unknown) {
            ([_, ..], _) => Verdict::Invalid,
            ([], Some(_)) => Verdict::Unknown,
            ([], None) => Verdict::Valid,
        };
        let reason = unknown.filter(|_| verdict == Verdict::Unknown);
        let (violations_total, stats) = (self.total, Map::new());
        CheckResult { verdict, reason, evidence, violations, violations_total, excused: 0, stats }
    }
}

/// `{"keys": 8, …}`
pub fn evidence<const N: usize>(figures: [(&str, u64); N]) -> Map<String, Json> {
    figures.into_iter().map(|(name, count)| (name.to_owned(), Json::from(count))).collect()
}
