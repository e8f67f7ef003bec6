//! `[load]`: what clients do, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{key, or_default};
use crate::client::Protocol;
use crate::document::{Field, Key, Section, Val, did_you_mean, list, nearest};
use crate::fault::kinds::duration_schema;
use crate::history::Sessions;
use crate::workload::known::{KNOWN_LOADS, LATER_LOADS};
use crate::workload::{LoadSpec, Route};

/// The keys of `[load]`.
pub(in crate::workload) fn load_keys() -> Vec<Key> {
    vec![
        key(
            "kind",
            "what clients do (default register)",
            || json!({ "enum": KNOWN_LOADS.iter().map(|(name, _)| *name).collect::<Vec<_>>() }),
        ),
        key(
            "clients",
            "how many there are (default 6)",
            || json!({ "type": "integer", "minimum": 1, "maximum": MAX_CLIENTS }),
        ),
        key(
            "rate",
            "operations a second over all clients; 0 = as fast as they answer (default 200)",
            || json!({ "type": "number", "minimum": 0, "maximum": MAX_RATE }),
        ),
        key("duration", "how long it lasts (default 10s)", duration_schema),
        key(
            "keys",
            "keys in use at a time (default 8)",
            || json!({ "type": "integer", "minimum": 1, "maximum": MAX_KEYS }),
        ),
        key(
            "rotate",
            "each key is replaced by a fresh one after so long (default 1s), or \"never\"",
            || json!({ "anyOf": [{ "const": "never" }, duration_schema()] }),
        ),
        key(
            "burst",
            "so many operations start at the same moment, on the same key (default 1)",
            || json!({ "type": "integer", "minimum": 1, "maximum": MAX_BURST }),
        ),
        key(
            "size",
            "messages of a broadcast or log are filled up to so many bytes, \"64KiB\" (default: as short as they can be)",
            || json!({ "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKMGmg][iI]?)?[bB]\\s*$" }),
        ),
        key(
            "repeat",
            "the share of publications that publish again, under its old id, what their client had published (default 0)",
            || json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        ),
        key(
            "subscribers",
            "of each topic at each node, in a log's load (default 1)",
            || json!({ "type": "integer", "minimum": 0, "maximum": MAX_SUBSCRIBERS }),
        ),
        key("mix", "operations and their weights (default read 1, write 1)", || {
            let weight = || json!({ "type": "integer", "minimum": 0, "maximum": MAX_WEIGHT });
            let names = KNOWN_LOADS.iter().flat_map(|(_, operations)| *operations);
            let properties: serde_json::Map<String, Json> =
                names.map(|name| ((*name).to_owned(), weight())).collect();
            json!({ "type": "object", "minProperties": 1, "additionalProperties": false, "properties": properties })
        }),
        key(
            "sessions",
            "sticky: a client stays on its node; roaming: it moves (default sticky)",
            || json!({ "enum": ["sticky", "roaming"] }),
        ),
        key(
            "route",
            "whom operations are sent to, all or each: the leader, any (the next where nobody listens), sticky, roaming \
             (default: as sessions says)",
            || {
                let words: Vec<&str> = Route::ALL.iter().map(|(_, name)| *name).collect();
                let names = KNOWN_LOADS.iter().flat_map(|(_, operations)| *operations);
                let properties: serde_json::Map<String, Json> =
                    names.map(|name| ((*name).to_owned(), json!({ "enum": words }))).collect();
                json!({ "anyOf": [
                    { "enum": words },
                    { "type": "object", "minProperties": 1, "additionalProperties": false, "properties": properties }
                ] })
            },
        ),
    ]
}

const MAX_CLIENTS: u64 = 10_000;
const MAX_RATE: f64 = 1_000_000.0;
const MAX_KEYS: u64 = 1_000_000;
const MAX_BURST: u64 = 1_000;
const MAX_WEIGHT: u64 = 1_000_000;
const MAX_SUBSCRIBERS: u64 = 100;
/// The largest message, bytes: it has to fit into a line.
const MAX_SIZE_BYTES: u64 = 512 * 1024;

/// How long a load lasts when it does not say.
pub(in crate::workload) const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// Reads `duration` of `[load]`. Decoded apart because faults are checked against it.
pub(in crate::workload) fn duration(section: &Section<'_>) -> Option<Duration> {
    let range = Duration::from_millis(100)..=Duration::from_secs(7 * 86_400);
    or_default(section.field("duration"), DEFAULT_DURATION, |field| field.duration(range))
}

