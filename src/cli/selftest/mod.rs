//! `harness selftest`: every bundled bug against the shipped workloads that must find it, and the correct nodes, which
//! nothing may be found wrong with.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;

pub use cases::{CASES, Case, PROMISES_TOO_MUCH, PROTOCOLS, Proof, SHIPPED};

use super::{EXIT_BROKEN, EXIT_INVALID, EXIT_USAGE, EXIT_VALID};
use crate::check::{CheckMode, Verdict};
use crate::report::results::{CheckRow, Results};
use crate::report::selftest::{self, SelftestRow};
use crate::report::style::Style;

/// Prove the harness: each bundled bug must be found, the correct nodes must pass
#[derive(Args, Clone, Debug)]
pub struct SelftestArgs {
    /// Only this system
    #[arg(long, value_name = "SYSTEM")]
    pub system: Option<String>,
    /// Only this bug; `correct` for the correct node, `all` for everything but that
    #[arg(long, value_name = "BUG")]
    pub bug: Option<String>,
    /// Only this workload, as in outage.toml, lab2/outage.toml or quorum/lag.toml
    #[arg(long, value_name = "FILE")]
    pub workload: Option<String>,
    /// The workloads of the labs, which take up to a minute and a half each, instead of the quick ones
    #[arg(long)]
    pub lab2: bool,
    /// Runs of each case, with seeds counting up from --first-seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub seeds: u64,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1 << 62))]
    pub first_seed: u64,
    /// Runs side by side; absent: two for each CPU
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Where the runs leave their results
    #[arg(long, value_name = "DIR", default_value = "results/selftest")]
    pub results: PathBuf,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print the README's table
    #[arg(long)]
    pub markdown: bool,
}

/// Runs the cases; 0 when every one came out as it should, 1 when one did not.
pub fn main(args: &SelftestArgs) -> ExitCode {
    let cases = match chosen(args) {
        Ok(cases) => cases,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let rows = match unpack(&args.results).and_then(|workloads| run_all(args, &cases, &workloads)) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(EXIT_BROKEN);
        }
    };
    let text = if args.json {
        selftest::to_json(&rows)
    } else if args.markdown {
        selftest::markdown(&rows)
    } else {
        selftest::render(&rows, &Style::stdout())
    };
    // A reader that has gone away is no reason to fail.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(if rows.iter().all(SelftestRow::passed) { EXIT_VALID } else { EXIT_INVALID })
}

/// The cases the flags leave.
fn chosen(args: &SelftestArgs) -> Result<Vec<Case>, String> {
    let known = |name: &str, given: &Option<String>, all: BTreeSet<&str>| match given {
        Some(given) if !all.contains(given.as_str()) => {
            let nearest = all.iter().max_by(|one, other| {
                strsim::jaro_winkler(one, given).total_cmp(&strsim::jaro_winkler(other, given))
            });
            let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
            Err(format!("no {name} `{given}` in the self-test{hint}"))
        }
        _ => Ok(()),
    };
    known("system", &args.system, CASES.iter().map(|case| case.system).collect())?;
    known("bug", &args.bug, CASES.iter().map(bug_name).chain([ALL]).collect())?;
    known("workload", &args.workload, CASES.iter().map(|case| case.workload).collect())?;
    let is = |given: &Option<String>, name: &str| given.as_deref().is_none_or(|given| given == name);
    let bug = |case: &Case| match args.bug.as_deref() {
        Some(ALL) => case.bug.is_some(),
        _ => is(&args.bug, bug_name(case)),
    };
    let length = |case: &Case| case.long == args.lab2 || args.workload.is_some();
    let fits = |case: &&Case| {
        is(&args.system, case.system) && bug(case) && is(&args.workload, case.workload) && length(case)
    };
    let cases: Vec<_> = CASES.iter().filter(fits).copied().collect();
    if cases.is_empty() {
        Err("these flags leave no case: that bug is not looked for by that workload".into())
    } else {
        Ok(cases)
    }
}

/// What `--bug` takes for every bug there is.
const ALL: &str = "all";

fn bug_name(case: &Case) -> &'static str {
    case.bug.unwrap_or("correct")
}

/// Writes the shipped workloads, and the protocols they point at, where the runs can read them.
fn unpack(results: &Path) -> io::Result<PathBuf> {
    let dir = results.join("workloads");
    for (name, text) in SHIPPED.iter().chain(PROTOCOLS) {
        let file = dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(&dir))?;
        std::fs::write(file, text)?;
    }
    dir.canonicalize()
}

