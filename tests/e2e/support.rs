//! A run of the binary on a workload of the test's own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

/// How long a run of a few seconds may take on a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long anything of a run may outlive the harness.
const AFTERLIFE: Duration = Duration::from_secs(2);
/// In the environment of the harness, and so of everything it starts.
const MARK: &str = "E2E_MARK";
/// The bundled node, correct; bugs are added behind it.
pub const BUNDLED: &str = "{{ harness }} node lww";

/// A workload: what differs between tests; the rest is the same for all.
#[derive(Clone)]
pub struct Spec {
    pub name: &'static str,
    /// What `{{ node }}` stands for.
    pub node: String,
    /// The command up to the node's arguments.
    pub head: String,
    pub durability: &'static str,
    pub ready_within: &'static str,
    /// Lines of `[client]` beside the protocol.
    pub client: &'static str,
    /// Lines of `[load]`.
    pub load: &'static str,
    /// Whole `[[fault]]` tables.
    pub faults: String,
    pub settle: &'static str,
    /// Lines of `[checks]`.
    pub checks: &'static str,
}

impl Spec {
    pub fn new(name: &'static str) -> Self {
        Spec {
            name,
            node: BUNDLED.to_owned(),
            head: "{{ node }}".to_owned(),
            durability: "disk",
            ready_within: "60s",
            client: "timeout = \"2s\"",
            load: "rate = 60\nduration = \"2s\"\nkeys = 6\nrotate = \"500ms\"",
            faults: String::new(),
            settle: "20s",
            checks: "convergence = \"required\"\nlww = \"required\"",
        }
    }

    /// The bundled node with one of its bugs.
    pub fn bug(self, bug: &str) -> Self {
        Spec { node: format!("{BUNDLED} --bug {bug}"), ..self }
    }

    /// One more fault, `what` from `at` on `for` so long.
    pub fn fault(mut self, at: &str, lasts: &str, what: &str) -> Self {
        self.faults += &format!("[[fault]]\nat = \"{at}\"\nfor = \"{lasts}\"\n{what}\n");
        self
    }

    fn text(&self) -> String {
        let Spec { name, node, head, durability, ready_within, client, load, faults, settle, checks } = self;
        let peers = "{{ peers | map(attribute='url') | join(',') }}";
        let command = format!("{head} --id {{{{ id }}}} --port {{{{ port }}}} --peers {peers}");
        format!(
            "name = {name:?}\nseed = 7\nvars = {{ node = {node:?} }}\n\
             [cluster]\nnodes = [\"A\", \"B\", \"C\"]\ndurability = {durability:?}\nready-within = {ready_within:?}\n\
             command = {command:?}\n[client]\nprotocol = \"lab2\"\n{client}\n[load]\n{load}\n{faults}\
             [settle]\nwithin = {settle:?}\n[checks]\n{checks}\n"
        )
    }

    /// A place to run it in.
    pub fn lab(&self) -> Lab {
        let lab = Lab::new(self.name);
        std::fs::write(lab.file(), self.text()).unwrap();
        lab
    }

    /// Runs it with `--json --quiet`.
    pub fn run(&self) -> (Lab, Ended) {
        self.run_with(&["--json", "--quiet"])
    }

    /// Runs it in a lab of its own; anew, twice at most, when the machine had so little time for it that less than half
    /// of the operations took place: what should happen to them could not.
    pub fn run_with(&self, arguments: &[&str]) -> (Lab, Ended) {
        let mut attempts = 0;
        loop {
            let lab = self.lab();
            let ended = lab.run(arguments);
            attempts += 1;
            if attempts == 3 || !lab.was_starved() {
                return (lab, ended);
            }
        }
    }
}

/// A directory with a workload file and results, and a mark for whatever runs in it.
pub struct Lab {
    pub dir: tempfile::TempDir,
    name: String,
    mark: String,
}

