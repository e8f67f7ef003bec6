//! A network for one run: nodes that name their ports in their source meet no other run's, and reach nothing outside.
//!
//! network_namespaces(7). The harness itself goes in, for its clients and its links must reach the nodes. It stays the same
//! process, so whoever ends it ends the run as ever, and its files stay its user's.

/// Leaves the network for one of its own, with a loopback device and nothing else. Without rights, a user namespace comes with
/// it, in which the user is who they were. Must be called before there is a second thread. `false`: it had no other network anyway.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub fn enter() -> std::io::Result<bool> {
    if super::linux::only_loopback() {
        return Ok(false);
    }
    leave()?;
    imp::ENTERED.store(true, std::sync::atomic::Ordering::Relaxed);
    Ok(true)
}

/// The same whatever network there was, for this process alone: whoever starts a run in a network of its own calls it between fork
/// and exec.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub(crate) fn leave() -> std::io::Result<()> {
    imp::unshare_network()?;
    imp::loopback_up()
}

/// Networks of one's own are Linux's.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn enter() -> std::io::Result<bool> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "only Linux has network namespaces"))
}

/// Names the network that this process has entered: ports that are taken in another say nothing in this one.
pub fn name() -> Option<String> {
    #[cfg(target_os = "linux")]
    if imp::ENTERED.load(std::sync::atomic::Ordering::Relaxed) {
        use std::os::unix::fs::MetadataExt as _;
        return Some(std::fs::metadata("/proc/self/ns/net").ok()?.ino().to_string());
    }
    None
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
    use std::sync::atomic::AtomicBool;

    use nix::sched::{CloneFlags, unshare};

    pub(super) static ENTERED: AtomicBool = AtomicBool::new(false);

    pub(super) fn unshare_network() -> io::Result<()> {
        let ids = (nix::unistd::geteuid(), nix::unistd::getegid());
        // Root of a container may lack the right.
        if ids.0.is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
        crate::sandbox::linux::stay(ids)
    }

    /// A new namespace has a loopback device, and it is down (netdevice(7)).
    pub(super) fn loopback_up() -> io::Result<()> {
        // SAFETY: socket(2) takes three integers.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for this process.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: an ifreq of zeroes is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (place, letter) in request.ifr_name.iter_mut().zip(b"lo") {
            *place = *letter as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        // SAFETY: the ioctl reads this ifreq alone.
        match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
