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
    let ids = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated but by `format!` in the maps,
    // which the allocator allows after a fork (glibc and musl reset its locks).
    unsafe {
        command.pre_exec(move || {
            // The thread that starts a run waits for it, so its end is ours.
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            if own_network { linux::own_network(ids) } else { Ok(()) }
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

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;

    use nix::sched::{CloneFlags, unshare};

    pub(super) fn own_network((uid, gid): (u32, u32)) -> io::Result<()> {
        if uid == 0 {
            unshare(CloneFlags::CLONE_NEWNET)?;
        } else {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
            // user_namespaces(7): groups may be mapped once nobody can drop them.
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        }
        loopback_up()
    }

    /// A new namespace has a loopback device, and it is down.
    fn loopback_up() -> io::Result<()> {
        // SAFETY: an all-zero ifreq is valid; the name fits; the ioctls read and write this one alone.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            if socket < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut request: libc::ifreq = std::mem::zeroed();
            request.ifr_name[0] = b'l' as libc::c_char;
            request.ifr_name[1] = b'o' as libc::c_char;
            let mut done = libc::ioctl(socket, libc::SIOCGIFFLAGS, &mut request);
            if done == 0 {
                request.ifr_ifru.ifru_flags |= (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
                done = libc::ioctl(socket, libc::SIOCSIFFLAGS, &request);
            }
            let error = io::Error::last_os_error();
            libc::close(socket);
            if done == 0 { Ok(()) } else { Err(error) }
        }
    }
}
