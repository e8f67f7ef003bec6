//! What an answer means: places to look in it, rules that judge it, and the outcome that follows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use regex::Regex;
use serde_json::Value as Json;

use super::said::Sayings;
use crate::history::model::Held;
use crate::history::recorder::Completion;
use crate::history::{Claim, Entry, Number, Outcome, Value, Version};

/// How much of a body that was not understood is kept, in characters.
const RAW_CHARS: usize = 512;
/// How much of an error's body is quoted where the protocol names no place for its message, in characters.
const QUOTED_CHARS: usize = 120;

/// What came of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// `ok` read: what was read, [`Value::Nil`] for "no such key". Otherwise what was asked.
    pub value: Value,
    /// The version the answer named.
    pub version: Option<Version>,
    /// `ok` snapshot: each key the node holds.
    pub snapshot: Option<Arc<BTreeMap<Arc<str>, Held>>>,
    /// `ok` history: the entries the node showed, in its order.
    pub entries: Option<Arc<Vec<Entry>>>,
    /// What it said of the node and of the quorum, whatever the outcome.
    pub claim: Option<Box<Claim>>,
    /// Why it is not `ok`, for people.
    pub error: Option<String>,
    /// The body (at most 512 characters) of an answer that was not understood.
    pub raw: Option<String>,
    /// The node does not know the operation at all: a snapshot must be put together from reads.
    pub unsupported: bool,
    /// What the session's next requests carry, where the answer gave something.
    pub token: Option<Arc<str>>,
    /// `fail`: who should have been asked instead, by id or address; the first that is known counts.
    pub hints: Vec<String>,
    /// Nobody listens where the node should be, so nothing was sent.
    pub refused: bool,
}

impl Answer {
    /// An operation that ended in `outcome` because of `error`.
    pub fn broken(outcome: Outcome, value: &Value, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::bare(outcome, value.clone()) }
    }

    /// An `ok` history.
    pub fn shown(entries: Vec<Entry>) -> Self {
        Self { entries: Some(Arc::new(entries)), ..Self::ok(Value::Nil, None) }
    }

    /// An `ok` snapshot.
    pub fn held(held: BTreeMap<Arc<str>, Held>) -> Self {
        Self { snapshot: Some(Arc::new(held)), ..Self::ok(Value::Nil, None) }
    }

    pub(super) fn ok(value: Value, version: Option<Version>) -> Self {
        Self { version, ..Self::bare(Outcome::Ok, value) }
    }

    fn bare(outcome: Outcome, value: Value) -> Self {
        Self {
            outcome,
            value,
            version: None,
            snapshot: None,
            entries: None,
            claim: None,
            error: None,
            raw: None,
            unsupported: false,
            token: None,
            hints: Vec::new(),
            refused: false,
        }
    }

    /// As the history records it.
    pub fn completion(&self) -> Completion<'_> {
        Completion {
            outcome: self.outcome,
            value: Some(&self.value),
            version: self.version.as_ref(),
            snapshot: self.snapshot.as_deref(),
            entries: self.entries.as_ref().map(|entries| entries.as_slice()),
            claim: self.claim.as_deref(),
            error: self.error.as_deref(),
            raw: self.raw.as_deref(),
        }
    }
}

/// Somewhere in an answer.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A JSON pointer (RFC 6901). The empty one is the whole body, where that is a bare number, string or null.
    Pointer(Pointer),
    /// A JSON pointer to a string in base64 (RFC 4648 §4) of some text, which is what counts.
    Base64(Pointer),
    /// The first group of a regular expression over the body as text, or all it matched when it has no group.
    Regex(Regex),
}

/// A JSON pointer, taken apart once: `serde_json` would allocate for each token of each look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

impl Pointer {
    /// `text` is empty or starts with `/`.
    pub fn new(text: &str) -> Self {
        let token = |part: &str| Token {
            name: part.replace("~1", "/").replace("~0", "~"),
            index: part.parse().ok().filter(|_| part == "0" || !part.starts_with(['0', '+'])),
        };
        Self(text.split('/').skip(1).map(token).collect())
    }

    fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    fn find<'j>(&self, json: &'j Json) -> Option<&'j Json> {
        self.0.iter().try_fold(json, |json, token| match json {
            Json::Object(map) => map.get(&token.name),
            Json::Array(list) => list.get(token.index?),
            _ => None,
        })
    }
}

