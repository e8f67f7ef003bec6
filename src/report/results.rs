//! `results.json`, schema 1, field by field. `docs/results.md` is its page for readers; a test keeps the two alike.
//!
//! Fields may be added, never renamed or removed without a new schema number. Fields that were added after the
//! first release have defaults, so that older files still read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::check::{CheckMode, Verdict};
use crate::history::{Durability, Outcome, Phase};

/// The schema this build writes and reads.
pub const SCHEMA: u64 = 1;

/// One run, as `results.json` holds it and `--json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u64,
    /// The workload's name.
    pub workload: String,
    /// The workload file, as it was given.
    #[serde(default)]
    pub file: String,
    /// The seed in force.
    pub seed: u64,
    /// What the run concluded.
    pub verdict: Verdict,
    /// The exit code that goes with it (0, 1, 3 or 4).
    pub exit_code: u8,
    /// Why the verdict is what it is; empty when it is valid.
    #[serde(default)]
    pub why: Vec<String>,
    /// When the run began, RFC 3339, UTC.
    pub started: String,
    /// How long it took, setup and clean-up included, ms.
    pub duration_ms: u64,
    /// The command that runs it again with the same seed.
    #[serde(default)]
    pub rerun: String,
    /// The results folder, as it was given; `None` where nothing was written.
    #[serde(default)]
    pub folder: Option<String>,
    /// What was declared to survive a crash.
    #[serde(default)]
    pub durability: Durability,
    /// So many replicas hold an acknowledged write, where that was declared.
    #[serde(default)]
    pub write_quorum: Option<u64>,
    /// So many replicas are asked by a strong read, where that was declared.
    #[serde(default)]
    pub read_quorum: Option<u64>,
    /// The workload's variables, rendered.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Of a run of a matrix: which cell, the value of each axis; otherwise empty.
    #[serde(default)]
    pub cell: BTreeMap<String, String>,
    /// One a check, in the workload's order.
    pub checks: Vec<CheckRow>,
    /// One a fault, by when it began.
    pub faults: Vec<FaultRow>,
    /// One a node, in the workload's order.
    pub nodes: Vec<NodeRow>,
    /// What the clients did.
    pub load: LoadRow,
    /// How the replicas came to agree.
    #[serde(default)]
    pub settle: SettleRow,
    /// When each phase began, in order.
    #[serde(default)]
    pub phases: Vec<PhaseRow>,
    /// Traffic between nodes that went past their link.
    #[serde(default)]
    pub bypasses: Vec<BypassRow>,
    /// Answers the protocol file could not make sense of.
    #[serde(default)]
    pub not_understood: Vec<NotUnderstood>,
    /// What the harness itself, or the system under test as a whole, failed at.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// Anything else a reader should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What nodes were kept from; absent where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationRow>,
    /// What it ran on.
    #[serde(default)]
    pub versions: Versions,
}

/// One check's conclusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRow {
    /// Its name in `[checks]`.
    pub name: String,
    /// What it holds the system to, in one sentence.
    #[serde(default)]
    pub promise: String,
    /// What its verdict means for the run.
    pub mode: CheckMode,
    /// The conclusion.
    pub verdict: Verdict,
    /// Why, when it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What there was to bite on.
    pub evidence: Map<String, Json>,
    /// The violations that are listed, worst first.
    pub violations: Vec<ViolationRow>,
    /// How many there were in all.
    #[serde(default)]
    pub violations_total: u64,
    /// How many losses the contract excused.
    pub excused: u64,
    /// Figures to show whatever the verdict.
    #[serde(default)]
    pub stats: Map<String, Json>,
}

