//! The tables of a workload file: their keys, limits and defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::known::{KNOWN_CHECKS, KNOWN_LOADS, KNOWN_PROTOCOLS, LATER_CHECKS, LATER_LOADS};
use super::{CheckMode, ClientSpec, ClusterSpec, LoadSpec};
use crate::document::units::{show_duration, size};
use crate::document::{Field, Key, Section, Val, list, nearest};
use crate::fault::kinds::duration_schema;
use crate::fault::target;
use crate::history::{Durability, Sessions};

fn key(name: &'static str, about: &'static str, schema: fn() -> Json) -> Key {
    Key { name, about, schema }
}

fn text_schema() -> Json {
    json!({ "type": "string" })
}

/// Whether `name` can name a folder, and a node, on every system.
pub(super) fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.starts_with(['.', '-'])
}

/// The schema of what [`is_plain_name`] accepts.
pub(super) fn plain_name_schema() -> Json {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$" })
}

/// The most nodes a cluster may have: each ordered pair has a proxy.
const MAX_NODES: usize = 64;

/// The keys of `[cluster]`.
pub(super) fn cluster_keys() -> Vec<Key> {
    vec![
        key("nodes", "the ids of the nodes", || {
            let mut item = plain_name_schema();
            item["not"] = json!({ "enum": reserved() });
            json!({ "type": "array", "minItems": 1, "maxItems": MAX_NODES, "uniqueItems": true, "items": item })
        }),
        key(
            "command",
            "how a node starts: a template, split as a shell splits words; no shell runs",
            text_schema,
        ),
        key(
            "env",
            "the environment of a node: templates",
            || json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } }),
        ),
        key(
            "port",
            "the first node's port, the others follow; 0 or absent: free ports",
            || json!({ "type": "integer", "minimum": 0, "maximum": 65535 }),
        ),
        key(
            "dir",
            "where the nodes' own directories are made; absent: nodes/ of the run's folder",
            text_schema,
        ),
        key(
            "cwd",
            "where commands start, relative to the workload file; absent: each in its own directory",
            text_schema,
        ),
        key(
            "durability",
            "what a crash must not take (default disk)",
            || json!({ "enum": ["disk", "replicated", "memory"] }),
        ),
        key("ready-within", "how long a node may take to become ready (default 10s)", duration_schema),
        key("limits", "what a node may use", || crate::document::table_schema(&limits_keys(), &[])),
    ]
}

/// Keys of `[cluster]` in the design that this version does not support.
pub(super) const CLUSTER_LATER: &[&str] = &["ports", "files"];

fn limits_keys() -> Vec<Key> {
    vec![key(
        "log",
        "bytes of log kept of each node, \"16MiB\"; what is beyond is counted and dropped",
        || json!({ "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKMGmg][iI]?)?[bB]\\s*$" }),
    )]
}

fn reserved() -> Vec<&'static str> {
    target::WORDS.iter().chain(target::LATER).copied().collect()
}

/// Reads `nodes`. Decoded apart from the rest because faults can be checked as soon as the nodes are known.
pub(super) fn nodes(section: &Section<'_>) -> Option<Vec<String>> {
    let field = section.required("nodes", "nodes = [\"A\", \"B\", \"C\"]")?;
    let items = field.items("node ids")?;
    if items.is_empty() || items.len() > MAX_NODES {
        field.fail(format!("has {} nodes", items.len()), format!("expected 1 to {MAX_NODES} node ids"));
        return None;
    }
    let mut nodes: Vec<String> = Vec::new();
    let mut fine = true;
    for item in &items {
        let Some(id) = item.text() else {
            fine = false;
            continue;
        };
        let problem = if !is_plain_name(id) {
            Some((format!("is {id:?}"), "expected letters, digits, -, _ and ."))
        } else if reserved().contains(&id) {
            Some((format!("is {id:?}, a word that faults use for their targets"), "expected another id"))
        } else if nodes.iter().any(|other| other == id) {
            Some((format!("names node {id:?} a second time"), "each node once"))
        } else {
            None
        };
        if let Some((title, label)) = problem {
            item.fail(title, label);
            fine = false;
        } else {
            nodes.push(id.to_owned());
        }
    }
    fine.then_some(nodes)
}

