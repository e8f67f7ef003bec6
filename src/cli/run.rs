//! `harness run`: carry out workloads, check what happened, report.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::overrides::{OverrideArgs, show_errors};
use super::{EXIT_BROKEN, EXIT_INVALID, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID};
use crate::report::github;
use crate::report::matrix::{Gathering, MatrixAxis, MatrixCell, MatrixSummary};
use crate::report::progress::ProgressMode;
use crate::report::repeat::RepeatSummary;
use crate::report::results::Results;
use crate::report::style::{Paint, Style};
use crate::report::table;
use crate::run::engine::{self, Finished, Options};
use crate::run::interrupt::Interrupt;
use crate::sandbox::{self, Isolation};
use crate::workload::{Axis, Cells, Overrides, Workload};

/// What a shell expects of a program that ended because of Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;
/// Where results go unless told otherwise.
const DEFAULT_RESULTS: &str = "results";

/// Run workloads: real processes, real faults, a verdict
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Workload files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Run each file so many times, with seeds counting up from the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub repeat: u32,
    /// Where results go
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RESULTS)]
    pub results: PathBuf,
    /// Print results.json on standard output instead of tables
    #[arg(long)]
    pub json: bool,
    /// No progress, no tables: only the exit code, and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Keep nodes from files, processes and networks that are not theirs: none; auto, as far as this system can; full, and say
    /// what it cannot
    #[arg(long, value_enum, value_name = "MODE", default_value_t = IsolationMode::None)]
    pub isolation: IsolationMode,
    /// End with exit code 4 where nodes cannot be kept from all of it
    #[arg(long)]
    pub require_isolation: bool,
    /// With isolation: a folder that nodes find empty
    #[arg(long, value_name = "DIR")]
    pub hide: Vec<PathBuf>,
    /// Stop after the first run that is not valid
    #[arg(long)]
    pub fail_fast: bool,
}

/// How far nodes are kept from what is not theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IsolationMode {
    /// Not at all.
    #[default]
    None,
    /// As far as this system can.
    Auto,
    /// From all of it; what this system cannot is told.
    Full,
    /// From all of it, or nothing is run: as `--require-isolation`.
    #[value(hide = true)]
    Required,
}

/// Validates every file before the first run, then runs them one after another.
pub fn main(args: &RunArgs) -> ExitCode {
    let mut workloads = Vec::new();
    let mut mistaken = false;
    for file in &args.files {
        match Workload::load_cells(file, &args.overrides.overrides()) {
            Ok(workload) => workloads.push(workload),
            Err(errors) => {
                show_errors(&errors);
                mistaken = true;
            }
        }
    }
    if mistaken {
        return ExitCode::from(EXIT_USAGE);
    }
    // Before there is a second thread: only then can this process go where its nodes are to be kept.
    let isolation = match isolate(args) {
        Ok(isolation) => isolation,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(EXIT_BROKEN);
        }
    };
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            eprintln!("error: cannot listen for signals: {error}");
            return ExitCode::from(EXIT_BROKEN);
        }
    };
    let mut worst = EXIT_VALID;
    for workload in &workloads {
        let code = run_file(args, workload, &interrupt, isolation.as_ref());
        worst = worse(worst, code);
        if interrupt.asked() || (args.fail_fast && code != EXIT_VALID) {
            break;
        }
    }
    ExitCode::from(worst)
}

/// Takes this process to a network of its own, and tries what nodes can be kept from; `None`: nobody asked.
///
/// # Errors
/// A sentence, where isolation is required and cannot be had.
fn isolate(args: &RunArgs) -> Result<Option<Isolation>, String> {
    let required = args.require_isolation || args.isolation == IsolationMode::Required;
    if !required && args.isolation == IsolationMode::None {
        return Ok(None);
    }
    let entered = sandbox::cell::enter();
    let mut isolation = sandbox::probe();
    if let (false, Err(error)) = (isolation.network, entered) {
        isolation.parts.insert("net".to_owned(), format!("not: no network of its own can be made: {error}"));
    }
    let missing = isolation.missing();
    if required && !(isolation.is_full() && isolation.network) {
        let missing = missing.join("; ");
        return Err(format!(
            "--require-isolation: nodes cannot be kept from files, processes and networks that are not theirs: {missing}"
        ));
    }
    if args.isolation == IsolationMode::Full && !args.quiet {
        missing.iter().for_each(|line| eprintln!("warning: isolation: {line}"));
    }
    Ok(Some(isolation))
}

