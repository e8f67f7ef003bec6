//! Ports for the nodes: consecutive, free, and not handed out twice to runs side by side.
//!
//! A block lies below the ephemeral range, so that no outgoing connection takes a port while its node is down. While
//! a run lasts, each port of its block is locked by a file in the system's temporary directory (flock(2), which the kernel
//! lifts however the harness ends).

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use socket2::{Domain, Socket, Type};

use super::error::PortError;

/// Lowest port that is chosen.
const LOWEST: u16 = 10_000;
/// First ephemeral port where the system does not tell: Linux's default.
const EPHEMERAL: u16 = 32_768;

/// Consecutive ports, and others at fixed distances from them, kept for this process until dropped.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    count: u16,
    _locks: Vec<Flock<File>>,
    _directory: LockDirectory,
}

/// Where ports are locked.
#[derive(Debug)]
struct LockDirectory {
    path: PathBuf,
    /// Nobody else looks there: it goes with the run.
    own: bool,
}

impl Drop for LockDirectory {
    fn drop(&mut self) {
        if self.own {
            // Of no use to anybody, but in nobody's way either.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl PortBlock {
    /// The first port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The consecutive ports, in order.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.first;
        (0..self.count).map(move |offset| first + offset)
    }
}

/// Reserves `count` consecutive ports, starting at `fixed`, or wherever they are free when that is `None` or 0.
///
/// Free means: nothing is bound to it on any local address, links of other runs included. A connection of the past
/// that still occupies it (TIME_WAIT) counts as taken when the harness chooses, not when the port is fixed.
///
/// # Errors
/// [`PortError`]
pub fn allocate(count: u16, fixed: Option<u16>) -> Result<PortBlock, PortError> {
    allocate_with(count, fixed, &[])
}

/// As [`allocate`], with the ports at each of `offsets` above the consecutive ones.
///
/// # Errors
/// [`PortError`]
pub fn allocate_with(count: u16, fixed: Option<u16>, offsets: &[u16]) -> Result<PortBlock, PortError> {
    let directory = lock_directory()?;
    let furthest = offsets.iter().copied().max().unwrap_or(0);
    if let Some(first) = fixed.filter(|first| *first != 0) {
        if u32::from(first) + u32::from(furthest) + u32::from(count) > 65_536 {
            let first = first.saturating_add(furthest);
            return Err(PortError::OutOfRange { first, count });
        }
        let locks = reserve(&directory.path, first, count, offsets, true)?;
        return Ok(PortBlock { first, count, _locks: locks, _directory: directory });
    }
    let end = ephemeral_start().max(LOWEST + 1);
    let none = PortError::NoneFree { count, from: LOWEST, to: end - 1 };
    let step = count.max(1);
    let blocks = (end - LOWEST).saturating_sub(furthest) / step;
    if blocks == 0 {
        return Err(none);
    }
    // Runs that start side by side begin their search at different places.
    let start = std::process::id() % u32::from(blocks);
    for attempt in 0..u32::from(blocks) {
        let block = ((start + attempt) % u32::from(blocks)) as u16;
        let first = LOWEST + block * step;
        if let Ok(locks) = reserve(&directory.path, first, count, offsets, false) {
            return Ok(PortBlock { first, count, _locks: locks, _directory: directory });
        }
    }
    Err(none)
}

fn reserve(
    directory: &Path,
    first: u16,
    count: u16,
    offsets: &[u16],
    fixed: bool,
) -> Result<Vec<Flock<File>>, PortError> {
    let mut locks = Vec::new();
    let starts = [0].iter().chain(offsets).map(|offset| first + offset);
    for port in starts.flat_map(|start| (0..count).map(move |place| start + place)) {
        locks.push(lock(directory, port).map_err(|holder| PortError::Taken { port, holder })?);
        if !is_free(port, fixed) {
            let holder = if fixed { holder(port) } else { None };
            let holder = holder.unwrap_or_else(|| "another process".into());
            return Err(PortError::Taken { port, holder });
        }
    }
    Ok(locks)
}

fn lock_directory() -> Result<LockDirectory, PortError> {
    // What is taken in another network is free in this one.
    let network = crate::sandbox::cell::name();
    let own = network.is_some();
    let network = network.map(|network| format!("-{network}-{}", std::process::id())).unwrap_or_default();
    let path = std::env::temp_dir().join(format!("harness-ports{network}"));
    let failed =
        |error: io::Error| PortError::Locks { path: path.display().to_string(), error: error.to_string() };
    match std::fs::create_dir(&path) {
        // Other users' runs lock here too.
        Ok(()) => std::fs::set_permissions(&path, Permissions::from_mode(0o1777)).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(LockDirectory { path, own })
}

/// Locks a port; on failure, who has it.
fn lock(directory: &Path, port: u16) -> Result<Flock<File>, String> {
    let path = directory.join(format!("{port}.lock"));
    let refused = |error: io::Error| format!("nobody, but {} cannot be used ({error})", path.display());
    // Never removed: whoever had opened the removed file would hold a lock that nobody else sees.
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let file = created.map_err(refused)?;
            let _ = file.set_permissions(Permissions::from_mode(0o666));
            file
        }
        opened => opened.map_err(refused)?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut locked) => {
            // For the other side's error message alone.
            let _ = locked.set_len(0);
            let _ = locked.rewind();
            let _ = writeln!(&mut *locked, "{}", std::process::id());
            Ok(locked)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            Err(match owner.trim() {
                "" => "another run of the harness".into(),
                pid => format!("another run of the harness (pid {pid})"),
            })
        }
        Err((_, errno)) => Err(refused(errno.into())),
    }
}

