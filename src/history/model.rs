//! What a checker sees: paired operations, node lives, fault windows, phases. Plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Number, Value, Version};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Unknown: it may take effect now, later or never. Also every operation without a completion.
    Info,
}

/// One operation: an invocation and, where there was one, its completion.
#[derive(Clone, Debug)]
pub struct Op {
    /// Index of the `invoke` event; names the operation everywhere.
    pub index: u64,
    /// Index of the completing event.
    pub end_index: Option<u64>,
    /// The client process (a session: it is retired after an unknown outcome).
    pub process: u64,
    /// What was asked: `read`, `write`, `snapshot` …
    pub f: Arc<str>,
    /// The key, where the operation has one.
    pub key: Option<Arc<str>>,
    /// What was written, or what was read ([`Value::Nil`]: no such key). A snapshot's is in [`Op::snapshot`].
    pub value: Value,
    /// The node that was asked.
    pub node: Option<Arc<str>>,
    /// The version the answer named.
    pub version: Option<Version>,
    /// Nanoseconds since the run began.
    pub invoked_ns: u64,
    /// Nanoseconds since the run began; `None` when it never completed.
    pub returned_ns: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The error, for people.
    pub error: Option<Arc<str>>,
    /// For an `ok` snapshot: each key the node holds.
    pub snapshot: Option<Arc<BTreeMap<Arc<str>, Held>>>,
    /// What the answer said of the node and of the quorum, whatever the outcome.
    pub claim: Option<Box<Claim>>,
    /// For an `ok` `history`: the entries the node showed, in its order.
    pub entries: Option<Arc<Vec<Entry>>>,
}

/// One entry of a log, or one delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The message; unique within a run, so it names what was sent.
    pub value: Value,
    /// Its place in the log, where the system shows one.
    pub offset: Option<u64>,
    /// The timestamp the system gave it, in the system's own unit.
    pub ts: Option<Number>,
}

/// A message that a node handed to its user, or to a subscriber, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Index of the event; names the delivery everywhere, as operations are named.
    pub index: u64,
    /// When the harness had read it (ns since the run began). It was delivered then, or a little earlier.
    pub time_ns: u64,
    /// The node.
    pub node: Arc<str>,
    /// Which of the node's lives delivered it, from 0.
    pub life: usize,
    /// The process whose `subscribe` it answers; `None`: the node's own user, at its standard output.
    pub subscriber: Option<u64>,
    /// The topic, where there are topics.
    pub key: Option<Arc<str>>,
    /// What was delivered.
    pub entry: Entry,
}

/// A node said that the others had gone on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The node.
    pub node: Arc<str>,
    /// Which life of its process said so, from 0.
    pub life: usize,
    /// Index of the event: what it delivers afterwards it delivers as a newcomer.
    pub index: u64,
}

/// A line of a node that is none of those the protocol looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The node.
    pub node: Arc<str>,
    /// The process that had subscribed; `None`: the node printed it.
    pub subscriber: Option<u64>,
    /// The line, or its beginning.
    pub line: Arc<str>,
}

/// What an answer said beside values and versions. Absent: the answer, or the protocol, says nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// Whether the write quorum was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achieved: Option<bool>,
    /// How many replicas are said to hold the write, the answering node's own copy included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acks: Option<u64>,
    /// The answering node's role, as the protocol file names it: `leader`, `follower`, `candidate` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Arc<str>>,
    /// The term the answer is of: of a write, the one it was taken in; of a status, the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// The id of the node it takes for the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<Arc<str>>,
}

impl Claim {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Claim::default()
    }

    /// Whether the node said that it leads.
    pub fn leads(&self) -> bool {
        self.role.as_deref() == Some("leader")
    }
}

/// What a read was promised to show. Each level is an operation of its own, so that each is held to its own promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// `read`: whatever the check at hand promises.
    Plain,
    /// `strong-read`: the newest acknowledged write.
    Strong,
    /// `session-read`: at least what its session wrote, at whichever node.
    Session,
    /// `eventual-read`: some write, in the end the last one.
    Eventual,
}

impl Level {
    /// All of them, with their operations' names.
    pub const ALL: [(Level, &'static str); 4] = [
        (Level::Plain, "read"),
        (Level::Strong, "strong-read"),
        (Level::Session, "session-read"),
        (Level::Eventual, "eventual-read"),
    ];

    /// The level of the operation `f`; `None` where that reads no key.
    pub fn of(f: &str) -> Option<Self> {
        Level::ALL.iter().find(|(_, name)| *name == f).map(|(level, _)| *level)
    }

    /// Its operation's name.
    pub fn name(self) -> &'static str {
        Level::ALL.iter().find(|(level, _)| *level == self).map_or("read", |(_, name)| name)
    }
}

