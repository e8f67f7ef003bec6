//! From a protocol file's text to a [`Protocol`]. Every mistake is told at its line and column.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::answer::{Place, Pointer, Purpose, Reading, Rule, Ruling, ValueKind, Want};
use super::protocol::{OPERATIONS, Operation, Protocol, ProtocolError, ProtocolMistake, Transport};
use super::said::Sayings;
use super::talk::{Plain, Shown, Talk};
use super::template::{Spelling, Template, suggest};

const RULINGS: [(&str, Ruling); 5] = [
    ("ok", Ruling::Ok),
    ("miss", Ruling::Miss),
    ("fail", Ruling::Fail),
    ("info", Ruling::Info),
    ("not-understood", Ruling::NotUnderstood),
];
const KINDS: [(&str, ValueKind); 3] =
    [("number", ValueKind::Number), ("text", ValueKind::Text), ("json", ValueKind::Json)];
/// How a protocol file names them.
pub(super) const TRANSPORTS: [(&str, Transport); 3] =
    [("http", Transport::Http), ("line", Transport::Line), ("stdio", Transport::Stdio)];

/// Headers the client writes itself.
const OWN_HEADERS: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

type Mistake = (Range<usize>, String);

/// One mistake or more.
struct Mistakes(Vec<Mistake>);

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl Mistakes {
    fn keep<T>(&mut self, found: Result<T, impl Into<Mistakes>>) -> Option<T> {
        found.map_err(|mistakes| self.0.append(&mut mistakes.into().0)).ok()
    }

    /// Everything, unless there was a mistake anywhere.
    fn all<T>(found: impl Iterator<Item = Result<T, impl Into<Mistakes>>>) -> Result<Vec<T>, Mistakes> {
        let mut mistakes = Mistakes(Vec::new());
        let list = found.filter_map(|found| mistakes.keep(found)).collect();
        if mistakes.0.is_empty() { Ok(list) } else { Err(mistakes) }
    }
}

fn wrong<T, E: From<Mistake>>(span: Range<usize>, message: impl Into<String>) -> Result<T, E> {
    Err((span, message.into()).into())
}

type Node<'t, 'i> = &'t Spanned<DeValue<'i>>;

