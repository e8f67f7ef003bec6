//! Histories nobody made with this harness: Jepsen's EDN and JSON, Porcupine's logs; and our own JSONL.
//!
//! Told apart by content. All are read as a stream: memory is the operations' own ([`Calls`], 28 bytes each) and
//! one window of the file.
//!
//! | format | what it is |
//! |---|---|
//! | `jsonl` | one JSON object a line, as [`event`](super::event) describes; also Jepsen's JSON one object after another |
//! | `jepsen-json` | a JSON array of such objects |
//! | `jepsen-edn` | EDN maps `{:process 0, :type :invoke, :f :read, :value nil}` in a vector, a list or one after another |
//! | `porcupine-log` | lines `… jepsen.util - 0 :invoke :read nil` |
//! | `porcupine-kv` | EDN maps with `:key`, `:f` one of `:get :put :append` |
//!
//! Processes are whole numbers; events of any other process (`:nemesis`) are no operations and are passed over.
//! Values may be `[key value]`, as Jepsen's `independent` writes them: the first invocation decides, since a plain
//! register reads `nil` where a keyed one reads `[key nil]`. An operation without a completion has an unknown outcome.

mod bytes;
mod echo;
mod edn;
mod json;
mod log;
mod pairing;
mod strings;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::bytes::Bytes;
use self::pairing::Pairing;
pub use self::pairing::{Seen, Watch};
use super::calls::Calls;

/// A format a history can be read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own, and Jepsen's JSON one object after another.
    Jsonl,
    /// A JSON array of events.
    JepsenJson,
    /// EDN maps in a vector, in a list or one after another.
    JepsenEdn,
    /// Jepsen's log lines, as Porcupine's tests keep them.
    PorcupineLog,
    /// Porcupine's key-value histories: EDN maps with a `:key`.
    PorcupineKv,
}

impl Format {
    /// All of them, with their names.
    pub const ALL: [(Format, &'static str); 5] = [
        (Format::Jsonl, "jsonl"),
        (Format::JepsenJson, "jepsen-json"),
        (Format::JepsenEdn, "jepsen-edn"),
        (Format::PorcupineLog, "porcupine-log"),
        (Format::PorcupineKv, "porcupine-kv"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Format::ALL.iter().find(|(format, _)| *format == self).map_or("?", |(_, name)| name)
    }

    /// Tells the format by the first bytes of a file; `None` when it looks like none of them.
    pub fn sniff(head: &[u8]) -> Option<Format> {
        let mut rest = head;
        loop {
            let skipped = rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b',').count();
            rest = &rest[skipped..];
            match rest.first() {
                None => return Some(Format::Jsonl),
                Some(b';') => {
                    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    rest = &rest[line..];
                }
                Some(_) => break,
            }
        }
        let next = |skip: usize| rest.iter().skip(skip).find(|byte| !byte.is_ascii_whitespace()).copied();
        match rest[0] {
            b'{' if matches!(next(1), Some(b'"') | None) => Some(Format::Jsonl),
            b'{' if contains(rest, b":key") && contains(rest, b":get") | contains(rest, b":append") => {
                Some(Format::PorcupineKv)
            }
            b'{' | b'(' | b'#' => Some(Format::JepsenEdn),
            b'[' => {
                let brace = rest.iter().position(|byte| *byte == b'{');
                let json = brace.is_some_and(|at| next(at + 1) == Some(b'"'));
                Some(if json { Format::JepsenJson } else { Format::JepsenEdn })
            }
            _ if contains(rest, b"jepsen.util") => Some(Format::PorcupineLog),
            _ => None,
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((format, _)) = Format::ALL.iter().find(|(_, known)| *known == name) {
            return Ok(*format);
        }
        let names: Vec<&str> = Format::ALL.iter().map(|(_, known)| *known).collect();
        let near = names.iter().max_by(|left, right| {
            strsim::jaro_winkler(left, name).total_cmp(&strsim::jaro_winkler(right, name))
        });
        Err(format!(
            "there is no format `{name}`: expected one of {}; did you mean `{}`?",
            names.join(", "),
            near.unwrap_or(&"jsonl")
        ))
    }
}

/// How to read a history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The format; told by content when absent.
    pub format: Option<Format>,
    /// Whether values are `[key value]`; told by the first invocation when absent.
    pub keyed: Option<bool>,
}

/// Why a history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file system said no.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// It does not look like any format.
    #[error(
        "{}: the format is not recognised: expected JSON objects, EDN maps (`{{:process 0, :type :invoke, …}}`) or `jepsen.util` log lines; --format forces one",
        path.display()
    )]
    Unrecognised {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("{}: the file is empty: expected a history", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is not what the format demands.
    #[error("{}:{line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// The events contradict each other.
    #[error("{}:{line}: this history breaks the rules: {what}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The rule.
        what: String,
    },
    /// Whoever watched the reading could take no more.
    #[error("{0}")]
    Refused(std::io::Error),
}

