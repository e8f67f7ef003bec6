//! What GitHub Actions shows of a run: annotations, and the summary of a job's step.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::results::{CheckRow, Results};
use super::style::{clean, one_line};
use super::verdict::{EXIT_VALID, conclude};
use super::{markdown, violations};
use crate::check::{CheckMode, Verdict};

/// A step's summary may have 1 MiB; of a larger one GitHub shows nothing at all.
const SUMMARY_LIMIT: u64 = 1 << 20;
/// What is kept for the sentence that says that something was left out, bytes.
const RESERVED: u64 = 512;
/// Longest message of an annotation, in characters; GitHub cuts at 4 KiB.
const MESSAGE_WIDTH: usize = 1000;

/// `::error …` lines: at most one a check that failed or could not be judged, and one for the run itself.
pub fn annotations(results: &Results) -> String {
    let mut out = String::new();
    let mut error = |title: &str, message: &str| {
        // A path outside the checkout would be shown nowhere.
        let relative = !results.file.is_empty() && Path::new(&results.file).is_relative();
        let file = if relative { format!("file={},", property(&results.file)) } else { String::new() };
        let title = format!("{}: {title} (seed {})", results.workload, results.seed);
        let message = data(&one_line(&clean(message), MESSAGE_WIDTH));
        out.push_str(&format!("::error {file}title={}::{message}\n", property(&clean(&title))));
    };
    if results.exit_code == EXIT_VALID {
        return out;
    }
    let why = conclude(&[], &results.faults, &results.bypasses, &results.failures).why;
    if !why.is_empty() {
        error("the run could not be judged", &why.join("; "));
    }
    for check in &results.checks {
        if let Some(message) = message(check) {
            error(&check.name, &message);
        }
    }
    out
}

/// What a check says to a reader of a pull request; `None` where it is as it should be.
fn message(check: &CheckRow) -> Option<String> {
    match (check.mode, check.verdict) {
        (CheckMode::Reported, _)
        | (CheckMode::Required, Verdict::Valid)
        | (CheckMode::ExpectedToFail, Verdict::Invalid) => None,
        (_, Verdict::Unknown) => {
            Some(format!("could not be decided: {}", check.reason.as_deref().unwrap_or("no reason given")))
        }
        (CheckMode::ExpectedToFail, Verdict::Valid) => {
            Some("was expected to fail, but no anomaly showed".to_owned())
        }
        (CheckMode::Required, Verdict::Invalid) => Some(match check.violations.first() {
            None => "is violated".to_owned(),
            Some(worst) => {
                let more = check.violations_total.saturating_sub(1);
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                format!("{}: {}{more}", violations::title(worst), violations::sentence(&worst.story))
            }
        }),
    }
}

/// Appends the run to a step's summary, as many sections of it as there is room for.
///
/// # Errors
/// When the file cannot be written to.
pub fn append_summary(results: &Results, path: &Path) -> io::Result<()> {
    let taken = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let text = fitting(&markdown::sections(results), SUMMARY_LIMIT.saturating_sub(taken));
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// The first sections, up to `limit` bytes of them, and a word where others are left out.
fn fitting(sections: &[String], limit: u64) -> String {
    let whole: u64 = sections.iter().map(|section| section.len() as u64 + 1).sum();
    if whole < limit {
        return format!("{}\n", sections.join("\n"));
    }
    let mut out = String::new();
    for section in sections {
        if (out.len() + section.len() + 1) as u64 + RESERVED > limit {
            break;
        }
        out.push_str(section);
        out.push('\n');
    }
    // Earlier runs of the step may have taken all there is.
    if RESERVED < limit {
        out.push_str("\n_The rest did not fit here; the artifacts of the run have it._\n");
    }
    out
}

/// As the runner reads a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the runner reads the value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_would_take_for_its_own_is_escaped() {
        assert_eq!(data("100%\r\n::error::x"), "100%25%0D%0A::error::x");
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }

    #[test]
    fn a_summary_is_cut_behind_a_section() {
        let sections = ["a".repeat(600), "b".repeat(600), "c".repeat(600)];
        assert_eq!(fitting(&sections, 1900).len(), 1803);
        let cut = fitting(&sections, 1800);
        assert!(cut.starts_with("aaa") && cut.contains("bbb") && !cut.contains("ccc"), "{cut}");
        assert!(cut.ends_with("of the run have it._\n") && cut.len() < 1800, "{cut}");
        assert!(fitting(&sections, 100).is_empty(), "no room at all");
    }
}
