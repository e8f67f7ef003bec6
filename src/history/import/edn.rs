//! EDN events, and the small EDN reader they need: nil, truth values, numbers, strings, characters, keywords, symbols,
//! vectors, lists, maps, sets, tagged values, comments and `#_` discards.
//!
//! What has no counterpart in our values becomes its nearest one: keywords and symbols their name, lists vectors,
//! sets sorted vectors, characters strings, tagged values what is tagged.

use std::io::Read;

use serde_json::{Map, Value as Json};

use super::Trouble;
use super::bytes::Bytes;
use super::json::{number, show};
use super::pairing::{Draft, Event, Kind, Pairing};
use super::strings::{Dialect, MAX_TOKEN, string};

/// How deeply values may be nested.
const MAX_DEPTH: usize = 64;

pub(super) fn read<R: Read>(bytes: &mut Bytes<R>, pairing: &mut Pairing) -> Result<(), Trouble> {
    let mut parser = Edn::new(bytes);
    let close = match parser.next_byte()? {
        Some(b'[') => Some(b']'),
        Some(b'(') => Some(b')'),
        _ => None,
    };
    if close.is_some() {
        parser.bytes.bump();
    }
    loop {
        parser.untag()?;
        match parser.next_byte()? {
            Some(b'{') => {}
            None if close.is_none() => return Ok(()),
            found if found.is_some() && found == close => {
                parser.bytes.bump();
                return match parser.next_byte()? {
                    None => Ok(()),
                    found => Err(parser.expected("the end of the file", found)),
                };
            }
            found => return Err(parser.expected("an event, `{:process 0, :type :invoke, …}`", found)),
        }
        let line = parser.bytes.line;
        let event = parser.event(pairing)?;
        pairing.push(event).map_err(|rule| Trouble::Broken(line, rule))?;
    }
}

/// Reads EDN values from a file.
pub(super) struct Edn<'a, R> {
    pub(super) bytes: &'a mut Bytes<R>,
    token: Vec<u8>,
    depth: usize,
}

impl<'a, R: Read> Edn<'a, R> {
    pub(super) fn new(bytes: &'a mut Bytes<R>) -> Self {
        Edn { bytes, token: Vec::new(), depth: 0 }
    }

    fn malformed<T>(&self, what: impl Into<String>) -> Result<T, Trouble> {
        Err(Trouble::Malformed(self.bytes.line, what.into()))
    }

    pub(super) fn expected(&self, what: &str, found: Option<u8>) -> Trouble {
        Trouble::Malformed(self.bytes.line, format!("expected {what}, found {}", show(found)))
    }

