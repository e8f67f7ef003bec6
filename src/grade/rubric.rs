//! What a class is graded by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Stands in [`SubmissionRules::node`] for the submission's own folder.
pub const DIR: &str = "{{ dir }}";

/// A rubric, as its file says it; paths are resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Rubric {
    /// Its name: plain, one word or more.
    pub name: String,
    /// What it is about, for people; may be empty.
    pub about: String,
    /// From which every unit's seed is drawn.
    pub seed: u64,
    /// What is asked of a submission, and how it starts.
    pub submission: SubmissionRules,
    /// What it is graded on, in order; names are distinct.
    pub items: Vec<Item>,
}

/// What is asked of a submission, and how it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmissionRules {
    /// How a node starts: what the workloads' `{{ node }}` stands for, with [`DIR`] for the submission's own folder.
    pub node: String,
    /// Files that must be there, relative to the submission's folder.
    pub requires: Vec<String>,
    /// A command that is run once in the submission's folder, before anything else.
    pub build: Option<String>,
    /// How long it may take.
    pub build_timeout: Duration,
    /// Environment of the build and the nodes.
    pub env: BTreeMap<String, String>,
    /// Limits of a node, settings of a workload's `[cluster.limits]` as `--set` takes them.
    pub limits: Vec<String>,
    /// The most an archive may unpack to, bytes.
    pub max_size: u64,
}

/// One workload with what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name; by default the workload's file name without the ending.
    pub name: String,
    /// What it tests, for people; may be empty.
    pub about: String,
    /// The workload file.
    pub workload: PathBuf,
    /// How many times it is run, each with a seed of its own; at least 1.
    pub repeats: u32,
    /// How long one run may take in all.
    pub timeout: Duration,
    /// Whether its nodes listen on ports the workload names, which two runs cannot have at once.
    pub fixed_ports: bool,
    /// The protocol file of the workload, relative to it; `None`: one that is built in.
    pub protocol: Option<PathBuf>,
    /// Settings over the workload's, as `--set` takes them.
    pub set: Vec<String>,
    /// Variables over the workload's, as `--var` takes them.
    pub vars: Vec<String>,
    /// The checks that count, in the file's order; at least one.
    pub checks: Vec<CheckPoints>,
    /// How repeats become points.
    pub credit: Credit,
    /// Whether a student sees it (Gradescope's `visibility`).
    pub visible: bool,
}

/// A check and its points.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckPoints {
    /// Its name in the workload's `[checks]`.
    pub check: String,
    /// What it is worth when every repeat passes; not negative.
    pub points: f64,
}

/// How repeats become points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// The share of the decided repeats that passed.
    Share,
    /// All the points if no decided repeat failed, otherwise none.
    AllOrNothing,
}

impl Rubric {
    /// One line for people: how many items, runs of each submission, and points.
    pub fn summary(&self) -> String {
        let count = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let runs = self.items.iter().map(|item| u64::from(item.repeats)).sum();
        format!(
            "{}: {}, {} a submission, {} points, seed {}",
            self.name,
            count(self.items.len() as u64, "item"),
            count(runs, "run"),
            self.points(),
            self.seed
        )
    }

    /// The points of everything together.
    pub fn points(&self) -> f64 {
        self.items.iter().map(Item::points).sum()
    }
}

impl Item {
    /// The points of its checks together.
    pub fn points(&self) -> f64 {
        self.checks.iter().map(|check| check.points).sum()
    }
}
