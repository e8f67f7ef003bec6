//! What builds and runs are started with.

use std::path::Path;
use std::process::Command;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(target_os = "linux")]
use crate::sandbox::Group;
use crate::sandbox::Jail;

/// Variables that what is graded may see. Not what a grader's shell happens to hold besides: tokens of a CI service,
/// or that this is one (a run would annotate the job with every student's mistakes).
const KEPT: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// Takes away all of our environment but the harmless part; the rubric's `env` adds to it.
pub fn clean_environment(command: &mut Command) {
    command.env_clear();
    let kept = KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept);
}

/// Sees to it that the child is killed when this process ends, however it ends. The signal comes already when the
/// *thread* ends that starts the child, so that thread has to wait for it.
#[cfg(target_os = "linux")]
pub fn die_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    let us = nix::unistd::getpid();
    // SAFETY: both calls are async-signal-safe, and nothing is allocated between fork and exec.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            // We may have died before the line above.
            if nix::unistd::getppid() != us {
                libc::_exit(127);
            }
            Ok(())
        });
    }
}

/// Elsewhere a run notices by itself: its warden's socket closes.
#[cfg(not(target_os = "linux"))]
pub fn die_with_us(_command: &mut Command) {}

/// Starts the child in a jail. The program sees its folder by the same path.
#[cfg(target_os = "linux")]
pub fn jail(command: &mut Command, jail: Jail, folder: &Path) {
    use std::os::unix::process::CommandExt as _;

    static BUILDS: AtomicU32 = AtomicU32::new(0);
    let name = format!("harness-build-{}-{}", std::process::id(), BUILDS.fetch_add(1, Ordering::Relaxed));
    // It ends with the command, whose processes are gone by then.
    let group = Group::create(&name, &jail.limits);
    let folder = folder.to_owned();
    // SAFETY: the forked child has one thread. It allocates, which the C libraries of Linux allow after a fork.
    unsafe {
        command.pre_exec(move || crate::sandbox::enter(&jail, group.as_ref(), &folder));
    }
}

/// Elsewhere there are none.
#[cfg(not(target_os = "linux"))]
pub fn jail(_command: &mut Command, _jail: Jail, _folder: &Path) {}
