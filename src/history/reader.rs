//! Reading `history.jsonl`.
//!
//! One line at a time, into typed fields: memory is that of the operations, never of the text. Keys, nodes and
//! operation names are stored once. An operation that was never completed (the harness was killed, the client still
//! waited) ends as [`Outcome::Info`]: it may have taken effect.
//!
//! The writer hands over whole lines, so a kill can tear only the last one: it is read as absent, as are the NUL bytes
//! that some file systems leave behind a power cut. Anything else that is out of order is an error with file and line:
//! a checker that guesses what a broken history meant proves nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::line::{ClaimField, Kind, Line, Payload, Process, VersionField};
use super::model::{
    Claim, Contract, Delivery, Entry, Fault, Held, History, Life, Op, Outcome, Phase, Removal, Unread,
};
use super::{Number, Value, Version};

/// The longest line that is read, in bytes: a snapshot of some hundred thousand keys.
pub const MAX_LINE: u64 = 64 << 20;

/// Why a history cannot be read: where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", .file.display(), .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ReadError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1; `None` when the file cannot be opened.
    pub line: Option<u64>,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a history.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The line is no event.
    #[error("column {column}: {what}; expected one event, such as {EXAMPLE}")]
    Malformed {
        /// Byte of the line, from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// The line is longer than [`MAX_LINE`].
    #[error("the line is longer than {} MiB; expected one event a line", MAX_LINE >> 20)]
    TooLong,
    /// A field does not hold what its event needs.
    #[error("`{field}` of a {event} event is {found}; expected {expected}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Of which event.
        event: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// `index` does not grow.
    #[error("index {index} after index {before}; expected indices that grow from line to line")]
    IndexBackwards {
        /// This line's.
        index: u64,
        /// The line before's.
        before: u64,
    },
    /// `time` goes backwards.
    #[error("time {time} ns after time {before} ns; expected times that never go backwards")]
    TimeBackwards {
        /// This line's.
        time: u64,
        /// The line before's.
        before: u64,
    },
    /// A completion of a process that has nothing open.
    #[error("process {process} completes a {f} ({kind}) that it never invoked")]
    NotInvoked {
        /// The process.
        process: u64,
        /// The completed operation.
        f: String,
        /// `ok`, `fail` or `info`.
        kind: &'static str,
    },
    /// An invocation of a process that has one open.
    #[error(
        "process {process} invokes a {f} while its operation {open} is still open; a process does one thing at a time"
    )]
    TwoOpen {
        /// The process.
        process: u64,
        /// The invoked operation.
        f: String,
        /// Index of the open invocation.
        open: u64,
    },
    /// A completion that is not of what was invoked.
    #[error("process {process} invoked {invoked} (operation {open}) but completes {completed}")]
    Mismatch {
        /// The process.
        process: u64,
        /// Index of the open invocation.
        open: u64,
        /// What was invoked: operation and key.
        invoked: String,
        /// What is completed.
        completed: String,
    },
}

const EXAMPLE: &str = r#"{"index":12,"time":1873465021,"process":3,"type":"invoke","f":"write","key":"k1","value":17,"node":"B"}"#;

/// Reads the history in `path`.
pub fn read(path: &Path) -> Result<History, ReadError> {
    let at = |problem| ReadError { file: path.into(), line: None, problem };
    let file = File::open(path).map_err(|error| at(Problem::Io(error)))?;
    read_from(BufReader::with_capacity(1 << 18, file), path)
}

/// Reads a history from anywhere; `name` is what errors call it.
pub fn read_from(mut source: impl BufRead, name: &Path) -> Result<History, ReadError> {
    let mut reader = Reader::default();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        number += 1;
        let at = |problem| ReadError { file: name.into(), line: Some(number), problem };
        line.clear();
        let length = source
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| at(Problem::Io(error)))?;
        if length == 0 {
            return Ok(reader.finish());
        }
        let complete = line.last() == Some(&b'\n');
        if !complete && length as u64 == MAX_LINE {
            return Err(at(Problem::TooLong));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Line>(text) {
            Ok(event) => reader.event(event).map_err(at)?,
            Err(_) if !complete => reader.history.torn = true,
            Err(error) => return Err(at(malformed(&error))),
        }
    }
}

fn malformed(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    Problem::Malformed { column: error.column(), what: what.to_owned() }
}

#[derive(Default)]
struct Reader {
    history: History,
    names: HashSet<Arc<str>>,
    open: HashMap<u64, usize>,
    last: Option<(u64, u64)>,
}

