//! `grades.json`: everything about points, for programs. `docs/grading.md` is its page for readers.

use serde_json::{Value as Json, json};

use crate::grade::rubric::{Credit, Rubric};
use crate::grade::score::{CheckScore, Class, ItemScore, Scored};

/// The schema this build writes. Fields are only ever added within a number.
pub const SCHEMA: u64 = 1;

/// The whole file.
pub fn render(rubric: &Rubric, class: &Class) -> String {
    let items: Vec<Json> = rubric
        .items
        .iter()
        .map(|item| {
            let checks: Vec<Json> =
                item.checks.iter().map(|check| json!({"check": check.check, "of": check.points})).collect();
            let credit = match item.credit {
                Credit::Share => "share",
                Credit::AllOrNothing => "all-or-nothing",
            };
            json!({"item": item.name, "repeats": item.repeats, "credit": credit, "visible": item.visible, "checks": checks})
        })
        .collect();
    let submissions: Vec<Json> = class.submissions.iter().map(of_submission).collect();
    let whole = json!({
        "schema": SCHEMA,
        "rubric": rubric.name,
        "seed": rubric.seed,
        "of": rubric.points(),
        "items": items,
        "submissions": submissions,
    });
    // Map keys are strings and every number is finite, so this cannot fail.
    serde_json::to_string_pretty(&whole).expect("plain data is JSON") + "\n"
}

fn of_submission(scored: &Scored) -> Json {
    let (points, of) = scored.points();
    json!({
        "submission": scored.name,
        "points": points,
        "of": of,
        "needs_review": scored.needs_review(),
        "refused": scored.refused,
        "items": scored.items.iter().map(of_item).collect::<Vec<_>>(),
    })
}

fn of_item(item: &ItemScore) -> Json {
    let (points, of) = item.points();
    json!({"item": item.name, "points": points, "of": of, "checks": item.checks.iter().map(of_check).collect::<Vec<_>>()})
}

fn of_check(check: &CheckScore) -> Json {
    let share = check.failed_share();
    let rounded = |value: f64| (value * 1e4).round() / 1e4;
    json!({
        "check": check.check,
        "points": check.points,
        "of": check.of,
        "passed": check.passed,
        "failed": check.failed,
        "undecided": check.undecided,
        "missing": check.missing,
        "failed_share": share.map(|(share, _, _)| rounded(share)),
        "failed_share_95": share.map(|(_, low, high)| [rounded(low), rounded(high)]),
    })
}
