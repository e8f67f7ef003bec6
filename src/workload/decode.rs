//! From the file to a [`Workload`]: everything is checked, every mistake is collected.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::render::{bases, check_command, example_facts, harness_word, render_with};
use super::{ClusterSpec, LoadSpec, Overrides, Route, Workload, WorkloadErrors, resolved, sections, vars};
use crate::client::Protocol;
use crate::document::{self, Entry, Field, Key, Node, Origin, Problem, Section, Sink, Source, Table, Val};
use crate::fault::aim::Part;
use crate::fault::kinds::Cast;
use crate::fault::{chaos, schedule};

/// The keys of the document.
pub(super) fn keys() -> Vec<Key> {
    let key = |name, about, schema| Key { name, about, schema };
    vec![
        key("name", "names the results folder; absent: the file's name", sections::plain_name_schema),
        key("about", "a sentence for people", || json!({ "type": "string" })),
        key(
            "seed",
            "what everything random is drawn from; absent: drawn, printed and recorded",
            || json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        ),
        key("vars", "names for parts of commands: templates; --var name=value changes them", || {
            json!({ "type": "object", "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
                    "additionalProperties": { "type": ["string", "number", "boolean"] } })
        }),
        key("cluster", "the nodes", || {
            document::table_schema(&sections::cluster::cluster_keys(), &["nodes", "command"])
        }),
        key("client", "how clients talk to nodes", || {
            document::table_schema(&sections::client::client_keys(), &["protocol"])
        }),
        key("load", "what clients do", || document::table_schema(&sections::load::load_keys(), &[])),
        key("fault", "the faults, each in a [[fault]] of its own", schedule::schema),
        key("chaos", "faults drawn from a seeded generator", || document::table_schema(chaos::KEYS, &[])),
        key(
            "matrix",
            "runs the file once per combination: variables, each with a list of values",
            sections::matrix::schema,
        ),
        key("settle", "what comes after the heal", || document::table_schema(&sections::settle_keys(), &[])),
        key("checks", "the checks, and what each means for the run", || {
            let mut table = document::table_schema(&sections::checks_keys(), &[]);
            table["minProperties"] = json!(1);
            table
        }),
    ]
}

/// Keys that a document must have.
pub(super) const REQUIRED: &[&str] = &["cluster", "client", "checks"];

pub(super) fn decode_changed(
    (source, mut root): (Source, Table),
    path: &Path,
    overrides: &Overrides,
) -> Result<Workload, WorkloadErrors> {
    let mut problems = Vec::new();
    for set in &overrides.sets {
        problems.extend(document::set(&mut root, set).err());
    }
    sections::matrix::choose(&mut root, overrides);
    vars::override_vars(&mut root, overrides, &mut problems);
    decode(&source, &root, problems, path, overrides)
}

/// Decodes a document that was read (and changed by overrides, with `problems`).
fn decode(
    source: &Source,
    root: &Table,
    problems: Vec<Problem>,
    path: &Path,
    overrides: &Overrides,
) -> Result<Workload, WorkloadErrors> {
    let sink = Sink::new(source);
    for problem in problems {
        sink.push(problem);
    }
    let workload = decode_all(root, path, overrides, &sink);
    match (workload, sink.finish()) {
        (Some(workload), None) => Ok(workload),
        (_, Some(problems)) => Err(problems),
        // Every reader that answers `None` notes a mistake; should one not, say so rather than run.
        (None, None) => {
            Err(WorkloadErrors::whole(&source.name, "the workload cannot be read".to_owned(), None))
        }
    }
}