/// Whether a node could bind the port, on loopback and on all addresses. `patient`: as one that allows for
/// connections of the past (SO_REUSEADDR).
fn is_free(port: u16, patient: bool) -> bool {
    let bind = |host: Ipv4Addr, kind: Type| -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, kind, None)?;
        socket.set_reuse_address(patient && kind == Type::STREAM)?;
        socket.bind(&SocketAddr::from((host, port)).into())?;
        // With SO_REUSEADDR two may bind, but only one listens.
        if kind == Type::STREAM { socket.listen(1) } else { Ok(()) }
    };
    let everywhere = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED];
    let stream = everywhere.into_iter().all(|host| bind(host, Type::STREAM).is_ok());
    stream && (patient || everywhere.into_iter().all(|host| bind(host, Type::DGRAM).is_ok()))
}

#[cfg(target_os = "linux")]
fn ephemeral_start() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_ascii_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(EPHEMERAL)
}

#[cfg(not(target_os = "linux"))]
fn ephemeral_start() -> u16 {
    EPHEMERAL
}

/// Who listens on a TCP port: `python3 (pid 4711)`, where that can be found out.
#[cfg(target_os = "linux")]
pub fn holder(port: u16) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| listening_inode(line, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let holds = |pid: &super::process::Pid| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
    };
    let pid = super::process::table().into_iter().map(|process| process.pid).find(holds);
    Some(match pid {
        Some(pid) => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} (pid {pid})", name.trim())
        }
        None => "a process of another user".into(),
    })
}

/// Who listens on a TCP port, where that can be found out: not on this system.
#[cfg(not(target_os = "linux"))]
pub fn holder(_port: u16) -> Option<String> {
    None
}

/// The socket of a line of /proc/net/tcp (proc_net(5)), if it listens on the port.
#[cfg(target_os = "linux")]
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
    (local == port && *fields.get(3)? == "0A").then(|| fields.get(9).copied())?
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Tests of one process begin their search at the same place: what one gives back, another would take at once.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn blocks_do_not_overlap_and_return() {
        let _turn = TURN.lock();
        let first = allocate(3, None).unwrap();
        let second = allocate(3, Some(0)).unwrap();
        let ports: Vec<u16> = first.ports().collect();
        assert_eq!(ports, [first.first(), first.first() + 1, first.first() + 2]);
        assert!(second.ports().all(|port| !ports.contains(&port)));
        assert!(ports.iter().all(|port| *port < ephemeral_start()));
        let error = allocate(1, Some(ports[1])).unwrap_err().to_string();
        assert!(
            error.contains(&format!("another run of the harness (pid {})", std::process::id())),
            "{error}"
        );
        drop(first);
        drop(allocate(3, Some(ports[0])).unwrap());

        for host in ["127.0.0.1", "0.0.0.0", "127.9.9.9"] {
            let taken = ports[1];
            let listener = TcpListener::bind((host, taken)).unwrap();
            let error = allocate(2, Some(ports[0])).unwrap_err().to_string();
            assert!(error.starts_with(&format!("port {taken} is taken by ")), "{error}");
            assert!(error.ends_with("--set cluster.port=0"), "{error}");
            #[cfg(target_os = "linux")]
            {
                let name = std::fs::read_to_string("/proc/self/comm").unwrap();
                let holder = format!("{} (pid {})", name.trim(), std::process::id());
                assert!(error.contains(&holder), "{error}");
            }
            drop(listener);
        }
    }

    #[test]
    fn ports_at_an_offset_are_kept_too() {
        let _turn = TURN.lock();
        let block = allocate_with(2, None, &[1_000, 200]).unwrap();
        let first = block.first();
        assert_eq!(block.ports().collect::<Vec<_>>(), [first, first + 1]);
        for kept in [first + 1, first + 200, first + 201, first + 1_000, first + 1_001] {
            assert!(matches!(allocate(1, Some(kept)), Err(PortError::Taken { port, .. }) if port == kept));
        }
        let error = allocate_with(2, Some(65_000), &[535]).unwrap_err();
        assert_eq!(error, PortError::OutOfRange { first: 65_535, count: 2 });
        assert!(matches!(allocate_with(2, None, &[50_000]), Err(PortError::NoneFree { .. })));
    }

    #[test]
    fn the_last_port_is_65535() {
        let error = allocate(3, Some(65_534)).unwrap_err();
        assert_eq!(error, PortError::OutOfRange { first: 65_534, count: 3 });
    }
}
