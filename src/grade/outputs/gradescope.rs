//! `gradescope/NAME.json`: what an autograder of Gradescope leaves as `results/results.json`, after its documentation
//! (<https://gradescope-autograders.readthedocs.io/en/latest/specs/>): `score`, `output`, `visibility`, `tests` with `score`, `max_score`, `status`,
//! `name`, `number`, `output`, `visibility`.
//!
//! Students see nothing but this, so what `feedback.md` says is its `output`. `execution_time` is optional and left out: it differs each time. The reports of items that students are not to see are `hidden`.

use serde_json::{Value as Json, json};

use super::feedback::{self, how};
use crate::grade::journal::Known;
use crate::grade::rubric::Rubric;
use crate::grade::score::{CheckScore, Scored};
use crate::report::style::clean;

/// The whole file.
pub fn render(rubric: &Rubric, scored: &Scored, known: &Known) -> String {
    let mut tests = Vec::new();
    for (at, item) in scored.items.iter().enumerate() {
        for (place, check) in item.checks.iter().enumerate() {
            let visibility = if item.visible { "visible" } else { "hidden" };
            tests.push(json!({
                "name": format!("{}: {}", item.name, check.check),
                "name_format": "text",
                "number": format!("{}.{}", at + 1, place + 1),
                "score": check.points.unwrap_or_default(),
                "max_score": check.of,
                "status": if check.failed == 0 && check.points.is_some() { "passed" } else { "failed" },
                "output": clean(&how(check)),
                "output_format": "text",
                "tags": [item.name],
                "visibility": visibility,
                "extra_data": extra(check),
            }));
        }
    }
    let whole = json!({
        "score": scored.points().0,
        "output": feedback::render(rubric, scored, known),
        "output_format": "md",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    });
    // Map keys are strings and every number is finite, so this cannot fail.
    serde_json::to_string_pretty(&whole).expect("plain data is JSON") + "\n"
}

fn extra(check: &CheckScore) -> Json {
    json!({"passed": check.passed, "failed": check.failed, "undecided": check.undecided, "missing": check.missing})
}