/// What a single copy of the data would call the operation `f`; `None` where it promises nothing of one: a read at a
/// weaker level, and what the harness asks of nodes for itself.
pub fn single_copy_name(f: &str) -> Option<&str> {
    match f {
        "strong-read" => Some("read"),
        "session-read" | "eventual-read" | "snapshot" | "status" => None,
        _ => Some(f),
    }
}

impl Op {
    /// The level at which it read a key; `None` where it did not read one.
    pub fn level(&self) -> Option<Level> {
        Level::of(&self.f)
    }

    /// Whether clients asked for it, as the workload says. The harness's own questions come as often as it wants to know
    /// something, and a subscriber asks a node that is down ten times a second: their outcomes would say nothing of the service.
    pub fn is_load(&self) -> bool {
        !matches!(&*self.f, "snapshot" | "status" | "subscribe")
    }

    /// Whether it certainly happened.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// The return time of an `ok` operation, else `u64::MAX`: it may take effect at any later time.
    pub fn end_ns(&self) -> u64 {
        match (self.outcome, self.returned_ns) {
            (Outcome::Ok, Some(returned_ns)) => returned_ns,
            _ => u64::MAX,
        }
    }
}

/// What a node holds under one key, by its own snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The value.
    pub value: Value,
    /// The version, where the node exposes one.
    pub version: Option<Version>,
}

/// One life of a node's process. A node that was killed and restarted has two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The process id.
    pub pid: u64,
    /// When the process was started (ns since the run began).
    pub started_ns: u64,
    /// When it first answered.
    pub ready_ns: Option<u64>,
    /// When it was found to have ended. The process may have died a little earlier, never later.
    pub ended_ns: Option<u64>,
    /// Whether the harness ended it.
    pub expected: bool,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The exit code, when it ended by itself.
    pub code: Option<i32>,
    /// Its last log lines, when the end was not expected.
    pub log: Vec<String>,
}

/// One fault, from begin to end.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its number within the run.
    pub id: u64,
    /// `kill`, `pause`, `partition` …
    pub f: Arc<str>,
    /// The nodes it was aimed at.
    pub target: Vec<Arc<str>>,
    /// For people: "kill B", "partition A | B C".
    pub label: String,
    /// When it began (ns since the run began).
    pub began_ns: u64,
    /// When it was lifted; `None` if the run ended first.
    pub ended_ns: Option<u64>,
    /// Whether evidence shows that it took effect.
    pub took_effect: bool,
    /// What was really done and seen: pids, signals, links, bytes held.
    pub evidence: Json,
}

impl Fault {
    /// Whether it was in force at some moment of `[from_ns, to_ns]`.
    pub fn overlaps(&self, from_ns: u64, to_ns: u64) -> bool {
        self.began_ns <= to_ns && self.ended_ns.is_none_or(|ended_ns| from_ns <= ended_ns)
    }

    /// The directed links it was on, sender first; empty for a fault on nodes. The evidence of its beginning lists them,
    /// that of its end tells of each.
    pub fn links(&self) -> Vec<(&str, &str)> {
        let names: Vec<&str> = match self.evidence.get("links") {
            Some(Json::Array(links)) => links.iter().filter_map(Json::as_str).collect(),
            Some(Json::Object(links)) => links.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        names.into_iter().filter_map(|name| name.split_once('→')).collect()
    }

    /// For a violation's row: `kill B 3.0–7.0 s`.
    pub fn describe(&self) -> String {
        let seconds = |ns: u64| ns as f64 / 1e9;
        match self.ended_ns {
            Some(ended_ns) => {
                format!("{} {:.1}–{:.1} s", self.label, seconds(self.began_ns), seconds(ended_ns))
            }
            None => format!("{} from {:.1} s", self.label, seconds(self.began_ns)),
        }
    }
}

/// Part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nodes are being started.
    Setup,
    /// Load and faults.
    Main,
    /// All faults are being lifted.
    Heal,
    /// Waiting for the replicas to agree.
    Settle,
    /// Over.
    Done,
}

/// What a crash must not take (design §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Acknowledged means it survives SIGKILL of any node.
    #[default]
    Disk,
    /// Survives while one node that had it stays up.
    Replicated,
    /// What only the killed nodes had may vanish.
    Memory,
}

/// Whether a client stays on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sessions {
    /// It does.
    #[default]
    Sticky,
    /// It moves from node to node.
    Roaming,
}

/// Who wins when two versions have the same timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tie {
    /// The origin that sorts last.
    #[default]
    Higher,
    /// The origin that sorts first.
    Lower,
}

