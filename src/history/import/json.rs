//! JSON events: an array of objects or one object after another. A reader of its own, because building a tree for
//! every line costs more than everything else together.

use std::io::Read;

use serde_json::{Map, Value as Json};

use super::Trouble;
use super::bytes::Bytes;
use super::pairing::{Draft, Event, Kind, Pairing};
use super::strings::{Dialect, string};

/// How deeply values may be nested.
const MAX_DEPTH: usize = 64;

pub(super) fn read<R: Read>(bytes: &mut Bytes<R>, pairing: &mut Pairing) -> Result<(), Trouble> {
    let mut parser = Parser { bytes, token: Vec::new(), depth: 0 };
    let array = parser.next_byte() == Some(b'[');
    if array {
        parser.bytes.bump();
        if parser.next_byte() == Some(b']') {
            parser.bytes.bump();
            return parser.end();
        }
    }
    loop {
        match parser.next_byte() {
            Some(b'{') => {}
            None if !array => return Ok(()),
            found => return Err(parser.expected("an event, `{\"process\":…,\"type\":…}`", found)),
        }
        let line = parser.bytes.line;
        match parser.event(pairing) {
            Ok(event) => pairing.push(event).map_err(|rule| Trouble::Broken(line, rule))?,
            // The recorder was killed in the middle of its last line: that event never was.
            Err(_) if !array && parser.bytes.peek().is_none() && parser.bytes.previous() != b'\n' => {
                pairing.calls.notes.push(format!("line {line} is torn and read as absent"));
                return Ok(());
            }
            Err(trouble) => return Err(trouble),
        }
        if array {
            match parser.next_byte() {
                Some(b',') => parser.bytes.bump(),
                Some(b']') => {
                    parser.bytes.bump();
                    return parser.end();
                }
                found => return Err(parser.expected("`,` or `]` after an event", found)),
            }
        }
    }
}

struct Parser<'a, R> {
    bytes: &'a mut Bytes<R>,
    token: Vec<u8>,
    depth: usize,
}