fn decode_all(root: &Table, path: &Path, overrides: &Overrides, sink: &Sink<'_>) -> Option<Workload> {
    let keys = keys();
    let start = Origin::file(0..0);
    let top = Section::open("", root, &start, &keys, &[], sink);
    let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tables = Tables::new();

    let name = name(&top, path, sink);
    let about = match top.field("about") {
        Some(field) => field.text().map(str::to_owned),
        None => Some(String::new()),
    };
    let file_seed = match top.field("seed") {
        Some(field) => field.whole(0..=i64::MAX as u64).map(Some),
        None => Some(None),
    };
    let vars = vars::decode(top.field("vars").as_ref(), &harness_word());

    let cluster_section = tables.section(&top, "cluster", sink);
    let nodes = cluster_section.as_ref().and_then(sections::cluster::nodes);
    let cluster = cluster_section.as_ref().and_then(|section| {
        let spec = sections::cluster::cluster(section, nodes.clone(), beside, vars.as_ref())?;
        check_templates(section, &spec, vars.as_ref()?, root, path);
        Some(spec)
    });
    let client =
        tables.section(&top, "client", sink).and_then(|section| sections::client::client(&section, beside));
    let (mut client, protocol) = client.unzip();
    let protocol = protocol.as_deref();
    if let (Some(section), Some(protocol)) = (&cluster_section, protocol)
        && let Some(field) = section.field("elect-within").filter(|_| !protocol.has("status"))
    {
        field.fail(
            "promises a leader, but nobody can say who that is",
            format!("expected the protocol {:?} to teach `[status]`", protocol.name()),
        );
    }
    let empty = Table::default();
    let load_section = match top.field("load") {
        Some(field) => field.section("[load]", &tables.load, &[]),
        None => Some(Section::open("[load]", &empty, &start, &tables.load, &[], sink)),
    };
    let duration = load_section.as_ref().and_then(sections::load::duration);
    let load = load_section.and_then(|section| sections::load::load(&section, duration, protocol));

    let seed = overrides.seed.or(file_seed.flatten()).unwrap_or_else(drawn_seed);
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    let mute = protocol.filter(|protocol| !protocol.has("status")).map(Protocol::name);
    let cast = nodes.as_ref().map(|nodes| Cast { nodes, mute });
    let planned = top.field("fault").map(|field| schedule::decode(&field, cast.as_ref(), duration));
    let chaos = top.field("chaos").and_then(|field| chaos::decode(&field, cast.as_ref(), duration));
    if let (Some(cast), Some(duration)) = (&cast, duration) {
        faults = schedule::expand(&planned.unwrap_or_default(), cast, duration, seed);
        // What chaos draws overlaps as it comes.
        warnings = schedule::overlaps(&faults);
        if let Some(chaos) = chaos {
            chaos.expand(cast, duration, seed, &mut faults);
        }
    }
    let mut matrix = match top.field("matrix") {
        Some(field) => sections::matrix::matrix(&field, root),
        None => Some(Vec::new()),
    };
    if let Some(axes) = &mut matrix {
        axes.retain(|axis| overrides.cell.iter().all(|(name, _)| *name != axis.name));
    }
    let settle_section = top.field("settle").map(|field| field.section("[settle]", &tables.settle, &[]));
    let settle_within = match settle_section {
        Some(section) => section.and_then(|section| sections::settle(Some(&section))),
        None => sections::settle(None),
    };
    let checks = tables
        .section(&top, "checks", sink)
        .and_then(|section| sections::checks(&section, load.as_ref().map(|load| load.kind.as_str())));

    if let (Some(client), Some(load), Some(protocol)) = (&mut client, &load, protocol)
        && client.probe.is_none()
        && protocol.has("status")
        && needs_status(root, load)
    {
        client.probe = Some(sections::client::DEFAULT_PROBE);
    }
    let mut workload = Workload {
        name: name?,
        about: about?,
        seed,
        file: path.to_owned(),
        vars: vars?,
        cluster: cluster?,
        client: client?,
        load: load?,
        faults,
        settle_within: settle_within?,
        checks: checks?,
        matrix: matrix?,
        warnings,
        resolved: String::new(),
    };
    if sink.count() == 0 {
        workload.resolved = resolved::resolved(&workload, root, beside);
    }
    Some(workload)
}

/// Whether anything of the workload depends on who leads: a route, a promise, a check or the target of a fault.
fn needs_status(root: &Table, load: &LoadSpec) -> bool {
    let key = |table: &str, name: &str| match root.get(table).map(|entry| &entry.node.val) {
        Some(Val::Table(table)) => table.get(name).is_some(),
        _ => false,
    };
    load.routes.values().any(|route| *route == Route::Leader)
        || key("cluster", "elect-within")
        || ["leader", "quorum"].into_iter().any(|check| key("checks", check))
        || ["fault", "chaos"]
            .into_iter()
            .any(|table| root.get(table).is_some_and(|entry| names_a_role(&entry.node)))
}

/// Whether a fault is aimed at nodes by their role.
fn names_a_role(node: &Node) -> bool {
    match &node.val {
        Val::Text(text) => Part::of(text).is_some(),
        Val::List(items) => items.iter().any(names_a_role),
        Val::Table(table) => table.entries.iter().any(|entry| names_a_role(&entry.node)),
        _ => false,
    }
}