impl CheckRow {
    /// What was excused, and by which words of the contract, if anything was.
    pub(super) fn excuse(&self) -> Option<String> {
        let plural = if self.excused == 1 { "loss" } else { "losses" };
        let by = match &*self.name {
            "total-order" => "`views`: the group may go on without whom a fault had silenced",
            _ => "the declared durability",
        };
        (self.excused > 0).then(|| format!("{} {plural} excused by {by}", self.excused))
    }
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViolationRow {
    /// A stable name: `diverged`, `lost-update` …
    pub kind: String,
    /// The key it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The nodes it is about.
    pub nodes: Vec<String>,
    /// What was promised and what happened instead.
    pub story: String,
    /// The likely cause, in a student's words.
    pub cause: String,
    /// Indices of the operations that prove it, as in `history.jsonl`.
    pub ops: Vec<u64>,
    /// The faults in force meanwhile.
    pub faults: Vec<String>,
    /// A picture of it in lines of text, where one helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagram: Option<String>,
    /// The same operations written out.
    #[serde(default)]
    pub proof: Vec<ProofRow>,
    /// What each node held under the key when the run ended.
    #[serde(default)]
    pub now: Vec<HeldRow>,
}

/// One operation of a proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofRow {
    /// Index of its `invoke` event.
    pub op: u64,
    /// The client process; `null`: none asked for it, as a node's user does not ask for what is delivered.
    pub process: Option<u64>,
    /// The node that was asked.
    pub node: Option<String>,
    /// What was asked.
    pub f: String,
    /// The key.
    pub key: Option<String>,
    /// What was written or read; `null`: no such key. Of a snapshot: what it says of the violation's key.
    pub value: Json,
    /// `{"ts":9,"origin":"B"}`, where the answer named one.
    pub version: Option<Json>,
    /// `ok`, `fail` or `info`.
    pub outcome: String,
    /// When it was invoked, ms since the run began.
    pub invoked_ms: f64,
    /// When it returned, ms since the run began; `null`: never.
    pub returned_ms: Option<f64>,
    /// The error, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one node held under a violation's key when the run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldRow {
    /// The node.
    pub node: String,
    /// Whether it answered at all in the settle phase.
    pub answered: bool,
    /// The value; `null`: none.
    pub value: Json,
    /// The version, where the node exposes one.
    pub version: Option<Json>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRow {
    /// `kill`, `pause`, `partition` …
    pub f: String,
    /// The nodes it was aimed at, joined by commas; of a link fault its label.
    pub target: String,
    /// For people: "partition A | B C".
    #[serde(default)]
    pub label: String,
    /// When it began, ms since the run began.
    pub began_ms: u64,
    /// When it was lifted, ms since the run began; `null`: the run ended first.
    pub ended_ms: Option<u64>,
    /// Whether evidence shows that it took effect.
    pub took_effect: bool,
    /// What was really done and seen: pids, signals, links, bytes held.
    #[serde(default)]
    pub evidence: Json,
    /// Client operations in flight at some moment of it.
    pub overlapping_ops: u64,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id.
    pub id: String,
    /// Each end of a process of it, the final clean-up aside.
    pub exits: Vec<ExitRow>,
}

/// One end of a node's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitRow {
    /// When it was found to have ended, ms since the run began.
    pub at_ms: u64,
    /// The process id.
    pub pid: u64,
    /// Whether the harness ended it.
    pub expected: bool,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The exit code, when it ended by itself.
    pub code: Option<i32>,
    /// The limit of `[cluster.limits]` for which it was ended: `memory 512 MiB exceeded (631 MiB)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Its last log lines, when the end was not expected.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What the clients did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// Operations a second that were asked for over all clients; 0: as fast as they are answered.
    pub asked_rate: f64,
    /// Operations a second that were invoked, whatever became of them.
    pub achieved_rate: f64,
    /// Operations that happened.
    pub ok: u64,
    /// Operations that certainly did not.
    pub fail: u64,
    /// Operations of which nobody knows.
    pub info: u64,
    /// Why operations did not end well, the commonest reason first; at most eight.
    #[serde(default)]
    pub not_ok: Vec<NotOk>,
    /// How many clients there were.
    #[serde(default)]
    pub clients: u64,
    /// Operations whose time came while every client was still waiting for an answer: never invoked.
    #[serde(default)]
    pub skipped: u64,
    /// The fault under which the clients spent most of their time waiting, and far longer an operation than otherwise;
    /// `null` where there is none such.
    #[serde(default)]
    pub held_up_by: Option<String>,
    /// How long the load lasted, ms.
    #[serde(default)]
    pub duration_ms: u64,
}

/// One way in which operations did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotOk {
    /// `fail` or `info`.
    pub outcome: Outcome,
    /// The node that was asked.
    pub node: String,
    /// What came instead of an answer.
    pub why: String,
    /// How many operations.
    pub count: u64,
}

