//! What the plain checks made of a history: the checks, the ladder, and each violation as a picture.

use std::fmt::Write as _;

use super::evidence::of_check;
use super::style::{Paint, Style};
use crate::check::Verdict;
use crate::check::ladder::Ladder;
use crate::check::linearizability::picture;
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::calls::Calls;

/// How many violations of one check are drawn.
const SHOWN_PER_CHECK: usize = 3;
/// How many of the others are named.
const NAMED_PER_CHECK: usize = 8;
/// How far pictures are indented.
const INDENT: usize = 2;

/// One check with what it was asked and what it answered.
pub struct Asked {
    /// The check.
    pub check: &'static dyn PlainCheck,
    /// What the history was checked against.
    pub question: Question,
    /// What came of it.
    pub answer: Answer,
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

fn paint(column: usize, text: &str) -> Option<Paint> {
    let verdicts = [Verdict::Valid, Verdict::Invalid, Verdict::Unknown];
    let verdict = verdicts.into_iter().find(|verdict| word(*verdict) == text)?;
    (column > 0).then(|| Paint::of(verdict))
}

/// The checks in a table, then their violations.
pub fn checks(asked: &[Asked], calls: &Calls, style: &Style) -> String {
    let rows: Vec<Vec<String>> = asked
        .iter()
        .map(|asked| {
            let model = asked.question.model.map_or("–".into(), |model| model.name().to_owned());
            let verdict = word(asked.answer.verdict).to_owned();
            vec![asked.check.name().to_owned(), model, verdict, judged(&asked.answer)]
        })
        .collect();
    let mut out = style.table(&["check", "model", "verdict", "what it judged"], &rows, paint);
    out.push('\n');
    for asked in asked {
        out.push_str(&violations(asked.check, &asked.question, &asked.answer, calls, style));
    }
    out
}

fn judged(answer: &Answer) -> String {
    answer.reason.clone().unwrap_or_else(|| of_check(&answer.evidence))
}

/// The ladder in a table, what holds in a sentence, and the first failure drawn.
pub fn ladder(ladder: &Ladder, calls: &Calls, question: &Question, style: &Style) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for rung in &ladder.rungs {
        let why = match (rung.implied_by, &rung.answer) {
            (Some(other), _) if rung.verdict == Verdict::Invalid => {
                format!("{other} is less, and is violated")
            }
            (Some(other), _) => format!("follows from {other}"),
            (None, Some(answer)) => judged(answer),
            (None, None) => String::new(),
        };
        rows.push(vec![rung.name.to_owned(), word(rung.verdict).to_owned(), why]);
    }
    for name in &ladder.not_for_model {
        let model = question.model.map_or("such objects".into(), |model| format!("a {model}"));
        rows.push(vec![(*name).to_owned(), "–".into(), format!("not judged for {model}")]);
    }
    let mut out = String::new();
    if !rows.is_empty() {
        out.push_str(&style.table(&["level", "verdict", "why"], &rows, paint));
        out.push('\n');
    }
    let said = match ladder.strongest().as_slice() {
        [] => "No level is known to hold.".to_owned(),
        [only] => format!("The strongest level that holds: {only}."),
        several => format!("The strongest levels that hold: {}.", several.join(", ")),
    };
    let _ = writeln!(out, "{}", style.wrap(&said, 2));
    let failure = ladder.failure();
    if let Some((check, answer)) =
        failure.and_then(|(rung, answer)| Some((crate::check::plain::find(rung.name)?, answer)))
    {
        out.push_str(&violations(check, question, answer, calls, style));
    }
    out
}

