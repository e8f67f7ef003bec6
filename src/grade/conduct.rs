//! One unit: one run of the harness, as a process of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::blame::Ended;
use super::rubric::{Item, Rubric};
use crate::seed::Rng;

const POLL: Duration = Duration::from_millis(20);
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
        for (flag, values) in [("--set", &self.item.set), ("--var", &self.item.vars)] {
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

/// Runs it, with results in `folder` (made anew); `stop` tells whether somebody wants it to end.
///
/// # Errors
/// When the process cannot be started, or its output not kept: our own failure.
pub fn conduct(
    unit: &Unit<'_>,
    harness: &Path,
    folder: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<Option<Ended>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let (out, err) = (folder.join("run.json"), folder.join("run.log"));
    let mut command = Command::new(harness);
    command.args(unit.arguments(unit.node, &unit.item.workload)).args(["--json", "--quiet", "--results"]);
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
    let mut child = command.spawn()?;
    let mut ended = Ended::default();
    let deadline = Instant::now() + unit.item.timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            ended.exit_code = status.code().and_then(|code| u8::try_from(code).ok());
            break;
        }
        let interrupted = stop();
        ended.timed_out = Instant::now() > deadline;
        if interrupted || ended.timed_out {
            finish(&mut child)?;
            if interrupted {
                return Ok(None);
            }
            break;
        }
        std::thread::sleep(POLL);
    }
    // By the pipe the run was given, not from its folder, where a node may have left what it liked.
    ended.results =
        fs::read(&out).ok().and_then(|text| serde_json::from_slice(&text).ok()).filter(|_| !ended.timed_out);
    ended.stderr = String::from_utf8_lossy(&fs::read(&err).unwrap_or_default()).into_owned();
    Ok(Some(ended))
}

/// Lets a run clean up, and kills it when it does not; its warden then does.
fn finish(child: &mut Child) -> io::Result<()> {
    let pid = Pid::from_raw(child.id().cast_signed());
    // It may have ended meanwhile.
    let _ = kill(pid, Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break;
        }
        std::thread::sleep(POLL);
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