/// Decodes `text`; see [`Protocol::parse`].
pub(super) fn protocol(text: &str, path: &Path, name: &str) -> Result<Protocol, ProtocolError> {
    let decoded = match DeTable::parse(text) {
        Ok(root) => root_table(root.get_ref(), name),
        Err(error) => Err((error.span().unwrap_or(0..0), error.message().to_owned()).into()),
    };
    decoded.map_err(|Mistakes(mut list)| {
        // What the whole file lacks may be lacking by one of the others.
        let whole = |mistake: &Mistake| mistake.0 == (0..0);
        if !list.iter().all(whole) {
            list.retain(|mistake| !whole(mistake));
        }
        list.sort_by_key(|(span, _)| span.start);
        let mistakes = list.into_iter().map(|(span, message)| {
            let before = text.get(..span.start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let place = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
            ProtocolMistake { place: Some(place), span: Some(span), message }
        });
        ProtocolError { file: Some(path.to_path_buf()), mistakes: mistakes.collect() }
    })
}

fn root_table(root: &DeTable<'_>, name: &str) -> Result<Protocol, Mistakes> {
    let mut known = vec![
        "name",
        "about",
        "transport",
        "value",
        "keep-alive",
        "leader-word",
        "prompt",
        "deliver",
        "removed",
    ];
    known.extend(OPERATIONS.iter().map(|(name, _)| *name));
    let mut mistakes = Mistakes(Table::unknown_keys(root, &known, "a protocol file"));
    let table = Table { entries: root, span: 0..0, what: "a protocol file".to_owned() };
    let text = |name: &str| table.get(name).map(string).transpose();
    let pattern = |name: &str| table.get(name).map(regex).transpose();
    let name = mistakes.keep(text("name")).flatten().unwrap_or(name).to_owned();
    mistakes.keep(text("about"));
    // What else is right or wrong depends on it.
    let transport = match table.get("transport").map(|node| word(node, &TRANSPORTS)).transpose() {
        Ok(transport) => transport.unwrap_or_default(),
        Err(mistake) => {
            mistakes.0.push(mistake);
            return Err(mistakes);
        }
    };
    if let (Transport::Http, Some(node)) = (transport, table.get("prompt").or_else(|| table.get("deliver"))) {
        mistakes
            .0
            .push((node.span(), "is for lines: expected transport = \"line\" or \"stdio\" above".into()));
    }
    if let (Transport::Http | Transport::Line, Some(node)) = (transport, table.get("removed")) {
        let message = "is for what a process prints: expected transport = \"stdio\" above";
        mistakes.0.push((node.span(), message.into()));
    }
    let removed_line = mistakes.keep(pattern("removed")).flatten();
    let prompt = mistakes.keep(pattern("prompt")).flatten();
    let deliver = mistakes.keep(table.get("deliver").map(shown).transpose()).flatten();
    let value_kind = mistakes.keep(table.get("value").map(|node| word(node, &KINDS)).transpose()).flatten();
    let keep_alive = mistakes.keep(table.get("keep-alive").map(boolean).transpose()).flatten();
    let leader_word = mistakes.keep(text("leader-word")).flatten();
    let leader_word = leader_word.map(|text| text.trim().to_lowercase().into());
    let operations = mistakes.keep(operations(&table, transport, leader_word.as_ref()));
    let ready_line = mistakes.keep(ready_line(&table, transport)).flatten();
    if transport == Transport::Stdio && table.get("deliver").is_none() {
        let message = "the file needs `deliver`: what a node prints when it delivers a message";
        mistakes.0.push((0..0, message.into()));
    }
    let Some(operations) = operations.filter(|_| mistakes.0.is_empty()) else { return Err(mistakes) };
    Ok(Protocol {
        name,
        transport,
        deliver,
        ready_line,
        removed_line,
        plain: Plain::new(prompt),
        value_kind: value_kind.unwrap_or_default(),
        keep_alive: keep_alive.unwrap_or(true),
        operations,
    })
}

fn operations(
    table: &Table<'_, '_>,
    transport: Transport,
    leader_word: Option<&Arc<str>>,
) -> Result<Vec<Operation>, Mistakes> {
    let taught = OPERATIONS.iter().filter_map(|(name, purpose)| Some((*name, *purpose, table.get(name)?)));
    let taught = taught.filter(|(name, ..)| (transport, *name) != (Transport::Stdio, "ready"));
    let mut operations = Mistakes::all(taught.map(|(name, purpose, node)| match (transport, purpose) {
        (Transport::Http, Purpose::History | Purpose::Subscribe) => {
            let message = format!("`[{name}]` is for lines: expected transport = \"line\" above");
            wrong(node.span(), message)
        }
        (Transport::Http, _) => operation(name, purpose, node),
        (Transport::Line | Transport::Stdio, _) => spoken(name, purpose, node),
    }))?;
    for operation in &mut operations {
        if let Some(sayings) = &mut operation.reading.sayings {
            sayings.leader_word = leader_word.cloned();
        }
    }
    if operations.iter().any(|operation| operation.purpose == Purpose::Delete) {
        operations.iter_mut().for_each(|operation| operation.reading.tombstones = true);
    }
    if !operations.iter().any(|operation| operation.purpose.mutates() || operation.purpose == Purpose::Read) {
        let expected = match transport {
            Transport::Http => "neither `[read]` nor `[write]`",
            Transport::Line => "nothing that a load could do, such as `[publish]` or `[write]`",
            Transport::Stdio => "no `[broadcast]`",
        };
        return wrong(0..0, format!("the file teaches {expected}"));
    }
    if transport == Transport::Http && table.get("ready").is_none() {
        operations.push(default_ready());
    }
    Ok(operations)
}

/// What a process prints when it is ready, where it prints at all.
fn ready_line(table: &Table<'_, '_>, transport: Transport) -> Result<Option<Regex>, Mistakes> {
    match (transport, table.get("ready")) {
        (Transport::Stdio, Some(node)) => {
            let ready = Table::of(node, &["match"], "`[ready]`")?;
            Ok(Some(regex(ready.required("match")?)?))
        }
        (Transport::Line, None) => {
            let message = "the file needs `[ready]`: a line to which any answer is a sign of life";
            wrong(0..0, message.to_owned())
        }
        _ => Ok(None),
    }
}

/// `GET /`: whatever a server makes of that, it is a sign of life.
fn default_ready() -> Operation {
    Operation {
        name: "ready",
        purpose: Purpose::Ready,
        method: "GET".into(),
        path: Template::text("/"),
        headers: Vec::new(),
        body: None,
        talk: None,
        reading: Reading::default(),
    }
}

/// A pattern of lines that show messages.
fn shown(node: Node<'_, '_>) -> Result<Shown, Mistake> {
    Shown::new(regex(node)?).map_err(|message| (node.span(), message))
}

/// An operation of a protocol that speaks in lines.
fn spoken(name: &'static str, purpose: Purpose, node: Node<'_, '_>) -> Result<Operation, Mistakes> {
    let mut known = vec!["line", "end"];
    known.extend_from_slice(match purpose {
        Purpose::Ready => &[],
        Purpose::Read => &["answer", "value", "ts", "origin", "error"][..],
        Purpose::Snapshot => &["answer", "entries", "key", "value", "ts", "origin", "error"],
        Purpose::History => &["answer", "error", "entry"],
        _ => &["answer", "ts", "origin", "error"],
    });
    if purpose != Purpose::Ready {
        known.extend_from_slice(&SAYINGS);
    }
    let table = Table::of(node, &known, &format!("`[{name}]`"))?;
    let line_node = table.required("line")?;
    let line = template(line_node, Spelling::Raw)?;
    if string(line_node)?.contains(['\n', '\r']) {
        return wrong(line_node.span(), "a request is one line; its end is added to it");
    }
    if matches!(purpose, Purpose::Write | Purpose::Send) && !line.names_value() {
        return wrong(
            line_node.span(),
            format!("nothing in `[{name}]` says `{{{{ value }}}}`: nothing would be sent"),
        );
    }
    let entry = table.get("entry").map(shown).transpose()?;
    if purpose == Purpose::History && entry.is_none() {
        return wrong(node.span(), "`[history]` needs `entry`: what a line that shows an entry looks like");
    }
    let talk = Talk { line, end: table.get("end").map(regex).transpose()?, entry };
    let reading = reading(&table, purpose)?;
    Ok(Operation {
        name,
        purpose,
        method: String::new(),
        path: Template::default(),
        headers: Vec::new(),
        body: None,
        talk: Some(talk),
        reading,
    })
}

/// Where things are in an answer, and what it means.
fn reading(table: &Table<'_, '_>, purpose: Purpose) -> Result<Reading, Mistakes> {
    let places = |name: &str| table.get(name).map(places).transpose().map(Option::unwrap_or_default);
    Ok(Reading {
        rules: rules(table.get("answer"), purpose)?,
        value: places("value")?,
        ts: places("ts")?,
        origin: places("origin")?,
        error: places("error")?,
        entries: places("entries")?,
        key: places("key")?,
        sayings: sayings(table)?,
        tombstones: false,
    })
}

fn operation(name: &'static str, purpose: Purpose, node: Node<'_, '_>) -> Result<Operation, Mistakes> {
    let mut known = vec!["method", "path", "headers", "body"];
    known.extend_from_slice(match purpose {
        Purpose::Ready => &[],
        Purpose::Write | Purpose::Delete => &["answer", "ts", "origin", "error"][..],
        Purpose::Read => &["answer", "value", "ts", "origin", "error"],
        Purpose::Snapshot => &["answer", "entries", "key", "value", "ts", "origin", "error"],
        Purpose::Status | Purpose::History | Purpose::Subscribe => &["answer", "error"],
        Purpose::Send => &["answer", "error"],
    });
    if purpose != Purpose::Ready {
        known.extend_from_slice(&SAYINGS);
    }
    let table = Table::of(node, &known, &format!("`[{name}]`"))?;
    let method = match table.get("method") {
        Some(node) => method(node)?,
        None if purpose == Purpose::Write => "POST".into(),
        None if purpose == Purpose::Delete => "DELETE".into(),
        None => "GET".into(),
    };
    let path_node = table.required("path")?;
    let path_text = string(path_node)?;
    if !path_text.starts_with('/') || path_text.contains(|c: char| c.is_control()) {
        return wrong(path_node.span(), "a path starts with `/`, for instance \"/get?key={{ key }}\"");
    }
    let path = template(path_node, Spelling::Url)?;
    let body = table.get("body").map(|node| template(node, Spelling::Json)).transpose()?;
    let mut headers = Vec::new();
    if let Some(node) = table.get("headers") {
        for (header, value) in table_of(node)? {
            headers.push(self::header(header, value)?);
        }
    }
    let reading = reading(&table, purpose)?;
    let templates = || headers.iter().map(|(_, value)| value).chain(body.as_ref()).chain([&path]);
    let wants_key = purpose.mutates() || purpose == Purpose::Read;
    if wants_key && !templates().any(Template::names_key) {
        return wrong(
            node.span(),
            format!("nothing in `[{name}]` says `{{{{ key }}}}`: every key would be the same"),
        );
    }
    if purpose == Purpose::Write && !templates().any(Template::names_value) {
        return wrong(
            node.span(),
            format!("nothing in `[{name}]` says `{{{{ value }}}}`: nothing would be written"),
        );
    }
    let needed: &[(&str, bool)] = match purpose {
        Purpose::Read => &[("value", reading.value.is_empty())],
        Purpose::Snapshot => &[("entries", reading.entries.is_empty()), ("value", reading.value.is_empty())],
        Purpose::Status => {
            &[("role", reading.sayings.as_ref().is_none_or(|sayings| sayings.role.is_empty()))]
        }
        _ => &[],
    };
    if let Some((missing, _)) = needed.iter().find(|(_, missing)| *missing) {
        return wrong(node.span(), format!("`[{name}]` needs `{missing}`: where in the answer it is"));
    }
    Ok(Operation { name, purpose, method, path, headers, body, talk: None, reading })
}

/// Keys of [`Sayings`].
const SAYINGS: [&str; 7] = ["achieved", "acks", "role", "term", "leader", "token", "hint"];

fn sayings(table: &Table<'_, '_>) -> Result<Option<Box<Sayings>>, Mistake> {
    if !SAYINGS.iter().any(|name| table.get(name).is_some()) {
        return Ok(None);
    }
    let places = |name: &str| table.get(name).map(places).transpose().map(Option::unwrap_or_default);
    Ok(Some(Box::new(Sayings {
        achieved: places("achieved")?,
        acks: places("acks")?,
        role: places("role")?,
        term: places("term")?,
        leader: places("leader")?,
        token: places("token")?,
        hint: places("hint")?,
        leader_word: None,
    })))
}

fn rules(node: Option<Node<'_, '_>>, purpose: Purpose) -> Result<Vec<Rule>, Mistakes> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let DeValue::Array(list) = node.get_ref() else {
        return wrong(node.span(), "expected rules, each begun with `[[OPERATION.answer]]`");
    };
    Mistakes::all(list.iter().map(|node| rule(node, purpose)))
}

