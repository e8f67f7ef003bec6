//! What a node may not do: touch files that are not its own, signal whom it does not know, reach a network, take more than its
//! share.
//!
//! **A room** of its own: user, mount, pid and ipc namespaces ([`namespaces`]), in which everything but the node's own directory and a
//! private place for temporary files is read-only ([`view`]) and no process but the node's own exists.
//! **Landlock** (landlock(7), Linux 5.13; signals from ABI 6, Linux 6.12) says the same once more, and all there is to say where
//! the system forbids user namespaces. **A cell** for the run ([`cell`]): a network of loopback alone.
//! **Shares** are kept by the node's own control group where one can be made (cgroups(7); as root), by a user namespace with
//! RLIMIT_NPROC, by RLIMIT_FSIZE, and by looking at it often: a node that takes more than it may is killed, and the run says why.
//!
//! What is in force is tried ([`probe`]), not believed.

pub mod cell;
#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod trial;
#[cfg(target_os = "linux")]
mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    /// Namespaces of its own; `None`: those of the harness.
    pub room: Option<Room>,
    /// What it may use.
    pub limits: Limits,
}

impl Jail {
    /// Whether it keeps a node from nothing.
    pub fn is_open(&self) -> bool {
        self.writable.is_none() && self.room.is_none() && self.limits.is_empty()
    }
}

/// What a node finds in namespaces of its own. Every path is absolute and without symbolic links.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its own directory, which exists.
    pub own: PathBuf,
    /// What it finds at `/tmp`; `None`: what everybody finds, read-only.
    pub temporary: Option<PathBuf>,
    /// What it finds at `/dev/shm`; likewise.
    pub shared: Option<PathBuf>,
    /// Directories that are empty for it, but for what is named above.
    pub hidden: Vec<PathBuf>,
    /// The user and group it is; `None`: that of the harness. Only root can give a node another.
    pub user: Option<u32>,
}

impl Room {
    /// What it may write to, and where that is.
    pub fn places(&self) -> Vec<(&Path, &Path)> {
        let mut places = vec![(self.own.as_path(), self.own.as_path())];
        places.extend(self.temporary.as_deref().map(|source| (source, Path::new("/tmp"))));
        places.extend(self.shared.as_deref().map(|source| (source, Path::new("/dev/shm"))));
        places
    }
}

/// What keeps users other than its owner and group from a path, if anything does: the file itself that they cannot read, or a
/// directory on the way to it, or at its end, that they cannot enter.
pub fn closed_to_others(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_open = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|about| {
            let needed = if about.is_dir() { 0o001 } else { 0o004 };
            about.permissions().mode() & needed != 0
        })
    };
    path.ancestors().find(|path| !path.as_os_str().is_empty() && !is_open(path)).map(Path::to_owned)
}

/// Users that nobody is, one for each node (those that systemd gives to services for as long as they run).
pub fn spare_user(node: usize) -> u32 {
    const FIRST: u32 = 61_184;
    const COUNT: u32 = 4336;
    let node = u32::try_from(node).unwrap_or(0);
    FIRST + std::process::id().wrapping_mul(64).wrapping_add(node) % COUNT
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Files outside a node's own directory cannot be written, nor their modes changed.
    pub files: bool,
    /// Processes outside a node cannot be signalled or traced.
    pub signals: bool,
    /// There is no network but loopback.
    pub network: bool,
    /// Processes, memory and processors are bounded by the kernel, not only watched.
    pub groups: bool,
    /// Landlock can be had.
    pub landlock: bool,
    /// Nodes get namespaces of their own.
    pub rooms: bool,
    /// In them they can be given a user of their own.
    pub user: bool,
    /// By what: each of `net user mount pid ipc landlock memory cpu processes file disk`, and `in force`, `watched`, or
    /// `not: ` and why.
    pub parts: BTreeMap<String, String>,
}

/// What stands for a part of [`Isolation`] that was found to hold.
pub const IN_FORCE: &str = "in force";

impl Isolation {
    /// Whether nodes are kept from what is not theirs: files and processes.
    pub fn is_full(&self) -> bool {
        self.files && self.signals
    }

    /// What is not in force, and why, a line each.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.parts.iter().filter_map(|(name, state)| {
            state.strip_prefix("not: ").map(|why| format!("{name} is not in force: {why}"))
        });
        missing.collect()
    }
}

/// Tries what can be kept from nodes here: a process goes into a jail and does what it must not.
#[cfg(target_os = "linux")]
pub fn probe() -> Isolation {
    trial::probe()
}

/// Tries what can be kept from nodes here: nothing, as this is not Linux.
#[cfg(not(target_os = "linux"))]
pub fn probe() -> Isolation {
    let parts =
        ["net", "user", "mount", "pid", "ipc", "landlock", "memory", "cpu", "processes", "file", "disk"];
    let why = || "not: this is not Linux".to_owned();
    Isolation {
        parts: parts.iter().map(|part| ((*part).to_owned(), why())).collect(),
        ..Isolation::default()
    }
}

/// Goes into the jail, to start in `cwd`: this process, and all it will ever start. Between fork and exec, in a process of one
/// thread. With a room it returns in another process than the one that called it; see [`namespaces`].
///
/// # Errors
/// When something that was asked for cannot be had.
#[cfg(target_os = "linux")]
pub(crate) fn enter(jail: &Jail, group: Option<&Group>, cwd: &Path) -> std::io::Result<()> {
    if let Some(group) = group {
        group.join()?;
    }
    if let Some(room) = &jail.room {
        namespaces::enter(room)?;
        // The way that led here before leads to the same directory by a mount that is read-only now.
        std::env::set_current_dir(cwd)
            .map_err(|error| namespaces::told(&format!("cannot start in {}", cwd.display()), error))?;
    }
    linux::limit(jail, group.is_some_and(|group| group.keeps("pids")))?;
    if let Some(writable) = &jail.writable {
        files::restrict(writable)?;
    }
    Ok(())
}
