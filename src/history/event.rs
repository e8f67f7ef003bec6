//! One line of `history.jsonl`, field by field.
//!
//! Field names are Jepsen's. Operation events:
//!
//! ```json
//! {"index":12,"time":1873465021,"process":3,"type":"invoke","f":"write","key":"k1","value":17,"node":"B"}
//! {"index":15,"time":1874002210,"process":3,"type":"ok","f":"write","key":"k1","value":17,"node":"B","version":{"ts":9,"origin":"B"}}
//! {"index":19,"time":1879000000,"process":4,"type":"info","f":"write","key":"k1","value":18,"node":"C","error":"timeout after 1s"}
//! ```
//!
//! - `index` (total order of recording, from 0) and `time` (ns since the run began, monotonic) are assigned under
//!   one lock, so they agree.
//! - A read's `invoke` has `"value":null`; its `ok` has the value, or `null` for "no such key".
//! - A snapshot's `ok` has `"f":"snapshot"` and
//!   `"value":{"k1":{"value":17,"version":{"ts":9,"origin":"B"}},"k2":{"value":3}}` (`version` where exposed).
//! - `claim` is what an answer said beside values and versions ([`Claim`](super::Claim)):
//!   `"claim":{"achieved":true,"acks":2,"term":3,"role":"leader","leader":"n1"}`, each member where it was said.
//! - A completion's `node` is the one that answered: not the one asked first, where that sent the client on to the leader.
//! - Reads at different levels are different operations ([`Level`](super::Level)): `read`, `strong-read`, `session-read`,
//!   `eventual-read`. A `status` asks a node for its role and term; it has no key and no value.
//! - A `broadcast` or `publish` has the message as its value, which names it: sent again after an unknown outcome it is the
//!   same message. A `history`'s `ok` has the entries the node showed, in its order:
//!   `"value":[{"value":"m1","offset":0,"ts":17}]` (`offset` and `ts` where shown).
//! - `error` is a sentence for people; `raw` (at most 512 characters) is the body of an answer that was not understood.
//!
//! What nodes do on their own has `"process":"node","type":"info","f":"deliver"`: a message that reached a node's user, or, with
//! `subscriber`, the process that had subscribed:
//! `{"index":40,"time":2000000000,"process":"node","type":"info","f":"deliver","key":"t1","value":"m1","offset":0,"node":"B","life":0,"subscriber":9}`
//! (`life`: which of the node's processes, from 0).
//!
//! A subscription's connection that ended is `"process":"node","type":"info","f":"unsubscribed"` with its `subscriber`.
//!
//! A node that said that the others had gone on without it, and begins anew, is
//! `"process":"node","type":"info","f":"removed"` with its `node` and `life`.
//!
//! A line that is none of those the protocol looks for is `"process":"node","type":"info","f":"unread"` with its `node` and,
//! of a subscription, its `subscriber`; its beginning is the `value`. Only some are recorded, so that what was misread can be told
//! from what never came.
//!
//! Events of the harness have `"process":"nemesis","type":"info"`:
//!
//! | `f` | `value` | when |
//! |---|---|---|
//! | `run` | the [`Contract`](super::Contract) and `{"workload","seed","harness"}` | first event of a history |
//! | `phase` | `"setup"`, `"main"`, `"heal"`, `"settle"`, `"done"` | the phase begins |
//! | `start` | `{"pid":123}`, with `node` | a node's process was started |
//! | `ready` | `{}`, with `node` | it answered its readiness request |
//! | `exit` | `{"pid":123,"signal":9,"code":null,"expected":true,"log":["last","lines"]}`, with `node` | its process ended |
//! | `kill`, `pause`, `partition` … | `{"fault":0,"edge":"begin"\|"end","target":["B"],"label":"kill B","took_effect":true,"evidence":{…}}` | a fault begins or ends |
//! | `bypass` | `{"from":"A","to":"B","seen":3}` | traffic between nodes that went past their link |
//! | `converged` | `{"ms":812}` | settle: all replicas agreed, so long after the heal |

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value as Json;

