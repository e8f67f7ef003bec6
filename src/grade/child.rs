//! What builds and runs are started with.

use std::process::Command;

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
