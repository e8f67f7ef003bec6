//! `junit.xml`: a run as continuous integration reads it.
//!
//! There is no one standard. What is written satisfies both schemas that are in use, Jenkins's `jenkins-junit.xsd` and
//! Ant's (windyroad's) `JUnit.xsd`: their common part is a suite with properties, cases with at most one outcome each, and
//! `system-out` and `system-err` at the end of the suite.
//!
//! A file is a suite, a suite is a run. A case is a check and a [stretch](super::stretch) of the run, for checks whose
//! violations happen at a moment; of the others, which judge the run as a whole, it is a check. One more case, `run`,
//! fails where the run could not be carried out as asked.

use std::fmt::Write as _;

use super::results::{CheckRow, Results, ViolationRow};
use super::stretch::{self, Stretch};
use super::verdict::{EXIT_BROKEN, conclude};
use super::violations;
use crate::check::{CheckMode, Verdict};

/// Checks that judge the run as a whole: what the replicas hold in the end, or measurements.
const OF_THE_WHOLE: [&str; 4] = ["convergence", "durability", "staleness", "availability"];
/// How many violations of one case are written out; the message says how many there were.
const SHOWN_PER_CASE: usize = 20;

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// A violation: its kind, a sentence, all of it.
    Failed(String, String, String),
    /// It could not be judged: why.
    Error(String),
    /// It says nothing: why.
    Skipped(String),
}

struct Case {
    name: String,
    outcome: Outcome,
}

/// The whole file.
pub fn render(results: &Results) -> String {
    let mut cases = vec![Case { name: "run".to_owned(), outcome: of_the_run(results) }];
    for check in &results.checks {
        cases.extend(of_check(results, check));
    }
    let count = |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
    let seconds = results.duration_ms as f64 / 1e3;
    let suite = suite_name(results);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        out,
        "  <testsuite name=\"{}\" package=\"harness\" id=\"0\" timestamp=\"{}\" hostname=\"localhost\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">",
        attribute(&suite),
        attribute(timestamp(&results.started)),
        cases.len(),
        count(|outcome| matches!(outcome, Outcome::Failed(..))),
        count(|outcome| matches!(outcome, Outcome::Error(_))),
        count(|outcome| matches!(outcome, Outcome::Skipped(_))),
    );
    properties(results, &mut out);
    for (at, case) in cases.iter().enumerate() {
        // The run took the time, not any one check.
        let time = if at == 0 { seconds } else { 0.0 };
        let (name, class) = (attribute(&case.name), attribute(&suite));
        let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time:.3}\"");
        out.push_str(&match &case.outcome {
            Outcome::Passed => "/>\n".to_owned(),
            Outcome::Failed(kind, message, body) => told("failure", kind, message, body),
            Outcome::Error(why) => told("error", "inconclusive", first_line(why), why),
            Outcome::Skipped(why) => {
                format!(">\n      <skipped message=\"{}\"/>\n    </testcase>\n", attribute(why))
            }
        });
    }
    let _ = writeln!(out, "    <system-out>{}</system-out>", text(&remarks(results)));
    out.push_str("    <system-err/>\n  </testsuite>\n</testsuites>\n");
    out
}

/// Ant's schema has no room for a time zone; the time is UTC. Of a history alone nobody knows when it was, and the schemas
/// ask for a time all the same.
fn timestamp(started: &str) -> &str {
    let plain = started.trim_end_matches('Z');
    let like = |letter: char| if letter.is_ascii_digit() { '0' } else { letter };
    if plain.chars().map(like).eq("0000-00-00T00:00:00".chars()) { plain } else { "1970-01-01T00:00:00" }
}

/// `outage.W=2,R=3.seed42`: nothing else tells runs of one workload apart where their files are read together. Points are
/// where readers of JUnit files fold names.
fn suite_name(results: &Results) -> String {
    let cell: Vec<String> = results.cell.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cell = if cell.is_empty() { String::new() } else { format!(".{}", cell.join(",")) };
    format!("{}{cell}.seed{}", results.workload, results.seed)
}

