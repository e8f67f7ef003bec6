//! Protocol files: how to talk to a node, without code.
//!
//! A protocol file is TOML. It has one table for each operation it teaches: `[read]`, `[write]`, `[delete]` and reads at
//! other levels (what the clients of the load do), `[snapshot]` (everything a node holds), `[status]` (its role and term)
//! and `[ready]` (a sign of life). The format is documented for
//! users in `workloads/protocols/README.md`; `workloads/protocols/lab2.toml` is a complete example, and is what the
//! built-in protocol `lab2` is made of.
//!
//! How an answer is judged: the operation's `[[…answer]]` rules in order, the first that applies decides. If none does:
//!
//! | status | write, delete | read, snapshot, status |
//! |---|---|---|
//! | 2xx | `ok`; `info` when an `error` place says something | `ok` when the value is found, else not understood; `fail` when an `error` place says something |
//! | 4xx | `fail` | `fail` |
//! | 5xx | `info` | `fail` |
//! | other, or a 2xx whose body is no UTF-8 | not understood | not understood |
//!
//! An answer that is *not understood* is `info` for a write and `fail` for a read (design §4), and its body is kept.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::answer::{Purpose, Reading, ValueKind};
use super::decode;
use super::talk::{Plain, Seen, Shown, Talk};
use super::template::{Template, suggest};
use crate::history::Entry;

/// The protocols that come with the harness: name and file.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("lab2", include_str!("../../workloads/protocols/lab2.toml")),
    ("quorum", include_str!("../../workloads/protocols/quorum.toml")),
    ("broadcast", include_str!("../../workloads/protocols/broadcast.toml")),
    ("pubsub", include_str!("../../workloads/protocols/pubsub.toml")),
    ("quorum-snake", include_str!("../../workloads/protocols/quorum-snake.toml")),
    ("etcd", include_str!("../../workloads/protocols/etcd.toml")),
];

/// The operations a protocol file may teach: name and what each is for. A new one is a line here.
pub(super) const OPERATIONS: [(&str, Purpose); 13] = [
    ("read", Purpose::Read),
    ("write", Purpose::Write),
    ("delete", Purpose::Delete),
    ("strong-read", Purpose::Read),
    ("session-read", Purpose::Read),
    ("eventual-read", Purpose::Read),
    ("snapshot", Purpose::Snapshot),
    ("broadcast", Purpose::Send),
    ("publish", Purpose::Send),
    ("history", Purpose::History),
    ("subscribe", Purpose::Subscribe),
    ("status", Purpose::Status),
    ("ready", Purpose::Ready),
];

/// What carries requests and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1.
    #[default]
    Http,
    /// Lines of text over TCP.
    Line,
    /// Lines of text to a process's standard input; what it delivers is read from its standard output.
    Stdio,
}

/// How to talk to a node.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub(super) name: String,
    pub(super) transport: Transport,
    /// What a line that delivers a message looks like.
    pub(super) deliver: Option<Shown>,
    /// `stdio`: what a node prints when it is ready; `None`: it is as soon as it runs.
    pub(super) ready_line: Option<regex::Regex>,
    /// `stdio`: what a node prints when the others went on without it, so that it begins anew.
    pub(super) removed_line: Option<regex::Regex>,
    /// How lines are read.
    pub(super) plain: Plain,
    pub(super) value_kind: ValueKind,
    pub(super) keep_alive: bool,
    pub(super) operations: Vec<Operation>,
}

/// One operation: the request, and how to read the answer.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub name: &'static str,
    pub purpose: Purpose,
    pub method: String,
    pub path: Template,
    /// Names and values, apart from those the client sets itself.
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    /// Instead of all that where the transport is lines.
    pub talk: Option<Talk>,
    pub reading: Reading,
}

