//! The summary of one run for people: what ran, what was checked, what was broken on purpose, what went wrong, and the
//! command that runs it again.

use std::fmt::Write as _;

use super::evidence::{of_check, of_fault};
use super::figures;
use super::isolation;
use super::results::{CheckRow, ExitRow, FaultRow, LoadRow, NotOk, Results};
use super::style::{Paint, Style, one_line};
use super::violations;
use crate::check::{CheckMode, Verdict};
use crate::history::{Outcome, Phase};

/// How many faults are listed; those that did not take effect come first.
const SHOWN_FAULTS: usize = 20;
/// How many log lines of one node are shown.
const SHOWN_LOG_LINES: usize = 10;
/// How many kinds of answers that were not understood are shown.
const SHOWN_NOT_UNDERSTOOD: usize = 5;
/// Below this share of the asked rate, the clients could not keep it.
const KEPT: f64 = 0.95;

/// The whole summary, ending in a newline. Its last line is the command that runs it again.
pub fn render(results: &Results, style: &Style) -> String {
    let mut out = String::new();
    out.push_str(&head(results, style));
    out.push_str(&render_checks(results, style));
    out.push_str(&exits(results, style));
    out.push_str(&not_understood(results, style));
    out.push_str(&troubles(results, style));
    out.push_str(&tail(results, style));
    out
}

/// What the checks made of a history that was recorded before: the tables without what only a run knows.
pub fn render_checks(results: &Results, style: &Style) -> String {
    let mut out = checks(results, style);
    out.push_str(&figures::section(results, style));
    out.push_str(&faults(results, style));
    out.push_str(&violations::section(results, style));
    out
}

fn section(style: &Style, name: &str) -> String {
    format!("\n{}\n", style.paint(Paint::Strong, &style.text(name)))
}

fn head(results: &Results, style: &Style) -> String {
    let nodes: Vec<&str> = results.nodes.iter().map(|node| node.id.as_str()).collect();
    let nodes = match nodes.as_slice() {
        [] => "no nodes".to_owned(),
        [only] => format!("1 node ({only})"),
        several => format!("{} nodes ({})", several.len(), several.join(" ")),
    };
    let seconds = results.duration_ms as f64 / 1e3;
    let line = format!("{} · seed {} · {nodes} · {seconds:.1} s", results.workload, results.seed);
    let mut out = format!("{}\n", style.paint(Paint::Strong, &style.wrap(&line, 2)));
    let load = &results.load;
    let asked =
        if load.asked_rate > 0.0 { format!(" of {} asked", number(load.asked_rate)) } else { String::new() };
    let line = format!(
        "{} operations: {} ok, {} fail, {} info; {} a second{asked}",
        load.ok + load.fail + load.info,
        load.ok,
        load.fail,
        load.info,
        number(load.achieved_rate)
    );
    let _ = writeln!(out, "{}", style.wrap(&line, 2));
    for line in not_ok(load) {
        let _ = writeln!(out, "{}", style.wrap(&line, 4));
    }
    if let Some(line) = too_slow(load) {
        let _ = writeln!(out, "{}", style.paint(Paint::Doubt, &style.wrap(&line, 2)));
    }
    if let Some(line) = settled(results) {
        let _ = writeln!(out, "{}", style.wrap(&line, 2));
    }
    if let Some(row) = &results.isolation {
        let _ = writeln!(out, "{}", style.wrap(&isolation::line(row), 2));
    }
    out
}

/// When the replicas agreed, or that all of the time for it went by. A group of which somebody is gone never has everything
/// everywhere, and need not.
fn settled(results: &Results) -> Option<String> {
    let within_s = number(results.settle.within_ms as f64 / 1e3);
    if let Some(ms) = results.settle.converged_ms {
        let after = figures::duration(ms as f64);
        return Some(format!("The replicas agreed {after} after the heal ({within_s} s allowed)"));
    }
    let began = |phase| results.phases.iter().find(|row| row.phase == phase).map(|row| row.began_ms);
    let waited_ms = began(Phase::Done)?.checked_sub(began(Phase::Settle)?)?;
    let of_groups = results.checks.iter().any(|check| check.name == "total-order");
    (waited_ms >= results.settle.within_ms && !of_groups)
        .then(|| format!("The replicas did not settle within {within_s} s of the heal"))
}

/// Why operations did not end well.
fn not_ok(load: &LoadRow) -> Vec<String> {
    let line = |row: &NotOk| {
        let outcome = if row.outcome == Outcome::Fail { "fail" } else { "info" };
        let node = if row.node.is_empty() { String::new() } else { format!(" at {}", row.node) };
        format!("- {} {outcome}{node}: {}", row.count, row.why)
    };
    load.not_ok.iter().take(SHOWN_REASONS).map(line).collect()
}

/// So many reasons for operations that did not end well are shown.
const SHOWN_REASONS: usize = 4;

