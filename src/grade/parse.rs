//! Reading a rubric, so that every mistake is shown where it was made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::rubric::{CheckPoints, Credit, DIR, Item, Rubric, SubmissionRules};
use crate::document::units::size;
use crate::document::{self, Field, Key, Problems, Section, Sink, Source, Table, Val, did_you_mean};
use crate::workload::{Overrides, Workload};

const MAX_REPEATS: u64 = 1000;
const DAY: Duration = Duration::from_secs(86_400);

fn key(name: &'static str, about: &'static str) -> Key {
    Key { name, about, schema: || json!(true) }
}

fn top_keys() -> Vec<Key> {
    vec![
        key("name", "the rubric's name"),
        key("about", "what it is about"),
        key("seed", "from which the seed of every run is drawn"),
        key("repeats", "how often each item is run, unless it says otherwise"),
        key("timeout", "how long a run may take, unless its item says otherwise"),
        key("submission", "what is asked of a submission, and how it starts"),
        key("item", "a workload with what it is worth"),
    ]
}

fn submission_keys() -> Vec<Key> {
    vec![
        key("node", "how a node starts; {{ dir }} is the submission's folder"),
        key("requires", "files that must be there"),
        key("build", "a command that is run once in the submission's folder"),
        key("build-timeout", "how long the build may take"),
        key("env", "environment of the build and of the nodes"),
        key("max-size", "the most an archive may unpack to"),
    ]
}

fn item_keys() -> Vec<Key> {
    vec![
        key("workload", "the workload file, relative to the rubric"),
        key("name", "its name"),
        key("about", "what it tests"),
        key("repeats", "how often it is run"),
        key("timeout", "how long a run may take"),
        key("set", "settings over the workload's"),
        key("vars", "variables over the workload's"),
        key("checks", "the points of each check"),
        key("credit", "how repeats become points: share or all-or-nothing"),
        key("visible", "whether students see it"),
    ]
}

/// Reads the rubric at `path` and validates what can be validated without a submission: its workloads too.
///
/// # Errors
/// Every mistake found.
pub fn read(path: &Path) -> Result<Rubric, Problems> {
    decode(document::read(path)?, path)
}

fn decode((source, table): (Source, Table), path: &Path) -> Result<Rubric, Problems> {
    let sink = Sink::new(&source);
    let at = document::Origin::file(0..0);
    let keys = top_keys();
    let rubric = rubric(&Section::open("", &table, &at, &keys, &[], &sink), path);
    match (rubric, sink.finish()) {
        (Some(rubric), None) => Ok(rubric),
        (_, Some(problems)) => Err(problems),
        // Whatever is missing was noted.
        (None, None) => Err(Problems { source: source.clone(), list: Vec::new() }),
    }
}

fn rubric(top: &Section<'_>, path: &Path) -> Option<Rubric> {
    let name = top.required("name", "name = \"Lab 2\"").and_then(|field| named(&field));
    let about = text_of(top, "about");
    let seed = top.field("seed").map_or(Some(1), |field| field.whole(0..=i64::MAX as u64));
    let repeats = top.field("repeats").map_or(Some(1), |field| field.whole(1..=MAX_REPEATS));
    let timeout = top.field("timeout").map_or(Some(Duration::from_secs(300)), |field| time_limit(&field));
    let keys = submission_keys();
    let submission = top
        .required("submission", "[submission]")
        .and_then(|field| submission(&field.section("[submission]", &keys, &[])?));
    let items = top.required("item", "[[item]]").and_then(|field| field.items("tables"));
    let fallback = (repeats.unwrap_or(1), timeout.unwrap_or_default());
    let keys = item_keys();
    let items = items.map(|items| {
        let item = |field: &Field<'_>| item(&field.section("[[item]]", &keys, &[])?, path, fallback);
        items.iter().map(|field| (field.clone(), item(field))).collect::<Vec<_>>()
    });
    let mut found: Vec<Item> = Vec::new();
    for (field, item) in items? {
        let item = item?;
        if found.iter().any(|other| other.name == item.name) {
            field.fail(format!("is a second item `{}`", item.name), "expected a `name` of its own");
            return None;
        }
        found.push(item);
    }
    Some(Rubric { name: name?, about, seed: seed?, submission: submission?, items: found })
}

fn text_of(section: &Section<'_>, key: &str) -> String {
    section.field(key).and_then(|field| field.text()).unwrap_or_default().to_owned()
}

fn time_limit(field: &Field<'_>) -> Option<Duration> {
    field.duration(Duration::from_secs(1)..=DAY)
}

/// A name that may be that of a file.
fn named(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
    if text.trim() != text || text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
        field.fail(format!("is {text:?}"), "expected letters, digits, spaces, - _ and .");
        return None;
    }
    Some(text.to_owned())
}

fn submission(section: &Section<'_>) -> Option<SubmissionRules> {
    let node = section.required("node", "node = \"python3 {{ dir }}/node.py\"")?;
    let text = node.text()?;
    if !text.contains(DIR) {
        node.fail(format!("is {text:?}"), format!("expected a command with {DIR}, the submission's folder"));
        return None;
    }
    let requires = match section.field("requires") {
        None => Vec::new(),
        Some(field) => {
            let files = field.items("file names")?;
            files.iter().map(|file| file.text().map(str::to_owned)).collect::<Option<_>>()?
        }
    };
    let build = match section.field("build") {
        None => None,
        Some(field) => Some(command(&field)?),
    };
    let build_timeout =
        section.field("build-timeout").map_or(Some(Duration::from_secs(60)), |field| time_limit(&field))?;
    let env = section.field("env").map_or(Some(BTreeMap::new()), |field| texts(&field))?;
    let max_size = section.field("max-size").map_or(Some(50 << 20), |field| field.unit(size, "50MiB"))?;
    Some(SubmissionRules { node: text.to_owned(), requires, build, build_timeout, env, max_size })
}

