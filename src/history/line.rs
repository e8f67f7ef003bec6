//! The fields of one line, borrowed from it where they can be.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::Value;
use super::event::Number;
use super::model::Outcome;

/// One line of `history.jsonl`. Fields that are not listed are skipped.
#[derive(serde::Deserialize)]
pub(super) struct Line<'a> {
    pub(super) index: u64,
    pub(super) time: u64,
    pub(super) process: Process,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(borrow)]
    pub(super) f: Text<'a>,
    #[serde(borrow, default)]
    pub(super) key: Option<Text<'a>>,
    #[serde(default)]
    pub(super) value: Payload,
    #[serde(borrow, default)]
    pub(super) node: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) version: Option<VersionField<'a>>,
    #[serde(default)]
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) ts: Payload,
    #[serde(default)]
    pub(super) subscriber: Option<u64>,
    #[serde(default)]
    pub(super) life: Option<u64>,
    #[serde(borrow, default)]
    pub(super) claim: Option<ClaimField<'a>>,
    #[serde(borrow, default)]
    pub(super) error: Option<Text<'a>>,
    #[serde(default)]
    pub(super) raw: Option<serde::de::IgnoredAny>,
}

/// `version`, as written.
#[derive(serde::Deserialize)]
pub(super) struct VersionField<'a> {
    pub(super) ts: Payload,
    #[serde(borrow, default)]
    pub(super) origin: Option<Text<'a>>,
}

/// `claim`, as written.
#[derive(serde::Deserialize)]
pub(super) struct ClaimField<'a> {
    #[serde(default)]
    pub(super) achieved: Option<bool>,
    #[serde(default)]
    pub(super) acks: Option<u64>,
    #[serde(default)]
    pub(super) term: Option<u64>,
    #[serde(borrow, default)]
    pub(super) role: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) leader: Option<Text<'a>>,
}

/// `type`
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        match self {
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Invoke | Kind::Info => Outcome::Info,
        }
    }
}

/// `process`
#[derive(Clone, Copy)]
pub(super) enum Process {
    Client(u64),
    Nemesis,
    /// A node that does something on its own.
    Node,
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Process;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a process number, \"nemesis\" or \"node\"")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Process, E> {
                Ok(Process::Client(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Process, E> {
                match text {
                    "nemesis" => Ok(Process::Nemesis),
                    "node" => Ok(Process::Node),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        source.deserialize_any(Seen)
    }
}

/// A string, borrowed from the line unless it has escapes. (`Option<Cow<str>>` would always copy.)
pub(super) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(super) fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        source.deserialize_str(Seen).map(Text)
    }
}

/// `value`: a scalar as it is kept, or JSON to be looked into.
pub(super) enum Payload {
    Scalar(Value),
    Json(Json),
}

impl Payload {
    pub(super) fn into_value(self) -> Value {
        match self {
            Payload::Scalar(value) => value,
            Payload::Json(json) => Value::from_json(&json),
        }
    }

    pub(super) fn into_json(self) -> Json {
        match self {
            Payload::Scalar(value) => value.to_json(),
            Payload::Json(json) => json,
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Payload::Scalar(Value::Nil)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Scalar(value) => write!(f, "{}", value.to_json()),
            Payload::Json(json) => write!(f, "{json}"),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Payload;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Payload, E> {
        Ok(Payload::default())
    }
    fn visit_bool<E: Error>(self, truth: bool) -> Result<Payload, E> {
        Ok(Payload::Scalar(Value::Bool(truth)))
    }
    fn visit_i64<E: Error>(self, int: i64) -> Result<Payload, E> {
        Ok(Payload::Scalar(Value::int(int)))
    }
    fn visit_u64<E: Error>(self, int: u64) -> Result<Payload, E> {
        Ok(Payload::Scalar(Value::from_json(&Json::from(int))))
    }
    fn visit_f64<E: Error>(self, float: f64) -> Result<Payload, E> {
        let number = Number::from_json(&Json::from(float));
        Ok(Payload::Scalar(number.map_or(Value::Nil, Value::Number)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Payload, E> {
        Ok(Payload::Scalar(Value::Text(text.into())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Payload, A::Error> {
        Json::deserialize(SeqAccessDeserializer::new(items)).map(Payload::Json)
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Payload, A::Error> {
        Json::deserialize(MapAccessDeserializer::new(entries)).map(Payload::Json)
    }
}