/// What a parser stumbled over; the file's name is added outside.
pub(crate) enum Trouble {
    /// (line, expected and found)
    Malformed(u64, String),
    /// (line, rule)
    Broken(u64, String),
}

/// Reads a history from a file.
///
/// # Errors
/// [`ImportError`]: with file, line and what was expected.
pub fn read(path: &Path, options: Options) -> Result<Calls, ImportError> {
    read_from(open(path)?, path, options)
}

/// As [`read()`], and shows each event to `watch` as it comes.
///
/// # Errors
/// As [`read()`]; and [`ImportError::Refused`], what `watch` said.
pub fn read_watched(path: &Path, options: Options, watch: &mut Watch<'_>) -> Result<Calls, ImportError> {
    pair(open(path)?, path, options, Some(watch))
}

fn open(path: &Path) -> Result<File, ImportError> {
    File::open(path).map_err(|source| ImportError::Io { path: path.into(), source })
}

/// The format of a file by its first bytes, and whether our own recorder wrote it: JSON lines of which the first is an
/// event of the harness.
///
/// # Errors
/// [`ImportError::Io`].
pub fn sniff_file(path: &Path) -> Result<(Option<Format>, bool), ImportError> {
    sniff(open(path)?, path)
}

/// As [`sniff_file`], of anything; `path` is only for messages.
///
/// # Errors
/// [`ImportError::Io`].
pub fn sniff(input: impl Read, path: &Path) -> Result<(Option<Format>, bool), ImportError> {
    let mut bytes = Bytes::new(input);
    let head = bytes.head();
    let format = Format::sniff(head);
    let ours = format == Some(Format::Jsonl) && is_ours(head);
    match bytes.failed {
        Some(source) => Err(ImportError::Io { path: path.into(), source }),
        None => Ok((format, ours)),
    }
}

/// Whether the first line is a `run` event, with which every recorded history begins.
fn is_ours(head: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct First<'a> {
        process: &'a str,
        f: &'a str,
    }
    let first = head.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<First>(first).is_ok_and(|first| first.process == "nemesis" && first.f == "run")
}

/// Reads a history from anything; `path` is only for messages.
///
/// # Errors
/// As [`read()`].
pub fn read_from(input: impl Read, path: &Path, options: Options) -> Result<Calls, ImportError> {
    pair(input, path, options, None)
}

fn pair<'a>(
    input: impl Read,
    path: &Path,
    options: Options,
    watch: Option<&'a mut Watch<'a>>,
) -> Result<Calls, ImportError> {
    let mut bytes = Bytes::new(input);
    let sniffed = Format::sniff(bytes.head());
    if bytes.head().trim_ascii().is_empty() && bytes.ended() {
        return Err(ImportError::Empty { path: path.into() });
    }
    let Some(format) = options.format.or(sniffed) else {
        return Err(match bytes.failed.take() {
            Some(source) => ImportError::Io { path: path.into(), source },
            None => ImportError::Unrecognised { path: path.into() },
        });
    };
    let mut pairing = Pairing::new(options.keyed, watch);
    let parsed = match format {
        Format::Jsonl | Format::JepsenJson => json::read(&mut bytes, &mut pairing),
        Format::JepsenEdn | Format::PorcupineKv => edn::read(&mut bytes, &mut pairing),
        Format::PorcupineLog => log::read(&mut bytes, &mut pairing),
    };
    if let Some(source) = bytes.failed {
        return Err(ImportError::Io { path: path.into(), source });
    }
    if let Some(why) = pairing.refused {
        return Err(ImportError::Refused(why));
    }
    match parsed {
        Ok(()) => Ok(pairing.finish()),
        Err(Trouble::Malformed(line, what)) => Err(ImportError::Malformed { path: path.into(), line, what }),
        Err(Trouble::Broken(line, what)) => Err(ImportError::Broken { path: path.into(), line, what }),
    }
}
