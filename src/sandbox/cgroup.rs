//! A control group for each node: the kernel counts its processes, its memory and its time, however they are spread.
//!
//! Both hierarchies are known: the unified one (version 2), where controllers are enabled for the groups below, and the separate ones
//! (version 1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::linux::SHIMS;
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
    controllers: Vec<&'static str>,
}

impl Group {
    /// Makes a group called `name` that keeps what it can of these limits; `None` where it could keep none, or none is asked
    /// for.
    ///
    /// Only below the top of a hierarchy: a node must not get out of a group in which somebody put the harness, and groups
    /// made below that one are in the way of whoever clears it away.
    pub fn create(name: &str, limits: &Limits) -> Option<Group> {
        let root = Path::new(ROOT);
        let unified = root.join("cgroup.controllers").exists();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut group = Group { directories: Vec::new(), controllers: Vec::new() };
        for (controller, file, value) in settings(limits, unified) {
            if !is_at_top(&own, (!unified).then_some(controller)) {
                continue;
            }
            let directory = if unified { root.join(name) } else { root.join(controller).join(name) };
            let made = group.directories.contains(&directory) || group.make(&directory).is_ok();
            if made && fs::write(directory.join(file), value).is_ok() {
                group.controllers.push(controller);
            }
        }
        // What was made of it by then goes with it.
        (!group.controllers.is_empty()).then_some(group)
    }

    /// Whether it keeps the limits of a controller: `pids`, `memory`, `cpu`.
    pub(super) fn keeps(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    fn make(&mut self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        self.directories.push(directory.to_owned());
        Ok(())
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

/// (controller, file, value) of each limit.
fn settings(limits: &Limits, unified: bool) -> Vec<(&'static str, &'static str, String)> {
    let mut settings = Vec::new();
    if let Some(processes) = limits.processes {
        settings.push(("pids", "pids.max", (processes + SHIMS).to_string()));
    }
    if let Some(memory) = limits.memory {
        let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        settings.push(("memory", file, ((memory as f64 * ABOVE) as u64).to_string()));
    }
    if let Some(cpu) = limits.cpu {
        let quota = ((cpu * PERIOD_US as f64) as u64).max(1000);
        settings.push(match unified {
            true => ("cpu", "cpu.max", format!("{quota} {PERIOD_US}")),
            false => ("cpu", "cpu.cfs_quota_us", quota.to_string()),
        });
    }
    settings
}

/// Whether `/proc/self/cgroup` says that the process is at the top of a controller's hierarchy, or of the unified one.
fn is_at_top(own: &str, controller: Option<&str>) -> bool {
    own.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return false };
        let listed = match controller {
            Some(controller) => controllers.split(',').any(|one| one == controller),
            None => controllers.is_empty(),
        };
        listed && path == "/"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leaves_a_group_somebody_put_them_in() {
        let own = "8:pids:/\n4:memory:/jobs/17\n1:cpu,cpuacct:/\n0::/user.slice\n";
        let tops = ["pids", "memory", "cpu", "io"].map(|controller| is_at_top(own, Some(controller)));
        assert_eq!(tops, [true, false, true, false]);
        assert!(!is_at_top(own, None));
        assert!(is_at_top("0::/\n", None));
    }
}
