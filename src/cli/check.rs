//! `harness check FILE…`: the checks on recorded histories, without running anything.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::{EXIT_INVALID, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID};
use crate::check::{self, CHECKS, CheckMode, CheckResult, Verdict};
use crate::history::{Durability, History, reader};

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

fn mode_name(mode: CheckMode) -> &'static str {
    match mode {
        CheckMode::Required => "required",
        CheckMode::Reported => "reported",
        CheckMode::ExpectedToFail => "expected-to-fail",
    }
}

/// A check's verdict as the whole takes it.
fn judged(mode: CheckMode, verdict: Verdict) -> Verdict {
    match (mode, verdict) {
        (CheckMode::Required, verdict) => verdict,
        (CheckMode::Reported, _) => Verdict::Valid,
        (CheckMode::ExpectedToFail, Verdict::Invalid) => Verdict::Valid,
        (CheckMode::ExpectedToFail, Verdict::Valid) => Verdict::Invalid,
        (CheckMode::ExpectedToFail, Verdict::Unknown) => Verdict::Unknown,
    }
}

/// One check of one file.
struct Row {
    name: String,
    mode: CheckMode,
    result: CheckResult,
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
        let rows: Vec<Row> =
            plan(args, &history).into_iter().map(|(name, mode)| run(name, mode, &history)).collect();
        let verdict =
            rows.iter().map(|row| judged(row.mode, row.result.verdict)).max().unwrap_or(Verdict::Unknown);
        let text = if args.json {
            show_json(file, verdict, &rows)
        } else {
            show_text(file, &history, verdict, &rows)
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
    let names = CHECKS.iter().map(|check| check.name());
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
        return history.asked.iter().map(|(name, text)| (name.clone(), mode(text))).collect();
    }
    let mode = |name| match name {
        "staleness" | "availability" => CheckMode::Reported,
        _ => CheckMode::Required,
    };
    CHECKS.iter().map(|check| (check.name().to_owned(), mode(check.name()))).collect()
}

fn run(name: String, mode: CheckMode, history: &History) -> Row {
    let result = match check::find(&name) {
        Some(check) => check.check(history),
        None => CheckResult::unknown("this version of the harness has no such check"),
    };
    Row { name, mode, result }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

fn show_text(file: &Path, history: &History, verdict: Verdict, rows: &[Row]) -> String {
    let mut text = String::new();
    let torn = if history.torn { "; the last line is torn and was left out" } else { "" };
    let durability = serde_json::to_value(history.contract.durability).unwrap_or(Json::Null);
    let durability = durability.as_str().unwrap_or_default();
    let _ =
        writeln!(text, "{}: {} operations, durability {durability}{torn}", file.display(), history.ops.len());
    for Row { name, mode, result } in rows {
        let figures =
            result.evidence.iter().map(|(name, figure)| format!("{} {figure}", name.replace('_', " ")));
        let figures: Vec<String> = figures.collect();
        let excused =
            if result.excused > 0 { format!("; {} excused", result.excused) } else { String::new() };
        let mode =
            if *mode == CheckMode::Required { String::new() } else { format!(" ({})", mode_name(*mode)) };
        let what = match (&result.reason, result.violations_total) {
            (Some(reason), _) => reason.clone(),
            (None, 0) => figures.join(", "),
            (None, total) => format!("violations {total}, {}", figures.join(", ")),
        };
        let _ = writeln!(text, "  {name:<20} {:<8} {what}{excused}{mode}", word(result.verdict));
        for violation in &result.violations {
            let key = violation.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "    - {}{key} at {}: {}",
                violation.kind,
                violation.nodes.join(", "),
                violation.story
            );
            let _ = writeln!(text, "      cause: {}", violation.cause);
            let ops: Vec<String> = violation.ops.iter().map(u64::to_string).collect();
            let faults =
                if violation.faults.is_empty() { "none".into() } else { violation.faults.join(", ") };
            let _ = writeln!(text, "      operations: {}; faults: {faults}", ops.join(", "));
        }
        let more = result.violations_total.saturating_sub(result.violations.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "    and {more} more of these kinds");
        }
    }
    let _ = writeln!(text, "verdict: {}", word(verdict));
    text
}

fn show_json(file: &Path, verdict: Verdict, rows: &[Row]) -> String {
    let checks = rows.iter().map(|Row { name, mode, result }| {
        json!({
            "name": name,
            "mode": mode_name(*mode),
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
