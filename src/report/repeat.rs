//! Several runs of one workload (`--repeat N`): how often each check failed, and with which seeds.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::results::{Results, SCHEMA};
use super::style::{Paint, Style};
use super::table::word;
use super::verdict::{EXIT_BROKEN, EXIT_INVALID, EXIT_UNKNOWN, EXIT_VALID};
use crate::check::{CheckMode, Verdict};

/// How many seeds are listed a row.
const SHOWN_SEEDS: usize = 8;

/// What several runs came to. Its JSON is `summary.json`, beside the runs' own results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatSummary {
    /// The schema number, as of `results.json`.
    pub schema: u64,
    /// The workload's name.
    pub workload: String,
    /// The worst verdict: invalid, then unknown, then valid.
    pub verdict: Verdict,
    /// The exit code of the whole: 1 before 4 before 3 before 0.
    pub exit_code: u8,
    /// One a run, in the order they ran.
    pub runs: Vec<RepeatRun>,
    /// One a check, in the workload's order.
    pub checks: Vec<RepeatCheck>,
}

/// One of the runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatRun {
    /// Its seed.
    pub seed: u64,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its exit code.
    pub exit_code: u8,
    /// How long it took, ms.
    pub duration_ms: u64,
    /// Why its verdict is not valid.
    pub why: Vec<String>,
    /// Its results folder.
    pub folder: Option<String>,
    /// The command that runs it again.
    pub rerun: String,
}

/// What one check said over all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatCheck {
    /// Its name.
    pub name: String,
    /// What its verdict means for a run.
    pub mode: CheckMode,
    /// How many runs it found valid.
    pub valid: u64,
    /// How many runs it found invalid.
    pub invalid: u64,
    /// How many runs it could not decide.
    pub unknown: u64,
    /// Seeds of the runs it found invalid.
    pub invalid_seeds: Vec<u64>,
    /// Seeds of the runs it could not decide.
    pub unknown_seeds: Vec<u64>,
}

