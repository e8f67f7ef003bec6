//! The class in the terminal.

use std::fmt::Write as _;

use super::word;
use crate::grade::rubric::Rubric;
use crate::grade::score::{Class, show};
use crate::report::style::{Paint, Style};

/// A row a submission, then what most of the class fails.
pub fn render(rubric: &Rubric, class: &Class, style: &Style) -> String {
    let mut headers = vec!["submission", "points"];
    headers.extend(rubric.items.iter().map(|item| item.name.as_str()));
    let rows: Vec<Vec<String>> = class
        .submissions
        .iter()
        .map(|scored| {
            let (points, of) = scored.points();
            let review = if scored.needs_review() { " ?" } else { "" };
            let mut row = vec![scored.name.clone(), format!("{} of {}{review}", show(points), show(of))];
            row.extend(scored.items.iter().map(|item| {
                let (points, of) = item.points();
                let failed =
                    item.checks.iter().filter(|check| check.failed > 0).map(|check| check.check.as_str());
                let failed: Vec<&str> = failed.collect();
                let open = item.checks.iter().any(|check| check.needs_review());
                let mark = if open { " ?" } else { "" };
                match failed.is_empty() {
                    true => format!("{} of {}{mark}", show(points), show(of)),
                    false => format!("{} of {}{mark} ✗ {}", show(points), show(of), failed.join(", ")),
                }
            }));
            row
        })
        .collect();
    let paint = |column: usize, text: &str| match column {
        0 | 1 => None,
        _ if text.contains('✗') => Some(Paint::Bad),
        _ if text.contains('?') => Some(Paint::Doubt),
        _ => Some(Paint::Good),
    };
    let mut out = style.table(&headers, &rows, paint) + "\n";
    let worst = failures(class);
    if !worst.is_empty() {
        out.push_str("\nWhat most of the class fails\n");
        for (name, failing, all) in worst.iter().take(5) {
            let _ = writeln!(out, "  {name}: {failing} of {all}");
        }
    }
    let review: Vec<String> = class
        .submissions
        .iter()
        .filter(|scored| scored.needs_review())
        .map(|scored| {
            let checks = scored.items.iter().flat_map(|item| {
                let open = item.checks.iter().filter(|check| check.needs_review());
                open.map(move |check| format!("{} {} ({})", item.name, check.check, word(check)))
            });
            format!("  {}: {}", scored.name, checks.collect::<Vec<_>>().join(", "))
        })
        .collect();
    if !review.is_empty() {
        let _ = writeln!(out, "\n? somebody has to look\n{}", review.join("\n"));
    }
    out
}

/// (`item: check`, submissions that failed it, submissions for which it was decided), the most failed first; what nobody
/// failed is left out.
pub(super) fn failures(class: &Class) -> Vec<(String, usize, usize)> {
    let Some(first) = class.submissions.first() else { return Vec::new() };
    let mut found = Vec::new();
    for (at, item) in first.items.iter().enumerate() {
        for (place, check) in item.checks.iter().enumerate() {
            let scores = class.submissions.iter().map(|scored| &scored.items[at].checks[place]);
            let decided: Vec<_> = scores.filter(|score| score.points.is_some()).collect();
            let failing = decided.iter().filter(|score| score.failed > 0).count();
            if failing > 0 {
                found.push((format!("{}: {}", item.name, check.check), failing, decided.len()));
            }
        }
    }
    found.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    found
}
