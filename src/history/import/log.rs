//! Jepsen's log lines, as Porcupine's tests keep them: `INFO  jepsen.util - 0 :invoke :read nil`.
//!
//! Lines that are not of `jepsen.util` tell of other things and are passed over.

use std::io::Read;

use serde_json::Value as Json;

use super::Trouble;
use super::bytes::Bytes;
use super::edn::Edn;
use super::pairing::{Draft, Event, Kind, Pairing};

/// How long a line may be, bytes.
const MAX_LINE: usize = 16 * 1024 * 1024;

pub(super) fn read<R: Read>(bytes: &mut Bytes<R>, pairing: &mut Pairing) -> Result<(), Trouble> {
    let mut text = Vec::new();
    loop {
        let line = bytes.line;
        text.clear();
        while bytes.peek().is_some() {
            let rest = bytes.rest();
            let plain = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            text.extend_from_slice(&rest[..plain]);
            let ended = plain < rest.len();
            bytes.skip(plain);
            if text.len() > MAX_LINE {
                return Err(Trouble::Malformed(line, "this line is longer than 16 MiB".into()));
            }
            if ended {
                bytes.bump_any();
                break;
            }
        }
        if let Some(event) = event(&String::from_utf8_lossy(&text), line, pairing)? {
            pairing.push(event).map_err(|rule| Trouble::Broken(line, rule))?;
        }
        if bytes.peek().is_none() {
            return Ok(());
        }
    }
}

fn event(text: &str, line: u64, pairing: &mut Pairing) -> Result<Option<Event>, Trouble> {
    let Some((_, after)) = text.split_once("jepsen.util") else { return Ok(None) };
    let malformed = |what: String| Trouble::Malformed(line, what);
    let after = after.trim_start();
    let Some(after) = after.strip_prefix("- ").or_else(|| after.strip_prefix(':')) else { return Ok(None) };
    let mut rest = after;
    let mut word = || {
        let trimmed = rest.trim_start();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let word = &trimmed[..end];
        rest = &trimmed[end..];
        word
    };
    let (process, kind, f) = (word(), word(), word());
    let mut draft = Draft::new(line);
    if let Some(name) = process.strip_prefix(':') {
        draft.process = Some(Json::from(name));
        draft.kind = kind.strip_prefix(':').and_then(|name| Kind::from_name(name.as_bytes()));
        draft.f = f.strip_prefix(':').map(|name| pairing.calls.function(name));
        // A nemesis may say what it likes.
        draft.value = value(rest).unwrap_or_else(|_| Json::from(rest.trim()));
        return draft.finish(|field| format!(":{field}")).map(Some);
    }
    let process = process.parse::<u32>().map_err(|_| {
        malformed(format!("expected a process number after `jepsen.util -`, found `{process}`"))
    })?;
    draft.process = Some(Json::from(process));
    draft.kind = kind.strip_prefix(':').and_then(|name| Kind::from_name(name.as_bytes()));
    if draft.kind.is_none() {
        return Err(malformed(format!("expected a type of {}, found `{kind}`", Kind::KEYWORDS)));
    }
    let f = f
        .strip_prefix(':')
        .filter(|name| !name.is_empty())
        .ok_or_else(|| malformed(format!("expected a function such as :read, found `{f}`")))?;
    draft.f = Some(pairing.calls.function(f));
    draft.value = value(rest).map_err(|trouble| match trouble {
        Trouble::Malformed(_, what) | Trouble::Broken(_, what) => Trouble::Malformed(line, what),
    })?;
    draft.finish(|field| format!(":{field}")).map(Some)
}

/// The EDN value in a line's rest; nothing is nil.
fn value(rest: &str) -> Result<Json, Trouble> {
    let mut bytes = Bytes::with_window(rest.as_bytes(), rest.len());
    let mut edn = Edn::new(&mut bytes);
    match edn.next_byte()? {
        None => Ok(Json::Null),
        Some(_) => edn.value(),
    }
}
