//! Reading a rubric, so that every mistake is shown where it was made.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::rubric::{CheckPoints, Credit, DIR, Item, Rubric, SubmissionRules};
use crate::document::units::{show_duration, size};
use crate::document::{self, Field, Problems, Section, Sink, Source, Table, Val, did_you_mean, list};
use crate::workload::{Overrides, Workload};

mod keys;

pub use keys::schema;
use keys::{item_keys, submission_keys, top_keys};

const MAX_REPEATS: u64 = 1000;
const MAX_POINTS: f64 = 1e6;
const DAY: Duration = Duration::from_secs(86_400);

/// Whether a document is meant as a rubric: workloads have no items.
pub fn is_rubric(table: &Table) -> bool {
    table.get("item").is_some() || (table.get("submission").is_some() && table.get("cluster").is_none())
}

/// Reads the rubric at `path` and validates what can be validated without a submission: its workloads too.
///
/// # Errors
/// Every mistake found.
pub fn read(path: &Path) -> Result<Rubric, Problems> {
    decode(document::read_as(path, "rubric")?, path)
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
    let limits = submission.as_ref().map_or(&[][..], |submission: &SubmissionRules| &submission.limits);
    let keys = item_keys();
    let items = items.map(|items| {
        let item = |field: &Field<'_>| item(&field.section("[[item]]", &keys, &[])?, path, fallback, limits);
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
    let rubric = Rubric { name: name?, about, seed: seed?, submission: submission?, items: found };
    if rubric.points() <= 0.0 {
        let help = "give at least one check a number of points above 0".to_owned();
        top.fail("no check of the rubric is worth anything", "expected points", Some(help));
        return None;
    }
    Some(rubric)
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
            let read: Vec<_> = files.iter().map(required_file).collect();
            read.into_iter().collect::<Option<_>>()?
        }
    };
    let build = match section.field("build") {
        None => None,
        Some(field) => Some(command(&field)?),
    };
    let build_timeout =
        section.field("build-timeout").map_or(Some(Duration::from_secs(60)), |field| time_limit(&field))?;
    let env = section.field("env").map_or(Some(BTreeMap::new()), |field| texts(&field))?;
    let limits = section.field("limits").map_or(Some(Vec::new()), |field| assignments(&field))?;
    let limits = limits.into_iter().map(|limit| format!("cluster.limits.{limit}")).collect();
    let max_size = section.field("max-size").map_or(Some(50 << 20), |field| field.unit(size, "50MiB"))?;
    Some(SubmissionRules { node: text.to_owned(), requires, build, build_timeout, env, limits, max_size })
}

fn required_file(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if text.is_empty() || !Path::new(text).components().all(inside) {
        field.fail(format!("is {text:?}"), "expected a path within the submission's folder");
        return None;
    }
    Some(text.to_owned())
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

fn item(section: &Section<'_>, rubric: &Path, fallback: (u64, Duration), limits: &[String]) -> Option<Item> {
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
    let (parsed, fine) = loaded(&workload, &file, section, (limits, &set), &vars)?;
    if let Some(field) = section.field("timeout").filter(|_| timeout <= parsed.load.duration) {
        let (shown, load) = (show_duration(timeout), show_duration(parsed.load.duration));
        let label = format!("expected more than the load's {load}, and time to start and to settle");
        field.fail(format!("is {shown}: no run could end in that time"), label);
        return None;
    }
    let known: Vec<&str> = parsed.checks.iter().map(|check| check.0.as_str()).collect();
    for check in &checks {
        if !known.contains(&check.check.as_str()) {
            let fallback = format!("expected {}", list(&known, "or"));
            let hint = did_you_mean(&check.check, known.iter().copied(), &fallback);
            let title = format!("names `{}`, which is not among the workload's [checks]", check.check);
            section.field("checks")?.fail(title, hint);
            return None;
        }
    }
    if !fine {
        return None;
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

/// The workload as the item changes it, with any node: a submission's own is tried when its turn comes. A mistake in the file is one
/// of `workload`, one that only a change makes is one of `set` or `vars`; and whether there was none.
fn loaded(
    workload: &Field<'_>,
    file: &Path,
    section: &Section<'_>,
    (limits, set): (&[String], &[String]),
    vars: &[String],
) -> Option<(Workload, bool)> {
    let node = Some("{{ harness }} node lww".to_owned());
    let mut overrides = Overrides { node, ..Overrides::default() };
    let mut parsed = match Workload::load(file, &overrides) {
        Ok(parsed) => parsed,
        Err(problems) => {
            let (what, help) = first(&problems);
            workload.fail_help(
                format!("cannot be run: {what}"),
                "expected a workload file without mistakes",
                help,
            );
            return None;
        }
    };
    let mut fine = true;
    for (key, changes) in [("vars", vars), ("set", set)] {
        let before = overrides.clone();
        let changed = if key == "set" { &mut overrides.sets } else { &mut overrides.vars };
        changed.extend(changes.iter().cloned());
        match Workload::load(file, &overrides) {
            Ok(changed) => parsed = changed,
            Err(problems) => {
                if let Some(field) = section.field(key) {
                    let (what, help) = first(&problems);
                    let label = format!("expected changes that {} takes", file.display());
                    field.fail_help(format!("cannot be run: {what}"), label, help);
                }
                overrides = before;
                fine = false;
            }
        }
    }
    let sets = [limits, &overrides.sets].concat();
    if let Err(problems) = Workload::load(file, &Overrides { sets, ..overrides }) {
        let (what, help) = first(&problems);
        let title = format!("cannot be run under the limits of [submission]: {what}");
        workload.fail_help(title, "expected limits as a workload's [cluster.limits] has them", help);
        fine = false;
    }
    if let Some(axis) = parsed.matrix.first() {
        let help = format!("choose one: vars = {{ {} = {:?} }}", axis.name, axis.values[0]);
        let title = format!("has a [matrix] of `{}`: it is many runs, not one", axis.name);
        workload.fail_help(title, "expected a workload that is one run", Some(help));
        fine = false;
    }
    Some((parsed, fine))
}

/// The first mistake with its line, and what helps or how many more there are.
fn first(errors: &Problems) -> (String, Option<String>) {
    let Some(problem) = errors.list.first() else { return (String::new(), None) };
    let place = match &problem.at {
        Some(at) if at.flag.is_none() => {
            let before = errors.source.text.get(..at.range.start).unwrap_or_default();
            format!("{}:{}: ", errors.source.name, before.matches('\n').count() + 1)
        }
        Some(_) => String::new(),
        None => format!("{}: ", errors.source.name),
    };
    let label = if problem.label.is_empty() { String::new() } else { format!("; {}", problem.label) };
    let more = match errors.list.len() {
        0 | 1 => problem.help.clone(),
        all => Some(format!("{} more: harness validate {}", all - 1, errors.source.name)),
    };
    (format!("{place}{}{label}", problem.title), more)
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
        Some(CheckPoints { check: entry.key.clone(), points: value.number(0.0..=MAX_POINTS)? })
    };
    table.entries.iter().map(point).collect()
}
