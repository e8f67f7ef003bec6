//! What each node finds when it starts: further ports, files, a copy of its sources.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::document::{Entry, Field, Key, Section, Val};
use crate::workload::NodeFile;

/// The furthest a port may be from the node's first.
const FURTHEST: u64 = 50_000;
/// The longest template that is read from a file, bytes.
const LONGEST: u64 = 64 << 10;

pub(super) fn ports_schema() -> Json {
    json!({ "type": "object", "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
            "additionalProperties": { "type": "integer", "minimum": 1, "maximum": FURTHEST } })
}

pub(super) fn files_schema() -> Json {
    let file = json!({ "type": "object", "additionalProperties": false, "required": ["file"],
                       "properties": { "file": { "type": "string" } } });
    json!({ "type": "object", "additionalProperties": { "anyOf": [{ "type": "string" }, file] } })
}

/// Reads `ports`, for a cluster of so many nodes.
pub(super) fn ports(section: &Section<'_>, nodes: usize) -> Option<Vec<(String, u16)>> {
    let Some(field) = section.field("ports") else { return Some(Vec::new()) };
    let Val::Table(table) = &field.node.val else {
        return field.wrong_type("a table of offsets: { rpc = 1000 }");
    };
    let mut ports: Vec<(String, u16)> = Vec::new();
    let mut fine = true;
    for (entry, value) in entries(&field, &table.entries) {
        let name = entry.key.as_str();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
        if !plain {
            let title = format!("`{name}` cannot name a port");
            field.sink.fail(&entry.key_at, title, "expected letters, digits and _", None);
            fine = false;
            continue;
        }
        let Some(offset) = value.whole(1..=FURTHEST).and_then(|offset| u16::try_from(offset).ok()) else {
            fine = false;
            continue;
        };
        // The nodes' first ports are neighbours, and so are their others.
        let beside = ports.iter().map(|(name, other)| (name.as_str(), *other)).chain([("port", 0)]);
        let close = beside.into_iter().find(|(_, other)| usize::from(offset.abs_diff(*other)) < nodes);
        if let Some((other, at)) = close {
            value.fail(
                format!("is {offset}: with {nodes} nodes it falls on a neighbour's `{other}` at {at}"),
                format!("expected offsets that are at least {nodes} apart"),
            );
            fine = false;
            continue;
        }
        ports.push((name.to_owned(), offset));
    }
    fine.then_some(ports)
}

/// Reads `files`; `beside` is the workload's folder.
pub(super) fn files(section: &Section<'_>, beside: &Path) -> Option<Vec<NodeFile>> {
    let Some(field) = section.field("files") else { return Some(Vec::new()) };
    let Val::Table(table) = &field.node.val else {
        return field.wrong_type("a table of files: { \"cluster.yaml\" = \"…\" }");
    };
    let mut files: Vec<NodeFile> = Vec::new();
    let mut fine = true;
    for (entry, value) in entries(&field, &table.entries) {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        let path = Path::new(&entry.key);
        if entry.key.is_empty()
            || entry.key.contains('\0')
            || entry.key.ends_with('/')
            || !path.components().all(inside)
        {
            let title = format!("{:?} names no file in a node's directory", entry.key);
            field.sink.fail(&entry.key_at, title, "expected a name such as \"etc/cluster.yaml\"", None);
            fine = false;
            continue;
        }
        match template(&value, beside) {
            Some(template) => files.push(NodeFile { name: entry.key.clone(), template }),
            None => fine = false,
        }
    }
    fine.then_some(files)
}

fn template(value: &Field<'_>, beside: &Path) -> Option<String> {
    const KEYS: &[Key] = &[Key {
        name: "file",
        about: "the template, relative to the workload file",
        schema: || json!({ "type": "string" }),
    }];
    let Val::Table(_) = value.node.val else {
        let Val::Text(text) = &value.node.val else {
            return value.wrong_type("a template, or { file = \"cluster.yaml.j2\" }");
        };
        return Some(text.clone());
    };
    let section = value.section(&value.path, KEYS, &[])?;
    let file = section.required("file", "file = \"cluster.yaml.j2\"")?;
    let path = beside.join(file.text()?);
    let read = std::fs::metadata(&path).and_then(|found| {
        if found.len() > LONGEST || !found.is_file() {
            return Err(std::io::Error::other(format!("it is no file of at most {} KiB", LONGEST >> 10)));
        }
        std::fs::read_to_string(&path)
    });
    match read {
        Ok(text) => Some(text),
        Err(error) => {
            file.fail(
                format!("cannot be read: {}: {error}", path.display()),
                "expected a file with a template",
            );
            None
        }
    }
}

/// Reads `copy`; `beside` is the workload's folder.
pub(super) fn copy(section: &Section<'_>, beside: &Path) -> Option<Option<PathBuf>> {
    let Some(field) = section.field("copy") else { return Some(None) };
    let path = beside.join(field.text()?);
    if !path.is_dir() {
        field.fail(format!("names no directory: {}", path.display()), "expected a directory that exists");
        return None;
    }
    Some(std::path::absolute(&path).ok())
}

fn entries<'a>(field: &Field<'a>, entries: &'a [Entry]) -> impl Iterator<Item = (&'a Entry, Field<'a>)> {
    let (path, sink) = (field.path.clone(), field.sink);
    entries
        .iter()
        .map(move |entry| (entry, Field { path: format!("{path}.{}", entry.key), node: &entry.node, sink }))
}
