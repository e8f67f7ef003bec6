//! Nodes that take more than `[cluster.limits]` allows: found by looking, killed, and told.
//!
//! The kernel keeps some of it as well (see [`crate::sandbox`]), but it does not say for whom a node died.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::world::Shared;
use crate::history::History;
use crate::report::results::Failure;
use crate::sandbox::{Limits, Refusals};
use crate::workload::Workload;

const EVERY: Duration = Duration::from_millis(50);
/// Looking through files may take one part in so many of the time.
const FILES_SHARE: u32 = 20;
/// And however long it takes, so often it is done.
const FILES_AT_LEAST: Duration = Duration::from_secs(2);
/// More files than this are too many to look through, whatever they hold.
const MOST_FILES: usize = 100_000;
/// How many log lines a report of a node shows.
const LOG_LINES: usize = 12;

/// What was found over a run.
#[derive(Clone, Debug, Default)]
pub struct Exceeded {
    /// The first time for each node.
    pub failures: Vec<Failure>,
    /// Each process that was ended, and the limit it went beyond.
    pub limited: BTreeMap<u64, String>,
}

/// Looks at the nodes until it is told to end.
pub struct LimitWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Exceeded>>,
}

impl Drop for LimitWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl LimitWatch {
    /// Begins to look, where there are limits to keep.
    ///
    /// # Errors
    /// When there can be no thread for it.
    pub fn start(shared: &Arc<Shared>, workload: &Workload) -> io::Result<Option<Self>> {
        let limits = workload.cluster.limits;
        if limits.memory.is_none() && limits.processes.is_none() && limits.disk.is_none() {
            return Ok(None);
        }
        let over = Arc::new(AtomicBool::new(false));
        let nodes: BTreeMap<String, Eye> =
            workload.cluster.nodes.iter().map(|node| (node.clone(), Eye::default())).collect();
        let (shared, done) = (Arc::clone(shared), Arc::clone(&over));
        let thread = std::thread::Builder::new()
            .name("limits".into())
            .spawn(move || watch(&shared, &limits, nodes, &done))?;
        Ok(Some(LimitWatch { over, thread: Some(thread) }))
    }

    /// Ends it; what is told of the first node that took too much.
    pub fn first(self) -> Option<Failure> {
        self.end().failures.into_iter().next()
    }