/// Reads the rest of `[load]`. `protocol` must teach the operations of the mix, where it is known.
pub(in crate::workload) fn load(
    section: &Section<'_>,
    duration: Option<Duration>,
    protocol: Option<&Protocol>,
) -> Option<LoadSpec> {
    let names: Vec<&'static str> = KNOWN_LOADS.iter().map(|(name, _)| *name).collect();
    let kind = or_default(section.field("kind"), names[0], |field| field.word(&names, LATER_LOADS));
    let whole = |name, default, range: std::ops::RangeInclusive<u64>| {
        or_default(section.field(name), default, |field| field.whole(range.clone()))
            .and_then(|int| u32::try_from(int).ok())
    };
    let clients = whole("clients", 6, 1..=MAX_CLIENTS);
    let rate = or_default(section.field("rate"), 200.0, |field| field.number(0.0..=MAX_RATE));
    // Topics are few, and stay: what they are judged by is their whole log.
    let is_log = kind == Some("log");
    let keys = whole("keys", if is_log { 2 } else { 8 }, 1..=MAX_KEYS);
    let every_second = Some(Duration::from_secs(1)).filter(|_| !is_log);
    if let (true, Some(field)) = (is_log, section.field("rotate")) {
        field.fail("replaces keys, but the keys of a log are its topics, which stay", "expected no `rotate`");
    }
    let rotate = or_default(section.field("rotate").filter(|_| !is_log), every_second, |field| match &field
        .node
        .val
    {
        Val::Text(text) if text == "never" => Some(None),
        _ => field.duration(Duration::from_millis(10)..=Duration::from_secs(7 * 86_400)).map(Some),
    });
    let burst = whole("burst", 1, 1..=MAX_BURST);
    if let (Some(clients), Some(burst), Some(field)) = (clients, burst, section.field("burst"))
        && burst > clients
    {
        let title = format!("is {burst}, but there are {clients} clients, each with one operation at a time");
        field.fail(title, format!("expected at most load.clients, {clients}"));
    }
    let mix = match section.field("mix") {
        None => default_mix(section, kind.unwrap_or(names[0]), protocol),
        Some(field) => mix(&field, kind.unwrap_or(names[0]), protocol),
    };
    let routes = match (section.field("route"), &mix) {
        (None, _) => Some(BTreeMap::new()),
        (Some(field), Some(mix)) => routes(&field, kind.unwrap_or(names[0]), mix, protocol),
        (Some(_), None) => None,
    };
    let sessions = match section.field("sessions").map(|field| field.word(&["sticky", "roaming"], &[])) {
        None => Some(Sessions::Sticky),
        Some(word) => word.map(|word| if word == "roaming" { Sessions::Roaming } else { Sessions::Sticky }),
    };
    let size = or_default(section.field("size"), 0, |field| {
        let bytes = field.unit(crate::document::units::size, "64KiB")?;
        if bytes > MAX_SIZE_BYTES {
            field.fail(format!("is {bytes} bytes"), format!("expected at most {MAX_SIZE_BYTES}"));
            return None;
        }
        u32::try_from(bytes).ok()
    });
    let repeat = or_default(section.field("repeat"), 0.0, |field| field.number(0.0..=1.0));
    let subscribers = whole("subscribers", 1, 0..=MAX_SUBSCRIBERS);
    Some(LoadSpec {
        size: size?,
        subscribers: subscribers?,
        repeat: repeat?,
        kind: kind?.to_owned(),
        clients: clients?,
        rate: rate?,
        duration: duration?,
        keys: keys?,
        rotate: rotate?,
        burst: burst?,
        mix: mix?,
        sessions: sessions?,
        routes: routes?,
    })
}

