//! `grades.csv` (RFC 4180): a row a submission; for spreadsheets and learning platforms.

use crate::grade::rubric::Rubric;
use crate::grade::score::{Class, show};

/// The whole file. Columns: `submission`, `points`, `of`, `review` (whether somebody has to look), then `ITEM: CHECK` for the points of
/// each check; an empty cell was not decided.
pub fn render(rubric: &Rubric, class: &Class) -> String {
    let mut header = ["submission", "points", "of", "review"].map(str::to_owned).to_vec();
    for item in &rubric.items {
        header.extend(item.checks.iter().map(|check| format!("{}: {}", item.name, check.check)));
    }
    let mut out = line(&header);
    for scored in &class.submissions {
        let (points, of) = scored.points();
        let review = if scored.needs_review() { "yes" } else { "no" };
        let mut row = vec![scored.name.clone(), show(points), show(of), review.to_owned()];
        let checks = scored.items.iter().flat_map(|item| &item.checks);
        row.extend(checks.map(|check| check.points.map(show).unwrap_or_default()));
        out.push_str(&line(&row));
    }
    out
}

pub(super) fn line(cells: &[String]) -> String {
    cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    // What a spreadsheet would take for a formula is made text.
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