impl<R: Read> Parser<'_, R> {
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.bytes.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.bytes.bump_any(),
                other => return other,
            }
        }
    }

    fn expected(&self, what: &str, found: Option<u8>) -> Trouble {
        Trouble::Malformed(self.bytes.line, format!("expected {what}, found {}", show(found)))
    }

    fn end(&mut self) -> Result<(), Trouble> {
        match self.next_byte() {
            None => Ok(()),
            found => Err(self.expected("the end of the file", found)),
        }
    }

    fn event(&mut self, pairing: &mut Pairing) -> Result<Event, Trouble> {
        let mut draft = Draft::new(self.bytes.line);
        self.bytes.bump();
        let mut first = true;
        while self.field(&mut first)? {
            match self.token.as_slice() {
                b"process" => draft.process = Some(self.value()?),
                b"type" => draft.kind = Some(self.kind()?),
                b"f" => {
                    self.text("the function's name")?;
                    draft.f = Some(pairing.calls.function(&String::from_utf8_lossy(&self.token)));
                }
                b"key" => {
                    draft.key = if self.next_byte() == Some(b'"') {
                        self.text("a key")?;
                        Some(pairing.calls.text_key(&String::from_utf8_lossy(&self.token)))
                    } else {
                        let key = self.value()?;
                        (!key.is_null()).then(|| pairing.calls.key(crate::history::Value::from_json(&key)))
                    };
                }
                b"value" => draft.value = self.value()?,
                b"time" => draft.time = self.value()?.as_i64(),
                b"index" => draft.index = self.value()?.as_u64(),
                name if pairing.watched() => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    draft.more.push((name, self.value()?));
                }
                _ => self.skip()?,
            }
        }
        let mut event = draft.finish(|field| format!("\"{field}\""))?;
        let snapshot =
            pairing.calls.functions.get(usize::from(event.f)).is_some_and(|name| &**name == "snapshot");
        if snapshot && !pairing.watched() {
            event.value = Json::Null;
        }
        Ok(event)
    }

    /// Goes to the next field and leaves its name in `token`; `false` at the object's end.
    fn field(&mut self, first: &mut bool) -> Result<bool, Trouble> {
        match (self.next_byte(), *first) {
            (Some(b'}'), _) => {
                self.bytes.bump();
                return Ok(false);
            }
            (Some(b','), false) => {
                self.bytes.bump();
                self.next_byte();
            }
            (_, true) => {}
            (found, false) => return Err(self.expected("`,` or `}` after a field", found)),
        }
        *first = false;
        self.text("a field's name")?;
        match self.next_byte() {
            Some(b':') => {
                self.bytes.bump();
                Ok(true)
            }
            found => Err(self.expected("`:` after a field's name", found)),
        }
    }

    fn kind(&mut self) -> Result<Kind, Trouble> {
        self.text("the event's type")?;
        Kind::from_name(&self.token).ok_or_else(|| {
            let found = String::from_utf8_lossy(&self.token);
            Trouble::Malformed(self.bytes.line, format!("expected a type {}, found `{found}`", Kind::NAMES))
        })
    }

    /// A string into `token`.
    fn text(&mut self, what: &str) -> Result<(), Trouble> {
        match self.next_byte() {
            Some(b'"') => string(self.bytes, &mut self.token, Dialect::Json),
            found => Err(self.expected(&format!("{what}, a string"), found)),
        }
    }

    fn value(&mut self) -> Result<Json, Trouble> {
        match self.next_byte() {
            Some(b'"') => {
                self.text("a value")?;
                Ok(Json::String(String::from_utf8_lossy(&self.token).into_owned()))
            }
            Some(b'{') => self.nested(|parser| {
                let mut map = Map::new();
                let mut first = true;
                while parser.field(&mut first)? {
                    let name = String::from_utf8_lossy(&parser.token).into_owned();
                    let value = parser.value()?;
                    map.insert(name, value);
                }
                Ok(Json::Object(map))
            }),
            Some(b'[') => self.nested(|parser| {
                let mut items = Vec::new();
                loop {
                    match (parser.next_byte(), items.is_empty()) {
                        (Some(b']'), _) => {
                            parser.bytes.bump();
                            return Ok(Json::Array(items));
                        }
                        (Some(b','), false) => parser.bytes.bump(),
                        (_, true) => {}
                        (found, false) => return Err(parser.expected("`,` or `]`", found)),
                    }
                    items.push(parser.value()?);
                }
            }),
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.word(),
            found => Err(self.expected("a value", found)),
        }
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Result<Json, Trouble>) -> Result<Json, Trouble> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Trouble::Malformed(
                self.bytes.line,
                format!("values are nested deeper than {MAX_DEPTH}"),
            ));
        }
        self.bytes.bump();
        let value = inner(self);
        self.depth -= 1;
        value
    }

    /// A number or `true`, `false`, `null`.
    fn word(&mut self) -> Result<Json, Trouble> {
        // Nearly every number is short, whole and in one piece.
        let rest = self.bytes.rest();
        let digits = rest.iter().take(19).take_while(|byte| byte.is_ascii_digit()).count();
        if (1..=18).contains(&digits) && matches!(rest.get(digits), Some(b',' | b'}' | b']')) {
            let int = rest[..digits].iter().fold(0_i64, |int, byte| int * 10 + i64::from(byte - b'0'));
            self.bytes.skip(digits);
            return Ok(Json::from(int));
        }
        self.token.clear();
        while let Some(byte @ (b'0'..=b'9' | b'a'..=b'z' | b'E' | b'.' | b'+' | b'-')) = self.bytes.peek() {
            self.token.push(byte);
            self.bytes.bump();
            if self.token.len() > 1024 {
                return Err(Trouble::Malformed(
                    self.bytes.line,
                    "this number is longer than 1024 digits".into(),
                ));
            }
        }
        match self.token.as_slice() {
            b"null" => return Ok(Json::Null),
            b"true" => return Ok(Json::Bool(true)),
            b"false" => return Ok(Json::Bool(false)),
            _ => {}
        }
        // The token is ASCII by construction.
        let text = std::str::from_utf8(&self.token).unwrap_or_default();
        number(text)
            .ok_or_else(|| Trouble::Malformed(self.bytes.line, format!("expected a value, found `{text}`")))
    }

    fn skip(&mut self) -> Result<(), Trouble> {
        if self.next_byte() == Some(b'"') { self.text("a value") } else { self.value().map(drop) }
    }
}

/// A number as JSON. One beyond 64 bits becomes its text: as a float it would equal its neighbours.
pub(super) fn number(text: &str) -> Option<Json> {
    if let Ok(int) = text.parse::<i64>() {
        return Some(Json::from(int));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|first: char| !first.is_ascii_digit()) {
        return None;
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Json::from(text));
    }
    text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Json::Number)
}

pub(super) fn show(found: Option<u8>) -> String {
    match found {
        None => "the end of the file".into(),
        Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
        Some(b'\n') => "the end of the line".into(),
        Some(byte) => format!("byte 0x{byte:02x}"),
    }
}