/// How the replicas came to agree after the heal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SettleRow {
    /// How long they were given, ms.
    pub within_ms: u64,
    /// How long they took, ms after the heal; `null`: they never agreed.
    pub converged_ms: Option<u64>,
}

/// When a phase began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRow {
    /// Which.
    pub phase: Phase,
    /// When, ms since the run began.
    pub began_ms: u64,
}

/// Traffic between two nodes that went past their link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BypassRow {
    /// The node that opened the connection.
    pub from: String,
    /// The node it reached.
    pub to: String,
    /// How often such a connection was seen.
    pub seen: u64,
}

/// One kind of answer the protocol file could not make sense of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotUnderstood {
    /// The node that gave it.
    pub node: String,
    /// The operation it answered.
    pub f: String,
    /// What was expected and not found.
    pub why: String,
    /// How often.
    pub count: u64,
    /// One such body as it came, at most 512 characters.
    pub raw: String,
}

/// Something that kept the run from being one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, in a sentence.
    pub what: String,
    /// The node it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The limit of `[cluster.limits]` that the node went beyond: `memory 512 MiB exceeded (631 MiB)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// That node's last log lines.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What nodes were kept from; each was tried before the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IsolationRow {
    /// Files outside a node's own directory could not be written.
    pub files: bool,
    /// Processes outside a node could not be signalled or traced.
    pub signals: bool,
    /// There was no network but loopback.
    pub network: bool,
    /// The kernel kept the limits of processes, memory and processors; otherwise they were only watched.
    pub groups: bool,
    /// By what: each of `net user mount pid ipc landlock memory cpu processes file disk`, and `in force`, `watched`, or
    /// `not: ` and why.
    pub parts: BTreeMap<String, String>,
}

/// What a run ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// Version of the harness.
    pub harness: String,
    /// Operating system and architecture: `linux x86_64`.
    pub os: String,
    /// Kernel release, where it is known.
    pub kernel: Option<String>,
    /// How many CPUs the run could use.
    pub cpus: u64,
}

impl Versions {
    /// Those of this process.
    pub fn here() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Versions {
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: kernel.map(|release| release.trim().to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        }
    }
}

/// Why a `results.json` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its content.
    #[error("{}:{}:{}: not a results.json of this harness: {source}", path.display(), source.line(), source.column())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Another schema.
    #[error(
        "{}: it has schema {found}, this harness reads schema {SCHEMA}; use the harness that wrote it",
        path.display()
    )]
    Schema {
        /// Which file.
        path: PathBuf,
        /// The number it has.
        found: u64,
    },
}

impl Results {
    /// As JSON text, indented, ending in a newline: the content of `results.json` and the output of `--json`.
    pub fn to_json(&self) -> String {
        // Map keys are strings and every number is finite, so this cannot fail.
        let mut text = serde_json::to_string_pretty(self).expect("plain data is JSON");
        text.push('\n');
        text
    }

    /// Writes `results.json` so that a reader sees the whole file or none of it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("json.part");
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(self.to_json().as_bytes())?;
        drop(file);
        fs::rename(&unfinished, path)
    }

    /// Reads a `results.json`; of a folder, the one in it.
    ///
    /// # Errors
    /// When it is not there, is not one, or has another schema.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let path = if path.is_dir() { path.join("results.json") } else { path.to_owned() };
        let text =
            fs::read_to_string(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let json: Json = serde_json::from_str(&text)
            .map_err(|source| ReadError::Content { path: path.clone(), source })?;
        if let Some(found) = json.get("schema").and_then(Json::as_u64)
            && found != SCHEMA
        {
            return Err(ReadError::Schema { path, found });
        }
        serde_json::from_str(&text).map_err(|source| ReadError::Content { path, source })
    }

    /// The checks whose verdict the run's own rests on and that did not come out as they should.
    pub fn failing_checks(&self) -> impl Iterator<Item = &CheckRow> {
        self.checks.iter().filter(|check| match check.mode {
            CheckMode::Required => check.verdict == Verdict::Invalid,
            CheckMode::ExpectedToFail => check.verdict == Verdict::Valid,
            CheckMode::Reported => false,
        })
    }
}
