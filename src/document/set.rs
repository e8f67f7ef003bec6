//! Overrides from the command line: `--set path.to.key=value`.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{Entry, Node, Origin, Problem, Table, Val};

/// Splits `name=value` at the first `=`; both trimmed of nothing but the name's blanks.
///
/// `flag` is the whole text for messages (`--var a=b`), in which `name=value` begins at `start`.
pub fn split_assignment<'a>(
    flag: &'a Arc<str>,
    start: usize,
    what: &str,
) -> Result<(&'a str, &'a str, usize), Problem> {
    let text = &flag[start..];
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim(), value, start + name.len() + 1)),
        _ => Err(Problem {
            title: format!("`{text}` is not of the form {what}"),
            at: Some(Origin::flag(flag, start..flag.len())),
            label: format!("expected {what}"),
            help: None,
        }),
    }
}

/// Carries out `--set path=value` on `root`. The value is read as TOML, and as a string where it is none.
///
/// # Errors
/// A malformed path, one that goes through something that is no table, or past the end of an array.
pub fn set(root: &mut Table, assignment: &str) -> Result<(), Problem> {
    const PREFIX: &str = "--set ";
    let flag: Arc<str> = format!("{PREFIX}{assignment}").into();
    let (path, value, value_start) = split_assignment(&flag, PREFIX.len(), "path.to.key=value")?;
    let path_at = Origin::flag(&flag, PREFIX.len()..value_start - 1);
    let value_at = Origin::flag(&flag, value_start..flag.len());
    let wrong = |title: String, label: &str| Problem {
        title,
        at: Some(path_at.clone()),
        label: label.to_owned(),
        help: None,
    };
    let steps = split_path(path).ok_or_else(|| {
        wrong(format!("`{path}` is not a path of keys"), "expected a path such as load.rate or fault.0.at")
    })?;

    let node = Node { val: parse_value(value, &value_at), at: value_at.clone() };
    let Some((last, parents)) = steps.split_last() else { return Ok(()) };
    let mut walked = String::new();
    let mut here = Here::Table(root);
    for step in parents {
        let next = here
            .step(step, &path_at)
            .map_err(|(title, label)| wrong(title.replace("HERE", &walked), &label))?;
        if !walked.is_empty() {
            walked.push('.');
        }
        walked.push_str(step);
        here = match &mut next.val {
            Val::Table(table) => Here::Table(table),
            Val::List(items) => Here::List(items),
            other => {
                let what = other.describe();
                return Err(wrong(
                    format!("`{walked}` is {what}: there is no `{path}`"),
                    "expected a path through tables",
                ));
            }
        };
    }
    let target =
        here.step(last, &path_at).map_err(|(title, label)| wrong(title.replace("HERE", &walked), &label))?;
    *target = node;
    Ok(())
}

enum Here<'a> {
    Table(&'a mut Table),
    List(&'a mut Vec<Node>),
}

impl<'a> Here<'a> {
    /// The node under `step`, made (as an empty table) where a table has none.
    fn step(self, step: &str, at: &Origin) -> Result<&'a mut Node, (String, String)> {
        match self {
            Here::Table(table) => {
                let index = match table.entries.iter().position(|entry| entry.key == step) {
                    Some(index) => index,
                    None => {
                        let node = Node { val: Val::Table(Table::default()), at: at.clone() };
                        table.entries.push(Entry { key: step.to_owned(), key_at: at.clone(), node });
                        table.entries.len() - 1
                    }
                };
                Ok(&mut table.entries[index].node)
            }
            Here::List(items) => {
                let count = items.len();
                let range = match count {
                    0 => "it is empty".to_owned(),
                    1 => "there is only 0".to_owned(),
                    _ => format!("expected 0 to {}", count - 1),
                };
                match step.parse::<usize>().ok().filter(|index| *index < count) {
                    Some(index) => Ok(&mut items[index]),
                    None => Err((format!("`HERE` is a list of {count}: there is no `{step}` in it"), range)),
                }
            }
        }
    }
}

/// The keys of a dotted TOML key.
fn split_path(path: &str) -> Option<Vec<String>> {
    if path.contains(['\n', '\r', '=', '#']) {
        return None;
    }
    let text = format!("{path} = 0");
    let parsed = DeTable::parse(&text).ok()?;
    let mut steps = Vec::new();
    let mut table = parsed.get_ref();
    loop {
        let (key, value) = table.iter().next()?;
        steps.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(steps),
        }
    }
}

fn parse_value(value: &str, at: &Origin) -> Val {
    let text = format!("value = {value}");
    if let Ok(parsed) = DeTable::parse(&text) {
        let table = parsed.get_ref();
        // A value with a line break in it could smuggle in further keys: then it is text.
        if table.len() == 1
            && let Some((_, only)) = table.iter().next()
        {
            return Node::from_toml(only.get_ref(), at.clone(), &|_| at.clone()).val;
        }
    }
    Val::Text(value.to_owned())
}
