//! From the checks' verdicts to the run's: the one place where the exit code is decided.
//!
//! The first line that applies decides:
//!
//! | | verdict | exit code |
//! |---|---|---|
//! | a node was stopped because of a limit of `[cluster.limits]` | unknown | 4 |
//! | a required check proved a violation | invalid | 1 |
//! | a fault did not take effect, a link was bypassed, or something else of the harness failed | unknown | 4 |
//! | a fault on the leader, or on its followers, found none | unknown | 3 |
//! | a check that was expected to fail came out valid | invalid | 1 |
//! | a required check, or one that was expected to fail, is unknown | unknown | 3 |
//! | otherwise | valid | 0 |
//!
//! A proof stands whatever else went wrong, but not where the harness stopped a node for what it took: that is no fault of the
//! workload's, which a system must survive, and what came of it cannot be told from what the system did by itself. An anomaly
//! that did *not* show proves something only when the faults that should have brought it about were really there, hence the
//! order of the third, the fourth and the fifth line.
//!
//! Who asks for the leader to be killed where nobody leads has learnt nothing about what happens then; but it was the
//! system that had no leader, and not the harness that failed to kill it. Of the faults that `[chaos]` draws nobody counts on
//! this one or that: some may find nobody, as long as others took effect.

use super::results::{BypassRow, CheckRow, Failure, FaultRow};
use crate::check::{CheckMode, Verdict};

/// Exit code: all required checks valid.
pub const EXIT_VALID: u8 = 0;
/// Exit code: a violation.
pub const EXIT_INVALID: u8 = 1;
/// Exit code: inconclusive, a required check is unknown.
pub const EXIT_UNKNOWN: u8 = 3;
/// Exit code: the system under test or the harness could not be run.
pub const EXIT_BROKEN: u8 = 4;

/// Faults on processes; every other fault is one on links, and is void where traffic goes past them.
const PROCESS_FAULTS: [&str; 7] = ["kill", "stop", "restart", "pause", "slow", "clock", "disk"];

/// What a run concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The verdict.
    pub verdict: Verdict,
    /// The exit code.
    pub exit_code: u8,
    /// Why, what weighs most first; empty when valid.
    pub why: Vec<String>,
}

/// Concludes a run.
pub fn conclude(
    checks: &[CheckRow],
    faults: &[FaultRow],
    bypasses: &[BypassRow],
    failures: &[Failure],
) -> Conclusion {
    let violated: Vec<String> = of(checks, CheckMode::Required, Verdict::Invalid).map(violation).collect();
    let broken = breakages(faults, bypasses, failures);
    let aimless = aimless(faults);
    let absent: Vec<String> = of(checks, CheckMode::ExpectedToFail, Verdict::Valid).map(no_show).collect();
    let open: Vec<String> = checks
        .iter()
        .filter(|check| check.mode != CheckMode::Reported && check.verdict == Verdict::Unknown)
        .map(unknown)
        .collect();

    let stopped = failures.iter().any(|failure| failure.limit.is_some());
    let (verdict, exit_code) = if stopped {
        (Verdict::Unknown, EXIT_BROKEN)
    } else if !violated.is_empty() {
        (Verdict::Invalid, EXIT_INVALID)
    } else if !broken.is_empty() {
        (Verdict::Unknown, EXIT_BROKEN)
    } else if !aimless.is_empty() {
        (Verdict::Unknown, EXIT_UNKNOWN)
    } else if !absent.is_empty() {
        (Verdict::Invalid, EXIT_INVALID)
    } else if !open.is_empty() {
        (Verdict::Unknown, EXIT_UNKNOWN)
    } else {
        (Verdict::Valid, EXIT_VALID)
    };
    let why = match stopped {
        true => [broken, violated, aimless, absent, open].concat(),
        false => [violated, broken, aimless, absent, open].concat(),
    };
    Conclusion { verdict, exit_code, why }
}

fn of(checks: &[CheckRow], mode: CheckMode, verdict: Verdict) -> impl Iterator<Item = &CheckRow> {
    checks.iter().filter(move |check| check.mode == mode && check.verdict == verdict)
}

fn violation(check: &CheckRow) -> String {
    match check.violations_total {
        0 | 1 => format!("{} is violated", check.name),
        total => format!("{} is violated {total} times", check.name),
    }
}

fn no_show(check: &CheckRow) -> String {
    format!("{} was expected to fail, but no anomaly showed", check.name)
}

fn unknown(check: &CheckRow) -> String {
    let reason = check.reason.as_deref().unwrap_or("it gave no reason");
    format!("{} could not be decided: {reason}", check.name)
}