/// `[[operation.answer]]`: what an answer like this means.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Inclusive ranges of status codes; empty: any.
    pub status: Vec<(u16, u16)>,
    /// Places of which one must satisfy `want`; empty: no condition.
    pub places: Vec<Place>,
    /// What is wanted there.
    pub want: Want,
    /// What the whole body must match.
    pub body: Option<Regex>,
    /// The meaning.
    pub ruling: Ruling,
}

/// A condition on a place.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// It is there and not null.
    Exists,
    /// It is there and null.
    Null,
    /// It equals this; numbers as numbers.
    Equals(Json),
    /// Its text (or a number's digits) matches.
    Matches(Regex),
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It happened.
    Ok,
    /// A read that found no such key.
    Miss,
    /// It certainly did not happen.
    Fail,
    /// Unknown.
    Info,
    /// The node speaks another language than the protocol file.
    NotUnderstood,
}

/// Which spellings are one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueKind {
    /// `17`, `"17"` and `17.0` are one; what is no number stays as it is.
    #[default]
    Number,
    /// Everything is text: `17` and `"17"` are one, `17.0` is another.
    Text,
    /// As answered.
    Json,
}

/// How to read answers of one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub rules: Vec<Rule>,
    pub value: Vec<Place>,
    pub ts: Vec<Place>,
    pub origin: Vec<Place>,
    pub error: Vec<Place>,
    /// Snapshots only: the map (or list) of keys.
    pub entries: Vec<Place>,
    /// Snapshots only: within an entry of a list, its key.
    pub key: Vec<Place>,
    /// What else there is to be said; `None`: nothing is looked for.
    pub sayings: Option<Box<Sayings>>,
    /// Reads only: the version beside "no such key" is that of the delete.
    pub tombstones: bool,
}

/// What an operation is for; decides what an answer that no rule mentions means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Changes the store.
    Write,
    /// Changes it without a value: removes a key.
    Delete,
    /// Reads one key.
    Read,
    /// Reads all there is.
    Snapshot,
    /// Hands over a message that others are to get: a broadcast, a publication.
    Send,
    /// Asks for the entries of a topic's log.
    History,
    /// Asks to be sent what comes from now on.
    Subscribe,
    /// Asks the node for its role and term.
    Status,
    /// Asks for a sign of life: any answer is one.
    Ready,
}

impl Purpose {
    /// Whether it changes the store.
    pub fn mutates(self) -> bool {
        matches!(self, Purpose::Write | Purpose::Delete | Purpose::Send)
    }

    /// The outcome of an operation that was sent and whose answer is unknown (design §4).
    pub fn unanswered(self) -> Outcome {
        if self.mutates() { Outcome::Info } else { Outcome::Fail }
    }
}

/// A body, parsed once.
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
    json: Option<Json>,
}

impl<'a> Body<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok();
        Self { bytes, text, json: text.and_then(|text| serde_json::from_str(text).ok()) }
    }

    /// What is at each of `places` where there is something.
    pub fn find<'b>(&'b self, places: &'b [Place]) -> impl Iterator<Item = Cow<'b, Json>> {
        find(places, self.json.as_ref(), self.text)
    }
}

fn find<'b>(
    places: &'b [Place],
    json: Option<&'b Json>,
    text: Option<&'b str>,
) -> impl Iterator<Item = Cow<'b, Json>> {
    places.iter().filter_map(move |place| match place {
        Place::Pointer(pointer) if pointer.is_whole() => json
            .filter(|json| matches!(json, Json::Null | Json::Number(_) | Json::String(_)))
            .map(Cow::Borrowed),
        Place::Pointer(pointer) => pointer.find(json?).map(Cow::Borrowed),
        Place::Base64(pointer) => {
            let bytes = BASE64_STANDARD.decode(pointer.find(json?)?.as_str()?).ok()?;
            Some(Cow::Owned(Json::from(String::from_utf8(bytes).ok()?)))
        }
        Place::Regex(regex) => {
            let found = regex.captures(text?)?;
            let group = found.get(1).or_else(|| found.get(0))?;
            Some(Cow::Owned(Json::from(group.as_str())))
        }
    })
}

