//! `[matrix]`: variables and the values each takes in turn.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::document::{Field, Node, Table, Val, did_you_mean, list};
use crate::workload::vars::text_of;
use crate::workload::{Axis, Overrides};

/// The most combinations; more would not be run in a day, nor read.
pub(in crate::workload) const MAX_CELLS: usize = 64;

/// The schema of `[matrix]`.
pub(in crate::workload) fn schema() -> Json {
    json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": {
            "type": "array", "minItems": 1, "uniqueItems": true,
            "items": { "type": ["string", "number", "boolean"] }
        }
    })
}

/// Reads `[matrix]`. An axis whose variable was set by a flag is fixed, and none any more. `None` when a mistake was noted.
pub(in crate::workload) fn matrix(field: &Field<'_>, root: &Table) -> Option<Vec<Axis>> {
    let Val::Table(table) = &field.node.val else {
        return field.wrong_type("a table of variables, each with a list of values");
    };
    if table.entries.is_empty() {
        field.fail("has no axis", "expected a line such as W = [1, 2, 3]");
        return None;
    }
    let vars = match root.get("vars").map(|entry| &entry.node.val) {
        Some(Val::Table(vars)) => Some(vars),
        _ => None,
    };
    let known: Vec<&str> =
        vars.iter().flat_map(|vars| &vars.entries).map(|entry| entry.key.as_str()).collect();
    let (mut axes, mut fine) = (Vec::new(), true);
    for entry in &table.entries {
        let axis = Field { path: format!("matrix.{}", entry.key), node: &entry.node, sink: field.sink };
        let Some(var) = vars.and_then(|vars| vars.get(&entry.key)) else {
            let fallback = match known.as_slice() {
                [] => "the workload has no [vars]".to_owned(),
                known => format!("the variables are {}", list(known, "and")),
            };
            let label = did_you_mean(&entry.key, known.iter().copied(), &fallback);
            let title = format!("[matrix] has an axis `{}`, and [vars] no such variable", entry.key);
            field.sink.fail(&entry.key_at, title, label, None);
            fine = false;
            continue;
        };
        match values(&axis) {
            Some(values) if var.node.at.flag.is_none() => axes.push(Axis { name: entry.key.clone(), values }),
            Some(_) => {}
            None => fine = false,
        }
    }
    let cells = axes.iter().map(|axis| axis.values.len()).fold(1, usize::saturating_mul);
    if cells > MAX_CELLS {
        field.fail(format!("has {cells} combinations"), format!("expected at most {MAX_CELLS}"));
        return None;
    }
    fine.then_some(axes)
}

fn values(axis: &Field<'_>) -> Option<Vec<String>> {
    let items = axis.items("values")?;
    if items.is_empty() {
        axis.fail("has no values", "expected a list such as [1, 2, 3]");
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    for item in &items {
        let Some(text) = text_of(&item.node.val) else { return item.wrong_type("a string or a number") };
        if !seen.insert(text.clone()) {
            item.fail(format!("is {text} a second time"), "each value once");
            return None;
        }
        values.push(text);
    }
    Some(values)
}

/// Puts the values of one cell into the document's `[vars]`, as if they were written there: a mistake in one is shown where
/// it was written, in `[matrix]`.
pub(in crate::workload) fn choose(root: &mut Table, overrides: &Overrides) {
    for (name, value) in &overrides.cell {
        let chosen = written(root, name, value).cloned();
        let vars = match root.get_mut("vars") {
            Some(Node { val: Val::Table(vars), .. }) => Some(vars),
            _ => None,
        };
        if let (Some(chosen), Some(var)) = (chosen, vars.and_then(|vars| vars.get_mut(name))) {
            *var = chosen;
        }
    }
}

fn written<'a>(root: &'a Table, name: &str, value: &str) -> Option<&'a Node> {
    let Val::Table(matrix) = &root.get("matrix")?.node.val else { return None };
    let Val::List(values) = &matrix.get(name)?.node.val else { return None };
    values.iter().find(|item| text_of(&item.val).is_some_and(|text| text == value))
}