impl Lab {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Lab { dir, name: name.to_owned(), mark }
    }

    /// What everything that runs in it has in its environment under `E2E_MARK`.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("workload.toml")
    }

    pub fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    /// The folder of the last run.
    pub fn folder(&self) -> PathBuf {
        self.results().join(&self.name).join("latest").canonicalize().unwrap()
    }

    /// The folders of all runs, oldest first.
    pub fn folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.results().join(&self.name)) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut folders: Vec<_> = paths.filter(|path| path.is_dir() && !path.is_symlink()).collect();
        folders.sort();
        folders
    }

    pub fn history(&self) -> PathBuf {
        self.folder().join("history.jsonl")
    }

    /// `results.json` of the last run.
    pub fn last_results(&self) -> Json {
        serde_json::from_str(&std::fs::read_to_string(self.folder().join("results.json")).unwrap()).unwrap()
    }

    /// Whether less than half of the operations took place.
    pub fn was_starved(&self) -> bool {
        let results = self.last_results();
        let rate = |name: &str| results["load"][name].as_f64().unwrap();
        results["failures"] == json!([]) && rate("achieved_rate") * 2.0 < rate("asked_rate")
    }

    /// The binary with this lab's mark in its environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.env(MARK, &self.mark).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        // Runs of the tests are not the job's own.
        command.env_remove("GITHUB_ACTIONS");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// `harness run` of the workload file.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_file(&self.file(), arguments)
    }

    pub fn start_file(&self, file: &Path, arguments: &[&str]) -> Running {
        let mut command = self.command();
        command.arg("run").arg(file).arg("--results").arg(self.results()).args(arguments);
        let output = |name| File::create(self.dir.path().join(name)).unwrap();
        command.stdout(output("stdout")).stderr(output("stderr"));
        let started = Instant::now();
        Running { child: command.spawn().unwrap(), dir: self.dir.path().to_owned(), started, peak_kib: 0 }
    }

    /// Runs it to the end; nothing of it may be left then.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let ended = self.start(arguments).wait();
        self.nothing_left();
        ended
    }

    /// Processes that carry the mark and are not zombies.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let mark = format!("{MARK}={}\0", self.mark);
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let read = |pid: u32, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let marked =
            |pid: &u32| read(*pid, "environ").windows(mark.len()).any(|window| window == mark.as_bytes());
        let name = |pid: u32| String::from_utf8_lossy(&read(pid, "cmdline")).replace('\0', " ");
        pids.filter(marked).map(|pid| (pid, name(pid))).collect()
    }

    /// Fails unless every process of the run is gone by now, or within [`AFTERLIFE`].
    pub fn nothing_left(&self) {
        let deadline = Instant::now() + AFTERLIFE;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{AFTERLIFE:?} after the run there still are {left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `harness check` of a history: exit code, standard output, standard error.
    pub fn check(&self, history: &Path) -> (Option<i32>, String, String) {
        let output = self.command().arg("check").arg(history).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// A harness at work. Killed when dropped.
pub struct Running {
    child: Child,
    dir: PathBuf,
    started: Instant,
    peak_kib: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// What it has written on standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until `condition` holds; fails when the run ends before it does.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        while !condition() {
            assert!(self.is_running(), "the run ended before {what}: {}", self.stderr());
            assert!(self.started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end, watching the harness's memory meanwhile.
    pub fn wait(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(self.started.elapsed() < PATIENCE, "it still runs: {}", self.stderr());
            self.peak_kib = self.peak_kib.max(peak_kib(self.child.id()));
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |name| String::from_utf8(std::fs::read(self.dir.join(name)).unwrap()).unwrap();
        let took = self.started.elapsed();
        Ended { status, stdout: read("stdout"), stderr: read("stderr"), took, peak_kib: self.peak_kib }
    }
}

/// The most memory a process has had so far; it only grows, so the last look before the end is all it takes.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// A run that is over.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    pub peak_kib: u64,
}

impl Ended {
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        let Ended { status, stdout, stderr, .. } = self;
        assert_eq!(status.code(), Some(code), "{status}\n{stdout}\n{stderr}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The result of one check.
#[track_caller]
pub fn check<'a>(results: &'a Json, name: &str) -> &'a Json {
    let checks = results["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {results}"))
}

/// Does `work` for each case, `width` at a time; fails, naming them, when one or more failed.
pub fn side_by_side<T: Sync>(width: usize, cases: &[(&str, T)], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                // The panic's message is on standard error by then.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(case))).is_err() {
                    eprintln!("case {name} failed");
                    failed.push(*name);
                }
            }
            failed
        };
        let workers: Vec<_> = (0..width).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// `--node` for a script below `tests/nodes/`; `None`, with a word, where there is no python3.
pub fn python(script: &str) -> Option<String> {
    if Command::new("python3").arg("-V").output().is_err() {
        eprintln!("skipped: there is no python3 for {script}");
        return None;
    }
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/nodes", script].iter().collect();
    // -B: nothing is written beside the scripts.
    Some(format!("python3 -B {}", shell_words::quote(path.to_str().unwrap())))
}

/// `--node` for a script in JavaScript below `tests/nodes/`; `None`, with a word, where there is no Node.js.
pub fn javascript(script: &str) -> Option<String> {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: there is no Node.js for {script}");
        return None;
    }
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/nodes", script].iter().collect();
    Some(format!("node {}", shell_words::quote(path.to_str().unwrap())))
}
