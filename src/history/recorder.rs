//! Writes `history.jsonl` as things happen.
//!
//! An event's `write(2)` has returned before the call does (but for [`Recorder::complete_deferred`]): an invocation is in
//! the kernel's page cache before its request is sent, so that a SIGKILL of the harness loses nothing that happened and
//! tears at most the last line. Only [`Recorder::finish`] syncs to the disk: the machine itself is not under test.
//!
//! `index` and `time` are assigned under the lock that also orders the writes, so the three orders are one. Lines are
//! put together by hand in a buffer that is used again: formatting a history through a JSON library costs more than
//! the HTTP client does (`benches/load.rs`), and nothing is kept, so memory stays flat however long the run.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::model::{Entry, Held};
use super::{Claim, Number, Outcome, Phase, Value, Version};

/// A line buffer grown past this (a snapshot's line may have megabytes) is given back after use.
const KEPT_CAPACITY_BYTES: usize = 1 << 20;
/// Deferred lines are handed over at the latest when they are so many bytes.
const MAX_DEFERRED_BYTES: usize = 1 << 16;

/// What was asked. The same in an operation's two events.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client process.
    pub process: u64,
    /// `read`, `write`, `snapshot` …
    pub f: &'a str,
    /// The key, where the operation has one.
    pub key: Option<&'a str>,
    /// The argument; [`Value::Nil`] for operations that have none.
    pub value: &'a Value,
    /// The node that is asked; in a completion the one that answered, where a hint to another was followed.
    pub node: &'a str,
}

/// How it ended. `..Default::default()` of it is an `info` that knows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// The event's `type`.
    pub outcome: Outcome,
    /// What was read; `None` repeats the argument, as completions of writes do.
    pub value: Option<&'a Value>,
    /// The version the answer named.
    pub version: Option<&'a Version>,
    /// Each key the node holds: the value of an `ok` snapshot.
    pub snapshot: Option<&'a BTreeMap<Arc<str>, Held>>,
    /// The entries the node showed: the value of an `ok` history.
    pub entries: Option<&'a [Entry]>,
    /// What the answer said of the node and of the quorum.
    pub claim: Option<&'a Claim>,
    /// A sentence for people.
    pub error: Option<&'a str>,
    /// The body of an answer that was not understood; the caller has shortened it.
    pub raw: Option<&'a str>,
}

impl Default for Completion<'_> {
    fn default() -> Self {
        Self {
            outcome: Outcome::Info,
            value: None,
            version: None,
            snapshot: None,
            entries: None,
            claim: None,
            error: None,
            raw: None,
        }
    }
}

/// Who delivered something.
#[derive(Clone, Copy, Debug)]
pub struct Deliverer<'a> {
    /// The node.
    pub node: &'a str,
    /// Which of its lives, from 0, where that is known; else the history tells by the time.
    pub life: Option<u64>,
    /// The process that had subscribed; `None`: the node's own user.
    pub subscriber: Option<u64>,
}

/// What a recorder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Bytes, line ends included.
    pub bytes: u64,
}

/// Appends events to a history. Shared by all clients and the nemesis.
#[derive(Debug)]
pub struct Recorder {
    epoch: Instant,
    path: PathBuf,
    failed: AtomicBool,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    file: File,
    /// Whole lines that are yet to be written: none between calls, but for deferred completions.
    lines: Vec<u8>,
    events: u64,
    /// What the operating system has.
    written: Written,
    error: Option<io::Error>,
}

