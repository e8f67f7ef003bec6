//! The tables of a workload file: their keys, limits and defaults.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::CheckMode;
use super::known::LATER_CHECKS;
use crate::document::{Field, Key, Section, list};
use crate::fault::kinds::duration_schema;

pub(super) mod client;
pub(super) mod cluster;
pub(super) mod load;
pub(super) mod matrix;
mod provision;

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

/// The field read, or the default where it is absent; `None` when it is wrong.
fn or_default<T>(
    field: Option<Field<'_>>,
    default: T,
    read: impl FnOnce(&Field<'_>) -> Option<T>,
) -> Option<T> {
    field.map_or(Some(default), |field| read(&field))
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
    crate::check::all().map(|check| key(check.name(), check.about(), || json!({ "enum": MODES }))).collect()
}

/// Keys of `[checks]` in the design that this version does not support.
pub(super) const CHECKS_LATER: &[&str] = LATER_CHECKS;

const MODES: &[&str] = &["required", "reported", "expected-to-fail"];

/// Reads `[checks]`; `kind` is the load's.
pub(super) fn checks(section: &Section<'_>, kind: Option<&str>) -> Option<Vec<(String, CheckMode)>> {
    let mut checks = Vec::new();
    let mut fine = true;
    for (entry, field) in section.fields() {
        if let (Some(kind), Some(judged)) = (kind, crate::check::judged(&entry.key))
            && kind != judged
        {
            let fitting = crate::check::all().map(|check| check.name());
            let fitting: Vec<&str> = fitting
                .filter(|name| crate::check::judged(name).is_none_or(|judged| judged == kind))
                .collect();
            field.fail(
                format!("judges loads of kind {judged:?}, and that of [load] is {kind:?}"),
                format!("of such a load there are {}", list(&fitting, "and")),
            );
            fine = false;
        }
        match field.word(MODES, &[]) {
            Some("required") => checks.push((entry.key.clone(), CheckMode::Required)),
            Some("reported") => checks.push((entry.key.clone(), CheckMode::Reported)),
            Some(_) => checks.push((entry.key.clone(), CheckMode::ExpectedToFail)),
            None => fine = false,
        }
    }
    if fine && checks.is_empty() {
        let names: Vec<&str> = crate::check::all().map(|check| check.name()).collect();
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
