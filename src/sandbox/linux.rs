//! Limits that the kernel keeps, and what it says of the network.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};

use super::{Group, Limits};

/// Applies the limits to this process.
pub(super) fn limit(limits: &Limits, group: Option<&Group>) -> io::Result<()> {
    if let Some(group) = group {
        group.join()?;
    } else if let Some(processes) = limits.processes {
        count_apart()?;
        setrlimit(Resource::RLIMIT_NPROC, processes, processes)?;
    }
    if let Some(bytes) = limits.file {
        setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?;
    }
    Ok(())
}

/// RLIMIT_NPROC counts all of a user's processes; in a user namespace of its own a node's are counted apart. Root is not
/// counted at all, and has control groups. Where the kernel forbids it, the limit is not set: it would count what is not the
/// node's; it is watched all the same.
fn count_apart() -> io::Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() || unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        return Ok(());
    }
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Whether this process has no network device but loopback.
pub(super) fn only_loopback() -> bool {
    let Ok(text) = fs::read_to_string("/proc/self/net/dev") else { return false };
    let mut devices =
        text.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    devices.all(|name| name == "lo")
}
