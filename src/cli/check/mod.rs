//! `harness check FILE…`: the checks on recorded histories, without running anything.
//!
//! Histories that our own runs recorded have nodes, versions and faults: all checks judge those ([`recorded`]). Any other history
//! has operations, and the plain checks judge it ([`foreign`]). Which it is the file's content tells.

mod foreign;
mod input;
pub(super) mod recorded;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value as Json, json};

use self::foreign::Foreign;
use self::input::Input;
use super::{EXIT_INVALID, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID};
use crate::check::linearizability::Budget;
use crate::check::models::{Initial, Model};
use crate::check::plain::{self, PLAIN};
use crate::check::{self, Verdict};
use crate::document::units;
use crate::history::import::{self, Format};
use crate::report::style::{Paint, Style};

/// Arguments of `harness check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Histories recorded by harness are judged by the checks that their workload asked for, in its modes; where the history \
does not say, by all of them, staleness and availability for their figures only.

Any other history (Jepsen's EDN and JSON, Porcupine's logs, JSON lines) is placed on the strength ladder: \
linearizability > sequential > causal > read-your-writes, monotonic-reads, monotonic-writes, writes-follow-reads; \
linearizability > eventual. The exit code is then that of the strongest level, linearizability; --check NAME asks for \
another one. Beside the ladder a set, a counter or a queue is judged by the check of that name, which finds what no \
order tells (an element listed twice); a violation of it counts too. Ids (generate) are judged by unique-ids alone.

That replicas agree some day few finite histories can tell: eventual is valid where it follows from linearizability or \
all were seen to read the same after the last write, invalid where a read returned what nobody wrote, else unknown.

Without --model, the names of the operations tell: read, write: register; cas: cas-register (etcd-cas-register in \
Porcupine's logs of etcd); get, put, append: kv-append; enqueue, dequeue: queue; acquire, release: mutex; txn: \
multi-register; add: set or counter, by the values read.

Exit codes: 0 all required checks valid, 1 a violation, 2 bad usage or an unreadable history, 3 a required check is \
unknown. Of several files the worst counts.")]
pub struct Args {
    /// Histories: history.jsonl, a run's folder, another tool's file, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only these checks, all required
    #[arg(long, value_name = "NAME", num_args = 1..)]
    check: Vec<String>,
    /// What the history is checked against: register, cas-register, etcd-cas-register, multi-register, kv-append,
    /// counter, set, queue or mutex [default: told by the operations]
    #[arg(long, value_name = "M")]
    model: Option<Model>,
    /// Its state before all operations: 0, nil, x=0,y=0 [default: the model's own]
    #[arg(long, value_name = "I", allow_hyphen_values = true)]
    initial: Option<Initial>,
    /// The files' format, where content does not tell: jsonl, jepsen-json, jepsen-edn, porcupine-log, porcupine-kv
    #[arg(long, value_name = "F")]
    format: Option<Format>,
    /// Show the strength ladder for histories recorded by harness, too
    #[arg(long)]
    ladder: bool,
    /// How long the search for an order may take before it says "unknown"
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    budget: std::time::Duration,
    /// How much memory it may take
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = units::size)]
    memory: u64,
    /// What a crash must not take, instead of what the history says
    #[arg(long, value_name = "D", value_parser = ["disk", "replicated", "memory"])]
    durability: Option<String>,
    /// Print one JSON object a file and line
    #[arg(long)]
    json: bool,
}

impl Args {
    fn budget(&self) -> Budget {
        Budget { time: self.budget, memory_bytes: usize::try_from(self.memory).unwrap_or(usize::MAX) }
    }
}

/// What one file came to: tables, and the same as JSON.
struct Judged {
    verdict: Verdict,
    text: String,
    checks: Vec<Json>,
    /// Fields of the file's object beside `checks`.
    more: Map<String, Json>,
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
        let judged = Input::open(file).and_then(|input| {
            judge(args, &input).map(|judged| (judged.verdict, shown(args, input.name(), judged)))
        });
        let (verdict, text) = match judged {
            Ok(judged) => judged,
            Err(error) => {
                eprintln!("error: {error}");
                unreadable = true;
                continue;
            }
        };
        worst = worst.max(verdict);
        // A reader that has seen enough (`| head`) is no failure; the exit code still tells the verdict.
        let _ = out.write_all(text.as_bytes());
    }
    let _ = out.flush();
    if unreadable { EXIT_USAGE.into() } else { exit_code(worst).into() }
}

/// Judges one file.
///
/// # Errors
/// For people, with the file's name.
fn judge(args: &Args, file: &Input) -> Result<Judged, String> {
    let (sniffed, ours) = import::sniff(file.read()?, file.name()).map_err(|error| error.to_string())?;
    let format = args.format.or(sniffed);
    if ours && format == Some(Format::Jsonl) {
        return recorded::judge(args, file);
    }
    let name = file.name().display();
    if let Some(check) = args.check.iter().find(|name| plain::find(name).is_none()) {
        return Err(format!(
            "{name}: `{check}` needs a history recorded by harness: this one has operations only, no nodes, versions or faults\n\
             checks of operations: {}",
            PLAIN.iter().map(|check| check.name()).collect::<Vec<_>>().join(", ")
        ));
    }
    if args.durability.is_some() {
        return Err(format!(
            "{name}: --durability is about histories recorded by harness; this one has no crashes"
        ));
    }
    let foreign = Foreign::read(args, file, format)?;
    let style = Style::stdout();
    let mut judged = Judged {
        verdict: Verdict::Valid,
        text: foreign.head(file.name(), &style),
        checks: Vec::new(),
        more: foreign.facts(),
    };
    foreign.add_checks(&args.check, &mut judged, &style)?;
    if args.check.is_empty() {
        if !foreign.add_without_model(&mut judged, &style)? {
            judged.verdict = foreign.add_ladder(&mut judged, &style)?;
            foreign.add_object(&mut judged, &style)?;
        }
    } else if args.ladder {
        foreign.add_ladder(&mut judged, &style)?;
    }
    foreign.add_start(&mut judged, &style);
    Ok(judged)
}

fn shown(args: &Args, file: &Path, judged: Judged) -> String {
    let Judged { verdict, mut text, checks, more } = judged;
    if !args.json {
        let style = Style::stdout();
        text.push_str(&format!("\nverdict: {}\n", style.paint(Paint::of(verdict), word(verdict))));
        return text;
    }
    let mut report = json!({
        "file": file.display().to_string(),
        "verdict": verdict,
        "exit_code": exit_code(verdict),
        "checks": checks,
    });
    if let Some(report) = report.as_object_mut() {
        report.extend(more);
    }
    format!("{report}\n")
}

fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => EXIT_VALID,
        Verdict::Invalid => EXIT_INVALID,
        Verdict::Unknown => EXIT_UNKNOWN,
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

fn known(name: &str) -> Result<(), String> {
    if check::find(name).is_some() || plain::find(name).is_some() {
        return Ok(());
    }
    let mut names: Vec<&str> = check::all().map(|check| check.name()).collect();
    names.extend(PLAIN.iter().map(|check| check.name()));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    let nearest = names
        .iter()
        .max_by(|left, right| strsim::jaro_winkler(name, left).total_cmp(&strsim::jaro_winkler(name, right)));
    let nearest = nearest.filter(|near| strsim::jaro_winkler(name, near) > 0.7);
    let hint = nearest.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    Err(format!("there is no check {name:?}{hint}\nchecks: {}", names.join(", ")))
}
