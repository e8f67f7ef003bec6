//! A control group for each node: the kernel counts its processes, its memory and its time, however they are spread.
//!
//! Both hierarchies are known: the unified one (version 2), where controllers are enabled for the groups below, and the separate ones
//! (version 1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Limits, Refusals};

const ROOT: &str = "/sys/fs/cgroup";
/// The period over which processor time is counted, µs.
const PERIOD_US: u64 = 100_000;
/// Memory is killed for by whoever watches, who says why; the kernel stops what grows faster than that, above this share.
const ABOVE: f64 = 1.25;

/// The name of the group of a run's node; a warden serves one run.
pub(super) fn name(warden: u32, node: &str) -> String {
    format!("harness-{warden}-{node}")
}

/// What the kernel has refused a group so far.
pub(super) fn refusals(name: &str) -> Refusals {
    let count = |files: [PathBuf; 2], key: &str| {
        let text = files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        value.unwrap_or(0)
    };
    let root = Path::new(ROOT);
    Refusals {
        processes: count(
            [root.join(name).join("pids.events"), root.join("pids").join(name).join("pids.events")],
            "max ",
        ),
        memory: count(
            [
                root.join(name).join("memory.events"),
                root.join("memory").join(name).join("memory.oom_control"),
            ],
            "oom_kill ",
        ),
    }
}

/// A node's group: one directory (version 2) or one for each controller (version 1).
#[derive(Debug)]
pub struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    /// Makes a group called `name` with these limits; `None` where this process may not, or none is asked for.
    pub fn create(name: &str, limits: &Limits) -> Option<Group> {
        let settings = |version: u8| -> Vec<(&'static str, &'static str, String)> {
            let mut settings = Vec::new();
            if let Some(processes) = limits.processes {
                settings.push(("pids", "pids.max", processes.to_string()));
            }
            if let Some(memory) = limits.memory {
                let bytes = ((memory as f64 * ABOVE) as u64).to_string();
                settings.push((
                    "memory",
                    if version == 2 { "memory.max" } else { "memory.limit_in_bytes" },
                    bytes,
                ));
            }
            if let Some(cpu) = limits.cpu {
                let quota = ((cpu * PERIOD_US as f64) as u64).max(1000);
                match version {
                    2 => settings.push(("cpu", "cpu.max", format!("{quota} {PERIOD_US}"))),
                    _ => settings.push(("cpu", "cpu.cfs_quota_us", quota.to_string())),
                }
            }
            settings
        };
        if settings(1).is_empty() {
            return None;
        }
        let mut group = Group { directories: Vec::new() };
        let root = Path::new(ROOT);
        let made = if root.join("cgroup.controllers").exists() {
            let directory = root.join(name);
            group.make(&directory).and_then(|()| {
                settings(2).iter().try_for_each(|(_, file, value)| fs::write(directory.join(file), value))
            })
        } else {
            settings(1).iter().try_for_each(|(controller, file, value)| {
                let directory = root.join(controller).join(name);
                group.make(&directory)?;
                fs::write(directory.join(file), value)
            })
        };
        // What was made of it by then goes with it.
        made.ok().map(|()| group)
    }

    fn make(&mut self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        self.directories.push(directory.to_owned());
        Ok(())
    }

    /// Whether groups can be made here: one is.
    pub(super) fn probe() -> bool {
        let limits =
            Limits { processes: Some(8), memory: Some(1 << 30), cpu: Some(1.0), ..Limits::default() };
        Group::create(&format!("harness-probe-{}", std::process::id()), &limits).is_some()
    }

    /// Puts this process, and what it will start, into the group.
    pub(super) fn join(&self) -> io::Result<()> {
        self.directories.iter().try_for_each(|directory| fs::write(directory.join("cgroup.procs"), "0"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            // It is empty when the node's processes are gone; the kernel may take a moment to notice.
            for _ in 0..50 {
                if fs::remove_dir(directory).is_ok() || !directory.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}
