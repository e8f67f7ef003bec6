//! Writing histories for other tools: Jepsen's EDN, which Knossos and Elle read, and JSON lines.
//!
//! The file is read twice. The first reading finds every mistake before anything is written, and how many keys there
//! are; the second writes each event as it is read. Memory is that of reading (28 bytes an operation).
//!
//! What EDN has and JSON has not is chosen so that both directions agree: functions, types and the parts of
//! transactions become keywords, as do the keys of maps where they are names; strings stay strings.

mod edn;
mod jsonl;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use serde_json::Value as Json;

use super::calls::Calls;
use super::import::{self, ImportError, Options, Seen};

/// What a history can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Jepsen's EDN, one map an event and line.
    Edn,
    /// JSON lines, as our own recorder writes them.
    Jsonl,
}

impl Target {
    /// All of them, with their names.
    pub const ALL: [(Target, &'static str); 2] = [(Target::Edn, "edn"), (Target::Jsonl, "jsonl")];
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Target::ALL.iter().find(|(target, _)| target == self).map_or("?", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Target::ALL.iter().find(|(_, known)| *known == name);
        known.map(|(target, _)| *target).ok_or_else(|| {
            let names: Vec<&str> = Target::ALL.iter().map(|(_, known)| *known).collect();
            format!("histories are written as {}, not as `{name}`", names.join(" or "))
        })
    }
}

/// What a conversion did besides writing events, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Events written.
    pub events: u64,
    /// Events of snapshots that were left out: no model of Knossos or Elle knows what a node says it holds.
    pub snapshots_left_out: u64,
    /// Events without a time, whose position was written instead.
    pub without_time: u64,
    /// The only key there was, where it was left out of the values.
    pub key_left_out: Option<String>,
}

/// How keys are written in EDN, where values have no field for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    /// `[key value]`, Jepsen's `independent` tuples.
    Tuples,
    /// Not at all: there is one at most.
    None,
}

/// Writes the history in `path` to what `open` gives, which is called once the history is known to be sound.
///
/// # Errors
/// [`ImportError`]; [`ImportError::Refused`] is what the output said.
pub fn convert<W: Write>(
    path: &Path,
    options: Options,
    target: Target,
    open: impl FnOnce() -> io::Result<W>,
) -> Result<Converted, ImportError> {
    let (keys, only) = keys(&import::read(path, options)?);
    let mut out = open().map_err(ImportError::Refused)?;
    let mut converted = Converted::default();
    if target == Target::Edn && keys == Keys::None {
        converted.key_left_out = only;
    }
    let mut ours = None;
    let mut line = String::new();
    import::read_watched(path, options, &mut |seen| {
        let ours = *ours.get_or_insert(seen.process == "nemesis" && seen.f == "run");
        if ours && target == Target::Edn && seen.f == "snapshot" {
            converted.snapshots_left_out += 1;
            return Ok(());
        }
        converted.events += 1;
        converted.without_time += u64::from(seen.time.is_none());
        line.clear();
        match target {
            Target::Edn => edn::event(&seen, keys, &mut line),
            Target::Jsonl => jsonl::event(&seen, &mut line),
        }
        line.push('\n');
        out.write_all(line.as_bytes())
    })?;
    out.flush().map_err(ImportError::Refused)?;
    Ok(converted)
}

/// How keys are to be written, and the only one where it is left out.
fn keys(calls: &Calls) -> (Keys, Option<String>) {
    let mut used = BTreeSet::new();
    for call in &calls.calls {
        used.insert(call.key);
        if used.len() > 1 {
            return (Keys::Tuples, None);
        }
    }
    let only = used.first().and_then(|key| calls.keys.get(*key as usize)).filter(|key| !key.is_nil());
    // A reader takes the first invocation to tell whether values are `[key value]`: a pair would mislead it.
    let pair = |call: &super::calls::Call| match calls.values.get(call.input).to_json() {
        Json::Array(items) => items.len() == 2,
        _ => false,
    };
    if only.is_some() && calls.calls.first().is_some_and(pair) {
        return (Keys::Tuples, None);
    }
    (Keys::None, only.map(ToString::to_string))
}

/// An event's time: its own, or its position, which has the same order.
fn time(seen: &Seen<'_>) -> i64 {
    seen.time.unwrap_or(i64::from(seen.position))
}