fn default_mix(section: &Section<'_>, kind: &str, protocol: Option<&Protocol>) -> Option<Vec<(String, u32)>> {
    let default: &[(&str, u32)] = match kind {
        "broadcast" => &[("broadcast", 1)],
        "log" => &[("publish", 4), ("history", 1)],
        _ => &[("read", 1), ("write", 1)],
    };
    if let Some(protocol) = protocol
        && let Some((missing, _)) = default.iter().find(|(name, _)| !protocol.has(name))
    {
        let taught: Vec<&str> = protocol.operations().collect();
        section.fail(
            format!(
                "`load.mix` is not given, and the protocol {:?} does not teach `{missing}`",
                protocol.name()
            ),
            format!("expected a mix of {}", list(&taught, "and")),
            None,
        );
        return None;
    }
    Some(default.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
}

fn routes(
    field: &Field<'_>,
    kind: &str,
    mix: &[(String, u32)],
    protocol: Option<&Protocol>,
) -> Option<BTreeMap<String, Route>> {
    let Val::Table(table) = &field.node.val else {
        let route = route(field)?;
        let all = mix.iter().map(|(name, _)| (name.clone(), route));
        let all: BTreeMap<_, _> = all.collect();
        return all.keys().all(|name| is_led(field, name, route, protocol)).then_some(all);
    };
    let known = KNOWN_LOADS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, names)| names);
    let mut routes = BTreeMap::new();
    let mut fine = true;
    for entry in &table.entries {
        let name = entry.key.as_str();
        if !mix.iter().any(|(mixed, _)| mixed == name) {
            let mixed: Vec<&str> = mix.iter().map(|(name, _)| name.as_str()).collect();
            let (title, label) = match known.contains(&name) {
                true => (
                    format!("`load.route` names an operation that is not in `load.mix`: `{name}`"),
                    format!("expected {}", list(&mixed, "or")),
                ),
                false => (
                    format!("`load.route` names an unknown operation: `{name}`"),
                    did_you_mean(name, mixed.iter().copied(), &format!("expected {}", list(&mixed, "or"))),
                ),
            };
            field.sink.fail(&entry.key_at, title, label, None);
            fine = false;
            continue;
        }
        let value = Field { path: format!("load.route.{name}"), node: &entry.node, sink: field.sink };
        match route(&value).filter(|route| is_led(&value, name, *route, protocol)) {
            Some(route) => {
                routes.insert(name.to_owned(), route);
            }
            None => fine = false,
        }
    }
    fine.then_some(routes)
}

fn route(field: &Field<'_>) -> Option<Route> {
    let words = Route::ALL.map(|(_, name)| name);
    let Val::Text(_) = &field.node.val else {
        return field.wrong_type(&format!("one of {}, or a table of them", list(&words, "and")));
    };
    let word = field.word(&words, &[])?;
    Route::ALL.iter().find(|(_, name)| *name == word).map(|(route, _)| *route)
}

/// Whether clients can find out who leads, where that is needed.
fn is_led(field: &Field<'_>, name: &str, route: Route, protocol: Option<&Protocol>) -> bool {
    let Some(protocol) = protocol.filter(|protocol| route == Route::Leader && !protocol.leads_on(name))
    else {
        return true;
    };
    field.fail(
        format!("sends `{name}` to the leader, but nobody can say who that is"),
        format!("expected the protocol {:?} to teach `[status]`, or a `hint` in `[{name}]`", protocol.name()),
    );
    false
}

fn mix(field: &Field<'_>, kind: &str, protocol: Option<&Protocol>) -> Option<Vec<(String, u32)>> {
    let known =
        KNOWN_LOADS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, operations)| operations);
    let Val::Table(table) = &field.node.val else {
        return field.wrong_type("a table such as { read = 1, write = 1 }");
    };
    let mut mix = Vec::new();
    let mut fine = true;
    for entry in &table.entries {
        let name = entry.key.as_str();
        if !known.contains(&name) {
            let label = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected {}", list(known, "and")),
            };
            let title = format!("`load.mix` names an operation that kind {kind:?} does not have: `{name}`");
            field.sink.fail(&entry.key_at, title, label, None);
            fine = false;
            continue;
        }
        let weight = Field { path: format!("load.mix.{name}"), node: &entry.node, sink: field.sink };
        if let Some(protocol) = protocol.filter(|protocol| !protocol.has(name)) {
            let title = format!(
                "`load.mix` names an operation that the protocol {:?} does not teach: `{name}`",
                protocol.name()
            );
            let taught: Vec<&str> = protocol.operations().collect();
            field.sink.fail(&entry.key_at, title, format!("expected {}", list(&taught, "and")), None);
            fine = false;
            continue;
        }
        match weight.whole(0..=MAX_WEIGHT).and_then(|weight| u32::try_from(weight).ok()) {
            Some(weight) => mix.push((name.to_owned(), weight)),
            None => fine = false,
        }
    }
    if fine && mix.iter().all(|(_, weight)| *weight == 0) {
        field.fail(
            "gives every operation the weight 0: nothing would be done",
            "expected at least one weight above 0",
        );
        return None;
    }
    fine.then_some(mix)
}
