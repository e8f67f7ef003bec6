//! What a node sees of the file system: everything, read-only; its own directory, writable; a place for temporary files that
//! nobody else sees; and nothing of the run's own files.
//!
//! mount_namespaces(7), open_tree(2), move_mount(2), mount_setattr(2): Linux 5.12.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::Room;
use super::namespaces::told;

// From linux/mount.h; the libc crate does not have them.
const OPEN_TREE_CLONE: libc::c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 4;
const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;

/// struct mount_attr
#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user: u64,
}

/// Makes the view in this process's own mount namespace.
///
/// # Errors
/// When it cannot be had; what exactly is in the node's log.
pub(super) fn build(room: &Room) -> io::Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .map_err(|errno| told("cannot leave the mounts of others", errno.into()))?;
    // Taken before what lies above is hidden.
    let mut trees = Vec::new();
    for (source, place) in room.places() {
        let failed = |error| told(&format!("cannot use {}", source.display()), error);
        trees.push((clone_tree(source).map_err(failed)?, place));
    }
    for hidden in room.hidden.iter().filter(|hidden| hidden.is_dir()) {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("none"), hidden.as_path(), Some("tmpfs"), flags, Some("size=1m,mode=0755"))
            .map_err(|errno| told(&format!("cannot hide {}", hidden.display()), errno.into()))?;
    }
    for (tree, place) in &trees {
        let failed = |error| told(&format!("cannot put up {}", place.display()), error);
        // Where it was hidden with what lies above it.
        fs::create_dir_all(place).and_then(|()| attach(tree, place)).map_err(failed)?;
    }
    // A container may cover parts of /proc; then the kernel lets nobody see it whole, and the old one stays.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, nothing);
    // What has no rights gets none back in a namespace below. Where this cannot be set it is one wall less of several.
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
    let sealed = Attributes { set: RDONLY, ..Attributes::default() };
    set(Path::new("/"), libc::AT_RECURSIVE, &sealed)
        .map_err(|error| told("cannot make everything read-only", error))?;
    for (_, place) in &trees {
        let open = Attributes { set: NOSUID | NODEV, clear: RDONLY, ..Attributes::default() };
        set(place, 0, &open).map_err(|error| told(&format!("cannot open {}", place.display()), error))?;
    }
    Ok(())
}

/// A copy of the mounts at a path, in no place yet.
fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_RECURSIVE;
    // SAFETY: the path outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn attach(tree: &OwnedFd, place: &Path) -> io::Result<()> {
    let place = c_path(place)?;
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            place.as_ptr(),
            flags,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set(path: &Path, flags: libc::c_int, attributes: &Attributes) -> io::Result<()> {
    let path = c_path(path)?;
    let size = size_of::<Attributes>();
    // SAFETY: path and attributes outlive the call, and the size is theirs.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