/// What the system under test declared, as far as the checkers need it. Recorded as the first event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contract {
    /// All nodes, in the workload's order.
    pub nodes: Vec<String>,
    /// What a crash must not take.
    pub durability: Durability,
    /// Whether clients stay on their nodes.
    pub sessions: Sessions,
    /// Who wins a tie.
    pub tie: Tie,
    /// How long after the heal the replicas may take to agree, ms.
    pub settle_within_ms: u64,
    /// W: so many replicas hold an acknowledged write. `None`: not a quorum store, or not declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_quorum: Option<u64>,
    /// R: so many replicas are asked by a strong read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_quorum: Option<u64>,
    /// What is promised of messages that a node delivered and then crashed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uniform: bool,
    /// Whether a node that others could not reach may be removed from the group, and then delivers no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub views: bool,
    /// Whether nodes say so when that has happened to them: who says nothing was not removed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removals_told: bool,
    /// How long a majority that can talk may take to have a leader that serves, ms; `None`: nothing is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elect_within_ms: Option<u64>,
}

/// A whole history, ready to check.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was declared.
    pub contract: Contract,
    /// All operations, by `index`.
    pub ops: Vec<Op>,
    /// Everything delivered, by `index`.
    pub deliveries: Vec<Delivery>,
    /// Every removal that was told, by `index`.
    pub removals: Vec<Removal>,
    /// Some of the lines that were not understood, where deliveries are looked for.
    pub unread: Vec<Unread>,
    /// When each subscription was found to have ended (ns), by the subscribing process; absent: it lasted.
    pub unsubscribed: BTreeMap<u64, u64>,
    /// Each node's lives, in order.
    pub lives: BTreeMap<Arc<str>, Vec<Life>>,
    /// All faults, by when they began.
    pub faults: Vec<Fault>,
    /// When each phase began (ns), in order.
    pub phases: Vec<(Phase, u64)>,
    /// Settle: ms after the heal until all replicas agreed; `None` if they never did.
    pub converged_ms: Option<u64>,
    /// Traffic that went past a link: (from, to, sightings).
    pub bypasses: Vec<(Arc<str>, Arc<str>, u64)>,
    /// Whether the last line was torn (the harness was killed while writing it).
    pub torn: bool,
    /// `checks` of the `run` event, where recorded: check to mode (`required`, `reported`, `expected-to-fail`).
    pub asked: BTreeMap<String, String>,
    /// Indices of operations that were answered with something the protocol could make no sense of (`raw`).
    pub not_understood: BTreeSet<u64>,
}

impl History {
    /// The operation named `index`.
    pub fn op(&self, index: u64) -> Option<&Op> {
        self.ops.binary_search_by_key(&index, |op| op.index).ok().map(|at| &self.ops[at])
    }

    /// The delivery named `index`.
    pub fn delivery(&self, index: u64) -> Option<&Delivery> {
        let at = self.deliveries.binary_search_by_key(&index, |delivery| delivery.index);
        at.ok().map(|at| &self.deliveries[at])
    }

    /// Which of its node's lives something happened in at `time_ns`: the last that had been started by then.
    pub fn life_at(&self, node: &str, time_ns: u64) -> usize {
        let lives = self.lives.get(node).map_or(&[][..], |lives| lives);
        lives.partition_point(|life| life.started_ns <= time_ns).saturating_sub(1)
    }

    /// When `phase` began, ns.
    pub fn phase_began_ns(&self, phase: Phase) -> Option<u64> {
        self.phases.iter().find(|(which, _)| *which == phase).map(|(_, began_ns)| *began_ns)
    }

    /// The last snapshot each node answered in the settle phase. A node that never answered is absent.
    pub fn final_snapshots(&self) -> BTreeMap<Arc<str>, &Op> {
        let Some(settle_ns) = self.phase_began_ns(Phase::Settle) else { return BTreeMap::new() };
        let answered = self.ops.iter().filter(|op| op.snapshot.is_some() && op.invoked_ns >= settle_ns);
        answered.filter_map(|op| Some((op.node.clone()?, op))).collect()
    }

    /// Whether `node` may have lost its memory between two moments: a process of it ended after `from_ns`
    /// (or had already ended unseen) and another was started before `to_ns`.
    pub fn restarted_between(&self, node: &str, from_ns: u64, to_ns: u64) -> bool {
        let Some(lives) = self.lives.get(node) else { return false };
        lives.iter().skip(1).any(|life| life.started_ns >= from_ns && life.started_ns <= to_ns)
    }

    /// The faults in force at some moment of `[from_ns, to_ns]`, described for a violation's row.
    pub fn faults_during(&self, from_ns: u64, to_ns: u64) -> Vec<String> {
        self.faults.iter().filter(|fault| fault.overlaps(from_ns, to_ns)).map(Fault::describe).collect()
    }
}