/// Of two runs' exit codes the one to end with: what is proved outranks what could not be found out.
fn worse(one: u8, other: u8) -> u8 {
    let rank = |code| match code {
        EXIT_VALID => 0,
        EXIT_UNKNOWN => 1,
        EXIT_BROKEN => 2,
        EXIT_INVALID => 3,
        _ => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// All repeats of one file, in each cell of its matrix.
fn run_file(args: &RunArgs, cells: &Cells, interrupt: &Interrupt, isolation: Option<&Isolation>) -> u8 {
    if !cells.axes.is_empty() {
        return run_matrix(args, cells, interrupt, isolation);
    }
    let mut worst = EXIT_VALID;
    for (cell, workload) in &cells.list {
        let (summary, code) =
            run_cell(args, cell, workload, (interrupt, isolation), &mut |finished| show(args, finished));
        worst = worse(worst, code);
        if args.repeat > 1 && !args.quiet {
            print(&if args.json { summary.to_json() } else { summary.render(&Style::stdout()) });
        }
    }
    worst
}

/// One cell after the other; what they came to is written down after each, for whoever cannot wait, or interrupts.
fn run_matrix(args: &RunArgs, cells: &Cells, interrupt: &Interrupt, isolation: Option<&Isolation>) -> u8 {
    let Some((_, first)) = cells.list.first() else { return EXIT_VALID };
    let axis = |axis: &Axis| MatrixAxis { name: axis.name.clone(), values: axis.values.clone() };
    let mut matrix = MatrixSummary::new(&first.name, cells.axes.iter().map(axis).collect());
    let path = args.results.join(&first.name).join("matrix.json");
    let mut worst = EXIT_VALID;
    for (at, (cell, workload)) in cells.list.iter().enumerate() {
        if !args.quiet {
            eprintln!("cell {} of {}: {}", at + 1, cells.list.len(), named(cell));
        }
        let mut figures = Gathering::default();
        let (summary, code) = run_cell(args, cell, workload, (interrupt, isolation), &mut |finished| {
            figures.push(&finished.results);
            if !args.json && !args.quiet {
                print(&one_line(cell, &finished.results));
            }
        });
        worst = worse(worst, code);
        if !summary.runs.is_empty() {
            let cell = cell.iter().cloned().collect();
            matrix.push(MatrixCell::new(cell, summary, figures.figures()));
            if let Err(error) = matrix.write(&path) {
                eprintln!("error: {}: {error}", path.display());
                worst = worse(worst, EXIT_BROKEN);
            }
        }
        if interrupt.asked() || (args.fail_fast && code != EXIT_VALID) {
            break;
        }
    }
    if args.json {
        print(&matrix.to_json());
    } else if !args.quiet {
        print(&format!("\n{}", matrix.render(&Style::stdout())));
    }
    worst
}

/// `W=1 R=2`
fn named(cell: &[(String, String)]) -> String {
    let pairs: Vec<String> = cell.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(" ")
}

/// What one run of a matrix came to: `W=1 R=2 seed 7: invalid (quorum is violated)`.
fn one_line(cell: &[(String, String)], results: &Results) -> String {
    let style = Style::stdout();
    let why = results.why.first().map(|why| format!(" ({why})")).unwrap_or_default();
    let verdict = table::word(results.verdict);
    let line = format!("{} seed {}: {verdict}{why}", named(cell), results.seed);
    style.paint(Paint::of(results.verdict), &style.wrap(&line, 2))
}

/// All repeats of one cell, each told to `each`; their summary, and the exit code to end with.
fn run_cell(
    args: &RunArgs,
    cell: &[(String, String)],
    first: &Workload,
    (interrupt, isolation): (&Interrupt, Option<&Isolation>),
    each: &mut dyn FnMut(&Finished),
) -> (RepeatSummary, u8) {
    let mut summary = RepeatSummary::new(&first.name);
    let mut worst = EXIT_VALID;
    let mut again: Option<Workload> = None;
    for repeat in 0..args.repeat {
        if repeat > 0 {
            // Operations and faults are drawn from the seed, so that the file has to be expanded anew.
            let seed = first.seed.wrapping_add(u64::from(repeat)) & (i64::MAX as u64);
            let overrides = Overrides { seed: Some(seed), cell: cell.to_vec(), ..args.overrides.overrides() };
            match Workload::load(&first.file, &overrides) {
                Ok(workload) => again = Some(workload),
                Err(errors) => {
                    show_errors(&errors);
                    return (summary, EXIT_USAGE);
                }
            }
        }
        let workload = again.as_ref().unwrap_or(first);
        let options = Options {
            results: args.results.clone(),
            progress: ProgressMode::choose(args.quiet),
            interrupt: interrupt.clone(),
            rerun: rerun(args, cell, workload),
            cell: cell.to_vec(),
            isolation: isolation.cloned(),
            hidden: args.hide.clone(),
        };
        let code = match engine::run(workload, &options) {
            Ok(finished) => {
                summary.push(&finished.results);
                each(&finished);
                tell_github(&finished.results, |name| std::env::var_os(name));
                exit_code(&finished)
            }
            Err(error) => {
                eprintln!("error: {error}");
                EXIT_BROKEN
            }
        };
        worst = worse(worst, code);
        if interrupt.asked() || (args.fail_fast && code != EXIT_VALID) {
            break;
        }
    }
    (summary, worst)
}

/// Annotations and a summary, where GitHub Actions runs this. Its runner reads both streams of a step; standard output may
/// be somebody's JSON.
fn tell_github(results: &Results, var: impl Fn(&str) -> Option<OsString>) {
    if var("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    eprint!("{}", github::annotations(results));
    if let Some(path) = var("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from)
        && let Err(error) = github::append_summary(results, &path)
    {
        // The verdict does not depend on who is told.
        eprintln!("warning: no step summary: {}: {error}", path.display());
    }
}

fn exit_code(finished: &Finished) -> u8 {
    let code = finished.results.exit_code;
    if finished.interrupted && code != EXIT_INVALID { EXIT_INTERRUPTED } else { code }
}

fn show(args: &RunArgs, finished: &Finished) {
    let results: &Results = &finished.results;
    if args.json {
        // With --repeat the summary is the answer, and each run's own is in its folder.
        if args.repeat == 1 {
            print(&results.to_json());
        }
    } else if !args.quiet {
        print(&table::render(results, &Style::stdout()));
    }
}

/// A reader that has gone away (`| head`) is no reason to fail.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// The command that runs `workload` again with the same seed.
fn rerun(args: &RunArgs, cell: &[(String, String)], workload: &Workload) -> String {
    let mut words = vec!["run".to_owned(), workload.file.display().to_string()];
    let OverrideArgs { node, vars, sets, .. } = &args.overrides;
    words.extend(node.iter().flat_map(|node| ["--node".to_owned(), node.clone()]));
    words.extend(vars.iter().flat_map(|var| ["--var".to_owned(), var.clone()]));
    words.extend(cell.iter().flat_map(|(name, value)| ["--var".to_owned(), format!("{name}={value}")]));
    words.extend(sets.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
    if args.results != Path::new(DEFAULT_RESULTS) {
        words.extend(["--results".to_owned(), args.results.display().to_string()]);
    }
    words.extend(["--seed".to_owned(), workload.seed.to_string()]);
    let called = std::env::args().next().unwrap_or_else(|| "harness".to_owned());
    // cargo sets it for what it runs.
    let by_cargo = std::env::var_os("CARGO").is_some();
    format!("{} {}", program(&called, by_cargo), shell_words::join(words))
}

/// How the harness was called, as a shell reads it.
fn program(called: &str, by_cargo: bool) -> String {
    let profile = Path::new(called).parent().and_then(Path::file_name);
    match profile.filter(|_| by_cargo).and_then(|profile| profile.to_str()) {
        Some("release") => "cargo run --release --".to_owned(),
        Some("debug") => "cargo run --".to_owned(),
        _ => shell_words::quote(called).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_called_again_as_it_was() {
        assert_eq!(program("target/release/harness", true), "cargo run --release --");
        assert_eq!(program("target/debug/harness", true), "cargo run --");
        assert_eq!(program("./target/release/harness", false), "./target/release/harness");
        assert_eq!(program("harness", true), "harness");
        assert_eq!(program("/opt/my tools/harness", false), "'/opt/my tools/harness'");
    }
}
