//! Starting a node's process from the warden.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, signal};

use super::guard;
use crate::cluster::process::Pid;
use crate::sandbox::Jail;

/// What a process is put into before it becomes the node.
pub(super) struct Cell {
    /// What it may not do.
    pub(super) jail: Jail,
    /// Its control group, where one could be made.
    #[cfg(target_os = "linux")]
    pub(super) group: Option<std::sync::Arc<crate::sandbox::Group>>,
}

/// Starts a process in a group of its own; its pid, and the listener of its bind guard if it has one.
///
/// # Errors
/// When it cannot be executed: not found, not executable, no such directory …
pub(super) fn spawn(
    argv: &[String],
    env: &[(String, String)],
    cwd: &OsStr,
    stdio: [OwnedFd; 3],
    guarded: bool,
    cell: Cell,
) -> io::Result<(Pid, Option<OwnedFd>)> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "empty command"))?;
    if !std::path::Path::new(cwd).is_dir() {
        let what = format!("its directory {} does not exist", cwd.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let [stdin, stdout, stderr] = stdio.map(Stdio::from);
    let mut command = Command::new(program);
    command.args(arguments).envs(env.iter().map(|(name, value)| (name, value))).current_dir(cwd);
    command.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
    let handover = if guarded { guard::Handover::new() } else { None };
    let inherited = handover.as_ref().map(guard::Handover::child_end);
    #[cfg(not(target_os = "linux"))]
    if !cell.jail.is_open() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "limits and isolation of nodes need Linux"));
    }
    #[cfg(target_os = "linux")]
    let (warden, start) = (nix::unistd::getpid(), std::path::PathBuf::from(cwd));
    // SAFETY: the warden has one thread, so the forked child may do what it likes before it executes the node.
    unsafe {
        command.pre_exec(move || {
            for number in 1..32 {
                // SIGKILL and SIGSTOP refuse, which is as well.
                if let Ok(which) = Signal::try_from(number) {
                    let _ = signal(which, SigHandler::SigDfl);
                }
            }
            #[cfg(target_os = "linux")]
            {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                // The warden may have died before the line above.
                if nix::unistd::getppid() != warden {
                    libc::_exit(127);
                }
            }
            #[cfg(target_os = "linux")]
            crate::sandbox::enter(&cell.jail, cell.group.as_deref(), &start)?;
            if let Some(inherited) = inherited {
                guard::install(inherited);
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    // The child's end of the hand-over closes with this call, so it cannot wait for ever.
    let listener = handover.and_then(guard::Handover::receive);
    // Ends are observed by pid in the main loop: `Child` is not needed, and dropping it does nothing.
    Ok((child.id() as Pid, listener))
}