impl Rule {
    fn applies(&self, status: u16, body: &Body<'_>) -> bool {
        let status_fits =
            self.status.is_empty() || self.status.iter().any(|(low, high)| (*low..=*high).contains(&status));
        status_fits
            && (self.places.is_empty() || body.find(&self.places).any(|found| self.want.holds(&found)))
            && self.body.as_ref().is_none_or(|regex| body.text.is_some_and(|text| regex.is_match(text)))
    }
}

impl Want {
    fn holds(&self, found: &Json) -> bool {
        match self {
            Want::Exists => !found.is_null(),
            Want::Null => found.is_null(),
            Want::Equals(wanted) => match (Number::from_json(wanted), Number::from_json(found)) {
                (Some(wanted), Some(found)) => wanted == found,
                _ => wanted == found,
            },
            Want::Matches(_) if found.is_boolean() => false,
            Want::Matches(regex) => text_of(found).is_some_and(|text| regex.is_match(&text)),
        }
    }
}

impl Reading {
    /// What the answer `status` with `body` means to an operation that asked with `asked`.
    pub fn judge(
        &self,
        purpose: Purpose,
        kind: ValueKind,
        asked: &Value,
        status: u16,
        body: &[u8],
    ) -> Answer {
        let body = Body::new(body);
        let mut answer = self.ruled(purpose, kind, asked, status, &body);
        if let Some(sayings) = &self.sayings {
            sayings.complete(&mut answer, &body);
        }
        if purpose == Purpose::Status
            && answer.outcome == Outcome::Ok
            && answer.claim.as_ref().is_none_or(|claim| claim.role.is_none())
        {
            return self.not_understood(purpose, asked, &body, "the answer has no role".into());
        }
        answer
    }

    fn ruled(
        &self,
        purpose: Purpose,
        kind: ValueKind,
        asked: &Value,
        status: u16,
        body: &Body<'_>,
    ) -> Answer {
        let rule = self.rules.iter().find(|rule| rule.applies(status, body));
        let ruling = match rule {
            Some(rule) => rule.ruling,
            None => self.default_ruling(purpose, status, body),
        };
        let says = || self.message(status, body);
        match ruling {
            Ruling::Miss if self.tombstones => {
                Answer::ok(Value::Nil, self.version(body.json.as_ref(), body.text))
            }
            Ruling::Miss => Answer::ok(Value::Nil, None),
            Ruling::Fail => {
                // A snapshot that a node does not know is put together from reads.
                let unsupported = purpose == Purpose::Snapshot && (status / 100 == 4 || status == 501);
                Answer { unsupported, ..Answer::broken(Outcome::Fail, asked, says()) }
            }
            Ruling::Info => Answer::broken(Outcome::Info, asked, says()),
            Ruling::NotUnderstood => {
                self.not_understood(purpose, asked, body, format!("status {status}, not understood"))
            }
            Ruling::Ok => match purpose {
                Purpose::Ready | Purpose::Status | Purpose::History | Purpose::Subscribe => {
                    Answer::ok(Value::Nil, None)
                }
                Purpose::Send => Answer::ok(asked.clone(), None),
                Purpose::Write | Purpose::Delete => {
                    Answer::ok(asked.clone(), self.version(body.json.as_ref(), body.text))
                }
                Purpose::Read => match body.find(&self.value).next() {
                    Some(found) => Answer::ok(
                        spelled(&found, kind),
                        match found.is_null() && !self.tombstones {
                            true => None,
                            false => self.version(body.json.as_ref(), body.text),
                        },
                    ),
                    None => self.not_understood(purpose, asked, body, "the answer has no value".into()),
                },
                Purpose::Snapshot => match self.held(kind, body) {
                    Ok(held) => Answer::held(held),
                    Err(reason) => {
                        Answer { unsupported: true, ..self.not_understood(purpose, asked, body, reason) }
                    }
                },
            },
        }
    }

    fn default_ruling(&self, purpose: Purpose, status: u16, body: &Body<'_>) -> Ruling {
        if purpose == Purpose::Ready {
            return Ruling::Ok;
        }
        let unknown = if purpose.mutates() { Ruling::Info } else { Ruling::Fail };
        match status / 100 {
            // What is no text is no acknowledgement anyone meant.
            2 if body.text.is_none() => Ruling::NotUnderstood,
            2 if self.complaint(body).is_some() => unknown,
            2 => Ruling::Ok,
            4 => Ruling::Fail,
            5 => unknown,
            _ => Ruling::NotUnderstood,
        }
    }

