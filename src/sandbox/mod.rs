//! What a node may not do: touch files that are not its own, signal whom it does not know, take more than its share.
//!
//! **Files and signals** are kept by Landlock (landlock(7), Linux 5.13; signals from ABI 6, Linux 6.12), which needs no rights and
//! holds for everything the node starts. The rest of the file system stays readable; a node writes in its own directory, in a
//! private directory for temporary files, and to `/dev/null` and its like. A process outside of it cannot be traced by it.
//! **Shares** are kept by the node's own control group where one can be made (cgroups(7); as root), by a user namespace with
//! RLIMIT_NPROC where the harness is not root, by RLIMIT_FSIZE, and by looking at it often: a node that takes more than it may is killed,
//! and the run says why.
//!
//! What is in force is tried ([`probe`]), not believed.

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod linux;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
pub use cgroup::Group;

/// What a node may use; `None`: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory that its processes hold together (resident), bytes.
    pub memory: Option<u64>,
    /// Processors: 0.5 is half of one.
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Size of a file it writes, bytes.
    pub file: Option<u64>,
    /// Size of its own directory, bytes.
    pub disk: Option<u64>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// How a node is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Jail {
    /// Where it may write; `None`: anywhere its user may, and it may signal whom it likes.
    pub writable: Option<Vec<PathBuf>>,
    /// What it may use.
    pub limits: Limits,
}

impl Jail {
    /// Whether it keeps a node from nothing.
    pub fn is_open(&self) -> bool {
        self.writable.is_none() && self.limits.is_empty()
    }
}

/// How often the kernel refused a node something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Another process or thread.
    pub processes: u64,
    /// More memory: it killed one of its processes.
    pub memory: u64,
}

/// The name of a node's control group, by the warden that serves its run.
#[cfg(target_os = "linux")]
pub(crate) fn group_name(warden: u32, node: &str) -> String {
    cgroup::name(warden, node)
}

/// What the kernel has refused the node of a warden's run; nothing where it has no control group.
pub fn refusals(warden: u32, node: &str) -> Refusals {
    #[cfg(target_os = "linux")]
    return cgroup::refusals(&cgroup::name(warden, node));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (warden, node);
        Refusals::default()
    }
}

/// What can be kept from nodes here; each was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Files outside a node's own directory cannot be written.
    pub files: bool,
    /// Processes outside a node cannot be signalled or traced.
    pub signals: bool,
    /// There is no network but loopback.
    pub network: bool,
    /// Processes, memory and processors are bounded by the kernel, not only watched.
    pub groups: bool,
}

impl Isolation {
    /// Whether nodes are kept from what is not theirs: files and processes.
    pub fn is_full(&self) -> bool {
        self.files && self.signals
    }
}

/// Tries what can be kept from nodes here.
#[cfg(target_os = "linux")]
pub fn probe() -> Isolation {
    let (files, signals) = files::probe();
    Isolation { files, signals, network: linux::only_loopback(), groups: Group::probe() }
}

/// Tries what can be kept from nodes here: nothing, as this is not Linux.
#[cfg(not(target_os = "linux"))]
pub fn probe() -> Isolation {
    Isolation::default()
}

/// Goes into the jail: this process, and all it will ever start. Between fork and exec, in a process of one thread.
///
/// # Errors
/// When something that was asked for cannot be had.
#[cfg(target_os = "linux")]
pub(crate) fn enter(jail: &Jail, group: Option<&Group>) -> std::io::Result<()> {
    linux::limit(&jail.limits, group)?;
    if let Some(writable) = &jail.writable {
        files::restrict(writable)?;
    }
    Ok(())
}