fn run_all(args: &SelftestArgs, cases: &[Case], workloads: &Path) -> io::Result<Vec<SelftestRow>> {
    let harness = std::env::current_exe()?;
    let runs: Vec<_> = cases
        .iter()
        .enumerate()
        .flat_map(|(place, case)| (0..args.seeds).map(move |number| (place, case, args.first_seed + number)))
        .collect();
    let rows = Mutex::new(cases.iter().map(empty_row).collect::<Vec<_>>());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(2 * cpus, usize::from).min(runs.len());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((place, case, seed)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let results = run_one(&harness, case, *seed, workloads, &args.results);
                    let mut rows = rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let story = enter(&mut rows[*place], case, *seed, &results);
                    let number = done.fetch_add(1, Ordering::Relaxed) + 1;
                    eprintln!(
                        "[{number}/{}] {} {} seed {seed}: {story}",
                        runs.len(),
                        bug_name(case),
                        case.workload
                    );
                }
            });
        }
    });
    Ok(rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn empty_row(case: &Case) -> SelftestRow {
    SelftestRow {
        system: case.system.to_owned(),
        bug: case.bug.map(str::to_owned),
        workload: case.workload.trim_end_matches(".toml").to_owned(),
        runs: 0,
        found: 0,
        checks: BTreeMap::new(),
        missed: Vec::new(),
    }
}

/// One run as a process of its own: a crash of it is its own, and so are its signals.
fn run_one(
    harness: &Path,
    case: &Case,
    seed: u64,
    workloads: &Path,
    results: &Path,
) -> Result<Results, String> {
    let quoted = shell_words::quote(&harness.to_string_lossy()).into_owned();
    // There the workload is wrong, and the node is not.
    let bug = case.bug.filter(|bug| *bug != PROMISES_TOO_MUCH);
    let bug = bug.map(|bug| format!(" --bug {bug}")).unwrap_or_default();
    let output = Command::new(harness)
        .arg("run")
        .arg(workloads.join(case.workload))
        .args(["--node", &format!("{quoted} node {}{bug}", case.system)])
        // The lab's ports are fixed, and these runs stand side by side.
        .args(["--set", "cluster.port=0"])
        .args(["--seed", &seed.to_string(), "--json", "--quiet", "--results"])
        .arg(results.join(bug_name(case)))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("no results ({error}): {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Enters one run's results into its row; what is to be said of it.
fn enter(row: &mut SelftestRow, case: &Case, seed: u64, results: &Result<Results, String>) -> String {
    row.runs += 1;
    let results = match results {
        Ok(results) => results,
        Err(why) => {
            row.missed.push(seed);
            return format!("BROKEN, {why}");
        }
    };
    let invalid: Vec<_> = results.checks.iter().filter(is_proved).map(|check| check.name.as_str()).collect();
    for name in &invalid {
        *row.checks.entry((*name).to_owned()).or_default() += 1;
    }
    let found = case.proofs.iter().any(|proof| is_found(proof, results));
    if found || (case.bug.is_none() && !invalid.is_empty()) {
        row.found += 1;
    }
    match (case.bug, found, results.exit_code) {
        (Some(_), true, _) => return format!("found by {}", invalid.join(", ")),
        (None, _, EXIT_VALID) => return "passes".to_owned(),
        _ => row.missed.push(seed),
    }
    let what = match case.bug {
        Some(_) if invalid.is_empty() => "MISSED",
        Some(_) => "MISTAKEN for something else",
        None if invalid.is_empty() => "UNDECIDED",
        None => "BLAMED",
    };
    let worst = |check: &CheckRow| format!("{}: {}", check.name, worst_kind(check).unwrap_or("?"));
    let invalid: Vec<_> = results.checks.iter().filter(is_proved).map(worst).collect();
    let (code, folder) = (results.exit_code, results.folder.as_deref().unwrap_or("?"));
    format!("{what} (exit {code}, invalid: [{}]), see {folder}", invalid.join(", "))
}

fn is_proved(check: &&CheckRow) -> bool {
    check.mode == CheckMode::Required && check.verdict == Verdict::Invalid
}

/// The kind of the violation that a reader sees first.
fn worst_kind(check: &CheckRow) -> Option<&str> {
    check.violations.first().map(|violation| violation.kind.as_str())
}

/// Whether the check proved a violation, and for the right reason.
fn is_found((name, kinds): &Proof, results: &Results) -> bool {
    results
        .checks
        .iter()
        .filter(is_proved)
        .any(|check| check.name == *name && worst_kind(check).is_some_and(|kind| kinds.contains(&kind)))
}

#[cfg(test)]
mod tests;