/// Reads the rest of `[cluster]`; `beside` is the workload's folder.
pub(super) fn cluster(
    section: &Section<'_>,
    nodes: Option<Vec<String>>,
    beside: &Path,
) -> Option<ClusterSpec> {
    let command = section.required("command", "command = \"{{ node }} --id {{ id }} --port {{ port }}\"");
    let command = command.and_then(|field| field.text().map(str::to_owned));
    let env = match section.field("env") {
        Some(field) => env(&field),
        None => Some(Vec::new()),
    };
    let port = match section.field("port") {
        None => Some(None),
        Some(field) => field.whole(0..=65535).and_then(|port| {
            let last = port + nodes.as_ref().map_or(0, |nodes| nodes.len() as u64 - 1);
            if last > 65535 {
                field.fail(
                    format!("is {port}: the last node's port would be {last}"),
                    "expected at most 65535",
                );
                return None;
            }
            Some(u16::try_from(port).ok().filter(|port| *port > 0))
        }),
    };
    let folder = |name: &str| match section.field(name) {
        None => Some(None),
        Some(field) => match field.text() {
            Some("") => {
                field.fail("is empty", "expected a folder");
                None
            }
            text => text.map(|text| Some((field, PathBuf::from(text)))),
        },
    };
    let dir = folder("dir");
    let cwd = folder("cwd").and_then(|cwd| match cwd {
        None => Some(None),
        Some((field, path)) => {
            let path = beside.join(path);
            if !path.is_dir() {
                field.fail(
                    format!("names no directory: {}", path.display()),
                    "expected a directory that exists",
                );
                return None;
            }
            Some(std::path::absolute(&path).ok())
        }
    });
    let durability =
        match section.field("durability").map(|field| field.word(&["disk", "replicated", "memory"], &[])) {
            None => Some(Durability::Disk),
            Some(word) => word.map(|word| match word {
                "replicated" => Durability::Replicated,
                "memory" => Durability::Memory,
                _ => Durability::Disk,
            }),
        };
    let ready = Duration::from_millis(100)..=Duration::from_secs(600);
    let ready_within =
        or_default(section.field("ready-within"), Duration::from_secs(10), |field| field.duration(ready));
    let keys = limits_keys();
    let limits = section.field("limits").and_then(|field| {
        let Val::Table(table) = &field.node.val else { return field.wrong_type("a table") };
        let later = ["memory", "cpu", "processes"];
        let section = Section::open("cluster.limits", table, &field.node.at, &keys, &later, field.sink);
        section.field("log")?.unit(size, "16MiB")
    });
    Some(ClusterSpec {
        nodes: nodes?,
        command: command?,
        env: env?.into_iter().collect(),
        port: port?,
        dir: dir?.map(|(_, path)| path),
        cwd: cwd?,
        durability: durability?,
        ready_within: ready_within?,
        log_limit: limits.unwrap_or(16 << 20),
    })
}

fn env(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let Val::Table(table) = &field.node.val else { return field.wrong_type("a table of variables") };
    let mut env = Vec::new();
    let mut fine = true;
    for entry in &table.entries {
        let value =
            Field { path: format!("{}.{}", field.path, entry.key), node: &entry.node, sink: field.sink };
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            value.fail("is no name for an environment variable", "expected a name without =");
            fine = false;
        }
        match &entry.node.val {
            Val::Text(text) => env.push((entry.key.clone(), text.clone())),
            Val::Int(int) => env.push((entry.key.clone(), int.to_string())),
            Val::Float(float) => env.push((entry.key.clone(), float.to_string())),
            Val::Bool(yes) => env.push((entry.key.clone(), yes.to_string())),
            _ => fine = value.wrong_type::<()>("a string or a number").is_some(),
        }
    }
    fine.then_some(env)
}