impl Reader {
    fn event(&mut self, line: Line) -> Result<(), Problem> {
        if let Some((index, time)) = self.last {
            if line.index <= index {
                return Err(Problem::IndexBackwards { index: line.index, before: index });
            }
            if line.time < time {
                return Err(Problem::TimeBackwards { time: line.time, before: time });
            }
        }
        self.last = Some((line.index, line.time));
        match line.process {
            Process::Nemesis => self.nemesis(line),
            Process::Node => self.deliver(line),
            Process::Client(process) if line.kind == Kind::Invoke => self.invoke(process, line),
            Process::Client(process) => self.complete(process, line),
        }
    }

    fn invoke(&mut self, process: u64, line: Line) -> Result<(), Problem> {
        if let Some(&open) = self.open.get(&process) {
            let open = self.history.ops[open].index;
            return Err(Problem::TwoOpen { process, f: line.f.into_owned(), open });
        }
        self.open.insert(process, self.history.ops.len());
        let op = Op {
            index: line.index,
            end_index: None,
            process,
            f: self.name(&line.f),
            key: line.key.map(|key| self.name(&key)),
            value: line.value.into_value(),
            node: line.node.map(|node| self.name(&node)),
            version: None,
            invoked_ns: line.time,
            returned_ns: None,
            outcome: Outcome::Info,
            error: None,
            snapshot: None,
            claim: None,
            entries: None,
        };
        self.history.ops.push(op);
        Ok(())
    }

    fn complete(&mut self, process: u64, line: Line) -> Result<(), Problem> {
        let Some(open) = self.open.remove(&process) else {
            return Err(Problem::NotInvoked { process, f: line.f.into_owned(), kind: line.kind.name() });
        };
        let invoked = &self.history.ops[open];
        let same_key = line.key.as_deref().is_none_or(|key| invoked.key.as_deref() == Some(key));
        if *invoked.f != *line.f || !same_key {
            let named = |f: &str, key: Option<&str>| key.map_or(f.to_owned(), |key| format!("{f} {key}"));
            return Err(Problem::Mismatch {
                process,
                open: invoked.index,
                invoked: named(&invoked.f, invoked.key.as_deref()),
                completed: named(&line.f, line.key.as_deref()),
            });
        }
        let version = line.version.map(|version| self.version(version)).transpose()?;
        let claim = line.claim.map(|claim| Box::new(self.claim(claim)));
        let error = line.error.map(|error| self.name(&error));
        let node = line.node.map(|node| self.name(&node));
        let ok = line.kind == Kind::Ok;
        let snapshot = match (ok, &*line.f, &line.value) {
            (true, "snapshot", Payload::Json(Json::Object(held))) => Some(Arc::new(self.snapshot(held)?)),
            (true, "snapshot", other) => {
                return Err(Problem::Field {
                    field: "value",
                    event: "snapshot".into(),
                    found: other.to_string(),
                    expected: r#"an object, such as {"k1":{"value":17}}"#,
                });
            }
            _ => None,
        };
        let entries = match (ok, &*line.f, &line.value) {
            (true, "history", Payload::Json(Json::Array(shown))) => Some(Arc::new(entries(shown)?)),
            _ => None,
        };
        let op = &mut self.history.ops[open];
        op.end_index = Some(line.index);
        op.returned_ns = Some(line.time);
        op.outcome = line.kind.outcome();
        // What a write wrote is what was asked; what anything else answered is in its completion.
        if ok
            && snapshot.is_none()
            && entries.is_none()
            && !matches!(&*op.f, "write" | "publish" | "broadcast")
        {
            op.value = line.value.into_value();
        }
        op.snapshot = snapshot;
        op.entries = entries;
        op.version = version;
        op.error = error;
        op.claim = claim;
        if line.raw.is_some() {
            self.history.not_understood.insert(op.index);
        }
        // The one that answered, where the client was sent on.
        if node.is_some() {
            op.node = node;
        }
        Ok(())
    }