fn rule(node: Node<'_, '_>, purpose: Purpose) -> Result<Rule, Mistakes> {
    const WANTS: [&str; 4] = ["equals", "matches", "exists", "null"];
    let known = ["status", "at", "equals", "matches", "exists", "null", "body", "outcome"];
    let table = Table::of(node, &known, "an `answer` rule")?;
    let status = table.get("status").map(statuses).transpose()?.unwrap_or_default();
    let places = table.get("at").map(places).transpose()?.unwrap_or_default();
    let wants: Vec<(&str, Node<'_, '_>)> =
        WANTS.iter().filter_map(|want| table.get(want).map(|node| (*want, node))).collect();
    let want = match wants.as_slice() {
        [] => Want::Exists,
        [("equals", node)] => Want::Equals(scalar(node)?),
        [("matches", node)] => Want::Matches(regex(node)?),
        [(name, node)] => match (*name, boolean(node)?) {
            ("exists", true) => Want::Exists,
            ("null", true) => Want::Null,
            _ => return wrong(node.span(), format!("`{name}` can only be true; leave it out otherwise")),
        },
        [_, (name, node), ..] => {
            return wrong(
                node.span(),
                format!("`{name}` is a second condition; a rule has one of {}", WANTS.join(", ")),
            );
        }
    };
    if let (true, Some((name, node))) = (places.is_empty(), wants.first()) {
        return wrong(node.span(), format!("`{name}` of what? The rule needs `at`, a place in the answer"));
    }
    let body = table.get("body").map(regex).transpose()?;
    let outcome = table.required("outcome")?;
    let ruling = word(outcome, &RULINGS)?;
    if ruling == Ruling::Miss && purpose != Purpose::Read {
        return wrong(outcome.span(), "only a read can miss");
    }
    Ok(Rule { status, places, want, body, ruling })
}