fn command(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if !shell_words::split(text).is_ok_and(|words| !words.is_empty()) {
        field.fail(format!("is {text:?}"), "expected a command, as in \"make\"");
        return None;
    }
    Some(text.to_owned())
}

/// A table of strings, numbers and truth values, as text.
fn texts(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let Val::Table(table) = &field.node.val else { return field.wrong_type("a table") };
    let text = |entry: &document::Entry| match &entry.node.val {
        Val::Text(text) => Some((entry.key.clone(), text.clone())),
        Val::Int(_) | Val::Float(_) | Val::Bool(_) => {
            Some((entry.key.clone(), entry.node.to_toml().to_string()))
        }
        _ => field.wrong_type("a table of strings and numbers"),
    };
    table.entries.iter().map(text).collect()
}

fn item(section: &Section<'_>, rubric: &Path, fallback: (u64, Duration)) -> Option<Item> {
    let workload = section.required("workload", "workload = \"../lab2/outage.toml\"")?;
    let beside = rubric.parent().unwrap_or(Path::new("."));
    let file = beside.join(workload.text()?);
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = section.field("name").map_or(Some(stem), |field| named(&field))?;
    let repeats = section.field("repeats").map_or(Some(fallback.0), |field| field.whole(1..=MAX_REPEATS))?;
    let timeout = section.field("timeout").map_or(Some(fallback.1), |field| time_limit(&field))?;
    let set = section.field("set").map_or(Some(Vec::new()), |field| assignments(&field))?;
    let vars = section.field("vars").map_or(Some(BTreeMap::new()), |field| texts(&field))?;
    let vars: Vec<String> = vars.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let credit = section
        .field("credit")
        .map_or(Some("share"), |field| field.word(&["share", "all-or-nothing"], &[]))?;
    let visible = section.field("visible").map_or(Some(true), |field| field.truth())?;
    let checks = points(&section.required("checks", "checks = { convergence = 10 }")?)?;
    // Any node will do: a submission's own is tried when its turn comes.
    let node = Some("{{ harness }} node lww".to_owned());
    let overrides = Overrides { node, vars: vars.clone(), sets: set.clone(), ..Overrides::default() };
    let parsed = match Workload::load(&file, &overrides) {
        Ok(parsed) => parsed,
        Err(problems) => {
            let first = problems.list.first().map(|problem| problem.title.clone()).unwrap_or_default();
            workload.fail(
                format!("{} cannot be run: {first}", file.display()),
                "expected a workload file without mistakes",
            );
            return None;
        }
    };
    let known: Vec<&str> = parsed.checks.iter().map(|check| check.0.as_str()).collect();
    for (at, check) in checks.iter().enumerate() {
        if !known.contains(&check.check.as_str()) {
            let hint =
                did_you_mean(&check.check, known.iter().copied(), "expected one of the workload's [checks]");
            section
                .field("checks")?
                .fail(format!("names `{}`, which {} does not check", checks[at].check, file.display()), hint);
            return None;
        }
    }
    let protocol = PathBuf::from(&parsed.client.protocol);
    let is_file = file.parent().is_some_and(|beside| beside.join(&protocol).is_file());
    Some(Item {
        name,
        about: text_of(section, "about"),
        workload: std::path::absolute(&file).unwrap_or(file),
        repeats: u32::try_from(repeats).ok()?,
        timeout,
        protocol: is_file.then_some(protocol),
        fixed_ports: parsed.cluster.port.is_some_and(|port| port != 0),
        set,
        vars,
        checks,
        credit: if credit == "share" { Credit::Share } else { Credit::AllOrNothing },
        visible,
    })
}

/// `{ "load.rate" = 50 }` or `{ load = { rate = 50 } }` as `load.rate=50`.
fn assignments(field: &Field<'_>) -> Option<Vec<String>> {
    let Val::Table(_) = &field.node.val else { return field.wrong_type("a table") };
    let mut found = Vec::new();
    flatten(&field.node.val, "", &mut found, &|node| node.to_toml().to_string());
    Some(found)
}

fn flatten(value: &Val, path: &str, found: &mut Vec<String>, show: &dyn Fn(&document::Node) -> String) {
    let Val::Table(table) = value else { return };
    for entry in &table.entries {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        match &entry.node.val {
            Val::Table(_) => flatten(&entry.node.val, &path, found, show),
            _ => found.push(format!("{path}={}", show(&entry.node))),
        }
    }
}

fn points(field: &Field<'_>) -> Option<Vec<CheckPoints>> {
    let Val::Table(table) = &field.node.val else {
        return field.wrong_type("a table of points, { convergence = 10 }");
    };
    if table.entries.is_empty() {
        field.fail("is empty", "expected at least one check, { convergence = 10 }");
        return None;
    }
    let point = |entry: &document::Entry| {
        let value =
            Field { path: format!("{}.{}", field.path, entry.key), node: &entry.node, sink: field.sink };
        Some(CheckPoints { check: entry.key.clone(), points: value.number(0.0..=1e6)? })
    };
    table.entries.iter().map(point).collect()
}