impl Recorder {
    /// Begins a history at `path`, replacing what is there; the run's clock starts now.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Arc<Self>> {
        let path = path.as_ref().to_path_buf();
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        Ok(Arc::new(Self {
            epoch: Instant::now(),
            path,
            failed: AtomicBool::new(false),
            log: Mutex::new(Log {
                file,
                lines: Vec::with_capacity(1024),
                events: 0,
                written: Written { events: 0, bytes: 0 },
                error: None,
            }),
        }))
    }

    /// The moment the run began: time 0 of the history.
    pub fn clock(&self) -> Instant {
        self.epoch
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Where the history is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records an invocation. When this returns, the operating system has it. The event's `index`.
    pub fn invoke(&self, asked: Asked<'_>) -> u64 {
        self.event(true, |line| {
            process(line, asked.process);
            line.extend_from_slice(b",\"type\":\"invoke\"");
            f_and_key(line, &asked);
            line.extend_from_slice(b",\"value\":");
            value_json(line, asked.value);
            member(line, "node", Some(asked.node));
        })
    }

    /// Records how an operation ended. The event's `index`.
    pub fn complete(&self, asked: Asked<'_>, how: Completion<'_>) -> u64 {
        self.completion(true, asked, how)
    }

    /// As [`Recorder::complete`], but handed to the operating system together with the next event: for a caller that is
    /// about to record one, or else calls [`Recorder::flush`]. A harness that is killed in between has not recorded the
    /// answer, so the operation's outcome is unknown, as if it had been killed before the answer came. A `write(2)` less
    /// an operation is a twentieth of all it costs at full speed.
    pub fn complete_deferred(&self, asked: Asked<'_>, how: Completion<'_>) -> u64 {
        self.completion(false, asked, how)
    }

    /// Hands over what was deferred.
    pub fn flush(&self) {
        self.hand_over(&mut self.lock());
    }

    fn completion(&self, at_once: bool, asked: Asked<'_>, how: Completion<'_>) -> u64 {
        self.event(at_once, |line| {
            process(line, asked.process);
            line.extend_from_slice(match how.outcome {
                Outcome::Ok => b",\"type\":\"ok\"",
                Outcome::Fail => b",\"type\":\"fail\"",
                Outcome::Info => b",\"type\":\"info\"",
            });
            f_and_key(line, &asked);
            line.extend_from_slice(b",\"value\":");
            match (how.snapshot, how.entries) {
                (Some(held), _) => snapshot_json(line, held),
                (None, Some(entries)) => entries_json(line, entries),
                (None, None) => value_json(line, how.value.unwrap_or(asked.value)),
            }
            member(line, "node", Some(asked.node));
            if let Some(version) = how.version {
                line.extend_from_slice(b",\"version\":");
                version_json(line, version);
            }
            if let Some(claim) = how.claim.filter(|claim| !claim.is_empty()) {
                claim_json(line, claim);
            }
            member(line, "error", how.error);
            member(line, "raw", how.raw);
        })
    }

    /// Records what a node delivered on its own. Handed to the operating system with the next event, or by
    /// [`Recorder::flush`], which whoever reads deliveries calls when nothing more has arrived: a node may deliver
    /// thousands at once. The event's `index`.
    pub fn deliver(&self, by: Deliverer<'_>, key: Option<&str>, entry: &Entry) -> u64 {
        self.event(false, |line| {
            line.extend_from_slice(b"\"process\":\"node\",\"type\":\"info\",\"f\":\"deliver\"");
            member(line, "key", key);
            line.push(b',');
            entry_json(line, entry);
            member(line, "node", Some(by.node));
            for (name, number) in [("life", by.life), ("subscriber", by.subscriber)] {
                if let Some(number) = number {
                    line.extend_from_slice(b",\"");
                    line.extend_from_slice(name.as_bytes());
                    line.extend_from_slice(b"\":");
                    integer(line, number);
                }
            }
        })
    }

    /// Records that the connection of a subscription has ended. The event's `index`.
    pub fn unsubscribed(&self, node: &str, subscriber: u64) -> u64 {
        self.event(true, |line| {
            line.extend_from_slice(
                b"\"process\":\"node\",\"type\":\"info\",\"f\":\"unsubscribed\",\"value\":null",
            );
            member(line, "node", Some(node));
            line.extend_from_slice(b",\"subscriber\":");
            integer(line, subscriber);
        })
    }

    /// Records that a node, in this life of its process, said that the others had gone on without it. The event's `index`.
    pub fn removed(&self, node: &str, life: u64) -> u64 {
        self.event(false, |line| {
            line.extend_from_slice(
                b"\"process\":\"node\",\"type\":\"info\",\"f\":\"removed\",\"value\":null",
            );
            member(line, "node", Some(node));
            line.extend_from_slice(b",\"life\":");
            integer(line, life);
        })
    }

    /// Records a line that is none of those the protocol looks for. The event's `index`.
    pub fn unread(&self, node: &str, subscriber: Option<u64>, text: &str) -> u64 {
        self.event(false, |line| {
            line.extend_from_slice(b"\"process\":\"node\",\"type\":\"info\",\"f\":\"unread\"");
            member(line, "value", Some(text));
            member(line, "node", Some(node));
            if let Some(subscriber) = subscriber {
                line.extend_from_slice(b",\"subscriber\":");
                integer(line, subscriber);
            }
        })
    }

    /// Records an event of the harness: a fault's edge, a node's start or exit, anything of the table in
    /// [`event`](super::event). The event's `index`.
    pub fn nemesis(&self, f: &str, node: Option<&str>, value: &Json) -> u64 {
        // Rare and of any shape: the library writes it, outside the lock.
        let value = value.to_string();
        self.event(true, |line| {
            line.extend_from_slice(b"\"process\":\"nemesis\",\"type\":\"info\"");
            member(line, "f", Some(f));
            line.extend_from_slice(b",\"value\":");
            line.extend_from_slice(value.as_bytes());
            member(line, "node", node);
        })
    }

    /// Records that a phase begins. The event's `index`.
    pub fn phase(&self, phase: Phase) -> u64 {
        self.nemesis("phase", None, &serde_json::to_value(phase).unwrap_or(Json::Null))
    }

    /// Whether writing has failed (the disk is full). What happens from then on is not recorded, so the run should end.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Why writing failed, if it did: the file and the system's reason.
    pub fn error(&self) -> Option<String> {
        self.lock().error.as_ref().map(|error| format!("{}: {error}", self.path.display()))
    }

    /// So much the operating system has so far.
    pub fn written(&self) -> Written {
        self.lock().written
    }

    /// Syncs the history to the disk. More may be recorded after.
    ///
    /// # Errors
    /// The first error of any write, or the sync's.
    pub fn finish(&self) -> io::Result<Written> {
        let mut log = self.lock();
        self.hand_over(&mut log);
        if let Some(error) = &log.error {
            return Err(io::Error::new(error.kind(), format!("{}: {error}", self.path.display())));
        }
        log.file.sync_data()?;
        Ok(log.written)
    }

    fn event(&self, at_once: bool, body: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut guard = self.lock();
        let log = &mut *guard;
        let index = log.events;
        let time_ns = self.epoch.elapsed().as_nanos() as u64;
        log.lines.extend_from_slice(b"{\"index\":");
        integer(&mut log.lines, index);
        log.lines.extend_from_slice(b",\"time\":");
        integer(&mut log.lines, time_ns);
        log.lines.push(b',');
        body(&mut log.lines);
        log.lines.extend_from_slice(b"}\n");
        log.events += 1;
        if at_once || log.lines.len() >= MAX_DEFERRED_BYTES {
            self.hand_over(log);
        }
        index
    }

    fn hand_over(&self, log: &mut Log) {
        if log.error.is_none() && !log.lines.is_empty() {
            match log.file.write_all(&log.lines) {
                Ok(()) => {
                    log.written =
                        Written { events: log.events, bytes: log.written.bytes + log.lines.len() as u64 };
                }
                Err(error) => {
                    // Half a line would spoil the history for its reader. If this fails too, the line is the last and
                    // reads as torn.
                    let _ = log.file.set_len(log.written.bytes);
                    log.error = Some(error);
                    self.failed.store(true, Ordering::Relaxed);
                }
            }
        }
        log.lines.clear();
        if log.lines.capacity() > KEPT_CAPACITY_BYTES {
            log.lines = Vec::with_capacity(1024);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Nothing in here panics; should it, a line that is not whole is worth less than the run that goes on.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn process(line: &mut Vec<u8>, process: u64) {
    line.extend_from_slice(b"\"process\":");
    integer(line, process);
}

fn f_and_key(line: &mut Vec<u8>, asked: &Asked<'_>) {
    member(line, "f", Some(asked.f));
    member(line, "key", asked.key);
}

fn member(line: &mut Vec<u8>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        line.extend_from_slice(b",\"");
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(b"\":");
        string_json(line, text);
    }
}

fn integer(line: &mut Vec<u8>, integer: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
}

/// Appends `value` as JSON on one line.
pub(crate) fn value_json(line: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => line.extend_from_slice(b"null"),
        Value::Bool(true) => line.extend_from_slice(b"true"),
        Value::Bool(false) => line.extend_from_slice(b"false"),
        Value::Number(number) => number_json(line, *number),
        Value::Text(text) => string_json(line, text),
        Value::Json(text) => line.extend_from_slice(text.as_bytes()),
    }
}

fn number_json(line: &mut Vec<u8>, number: Number) {
    match number {
        Number::Int(int) => integer(line, int),
        // The library knows the shortest spelling, and makes `null` of what JSON cannot say.
        Number::Float(float) => line.extend_from_slice(Json::from(float).to_string().as_bytes()),
    }
}

fn version_json(line: &mut Vec<u8>, version: &Version) {
    line.extend_from_slice(b"{\"ts\":");
    number_json(line, version.ts);
    if !version.origin.is_empty() {
        member(line, "origin", Some(&version.origin));
    }
    line.push(b'}');
}

fn claim_json(line: &mut Vec<u8>, claim: &Claim) {
    let Claim { achieved, acks, role, term, leader } = claim;
    line.extend_from_slice(b",\"claim\":{");
    let first = line.len();
    if let Some(achieved) = achieved {
        line.extend_from_slice(if *achieved { b",\"achieved\":true" } else { b",\"achieved\":false" });
    }
    for (name, number) in [("acks", acks), ("term", term)] {
        if let Some(number) = number {
            line.extend_from_slice(b",\"");
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":");
            integer(line, *number);
        }
    }
    member(line, "role", role.as_deref());
    member(line, "leader", leader.as_deref());
    // Each member begins with a comma, the first of an object does not.
    line.remove(first);
    line.push(b'}');
}