fn statuses(node: Node<'_, '_>) -> Result<Vec<(u16, u16)>, Mistake> {
    let expected = "expected a status such as 404, a class such as \"2xx\", or a list of them";
    match node.get_ref() {
        DeValue::Integer(integer) => match integer.as_str().parse() {
            Ok(status @ 100..=599) => Ok(vec![(status, status)]),
            _ => Err((node.span(), expected.into())),
        },
        DeValue::String(class) => match class.as_bytes() {
            [digit @ b'1'..=b'5', b'x', b'x'] => {
                let low = u16::from(digit - b'0') * 100;
                Ok(vec![(low, low + 99)])
            }
            _ => Err((node.span(), expected.into())),
        },
        DeValue::Array(list) => {
            let lists: Result<Vec<_>, _> = list.iter().map(statuses).collect();
            Ok(lists?.concat())
        }
        _ => Err((node.span(), expected.into())),
    }
}

/// A place or a list of places, the first that is there counts.
fn places(node: Node<'_, '_>) -> Result<Vec<Place>, Mistake> {
    if let DeValue::Array(list) = node.get_ref() {
        return list.iter().map(place).collect();
    }
    Ok(vec![place(node)?])
}

fn place(node: Node<'_, '_>) -> Result<Place, Mistake> {
    let text = string(node)?;
    if let Some(source) = text.strip_prefix("re:") {
        let regex = Regex::new(source).map_err(|error| (node.span(), regex_message(&error)))?;
        return Ok(Place::Regex(regex));
    }
    if text.is_empty() || text.starts_with('/') {
        return Ok(Place::Pointer(Pointer::new(text)));
    }
    if let Some(pointer) = text.strip_prefix("base64:").filter(|pointer| pointer.starts_with('/')) {
        return Ok(Place::Base64(Pointer::new(pointer)));
    }
    let message = format!(
        "`{text}` is no place in an answer: expected a JSON pointer (\"/{text}\"), or a regular expression (\"re:…\")"
    );
    Err((node.span(), message))
}

