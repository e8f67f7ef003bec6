//! `[cluster]`: the nodes, and how they start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{is_plain_name, key, or_default, plain_name_schema, provision, text_schema};
use crate::document::units::size;
use crate::document::{Field, Key, Section, Val, table_schema};
use crate::fault::kinds::duration_schema;
use crate::fault::target;
use crate::history::Durability;
use crate::sandbox::Limits;
use crate::workload::{ClusterSpec, template};

/// The most nodes a cluster may have: each ordered pair has a proxy.
const MAX_NODES: usize = 64;
/// Bytes of log that are kept of a node unless the file says otherwise.
const LOG_LIMIT: u64 = 16 << 20;

/// The keys of `[cluster]`.
pub(in crate::workload) fn cluster_keys() -> Vec<Key> {
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
        key("ports", "further ports, each so many above the node's first", provision::ports_schema),
        key(
            "copy",
            "a folder, relative to the workload file: each node's own directory begins as a copy of it",
            text_schema,
        ),
        key(
            "files",
            "files that are made in each node's own directory before it starts: templates",
            provision::files_schema,
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
        key(
            "write-quorum",
            "W: so many replicas hold an acknowledged write; may be a template",
            quorum_schema,
        ),
        key(
            "read-quorum",
            "R: so many replicas are asked by a strong read; may be a template",
            quorum_schema,
        ),
        key(
            "elect-within",
            "how long a majority that can talk may take to have a leader; absent: nothing is promised",
            duration_schema,
        ),
        key(
            "uniform",
            "whether what a node delivered before it crashed binds the others (default false)",
            || json!({ "type": "boolean" }),
        ),
        key(
            "views",
            "whether a node that the others cannot hear may be removed from the group (default false)",
            || json!({ "type": "boolean" }),
        ),
        key("limits", "what a node may use", || table_schema(&limits_keys(), &[])),
    ]
}

fn limits_keys() -> Vec<Key> {
    fn bytes() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKMGmg][iI]?)?[bB]\\s*$" })
    }
    vec![
        key("log", "bytes of log kept of each node, \"16MiB\"; what is beyond is counted and dropped", bytes),
        key("memory", "memory that a node's processes may hold together, \"512MiB\"", bytes),
        key(
            "cpu",
            "processors a node may use: 0.5 is half of one",
            || json!({ "type": "number", "minimum": 0.01, "maximum": 1024 }),
        ),
        key(
            "processes",
            "processes and threads a node may have",
            || json!({ "type": "integer", "minimum": 1 }),
        ),
        key("file", "size of a file that a node writes, \"100MiB\"", bytes),
        key("disk", "size of a node's own directory, \"200MiB\"", bytes),
    ]
}

/// (bytes of log, the others)
fn limits(field: &Field<'_>, keys: &[Key]) -> Option<(u64, Limits)> {
    let Val::Table(table) = &field.node.val else { return field.wrong_type("a table") };
    let section = Section::open("cluster.limits", table, &field.node.at, keys, &[], field.sink);
    let bytes =
        |name: &str| or_default(section.field(name), None, |field| field.unit(size, "512MiB").map(Some));
    let log = or_default(section.field("log"), LOG_LIMIT, |field| field.unit(size, "16MiB"));
    let cpu = or_default(section.field("cpu"), None, |field| field.number(0.01..=1024.0).map(Some));
    let processes =
        or_default(section.field("processes"), None, |field| field.whole(1..=1_000_000).map(Some));
    let (memory, file, disk) = (bytes("memory"), bytes("file"), bytes("disk"));
    Some((log?, Limits { memory: memory?, cpu: cpu?, processes: processes?, file: file?, disk: disk? }))
}

fn reserved() -> Vec<&'static str> {
    target::WORDS.to_vec()
}

