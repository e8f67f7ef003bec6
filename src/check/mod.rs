//! The checks: a history in, a verdict out. Pure and synchronous; each in a file of its own.
//!
//! A check is **sound**: it reports only what no correct implementation of the declared contract could have produced
//! under the faults that were really injected. And it has **teeth**: where nothing could have been found it says
//! `unknown`, not `valid`.

mod availability;
mod convergence;
mod deletes;
mod diagram;
mod durability;
mod facts;
mod finals;
mod findings;
mod floor;
pub mod generate;
pub mod ladder;
mod leader;
pub mod levels;
pub mod linearizability;
mod listed;
mod log;
mod lww;
mod misread;
pub mod models;
mod monotonic_reads;
mod monotonic_writes;
mod objects;
mod outages;
mod phantom;
pub mod plain;
mod quorum;
mod reach;
mod read_your_writes;
mod session;
mod staleness;
mod stamp;
pub mod start;
mod tell;
mod total_order;
mod unversioned;
mod writes_follow_reads;

use serde_json::{Map, Value as Json};

use crate::history::History;
pub use misread::Understood;

/// What a check, or a whole run, concluded. Ordered by how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing wrong, and something could have been found.
    Valid,
    /// It cannot be said; the reason is given.
    Unknown,
    /// A violation is proved.
    Invalid,
}

/// What a check's verdict means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckMode {
    /// The run fails unless it is valid.
    Required,
    /// Shown, never fails the run.
    Reported,
    /// The run fails unless it is invalid.
    ExpectedToFail,
}

/// One violation, with the operations that prove it: take any one of them away and it is no longer proof.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Violation {
    /// A stable name: `diverged`, `lost-update`, `wrong-tie-winner` …
    pub kind: &'static str,
    /// The key it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The nodes it is about.
    pub nodes: Vec<String>,
    /// What was promised and what happened instead, in one or two sentences with values, versions and times.
    pub story: String,
    /// The likely cause, in a student's words.
    pub cause: String,
    /// [`Op::index`](crate::history::Op::index) of the operations that prove it, in time order.
    pub ops: Vec<u64>,
    /// The faults in force meanwhile: `kill B 3.0–7.0 s`.
    pub faults: Vec<String>,
    /// A picture of it in lines of text, where one helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagram: Option<String>,
}

/// What one check found.
#[derive(Clone, Debug)]
pub struct CheckResult {
    /// The conclusion.
    pub verdict: Verdict,
    /// Why, when it is unknown.
    pub reason: Option<String>,
    /// What there was to bite on: `{"keys": 8, "replicas": 3}`.
    pub evidence: Map<String, Json>,
    /// The violations: one a kind and key at most, at most [`MAX_VIOLATIONS`], worst first.
    pub violations: Vec<Violation>,
    /// How many there were in all.
    pub violations_total: u64,
    /// How many losses the declared durability excused.
    pub excused: u64,
    /// Figures to show whatever the verdict: quantiles, rates.
    pub stats: Map<String, Json>,
}

impl CheckResult {
    /// Nothing can be said, because of `reason`.
    pub fn unknown(reason: impl Into<String>) -> Self {
        CheckResult {
            verdict: Verdict::Unknown,
            reason: Some(reason.into()),
            evidence: Map::new(),
            violations: Vec::new(),
            violations_total: 0,
            excused: 0,
            stats: Map::new(),
        }
    }
}

/// How many violations a check lists.
pub const MAX_VIOLATIONS: usize = 50;

/// One check. Stateless; registered in [`CHECKS`].
pub trait Check: Sync {
    /// Its name in `[checks]`.
    fn name(&self) -> &'static str;
    /// What it promises to find, in one sentence.
    fn about(&self) -> &'static str;
    /// Judges a history.
    fn check(&self, history: &History) -> CheckResult;
}

/// Every check of a replicated store. Adding one is a file and a line here.
pub static CHECKS: &[&dyn Check] = &[
    &convergence::Convergence,
    &lww::Lww,
    &read_your_writes::ReadYourWrites,
    &monotonic_reads::MonotonicReads,
    &monotonic_writes::MonotonicWrites,
    &writes_follow_reads::WritesFollowReads,
    &durability::Durability,
    &quorum::Quorum,
    &leader::Leader,
    &staleness::Staleness,
    &availability::Availability,
];

/// Checks of what a single copy, a set, a counter … would do: more than an eventually consistent store promises, so
/// they are made only where they are asked for by name. Adding one is a file, a line in [`plain::PLAIN`] and a line here.
pub static OF_OBJECTS: &[&dyn Check] = &[
    &plain::OnRuns(linearizability::Linearizability),
    &plain::OnRuns(levels::Sequential),
    &plain::OnRuns(levels::Causal),
    &plain::OnRuns(levels::Regular),
    &plain::OnRuns(levels::Safe),
    &plain::OnRuns(objects::Set),
    &plain::OnRuns(objects::Counter),
    &plain::OnRuns(objects::UniqueIds),
    &plain::OnRuns(objects::Queue),
];

/// Every check of systems that pass messages on: broadcasts and logs. Adding one is a file and a line here.
pub static OF_MESSAGES: &[&dyn Check] = &[&total_order::TotalOrder, &log::Log];

/// Every check a workload may ask for.
pub fn all() -> impl Iterator<Item = &'static dyn Check> + Clone {
    CHECKS.iter().chain(OF_MESSAGES).chain(OF_OBJECTS).copied()
}

/// The kind of load whose operations the check called `name` judges; `None`: it says something of any, or there is no such
/// check.
pub fn judged(name: &str) -> Option<&'static str> {
    match name {
        "total-order" => Some("broadcast"),
        "log" => Some("log"),
        "availability" | "leader" => None,
        _ => find(name).map(|_| "register"),
    }
}

/// The check called `name`.
pub fn find(name: &str) -> Option<&'static dyn Check> {
    all().find(|check| check.name() == name)
}
