//! `harness grade DIR --rubric FILE`: a whole class.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

mod progress;

use progress::Progress;

use super::overrides::show_errors;
use super::{EXIT_BROKEN, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID};
use crate::grade::cell;
use crate::grade::class::{self, GradeError, Grading};
use crate::grade::discover;
use crate::grade::host;
use crate::grade::journal::{JOURNAL, Journal, Known};
use crate::grade::merge;
use crate::grade::outputs;
use crate::grade::prepare::Walls;
use crate::grade::score::{Class, Scored};
use crate::grade::{Part, Rubric, parse};
use crate::report::progress::ProgressMode;
use crate::report::style::Style;
use crate::run::interrupt::Interrupt;
use crate::sandbox;

/// What a shell expects of a program that ended because of Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

/// Grade a class: every submission against a rubric
#[derive(Args, Clone, Debug)]
pub struct GradeArgs {
    /// A folder of submissions (folders, .zip, .tar, .tar.gz), or a file that lists them; with --merge: output folders
    #[arg(required = true, value_name = "DIR")]
    pub from: Vec<PathBuf>,
    /// The rubric
    #[arg(long, value_name = "FILE")]
    pub rubric: PathBuf,
    /// Where grades, feedback and runs go [default: results/grade-NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs side by side [default: one for every two CPUs, as far as memory goes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Only this part of the class, as in 3/8; --merge brings the parts together
    #[arg(long, value_name = "K/N", value_parser = partition, conflicts_with = "merge")]
    pub partition: Option<(usize, usize)>,
    /// Bring together what --partition graded apart
    #[arg(long)]
    pub merge: bool,
    /// Forget what is known and begin again
    #[arg(long, conflicts_with = "merge")]
    pub fresh: bool,
    /// What is printed at the end
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// End with exit code 4 unless each run gets a network of its own, and nodes can be kept from other files and processes
    #[arg(long)]
    pub require_isolation: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// What is printed at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// grades.csv
    Csv,
    /// grades.json
    Json,
    /// Gradescope's results.json, of a class of one
    Gradescope,
}

fn partition(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    parts
        .filter(|(part, of)| (1..=*of).contains(part))
        .ok_or_else(|| "expected a part such as 3/8".to_owned())
}