/// Most readers show the message, some only the body: it is in both.
fn told(tag: &str, kind: &str, message: &str, body: &str) -> String {
    let body = if body.starts_with(message) { body.to_owned() } else { format!("{message}\n{body}") };
    format!(
        ">\n      <{tag} type=\"{}\" message=\"{}\">{}</{tag}>\n    </testcase>\n",
        attribute(kind),
        attribute(message),
        text(&body)
    )
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn properties(results: &Results, out: &mut String) {
    out.push_str("    <properties>\n");
    let mut property = |name: &str, value: &str| {
        let _ =
            writeln!(out, "      <property name=\"{}\" value=\"{}\"/>", attribute(name), attribute(value));
    };
    property("workload", &results.workload);
    property("file", &results.file);
    property("seed", &results.seed.to_string());
    property("verdict", super::table::word(results.verdict));
    property("exit_code", &results.exit_code.to_string());
    property("rerun", &results.rerun);
    property("harness", &results.versions.harness);
    for (name, value) in &results.cell {
        property(&format!("matrix.{name}"), value);
    }
    out.push_str("    </properties>\n");
}

/// Whether it could be carried out: what weighs on the verdict beside the checks.
fn of_the_run(results: &Results) -> Outcome {
    let why = conclude(&[], &results.faults, &results.bypasses, &results.failures).why;
    if why.is_empty() {
        return Outcome::Passed;
    }
    let mut body = why.join("\n");
    for failure in results.failures.iter().filter(|failure| !failure.log.is_empty()) {
        let node = failure.node.as_deref().unwrap_or("?");
        let _ = write!(body, "\n\nlast log lines of {node}:\n{}", failure.log.join("\n"));
    }
    Outcome::Error(body)
}

fn of_check(results: &Results, check: &CheckRow) -> Vec<Case> {
    let whole = |outcome| vec![Case { name: check.name.clone(), outcome }];
    match (check.mode, check.verdict) {
        (_, Verdict::Unknown) => {
            let reason = check.reason.as_deref().unwrap_or("it gave no reason");
            let why = format!("{} could not be decided: {reason}", check.name);
            // A measurement that is missing is no reason for a red build.
            let reported = check.mode == CheckMode::Reported;
            whole(if reported { Outcome::Skipped(why) } else { Outcome::Error(why) })
        }
        (CheckMode::Required, _) => {
            let found: Option<Vec<Stretch>> =
                check.violations.iter().map(|violation| stretch::of(results, violation)).collect();
            let stretches = stretch::all(results);
            match found {
                Some(found) if !stretches.is_empty() && !OF_THE_WHOLE.contains(&&*check.name) => {
                    let case = |stretch: &Stretch| Case {
                        name: format!("{} / {}", check.name, stretch.name()),
                        outcome: of_stretch(results, check, stretch, &found),
                    };
                    stretches.iter().map(case).collect()
                }
                _ if check.verdict == Verdict::Invalid => {
                    whole(failed(check, &check.violations.iter().collect::<Vec<_>>(), check.violations_total))
                }
                _ => whole(passed(results)),
            }
        }
        (CheckMode::ExpectedToFail, Verdict::Valid) if results.exit_code == EXIT_BROKEN => {
            whole(passed(results))
        }
        (CheckMode::ExpectedToFail, Verdict::Valid) => {
            let message = format!("{} was expected to fail, but no anomaly showed", check.name);
            whole(Outcome::Failed("no-anomaly".to_owned(), message.clone(), message))
        }
        (CheckMode::Reported | CheckMode::ExpectedToFail, _) => whole(Outcome::Passed),
    }
}

/// Where a fault did not take effect nothing found means nothing.
fn passed(results: &Results) -> Outcome {
    match results.exit_code {
        EXIT_BROKEN => Outcome::Skipped("the run could not be judged, see the case \"run\"".to_owned()),
        _ => Outcome::Passed,
    }
}

fn of_stretch(results: &Results, check: &CheckRow, stretch: &Stretch, found: &[Stretch]) -> Outcome {
    let here: Vec<&ViolationRow> =
        check.violations.iter().zip(found).filter(|(_, at)| *at == stretch).map(|(row, _)| row).collect();
    let listed = check.violations.len() as u64;
    if !here.is_empty() {
        return failed(check, &here, here.len() as u64);
    }
    if check.violations_total > listed {
        // Which of them were here is not known, and a pass would claim that none was.
        return Outcome::Skipped(format!(
            "of {} violations of {} only {listed} are listed, none of them here",
            check.violations_total, check.name
        ));
    }
    passed(results)
}

fn failed(check: &CheckRow, here: &[&ViolationRow], total: u64) -> Outcome {
    let Some(worst) = here.first() else {
        let message = format!("{} is violated", check.name);
        return Outcome::Failed("violation".to_owned(), message.clone(), message);
    };
    let more = if total > 1 { format!(" (and {} more)", total - 1) } else { String::new() };
    let message = format!("{}: {}{more}", violations::title(worst), violations::sentence(&worst.story));
    let mut body =
        if check.promise.is_empty() { String::new() } else { format!("promised: {}\n", check.promise) };
    for violation in here.iter().take(SHOWN_PER_CASE) {
        let _ = write!(body, "\n{}\n", violations::unframed(violation));
    }
    let hidden = total.saturating_sub(here.len().min(SHOWN_PER_CASE) as u64);
    if hidden > 0 {
        let _ = write!(body, "\n{hidden} more are not written out here; results.json lists up to 50.\n");
    }
    Outcome::Failed(worst.kind.clone(), message, body)
}

/// What is worth knowing and no case's outcome.
fn remarks(results: &Results) -> String {
    let mut lines: Vec<String> = results.why.clone();
    for check in results.checks.iter().filter(|check| check.verdict == Verdict::Invalid) {
        match check.mode {
            CheckMode::Required => {}
            CheckMode::Reported => lines.push(format!("{} is violated (reported only)", check.name)),
            CheckMode::ExpectedToFail => lines.push(format!("{} is violated, as expected", check.name)),
        }
    }
    lines.extend(results.notes.iter().cloned());
    lines.push(format!("rerun: {}", results.rerun));
    lines.join("\n")
}

/// What XML 1.0 cannot hold, not even escaped (section 2.2 of the recommendation): most control characters, which
/// nodes do print.
fn is_xml(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// `text` as the content of an element.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            letter if is_xml(letter) => out.push(letter),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

/// `value` as the content of an attribute, in which white space has to be written so that it stays what it was.
pub fn attribute(value: &str) -> String {
    text(value).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}