impl RepeatSummary {
    /// No runs yet.
    pub fn new(workload: &str) -> Self {
        RepeatSummary {
            schema: SCHEMA,
            workload: workload.to_owned(),
            verdict: Verdict::Valid,
            exit_code: EXIT_VALID,
            runs: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Takes in one more run.
    pub fn push(&mut self, results: &Results) {
        for check in &results.checks {
            let at = self.checks.iter().position(|known| known.name == check.name).unwrap_or_else(|| {
                self.checks.push(RepeatCheck {
                    name: check.name.clone(),
                    mode: check.mode,
                    valid: 0,
                    invalid: 0,
                    unknown: 0,
                    invalid_seeds: Vec::new(),
                    unknown_seeds: Vec::new(),
                });
                self.checks.len() - 1
            });
            let row = &mut self.checks[at];
            match check.verdict {
                Verdict::Valid => row.valid += 1,
                Verdict::Invalid => {
                    row.invalid += 1;
                    row.invalid_seeds.push(results.seed);
                }
                Verdict::Unknown => {
                    row.unknown += 1;
                    row.unknown_seeds.push(results.seed);
                }
            }
        }
        self.verdict = self.verdict.max(results.verdict);
        if rank(results.exit_code) > rank(self.exit_code) {
            self.exit_code = results.exit_code;
        }
        self.runs.push(RepeatRun {
            seed: results.seed,
            verdict: results.verdict,
            exit_code: results.exit_code,
            duration_ms: results.duration_ms,
            why: results.why.clone(),
            folder: results.folder.clone(),
            rerun: results.rerun.clone(),
        });
    }

    /// As JSON text, indented, ending in a newline.
    pub fn to_json(&self) -> String {
        // Every key is a string, so this cannot fail.
        let mut text = serde_json::to_string_pretty(self).expect("plain data is JSON");
        text.push('\n');
        text
    }

    /// For people, ending in a newline.
    pub fn render(&self, style: &Style) -> String {
        let total = self.runs.len();
        let plural = if total == 1 { "run" } else { "runs" };
        let line = format!("{} · {total} {plural}", self.workload);
        let mut out = format!("{}\n", style.paint(Paint::Strong, &style.wrap(&line, 2)));
        let rows: Vec<Vec<String>> = self.checks.iter().map(|check| cells(check, total)).collect();
        let headers = ["check", "failed", "undecided", "seeds"];
        let table = style.table(&headers, &rows, |column, text| match (column, text.starts_with("0/")) {
            (1, true) => Some(Paint::Good),
            (1, false) if text.contains('/') => Some(Paint::Bad),
            (2, false) if text.contains('/') => Some(Paint::Doubt),
            _ => None,
        });
        let _ = writeln!(out, "{table}");
        for verdict in [Verdict::Invalid, Verdict::Unknown] {
            let runs: Vec<&RepeatRun> = self.runs.iter().filter(|run| run.verdict == verdict).collect();
            let Some(first) = runs.first() else { continue };
            let line = format!(
                "{}: {} of {total} {plural}, the first with seed {}",
                word(verdict),
                runs.len(),
                first.seed
            );
            let _ = writeln!(out, "\n{}", style.paint(Paint::of(verdict), &style.wrap(&line, 2)));
            for why in &first.why {
                let _ = writeln!(out, "{}", style.wrap(&format!("- {why}"), 2));
            }
            if !first.rerun.is_empty() {
                let _ = writeln!(out, "Run it again with that seed:\n  {}", style.text(&first.rerun));
            }
        }
        if self.verdict == Verdict::Valid {
            let line = if total == 1 {
                "the run was valid".to_owned()
            } else {
                format!("all {total} runs were valid")
            };
            let _ = writeln!(out, "{}", style.paint(Paint::Good, &line));
        }
        out
    }
}

/// Which exit code stands for the whole: a proof outweighs a breakage, and that an open question.
pub(super) fn rank(exit_code: u8) -> u8 {
    match exit_code {
        EXIT_VALID => 0,
        EXIT_UNKNOWN => 1,
        EXIT_BROKEN => 2,
        EXIT_INVALID => 3,
        // Usage errors do not come from runs; were one to, it must not go unseen.
        _ => 4,
    }
}

fn cells(check: &RepeatCheck, total: usize) -> Vec<String> {
    let mut seeds: Vec<String> = check.invalid_seeds.iter().map(u64::to_string).collect();
    seeds.extend(check.unknown_seeds.iter().map(|seed| format!("{seed}?")));
    if seeds.len() > SHOWN_SEEDS {
        let hidden = seeds.len() - SHOWN_SEEDS;
        seeds.truncate(SHOWN_SEEDS);
        seeds.push(format!("and {hidden} more"));
    }
    let note = match check.mode {
        CheckMode::Required => "",
        CheckMode::Reported => " (reported)",
        CheckMode::ExpectedToFail => " (expected to fail)",
    };
    vec![
        format!("{}{note}", check.name),
        format!("{}/{total}", check.invalid),
        format!("{}/{total}", check.unknown),
        seeds.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::verdict::conclude;
    use super::*;
    use crate::report::results::CheckRow;

    fn run(seed: u64, verdicts: [Verdict; 2]) -> Results {
        let names = ["convergence", "lww"];
        let checks: Vec<CheckRow> = names
            .into_iter()
            .zip(verdicts)
            .map(|(name, verdict)| CheckRow {
                name: name.into(),
                promise: String::new(),
                mode: CheckMode::Required,
                verdict,
                reason: (verdict == Verdict::Unknown).then(|| "nothing was written".into()),
                evidence: Default::default(),
                violations: Vec::new(),
                violations_total: u64::from(verdict == Verdict::Invalid),
                excused: 0,
                stats: Default::default(),
            })
            .collect();
        let facts = crate::report::RunFacts {
            workload: "outage".into(),
            seed,
            rerun: format!("harness run workloads/outage.toml --seed {seed}"),
            ..Default::default()
        };
        let mut results = Results::build(&Default::default(), Vec::new(), facts);
        let conclusion = conclude(&checks, &[], &[], &[]);
        results.checks = checks;
        results.verdict = conclusion.verdict;
        results.exit_code = conclusion.exit_code;
        results.why = conclusion.why;
        results
    }

    use Verdict::{Invalid, Unknown, Valid};

    #[test]
    fn how_often_each_check_failed() {
        let mut summary = RepeatSummary::new("outage");
        summary.push(&run(42, [Valid, Valid]));
        summary.push(&run(43, [Invalid, Valid]));
        summary.push(&run(44, [Unknown, Valid]));
        summary.push(&run(45, [Invalid, Invalid]));
        assert_eq!((summary.verdict, summary.exit_code), (Invalid, 1));
        insta::assert_snapshot!(summary.render(&Style::PLAIN), @r"
    outage · 4 runs
    ┌─────────────┬────────┬───────────┬─────────────┐
    │ check       ┆ failed ┆ undecided ┆ seeds       │
    ╞═════════════╪════════╪═══════════╪═════════════╡
    │ convergence ┆ 2/4    ┆ 1/4       ┆ 43, 45, 44? │
    │ lww         ┆ 1/4    ┆ 0/4       ┆ 45          │
    └─────────────┴────────┴───────────┴─────────────┘

    invalid: 2 of 4 runs, the first with seed 43
    - convergence is violated
    Run it again with that seed:
      harness run workloads/outage.toml --seed 43

    unknown: 1 of 4 runs, the first with seed 44
    - convergence could not be decided: nothing was written
    Run it again with that seed:
      harness run workloads/outage.toml --seed 44
    ");
        let back: RepeatSummary = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!(back, summary);
    }

    #[test]
    fn all_valid() {
        let mut summary = RepeatSummary::new("outage");
        summary.push(&run(42, [Valid, Valid]));
        summary.push(&run(43, [Valid, Valid]));
        assert_eq!((summary.verdict, summary.exit_code), (Valid, 0));
        insta::assert_snapshot!(summary.render(&Style::PLAIN), @r"
    outage · 2 runs
    ┌─────────────┬────────┬───────────┬───────┐
    │ check       ┆ failed ┆ undecided ┆ seeds │
    ╞═════════════╪════════╪═══════════╪═══════╡
    │ convergence ┆ 0/2    ┆ 0/2       ┆       │
    │ lww         ┆ 0/2    ┆ 0/2       ┆       │
    └─────────────┴────────┴───────────┴───────┘
    all 2 runs were valid
    ");
    }

    #[test]
    fn the_exit_code_of_the_whole() {
        let code = |codes: &[u8]| {
            let mut summary = RepeatSummary::new("w");
            for code in codes {
                let mut results = run(1, [Valid, Valid]);
                results.exit_code = *code;
                summary.push(&results);
            }
            summary.exit_code
        };
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[0, 3, 0]), 3);
        assert_eq!(code(&[3, 4, 0]), 4);
        assert_eq!(code(&[4, 1, 3]), 1);
    }
}
