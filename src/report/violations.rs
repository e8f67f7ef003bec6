//! The violations of one run as tables: for each what happened, where, under which fault, the operations that prove
//! it, who disagrees now, and the likely cause.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::evidence::scalar;
use super::results::{CheckRow, HeldRow, ProofRow, Results, ViolationRow};
use super::style::{Paint, Style, one_line};
use crate::check::{CheckMode, Verdict};
use crate::history::Version;

/// How many violations of one check are written out; the others are named, and `results.json` has them.
pub const SHOWN_PER_CHECK: usize = 3;
/// How many of the others are named.
const NAMED_PER_CHECK: usize = 8;
/// How many faults of one violation are shown.
const SHOWN_FAULTS: usize = 3;
/// Longest value shown, in characters.
const VALUE_WIDTH: usize = 40;
/// Longest key shown, in characters.
const KEY_WIDTH: usize = 24;

/// All violations, a section a check; empty when there are none.
pub fn section(results: &Results, style: &Style) -> String {
    let mut out = String::new();
    for check in results.checks.iter().filter(|check| !check.violations.is_empty()) {
        let _ = writeln!(out, "\n{}", style.paint(Paint::Strong, &style.text(&heading(check))));
        if !check.promise.is_empty() {
            let _ = writeln!(out, "{}", style.wrap(&format!("promised: {}", check.promise), 2));
        }
        let (shown, others) = chosen(&check.violations);
        for (at, violation) in shown.iter().enumerate() {
            let _ = writeln!(out, "{}", one(at + 1, violation, style));
        }
        let rest = check.violations_total.saturating_sub(shown.len() as u64);
        if rest > 0 {
            let _ = writeln!(out, "{}", style.wrap(&the_rest(&others, rest), 2));
        }
    }
    out
}

/// Those that are written out, and the others. The worst of each kind is, as far as there is room: a second one of the kind
/// is much the same story about another key. And so is one of another kind that rests on the very same operations.
pub(crate) fn chosen(violations: &[ViolationRow]) -> (Vec<&ViolationRow>, Vec<&ViolationRow>) {
    let (mut shown, mut others): (Vec<&ViolationRow>, Vec<&ViolationRow>) = (Vec::new(), Vec::new());
    for violation in violations {
        let same = |told: &&ViolationRow| {
            told.kind == violation.kind || !told.ops.is_empty() && told.ops == violation.ops
        };
        let room = shown.len() < SHOWN_PER_CHECK && !shown.iter().any(same);
        if room { shown.push(violation) } else { others.push(violation) }
    }
    (shown, others)
}

/// `and 41 more: diverged of k1, k2, k7 …; results.json has 38 of them`
fn the_rest(others: &[&ViolationRow], rest: u64) -> String {
    let mut kinds: Vec<(&str, Vec<String>)> = Vec::new();
    for violation in others.iter().take(NAMED_PER_CHECK) {
        let key = violation.key.as_deref().map(|key| one_line(key, KEY_WIDTH));
        match kinds.iter_mut().find(|(kind, _)| *kind == violation.kind) {
            Some((_, keys)) => keys.extend(key.filter(|key| !keys.contains(key))),
            None => kinds.push((&violation.kind, key.into_iter().collect())),
        }
    }
    let named = kinds.iter().map(|(kind, keys)| match keys.as_slice() {
        [] => (*kind).to_owned(),
        keys => format!("{kind} of {}", keys.join(", ")),
    });
    let mut named = named.collect::<Vec<_>>().join("; ");
    if !named.is_empty() {
        let all = rest == others.len().min(NAMED_PER_CHECK) as u64;
        named = format!(": {named}{}", if all { "" } else { " …" });
    }
    // results.json is limited too: promise no more than it holds.
    let there = match others.len() as u64 {
        0 => String::new(),
        there if there == rest => "; results.json has them".to_owned(),
        there => format!("; results.json has {there} of them"),
    };
    format!("and {rest} more{named}{there}")
}

fn heading(check: &CheckRow) -> String {
    let note = match check.mode {
        CheckMode::Required => "",
        CheckMode::Reported => ", reported only",
        CheckMode::ExpectedToFail => ", expected",
    };
    let plural = if check.violations_total == 1 { "violation" } else { "violations" };
    format!("{}: {} {plural}{note}", check.name, check.violations_total)
}

fn one(number: usize, violation: &ViolationRow, style: &Style) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |label: &str, text: String| {
        if !text.is_empty() {
            rows.push(vec![label.to_owned(), text]);
        }
    };
    row("what", sentence(&violation.story));
    row("node", violation.nodes.join(", "));
    row("under", under(&violation.faults));
    row("proof", proof(violation));
    row("", violation.diagram.clone().unwrap_or_default());
    row("now", now(&violation.now));
    row("cause", violation.cause.clone());
    let title = title(violation);
    style.table(&[&format!("#{number}"), &title], &rows, |column, text| match (column, text) {
        (0, _) => Some(Paint::Faint),
        (1, text) if text == title => Some(Paint::of(Verdict::Invalid)),
        _ => None,
    })
}

