//! Limits that the kernel keeps, and what it says of the network.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid};

use super::Jail;

/// Processes of a room that are not the node's: its init, and the keeper.
pub(super) const SHIMS: u64 = 2;
/// So many more than the limit are let through that whoever looks can see the node go beyond it.
pub(super) const SEEN_ABOVE: u64 = 4;
/// Memory is killed for by whoever watches; this is for what grows faster than that.
const MEMORY_ABOVE: u64 = 1 << 30;

/// Applies the limits to this process. `grouped`: its processes are counted by a control group.
pub(super) fn limit(jail: &Jail, grouped: bool) -> io::Result<()> {
    let limits = &jail.limits;
    if let Some(processes) = limits.processes.filter(|_| !grouped) {
        // A room has a user namespace already.
        if jail.room.is_some() || count_apart()? {
            let most = processes + SEEN_ABOVE + SHIMS;
            if counts_by_namespace() || jail.room.as_ref().is_some_and(|room| room.user.is_some()) {
                setrlimit(Resource::RLIMIT_NPROC, most, most)?;
            }
        }
    }
    if let Some(bytes) = limits.file {
        setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?;
    }
    if let Some(bytes) = limits.memory {
        // What is writable and private, not what is reserved: runtimes reserve much more than they use.
        let most = bytes.saturating_mul(2).saturating_add(MEMORY_ABOVE);
        setrlimit(Resource::RLIMIT_DATA, most, most)?;
    }
    Ok(())
}

/// Whether a user namespace's processes are counted apart (Linux 5.14).
fn counts_by_namespace() -> bool {
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else { return false };
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(14))
}

/// RLIMIT_NPROC counts all of a user's processes; in a user namespace of its own a node's are counted apart. Root is not
/// counted at all, and has control groups. Where the kernel forbids it, the limit is not set: it would count what is not the
/// node's; it is watched all the same.
fn count_apart() -> io::Result<bool> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() || unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        return Ok(false);
    }
    stay((uid, gid))?;
    Ok(true)
}

/// Makes this process who it was, in a user namespace that it has just entered.
pub(super) fn stay((uid, gid): (Uid, Gid)) -> io::Result<()> {
    // user_namespaces(7): groups may be mapped once nobody can drop them.
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