/// The field read, or the default where it is absent; `None` when it is wrong.
fn or_default<T>(
    field: Option<Field<'_>>,
    default: T,
    read: impl FnOnce(&Field<'_>) -> Option<T>,
) -> Option<T> {
    field.map_or(Some(default), |field| read(&field))
}

/// The keys of `[client]`.
pub(super) fn client_keys() -> Vec<Key> {
    vec![
        key(
            "protocol",
            "a built-in protocol, or the path of a protocol file, relative to the workload",
            text_schema,
        ),
        key("timeout", "of one operation (default 1s)", duration_schema),
        key(
            "max-in-flight",
            "operations in flight at one node at a time; absent: no limit",
            || json!({ "type": "integer", "minimum": 1, "maximum": 10000 }),
        ),
    ]
}

/// Reads `[client]`; `beside` is the workload's folder.
pub(super) fn client(section: &Section<'_>, beside: &Path) -> Option<ClientSpec> {
    let example = format!("protocol = \"{}\"", KNOWN_PROTOCOLS[0]);
    let protocol = section.required("protocol", &example).and_then(|field| protocol(&field, beside));
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    let timeout = or_default(section.field("timeout"), Duration::from_secs(1), |field| field.duration(range));
    let max_in_flight = or_default(section.field("max-in-flight"), None, |field| {
        Some(u32::try_from(field.whole(1..=10_000)?).ok())
    });
    Some(ClientSpec { protocol: protocol?, timeout: timeout?, max_in_flight: max_in_flight? })
}

fn protocol(field: &Field<'_>, beside: &Path) -> Option<String> {
    let name = field.text()?;
    if name.contains('/') || name.ends_with(".toml") {
        let path = beside.join(name);
        if !path.is_file() {
            field.fail(
                format!("names no file: {}", path.display()),
                "expected a protocol file, relative to the workload",
            );
            return None;
        }
        return Some(name.to_owned());
    }
    if KNOWN_PROTOCOLS.contains(&name) {
        return Some(name.to_owned());
    }
    let title = format!("names an unknown protocol: {name:?}");
    match nearest(name, KNOWN_PROTOCOLS.iter().copied()) {
        Some(near) => field.fail(title, format!("did you mean `{near}`?")),
        None => field
            .fail(title, format!("expected {} or the path of a protocol file", list(KNOWN_PROTOCOLS, ","))),
    }
    None
}

/// The keys of `[load]`.
pub(super) fn load_keys() -> Vec<Key> {
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
    ]
}

const MAX_CLIENTS: u64 = 10_000;
const MAX_RATE: f64 = 1_000_000.0;
const MAX_KEYS: u64 = 1_000_000;
const MAX_BURST: u64 = 1_000;
const MAX_WEIGHT: u64 = 1_000_000;

/// How long a load lasts when it does not say.
pub(super) const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// Reads `duration` of `[load]`. Decoded apart because faults are checked against it.
pub(super) fn duration(section: &Section<'_>) -> Option<Duration> {
    let range = Duration::from_millis(100)..=Duration::from_secs(7 * 86_400);
    or_default(section.field("duration"), DEFAULT_DURATION, |field| field.duration(range))
}

