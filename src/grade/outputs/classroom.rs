//! `classroom/NAME.json`: the result of a grader of GitHub Classroom, as `classroom-resources/autograding-grading-reporter` reads it
//! (in base64, from a step's output `result`): `version`, `status`, `max_score`, and `tests` with `name`, `status` and `score`.

use serde_json::{Value as Json, json};

use super::feedback::how;
use crate::grade::rubric::Rubric;
use crate::grade::score::{CheckScore, Scored, show};

/// The whole file.
pub fn render(rubric: &Rubric, scored: &Scored) -> String {
    let tests: Vec<Json> = scored
        .items
        .iter()
        .flat_map(|item| item.checks.iter().map(move |check| (item, check)))
        .map(|(item, check)| {
            let hidden = !item.visible;
            json!({
                "name": format!("{}: {}", item.name, check.check),
                "status": status(check),
                "score": check.points.unwrap_or_default(),
                "max_score": check.of,
                "message": if hidden { String::new() } else { format!("{} of {}: {}", show(check.points.unwrap_or_default()), show(check.of), how(check)) },
                "test_code": "",
                "filename": "",
                "line_no": 0,
            })
        })
        .collect();
    let (points, of) = scored.points();
    let status = match (scored.needs_review(), points < of) {
        (true, _) => "error",
        (false, true) => "fail",
        (false, false) => "pass",
    };
    let whole = json!({"version": 1, "status": status, "max_score": rubric.points(), "tests": tests});
    // Map keys are strings and every number is finite, so this cannot fail.
    serde_json::to_string_pretty(&whole).expect("plain data is JSON") + "\n"
}

fn status(check: &CheckScore) -> &'static str {
    match (check.points, check.failed) {
        (None, _) => "error",
        (Some(_), 0) => "pass",
        _ => "fail",
    }
}
