//! Whose fault it was: from what a run left to what it says of each check.
//!
//! A violation that was proved counts against the submission. So does a node that never became ready, ended by itself, was
//! never asked with success, or went past the links it was given: there the run as a whole failed by the submission. Whatever
//! else kept a run from being judged is ours, or the machine's: it is run again, and if that does not help somebody
//! has to look.

use super::record::{CheckMark, Found, Mark};
use super::rubric::Item;
use crate::check::{CheckMode, Verdict};
use crate::report::results::{CheckRow, ProofRow, Results, ViolationRow};

/// Violations of a check that are kept, different kinds first.
const MOST_FOUND: usize = 3;

/// How one run ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// Its exit code, where it ended by itself.
    pub exit_code: Option<u8>,
    /// What it left, where that could be read.
    pub results: Option<Results>,
    /// What it said on standard error.
    pub stderr: String,
    /// Whether its time was over.
    pub timed_out: bool,
    /// Whether the machine had no time or memory for it.
    pub overload: bool,
}

/// What one run says.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// One a check of the item.
    pub checks: Vec<CheckMark>,
    /// What went wrong with the run as a whole.
    pub why: Vec<String>,
    /// The last log lines of the node it is about.
    pub log: Vec<String>,
    /// Whether another run may say more: something was not decided, or the machine was too busy for a failure to count.
    pub again: bool,
}

/// Judges a run. `last`: there is no other, so what would be tried again is undecided.
pub fn judge(item: &Item, ended: &Ended, last: bool) -> Judged {
    let mut judged = match &ended.results {
        Some(results) => of_results(item, results),
        None => without_results(item, ended),
    };
    let failed = judged.checks.iter().any(|check| check.mark == Mark::Failed);
    judged.again |= ended.overload && failed;
    if last && ended.overload {
        for check in judged.checks.iter_mut().filter(|check| check.mark == Mark::Failed) {
            check.mark = Mark::Undecided;
            check.why = format!("the machine was too busy for this to count: {}", check.why);
        }
    }
    judged
}

fn all(item: &Item, mark: Mark, why: &str) -> Vec<CheckMark> {
    let one = |check: &super::CheckPoints| CheckMark {
        check: check.check.clone(),
        mark,
        why: why.to_owned(),
        found: Vec::new(),
    };
    item.checks.iter().map(one).collect()
}

fn without_results(item: &Item, ended: &Ended) -> Judged {
    let said: Vec<String> =
        ended.stderr.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let first = said.first().map(|line| line.trim_start_matches("error: ").to_owned());
    // The rubric's own mistakes were found before anything was run: what is left is how this submission starts.
    let (mark, why) = match (ended.timed_out, ended.exit_code) {
        (true, _) => (Mark::Undecided, format!("the run took longer than {} s", item.timeout.as_secs_f64())),
        (false, Some(2)) => (Mark::Failed, format!("it cannot be started: {}", first.unwrap_or_default())),
        (false, code) => {
            let code = code.map_or("by a signal".to_owned(), |code| format!("with exit code {code}"));
            (Mark::Undecided, format!("the run ended {code} and left no results"))
        }
    };
    let log = said[said.len().saturating_sub(12)..].to_vec();
    Judged { checks: all(item, mark, &why), why: vec![why], log, again: mark == Mark::Undecided }
}

fn of_results(item: &Item, results: &Results) -> Judged {
    let fault = own_fault(results);
    let mut again = false;
    let mut checks = Vec::new();
    for wanted in &item.checks {
        let Some(row) = results.checks.iter().find(|row| row.name == wanted.check) else {
            let why = fault.clone().unwrap_or_else(|| "the run did not come to its checks".to_owned());
            let mark = if fault.is_some() { Mark::Failed } else { Mark::Undecided };
            again |= fault.is_none();
            checks.push(CheckMark { check: wanted.check.clone(), mark, why, found: Vec::new() });
            continue;
        };
        let (mark, why) = of_check(row, results, fault.as_deref());
        again |= mark == Mark::Undecided;
        let found = if mark == Mark::Failed { found(row) } else { Vec::new() };
        checks.push(CheckMark { check: wanted.check.clone(), mark, why, found });
    }
    let log = results.failures.iter().find(|failure| !failure.log.is_empty());
    let exits =
        results.nodes.iter().flat_map(|node| &node.exits).find(|exit| !exit.expected && !exit.log.is_empty());
    let log = log.map(|failure| failure.log.clone()).or(exits.map(|exit| exit.log.clone()));
    Judged { checks, why: results.why.clone(), log: log.unwrap_or_default(), again }
}