    /// The next byte that is neither space, comma nor comment. Discarded forms are read and dropped.
    pub(super) fn next_byte(&mut self) -> Result<Option<u8>, Trouble> {
        loop {
            match self.bytes.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',') => self.bytes.bump_any(),
                Some(b';') => {
                    while !matches!(self.bytes.peek(), None | Some(b'\n')) {
                        self.bytes.bump();
                    }
                }
                other => return Ok(other),
            }
        }
    }

    /// Goes past `#tag`, `#_ form` and `^meta` in front of a form.
    fn untag(&mut self) -> Result<(), Trouble> {
        loop {
            match self.next_byte()? {
                Some(b'^') => {
                    self.bytes.bump();
                    self.value()?;
                }
                Some(b'#') => {
                    self.bytes.bump();
                    match self.bytes.peek() {
                        Some(b'_') => {
                            self.bytes.bump();
                            self.value()?;
                        }
                        Some(byte) if byte.is_ascii_alphabetic() => self.atom()?,
                        found => return Err(self.expected("a tag after `#`", found)),
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn event(&mut self, pairing: &mut Pairing) -> Result<Event, Trouble> {
        let mut draft = Draft::new(self.bytes.line);
        self.bytes.bump();
        loop {
            self.skip_discards()?;
            match self.next_byte()? {
                Some(b'}') => {
                    self.bytes.bump();
                    break;
                }
                Some(b':') => self.atom()?,
                found => return Err(self.expected("a keyword such as `:process`, or `}`", found)),
            }
            match self.token.as_slice() {
                b":process" => draft.process = Some(self.value()?),
                b":type" => {
                    let line = self.bytes.line;
                    let name = self.value()?;
                    let known = name.as_str().and_then(|name| Kind::from_name(name.as_bytes()));
                    draft.kind = Some(known.ok_or_else(|| {
                        let found =
                            name.as_str().map_or_else(|| name.to_string(), |name| format!("`{name}`"));
                        Trouble::Malformed(
                            line,
                            format!("expected a :type of {}, found {found}", Kind::KEYWORDS),
                        )
                    })?);
                }
                b":f" => match self.value()? {
                    Json::String(name) => draft.f = Some(pairing.calls.function(&name)),
                    other => {
                        return self.malformed(format!("expected a function's name after :f, found {other}"));
                    }
                },
                b":key" => {
                    let key = self.value()?;
                    draft.key =
                        (!key.is_null()).then(|| pairing.calls.key(crate::history::Value::from_json(&key)));
                }
                b":value" => draft.value = self.value()?,
                b":time" => draft.time = self.value()?.as_i64(),
                b":index" => draft.index = self.value()?.as_u64(),
                name if pairing.watched() => {
                    let name = String::from_utf8_lossy(&name[1..]).into_owned();
                    draft.more.push((name, self.value()?));
                }
                _ => self.value().map(drop)?,
            }
        }
        draft.finish(|field| format!(":{field}"))
    }

    fn skip_discards(&mut self) -> Result<(), Trouble> {
        while self.next_byte()? == Some(b'#') {
            if self.value_or_discard()?.is_some() {
                return self.malformed("expected a keyword such as `:process`, found a tagged value");
            }
        }
        Ok(())
    }

    /// A keyword, symbol, number or tag into `token`, its leading `:` included.
    fn atom(&mut self) -> Result<(), Trouble> {
        self.token.clear();
        while let Some(byte) = self.bytes.peek() {
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'"' | b';')
                || matches!(byte, b'(' | b')' | b'[' | b']' | b'{' | b'}')
            {
                break;
            }
            self.token.push(byte);
            self.bytes.bump();
            if self.token.len() > MAX_TOKEN {
                return self.malformed("this name is longer than 16 MiB");
            }
        }
        Ok(())
    }

    /// The next value.
    pub(super) fn value(&mut self) -> Result<Json, Trouble> {
        loop {
            if let Some(value) = self.value_or_discard()? {
                return Ok(value);
            }
        }
    }

    /// The next value; `None` for one that is discarded.
    fn value_or_discard(&mut self) -> Result<Option<Json>, Trouble> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.malformed(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        let value = self.form();
        self.depth -= 1;
        value
    }

    fn form(&mut self) -> Result<Option<Json>, Trouble> {
        let value = match self.next_byte()? {
            Some(b'"') => self.string().map(Json::String),
            Some(b'[') => self.sequence(b']').map(Json::Array),
            Some(b'(') => self.sequence(b')').map(Json::Array),
            Some(b'{') => self.map(),
            Some(b'\\') => self.character(),
            Some(b'#') => {
                self.bytes.bump();
                match self.bytes.peek() {
                    Some(b'{') => {
                        let mut items = self.sequence(b'}')?;
                        items.sort_by_cached_key(Json::to_string);
                        Ok(Json::Array(items))
                    }
                    Some(b'_') => {
                        self.bytes.bump();
                        self.value()?;
                        return Ok(None);
                    }
                    Some(b'#') => {
                        self.bytes.bump();
                        self.atom()?;
                        Ok(Json::String(format!("##{}", String::from_utf8_lossy(&self.token))))
                    }
                    Some(byte) if byte.is_ascii_alphabetic() => {
                        self.atom()?;
                        self.value()
                    }
                    found => Err(self.expected("a set, a tag or a discard after `#`", found)),
                }
            }
            Some(b'^') => {
                self.bytes.bump();
                self.value()?;
                self.value()
            }
            found @ (None | Some(b')' | b']' | b'}')) => Err(self.expected("a value", found)),
            Some(_) => self.word(),
        };
        value.map(Some)
    }

    fn word(&mut self) -> Result<Json, Trouble> {
        self.atom()?;
        let text = String::from_utf8_lossy(&self.token);
        Ok(match &*text {
            "nil" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            ":" | "" => return self.malformed("expected a name after `:`"),
            name if name.starts_with(':') => Json::String(name[1..].into()),
            name => {
                let digits = name.strip_prefix(['-', '+']).unwrap_or(name);
                if !digits.starts_with(|first: char| first.is_ascii_digit()) {
                    return Ok(Json::String(name.into()));
                }
                let plain = name.strip_suffix(['N', 'M']).unwrap_or(name);
                match number(plain) {
                    Some(number) => number,
                    // A ratio: its text names it.
                    None if plain
                        .split_once('/')
                        .is_some_and(|(above, below)| number(above).is_some() && number(below).is_some()) =>
                    {
                        Json::String(plain.into())
                    }
                    None => return self.malformed(format!("expected a number, found `{name}`")),
                }
            }
        })
    }

    fn sequence(&mut self, close: u8) -> Result<Vec<Json>, Trouble> {
        self.bytes.bump();
        let mut items = Vec::new();
        loop {
            match self.next_byte()? {
                Some(byte) if byte == close => {
                    self.bytes.bump();
                    return Ok(items);
                }
                None => return Err(self.expected(&format!("`{}`", char::from(close)), None)),
                Some(_) => items.extend(self.value_or_discard()?),
            }
        }
    }

    fn map(&mut self) -> Result<Json, Trouble> {
        let items = self.sequence(b'}')?;
        if items.len() % 2 == 1 {
            return self.malformed("expected a value after a map's last key");
        }
        let mut map = Map::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let key = match key {
                Json::String(name) => name,
                other => other.to_string(),
            };
            map.insert(key, value);
        }
        map.sort_keys();
        Ok(Json::Object(map))
    }

    fn character(&mut self) -> Result<Json, Trouble> {
        self.bytes.bump();
        self.token.clear();
        if let Some(byte) = self.bytes.peek() {
            self.token.push(byte);
            self.bytes.bump_any();
        }
        let first = self.token.clone();
        self.atom()?;
        let text = [first, self.token.clone()].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let code = text.strip_prefix('u').filter(|hex| hex.len() == 4);
        Ok(Json::String(match text.as_str() {
            "newline" => "\n".into(),
            "space" => " ".into(),
            "tab" => "\t".into(),
            "return" => "\r".into(),
            _ => match code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32) {
                Some(letter) => letter.into(),
                None => text,
            },
        }))
    }

    fn string(&mut self) -> Result<String, Trouble> {
        string(self.bytes, &mut self.token, Dialect::Edn)?;
        Ok(String::from_utf8_lossy(&self.token).into_owned())
    }
}
