//! Making a submission ready: a copy of its own, looked over, and built.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::discover::Submission;
use super::hash::Print;
use super::record::Prepared;
use super::rubric::{Rubric, SubmissionRules};
use super::tree::{self, TreeError};
use super::unpack::{self, UnpackError};
use super::{child, hash, plan};
use crate::sandbox::{Isolation, Jail, Limits, Room};
use crate::workload::{Overrides, Workload};

/// The last lines of a build that are shown.
const LOG_LINES: usize = 20;
/// The most of a build's output that is kept, bytes.
const LOG_BYTES: u64 = 1 << 20;
const POLL: Duration = Duration::from_millis(20);
/// What a build may use, where the system keeps it: compilers need much.
const BUILD_LIMITS: Limits =
    Limits { memory: None, cpu: None, processes: Some(1_000), file: Some(4 << 30), disk: None };

/// Where a build's temporary files are, beside the submission's.
const TEMPORARY: &str = "tmp";

/// What a build is kept from.
#[derive(Clone, Copy, Debug)]
pub struct Walls<'a> {
    /// What can be kept from it here; `None`: it is kept from nothing.
    pub isolation: Option<&'a Isolation>,
    /// Folders that it finds empty.
    pub hidden: &'a [PathBuf],
}

/// A submission that was made ready, or refused.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What the journal says.
    pub prepared: Prepared,
    /// Its own folder, of which each node of each run gets a copy.
    pub dir: PathBuf,
}

/// What tells whether a submission is still the one that was graded, made ready by the same rules.
///
/// # Errors
/// It cannot be read.
pub fn fingerprint(submission: &Submission, rules: &SubmissionRules) -> io::Result<String> {
    let content = if submission.path.is_dir() {
        hash::folder(&submission.path, rules.max_size)?
    } else {
        hash::file(&submission.path)?
    };
    Ok(Print::of([content, plan::of_rules(rules)]))
}