/// What the submission itself did that left nothing to judge, in a sentence.
fn own_fault(results: &Results) -> Option<String> {
    if let Some(failure) = results.failures.iter().find(|failure| failure.node.is_some()) {
        return Some(failure.what.clone());
    }
    for node in &results.nodes {
        if let Some(exit) = node.exits.iter().find(|exit| !exit.expected) {
            let how = match (exit.code, exit.signal) {
                (Some(code), _) => format!("with exit code {code}"),
                (None, Some(signal)) => format!("by signal {signal}"),
                (None, None) => "by itself".to_owned(),
            };
            return Some(format!("node {} ended {how} at {:.1} s", node.id, exit.at_ms as f64 / 1e3));
        }
    }
    let past = results.why.iter().any(|why| why.contains("past its link"));
    if let Some(bypass) = results.bypasses.first().filter(|_| past) {
        return Some(format!("{} reached {} past the address it was given for it", bypass.from, bypass.to));
    }
    let asked = results.load.ok + results.load.fail + results.load.info;
    (results.failures.is_empty() && asked > 0 && results.load.ok == 0).then(|| {
        match results.load.not_ok.first() {
            Some(reason) => format!("no operation succeeded: {} at {}", reason.why, reason.node),
            None => "no operation succeeded".to_owned(),
        }
    })
}

fn of_check(row: &CheckRow, results: &Results, fault: Option<&str>) -> (Mark, String) {
    let broken = results.exit_code == crate::report::verdict::EXIT_BROKEN;
    let holds = match (row.mode, row.verdict) {
        (CheckMode::ExpectedToFail, Verdict::Invalid) => return (Mark::Passed, String::new()),
        (CheckMode::ExpectedToFail, Verdict::Valid) if !broken => {
            return (Mark::Failed, "it was to show an anomaly and showed none".to_owned());
        }
        (_, Verdict::Invalid) => {
            let times = if row.violations_total > 1 {
                format!(" {} times", row.violations_total)
            } else {
                String::new()
            };
            return (Mark::Failed, format!("violated{times}"));
        }
        (_, verdict) => verdict == Verdict::Valid,
    };
    if let Some(fault) = fault {
        return (Mark::Failed, fault.to_owned());
    }
    if broken {
        let why = results.why.first().map_or("the run could not be carried out", String::as_str);
        return (Mark::Undecided, why.to_owned());
    }
    if holds {
        return (Mark::Passed, String::new());
    }
    (Mark::Undecided, row.reason.clone().unwrap_or_else(|| "it could not be decided".to_owned()))
}

fn found(row: &CheckRow) -> Vec<Found> {
    let mut chosen: Vec<&ViolationRow> = Vec::new();
    for violation in &row.violations {
        if !chosen.iter().any(|other| other.kind == violation.kind) {
            chosen.push(violation);
        }
    }
    let more = row.violations.iter().filter(|one| !chosen.iter().any(|other| std::ptr::eq(*one, *other)));
    let more: Vec<&ViolationRow> = more.collect();
    chosen.extend(more);
    chosen.truncate(MOST_FOUND);
    let found = |violation: &ViolationRow| Found {
        kind: violation.kind.clone(),
        story: violation.story.clone(),
        cause: violation.cause.clone(),
        proof: violation.proof.iter().map(proof_line).collect(),
        faults: violation.faults.clone(),
    };
    chosen.into_iter().map(found).collect()
}

fn proof_line(op: &ProofRow) -> String {
    let who = op.process.map_or_else(|| "node".to_owned(), |process| format!("p{process}"));
    let at = op.node.as_deref().unwrap_or("-");
    let key = op.key.as_deref().map(|key| format!("{key}=")).unwrap_or_default();
    let version = op.version.as_ref().map(|version| format!("  {version}")).unwrap_or_default();
    let end = op.returned_ms.map_or_else(|| "…".to_owned(), |end| format!("{:.3}", end / 1e3));
    format!(
        "{who} {at}  {} {key}{}  {}  {:.3}–{end} s{version}",
        op.f,
        op.value,
        op.outcome,
        op.invoked_ms / 1e3
    )
}