/// Whether bytes on the links matter to this fault.
pub(super) fn is_link_fault(fault: &FaultRow) -> bool {
    !PROCESS_FAULTS.contains(&fault.f.as_str())
}

fn is_aimless(fault: &FaultRow) -> bool {
    !fault.took_effect && fault.evidence["aimless"] == true
}

/// The faults that found nobody to be aimed at and that somebody counted on.
fn aimless(faults: &[FaultRow]) -> Vec<String> {
    let none_took = faults.iter().all(|fault| !fault.took_effect);
    let counted_on = |fault: &&FaultRow| none_took || fault.evidence["drawn"] != true;
    faults.iter().filter(|fault| is_aimless(fault)).filter(counted_on).map(without_effect).collect()
}

fn without_effect(fault: &FaultRow) -> String {
    let at_s = fault.began_ms as f64 / 1e3;
    let why = fault.evidence["why_not"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    format!("the fault \"{}\" at {at_s:.1} s did not take effect{why}", fault.label)
}

/// A bypass matters only where a fault on links was to be felt: without one, links are there to carry bytes.
fn breakages(faults: &[FaultRow], bypasses: &[BypassRow], failures: &[Failure]) -> Vec<String> {
    let mut broken: Vec<String> = failures.iter().map(|failure| failure.what.clone()).collect();
    broken.extend(faults.iter().filter(|fault| !fault.took_effect && !is_aimless(fault)).map(without_effect));
    if let Some(fault) = faults.iter().find(|fault| is_link_fault(fault)) {
        broken.extend(bypasses.iter().map(|bypass| {
            format!(
                "{} reached {} past its link (seen {} times), so \"{}\" did not hold",
                bypass.from, bypass.to, bypass.seen, fault.label
            )
        }));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: CheckMode, verdict: Verdict) -> CheckRow {
        CheckRow {
            name: "lww".into(),
            promise: String::new(),
            mode,
            verdict,
            reason: (verdict == Verdict::Unknown).then(|| "no write".into()),
            evidence: Default::default(),
            violations: Vec::new(),
            violations_total: u64::from(verdict == Verdict::Invalid) * 2,
            excused: 0,
            stats: Default::default(),
        }
    }

    fn fault(f: &str, took_effect: bool) -> FaultRow {
        FaultRow {
            f: f.into(),
            target: "B".into(),
            label: format!("{f} B"),
            began_ms: 3001,
            ended_ms: Some(7004),
            took_effect,
            evidence: serde_json::Value::Null,
            overlapping_ops: 0,
        }
    }

    fn bypass() -> BypassRow {
        BypassRow { from: "A".into(), to: "B".into(), seen: 3 }
    }

    fn failure() -> Failure {
        Failure {
            what: "node B never became ready".into(),
            node: Some("B".into()),
            log: Vec::new(),
            ..Failure::default()
        }
    }

    use CheckMode::{ExpectedToFail, Reported, Required};
    use Verdict::{Invalid, Unknown, Valid};

    const MODES: [CheckMode; 3] = [Required, Reported, ExpectedToFail];
    const VERDICTS: [Verdict; 3] = [Valid, Unknown, Invalid];

    #[test]
    fn what_came_of_stopping_a_node_proves_nothing() {
        let limit = Some("memory 64 MiB exceeded (80 MiB)".to_owned());
        let stopped = Failure { what: "node B was stopped".into(), limit, ..Failure::default() };
        let conclusion = conclude(&[check(Required, Invalid)], &[], &[], &[stopped]);
        assert_eq!((conclusion.verdict, conclusion.exit_code), (Unknown, 4));
        assert_eq!(conclusion.why, ["node B was stopped", "lww is violated 2 times"]);
    }

    /// Every pair of checks in every mode with every verdict, with and without a breakage, against the table
    /// written out once more as a specification.
    #[test]
    fn the_whole_truth_table() {
        let cases: Vec<(CheckMode, Verdict)> =
            MODES.iter().flat_map(|mode| VERDICTS.iter().map(move |verdict| (*mode, *verdict))).collect();
        let mut seen = std::collections::BTreeMap::new();
        for one in &cases {
            for two in &cases {
                for broken in [false, true] {
                    let pair = [*one, *two];
                    let expected = if pair.contains(&(Required, Invalid)) {
                        (Invalid, 1)
                    } else if broken {
                        (Unknown, 4)
                    } else if pair.contains(&(ExpectedToFail, Valid)) {
                        (Invalid, 1)
                    } else if pair.contains(&(Required, Unknown)) || pair.contains(&(ExpectedToFail, Unknown))
                    {
                        (Unknown, 3)
                    } else {
                        (Valid, 0)
                    };
                    let checks = pair.map(|(mode, verdict)| check(mode, verdict));
                    let failures = if broken { vec![failure()] } else { Vec::new() };
                    let conclusion = conclude(&checks, &[], &[], &failures);
                    assert_eq!(
                        (conclusion.verdict, conclusion.exit_code),
                        expected,
                        "{pair:?} broken={broken}"
                    );
                    assert_eq!(conclusion.why.is_empty(), expected.1 == 0, "{pair:?} {:?}", conclusion.why);
                    *seen.entry(expected.1).or_insert(0) += 1;
                }
            }
        }
        assert_eq!(seen.keys().copied().collect::<Vec<u8>>(), [0, 1, 3, 4]);
    }

    #[test]
    fn each_cause_by_itself() {
        let code = |mode, verdict| conclude(&[check(mode, verdict)], &[], &[], &[]).exit_code;
        assert_eq!(code(Required, Valid), 0);
        assert_eq!(code(Required, Unknown), 3);
        assert_eq!(code(Required, Invalid), 1);
        assert_eq!(code(Reported, Invalid), 0);
        assert_eq!(code(Reported, Unknown), 0);
        assert_eq!(code(ExpectedToFail, Valid), 1);
        assert_eq!(code(ExpectedToFail, Unknown), 3);
        assert_eq!(code(ExpectedToFail, Invalid), 0);
        assert_eq!(conclude(&[], &[], &[], &[]).exit_code, 0);
    }

    #[test]
    fn a_fault_that_did_not_take_effect_is_the_harness_s_failure() {
        let conclusion =
            conclude(&[check(Required, Valid)], &[fault("kill", true), fault("pause", false)], &[], &[]);
        assert_eq!((conclusion.verdict, conclusion.exit_code), (Unknown, 4));
        assert_eq!(conclusion.why, ["the fault \"pause B\" at 3.0 s did not take effect"]);
    }

    #[test]
    fn a_fault_that_found_no_leader_leaves_the_question_open() {
        let nobody = |drawn: bool| FaultRow {
            evidence: serde_json::json!({"aimless": true, "drawn": drawn, "why_not": "no node said that it leads"}),
            ..fault("kill", false)
        };
        let kept = [check(Required, Valid)];
        let conclusion = conclude(&kept, &[fault("kill", true), nobody(false)], &[], &[]);
        assert_eq!((conclusion.verdict, conclusion.exit_code), (Unknown, 3));
        assert_eq!(
            conclusion.why,
            ["the fault \"kill B\" at 3.0 s did not take effect: no node said that it leads"]
        );
        // A proof stands; an anomaly that did not show proves nothing where the fault did not happen.
        assert_eq!(conclude(&[check(Required, Invalid)], &[nobody(false)], &[], &[]).exit_code, 1);
        assert_eq!(conclude(&[check(ExpectedToFail, Valid)], &[nobody(false)], &[], &[]).exit_code, 3);
        assert_eq!(conclude(&kept, &[nobody(false)], &[], &[failure()]).exit_code, 4);
        // Chaos draws many.
        assert_eq!(conclude(&kept, &[fault("kill", true), nobody(true)], &[], &[]).exit_code, 0);
        assert_eq!(conclude(&kept, &[nobody(true), nobody(true)], &[], &[]).exit_code, 3);
    }

    #[test]
    fn a_bypass_matters_only_under_a_link_fault() {
        let checks = [check(Required, Valid)];
        assert_eq!(conclude(&checks, &[fault("kill", true)], &[bypass()], &[]).exit_code, 0);
        let conclusion = conclude(&checks, &[fault("partition", true)], &[bypass()], &[]);
        assert_eq!((conclusion.verdict, conclusion.exit_code), (Unknown, 4));
        assert_eq!(
            conclusion.why,
            ["A reached B past its link (seen 3 times), so \"partition B\" did not hold"]
        );
    }

    #[test]
    fn a_proof_stands_whatever_else_failed_and_all_of_it_is_told() {
        let checks = [check(Required, Invalid), check(ExpectedToFail, Valid), check(ExpectedToFail, Unknown)];
        let conclusion = conclude(&checks, &[], &[], &[failure()]);
        assert_eq!((conclusion.verdict, conclusion.exit_code), (Invalid, 1));
        assert_eq!(
            conclusion.why,
            [
                "lww is violated 2 times",
                "node B never became ready",
                "lww was expected to fail, but no anomaly showed",
                "lww could not be decided: no write",
            ]
        );
    }
}
