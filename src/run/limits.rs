//! Nodes that take more than `[cluster.limits]` allows: found by looking, killed, and told.
//!
//! The kernel keeps some of it as well (see [`crate::sandbox`]), but it does not say for whom a node died.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::world::Shared;
use crate::document::units::show_size;
use crate::report::results::Failure;
use crate::sandbox::Limits;
use crate::workload::Workload;

const EVERY: Duration = Duration::from_millis(50);
/// Directories are looked through less often.
const DISK_EVERY: u32 = 10;
/// How many log lines a report of a node shows.
const LOG_LINES: usize = 12;

/// Looks at the nodes until it is told to end.
pub struct LimitWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Failure>>>,
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
        let (shared, done, nodes) = (Arc::clone(shared), Arc::clone(&over), workload.cluster.nodes.clone());
        let watch = move || {
            let mut found: BTreeMap<String, Failure> = BTreeMap::new();
            let mut turn = 0_u32;
            loop {
                // Once more after the end: what was refused last.
                let last = done.load(Ordering::Relaxed);
                for node in
                    nodes.iter().filter(|node| !found.contains_key(*node)).cloned().collect::<Vec<_>>()
                {
                    let disk = turn.is_multiple_of(DISK_EVERY);
                    let Some(what) = exceeded(&shared, &node, &limits, disk) else { continue };
                    let what = format!("node {node} was stopped: {what}");
                    let log = shared.cluster.log_tail(&node, LOG_LINES);
                    // It may have ended by itself meanwhile.
                    let _ = shared.cluster.kill(&node);
                    found.insert(node.clone(), Failure { what, node: Some(node), log });
                }
                if last {
                    break;
                }
                turn = turn.wrapping_add(1);
                std::thread::sleep(EVERY);
            }
            found.into_values().collect()
        };
        let thread = std::thread::Builder::new().name("limits".into()).spawn(watch)?;
        Ok(Some(LimitWatch { over, thread: Some(thread) }))
    }

    /// Ends it; what is told of the first node that took too much.
    pub fn first(self) -> Option<Failure> {
        self.end().into_iter().next()
    }

    /// Ends it; the nodes that took too much.
    pub fn end(mut self) -> Vec<Failure> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// What a node has too much of, in half a sentence.
fn exceeded(shared: &Shared, node: &str, limits: &Limits, disk: bool) -> Option<String> {
    let pids = shared.cluster.pids(node);
    let refused = shared.cluster.refusals(node);
    if let Some(most) = limits.processes {
        let threads: u64 = pids.iter().map(|pid| threads(*pid)).sum();
        if threads > most || refused.processes > 0 {
            return Some(format!(
                "it wanted more than the {most} processes and threads that [cluster.limits] allows"
            ));
        }
    }
    if let Some(most) = limits.memory {
        let held: u64 = pids.iter().map(|pid| resident(*pid)).sum();
        let allowed = show_size(most);
        if held > most {
            let held = about(held);
            return Some(format!(
                "it held {held} of memory, more than the {allowed} that [cluster.limits] allows"
            ));
        }
        if refused.memory > 0 {
            return Some(format!("it wanted more memory than the {allowed} that [cluster.limits] allows"));
        }
    }
    let most = limits.disk.filter(|_| disk)?;
    let used = size(&shared.cluster.directory(node)?);
    let (shown, allowed) = (about(used), show_size(most));
    (used > most).then(|| {
        format!("its directory grew to {shown}, more than the {allowed} that [cluster.limits] allows")
    })
}

fn about(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn threads(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count() as u64)
}

fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    pages * page_size()
}

fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(4096)
}

/// Bytes of the files below a folder, as they stand on the disk: a file with holes takes what it takes.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                open.push(entry.path());
            } else {
                sum += about.blocks() * 512;
            }
        }
    }
    sum
}
