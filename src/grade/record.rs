//! What is known of a submission: one line of the journal a preparation, one a unit.

use serde::{Deserialize, Serialize};

/// One submission under one item of the rubric in one repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitId {
    /// The submission's name, that of its folder or archive without the ending.
    pub submission: String,
    /// The item's name.
    pub item: String,
    /// Which repeat, from 1.
    pub repeat: u32,
}

/// What one unit says of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// The run judged it, and nothing was wrong.
    Passed,
    /// The run proved a violation, or the submission itself could not be run.
    Failed,
    /// Nobody knows: the harness or the machine was at fault, or there was nothing to judge, after every retry. It
    /// never costs points; somebody has to look.
    Undecided,
}

/// One violation, as feedback shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The kind: `diverged`, `lost-update` …
    pub kind: String,
    /// What was promised and what happened instead.
    pub story: String,
    /// The likely cause, in a student's words; may be empty.
    #[serde(default)]
    pub cause: String,
    /// The operations that prove it, one line each.
    #[serde(default)]
    pub proof: Vec<String>,
    /// The faults in force meanwhile.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// One check in one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckMark {
    /// The check's name, one of the item's.
    pub check: String,
    /// What came of it.
    pub mark: Mark,
    /// Why it is not [`Mark::Passed`], in one sentence; otherwise empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// At most three of its violations, different kinds first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Found>,
}

/// How busy the machine was while a unit ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// The share of all CPUs that was busy, 0 to 1; the mean over the unit.
    pub busy: f64,
    /// The longest time by which the watch itself woke up late, ms: how long a runnable thread waited for a CPU.
    pub late_ms: u64,
    /// The least memory that was available, bytes.
    pub available: u64,
}

/// What one unit came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Which one.
    #[serde(flatten)]
    pub unit: UnitId,
    /// The run's seed: a function of the rubric's seed, the item and the repeat, the same for every submission.
    pub seed: u64,
    /// How many times it was run; more than one where the machine or the harness was at fault before.
    pub attempts: u32,
    /// The exit code of the last run; `None`: it did not end by itself.
    pub exit_code: Option<u8>,
    /// One a check of the item, in the rubric's order.
    pub checks: Vec<CheckMark>,
    /// What went wrong with the run as a whole, in sentences (the results' `why`); empty where nothing did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// The last lines of a node's log, where the submission could not be run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The run's folder, relative to the class's output folder.
    #[serde(default)]
    pub folder: String,
    /// The command by which a student runs it again with the same seed.
    #[serde(default)]
    pub rerun: String,
    /// How long the last run took, ms.
    #[serde(default)]
    pub duration_ms: u64,
    /// How busy the machine was meanwhile.
    #[serde(default)]
    pub host: HostLoad,
    /// The fingerprint of all in the rubric and its workloads that decides how such a run ends.
    #[serde(default)]
    pub basis: String,
    /// The isolation that was in force, one word: `full`, `none` …
    #[serde(default)]
    pub isolation: String,
}

/// How a submission was made ready: unpacked, looked over and built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// The submission's name.
    pub submission: String,
    /// What its files were, as a number that changes with them.
    #[serde(default)]
    pub fingerprint: String,
    /// Why it cannot be graded, in one sentence for the student (a file is missing, the build failed, a bad
    /// archive); `None`: it is ready. Each check of each item then counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The last lines of the build, where it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Which part of a class is graded into a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 1.
    pub which: usize,
    /// Of how many.
    pub of: usize,
    /// Everybody in the class, other parts included.
    pub submissions: Vec<String>,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// A grading began.
    Part(Part),
    /// A submission was made ready, or refused.
    Prepared(Prepared),
    /// A unit was run.
    Unit(UnitRecord),
}