/// The violations one check found, drawn.
fn violations(
    check: &dyn PlainCheck,
    question: &Question,
    answer: &Answer,
    calls: &Calls,
    style: &Style,
) -> String {
    if answer.proofs.is_empty() {
        return String::new();
    }
    let total = answer.total.max(answer.proofs.len() as u64);
    let plural = if total == 1 { "violation" } else { "violations" };
    let mut out = String::new();
    let heading = format!("{}: {total} {plural}", check.name());
    let _ = writeln!(out, "\n{}", style.paint(Paint::Strong, &heading));
    let _ = writeln!(out, "{}", style.wrap(&format!("promised: {}", check.about()), 2));
    // One of each kind: a second one is much the same story about another key.
    let mut kinds: Vec<&str> = Vec::new();
    let mut new = |proof: &&Proof| {
        let new = !kinds.contains(&proof.kind);
        kinds.push(proof.kind);
        new
    };
    let shown: Vec<&Proof> = answer.proofs.iter().filter(|proof| new(proof)).take(SHOWN_PER_CHECK).collect();
    for (at, proof) in shown.iter().enumerate() {
        let key = if proof.key.is_nil() { String::new() } else { format!(" of {}", proof.key) };
        let title = format!("#{} {}{key}", at + 1, proof.kind);
        let _ = writeln!(out, "\n{}", style.paint(Paint::of(Verdict::Invalid), &style.wrap(&title, 2)));
        let _ = writeln!(out, "{}", style.wrap(&sentence(&proof.story), 0));
        out.push_str(&drawn(calls, question, proof, style));
        let _ = writeln!(out, "{}", style.wrap(&size(proof), 2));
        let _ = writeln!(out, "{}", style.wrap(&format!("Likely cause: {}", full_stop(&proof.cause)), 2));
    }
    let hidden = total.saturating_sub(shown.len() as u64);
    if hidden > 0 {
        let told = |proof: &&Proof| shown.iter().any(|shown| std::ptr::eq(*shown, *proof));
        let others = answer.proofs.iter().filter(|proof| !told(proof) && !proof.key.is_nil());
        let mut named: Vec<String> = others.map(|proof| format!("{} of {}", proof.kind, proof.key)).collect();
        named.truncate(NAMED_PER_CHECK);
        let more = if (named.len() as u64) < hidden && !named.is_empty() { " …" } else { "" };
        let named = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
        let _ = writeln!(out, "{}", style.wrap(&format!("and {hidden} more{named}{more}"), 2));
    }
    out
}

/// Stories begin with a process (`p3`), which keeps its spelling, or with a word, and end without a full stop.
fn sentence(story: &str) -> String {
    let mut letters = story.chars();
    let (first, second) = (letters.next(), letters.next());
    let word = second.is_some_and(|second| !second.is_ascii_digit());
    let head = first.filter(|first| word && first.is_ascii_lowercase());
    match head {
        Some(head) => full_stop(&format!("{}{}", head.to_ascii_uppercase(), &story[1..])),
        None => full_stop(story),
    }
}

fn full_stop(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

fn size(proof: &Proof) -> String {
    match (proof.ops.len(), proof.minimal) {
        (1, true) => "This operation alone is proof.".to_owned(),
        (count, true) => format!("These {count} operations are proof; none of them can be spared."),
        (count, false) => format!("These {count} operations are proof; fewer may do."),
    }
}

/// A proof as a picture, with what it takes to read it; empty where there is nothing to draw.
pub fn drawn(calls: &Calls, question: &Question, proof: &Proof, style: &Style) -> String {
    let Some(picture) = picture(calls, question, proof, style.width - INDENT) else { return String::new() };
    let mut out = String::from("\n");
    let line = |letter: char| match letter {
        '├' | '┤' => '|',
        '─' => '-',
        '┄' => '.',
        '✗' => 'x',
        other => other,
    };
    for row in picture.lines() {
        let row: String = if style.ascii { row.chars().map(line).collect() } else { row.to_owned() };
        let _ = writeln!(out, "{:INDENT$}{}", "", style.text(&row));
    }
    let mut legend = Vec::new();
    if picture.contains('✗') {
        legend.push(format!(
            "= is what the object could be at that moment, whatever all other operations did; {} has no place in any order",
            if style.ascii { "x" } else { "✗" }
        ));
    }
    if picture.contains('┄') {
        legend.push(format!("{} only helps to understand", if style.ascii { ".." } else { "┄┄" }));
    }
    if !legend.is_empty() {
        let _ = writeln!(out, "\n{}", style.wrap(&format!("({})", legend.join("; ")), 1));
    }
    out
}