/// The keys of each table, kept while sections borrow them.
struct Tables {
    cluster: Vec<Key>,
    client: Vec<Key>,
    load: Vec<Key>,
    settle: Vec<Key>,
    checks: Vec<Key>,
}

impl Tables {
    fn new() -> Self {
        Tables {
            cluster: sections::cluster::cluster_keys(),
            client: sections::client::client_keys(),
            load: sections::load::load_keys(),
            settle: sections::settle_keys(),
            checks: sections::checks_keys(),
        }
    }

    /// The required table `name`.
    fn section<'a>(&'a self, top: &Section<'a>, name: &str, sink: &Sink<'_>) -> Option<Section<'a>> {
        let (title, keys, later, example) = match name {
            "cluster" => ("[cluster]", &self.cluster, &[][..], "nodes and command"),
            "client" => ("[client]", &self.client, &[][..], "protocol = \"lab2\""),
            _ => ("[checks]", &self.checks, sections::CHECKS_LATER, "convergence = \"required\""),
        };
        match top.field(name) {
            Some(field) => field.section(title, keys, later),
            None => {
                sink.push(Problem {
                    title: format!("the workload has no {title}"),
                    at: None,
                    label: String::new(),
                    help: Some(format!("add {title} with {example}")),
                });
                None
            }
        }
    }
}

fn name(top: &Section<'_>, path: &Path, sink: &Sink<'_>) -> Option<String> {
    if let Some(field) = top.field("name") {
        let name = field.text()?;
        if !sections::is_plain_name(name) {
            field.fail(
                format!("is {name:?}, which cannot name a folder"),
                "expected letters, digits, -, _ and .",
            );
            return None;
        }
        return Some(name.to_owned());
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| sections::is_plain_name(stem));
    if stem.is_none() {
        sink.push(Problem {
            title: "the workload has no `name`, and the file's cannot name a folder".to_owned(),
            at: None,
            label: String::new(),
            help: Some("add a line such as name = \"outage\"".to_owned()),
        });
    }
    stem.map(str::to_owned)
}

/// Renders the command of every node with example facts, and sees whether the program is to be found.
fn check_templates<'a>(
    section: &Section<'a>,
    cluster: &ClusterSpec,
    vars: &BTreeMap<String, String>,
    root: &'a Table,
    path: &Path,
) {
    let bases: Vec<PathBuf> = bases(cluster, path);
    for index in 0..cluster.nodes.len() {
        let facts = example_facts(cluster, index);
        let Some(command) = section.field("command") else { return };
        match render_with(cluster, vars, index, &facts) {
            Ok(node) => {
                if let Err(error) = check_command(cluster, &node, &bases) {
                    let title = format!("cannot be run: {}", error.message);
                    let culprit = variable_with(&command, vars, root, &error.word).unwrap_or(command);
                    culprit.fail(title, error.hint.unwrap_or_default());
                    return;
                }
            }
            Err(error) => {
                let part = |table: &str| {
                    let name = error.key.strip_prefix("cluster.")?.strip_prefix(table)?.strip_prefix('.')?;
                    section.field(table).and_then(|field| entry_field(&field, name))
                };
                let field = part("env").or_else(|| part("files")).or(Some(command));
                let Some(field) = field else { return };
                let range = error.error.range.clone();
                let at = range.map_or_else(|| field.node.at.clone(), |range| field.part(range));
                field.sink.fail(
                    &at,
                    format!("`{}` {}", field.path, error.error.message),
                    error.error.hint,
                    None,
                );
                return;
            }
        }
    }
}

fn entry_field<'a>(field: &Field<'a>, name: &str) -> Option<Field<'a>> {
    let Node { val: Val::Table(table), .. } = field.node else { return None };
    let Entry { node, .. } = table.get(name)?;
    Some(Field { path: format!("{}.{name}", field.path), node, sink: field.sink })
}

/// The variable that `word` of the rendered command came out of.
fn variable_with<'a>(
    command: &Field<'a>,
    vars: &BTreeMap<String, String>,
    root: &'a Table,
    word: &str,
) -> Option<Field<'a>> {
    let Val::Text(text) = &command.node.val else { return None };
    if text.contains(word) {
        return None;
    }
    let used = super::template::variables(text).ok()?;
    let name = used.iter().find(|name| vars.get(*name).is_some_and(|value| value.contains(word)))?;
    let vars = Field { path: "vars".to_owned(), node: &root.get("vars")?.node, sink: command.sink };
    entry_field(&vars, name)
}

/// A seed from the operating system's randomness, short enough to type.
fn drawn_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000_000
}
