//! `[vars]`: names for parts of commands, given in the file or by `--var` and `--node`.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;

use super::Overrides;
use super::command::absolute_words;
use super::template::{self, NODE_NAMES};
use crate::document::{
    Entry, Field, Node, Origin, Problem, Sink, Table, Val, did_you_mean, split_assignment,
};

/// Puts the values of `--var` and `--node` into the document's `[vars]`.
pub fn override_vars(root: &mut Table, overrides: &Overrides, problems: &mut Vec<Problem>) {
    let mut assignments: Vec<(Arc<str>, &str, String, usize)> = Vec::new();
    for text in &overrides.vars {
        let flag: Arc<str> = format!("--var {text}").into();
        match split_assignment(&flag, "--var ".len(), "name=value") {
            Ok((name, value, start)) => {
                assignments.push((Arc::clone(&flag), "", format!("{name}={value}"), start))
            }
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(command) = &overrides.node {
        let flag: Arc<str> = format!("--node {command}").into();
        assignments.push((flag, "node", command.clone(), "--node ".len()));
    }
    for (flag, fixed, text, start) in assignments {
        let (name, value) = match fixed {
            "" => text.split_once('=').unwrap_or((&text, "")),
            name => (name, text.as_str()),
        };
        let at = Origin::flag(&flag, start..flag.len());
        let vars = match root.get_mut("vars") {
            Some(Node { val: Val::Table(vars), .. }) => Some(vars),
            _ => None,
        };
        let names: Vec<String> =
            vars.iter().flat_map(|vars| &vars.entries).map(|entry| entry.key.clone()).collect();
        match vars.and_then(|vars| vars.get_mut(name)) {
            Some(node) => *node = Node { val: Val::Text(value.to_owned()), at },
            None if fixed == "node" => problems.push(Problem {
                title: "this workload takes no --node: it has no variable `node`".to_owned(),
                at: Some(at),
                label: "has no use here".to_owned(),
                help: Some(
                    "its command would have to begin with {{ node }}, and [vars] to define it".to_owned(),
                ),
            }),
            None => {
                let fallback = match names.is_empty() {
                    true => "it has no [vars]".to_owned(),
                    false => format!("its variables are {}", names.join(", ")),
                };
                problems.push(Problem {
                    title: format!("the workload has no variable `{name}`"),
                    at: Some(Origin::flag(&flag, "--var ".len()..start.saturating_sub(1))),
                    label: did_you_mean(name, names.iter().map(String::as_str), &fallback),
                    help: None,
                });
            }
        }
    }
}

/// Renders every variable; they may use each other and `harness`. `None` when a mistake was noted.
pub fn decode(field: Option<&Field<'_>>, harness: &str) -> Option<BTreeMap<String, String>> {
    let Some(field) = field else { return Some(BTreeMap::new()) };
    let Val::Table(table) = &field.node.val else { return field.wrong_type("a table of variables") };
    let mut raw: BTreeMap<String, (String, Field<'_>)> = BTreeMap::new();
    let mut fine = true;
    for entry in &table.entries {
        let value = Field { path: format!("vars.{}", entry.key), node: &entry.node, sink: field.sink };
        fine &= name_is_right(entry, field.sink);
        let Some(text) = text_of(&entry.node.val) else {
            let _: Option<()> = value.wrong_type("a string or a number");
            fine = false;
            continue;
        };
        raw.insert(entry.key.clone(), (text, value));
    }
    let mut rendered = BTreeMap::new();
    for name in raw.keys() {
        fine &= resolve(name, &raw, harness, &mut rendered, &mut Vec::new());
    }
    fine.then_some(rendered)
}

/// A value as the text that a template puts in; `None`: it is none.
pub(super) fn text_of(val: &Val) -> Option<String> {
    match val {
        Val::Text(text) => Some(text.clone()),
        Val::Int(int) => Some(int.to_string()),
        Val::Float(float) => Some(float.to_string()),
        Val::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

fn name_is_right(entry: &Entry, sink: &Sink<'_>) -> bool {
    let name = entry.key.as_str();
    let identifier = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|first| !first.is_ascii_digit());
    if !identifier {
        let title = format!("{name:?} is no name for a variable");
        sink.fail(&entry.key_at, title, "expected letters, digits and _", None);
    } else if NODE_NAMES.contains(&name) {
        sink.fail(
            &entry.key_at,
            format!("the variable `{name}` is set by the harness"),
            "expected another name",
            None,
        );
    }
    identifier && !NODE_NAMES.contains(&name)
}

/// Renders `name` and, before it, what it uses. `false` when a mistake was noted.
fn resolve(
    name: &str,
    raw: &BTreeMap<String, (String, Field<'_>)>,
    harness: &str,
    rendered: &mut BTreeMap<String, String>,
    underway: &mut Vec<String>,
) -> bool {
    if rendered.contains_key(name) {
        return true;
    }
    let Some((text, field)) = raw.get(name) else { return true };
    if let Some(first) = underway.iter().position(|other| other == name) {
        // Begun at its first name by alphabet, a circle is the same mistake wherever it was entered.
        let mut round: Vec<&str> = underway[first..].iter().map(String::as_str).collect();
        let least = (0..round.len()).min_by_key(|at| round[*at]).unwrap_or_default();
        round.rotate_left(least);
        round.push(round[0]);
        let field = raw.get(round[0]).map_or(field, |(_, field)| field);
        field.fail(format!("uses itself: {}", round.join(" → ")), "expected no circle");
        return false;
    }
    // One level of the call stack each: a chain this long is a mistake anyway.
    if underway.len() > 50 {
        field.fail("is at the end of a chain of more than 50 variables", "expected fewer");
        return false;
    }
    let used = match template::variables(text) {
        Ok(used) => used,
        Err(error) => return fail(field, &error),
    };
    underway.push(name.to_owned());
    let fine = used.iter().all(|other| resolve(other, raw, harness, rendered, underway));
    underway.pop();
    if !fine {
        return false;
    }
    let mut values: BTreeMap<String, Value> =
        rendered.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
    values.insert("harness".to_owned(), Value::from(harness));
    if let Some(node_name) =
        used.iter().find(|used| NODE_NAMES.contains(&used.as_str()) && *used != "harness")
    {
        let mut error = template::unknown_variable(text, node_name, &[]);
        error.message = format!("uses `{node_name}`, which differs from node to node");
        error.hint = "only cluster.command, cluster.env and cluster.files see it".to_owned();
        return fail(field, &error);
    }
    let known: Vec<&str> = raw.keys().map(String::as_str).chain(["harness"]).collect();
    if let Some(unknown) =
        used.iter().find(|name| !values.contains_key(*name) && !template::is_function(name))
    {
        return fail(field, &template::unknown_variable(text, unknown, &known));
    }
    match template::render(text, &values) {
        Ok(value) => {
            let value = if field.node.at.flag.is_some() { with_absolute_files(value) } else { value };
            rendered.insert(name.to_owned(), value);
            true
        }
        Err(error) => fail(field, &error),
    }
}

fn fail(field: &Field<'_>, error: &template::TemplateError) -> bool {
    let at = error.range.clone().map_or_else(|| field.node.at.clone(), |range| field.part(range));
    field.sink.fail(&at, format!("`{}` {}", field.path, error.message), error.hint.clone(), None);
    false
}

/// What a flag names relative to where the user stands must still be found from a node's own directory.
fn with_absolute_files(value: String) -> String {
    let (Ok(mut words), Ok(here)) = (shell_words::split(&value), std::env::current_dir()) else {
        return value;
    };
    let before = words.clone();
    absolute_words(&mut words, &[&here], |_| false);
    if words == before { value } else { shell_words::join(words) }
}
