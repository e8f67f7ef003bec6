//! `index.html`: the class on one page that needs nothing but itself.

use std::fmt::Write as _;

use super::feedback::how;
use super::table::failures;
use super::word;
use crate::grade::rubric::Rubric;
use crate::grade::score::{Class, Scored, show};
use crate::report::page::{STYLE, escape};
use crate::report::style::clean;

/// Sorts the table by the column whose head is pressed; the page is whole without it.
const SCRIPT: &str = "for (const head of document.querySelectorAll('th button')) head.onclick = () => {\
  const column = head.closest('th').cellIndex, body = document.querySelector('#class tbody');\
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;\
  const turn = head.dataset.turn = head.dataset.turn === '1' ? '-1' : '1';\
  [...body.rows].sort((one, other) => turn * value(one).localeCompare(value(other), undefined, {numeric: true})).forEach(row => body.append(row)); };";

/// More than runs' pages need.
const MORE: &str = "th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid var(--ok); }\n\
.bar { background: var(--soft); border-radius: .3rem; } .bar i { display: block; height: .9rem; background: var(--bad); border-radius: .3rem; }\n\
td.failed { color: var(--bad); } td.passed { color: var(--good); } td.review { color: var(--doubt); }\n";

fn shown(text: &str) -> String {
    escape(&clean(text))
}

/// The whole page.
pub fn render(rubric: &Rubric, class: &Class) -> String {
    let count = class.submissions.len();
    let of = rubric.points();
    let sum: f64 = class.submissions.iter().map(|scored| scored.points().0).sum();
    let review = class.submissions.iter().filter(|scored| scored.needs_review()).count();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{0}</title>\n<style>\n{STYLE}{MORE}</style>\n</head>\n<body>\n<header class=\"{1}\">\n<h1>{0}</h1>\n\
         <p>{count} submissions; {2} of {3} points on average{4}</p>\n",
        shown(&rubric.name),
        if review > 0 { "unknown" } else { "valid" },
        show(crate::grade::score::round(sum / count.max(1) as f64)),
        show(of),
        if review > 0 { format!("; at {review} somebody has to look") } else { String::new() },
    );
    if !rubric.about.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", shown(&rubric.about));
    }
    out.push_str("</header>\n<main>\n");
    out.push_str(&worst(class));
    out.push_str(&grades(rubric, class));
    let _ = write!(out, "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn worst(class: &Class) -> String {
    let worst = failures(class);
    if worst.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<h2>What most of the class fails</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>check</th><th>submissions</th><th></th></tr></thead>\n<tbody>\n",
    );
    for (name, failing, all) in worst.iter().take(12) {
        let share = 100.0 * *failing as f64 / (*all).max(1) as f64;
        let _ = writeln!(
            out,
            "<tr><td data-name=\"check\">{}</td><td data-name=\"submissions\">{failing} of {all}</td>\
             <td data-name=\"share\"><div class=\"bar\"><i style=\"width:{share:.0}%\"></i></div></td></tr>",
            shown(name)
        );
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn grades(rubric: &Rubric, class: &Class) -> String {
    let mut out = String::from("<h2>Grades</h2>\n<div class=\"wide\"><table id=\"class\">\n<thead><tr>");
    let heads =
        ["submission", "points"].into_iter().chain(rubric.items.iter().map(|item| item.name.as_str()));
    for head in heads {
        let _ = write!(out, "<th scope=\"col\"><button>{}</button></th>", shown(head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for scored in &class.submissions {
        out.push_str(&row(scored));
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn row(scored: &Scored) -> String {
    let (points, of) = scored.points();
    let folder: String = scored.name.bytes().map(percent).collect();
    let mut out = format!(
        "<tr><td data-name=\"submission\"><a href=\"submissions/{folder}/feedback.md\">{}</a></td>\
         <td data-name=\"points\" data-value=\"{points}\">{} of {}{}</td>",
        shown(&scored.name),
        show(points),
        show(of),
        scored
            .refused
            .as_ref()
            .map(|why| format!("<br><span class=\"faint\">{}</span>", shown(why)))
            .unwrap_or_default(),
    );
    for item in &scored.items {
        let (points, of) = item.points();
        let open = item.checks.iter().any(|check| check.needs_review());
        let failed = item.checks.iter().any(|check| check.failed > 0);
        let class = if failed {
            "failed"
        } else if open {
            "review"
        } else {
            "passed"
        };
        let mut cell = format!("{} of {}", show(points), show(of));
        for check in item.checks.iter().filter(|check| check.failed > 0 || check.needs_review()) {
            let _ = write!(
                cell,
                "<br><span class=\"faint\">{}: {}</span>",
                shown(&check.check),
                shown(&how(check))
            );
        }
        let title = item.checks.iter().map(|check| format!("{} {}", check.check, word(check)));
        let _ = write!(
            out,
            "<td class=\"{class}\" data-name=\"{}\" data-value=\"{points}\" title=\"{}\">{cell}</td>",
            shown(&item.name),
            shown(&title.collect::<Vec<_>>().join(", ")),
        );
    }
    out.push_str("</tr>\n");
    out
}

/// A byte of a path in a URL.
fn percent(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    }
}