/// Grades; 0 when every check of every submission was decided, whatever the grades, and 3 when somebody has to look.
pub fn main(args: &GradeArgs) -> ExitCode {
    let rubric = match parse::read(&args.rubric) {
        Ok(rubric) => rubric,
        Err(problems) => {
            show_errors(&problems);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let out =
        args.out.clone().unwrap_or_else(|| PathBuf::from("results").join(format!("grade-{}", rubric.name)));
    let done = if args.merge { merge(args, &rubric, &out) } else { grade(args, &rubric, &out) };
    match done {
        Ok(Some((class, known))) => show(args, &rubric, &class, &known),
        Ok(None) => {
            eprintln!(
                "interrupted; what is known is in {}, and the same command goes on from there",
                out.display()
            );
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err((code, why)) => {
            eprintln!("error: {why}");
            ExitCode::from(code)
        }
    }
}

type Done = Result<Option<(Class, Known)>, (u8, String)>;

fn usage(why: impl ToString) -> (u8, String) {
    (EXIT_USAGE, why.to_string())
}

fn broken(why: impl ToString) -> (u8, String) {
    (EXIT_BROKEN, why.to_string())
}

fn grade(args: &GradeArgs, rubric: &Rubric, out: &Path) -> Done {
    let [from] = &args.from[..] else {
        return Err(usage(
            "one folder of submissions at a time (or --merge with the output folders of several gradings)",
        ));
    };
    let mut submissions = discover::discover(from).map_err(usage)?;
    let (which, of) = args.partition.unwrap_or((1, 1));
    let names = submissions.iter().map(|submission| submission.name.clone()).collect();
    if let Some((part, of)) = args.partition {
        submissions = submissions
            .into_iter()
            .enumerate()
            .filter(|(at, _)| at % of == part - 1)
            .map(|(_, one)| one)
            .collect();
    }
    begin(args, out)?;
    let own_network = cell::is_available();
    // Each run tries it again for itself; here only a build, or whoever insists, has to know.
    let is_asked = args.require_isolation || rubric.submission.build.is_some();
    let isolation = is_asked.then(sandbox::probe);
    if let Some(isolation) = isolation.as_ref().filter(|known| args.require_isolation && !known.is_full()) {
        // Each run gets a network: that this process has none of its own says nothing.
        let missing: Vec<String> =
            isolation.missing().into_iter().filter(|line| !line.starts_with("net ")).collect();
        return Err(broken(format!(
            "--require-isolation: nodes cannot be kept from files and processes that are not theirs: {}",
            missing.join("; ")
        )));
    }
    if args.require_isolation && !own_network {
        return Err(broken(
            "--require-isolation: no network of its own can be made for a run here (unshare of a user and a network namespace failed)",
        ));
    }
    let jobs = jobs(args, rubric, own_network);
    let interrupt =
        Interrupt::install().map_err(|error| broken(format!("cannot listen for signals: {error}")))?;
    let harness = std::env::current_exe().map_err(broken)?;
    let progress = Progress::new(ProgressMode::choose(args.quiet), &submissions);
    let out = out.canonicalize().map_err(broken)?;
    let mut hidden = vec![out.clone()];
    let handed_in: Vec<&Path> = match from.is_dir() {
        true => vec![from],
        false => submissions.iter().map(|submission| submission.path.as_path()).collect(),
    };
    hidden.extend(handed_in.iter().filter_map(|path| path.canonicalize().ok()));
    let grading = Grading {
        rubric,
        submissions: &submissions,
        part: Part { which, of, submissions: names },
        out: &out,
        jobs,
        own_network,
        walls: Walls { isolation: isolation.as_ref(), hidden: &hidden },
        isolation: if args.require_isolation { "required" } else { "auto" },
        harness: &harness,
        stop: &|| interrupt.asked(),
        tell: &|event| progress.tell(event),
    };
    let class = class::grade(&grading);
    progress.finish();
    let class = class.map_err(|error| match error {
        GradeError::Node(_) | GradeError::OtherPart { .. } => usage(error),
        error => broken(error),
    })?;
    let known = Known::read(&out.join(JOURNAL)).map_err(broken)?;
    Ok(class.map(|class| (class, known)))
}

/// As many as the machine bears; of runs that need the same ports that is one.
fn jobs(args: &GradeArgs, rubric: &Rubric, own_network: bool) -> usize {
    let jobs = args.jobs.map_or_else(host::usual_jobs, usize::from);
    let fixed = rubric.items.iter().any(|item| item.fixed_ports);
    if fixed && !own_network && jobs > 1 {
        eprintln!(
            "note: workloads name ports, and no network of its own can be made for a run here: one after another"
        );
        return 1;
    }
    jobs
}

/// The output folder, with the rubric in it.
fn begin(args: &GradeArgs, out: &Path) -> Result<(), (u8, String)> {
    let io = |error: std::io::Error| broken(format!("{}: {error}", out.display()));
    std::fs::create_dir_all(out).map_err(io)?;
    let (journal, kept) = (out.join(JOURNAL), out.join("rubric.toml"));
    let text = std::fs::read(&args.rubric).map_err(io)?;
    if args.fresh && journal.exists() {
        std::fs::remove_file(&journal).map_err(io)?;
    }
    std::fs::write(kept, text).map_err(io)
}

fn merge(args: &GradeArgs, rubric: &Rubric, out: &Path) -> Done {
    let io = |error: std::io::Error| broken(format!("{}: {error}", out.display()));
    let mut parts = Vec::new();
    for part in &args.from {
        parts.push((part.clone(), Known::read(&part.join(JOURNAL)).map_err(usage)?));
    }
    let (names, known) = merge::together(rubric, parts).map_err(usage)?;
    if out.join(JOURNAL).exists() {
        return Err(usage(format!("{} holds a grading already: choose another --out", out.display())));
    }
    std::fs::create_dir_all(out).map_err(io)?;
    std::fs::copy(&args.rubric, out.join("rubric.toml")).map_err(io)?;
    for (part, name) in args.from.iter().flat_map(|part| names.iter().map(move |name| (part, name))) {
        let runs = |out: &Path| outputs::folder_of(out, name).join("runs");
        merge::take_runs(&runs(part), &runs(out)).map_err(broken)?;
    }
    Journal::begin(out, &known).map_err(broken)?;
    let class = outputs::write_all(rubric, &names, &known, out).map_err(broken)?;
    Ok(Some((class, known)))
}

fn show(args: &GradeArgs, rubric: &Rubric, class: &Class, known: &Known) -> ExitCode {
    let text = match (args.format, &class.submissions[..]) {
        (Format::Table, _) => {
            let style = Style::stdout();
            format!(
                "{}\n{}\n",
                outputs::table(rubric, class, &style),
                style.wrap(&outputs::machine(known), 2)
            )
        }
        (Format::Csv, _) => outputs::csv(rubric, class),
        (Format::Json, _) => outputs::json(rubric, class),
        (Format::Gradescope, [only]) => outputs::gradescope(rubric, only, known),
        (Format::Gradescope, _) => {
            eprintln!("error: --format gradescope prints one submission; gradescope/NAME.json has each");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    // A reader that has gone away has what it wanted.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let open = class.submissions.iter().any(Scored::needs_review);
    ExitCode::from(if open { EXIT_UNKNOWN } else { EXIT_VALID })
}