/// Copies or unpacks `submission` into `work` (made anew), looks for what the rules require, and builds it. `stop` tells
/// whether somebody wants the build to end. The build is the submission's own code too, so it writes in its folder alone, sees no other
/// submission and no process but its own, as far as `walls` can be had; the network is left to it.
///
/// # Errors
/// When our own disk does not take it; what is wrong with the submission is in [`Prepared::refused`].
pub fn prepare(
    submission: &Submission,
    rules: &SubmissionRules,
    work: &Path,
    walls: &Walls<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<Ready> {
    tree::remove(work)?;
    fs::create_dir_all(work)?;
    let work = &work.canonicalize()?;
    let code = work.join("code");
    fs::create_dir_all(&code)?;
    let mut prepared = Prepared {
        submission: submission.name.clone(),
        fingerprint: fingerprint(submission, rules)?,
        refused: None,
        log: Vec::new(),
    };
    let taken = if submission.path.is_dir() {
        match tree::copy(&submission.path, &code, rules.max_size) {
            Err(TreeError::Io { error, .. }) => return Err(error),
            taken => taken.map_err(|error| error.to_string()),
        }
    } else {
        match unpack::unpack(&submission.path, &code, rules.max_size) {
            // Our own disk, and no fault of the submission.
            Err(UnpackError::Io { error, .. }) => return Err(error),
            taken => taken.map_err(|error| format!("the archive cannot be used: {error}")),
        }
    };
    let dir = unpack::root(&code);
    let refused = taken.err().or_else(|| missing(&dir, &rules.requires));
    prepared.refused = refused;
    if let (None, Some(command)) = (&prepared.refused, &rules.build) {
        let log = work.join("build.log");
        let temporary = work.join(TEMPORARY);
        fs::create_dir_all(&temporary)?;
        let built = build(command, &dir, rules, (jail(work, rules, walls), &temporary), &log, stop);
        tree::remove(&temporary)?;
        // What was built is copied to the nodes with the rest, though its builder calls it a cache (Cargo does).
        tree::forget_cache_tags(&code)?;
        if let Err(why) = built {
            prepared.log = tail(&log);
            prepared.refused = Some(why + hint(&prepared.log));
        }
    }
    Ok(Ready { prepared, dir })
}

fn missing(dir: &Path, requires: &[String]) -> Option<String> {
    let missing: Vec<&str> =
        requires.iter().map(String::as_str).filter(|file| !is_there(dir, file)).collect();
    (!missing.is_empty()).then(|| format!("it has no {}", missing.join(", no ")))
}

/// Whether there is such a file, in the submission itself and not where a link leads.
fn is_there(dir: &Path, file: &str) -> bool {
    let found = dir.join(file).canonicalize();
    found.is_ok_and(|found| found.is_file() && dir.canonicalize().is_ok_and(|dir| found.starts_with(dir)))
}

/// What a build below `work` may not do.
fn jail(work: &Path, rules: &SubmissionRules, walls: &Walls<'_>) -> Jail {
    let limits = BUILD_LIMITS;
    let Some(isolation) = walls.isolation.filter(|isolation| isolation.landlock || isolation.rooms) else {
        return Jail { limits, ..Jail::default() };
    };
    let mut writable = vec![work.to_owned()];
    let words =
        rules.build.iter().chain(rules.env.values()).flat_map(|text| text.split([' ', '=', ':', ',']));
    let is_needed = work.starts_with("/tmp") || words.into_iter().any(|word| word.starts_with("/tmp"));
    let temporary = (isolation.rooms && !is_needed).then(|| work.join(TEMPORARY));
    writable.extend(temporary.is_some().then(|| "/tmp".into()));
    let room = Room { own: work.to_owned(), temporary, hidden: walls.hidden.to_owned(), ..Room::default() };
    Jail { writable: isolation.landlock.then_some(writable), room: isolation.rooms.then_some(room), limits }
}

/// Builds in the submission's folder; nothing of it is left running.
fn build(
    command: &str,
    dir: &Path,
    rules: &SubmissionRules,
    (jail, temporary): (Jail, &Path),
    log: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(), String> {
    use std::os::unix::process::CommandExt as _;
    let words = shell_words::split(command).map_err(|error| error.to_string())?;
    let (program, arguments) = words.split_first().ok_or("the build is empty")?;
    let told = |error: io::Error| format!("the build `{command}` cannot be started: {error}");
    let output = File::create(log).map_err(told)?;
    let mut build = Command::new(program);
    child::clean_environment(&mut build);
    child::die_with_us(&mut build);
    child::jail(&mut build, jail, dir);
    build
        .args(arguments)
        .current_dir(dir)
        // What compilers keep for the next time.
        .env("XDG_CACHE_HOME", temporary.join("cache"))
        .env("TMPDIR", temporary)
        .envs(&rules.env)
        .stdin(Stdio::null());
    build.stdout(output.try_clone().map_err(told)?).stderr(output).process_group(0);
    let mut child = build.spawn().map_err(told)?;
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + rules.build_timeout;
    let ended = loop {
        let size = fs::metadata(log).map_or(0, |log| log.len());
        match child.try_wait().map_err(told)? {
            Some(status) if status.success() => break Ok(()),
            Some(status) => break Err(format!("the build `{command}` failed ({status})")),
            None if size > LOG_BYTES => {
                break Err(format!("the build `{command}` wrote more than {LOG_BYTES} bytes"));
            }
            None if Instant::now() > deadline => {
                let seconds = rules.build_timeout.as_secs_f64();
                break Err(format!("the build `{command}` took longer than {seconds} s"));
            }
            None if stop() => break Err("the grading was interrupted".to_owned()),
            None => std::thread::sleep(POLL),
        }
    };
    // Its children too, and when it has ended by itself: a build that goes on is none. That it is gone already is no error.
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait();
    ended
}

/// What somebody may not expect who wrote the rubric.
fn hint(log: &[String]) -> &'static str {
    let is_about_it = |line: &String| line.to_lowercase().contains("read-only file system");
    match log.iter().any(is_about_it) {
        true => {
            "; a build may write to its own folder, TMPDIR and XDG_CACHE_HOME alone, not to HOME: the rubric's `env` can tell its tools"
        }
        false => "",
    }
}

/// The last lines of a file.
fn tail(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(16 * 1024)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..]
        .iter()
        .map(|line| line.chars().take(300).collect())
        .collect()
}

/// Why an item's workload cannot start a node of the submission in `dir`; `None`: all can.
///
/// # Errors
/// What is missing is not in the submission: the rubric's command does not work here.
pub fn cannot_start(rubric: &Rubric, dir: &Path) -> Result<Option<String>, String> {
    let copy = format!("cluster.copy={}", toml::Value::from(dir.display().to_string()));
    for item in &rubric.items {
        let overrides = Overrides {
            node: Some(node_command(&rubric.submission)),
            vars: item.vars.clone(),
            sets: [&rubric.submission.limits, &item.set, std::slice::from_ref(&copy)].concat(),
            ..Overrides::default()
        };
        let Err(errors) = Workload::load(&item.workload, &overrides) else { continue };
        let what = errors.list.first().map(|problem| match problem.label.as_str() {
            "" => problem.title.clone(),
            label => format!("{}; {label}", problem.title),
        });
        let what = what.unwrap_or_default();
        // What is in the submission is named from its folder; a program is looked for in PATH.
        return if what.contains("./") { Ok(Some(what)) } else { Err(what) };
    }
    Ok(None)
}

/// How a node of the submission starts: in a copy of the submission's folder that is its own.
pub fn node_command(rules: &SubmissionRules) -> String {
    rules.node.replace(super::rubric::DIR, ".")
}
