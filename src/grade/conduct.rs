//! One unit: one run of the harness, as a process of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::{HostWatch, Weather};
use super::rubric::{Item, Rubric};
use crate::report::results::Results;
use crate::seed::Rng;

const POLL: Duration = Duration::from_millis(20);
/// The most of the harness's own words that are kept, characters.
const WORDS: usize = 2_000;
/// How long a run that was asked to end may take to clean up after itself.
const GRACE: Duration = Duration::from_secs(10);

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// The rubric.
    pub rubric: &'a Rubric,
    /// Its item.
    pub item: &'a Item,
    /// Which repeat, from 1.
    pub repeat: u32,
    /// How a node of the submission starts.
    pub node: &'a str,
    /// The submission's folder: each node of each run gets a copy of it.
    pub folder: &'a Path,
    /// How far nodes are kept from what is not theirs, a word that `--isolation` takes.
    pub isolation: &'a str,
    /// Folders that nodes find empty: the class's, where the system allows it.
    pub hidden: &'a [PathBuf],
    /// Whether the run has a network of its own, so that ports the workload names are free.
    pub own_network: bool,
}

impl Unit<'_> {
    /// The run's seed: the same for every submission.
    pub fn seed(&self) -> u64 {
        let label = format!("grade {} {}", self.item.name, self.repeat);
        // What `--seed` takes.
        Rng::new(self.rubric.seed, &label).bits() % 1_000_000_000
    }

    fn arguments(&self, node: &str, workload: &Path) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), workload.display().to_string()];
        arguments.extend([
            "--node".to_owned(),
            node.to_owned(),
            "--seed".to_owned(),
            self.seed().to_string(),
        ]);
        for (flag, values) in
            [("--set", &self.rubric.submission.limits), ("--set", &self.item.set), ("--var", &self.item.vars)]
        {
            arguments.extend(values.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
        }
        arguments
    }

    /// The command by which somebody runs it again, with `node` as they start theirs.
    pub fn rerun(&self, node: &str) -> String {
        let workload = self.item.workload.as_path();
        let here = std::env::current_dir()
            .ok()
            .and_then(|here| workload.strip_prefix(here).ok().map(Path::to_owned));
        let arguments = self.arguments(node, here.as_deref().unwrap_or(workload));
        format!("harness {}", shell_words::join(arguments))
    }
}

/// How the run's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Code(u8),
    /// By a signal that was not ours.
    Signal(i32),
    /// Its time was up.
    TimedOut,
    /// Somebody asked to end the grading.
    Interrupted,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// How the process ended.
    pub end: End,
    /// Its results, where it left any.
    pub results: Option<Results>,
    /// What the harness said on standard error, shortened.
    pub said: String,
    /// What the machine was like meanwhile.
    pub weather: Weather,
    /// CPU time of the run and all that it started, seconds.
    pub own_cpu_s: f64,
    /// How long it took.
    pub took: Duration,
}

/// Runs it, with results in `folder` (made anew); `stop` tells whether somebody wants it to end.
///
/// # Errors
/// When the process cannot be started, or its output not kept: our own failure.
pub fn conduct(
    unit: &Unit<'_>,
    harness: &Path,
    folder: &Path,
    watch: &HostWatch,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<Attempt> {
    super::tree::remove(folder)?;
    fs::create_dir_all(folder)?;
    let (out, err) = (folder.join("run.json"), folder.join("run.log"));
    let mut command = Command::new(harness);
    command.args(unit.arguments(unit.node, &unit.item.workload)).args([
        "--json",
        "--quiet",
        "--isolation",
        unit.isolation,
    ]);
    // A TOML string: paths may hold anything.
    command
        .arg("--set")
        .arg(format!("cluster.copy={}", toml::Value::from(unit.folder.display().to_string())));
    command.args(unit.hidden.iter().flat_map(|folder| [OsStr::new("--hide"), folder.as_os_str()]));
    command.arg("--results");
    super::child::clean_environment(&mut command);
    command.arg(folder.join("results")).envs(&unit.rubric.submission.env);
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
    if unit.own_network {
        // Where it notes which ports are taken: those of its own network, and what its nodes leave goes with it.
        let temporary = folder.join("tmp");
        fs::create_dir_all(&temporary)?;
        command.env("TMPDIR", temporary);
    }
    super::cell::enter(&mut command, unit.own_network);
    let stretch = watch.begin();
    let began = Instant::now();
    let pid = Pid::from_raw(command.spawn()?.id().cast_signed());
    // From here on nothing may return early: the process is to be waited for.
    let mut asked: Option<(Instant, End)> = None;
    let mut killed = false;
    let (status, own_cpu_s) = loop {
        if let Some(ended) = reap(pid)? {
            break ended;
        }
        if asked.is_none() {
            let why = match (stop(), began.elapsed() > unit.item.timeout) {
                (true, _) => Some(End::Interrupted),
                (false, true) => Some(End::TimedOut),
                (false, false) => None,
            };
            if let Some(why) = why {
                asked = Some((Instant::now(), why));
                // It is there until it is reaped.
                let _ = kill(pid, Signal::SIGTERM);
            }
        } else if asked.is_some_and(|(since, _)| since.elapsed() > GRACE) && !killed {
            killed = true;
            // Its warden sees to what it started.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(POLL);
    };
    let weather = stretch.end();
    let end = match asked {
        Some((_, why)) => why,
        None if libc::WIFEXITED(status) => End::Code(libc::WEXITSTATUS(status) as u8),
        None => End::Signal(libc::WTERMSIG(status)),
    };
    // By the pipe the run was given, not from its folder, where a node may have left what it liked.
    let results = fs::read(&out).ok().and_then(|text| serde_json::from_slice(&text).ok());
    Ok(Attempt { end, results, said: read_words(&err), weather, own_cpu_s, took: began.elapsed() })
}

/// The status of a child that has ended, and the CPU time that it and its descendants took, s (wait4(2)).
fn reap(pid: Pid) -> io::Result<Option<(libc::c_int, f64)>> {
    let mut status = 0;
    // SAFETY: a rusage is plain numbers, for which zeroes are as good as any.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals of the right type.
    match unsafe { libc::wait4(pid.as_raw(), &raw mut status, libc::WNOHANG, &raw mut usage) } {
        0 => Ok(None),
        -1 if Errno::last() == Errno::EINTR => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => {
            let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
            Ok(Some((status, seconds(usage.ru_utime) + seconds(usage.ru_stime))))
        }
    }
}

fn read_words(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    crate::report::style::one_line(&crate::report::style::clean(text.trim()), WORDS)
}

/// Removes what is left of the copies that nodes ran in; their logs stay.
///
/// # Errors
/// When something cannot be removed.
pub fn forget_copies(run: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(run.join("nodes")) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Where the run's own folder is: the only one below its results, links aside.
pub fn run_folder(folder: &Path) -> Option<PathBuf> {
    let inside = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir() && !path.is_symlink()).max()
    };
    inside(&inside(&folder.join("results"))?)
}