fn regex(node: Node<'_, '_>) -> Result<Regex, Mistake> {
    Regex::new(string(node)?).map_err(|error| (node.span(), regex_message(&error)))
}

fn regex_message(error: &regex::Error) -> String {
    // The library draws a picture over several lines; its last line is the reason.
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    format!("not a regular expression: {reason}")
}

fn method(node: Node<'_, '_>) -> Result<String, Mistake> {
    let text = string(node)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err((node.span(), format!("`{text}` is no HTTP method: expected GET, POST, PUT, DELETE …")));
    }
    Ok(text.to_owned())
}

fn header(
    name: &Spanned<toml::de::DeString<'_>>,
    value: Node<'_, '_>,
) -> Result<(String, Template), Mistake> {
    let text: &str = name.get_ref();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        return Err((name.span(), format!("`{text}` is no header name")));
    }
    if OWN_HEADERS.contains(&text.to_ascii_lowercase().as_str()) {
        return Err((name.span(), format!("`{text}` is set by the client itself")));
    }
    if string(value)?.contains(|c: char| c.is_control()) {
        return Err((value.span(), "a header's value is one line of text".into()));
    }
    Ok((text.to_owned(), template(value, Spelling::Raw)?))
}

fn template(node: Node<'_, '_>, spelling: Spelling) -> Result<Template, Mistake> {
    Template::compile(string(node)?, spelling).map_err(|message| (node.span(), message))
}

