//! `harness report RESULT`: what a run left, in another form.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value as Json;

use super::check::recorded;
use super::{EXIT_BROKEN, EXIT_USAGE, EXIT_VALID};
use crate::history::{History, import, reader};
use crate::report::page::{self, Beside};
use crate::report::results::{Results, Versions};
use crate::report::style::Style;
use crate::report::{RunFacts, junit, markdown, table};

/// Show a finished run again: as tables, Markdown, JUnit XML, a page or pictures
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// A run's folder, its results.json, or a history.jsonl alone, which is then judged again
    #[arg(value_name = "RESULT")]
    result: PathBuf,
    /// Print Markdown, for a pull request or a hand-in
    #[arg(long, conflicts_with_all = ["junit", "html", "svg"])]
    markdown: bool,
    /// Print JUnit XML, as in junit.xml
    #[arg(long, conflicts_with_all = ["html", "svg"])]
    junit: bool,
    /// Print the page, as in report.html
    #[arg(long, conflicts_with = "svg")]
    html: bool,
    /// Write pictures for a paper or a lab report: each violation's space-time diagram, latency, rate, staleness and
    /// convergence over time, as SVG files into DIR [default: pictures/ in the run's folder]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    svg: Option<Option<PathBuf>>,
}

/// A run, from whatever there is of it.
struct Found {
    results: Results,
    /// Where its other files are.
    folder: PathBuf,
    /// Its history, where it was read already.
    history: Option<History>,
}

/// Carries it out. The exit code tells whether there is a report, not what is in it.
pub fn main(args: &ReportArgs) -> ExitCode {
    let mut found = match find(&args.result) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if args.html || args.svg.is_some() {
        found.read_history();
    }
    if let Some(into) = &args.svg {
        let into = into.clone().unwrap_or_else(|| found.folder.join("pictures"));
        return match draw(&found, &into) {
            Ok(()) => ExitCode::from(EXIT_VALID),
            Err(error) => {
                eprintln!("error: {}: {error}", into.display());
                ExitCode::from(EXIT_USAGE)
            }
        };
    }
    let results = &found.results;
    let text = if args.markdown {
        markdown::render(results)
    } else if args.junit {
        junit::render(results)
    } else if args.html {
        page::render(results, &found.beside())
    } else {
        table::render(results, &Style::stdout())
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(EXIT_VALID),
        // A reader that has gone away (`| head`) has what it wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_VALID),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_BROKEN)
        }
    }
}

impl Found {
    /// A page without a timeline is still a page, so a history that cannot be read is a warning.
    fn read_history(&mut self) {
        if self.history.is_some() {
            return;
        }
        match reader::read(&self.folder.join("history.jsonl")) {
            Ok(history) => self.history = Some(history),
            Err(error) => eprintln!("warning: no timeline: {error}"),
        }
    }

    fn beside(&self) -> Beside<'_> {
        Beside::read(&self.folder, &self.results, self.history.as_ref())
    }
}

/// # Errors
/// For people: what is there, and what was expected.
fn find(path: &Path) -> Result<Found, String> {
    let inside = |name: &str| path.join(name).is_file();
    if path.is_dir() && (inside("results.json") || !inside("history.jsonl")) {
        return of_results(path, path.to_owned());
    }
    let file = if path.is_dir() { path.join("history.jsonl") } else { path.to_owned() };
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let (format, ours) = import::sniff_file(&file).map_err(|error| error.to_string())?;
    if ours {
        return of_history(&file, folder);
    }
    let ends_in = |end: &str| file.extension().is_some_and(|found| found == end);
    if ends_in("toml") {
        return Err(format!(
            "{}: a workload, of which there is nothing to report yet: `harness run` runs it; expected a run's folder, its \
             results.json or a history.jsonl",
            file.display()
        ));
    }
    let results = of_results(&file, folder);
    match (format, &results) {
        // A results.json looks like a JSON history at its first brace, so only what is no results.json is asked for its format.
        (Some(format), Err(_)) if !ends_in("json") => Err(format!(
            "{}: a history in the format {format}, which has no nodes, faults or versions to make a report of; \
             `harness check {0}` judges it",
            file.display()
        )),
        _ => results,
    }
}

fn of_results(path: &Path, folder: PathBuf) -> Result<Found, String> {
    let results = Results::read(path).map_err(|error| error.to_string())?;
    Ok(Found { results, folder, history: None })
}

/// Judges a history again: of a run that was killed there is nothing else.
fn of_history(file: &Path, folder: PathBuf) -> Result<Found, String> {
    let history = reader::read(file).map_err(|error| error.to_string())?;
    let checked = recorded::checks_of(&history);
    let (workload, seed) = named(file);
    let last_ns = history.ops.iter().map(|op| op.returned_ns.unwrap_or(op.invoked_ns)).max().unwrap_or(0);
    let facts = RunFacts {
        workload: workload.unwrap_or_else(|| file.display().to_string()),
        seed,
        duration_ms: last_ns / 1_000_000,
        rerun: format!("harness check {}", file.display()),
        notes: vec![format!(
            "made from {} alone: what only the run knew (its command, failures of the harness) is not here",
            file.display()
        )],
        versions: Versions::here(),
        ..RunFacts::default()
    };
    let results = Results::build(&history, checked, facts);
    Ok(Found { results, folder, history: Some(history) })
}

/// The workload's name and the seed, as the first event has them.
fn named(file: &Path) -> (Option<String>, u64) {
    let mut line = String::new();
    let opened = std::fs::File::open(file);
    if opened.and_then(|file| std::io::BufReader::new(file).read_line(&mut line)).is_err() {
        return (None, 0);
    }
    let event: Json = serde_json::from_str(&line).unwrap_or_default();
    let value = &event["value"];
    (value["workload"].as_str().map(str::to_owned), value["seed"].as_u64().unwrap_or(0))
}

/// Writes the pictures and names them.
fn draw(found: &Found, into: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(into)?;
    for (name, svg) in page::pictures(&found.results, &found.beside()) {
        let path = into.join(format!("{name}.svg"));
        std::fs::write(&path, svg)?;
        println!("{}", path.display());
    }
    Ok(())
}