    fn deliver(&mut self, line: Line) -> Result<(), Problem> {
        let field = |field, found: String, expected| {
            Err(Problem::Field { field, event: "deliver".into(), found, expected })
        };
        if let ("unsubscribed", Some(subscriber)) = (&*line.f, line.subscriber) {
            self.history.unsubscribed.insert(subscriber, line.time);
            return Ok(());
        }
        if !["deliver", "removed", "unread"].contains(&&*line.f) {
            return field(
                "f",
                format!("{:?}", &*line.f),
                r#""deliver", "removed" or "unread", the only things nodes do on their own"#,
            );
        }
        let Some(node) = line.node else {
            return field("node", "absent".into(), "the node that it is about");
        };
        let ts = match line.ts.into_value() {
            Value::Number(ts) => Some(ts),
            _ => None,
        };
        if &*line.f == "unread" {
            let Value::Text(text) = line.value.into_value() else { return Ok(()) };
            let node = self.name(&node);
            self.history.unread.push(Unread { node, subscriber: line.subscriber, line: text });
            return Ok(());
        }
        let life = line.life.and_then(|life| usize::try_from(life).ok());
        let life = life.unwrap_or_else(|| self.history.life_at(&node, line.time));
        if &*line.f == "removed" {
            let node = self.name(&node);
            self.history.removals.push(Removal { node, life, index: line.index });
            return Ok(());
        }
        let delivery = Delivery {
            life,
            index: line.index,
            time_ns: line.time,
            node: self.name(&node),
            subscriber: line.subscriber,
            key: line.key.map(|key| self.name(&key)),
            entry: Entry { value: line.value.into_value(), offset: line.offset, ts },
        };
        self.history.deliveries.push(delivery);
        Ok(())
    }

    fn nemesis(&mut self, line: Line) -> Result<(), Problem> {
        let time = line.time;
        let node = line.node.as_deref().map(|node| self.name(node));
        let f = self.name(&line.f);
        let value = line.value.into_json();
        match (&*f, node) {
            ("run", _) => self.run(value)?,
            ("phase", _) => {
                let phase = Phase::deserialize_json(&value).ok_or_else(|| Problem::Field {
                    field: "value",
                    event: "phase".into(),
                    found: value.to_string(),
                    expected: r#"one of "setup", "main", "heal", "settle", "done""#,
                })?;
                self.history.phases.push((phase, time));
            }
            ("converged", _) => self.history.converged_ms = value.get("ms").and_then(Json::as_u64),
            ("bypass", _) => {
                let text = |field| value.get(field).and_then(Json::as_str).unwrap_or_default();
                let seen = value.get("seen").and_then(Json::as_u64).unwrap_or(1);
                let pair = (self.name(text("from")), self.name(text("to")));
                self.history.bypasses.push((pair.0, pair.1, seen));
            }
            ("start", Some(node)) => {
                let pid = value.get("pid").and_then(Json::as_u64).unwrap_or_default();
                self.history.lives.entry(node).or_default().push(born(pid, time));
            }
            ("ready", Some(node)) => {
                if let Some(life) = self.history.lives.get_mut(&node).and_then(|lives| lives.last_mut()) {
                    life.ready_ns.get_or_insert(time);
                }
            }
            ("exit", Some(node)) => self.exit(node, &value, time),
            ("start" | "ready" | "exit", None) => {
                return Err(Problem::Field {
                    field: "node",
                    event: f.to_string(),
                    found: "absent".into(),
                    expected: "the node whose process it was",
                });
            }
            _ => self.fault(f, &value, time),
        }
        Ok(())
    }

    fn run(&mut self, mut value: Json) -> Result<(), Problem> {
        if let Some(checks) = value.get("checks").and_then(Json::as_object) {
            let mode = |mode: &Json| mode.as_str().unwrap_or_default().to_owned();
            self.history.asked = checks.iter().map(|(name, json)| (name.clone(), mode(json))).collect();
        }
        let contract = match value.get_mut("contract") {
            Some(contract) => contract.take(),
            None => value,
        };
        self.history.contract = serde_json::from_value::<Contract>(contract).map_err(|error| Problem::Field {
            field: "value",
            event: "run".into(),
            found: format!("not a contract ({error})"),
            expected: r#"an object with nodes, durability ("disk", "replicated", "memory"), sessions, tie, settle_within_ms"#,
        })?;
        Ok(())
    }

    fn exit(&mut self, node: Arc<str>, value: &Json, time: u64) {
        let lives = self.history.lives.entry(node).or_default();
        let pid = value.get("pid").and_then(Json::as_u64);
        let ended =
            lives.iter().position(|life| life.ended_ns.is_none() && pid.is_none_or(|pid| life.pid == pid));
        let life = match ended {
            Some(which) => &mut lives[which],
            // Its start is not in the history: imported, or written by hand.
            None => {
                lives.push(born(pid.unwrap_or_default(), 0));
                let last = lives.len() - 1;
                &mut lives[last]
            }
        };
        let small = |field| value.get(field).and_then(Json::as_i64).and_then(|int| i32::try_from(int).ok());
        life.ended_ns = Some(time);
        life.expected = value.get("expected").and_then(Json::as_bool).unwrap_or(false);
        life.signal = small("signal");
        life.code = small("code");
        let log = value.get("log").and_then(Json::as_array);
        life.log = log.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect();
    }