/// Why fewer operations were sent than asked for, where it were noticeably fewer.
fn too_slow(load: &LoadRow) -> Option<String> {
    if load.asked_rate <= 0.0 || load.achieved_rate >= KEPT * load.asked_rate {
        return None;
    }
    let why = match &load.held_up_by {
        Some(fault) => format!("the clients were waiting for answers under {fault}"),
        None => "the clients were still waiting for earlier answers".to_owned(),
    };
    Some(match load.skipped {
        0 => "The clients could not keep the rate that was asked for.".to_owned(),
        count => format!("Slower than asked: {count} operations were never sent, because {why}."),
    })
}

/// At most one decimal, none where it would be 0.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn checks(results: &Results, style: &Style) -> String {
    if results.checks.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = results
        .checks
        .iter()
        .map(|check| {
            vec![check.name.clone(), mode(check.mode).into(), word(check.verdict).into(), bite(check)]
        })
        .collect();
    let verdict_paint = |column: usize, text: &str| match (column, text) {
        (2, "valid") => Some(Paint::Good),
        (2, "unknown") => Some(Paint::Doubt),
        (2, "invalid") => Some(Paint::Bad),
        _ => None,
    };
    let table = style.table(&["check", "mode", "verdict", "what it judged"], &rows, verdict_paint);
    format!("\n{table}\n")
}

/// A mode as the table writes it.
pub fn mode(mode: CheckMode) -> &'static str {
    match mode {
        CheckMode::Required => "required",
        CheckMode::Reported => "reported",
        CheckMode::ExpectedToFail => "expected to fail",
    }
}

/// A verdict as it is written everywhere.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Unknown => "unknown",
        Verdict::Invalid => "invalid",
    }
}

fn bite(check: &CheckRow) -> String {
    let mut parts = Vec::new();
    if check.violations_total > 0 {
        let plural = if check.violations_total == 1 { "violation" } else { "violations" };
        parts.push(format!("{} {plural}", check.violations_total));
    }
    if let Some(reason) = &check.reason {
        parts.push(reason.clone());
    }
    let evidence = of_check(&check.evidence);
    // A reason says it better than counts of nothing.
    let idle = check.reason.is_some() && check.evidence.values().all(|count| count.as_u64() == Some(0));
    if !evidence.is_empty() && !idle {
        parts.push(evidence);
    }
    parts.extend(check.excuse());
    parts.join("; ")
}

fn faults(results: &Results, style: &Style) -> String {
    if results.faults.is_empty() {
        return String::new();
    }
    let mut listed: Vec<&FaultRow> = results.faults.iter().collect();
    let hidden = listed.len().saturating_sub(SHOWN_FAULTS);
    if hidden > 0 {
        // A stable sort: those without effect first, else in order of time.
        listed.sort_by_key(|fault| fault.took_effect);
        listed.truncate(SHOWN_FAULTS);
    }
    let rows: Vec<Vec<String>> = listed.iter().map(|fault| fault_cells(fault)).collect();
    let table = style.table(&["fault", "when", "took effect", "ops"], &rows, |column, text| {
        (column == 2 && text.starts_with("NO")).then_some(Paint::Bad)
    });
    let mut out = format!("\n{table}\n");
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more in results.json");
    }
    out
}

fn fault_cells(fault: &FaultRow) -> Vec<String> {
    let seconds = |ms: u64| ms as f64 / 1e3;
    let when = match fault.ended_ms {
        Some(ended_ms) => format!("{:.1}–{:.1} s", seconds(fault.began_ms), seconds(ended_ms)),
        None => format!("from {:.1} s", seconds(fault.began_ms)),
    };
    let evidence = one_line(&of_fault(&fault.evidence), 160);
    let effect = match (fault.took_effect, evidence.is_empty()) {
        (true, true) => "yes".to_owned(),
        (true, false) => evidence,
        (false, true) => "NO".to_owned(),
        (false, false) => format!("NO: {evidence}"),
    };
    let name =
        if fault.label.is_empty() { format!("{} {}", fault.f, fault.target) } else { fault.label.clone() };
    vec![name, when, effect, fault.overlapping_ops.to_string()]
}

fn exits(results: &Results, style: &Style) -> String {
    let mut out = String::new();
    for node in &results.nodes {
        for exit in node.exits.iter().filter(|exit| !exit.expected) {
            let at_s = exit.at_ms as f64 / 1e3;
            let line = match &exit.limit {
                Some(limit) => format!("{} was stopped at {at_s:.1} s: {limit}", node.id),
                None => format!("{} ended by itself at {at_s:.1} s: {}", node.id, how(exit)),
            };
            let _ = writeln!(out, "\n{}", style.paint(Paint::Bad, &style.wrap(&line, 2)));
            out.push_str(&log(&exit.log, style));
        }
    }
    out
}