/// Reads `nodes`. Decoded apart from the rest because faults can be checked as soon as the nodes are known.
pub(in crate::workload) fn nodes(section: &Section<'_>) -> Option<Vec<String>> {
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

fn quorum_schema() -> serde_json::Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": MAX_NODES },
        { "type": "string", "minLength": 1 }
    ] })
}

/// Reads a number of nodes, or a template that becomes one.
fn quorum(field: &Field<'_>, nodes: u64, vars: Option<&BTreeMap<String, String>>) -> Option<u64> {
    let Val::Text(text) = &field.node.val else { return field.whole(1..=nodes) };
    let values = vars?.iter().map(|(name, value)| (name.clone(), minijinja::Value::from(value.clone())));
    let rendered = match template::render(text, &values.collect()) {
        Ok(rendered) => rendered,
        Err(error) => {
            let at = error.range.map_or_else(|| field.node.at.clone(), |range| field.part(range));
            field.sink.fail(&at, format!("`{}` {}", field.path, error.message), error.hint, None);
            return None;
        }
    };
    let count = rendered.trim().parse().ok().filter(|count| (1..=nodes).contains(count));
    if count.is_none() {
        field.fail(format!("becomes {rendered:?}"), format!("expected a whole number from 1 to {nodes}"));
    }
    count
}

/// Reads the rest of `[cluster]`; `beside` is the workload's folder.
pub(in crate::workload) fn cluster(
    section: &Section<'_>,
    nodes: Option<Vec<String>>,
    beside: &Path,
    vars: Option<&BTreeMap<String, String>>,
) -> Option<ClusterSpec> {
    let command = section.required("command", "command = \"{{ node }} --id {{ id }} --port {{ port }}\"");
    let command = command.and_then(|field| field.text().map(str::to_owned));
    let env = match section.field("env") {
        Some(field) => env(&field),
        None => Some(Vec::new()),
    };
    let ports = provision::ports(section, nodes.as_ref().map_or(1, Vec::len));
    let copy = provision::copy(section, beside);
    let files = provision::files(section, beside);
    let furthest = ports.iter().flatten().map(|(_, offset)| u64::from(*offset)).max().unwrap_or(0);
    let port = match section.field("port") {
        None => Some(None),
        Some(field) => field.whole(0..=65535).and_then(|port| {
            let last = port + furthest + nodes.as_ref().map_or(0, |nodes| nodes.len() as u64 - 1);
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
    let count = nodes.as_ref().map_or(MAX_NODES, Vec::len) as u64;
    let quorum = |name| or_default(section.field(name), None, |field| quorum(field, count, vars).map(Some));
    let (write_quorum, read_quorum) = (quorum("write-quorum"), quorum("read-quorum"));
    let elect = Duration::from_millis(100)..=Duration::from_secs(600);
    let elect_within =
        or_default(section.field("elect-within"), None, |field| field.duration(elect).map(Some));
    let keys = limits_keys();
    let limits = section.field("limits").and_then(|field| limits(&field, &keys));
    let (log_limit, limits) = limits.unwrap_or((LOG_LIMIT, Limits::default()));
    let truth =
        |name: &str| or_default(section.field(name), false, |field| field.truth()).unwrap_or_default();
    // A mistake was noted for whatever is `None`, so this cluster is never run; its templates can be looked at all the same.
    Some(ClusterSpec {
        uniform: truth("uniform"),
        views: truth("views"),
        nodes: nodes?,
        command: command?,
        env: env.unwrap_or_default().into_iter().collect(),
        port: port.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        copy: copy.unwrap_or_default(),
        files: files.unwrap_or_default(),
        dir: dir.flatten().map(|(_, path)| path),
        cwd: cwd.flatten(),
        durability: durability.unwrap_or_default(),
        write_quorum: write_quorum.flatten(),
        read_quorum: read_quorum.flatten(),
        elect_within: elect_within.flatten(),
        ready_within: ready_within.unwrap_or_default(),
        log_limit,
        limits,
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
