//! `harness check FILE…`: the checks on recorded histories, without running anything.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::{EXIT_INVALID, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID};
use crate::check::{self, CHECKS, CheckMode, CheckResult, Verdict};
use crate::history::{Durability, History, reader};
use crate::report::style::{Paint, Style};
use crate::report::{Checked, Results, RunFacts, table};

/// Arguments of `harness check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Without --check the checks are those that the history's workload asked for, in its modes; where the history does not \
say, all of them, staleness and availability for their figures only.

Exit codes: 0 all required checks valid, 1 a violation, 2 bad usage or an unreadable history, 3 a required check is \
unknown.")]
pub struct Args {
    /// Histories (history.jsonl)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only these checks, all required
    #[arg(long, value_name = "NAME", num_args = 1..)]
    check: Vec<String>,
    /// What a crash must not take, instead of what the history says
    #[arg(long, value_name = "D", value_parser = ["disk", "replicated", "memory"])]
    durability: Option<String>,
    /// Print one JSON object a file and line
    #[arg(long)]
    json: bool,
}

/// The verdict as the run takes it.
fn judge(mode: CheckMode, verdict: Verdict) -> Verdict {
    match (mode, verdict) {
        (CheckMode::Required, verdict) => verdict,
        (CheckMode::Reported, _) => Verdict::Valid,
        (CheckMode::ExpectedToFail, Verdict::Invalid) => Verdict::Valid,
        (CheckMode::ExpectedToFail, Verdict::Valid) => Verdict::Invalid,
        (CheckMode::ExpectedToFail, Verdict::Unknown) => Verdict::Unknown,
    }
}

/// Carries it out.
pub fn main(args: &Args) -> ExitCode {
    if let Err(error) = args.check.iter().try_for_each(|name| known(name)) {
        eprintln!("error: {error}");
        return EXIT_USAGE.into();
    }
    let mut out = io::stdout().lock();
    let (mut worst, mut unreadable) = (Verdict::Valid, false);
    for file in &args.files {
        // A run's folder stands for the history in it.
        let inside = file.join("history.jsonl");
        let file = if file.is_dir() { &inside } else { file };
        let mut history = match reader::read(file) {
            Ok(history) => history,
            Err(error) => {
                eprintln!("error: {error}");
                unreadable = true;
                continue;
            }
        };
        if let Some(durability) = &args.durability {
            history.contract.durability = named_durability(durability);
        }
        let checked: Vec<Checked> =
            plan(args, &history).into_iter().map(|(name, mode)| run(name, mode, &history)).collect();
        let verdicts = checked.iter().map(|(_, mode, result)| judge(*mode, result.verdict));
        let verdict = verdicts.max().unwrap_or(Verdict::Unknown);
        let text = if args.json {
            show_json(file, verdict, &checked)
        } else {
            show_text(file, &history, verdict, checked)
        };
        // A reader that has seen enough (`| head`) is no failure; the exit code still tells the verdict.
        let _ = out.write_all(text.as_bytes());
        worst = worst.max(verdict);
    }
    let _ = out.flush();
    if unreadable { EXIT_USAGE.into() } else { exit_code(worst).into() }
}

fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => EXIT_VALID,
        Verdict::Invalid => EXIT_INVALID,
        Verdict::Unknown => EXIT_UNKNOWN,
    }
}

fn named_durability(name: &str) -> Durability {
    match name {
        "memory" => Durability::Memory,
        "replicated" => Durability::Replicated,
        _ => Durability::Disk,
    }
}

fn known(name: &str) -> Result<(), String> {
    if check::find(name).is_some() {
        return Ok(());
    }
    let names = check::all().map(|check| check.name());
    let nearest = names
        .clone()
        .max_by(|left, right| strsim::jaro_winkler(name, left).total_cmp(&strsim::jaro_winkler(name, right)));
    let nearest = nearest.filter(|near| strsim::jaro_winkler(name, near) > 0.7);
    let hint = nearest.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    Err(format!("there is no check {name:?}{hint}\nchecks: {}", names.collect::<Vec<_>>().join(", ")))
}

fn plan(args: &Args, history: &History) -> Vec<(String, CheckMode)> {
    if !args.check.is_empty() {
        return args.check.iter().map(|name| (name.clone(), CheckMode::Required)).collect();
    }
    if !history.asked.is_empty() {
        let mode = |mode: &str| match mode {
            "reported" => CheckMode::Reported,
            "expected-to-fail" => CheckMode::ExpectedToFail,
            _ => CheckMode::Required,
        };
        let mut asked: Vec<_> = history.asked.iter().map(|(name, text)| (name.clone(), mode(text))).collect();
        // A JSON object has no order.
        asked.sort_by_key(|(name, _)| check::all().position(|check| check.name() == name.as_str()));
        return asked;
    }
    let mode = |name| match name {
        "staleness" | "availability" => CheckMode::Reported,
        _ => CheckMode::Required,
    };
    CHECKS.iter().map(|check| (check.name().to_owned(), mode(check.name()))).collect()
}

fn run(name: String, mode: CheckMode, history: &History) -> Checked {
    let result = match check::find(&name) {
        Some(check) => check.check(history),
        None => CheckResult::unknown("this version of the harness has no such check"),
    };
    (name, mode, result)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

fn show_text(file: &Path, history: &History, verdict: Verdict, checked: Vec<Checked>) -> String {
    let style = Style::stdout();
    let torn = if history.torn { "; the last line is torn and was left out" } else { "" };
    let durability = serde_json::to_value(history.contract.durability).unwrap_or(Json::Null);
    let durability = durability.as_str().unwrap_or_default();
    let count = history.ops.len();
    let mut text = format!("{}: {count} operations, durability {durability}{torn}\n", file.display());
    let results = Results::build(history, checked, RunFacts::default());
    text.push_str(&table::render_checks(&results, &style));
    let word = style.paint(Paint::of(verdict), word(verdict));
    let _ = writeln!(text, "\nverdict: {word}");
    text
}

fn show_json(file: &Path, verdict: Verdict, checked: &[Checked]) -> String {
    let checks = checked.iter().map(|(name, mode, result)| {
        json!({
            "name": name,
            "mode": mode,
            "verdict": result.verdict,
            "reason": result.reason,
            "evidence": result.evidence,
            "violations": result.violations,
            "violations_total": result.violations_total,
            "excused": result.excused,
            "stats": result.stats,
        })
    });
    let checks: Vec<Json> = checks.collect();
    let exit_code = exit_code(verdict);
    let report = json!({"file": file.display().to_string(), "verdict": verdict, "exit_code": exit_code, "checks": checks});
    format!("{report}\n")
}