fn how(exit: &ExitRow) -> String {
    match (exit.signal, exit.code) {
        (Some(signal), _) => match signal_name(signal) {
            Some(name) => format!("signal {signal} ({name})"),
            None => format!("signal {signal}"),
        },
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "nobody knows how".to_owned(),
    }
}

/// Names of the signals that end processes; those whose numbers every Unix shares.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

fn log(lines: &[String], style: &Style) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        out.push_str("  (it logged nothing)\n");
    }
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN_LOG_LINES)) {
        let _ =
            writeln!(out, "  | {}", one_line(&style.text(line.trim_end()), style.width.saturating_sub(4)));
    }
    out
}

fn not_understood(results: &Results, style: &Style) -> String {
    if results.not_understood.is_empty() {
        return String::new();
    }
    let mut out = section(style, "Answers that were not understood");
    for answer in results.not_understood.iter().take(SHOWN_NOT_UNDERSTOOD) {
        let line = format!("{} {} ×{}: {}", answer.node, answer.f, answer.count, answer.why);
        let _ = writeln!(out, "{}", style.wrap(&line, 2));
        let raw = if answer.raw.is_empty() { "(an empty body)" } else { &answer.raw };
        for line in raw.lines().take(SHOWN_LOG_LINES) {
            let _ = writeln!(
                out,
                "  | {}",
                one_line(&style.text(line.trim_end()), style.width.saturating_sub(4))
            );
        }
    }
    let hidden = results.not_understood.len().saturating_sub(SHOWN_NOT_UNDERSTOOD);
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more kinds in results.json");
    }
    out
}

/// Failures with their logs, bypasses, notes.
fn troubles(results: &Results, style: &Style) -> String {
    let mut out = String::new();
    for failure in results.failures.iter().filter(|failure| failure.node.is_some() || !failure.log.is_empty())
    {
        let _ = writeln!(out, "\n{}", style.paint(Paint::Bad, &style.wrap(&failure.what, 2)));
        out.push_str(&log(&failure.log, style));
    }
    if !results.notes.is_empty() || !results.bypasses.is_empty() {
        out.push('\n');
    }
    for bypass in &results.bypasses {
        let line = format!(
            "note: {} talks to {} at an address it was not given; such a connection was seen {} times, and no fault \
             on a link can touch it",
            bypass.from, bypass.to, bypass.seen
        );
        let _ = writeln!(out, "{}", style.wrap(&line, 2));
    }
    for note in &results.notes {
        let _ = writeln!(out, "{}", style.wrap(&format!("note: {note}"), 2));
    }
    out
}

fn tail(results: &Results, style: &Style) -> String {
    let mut out = String::from("\n");
    let verdict = style.paint(Paint::of(results.verdict), &word(results.verdict).to_uppercase());
    let sentence = match (results.verdict, results.exit_code) {
        (Verdict::Valid, _) => kept(results),
        (Verdict::Invalid, _) => match results.failing_checks().next().map(|check| check.mode) {
            Some(CheckMode::ExpectedToFail) => String::from("an anomaly that was expected did not show"),
            _ => String::from("promises were broken"),
        },
        (Verdict::Unknown, 4) => String::from("the run was not what it should have been"),
        (Verdict::Unknown, _) => String::from("it cannot be said whether the promises were kept"),
    };
    let sentence = match results.why.as_slice() {
        [] => sentence,
        [only] => only.clone(),
        _ => format!("{sentence}:"),
    };
    // The word is coloured after wrapping: colour codes have no width.
    let plain = format!("{} {sentence}", word(results.verdict).to_uppercase());
    let wrapped = style.wrap(&plain, 2);
    let _ = writeln!(out, "{}", wrapped.replacen(&word(results.verdict).to_uppercase(), &verdict, 1));
    if results.why.len() > 1 {
        for why in &results.why {
            let _ = writeln!(out, "{}", style.wrap(&format!("- {why}"), 2));
        }
    }
    if let Some(folder) = &results.folder {
        let _ = writeln!(out, "Everything it left is in {}", style.text(folder));
    }
    if !results.rerun.is_empty() {
        // Whole, whatever its length: it is there to be copied.
        let _ = writeln!(out, "Run it again with the same seed:\n  {}", style.text(&results.rerun));
    }
    out
}

/// The sentence of a valid run.
fn kept(results: &Results) -> String {
    let required = results.checks.iter().filter(|check| check.mode == CheckMode::Required).count();
    let checks = match required {
        0 => "nothing was required".to_owned(),
        1 => "the required check held".to_owned(),
        2 => "both required checks held".to_owned(),
        count => format!("all {count} required checks held"),
    };
    match results.faults.len() {
        0 => format!("{checks}; no fault was injected"),
        1 => format!("{checks}, and the fault took effect"),
        count => format!("{checks}, and all {count} faults took effect"),
    }
}
