//! Request templates: text with `{{ key }}`, `{{ value }}` and `{{ token }}`, compiled once.
//!
//! A request is made for every operation, so this is a list of segments to append and not a template engine.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use strsim::damerau_levenshtein;

use super::Request;
use crate::history::Value;
use crate::history::recorder::{string_json, value_json};

/// A compiled template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    Slot(Slot, Spelling),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Key,
    Value,
    Token,
}

/// How what is put in is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Percent-encoded: in a path or a query.
    Url,
    /// As JSON: a string in quotes, a number bare.
    Json,
    /// As it is.
    Raw,
    /// In base64 (RFC 4648 §4, padded): in JSON or a header, for systems whose keys and values are bytes.
    Base64,
}

const SLOTS: [(&str, Slot); 3] = [("key", Slot::Key), ("value", Slot::Value), ("token", Slot::Token)];
const SPELLINGS: [(&str, Spelling); 4] =
    [("url", Spelling::Url), ("json", Spelling::Json), ("raw", Spelling::Raw), ("base64", Spelling::Base64)];

impl Template {
    /// Nothing but `text`.
    pub fn text(text: &str) -> Self {
        Self(vec![Segment::Text(text.to_owned())])
    }

    /// Compiles `source`; slots without a filter are spelled as `spelling` says.
    ///
    /// # Errors
    /// A sentence about what is wrong, with the nearest word.
    pub fn compile(source: &str, spelling: Spelling) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find("{{") {
            if open > 0 {
                segments.push(Segment::Text(rest[..open].to_owned()));
            }
            let inside = &rest[open + 2..];
            let close = inside.find("}}").ok_or("`{{` is never closed with `}}`")?;
            segments.push(slot(&inside[..close], spelling)?);
            rest = &inside[close + 2..];
        }
        if !rest.is_empty() {
            segments.push(Segment::Text(rest.to_owned()));
        }
        Ok(Self(segments))
    }

    /// Whether the template asks for the key.
    pub fn names_key(&self) -> bool {
        self.0.iter().any(|segment| matches!(segment, Segment::Slot(Slot::Key, _)))
    }

    /// Whether the template asks for the value.
    pub fn names_value(&self) -> bool {
        self.0.iter().any(|segment| matches!(segment, Segment::Slot(Slot::Value, _)))
    }

    /// Appends the template with what `request` has put in.
    pub fn render(&self, out: &mut Vec<u8>, request: &Request<'_>) {
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => out.extend_from_slice(text.as_bytes()),
                Segment::Slot(Slot::Key, spelling) => word(out, request.key, *spelling),
                Segment::Slot(Slot::Token, spelling) => word(out, request.token, *spelling),
                Segment::Slot(Slot::Value, Spelling::Json) => value_json(out, request.value),
                Segment::Slot(Slot::Value, spelling) => plain(out, request.value, *spelling),
            }
        }
    }
}

fn slot(inside: &str, spelling: Spelling) -> Result<Segment, String> {
    let (name, filter) = match inside.split_once('|') {
        Some((name, filter)) => (name.trim(), Some(filter.trim())),
        None => (inside.trim(), None),
    };
    let slot = lookup(name, &SLOTS, "there is no")?;
    let spelling = match filter {
        Some(filter) => lookup(filter, &SPELLINGS, "there is no filter")?,
        None => spelling,
    };
    Ok(Segment::Slot(slot, spelling))
}

fn lookup<T: Copy>(word: &str, list: &[(&str, T)], complaint: &str) -> Result<T, String> {
    if let Some((_, found)) = list.iter().find(|(name, _)| *name == word) {
        return Ok(*found);
    }
    let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
    Err(format!("{complaint} `{word}` in a template{}", suggest(word, &names)))
}

/// `; did you mean …?` when `word` is close to one of `known`, else the list of them.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    let distance = |name: &str| damerau_levenshtein(word, name);
    let close = known.iter().filter(|name| distance(name) <= (name.len() / 3).max(1));
    match close.min_by_key(|name| distance(name)) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; expected one of {}", known.join(", ")),
    }
}

fn word(out: &mut Vec<u8>, word: &str, spelling: Spelling) {
    match spelling {
        Spelling::Json => string_json(out, word),
        Spelling::Url => percent(out, word.as_bytes()),
        Spelling::Raw => out.extend_from_slice(word.as_bytes()),
        Spelling::Base64 => out.extend_from_slice(BASE64_STANDARD.encode(word).as_bytes()),
    }
}

fn plain(out: &mut Vec<u8>, value: &Value, spelling: Spelling) {
    let start = out.len();
    match value {
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        other => value_json(out, other),
    }
    match spelling {
        Spelling::Json | Spelling::Raw => {}
        Spelling::Url => {
            let text = out.split_off(start);
            percent(out, &text);
        }
        Spelling::Base64 => {
            let text = out.split_off(start);
            out.extend_from_slice(BASE64_STANDARD.encode(text).as_bytes());
        }
    }
}

/// Keeps RFC 3986's unreserved characters, encodes all others.
fn percent(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str, spelling: Spelling, key: &str, value: &Value) -> String {
        let mut out = Vec::new();
        let request = Request { token: "7 é", ..Request::new("write", key, value) };
        Template::compile(source, spelling).unwrap().render(&mut out, &request);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_place_has_its_spelling() {
        let text = Value::Text("a \"b\"".into());
        assert_eq!(
            rendered("/get?key={{ key }}", Spelling::Url, "k 1/ü&", &Value::Nil),
            "/get?key=k%201%2F%C3%BC%26"
        );
        assert_eq!(
            rendered("{\"key\": {{key}}, \"value\": {{ value }}}", Spelling::Json, "k\"1", &Value::int(17)),
            r#"{"key": "k\"1", "value": 17}"#
        );
        assert_eq!(
            rendered("v={{ value | url }}&k={{ key | raw }}", Spelling::Json, "k", &text),
            "v=a%20%22b%22&k=k"
        );
        assert_eq!(rendered("{{ value }}", Spelling::Json, "k", &text), r#""a \"b\"""#);
        assert_eq!(rendered("{{ token }} {{ token | url }}", Spelling::Raw, "k", &text), "7 é 7%20%C3%A9");
        let both = "{\"key\": \"{{ key | base64 }}\", \"value\": \"{{ value | base64 }}\"}";
        assert_eq!(
            rendered(both, Spelling::Json, "k12", &Value::int(17)),
            r#"{"key": "azEy", "value": "MTc="}"#
        );
        assert_eq!(rendered("{ not a slot }", Spelling::Json, "k", &text), "{ not a slot }");
    }

    #[test]
    fn mistakes_are_told_with_the_nearest_word() {
        let error = |source| Template::compile(source, Spelling::Url).unwrap_err();
        assert_eq!(error("/{{ kye }}"), "there is no `kye` in a template; did you mean `key`?");
        assert_eq!(error("/{{ key | ulr }}"), "there is no filter `ulr` in a template; did you mean `url`?");
        assert_eq!(error("/{{ zzz }}"), "there is no `zzz` in a template; expected one of key, value, token");
        assert_eq!(error("/{{ key "), "`{{` is never closed with `}}`");
    }
}