fn string<'t>(node: Node<'t, '_>) -> Result<&'t str, Mistake> {
    node.get_ref().as_str().ok_or_else(|| unexpected(node, "a string"))
}

fn boolean(node: Node<'_, '_>) -> Result<bool, Mistake> {
    node.get_ref().as_bool().ok_or_else(|| unexpected(node, "true or false"))
}

fn scalar(node: Node<'_, '_>) -> Result<Json, Mistake> {
    let expected = || unexpected(node, "a string, a number, true or false");
    match node.get_ref() {
        DeValue::String(text) => Ok(Json::from(&**text)),
        DeValue::Boolean(truth) => Ok(Json::from(*truth)),
        DeValue::Integer(integer) => integer.as_str().parse::<i64>().map(Json::from).map_err(|_| expected()),
        DeValue::Float(float) => float.as_str().parse::<f64>().map(Json::from).map_err(|_| expected()),
        _ => Err(expected()),
    }
}

fn word<T: Copy>(node: Node<'_, '_>, list: &[(&str, T)]) -> Result<T, Mistake> {
    let text = string(node)?;
    if let Some((_, found)) = list.iter().find(|(name, _)| *name == text) {
        return Ok(*found);
    }
    let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
    Err((node.span(), format!("unknown word `{text}`{}", suggest(text, &names))))
}

fn unexpected(node: Node<'_, '_>, expected: &str) -> Mistake {
    (node.span(), format!("expected {expected}, found {}", node.get_ref().type_str()))
}

fn table_of<'t, 'i>(node: Node<'t, 'i>) -> Result<&'t DeTable<'i>, Mistake> {
    node.get_ref().as_table().ok_or_else(|| unexpected(node, "a table"))
}

/// A table whose keys are all known.
struct Table<'t, 'i> {
    entries: &'t DeTable<'i>,
    span: Range<usize>,
    what: String,
}

impl<'t, 'i> Table<'t, 'i> {
    fn new(entries: &'t DeTable<'i>, known: &[&str], what: &str) -> Result<Self, Mistakes> {
        let unknown = Self::unknown_keys(entries, known, what);
        if !unknown.is_empty() {
            return Err(Mistakes(unknown));
        }
        Ok(Self { entries, span: 0..0, what: what.to_owned() })
    }

    fn unknown_keys(entries: &DeTable<'_>, known: &[&str], what: &str) -> Vec<Mistake> {
        let unknown = entries.keys().filter(|key| !known.contains(&&**key.get_ref()));
        let mistake = |key: &Spanned<toml::de::DeString<'_>>| {
            let text: &str = key.get_ref();
            (key.span(), format!("{what} has no key `{text}`{}", suggest(text, known)))
        };
        unknown.map(mistake).collect()
    }

    fn of(node: Node<'t, 'i>, known: &[&str], what: &str) -> Result<Self, Mistakes> {
        Ok(Self { span: node.span(), ..Self::new(table_of(node)?, known, what)? })
    }

    fn get(&self, key: &str) -> Option<Node<'t, 'i>> {
        self.entries.get(key)
    }

    fn required(&self, key: &str) -> Result<Node<'t, 'i>, Mistake> {
        self.get(key).ok_or_else(|| (self.span.clone(), format!("{} needs `{key}`", self.what)))
    }
}
