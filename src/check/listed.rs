//! From contradictions to a result, for checks that judge messages instead of keys.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::{CheckResult, MAX_VIOLATIONS, Verdict, Violation};

/// A contradiction as its check knows it; `F` is what the check knows of the history.
pub trait Listed<F> {
    /// The stable name of its kind.
    fn kind(&self) -> &'static str;
    /// Whom or what it is about: of those that are alike only the first is listed.
    fn about(&self, facts: &F) -> Vec<String>;
    /// Which are told first: those from which others follow. 0 comes first.
    fn severity(&self) -> u8;
    /// When it showed, ns.
    fn moment(&self, facts: &F) -> u64;
    /// The violation, told.
    fn tell(&self, facts: &F) -> Violation;
}

/// The result: invalid with any contradiction, else unknown with a reason, else valid. One violation a kind and subject is
/// listed, all are counted.
pub fn conclude<F, L: Listed<F>>(
    facts: &F,
    mut found: Vec<L>,
    evidence: Map<String, Json>,
    unknown: Option<&str>,
) -> CheckResult {
    let violations_total = found.len() as u64;
    found.sort_by_cached_key(|found| (found.severity(), found.moment(facts)));
    let mut seen = HashSet::new();
    found.retain(|found| seen.insert((found.kind(), found.about(facts))));
    let violations: Vec<_> = found.iter().take(MAX_VIOLATIONS).map(|found| found.tell(facts)).collect();
    let verdict = match (violations.is_empty(), unknown) {
        (false, _) => Verdict::Invalid,
        (true, Some(_)) => Verdict::Unknown,
        (true, None) => Verdict::Valid,
    };
    CheckResult {
        verdict,
        reason: unknown.filter(|_| verdict == Verdict::Unknown).map(str::to_owned),
        evidence,
        violations,
        violations_total,
        excused: 0,
        stats: Map::new(),
    }
}