    /// Events of unknown kinds without `fault` are skipped: newer harnesses may write more than this one knows.
    fn fault(&mut self, f: Arc<str>, value: &Json, time: u64) {
        let (Some(id), Some(edge)) =
            (value.get("fault").and_then(Json::as_u64), value.get("edge").and_then(Json::as_str))
        else {
            return;
        };
        let took_effect = value.get("took_effect").and_then(Json::as_bool).unwrap_or(false);
        let evidence = value.get("evidence").cloned().unwrap_or(Json::Null);
        if edge == "begin" {
            let target = value.get("target").and_then(Json::as_array);
            let target =
                target.into_iter().flatten().filter_map(Json::as_str).map(|node| self.name(node)).collect();
            let label = value.get("label").and_then(Json::as_str).unwrap_or(&f).to_owned();
            let (began_ns, ended_ns) = (time, None);
            self.history.faults.push(Fault {
                id,
                f,
                target,
                label,
                began_ns,
                ended_ns,
                took_effect,
                evidence,
            });
        } else if let Some(fault) = self.history.faults.iter_mut().rev().find(|fault| fault.id == id) {
            fault.ended_ns = Some(time);
            fault.took_effect |= took_effect;
            match (&mut fault.evidence, evidence) {
                (Json::Object(known), Json::Object(more)) => known.extend(more),
                (known, more) if known.is_null() => *known = more,
                _ => {}
            }
        }
    }

    fn snapshot(
        &mut self,
        held: &serde_json::Map<String, Json>,
    ) -> Result<BTreeMap<Arc<str>, Held>, Problem> {
        let mut keys = BTreeMap::new();
        for (key, json) in held {
            let Json::Object(entry) = json else {
                return Err(Problem::Field {
                    field: "value",
                    event: "snapshot".into(),
                    found: format!("{json} under {key:?}"),
                    expected: r#"an object with "value" and, where exposed, "version" for each key"#,
                });
            };
            let version = match entry.get("version") {
                None | Some(Json::Null) => None,
                Some(json) => Some(Version::from_json(json).ok_or_else(|| bad_version("snapshot", json))?),
            };
            let version = version.map(|version| Version { origin: self.name(&version.origin), ..version });
            let value = entry.get("value").map_or(Value::Nil, Value::from_json);
            keys.insert(self.name(key), Held { value, version });
        }
        Ok(keys)
    }

    fn claim(&mut self, field: ClaimField) -> Claim {
        Claim {
            achieved: field.achieved,
            acks: field.acks,
            term: field.term,
            role: field.role.map(|role| self.name(&role)),
            leader: field.leader.map(|leader| self.name(&leader)),
        }
    }

    fn version(&mut self, field: VersionField) -> Result<Version, Problem> {
        match field.ts.into_value() {
            Value::Number(ts) => {
                Ok(Version { ts, origin: self.name(field.origin.as_deref().unwrap_or_default()) })
            }
            other => Err(bad_version("completion", &other.to_json())),
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        match self.names.get(name) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = name.into();
                self.names.insert(new.clone());
                new
            }
        }
    }

    fn finish(self) -> History {
        self.history
    }
}

/// The value of an `ok` `history`: `[{"value":"m1","offset":0,"ts":17}, …]`.
fn entries(shown: &[Json]) -> Result<Vec<Entry>, Problem> {
    let entry = |json: &Json| {
        let value = json.get("value").ok_or_else(|| Problem::Field {
            field: "value",
            event: "history".into(),
            found: json.to_string(),
            expected: r#"entries such as {"value":"m1","offset":0,"ts":17}"#,
        })?;
        Ok(Entry {
            value: Value::from_json(value),
            offset: json.get("offset").and_then(Json::as_u64),
            ts: json.get("ts").and_then(Number::from_json),
        })
    };
    shown.iter().map(entry).collect()
}

fn born(pid: u64, started_ns: u64) -> Life {
    let (ready_ns, ended_ns, signal, code) = (None, None, None, None);
    Life { pid, started_ns, ready_ns, ended_ns, expected: false, signal, code, log: Vec::new() }
}

fn bad_version(event: &str, found: &Json) -> Problem {
    Problem::Field {
        field: "version",
        event: event.into(),
        found: found.to_string(),
        expected: r#"a version whose ts is a number, such as {"ts":9,"origin":"B"}"#,
    }
}

impl Phase {
    fn deserialize_json(json: &Json) -> Option<Self> {
        serde::Deserialize::deserialize(json).ok()
    }
}
