//! A room of its own for each node: user, mount, pid and ipc namespaces (namespaces(7)).
//!
//! ```text
//! warden ── keeper ── init (pid 1 inside) ── node ── its children
//!           └───────── one process group ─────────┘
//! ```
//!
//! The *keeper* is the process the warden knows: it leads the group, lives in the warden's namespaces, and ends exactly as the
//! node did. The *init* is pid 1 of the node's pid namespace: it collects orphans, and when it ends, for whatever reason, the kernel
//! kills everything inside. It must not be the node itself, because signals that pid 1 does not handle are not delivered to it
//! (pid_namespaces(7)), and a node that cannot be stopped with SIGTERM would be another node. All three are in the group, so what is sent to
//! the group reaches the node at once; keeper and init ignore all that can be ignored.
//!
//! Neither keeper nor init executes anything: they are forks of the warden, which has one thread.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork};

use super::{Room, view};

/// Capabilities the kernel may know of; dropping one it does not know is refused, which is as well.
const CAPABILITIES: libc::c_ulong = 64;
/// Above exit codes: the node was ended by the signal of this number less.
const SIGNALLED: i32 = 1000;

/// Goes into the room. Returns in the process that is to become the node; the two others never return.
///
/// # Errors
/// When something of the room cannot be had; in the keeper or the init then, which must end with that.
pub(super) fn enter(room: &Room) -> io::Result<()> {
    let (mapped, mut map) = io::pipe()?;
    let (status, tell) = io::pipe()?;
    ignore_signals();
    match clone_apart()? {
        None => {
            drop((map, status));
            inside(room, mapped, tell)
        }
        Some(init) => {
            drop((mapped, tell));
            if let Err(error) = map_ids(init, room.user).and_then(|()| map.write_all(b"m")) {
                let _ = kill(init, Signal::SIGKILL);
                let _ = waitpid(init, None);
                return Err(told("cannot map its user", error));
            }
            close_all_but(status.as_raw_fd());
            keep(init, status)
        }
    }
}

/// The init's pid, or `None` in the init.
fn clone_apart() -> io::Result<Option<Pid>> {
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    let flags = i64::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given this is fork(2), from a process of one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_i64, 0_i64, 0_i64, 0_i64) };
    match pid {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(Pid::from_raw(pid as libc::pid_t))),
        _ => Err(told("cannot have namespaces of its own", io::Error::last_os_error())),
    }
}

/// Maps the ids of the user namespace (user_namespaces(7)). With a spare user both it and root are mapped: the init sets the room
/// up as root of the namespace; the node is the spare user.
fn map_ids(init: Pid, spare: Option<u32>) -> io::Result<()> {
    let proc = |file: &str| format!("/proc/{init}/{file}");
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    let lines = |own: u32| match spare {
        Some(spare) => format!("{own} {own} 1\n{spare} {spare} 1\n"),
        None => format!("{own} {own} 1\n"),
    };
    if spare.is_none() {
        fs::write(proc("setgroups"), "deny")?;
    }
    // One write(2) each: a second one is refused.
    fs::write(proc("uid_map"), lines(uid))?;
    fs::write(proc("gid_map"), lines(gid))
}

/// The init, and from it the node.
fn inside(room: &Room, mut mapped: io::PipeReader, mut tell: io::PipeWriter) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The end of the file: the keeper has gone.
    mapped.read_exact(&mut [0])?;
    view::build(room)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(tell);
            restore_signals();
            if let Some(user) = room.user {
                become_user(user)?;
            }
            drop_rights()
        }
        ForkResult::Parent { child } => {
            let _ = nix::sys::prctl::set_name(c"init");
            // A node of the same user must not trace it.
            let _ = nix::sys::prctl::set_dumpable(false);
            close_all_but(tell.as_raw_fd());
            let _ = drop_rights();
            let status = collect(child);
            let _ = tell.write_all(&status.to_ne_bytes());
            exit(0)
        }
    }
}

/// Collects every process of the room until the node has ended; how it did.
fn collect(node: Pid) -> i32 {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == node => return code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == node => return SIGNALLED + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return SIGNALLED + Signal::SIGKILL as i32,
        }
    }
}

/// The keeper: waits for the end of the room, and ends as the node did.
fn keep(init: Pid, mut status: io::PipeReader) -> ! {
    let _ = nix::sys::prctl::set_name(c"keeper");
    let mut word = [0; 4];
    let told = status.read_exact(&mut word).is_ok();
    let ended = loop {
        match waitpid(init, None) {
            Err(Errno::EINTR) => {}
            ended => break ended,
        }
    };
    let how = match (told, ended) {
        (true, _) => i32::from_ne_bytes(word),
        (false, Ok(WaitStatus::Signaled(_, signal, _))) => SIGNALLED + signal as i32,
        (false, Ok(WaitStatus::Exited(_, code))) => code,
        (false, _) => SIGNALLED + Signal::SIGKILL as i32,
    };
    if let Ok(number) = Signal::try_from(how - SIGNALLED) {
        // Whoever wanted a core of the node has it.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        // SAFETY: this process has one thread, and no handler of its own.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
        let _ = kill(nix::unistd::getpid(), number);
    }
    exit(how & 0xff)
}

/// Ends at once, without what a copy of another process would do at its end.
fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) is always allowed.
    unsafe { libc::_exit(code) }
}

fn become_user(user: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    Ok(())
}

/// Gives up every capability, for good: capabilities(7). Without them the read-only view cannot be undone.
fn drop_rights() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    for capability in 0..CAPABILITIES {
        // SAFETY: these prctls take integers alone.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    // Version 3 of the header, this process; two words of effective, permitted and inheritable capabilities each.
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: both arrays have the layout and size that capset(2) asks for, and outlive the call.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn each_signal(handler: SigHandler) {
    for number in (1..32).filter(|number| *number != libc::SIGCHLD) {
        if let Ok(which) = Signal::try_from(number) {
            // SIGKILL and SIGSTOP refuse, which is as well.
            // SAFETY: neither disposition runs any code.
            let _ = unsafe { signal(which, handler) };
        }
    }
}

fn ignore_signals() {
    each_signal(SigHandler::SigIgn);
}

fn restore_signals() {
    each_signal(SigHandler::SigDfl);
}

/// The pipes to whoever started this process are the node's alone: they end with it.
fn close_all_but(kept: RawFd) {
    let close = |first: u32, last: u32| {
        // SAFETY: what is closed is never used again in this process.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    let kept = kept.unsigned_abs();
    close(0, kept.saturating_sub(1));
    close(kept + 1, u32::MAX);
}

/// Writes into the node's log what failed, for an errno alone tells nobody.
pub(super) fn told(what: &str, error: io::Error) -> io::Error {
    let line = format!("isolation: {what}: {error}\n");
    // SAFETY: the descriptor is borrowed for this write, never closed.
    let mut log = std::mem::ManuallyDrop::new(unsafe { fs::File::from_raw_fd(libc::STDERR_FILENO) });
    let _ = log.write_all(line.as_bytes());
    error
}