impl Protocol {
    /// The protocol called `name_or_path`: a built-in name, or the path of a protocol file (it has a `/` or ends in
    /// `.toml`), relative to `base_dir`.
    ///
    /// # Errors
    /// No such built-in, an unreadable file, or mistakes in it with their lines and columns.
    pub fn load(name_or_path: &str, base_dir: &Path) -> Result<Arc<Self>, ProtocolError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, &PathBuf::from(format!("{name}.toml")), name).map(Arc::new);
        }
        if !name_or_path.contains('/') && !name_or_path.ends_with(".toml") {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            let hint = suggest(name_or_path, &names);
            let message = format!(
                "there is no built-in protocol `{name_or_path}`{hint} (a file's path has a `/` or ends in `.toml`)"
            );
            return Err(ProtocolError::without_place(None, message));
        }
        let path = base_dir.join(name_or_path);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            ProtocolError::without_place(
                Some(path.clone()),
                format!("the protocol file cannot be read: {error}"),
            )
        })?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::parse(&text, &path, &name).map(Arc::new)
    }

    /// Parses a protocol file's `text`; `path` is for errors, `name` is used unless the file has a `name`.
    ///
    /// # Errors
    /// Every mistake, with its line and column.
    pub fn parse(text: &str, path: &Path, name: &str) -> Result<Self, ProtocolError> {
        decode::protocol(text, path, name)
    }

    /// Whether a TOML file that has these keys at its top level is meant as a protocol file, and not as a workload.
    pub fn is_meant(has: impl Fn(&str) -> bool) -> bool {
        let of_workloads = ["cluster", "client", "load", "fault", "chaos", "checks"];
        let teaches = has("transport") || OPERATIONS.iter().any(|(name, _)| has(name));
        teaches && !of_workloads.into_iter().any(&has)
    }

    /// In a line: what carries it and what it teaches.
    pub fn summary(&self) -> String {
        let transport = decode::TRANSPORTS.iter().find(|(_, transport)| *transport == self.transport);
        let transport = transport.map_or("", |(name, _)| name);
        let operations: Vec<&str> = self.operations.iter().map(|operation| operation.name).collect();
        format!("protocol {} over {transport}: {}", self.name, operations.join(", "))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operations a load's `mix` may name.
    pub fn operations(&self) -> impl Iterator<Item = &'static str> + '_ {
        let mixable = |operation: &&Operation| {
            operation.purpose.mutates() || matches!(operation.purpose, Purpose::Read | Purpose::History)
        };
        self.operations.iter().filter(mixable).map(|operation| operation.name)
    }

    /// What carries requests and answers.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether it knows what a delivery looks like.
    pub fn delivers(&self) -> bool {
        self.deliver.is_some()
    }

    /// What `line` delivers; `None`: it is another kind of line.
    pub(super) fn delivery<'a>(&self, line: &'a str) -> Option<Seen<'a>> {
        self.deliver.as_ref()?.read(line, self.value_kind)
    }

    /// The same of a line as it came: the topic, where it names one, and the message.
    pub(super) fn delivered(&self, line: &str) -> Option<(Option<String>, Entry)> {
        let line = self.plain.read(line);
        let seen = self.delivery(&line)?;
        Some((seen.key.map(str::to_owned), seen.entry))
    }

    /// Whether nodes print that they are ready.
    pub(super) fn has_ready_line(&self) -> bool {
        self.ready_line.is_some()
    }

    /// Whether this line says so.
    pub(super) fn announces_ready(&self, line: &str) -> bool {
        self.ready_line.as_ref().is_some_and(|ready| ready.is_match(line))
    }

    /// Whether nodes print that they were removed from their group.
    pub fn tells_removals(&self) -> bool {
        self.removed_line.is_some()
    }

    /// Whether this line says so.
    pub(super) fn announces_removal(&self, line: &str) -> bool {
        self.removed_line.as_ref().is_some_and(|removed| removed.is_match(line))
    }

    /// Whether it teaches `name`.
    pub fn has(&self, name: &str) -> bool {
        self.operation(name).is_some()
    }

    /// Whether a node can be asked for everything it holds at once.
    pub fn has_snapshot(&self) -> bool {
        self.has("snapshot")
    }

    /// Whether the operation `name` changes the store, so that an unknown outcome retires the process that asked.
    pub fn mutates(&self, name: &str) -> bool {
        self.operation(name).is_some_and(|operation| operation.purpose.mutates())
    }

    /// Whether the operation `name` carries a value of its own.
    pub fn carries_value(&self, name: &str) -> bool {
        let carries = |operation: &Operation| matches!(operation.purpose, Purpose::Write | Purpose::Send);
        self.operation(name).is_some_and(carries)
    }

    /// Whether a client of `name` can learn who leads: a node can be asked for its role, or its answer may say.
    pub fn leads_on(&self, name: &str) -> bool {
        let hints = |operation: &Operation| {
            operation.reading.sayings.as_ref().is_some_and(|sayings| !sayings.hint.is_empty())
        };
        self.has("status") || self.operation(name).is_some_and(hints)
    }

    /// The read that shows a node's own copy, for putting a snapshot together: what another level answers may be others'.
    pub fn local_read(&self) -> Option<&'static str> {
        ["eventual-read", "read"].into_iter().find(|name| self.has(name))
    }

    pub(super) fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }
}

/// Mistakes in a protocol file, or no such protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    /// The file, unless a built-in name was not found.
    pub file: Option<PathBuf>,
    /// At least one, in the order of the file. Within an operation only the first is told that is no unknown key.
    pub mistakes: Vec<ProtocolMistake>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolMistake {
    /// Line and column, from 1; columns count characters. `None` when the file could not be read.
    pub place: Option<(usize, usize)>,
    /// The bytes of the file it is about.
    pub span: Option<Range<usize>>,
    /// What is wrong, what was expected, the nearest word.
    pub message: String,
}

impl ProtocolError {
    fn without_place(file: Option<PathBuf>, message: String) -> Self {
        Self { file, mistakes: vec![ProtocolMistake { place: None, span: None, message }] }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.mistakes.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}:", file.display())?;
                if let Some((line, column)) = mistake.place {
                    write!(f, "{line}:{column}:")?;
                }
                f.write_str(" ")?;
            }
            f.write_str(&mistake.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ProtocolError {}
