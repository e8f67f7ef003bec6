//! Whose fault it was. A submission loses points for what is proved of it, and for what it did itself; never for what the
//! harness or the machine did.
//!
//! | what happened | the check counts as |
//! |---|---|
//! | the check proved a violation, the machine was calm | failed |
//! | a node could not be started, never became ready, ended by itself, was stopped by a limit | failed, all checks |
//! | no operation was ever answered; a node went past the links it was given | failed, all checks |
//! | a violation, or one of the above, on an overloaded machine | run again, alone; then nobody knows |
//! | the harness failed, was killed, or took too long | run again, alone; then nobody knows |
//! | a fault did not take effect, there was nothing to judge | run again; then nobody knows |
//!
//! What is proved about the order of values in the run itself is proved on any machine ([`TIMELESS`]): no delay makes a
//! session read an older value. That replicas agree in time is a promise an overloaded machine cannot keep for them.

use super::class::ATTEMPTS;
use super::conduct::{Attempt, End};
use super::record::{CheckMark, Found, Mark};
use super::rubric::Item;
use crate::check::{CheckMode, Verdict};
use crate::report::results::{CheckRow, ExitRow, Results, ViolationRow};
use crate::report::style::{clean, one_line};
use crate::report::verdict::{Conclusion, conclude};
use crate::report::violations;

/// Checks whose violations are proofs however slow the machine was: they hold values against each other, and no clock.
const TIMELESS: &[&str] = &[
    "linearizability",
    "sequential",
    "causal",
    "regular",
    "safe",
    "read-your-writes",
    "monotonic-reads",
    "monotonic-writes",
    "writes-follow-reads",
    "unique-ids",
];

/// The share of all CPU time from which on a machine's load is the run's own.
const OWN_LOAD: f64 = 0.7;
/// How a run says that a bypass made a fault void.
const PAST: &str = "past its link";
/// The longest sentence, characters.
const LONG: usize = 600;

/// What one attempt says.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// One a check of the item.
    pub checks: Vec<CheckMark>,
    /// What went wrong with the run as a whole.
    pub why: Vec<String>,
    /// The last lines of a node's log, where that is to blame.
    pub log: Vec<String>,
    /// Why it should be run again; `None`: it stands.
    pub again: Option<String>,
}

/// What a submission did itself.
struct Own {
    what: String,
    log: Vec<String>,
    /// It may have been somebody else after all, so that it has to happen again, alone.
    doubtful: bool,
    /// The harness stopped a node: what came of that is no violation of the system's.
    stopped: bool,
}

/// Judges attempt number `attempt` of a unit of `item`, during which `alone` nothing else was run.
pub fn judge(item: &Item, attempt: &Attempt, number: u32, alone: bool) -> Judgement {
    let overload = attempt.weather.overload.as_deref().filter(|_| !(alone && is_own_load(attempt)));
    let last = number >= ATTEMPTS;
    let Some(results) = attempt.results.as_ref().filter(|_| !matches!(attempt.end, End::TimedOut)) else {
        let what = harness_failed(item, attempt);
        let mark = |check: &str| mark(check, Mark::Undecided, &what);
        let checks = item.checks.iter().map(|points| mark(&points.check)).collect();
        let again = (!last).then(|| what.clone());
        return Judgement { checks, why: vec![what], log: Vec::new(), again };
    };
    let own = own_doing(results);
    let mut checks: Vec<CheckMark> =
        item.checks.iter().map(|points| of_check(&points.check, results, own.as_ref())).collect();
    let failed = checks.iter().any(|check| check.mark == Mark::Failed);
    let undecided = checks.iter().find(|check| check.mark == Mark::Undecided);
    let doubt = own.as_ref().filter(|own| own.doubtful && !alone).map(|own| own.what.clone());
    let again = match (overload, doubt, undecided) {
        (Some(overload), ..) if failed || undecided.is_some() => Some(overload.to_owned()),
        (_, Some(doubt), _) => Some(doubt),
        (_, _, Some(undecided)) => Some(undecided.why.clone()),
        _ => None,
    };
    if let Some(overload) = overload {
        for check in checks.iter_mut().filter(|check| check.mark == Mark::Failed) {
            let proved = !check.found.is_empty() && TIMELESS.contains(&check.check.as_str());
            if !proved {
                check.mark = Mark::Undecided;
                check.why = format!("{}; but {overload}, so that it proves nothing", check.why);
            }
        }
    }
    let mut why: Vec<String> = results.why.iter().map(|why| sentence(why)).collect();
    if let Some(own) = &own
        && !why.contains(&own.what)
    {
        why.insert(0, own.what.clone());
    }
    let log = own.map(|own| own.log).unwrap_or_default();
    Judgement { checks, why, log, again: again.filter(|_| !last) }
}

/// Whether the machine was busy with the run itself, and with little else.
fn is_own_load(attempt: &Attempt) -> bool {
    let all = attempt.weather.cpu_s.unwrap_or(0.0);
    all > 0.0 && attempt.own_cpu_s / all >= OWN_LOAD
}

fn sentence(text: &str) -> String {
    one_line(&clean(text), LONG)
}