/// Reads the rest of `[load]`.
pub(super) fn load(section: &Section<'_>, duration: Option<Duration>) -> Option<LoadSpec> {
    let names: Vec<&'static str> = KNOWN_LOADS.iter().map(|(name, _)| *name).collect();
    let kind = or_default(section.field("kind"), names[0], |field| field.word(&names, LATER_LOADS));
    let whole = |name, default, range: std::ops::RangeInclusive<u64>| {
        or_default(section.field(name), default, |field| field.whole(range.clone()))
            .and_then(|int| u32::try_from(int).ok())
    };
    let clients = whole("clients", 6, 1..=MAX_CLIENTS);
    let rate = or_default(section.field("rate"), 200.0, |field| field.number(0.0..=MAX_RATE));
    let keys = whole("keys", 8, 1..=MAX_KEYS);
    let rotate =
        or_default(section.field("rotate"), Some(Duration::from_secs(1)), |field| match &field.node.val {
            Val::Text(text) if text == "never" => Some(None),
            _ => field.duration(Duration::from_millis(10)..=Duration::from_secs(7 * 86_400)).map(Some),
        });
    let burst = whole("burst", 1, 1..=MAX_BURST);
    if let (Some(clients), Some(burst), Some(field)) = (clients, burst, section.field("burst"))
        && burst > clients
    {
        let title = format!("is {burst}, but there are {clients} clients, each with one operation at a time");
        field.fail(title, format!("expected at most load.clients, {clients}"));
        return None;
    }
    let mix = match section.field("mix") {
        None => Some(vec![("read".to_owned(), 1), ("write".to_owned(), 1)]),
        Some(field) => mix(&field, kind.unwrap_or(names[0])),
    };
    let sessions = match section.field("sessions").map(|field| field.word(&["sticky", "roaming"], &[])) {
        None => Some(Sessions::Sticky),
        Some(word) => word.map(|word| if word == "roaming" { Sessions::Roaming } else { Sessions::Sticky }),
    };
    Some(LoadSpec {
        kind: kind?.to_owned(),
        clients: clients?,
        rate: rate?,
        duration: duration?,
        keys: keys?,
        rotate: rotate?,
        burst: burst?,
        mix: mix?,
        sessions: sessions?,
    })
}

fn mix(field: &Field<'_>, kind: &str) -> Option<Vec<(String, u32)>> {
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

/// The keys of `[settle]`.
pub(super) fn settle_keys() -> Vec<Key> {
    vec![key(
        "within",
        "how long the replicas may take to agree after the heal (default 10s)",
        duration_schema,
    )]
}

/// Reads `[settle]`.
pub(super) fn settle(section: Option<&Section<'_>>) -> Option<Duration> {
    let field = section.and_then(|section| section.field("within"));
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    or_default(field, Duration::from_secs(10), |field| field.duration(range))
}

/// The keys of `[checks]`.
pub(super) fn checks_keys() -> Vec<Key> {
    KNOWN_CHECKS.iter().map(|(name, about)| key(name, about, || json!({ "enum": MODES }))).collect()
}

/// Keys of `[checks]` in the design that this version does not support.
pub(super) const CHECKS_LATER: &[&str] = LATER_CHECKS;

const MODES: &[&str] = &["required", "reported", "expected-to-fail"];

/// Reads `[checks]`.
pub(super) fn checks(section: &Section<'_>) -> Option<Vec<(String, CheckMode)>> {
    let mut checks = Vec::new();
    let mut fine = true;
    for (entry, field) in section.fields() {
        match field.word(MODES, &[]) {
            Some("required") => checks.push((entry.key.clone(), CheckMode::Required)),
            Some("reported") => checks.push((entry.key.clone(), CheckMode::Reported)),
            Some(_) => checks.push((entry.key.clone(), CheckMode::ExpectedToFail)),
            None => fine = false,
        }
    }
    if fine && checks.is_empty() {
        let names: Vec<&str> = KNOWN_CHECKS.iter().map(|(name, _)| *name).collect();
        let help = format!("the checks are {}", list(&names, "and"));
        section.fail(
            "[checks] asks for no check: nothing could be found",
            "expected a line such as convergence = \"required\"",
            Some(help),
        );
        return None;
    }
    fine.then_some(checks)
}

/// For the summary of `harness validate`.
pub(super) fn describe_rate(load: &LoadSpec) -> String {
    let rate = if load.rate == 0.0 { "unlimited".to_owned() } else { format!("{} ops/s", load.rate) };
    format!("{} clients, {rate} for {}", load.clients, show_duration(load.duration))
}
