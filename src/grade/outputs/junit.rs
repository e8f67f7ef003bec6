//! `junit.xml` of a class: a suite a submission, a case a check. A failure is a check that failed in some repeat, an error one
//! that was not decided. No times: they differ, and the file must not.

use std::fmt::Write as _;

use super::feedback::how;
use crate::grade::rubric::Rubric;
use crate::grade::score::{CheckScore, Class, Scored};
use crate::report::junit::{attribute, text};

/// The whole file.
pub fn render(rubric: &Rubric, class: &Class) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (id, scored) in class.submissions.iter().enumerate() {
        of_submission(rubric, scored, id, &mut out);
    }
    out.push_str("</testsuites>\n");
    out
}

fn of_submission(rubric: &Rubric, scored: &Scored, id: usize, out: &mut String) {
    let checks: Vec<(&str, &CheckScore)> = scored
        .items
        .iter()
        .flat_map(|item| item.checks.iter().map(|check| (item.name.as_str(), check)))
        .collect();
    let failures = checks.iter().filter(|(_, check)| check.points.is_some() && check.failed > 0).count();
    let errors = checks.iter().filter(|(_, check)| check.points.is_none()).count();
    let name = attribute(&scored.name.replace('.', "_"));
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" package=\"{}\" id=\"{id}\" timestamp=\"1970-01-01T00:00:00\" hostname=\"localhost\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"0\">\n    <properties/>",
        attribute(&rubric.name),
        checks.len()
    );
    for (item, check) in checks {
        let case = attribute(&format!("{item}: {}", check.check));
        let _ = write!(out, "    <testcase name=\"{case}\" classname=\"{name}\" time=\"0\"");
        let (tag, message) = match (check.points, check.failed) {
            (Some(_), 0) => {
                out.push_str("/>\n");
                continue;
            }
            (None, _) => ("error", how(check)),
            (Some(_), _) => ("failure", scored.refused.clone().unwrap_or_else(|| how(check))),
        };
        let _ = writeln!(
            out,
            ">\n      <{tag} type=\"{}\" message=\"{}\">{}</{tag}>\n    </testcase>",
            attribute(&check.check),
            attribute(&message),
            text(&message)
        );
    }
    out.push_str("    <system-out/>\n    <system-err/>\n  </testsuite>\n");
}