    fn not_understood(&self, purpose: Purpose, asked: &Value, body: &Body<'_>, error: String) -> Answer {
        let raw = Some(quote(body.bytes));
        Answer { raw, ..Answer::broken(purpose.unanswered(), asked, error) }
    }

    /// The message at an `error` place, unless that says there is none.
    fn complaint(&self, body: &Body<'_>) -> Option<String> {
        body.find(&self.error)
            .find(|found| !matches!(&**found, Json::Null | Json::Bool(false)) && found.as_str() != Some(""))
            .map(|found| text_of(&found).map_or_else(|| found.to_string(), Cow::into_owned))
    }

    fn message(&self, status: u16, body: &Body<'_>) -> String {
        let message = self.complaint(body).unwrap_or_else(|| beginning(body.bytes, QUOTED_CHARS));
        let message = message.trim();
        if message.is_empty() { format!("status {status}") } else { format!("status {status}: {message}") }
    }

    fn version(&self, json: Option<&Json>, text: Option<&str>) -> Option<Version> {
        let ts = find(&self.ts, json, text).find_map(|found| number_of(&found))?;
        let origin: Option<Arc<str>> =
            find(&self.origin, json, text).find_map(|found| text_of(&found).map(|text| text.as_ref().into()));
        match origin {
            Some(origin) => Some(Version { ts, origin }),
            // Half a version compares wrongly with whole ones: better none.
            None if !self.origin.is_empty() => None,
            None => Some(Version { ts, origin: Arc::default() }),
        }
    }

    fn held(&self, kind: ValueKind, body: &Body<'_>) -> Result<BTreeMap<Arc<str>, Held>, String> {
        // Unlike a value, the map may well be the whole body.
        let json = body.json.as_ref().ok_or("the answer is no JSON")?;
        let mut found = self.entries.iter().filter_map(|place| match place {
            Place::Pointer(pointer) => pointer.find(json),
            Place::Base64(_) | Place::Regex(_) => None,
        });
        let entries = found.find(|found| found.is_object() || found.is_array());
        let entries = entries.ok_or("the answer has no map of keys")?;
        let entry = |key: &str, entry: &Json| -> Result<(Arc<str>, Held), String> {
            let value = find(&self.value, Some(entry), None).next();
            let value = value.ok_or_else(|| format!("the entry of {key} has no value"))?;
            let version = self.version(Some(entry), None);
            Ok((key.into(), Held { value: spelled(&value, kind), version }))
        };
        match entries {
            Json::Object(map) => map.iter().map(|(key, held)| entry(key, held)).collect(),
            Json::Array(list) => list
                .iter()
                .map(|held| {
                    let key =
                        find(&self.key, Some(held), None).find_map(|key| text_of(&key).map(Cow::into_owned));
                    entry(&key.ok_or("an entry of the list has no key")?, held)
                })
                .collect(),
            _ => Err("the answer has no map of keys".into()),
        }
    }
}

/// What is kept of a body that was not understood.
pub(super) fn quote(bytes: &[u8]) -> String {
    beginning(bytes, RAW_CHARS)
}

fn beginning(bytes: &[u8], chars: usize) -> String {
    // A character has at most four bytes, so this much surely suffices.
    let bytes = &bytes[..bytes.len().min(chars * 4)];
    String::from_utf8_lossy(bytes).chars().take(chars).collect()
}

/// The text of a scalar.
pub(super) fn text_of(json: &Json) -> Option<Cow<'_, str>> {
    match json {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Number(number) => Some(Cow::Owned(number.to_string())),
        Json::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        _ => None,
    }
}

/// A number, or a string that spells one as JSON would.
pub(super) fn number_of(json: &Json) -> Option<Number> {
    match json {
        Json::String(text) => Number::from_json(&Json::Number(serde_json::from_str(text.trim()).ok()?)),
        other => Number::from_json(other),
    }
}

pub(super) fn spelled(json: &Json, kind: ValueKind) -> Value {
    match kind {
        ValueKind::Number => number_of(json).map_or_else(|| Value::from_json(json), Value::Number),
        ValueKind::Text => {
            text_of(json).map_or_else(|| Value::from_json(json), |text| Value::Text(text.as_ref().into()))
        }
        ValueKind::Json => Value::from_json(json),
    }
}