fn snapshot_json(line: &mut Vec<u8>, held: &BTreeMap<Arc<str>, Held>) {
    line.push(b'{');
    for (place, (key, held)) in held.iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        string_json(line, key);
        line.extend_from_slice(b":{\"value\":");
        value_json(line, &held.value);
        if let Some(version) = &held.version {
            line.extend_from_slice(b",\"version\":");
            version_json(line, version);
        }
        line.push(b'}');
    }
    line.push(b'}');
}

fn entries_json(line: &mut Vec<u8>, entries: &[Entry]) {
    line.push(b'[');
    for (place, entry) in entries.iter().enumerate() {
        line.extend_from_slice(if place > 0 { b",{" } else { b"{" });
        entry_json(line, entry);
        line.push(b'}');
    }
    line.push(b']');
}

/// The members of an entry, without braces.
fn entry_json(line: &mut Vec<u8>, entry: &Entry) {
    line.extend_from_slice(b"\"value\":");
    value_json(line, &entry.value);
    if let Some(offset) = entry.offset {
        line.extend_from_slice(b",\"offset\":");
        integer(line, offset);
    }
    if let Some(ts) = entry.ts {
        line.extend_from_slice(b",\"ts\":");
        number_json(line, ts);
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn string_json(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        line.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => line.extend_from_slice(b"\\\""),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                line.extend_from_slice(b"\\u00");
                line.push(HEX[usize::from(byte >> 4)]);
                line.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    line.extend_from_slice(&bytes[plain..]);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_json_says() {
        for text in ["", "k1", "a\"b\\c", "\u{0}\u{1f}\n\r\t", "Grüße, 世界 \u{2028}"] {
            let mut line = Vec::new();
            string_json(&mut line, text);
            assert_eq!(serde_json::from_slice::<String>(&line).unwrap(), text);
        }
    }

    #[test]
    fn values_are_written_as_the_model_reads_them() {
        let values = [
            Value::Nil,
            Value::Bool(true),
            Value::int(i64::MIN),
            Value::Number(Number::Float(1e300)),
            Value::Number(Number::Float(0.1)),
            Value::Text("x\ny".into()),
            Value::Json("[1,{\"a\":null}]".into()),
        ];
        for value in values {
            let mut line = Vec::new();
            value_json(&mut line, &value);
            assert!(!line.contains(&b'\n'));
            assert_eq!(Value::from_json(&serde_json::from_slice(&line).unwrap()), value);
        }
    }

    #[test]
    fn claims_are_written_as_the_model_reads_them() {
        let claims = [
            Claim { achieved: Some(true), acks: Some(2), ..Claim::default() },
            Claim { role: Some("leader".into()), leader: Some("n\"1".into()), ..Claim::default() },
            Claim { term: Some(7), ..Claim::default() },
        ];
        for claim in claims {
            let mut line = Vec::new();
            claim_json(&mut line, &claim);
            let text = format!("{{\"time\":0{}}}", String::from_utf8(line).unwrap());
            let json: Json = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::from_value::<Claim>(json["claim"].clone()).unwrap(), claim);
        }
    }

    #[test]
    fn a_full_disk_is_told_and_sticks() {
        // /dev/full is Linux's disk that is always full.
        if !Path::new("/dev/full").exists() {
            return;
        }
        let recorder = Recorder::create("/dev/full").unwrap();
        assert!(!recorder.has_failed());
        recorder.phase(Phase::Setup);
        assert!(recorder.has_failed());
        assert!(recorder.error().unwrap().contains("/dev/full"));
        recorder.phase(Phase::Main);
        assert_eq!(recorder.written().events, 0);
        assert!(recorder.finish().is_err());
    }
}
