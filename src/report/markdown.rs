//! A run as Markdown, for pull requests, job summaries and hand-ins.

use std::fmt::Write as _;

use super::evidence::{of_check, of_fault};
use super::results::{CheckRow, Results};
use super::style::{clean, one_line};
use super::{table, violations};
use crate::check::{CheckMode, Verdict};

/// Longest cell of a table, in characters.
const CELL_WIDTH: usize = 300;
/// How many faults are listed.
const SHOWN_FAULTS: usize = 50;
/// Longest proof, in bytes.
const PROOF_LIMIT: usize = 16 << 10;

/// The whole run, in sections of which the first say most: a reader who cuts does so behind a section.
pub fn sections(results: &Results) -> Vec<String> {
    let mut out = vec![head(results)];
    out.extend(results.checks.iter().flat_map(|check| of_violations(results, check)));
    out.push(faults(results));
    out.push(tail(results));
    out.retain(|section| !section.is_empty());
    out
}

/// All sections.
pub fn render(results: &Results) -> String {
    sections(results).join("\n")
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "✅",
        Verdict::Invalid => "❌",
        Verdict::Unknown => "❔",
    }
}

fn head(results: &Results) -> String {
    let cell: String = results.cell.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let mut out = format!(
        "## {} {}: {}{} · seed {}\n\n",
        mark(results.verdict),
        table::word(results.verdict),
        plain(&results.workload),
        plain(&cell),
        results.seed
    );
    for why in &results.why {
        let _ = writeln!(out, "- {}", plain(why));
    }
    let load = &results.load;
    let nodes: Vec<&str> = results.nodes.iter().map(|node| node.id.as_str()).collect();
    let _ = writeln!(
        out,
        "\n{} operations ({} ok, {} fail, {} info) on {} in {:.1} s.\n",
        load.ok + load.fail + load.info,
        load.ok,
        load.fail,
        load.info,
        plain(&nodes.join(", ")),
        results.duration_ms as f64 / 1e3
    );
    if results.checks.is_empty() {
        return out;
    }
    out.push_str("| | check | mode | verdict | what it judged |\n|---|---|---|---|---|\n");
    for check in &results.checks {
        let count = match check.violations_total {
            0 => String::new(),
            1 => ", 1 violation".to_owned(),
            total => format!(", {total} violations"),
        };
        let judged = check.reason.clone().unwrap_or_else(|| of_check(&check.evidence));
        let (sign, word) = (sign(check), table::word(check.verdict));
        let mode = table::mode(check.mode);
        let _ = writeln!(
            out,
            "| {sign} | {} | {mode} | {word}{count} | {} |",
            plain(&check.name),
            cell_of(&judged)
        );
    }
    out
}

/// Whether the check came out as it should.
fn sign(check: &CheckRow) -> &'static str {
    match (check.mode, check.verdict) {
        (CheckMode::Reported, Verdict::Invalid) => "ℹ️",
        (CheckMode::ExpectedToFail, Verdict::Invalid) => mark(Verdict::Valid),
        (CheckMode::ExpectedToFail, Verdict::Valid) => mark(Verdict::Invalid),
        (_, verdict) => mark(verdict),
    }
}

/// A section a violation that the terminal's summary would write out.
fn of_violations(results: &Results, check: &CheckRow) -> Vec<String> {
    let (shown, _) = violations::chosen(&check.violations);
    let mut out = Vec::new();
    for (at, violation) in shown.iter().enumerate() {
        let mut text = String::new();
        if at == 0 {
            let _ = writeln!(text, "### {}\n\n{}\n", plain(&check.name), plain(&check.promise));
        }
        let _ = writeln!(
            text,
            "**{}** {}\n",
            plain(&violations::title(violation)),
            plain(&violations::sentence(&violation.story))
        );
        let _ = writeln!(text, "{}", fenced(&violations::unframed(violation)));
        out.push(text);
    }
    let rest = check.violations_total.saturating_sub(shown.len() as u64);
    if rest > 0 && !shown.is_empty() {
        let folder = results.folder.as_deref().unwrap_or("the run's folder");
        out.push(format!("{rest} more of {}: see {}.\n", plain(&check.name), plain(folder)));
    }
    out
}

fn faults(results: &Results) -> String {
    if results.faults.is_empty() {
        return String::new();
    }
    let mut out = "### Faults\n\n| fault | from | to | took effect | operations meanwhile | evidence |\n|---|---|---|---|---|---|\n".to_owned();
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1e3);
    for fault in results.faults.iter().take(SHOWN_FAULTS) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            cell_of(&fault.label),
            seconds(fault.began_ms),
            fault.ended_ms.map_or_else(|| "the end".to_owned(), seconds),
            if fault.took_effect { "yes" } else { "**no**" },
            fault.overlapping_ops,
            cell_of(&of_fault(&fault.evidence)),
        );
    }
    let hidden = results.faults.len().saturating_sub(SHOWN_FAULTS);
    if hidden > 0 {
        let _ = writeln!(out, "\nand {hidden} more.");
    }
    out
}

fn tail(results: &Results) -> String {
    if results.rerun.is_empty() {
        return String::new();
    }
    format!("Run it again with the same seed:\n\n{}\n", fenced(&results.rerun))
}

/// Text as it is: nothing in it is Markdown or HTML.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in clean(text).replace('\n', " ").chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A mention would call somebody, a number link to an issue.
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    out
}

pub fn cell_of(text: &str) -> String {
    plain(&one_line(text, CELL_WIDTH))
}

/// A block of code with a fence that nothing in it can close.
pub fn fenced(text: &str) -> String {
    let mut text = clean(text);
    if text.len() > PROOF_LIMIT {
        let end = (0..=PROOF_LIMIT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}