    /// Ends it; the nodes that took too much.
    pub fn end(mut self) -> Exceeded {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// What is known of a node between two looks.
#[derive(Default)]
struct Eye {
    /// What the kernel had refused it at the last look: its groups outlive its lives.
    refused: Refusals,
    /// When its directory and its open files are to be looked through again.
    files_at: Option<Instant>,
}

fn watch(shared: &Shared, limits: &Limits, mut nodes: BTreeMap<String, Eye>, done: &AtomicBool) -> Exceeded {
    let mut found = Exceeded::default();
    let mut told = BTreeSet::new();
    loop {
        // Once more after the end: what was refused last.
        let last = done.load(Ordering::Relaxed);
        for (node, eye) in &mut nodes {
            let pid = shared.cluster.pid(node).map(u64::from);
            if last {
                eye.files_at = None;
            }
            let Some(limit) = exceeded(shared, node, limits, eye) else { continue };
            // A look may fall between its end and the moment that is noted.
            let Some(pid) = pid.filter(|pid| !found.limited.contains_key(pid)) else { continue };
            // It may have ended by itself meanwhile.
            let _ = shared.cluster.kill(node);
            if told.insert(node.clone()) {
                let log = shared.cluster.log_tail(node, LOG_LINES);
                found.failures.push(failure(node, &limit, log));
            }
            found.limited.insert(pid, limit);
        }
        if last {
            return found;
        }
        std::thread::sleep(EVERY);
    }
}

fn failure(node: &str, limit: &str, log: Vec<String>) -> Failure {
    let what = format!("node {node} was stopped by a limit of [cluster.limits]: {limit}");
    Failure { what, node: Some(node.to_owned()), limit: Some(limit.to_owned()), log }
}

/// Nodes that the kernel ended for a file that was too long (SIGXFSZ): it alone sees that.
pub fn long_files(history: &History, limits: &Limits, known: &mut Exceeded) {
    let Some(most) = limits.file else { return };
    let limit = format!("file {} exceeded", about(most));
    for (node, lives) in &history.lives {
        for life in lives.iter().filter(|life| !life.expected && life.signal == Some(libc::SIGXFSZ)) {
            let Some(failures) =
                known.limited.insert(life.pid, limit.clone()).is_none().then_some(&mut known.failures)
            else {
                continue;
            };
            if !failures.iter().any(|failure| failure.node.as_deref() == Some(&**node)) {
                failures.push(failure(node, &limit, life.log.clone()));
            }
        }
    }
}

/// The limit a node is beyond: `memory 512 MiB exceeded (631 MiB)`.
fn exceeded(shared: &Shared, node: &str, limits: &Limits, eye: &mut Eye) -> Option<String> {
    let pids = shared.cluster.inmates(node);
    let refused = shared.cluster.refusals(node);
    let before = std::mem::replace(&mut eye.refused, refused);
    if let Some(most) = limits.processes {
        let threads: u64 = pids.iter().map(|pid| threads(*pid)).sum();
        if threads > most || refused.processes > before.processes {
            return Some(format!(
                "processes {most} exceeded ({} processes and threads)",
                threads.max(most + 1)
            ));
        }
    }
    let thorough = eye.files_at.is_none_or(|at| at <= Instant::now());
    let began = worked();
    let directory = shared.cluster.directory(node)?;
    let nameless = if thorough { nameless(&directory, &pids) } else { Nameless::default() };
    if let Some(most) = limits.memory {
        let held = nameless.memory + pids.iter().map(|pid| resident(*pid)).sum::<u64>();
        if held > most {
            return Some(format!("memory {} exceeded ({})", about(most), about(held)));
        }
        if refused.memory > before.memory {
            return Some(format!("memory {} exceeded (the kernel gave it no more)", about(most)));
        }
    }
    if !thorough {
        return None;
    }
    let used = limits.disk.map(|most| (most, size(&directory)));
    let pause = worked().saturating_sub(began) * FILES_SHARE;
    eye.files_at = Some(Instant::now() + pause.min(FILES_AT_LEAST));
    match used? {
        (most, Some(size)) => {
            let used = size + nameless.disk;
            (used > most).then(|| format!("disk {} exceeded ({})", about(most), about(used)))
        }
        (most, None) => Some(format!("disk {} exceeded (more than {MOST_FILES} files)", about(most))),
    }
}

/// The processor time this thread has taken: on a busy machine much more passes.
fn worked() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .unwrap_or_default()
}

/// A size as people say it.
fn about(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    match mib {
        mib if mib >= 10.0 => format!("{mib:.0} MiB"),
        mib if mib >= 1.0 => format!("{mib:.1} MiB"),
        _ => format!("{:.0} KiB", bytes as f64 / 1024.0),
    }
}

fn threads(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count() as u64)
}

/// Memory of a process that is not a file's: what programs share of their text is nobody's fault.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    (kib("RssAnon:") + kib("RssShmem:")) * 1024
}

/// Bytes of the files below a folder, as they stand on the disk: a file with holes takes what it takes. `None`: there are too
/// many to look.
fn size(folder: &Path) -> Option<u64> {
    let (mut sum, mut files) = (0, 0);
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            if files > MOST_FILES {
                return None;
            }
            // Of a link this is the link itself.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                open.push(entry.path());
            }
            sum += about.blocks() * 512;
        }
    }
    Some(sum)
}

/// Bytes of files that are held open though they have no name.
#[derive(Default)]
struct Nameless {
    /// On the disk of the node's directory.
    disk: u64,
    /// Elsewhere: in memory (memfd_create(2)), where they belong to no process.
    memory: u64,
}

fn nameless(directory: &Path, pids: &[u32]) -> Nameless {
    let Ok(device) = fs::metadata(directory).map(|about| about.dev()) else { return Nameless::default() };
    let mut files = BTreeMap::new();
    for pid in pids {
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(about) = fs::metadata(descriptor.path()) else { continue };
            if about.is_file() && about.nlink() == 0 {
                files.insert((about.dev(), about.ino()), about.blocks() * 512);
            }
        }
    }
    let mut sums = Nameless::default();
    for ((on, _), bytes) in files {
        *if on == device { &mut sums.disk } else { &mut sums.memory } += bytes;
    }
    sums
}
