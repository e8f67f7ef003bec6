//! A network for each run: student nodes name ports in their source, and two that name the same cannot run at once, unless
//! each run has a loopback device of its own.
//!
//! A network namespace (network_namespaces(7)) gives it that, and nothing else: no node reaches the outside, or another
//! submission. An unprivileged user makes one together with a user namespace, where the kernel allows it.

use std::process::Command;

/// Whether runs can have networks of their own here. Tried, not looked up: what the kernel was built with, what the
/// distribution forbids and what a container leaves all count.
pub fn is_available() -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let mut command = Command::new(program);
    command.arg("--version").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    enter(&mut command, true);
    command.status().is_ok_and(|status| status.success())
}

/// Makes the process die with this one; with `own_network` it also gets one.
#[cfg(target_os = "linux")]
pub(super) fn enter(command: &mut Command, own_network: bool) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated but by `format!` in the maps,
    // which the allocator allows after a fork (glibc and musl reset its locks).
    unsafe {
        command.pre_exec(move || {
            // The thread that starts a run waits for it, so its end is ours.
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            if own_network { crate::sandbox::cell::leave() } else { Ok(()) }
        });
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter(command: &mut Command, own_network: bool) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
    if own_network {
        // SAFETY: nothing is done but to refuse.
        unsafe {
            command.pre_exec(|| Err(std::io::Error::from(std::io::ErrorKind::Unsupported)));
        }
    }
}