fn harness_failed(item: &Item, attempt: &Attempt) -> String {
    let said = if attempt.said.is_empty() { String::new() } else { format!(": {}", attempt.said) };
    match attempt.end {
        End::TimedOut => {
            let limit = humantime::format_duration(item.timeout);
            format!("the run was not over within {limit}")
        }
        End::Code(code) => format!("the harness ended with code {code} and left no results{said}"),
        End::Signal(signal) => format!("the harness was ended by signal {signal}{said}"),
        End::Interrupted => "the grading was interrupted".to_owned(),
    }
}

/// What the submission did itself that leaves nothing to judge.
fn own_doing(results: &Results) -> Option<Own> {
    if let Some(failure) = results.failures.iter().find(|failure| failure.node.is_some()) {
        // Where it never came to the load, its port or its time may have been somebody's in that moment.
        let doubtful = results.load.ok + results.load.fail + results.load.info == 0;
        return Some(Own {
            what: sentence(&failure.what),
            log: tail(&failure.log),
            doubtful,
            stopped: failure.limit.is_some(),
        });
    }
    let exits = results.nodes.iter().flat_map(|node| node.exits.iter().map(move |exit| (node, exit)));
    if let Some((node, exit)) = exits.filter(|(_, exit)| !exit.expected).min_by_key(|(_, exit)| exit.at_ms) {
        let what = format!("{} ended by itself at {:.1} s: {}", node.id, exit.at_ms as f64 / 1e3, how(exit));
        // The system kills with signal 9 when memory runs out, and takes whom it likes.
        return Some(Own { what, log: tail(&exit.log), doubtful: exit.signal == Some(9), stopped: false });
    }
    // Where no fault on links was to be felt it does not matter; the run knows.
    if let Some(bypass) =
        results.bypasses.first().filter(|_| results.why.iter().any(|why| why.contains(PAST)))
    {
        let what = format!("{} reached {} past the address it was given for it", bypass.from, bypass.to);
        return Some(Own { what, log: Vec::new(), doubtful: false, stopped: false });
    }
    let load = &results.load;
    let asked = load.ok + load.fail + load.info;
    if load.ok > 0 || asked == 0 {
        return None;
    }
    let mut what = format!("none of {asked} operations was answered as the protocol has it");
    if let Some(row) = results.not_understood.first() {
        what = format!("{what}: {} answered {} with {:?} ({})", row.node, row.f, row.raw, row.why);
    } else if let Some(row) = load.not_ok.first() {
        what = format!("{what}: {} at {}", row.why, row.node);
    }
    Some(Own { what: sentence(&what), log: Vec::new(), doubtful: false, stopped: false })
}

fn how(exit: &ExitRow) -> String {
    match (exit.signal, exit.code) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("exit code {}", code.unwrap_or_default()),
    }
}

fn tail(log: &[String]) -> Vec<String> {
    log.iter().map(|line| sentence(line)).collect()
}

fn mark(check: &str, mark: Mark, why: &str) -> CheckMark {
    CheckMark { check: check.to_owned(), mark, why: why.to_owned(), found: Vec::new() }
}

/// One check by itself, as if the run had asked for no other.
fn of_check(name: &str, results: &Results, own: Option<&Own>) -> CheckMark {
    let Some(row) = results.checks.iter().find(|row| row.name == name) else {
        return match own {
            Some(own) => mark(name, Mark::Failed, &own.what),
            None => {
                let why = results.why.first().map_or("it was not judged", String::as_str);
                mark(name, Mark::Undecided, &sentence(why))
            }
        };
    };
    if let Some(own) = own.filter(|own| own.stopped) {
        return mark(name, Mark::Failed, &own.what);
    }
    match (row.mode, row.verdict) {
        (CheckMode::ExpectedToFail, Verdict::Invalid) => return mark(name, Mark::Passed, ""),
        (_, Verdict::Invalid) => {
            return CheckMark { found: found(row), ..mark(name, Mark::Failed, &violated(row)) };
        }
        _ => {}
    }
    if let Some(own) = own {
        return mark(name, Mark::Failed, &own.what);
    }
    let mode = match row.mode {
        CheckMode::Reported => CheckMode::Required,
        mode => mode,
    };
    let row = CheckRow { mode, violations: Vec::new(), ..row.clone() };
    let Conclusion { verdict, why, .. } =
        conclude(std::slice::from_ref(&row), &results.faults, &results.bypasses, &results.failures);
    match verdict {
        Verdict::Valid => mark(name, Mark::Passed, ""),
        Verdict::Invalid => mark(name, Mark::Failed, &sentence(&why.join("; "))),
        Verdict::Unknown => mark(name, Mark::Undecided, &sentence(&why.join("; "))),
    }
}

fn violated(row: &CheckRow) -> String {
    let first = row.violations.first().map(|violation| format!(": {}", violation.story)).unwrap_or_default();
    match row.violations_total {
        0 | 1 => sentence(&format!("a violation{first}")),
        total => sentence(&format!("{total} violations, the worst{first}")),
    }
}

fn found(row: &CheckRow) -> Vec<Found> {
    let (chosen, _) = violations::chosen(&row.violations);
    let of = |violation: &&ViolationRow| Found {
        kind: violation.kind.clone(),
        story: sentence(&violation.story),
        cause: sentence(&violation.cause),
        proof: violations::proof(violation).lines().map(sentence).collect(),
        faults: violation.faults.clone(),
    };
    chosen.iter().take(3).map(of).collect()
}

#[cfg(test)]
mod tests;