/// The same without a frame, for files that bring their own: what, under which faults, proof, who holds what now, cause.
pub(super) fn unframed(violation: &ViolationRow) -> String {
    let parts = [
        format!("{}: {}", title(violation), sentence(&violation.story)),
        if violation.faults.is_empty() {
            String::new()
        } else {
            format!("under: {}", violation.faults.join("; "))
        },
        if violation.ops.is_empty() { String::new() } else { format!("proof:\n{}", proof(violation)) },
        violation.diagram.clone().unwrap_or_default(),
        if violation.now.is_empty() { String::new() } else { format!("now:\n{}", now(&violation.now)) },
        if violation.cause.is_empty() { String::new() } else { format!("likely cause: {}", violation.cause) },
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// `diverged: k3`
pub(super) fn title(violation: &ViolationRow) -> String {
    match &violation.key {
        Some(key) => format!("{}: {}", violation.kind, one_line(key, KEY_WIDTH)),
        None => violation.kind.clone(),
    }
}

/// Stories begin with what was done, and often with who did it. A node's name keeps its spelling.
pub(super) fn sentence(story: &str) -> String {
    match story.strip_prefix("process ") {
        Some(rest) => format!("Process {rest}"),
        None => story.to_owned(),
    }
}

fn under(faults: &[String]) -> String {
    let mut lines: Vec<String> = faults.iter().take(SHOWN_FAULTS).cloned().collect();
    let hidden = faults.len() - lines.len();
    if hidden > 0 {
        lines.push(format!("and {hidden} more"));
    }
    lines.join("\n")
}

/// One line an operation, its parts below one another: `p3 B  write k1=17  ok  1.874–1.875 s  ts 9 of B`.
pub(crate) fn proof(violation: &ViolationRow) -> String {
    let lines: Vec<[String; 5]> = violation.proof.iter().map(parts).collect();
    let mut widths = [0; 5];
    for line in &lines {
        for (width, part) in widths.iter_mut().zip(line) {
            *width = part.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(part, width)| format!("{part:width$}"));
        let _ = writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    let missing = violation.ops.len().saturating_sub(lines.len());
    if missing > 0 {
        let plural = if missing == 1 { "operation" } else { "operations" };
        let _ = writeln!(out, "({missing} {plural} of it not found in the history)");
    }
    out.trim_end().to_owned()
}

fn parts(op: &ProofRow) -> [String; 5] {
    let node = op.node.as_deref().unwrap_or("?");
    let who = op.process.map_or_else(|| node.to_owned(), |process| format!("p{process} {node}"));
    let key = op.key.as_deref().map(|key| one_line(key, KEY_WIDTH)).unwrap_or_default();
    // A read that was not answered saw no value: `= nothing` would be a claim.
    let saw = op.f == "write" || op.outcome == "ok";
    let value = if saw { format!("={}", value(&op.value)) } else { String::new() };
    let what = format!("{} {key}{value}", op.f);
    let tail = match (&op.version, &op.error) {
        (Some(json), _) => version(json),
        (None, Some(error)) => one_line(error, VALUE_WIDTH),
        (None, None) => String::new(),
    };
    [who, what, op.outcome.clone(), times(op.invoked_ms, op.returned_ms), tail]
}

/// `1.874–1.875 s`, or `from 1.874 s` of an operation that never returned.
pub(super) fn times(invoked_ms: f64, returned_ms: Option<f64>) -> String {
    let seconds = |ms: f64| ms / 1e3;
    match returned_ms {
        Some(returned_ms) if returned_ms == invoked_ms => format!("{:.3} s", seconds(invoked_ms)),
        Some(returned_ms) => format!("{:.3}–{:.3} s", seconds(invoked_ms), seconds(returned_ms)),
        None => format!("from {:.3} s", seconds(invoked_ms)),
    }
}

/// A value as people write it: `17`, `"x"`, `nothing`.
pub(super) fn value(json: &Json) -> String {
    let text = match json {
        Json::Null => "nothing".to_owned(),
        Json::String(text) => format!("\"{text}\""),
        other => scalar(other),
    };
    one_line(&text, VALUE_WIDTH)
}

pub(super) fn version(json: &Json) -> String {
    Version::from_json(json)
        .map_or_else(|| one_line(&json.to_string(), VALUE_WIDTH), |found| found.to_string())
}

/// Who holds what: `A, C: 118 (ts 41 of A)` a line, the largest group first, then in the order of the nodes.
pub(super) fn now(held: &[HeldRow]) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for row in held {
        let what = match (row.answered, &row.version) {
            (false, _) => "no answer".to_owned(),
            (true, Some(json)) => format!("{} ({})", value(&row.value), version(json)),
            (true, None) => value(&row.value),
        };
        match groups.iter_mut().find(|(known, _)| *known == what) {
            Some((_, nodes)) => nodes.push(&row.node),
            None => groups.push((what, vec![&row.node])),
        }
    }
    if let [(what, nodes)] = groups.as_slice() {
        let all = if nodes.len() == 1 { nodes[0].to_owned() } else { "all nodes".to_owned() };
        return format!("{all}: {what}");
    }
    groups.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
    let line = |(what, nodes): &(String, Vec<&str>)| format!("{}: {what}", nodes.join(", "));
    groups.iter().map(line).collect::<Vec<_>>().join("\n")
}