/// A number as nodes answer it: an integer where it is one, else a float. Ordered as a number.
///
/// Clocks of real nodes are integers (Lamport) or floats (`time.time()`); both must compare.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// Anything else; never NaN when read from JSON.
    Float(f64),
}

impl Number {
    /// As JSON: integers stay integers.
    pub fn to_json(self) -> Json {
        match self {
            Number::Int(int) => Json::from(int),
            Number::Float(float) => Json::from(float),
        }
    }

    /// From a JSON number; an integral float (`17.0`) becomes the integer it equals.
    pub fn from_json(json: &Json) -> Option<Self> {
        let Json::Number(number) = json else { return None };
        if let Some(int) = number.as_i64() {
            return Some(Number::Int(int));
        }
        number.as_f64().map(Number::from_f64)
    }

    fn from_f64(float: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if float.fract() == 0.0 && float.abs() <= EXACT {
            Number::Int(float as i64)
        } else {
            Number::Float(float)
        }
    }

    /// The nearest float.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Number::Int(left), Number::Int(right)) => left.cmp(right),
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }
}
impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Number {}
impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_f64().to_bits().hash(state);
    }
}
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(int) => write!(f, "{int}"),
            Number::Float(float) => write!(f, "{float}"),
        }
    }
}

/// A value written or read. Small on purpose: histories hold millions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Nothing: a read that found no such key, an argument that is absent.
    #[default]
    Nil,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Arc<str>),
    /// Anything else, as its canonical JSON text.
    Json(Arc<str>),
}

impl Value {
    /// An integer value.
    pub fn int(int: i64) -> Self {
        Value::Number(Number::Int(int))
    }

    /// As a template writes it into a request: text without quotes.
    pub fn plain(&self) -> String {
        match self {
            Value::Text(text) => text.to_string(),
            other => other.to_string(),
        }
    }

    /// From JSON; `null` is [`Value::Nil`].
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Value::Nil,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(_) => Number::from_json(json).map_or(Value::Nil, Value::Number),
            Json::String(text) => Value::Text(text.as_str().into()),
            other => Value::Json(other.to_string().into()),
        }
    }

    /// Back to JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Nil => Json::Null,
            Value::Bool(truth) => Json::from(*truth),
            Value::Number(number) => number.to_json(),
            Value::Text(text) => Json::from(&**text),
            Value::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        }
    }

    /// Whether this is [`Value::Nil`].
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nothing"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Json(text) => f.write_str(text),
        }
    }
}

/// The version a store gave a write: a Lamport timestamp and the node that took the write.
///
/// Ordered by `ts`, then by `origin` (see [`Tie`](super::Tie) for stores that break ties the other way).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The timestamp.
    pub ts: Number,
    /// The node that assigned it; empty where the store has none.
    pub origin: Arc<str>,
}

impl Version {
    /// `{"ts":9,"origin":"B"}`; without `origin` where it is empty.
    pub fn to_json(&self) -> Json {
        let mut map = serde_json::Map::new();
        map.insert("ts".into(), self.ts.to_json());
        if !self.origin.is_empty() {
            map.insert("origin".into(), Json::from(&*self.origin));
        }
        Json::Object(map)
    }

    /// From what [`Version::to_json`] writes; `None` when `ts` is absent or no number.
    pub fn from_json(json: &Json) -> Option<Self> {
        let ts = Number::from_json(json.get("ts")?)?;
        let origin = json.get("origin").and_then(Json::as_str).unwrap_or_default().into();
        Some(Version { ts, origin })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin.is_empty() {
            write!(f, "ts {}", self.ts)
        } else {
            write!(f, "ts {} of {}", self.ts, self.origin)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_across_spellings() {
        assert_eq!(Number::from_json(&serde_json::json!(17.0)), Some(Number::Int(17)));
        assert!(Number::Int(2) < Number::Float(2.5));
        assert!(Number::Int(9_007_199_254_740_993) > Number::Int(9_007_199_254_740_992));
    }

    #[test]
    fn values_round_trip() {
        for json in [
            serde_json::json!(null),
            serde_json::json!(3),
            serde_json::json!("x"),
            serde_json::json!([1, "a"]),
        ] {
            assert_eq!(Value::from_json(&json).to_json(), json);
        }
    }
}
