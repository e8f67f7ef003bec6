//! The guard (Linux): each node's bind(2), connect(2) and datagrams with an address, and nothing else, are put before the
//! warden (seccomp_unotify(2)).
//!
//! - A node that binds `0.0.0.0:port` or `[::]:port` gets loopback alone. The links to a node listen on addresses of their
//!   own, 127.x.y.z, with the node's real port; a wildcard bind would claim that port on every address and collide with
//!   them. So a wildcard bind of a TCP or UDP socket to one of the cluster's ports is carried out as a bind to 127.0.0.1 on
//!   the node's behalf; every other bind takes its usual course.
//! - A node that connects or sends to one of the cluster's ports at an address that is none of its links is seen doing so,
//!   however short its connection. Each takes its usual course. Answers and streams (send(2), write(2)) have no address and
//!   are not looked at; sendmsg(2) keeps its address where a filter cannot see it, and so costs a look each time.
//!   What goes through io_uring is not seen.
//!
//! Where the kernel or a container forbids this, nodes simply run without a guard.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod imp {
    use std::collections::{BTreeSet, HashMap, HashSet};
    use std::fs::File;
    use std::io;
    use std::mem::{offset_of, size_of};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
    use std::os::unix::fs::FileExt as _;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags};
    use nix::sys::uio::{RemoteIoVec, process_vm_readv};
    use socket2::SockAddr;

    use super::Past;

    /// `AUDIT_ARCH_*` of the native system call interface (linux/audit.h).
    #[cfg(target_arch = "x86_64")]
    const NATIVE: u32 = 62 | 0x8000_0000 | 0x4000_0000;
    #[cfg(target_arch = "aarch64")]
    const NATIVE: u32 = 183 | 0x8000_0000 | 0x4000_0000;

    /// Offsets in `struct seccomp_data` (linux/seccomp.h).
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    /// The lower half of an argument; the upper one is behind it on these architectures.
    const fn argument(number: u32) -> u32 {
        16 + 8 * number
    }

    /// By these flags the filter knows the one message that may not wait for the warden: the one that brings it the listener.
    /// The second means nothing to who sends, so no node will use it.
    const HANDOVER: MsgFlags = MsgFlags::MSG_NOSIGNAL.union(MsgFlags::MSG_CMSG_CLOEXEC);

    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (linux/seccomp.h).
    const SYNC_WAKE_UP: libc::c_ulong = 1;

    /// A node that sends past its links may do so many thousand times a second: told once in so long, for each address.
    const TOLD_EVERY: Duration = Duration::from_millis(10);
    /// Messages of one sendmmsg(2) that are looked at.
    const MESSAGES: usize = 64;

    /// How the listener gets from the forked child to the warden.
    pub(crate) struct Handover {
        warden: UnixStream,
        child: UnixStream,
    }

    impl Handover {
        /// `None` where the kernel cannot do it.
        pub(crate) fn new() -> Option<Self> {
            if !supported() {
                return None;
            }
            let (warden, child) = UnixStream::pair().ok()?;
            Some(Self { warden, child })
        }

        /// Open in the child until it executes.
        pub(crate) fn child_end(&self) -> RawFd {
            self.child.as_raw_fd()
        }

        /// What the child sent before it executed, if its filter could be installed.
        pub(crate) fn receive(self) -> Option<OwnedFd> {
            drop(self.child);
            let mut byte = [0_u8];
            let mut iov = [io::IoSliceMut::new(&mut byte)];
            let mut space = nix::cmsg_space!(RawFd);
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message =
                socket::recvmsg::<()>(self.warden.as_raw_fd(), &mut iov, Some(&mut space), flags).ok()?;
            for control in message.cmsgs().ok()? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    // SAFETY: the kernel has just made this descriptor for this process.
                    return fds.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
                }
            }
            None
        }
    }

    /// Whether sockets of other processes can be borrowed at all: old kernels and some containers say no.
    fn supported() -> bool {
        let own = std::process::id();
        pidfd(own).is_ok_and(|own| borrow_fd(&own, libc::STDIN_FILENO).is_ok())
    }

    /// In the forked child: puts its binds, connects and datagrams before the warden. Without success it runs unguarded.
    pub(crate) fn install(handover: RawFd) {
        if let Ok(listener) = install_filter() {
            let fds = [listener.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&fds)];
            let byte = [io::IoSlice::new(&[0])];
            let sent = socket::sendmsg::<()>(handover, &byte, &rights, HANDOVER, None);
            if sent.is_err() {
                // A filter that nobody listens to would fail every bind: better no node than that.
                // SAFETY: _exit is always allowed.
                unsafe { libc::_exit(127) }
            }
        }
    }

    fn install_filter() -> io::Result<OwnedFd> {
        let statement =
            |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        // Jumps count the statements they leave out; the last two are the ends.
        let mut program = [
            statement(load, ARCHITECTURE, 0, 0),
            statement(equals, NATIVE, 0, 13),
            statement(load, NUMBER, 0, 0),
            statement(equals, libc::SYS_bind as u32, 10, 0),
            statement(equals, libc::SYS_connect as u32, 9, 0),
            statement(equals, libc::SYS_sendmmsg as u32, 8, 0),
            statement(equals, libc::SYS_sendto as u32, 3, 0),
            statement(equals, libc::SYS_sendmsg as u32, 0, 7),
            // sendmsg: all but the hand-over, by its flags.
            statement(load, argument(2), 0, 0),
            statement(equals, HANDOVER.bits() as u32, 5, 4),
            // sendto: where there is an address.
            statement(load, argument(4), 0, 0),
            statement(equals, 0, 0, 2),
            statement(load, argument(4) + 4, 0, 0),
            statement(equals, 0, 1, 0),
            statement(libc::BPF_RET, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
            statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW, 0, 0),
        ];
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        // Without SPEC_ALLOW older kernels slow the node down; without WAIT_KILLABLE_RECV a signal in the middle of a
        // bind would make the node ask twice, and the second time be told that it is bound already.
        let fine = listener | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        let finest = fine | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        let attempt = |flags: libc::c_ulong| {
            let mode = libc::SECCOMP_SET_MODE_FILTER;
            // SAFETY: `program` points to instructions that live until the call returns.
            let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the kernel has just made this descriptor for this process.
            Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
        };
        let mut done = attempt(finest);
        if matches!(&done, Err(error) if error.raw_os_error() == Some(libc::EACCES)) {
            // The price of a filter without privileges: the node cannot gain any by executing a setuid program.
            nix::sys::prctl::set_no_new_privs()?;
            done = attempt(finest);
        }
        done.or_else(|_| attempt(fine)).or_else(|_| attempt(listener))
    }

    /// The listener for one node and all its descendants.
    pub(crate) struct Guard {
        listener: OwnedFd,
        node: String,
        links: HashSet<SocketAddr>,
        /// When the node was last told of to have sent there.
        told: HashMap<SocketAddr, Instant>,
    }

    /// The kernel may know a longer struct than libc; it writes no more than this.
    #[repr(C)]
    union Padded<T: Copy> {
        value: T,
        space: [u64; 64],
    }

    /// What becomes of a bind.
    #[derive(Debug, PartialEq, Eq)]
    enum Answer {
        /// The kernel goes on as if nothing had been.
        Continue,
        /// It has been carried out; 0, or the error number.
        Done(i32),
    }

    impl Guard {
        /// Always some here; elsewhere there is no guard. `links`: where `node` was told that its peers are.
        pub(crate) fn new(listener: OwnedFd, node: String, links: Vec<SocketAddr>) -> Option<Self> {
            // Node and warden take turns anyway: on one processor they do so a third faster. Kernels before 6.6 refuse.
            // SAFETY: the third argument is a number.
            unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
            Some(Self { listener, node, links: links.into_iter().collect(), told: HashMap::new() })
        }

        pub(crate) fn node(&self) -> &str {
            &self.node
        }

        pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
            self.listener.as_fd()
        }

        /// Answers what waits. Call it when the listener is readable. Some: the node connects or sends to one of `ports`
        /// there, which is none of its links.
        pub(crate) fn answer(&mut self, ports: &BTreeSet<u16>) -> Option<Past> {
            let mut request: Padded<libc::seccomp_notif> = Padded { space: [0; 64] };
            let fd = self.listener.as_raw_fd();
            // SAFETY: the buffer is zeroed as the kernel demands, and large enough.
            if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut request) } < 0 {
                // ENOENT: whoever asked died meanwhile.
                return None;
            }
            // SAFETY: filled in by the kernel; all fields are plain integers.
            let request = unsafe { request.value };
            let (answer, past) = match libc::c_long::from(request.data.nr) {
                libc::SYS_bind => (self.decide(&request, ports).unwrap_or(Answer::Continue), None),
                _ => (Answer::Continue, self.past_links(&request, ports).unwrap_or(None)),
            };
            let (error, flags) = match answer {
                Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
                Answer::Done(errno) => (-errno, 0),
            };
            let mut response: Padded<libc::seccomp_notif_resp> = Padded { space: [0; 64] };
            response.value = libc::seccomp_notif_resp { id: request.id, val: 0, error, flags };
            // SAFETY: as above. ENOENT again: it died while we thought about it, and its socket with it.
            let send = || unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
            // Unsaid, the answer would be waited for for ever.
            retried(send);
            past
        }

        /// Where a connect or a datagram to one of the cluster's ports goes, if that is none of the node's links.
        fn past_links(
            &mut self,
            request: &libc::seccomp_notif,
            ports: &BTreeSet<u16>,
        ) -> io::Result<Option<Past>> {
            let connects = libc::c_long::from(request.data.nr) == libc::SYS_connect;
            let fd = request.data.args[0] as RawFd;
            for (at, length) in addresses(request)? {
                let Some(address) = local(&read_address(request.pid, at, length)?) else { continue };
                if !ports.contains(&address.port()) || self.links.contains(&address) {
                    continue;
                }
                let told = self.told.get(&address).is_some_and(|told| told.elapsed() < TOLD_EVERY);
                if !connects && told {
                    continue;
                }
                let Some((_, datagrams)) = self.socket(request, fd)? else { return Ok(None) };
                if !connects {
                    self.told.insert(address, Instant::now());
                }
                return Ok(Some(Past { address, datagrams }));
            }
            Ok(None)
        }

        /// The asker's socket `fd` and whether it is one of UDP, if it is that or one of TCP and still waits for an answer.
        fn socket(
            &self,
            request: &libc::seccomp_notif,
            fd: RawFd,
        ) -> io::Result<Option<(socket2::Socket, bool)>> {
            let owner = pidfd(thread_group(request.pid)?)?;
            // Only now is it certain that the pid still meant the process that asked.
            if !self.still_waits(request.id) {
                return Ok(None);
            }
            let socket = socket2::Socket::from(borrow_fd(&owner, fd)?);
            let protocol = socket.protocol()?.map(i32::from);
            let datagrams = protocol == Some(libc::IPPROTO_UDP);
            let known = datagrams || matches!(protocol, Some(libc::IPPROTO_TCP | libc::IPPROTO_MPTCP));
            Ok(known.then_some((socket, datagrams)))
        }

        fn still_waits(&self, id: u64) -> bool {
            // SAFETY: `id` is read by the kernel during the call alone.
            unsafe {
                libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0
            }
        }

        /// Carries a wildcard bind out on loopback. Any error: let the kernel do what was asked.
        fn decide(&self, request: &libc::seccomp_notif, ports: &BTreeSet<u16>) -> io::Result<Answer> {
            let [fd, address, length, ..] = request.data.args;
            let address = read_address(request.pid, address, length as usize)?;
            let Some(port) = wildcard_port(&address).filter(|port| ports.contains(port)) else {
                return Ok(Answer::Continue);
            };
            let Some((socket, _)) = self.socket(request, fd as RawFd)? else { return Ok(Answer::Continue) };
            let narrowed = match socket.domain()? {
                socket2::Domain::IPV4 => SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)),
                socket2::Domain::IPV6 => {
                    let dual = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
                    let host = if socket.only_v6()? { Ipv6Addr::LOCALHOST } else { dual };
                    SocketAddr::V6(SocketAddrV6::new(host, port, 0, 0))
                }
                _ => return Ok(Answer::Continue),
            };
            Ok(match socket.bind(&SockAddr::from(narrowed)) {
                Ok(()) => Answer::Done(0),
                Err(error) => match error.raw_os_error() {
                    // No ::1 on this machine.
                    Some(libc::EADDRNOTAVAIL) | None => Answer::Continue,
                    Some(errno) => Answer::Done(errno),
                },
            })
        }
    }

    /// Calls again what a signal interrupted.
    fn retried(mut call: impl FnMut() -> libc::c_int) {
        while call() < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {}
    }

    /// Where in the asker's memory the addresses are that it connects or sends to, and how long.
    fn addresses(request: &libc::seccomp_notif) -> io::Result<Vec<(u64, usize)>> {
        let [_, second, third, _, fifth, sixth] = request.data.args;
        let (size, count) = match libc::c_long::from(request.data.nr) {
            libc::SYS_connect => return Ok(vec![(second, third as usize)]),
            libc::SYS_sendto => return Ok(vec![(fifth, sixth as usize)]),
            libc::SYS_sendmmsg => (size_of::<libc::mmsghdr>(), (third as usize).min(MESSAGES)),
            _ => (size_of::<libc::msghdr>(), 1),
        };
        let headers = read_memory(request.pid, second, size * count)?;
        let named = headers.chunks_exact(size).filter_map(|header| {
            let name = header.get(offset_of!(libc::msghdr, msg_name)..)?.first_chunk()?;
            let length = header.get(offset_of!(libc::msghdr, msg_namelen)..)?.first_chunk()?;
            let name = u64::from_ne_bytes(*name);
            (name != 0).then_some((name, u32::from_ne_bytes(*length) as usize))
        });
        Ok(named.collect())
    }

    /// The sockaddr in the asking thread's memory.
    fn read_address(thread: u32, address: u64, length: usize) -> io::Result<Vec<u8>> {
        read_memory(thread, address, length.min(size_of::<libc::sockaddr_storage>()))
    }

    fn read_memory(thread: u32, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let remote = [RemoteIoVec { base: address as usize, len: length }];
        let mut local = [io::IoSliceMut::new(&mut bytes)];
        // A third of the time that opening takes; some containers forbid it.
        let read = process_vm_readv(nix::unistd::Pid::from_raw(thread.cast_signed()), &mut local, &remote);
        if read != Ok(length) {
            File::open(format!("/proc/{thread}/mem"))?.read_exact_at(&mut bytes, address)?;
        }
        Ok(bytes)
    }

    /// A sockaddr (ip(7), ipv6(7)); an IPv4 address in IPv6's clothes is told as what it is.
    fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes(*bytes.first_chunk()?);
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        let ip = match i32::from(family) {
            // A short sockaddr_in is refused by the kernel.
            libc::AF_INET | libc::AF_UNSPEC if bytes.len() >= 16 => {
                IpAddr::V4(Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?))
            }
            libc::AF_INET6 if bytes.len() >= 24 => {
                Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).to_canonical()
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The port of a sockaddr that means every address.
    pub(super) fn wildcard_port(address: &[u8]) -> Option<u16> {
        socket_address(address).filter(|address| address.ip().is_unspecified()).map(|address| address.port())
    }

    /// Where on this machine's loopback a connect to this sockaddr arrives; connecting to every address means loopback.
    pub(super) fn local(address: &[u8]) -> Option<SocketAddr> {
        let mut address = socket_address(address)?;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        address.ip().is_loopback().then_some(address)
    }

    /// The process a thread belongs to.
    fn thread_group(thread: u32) -> io::Result<u32> {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status"))?;
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        group
            .and_then(|group| group.trim().parse().ok())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn pidfd(pid: u32) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_open takes two integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for this process.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }

    /// A duplicate of another process's descriptor.
    fn borrow_fd(owner: &OwnedFd, fd: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_getfd takes three integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, owner.as_raw_fd(), fd, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod imp {
    use std::collections::BTreeSet;
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

    /// There is no guard on this system, so there is never one of these.
    pub(crate) struct Handover(Infallible);

    impl Handover {
        pub(crate) fn new() -> Option<Self> {
            None
        }

        pub(crate) fn child_end(&self) -> RawFd {
            match self.0 {}
        }

        pub(crate) fn receive(self) -> Option<OwnedFd> {
            match self.0 {}
        }
    }

    pub(crate) fn install(_handover: RawFd) {}

    /// As [`Handover`].
    pub(crate) struct Guard(Infallible);

    impl Guard {
        /// Nobody can have a listener to call it with; one that came from nowhere guards nothing.
        pub(crate) fn new(_listener: OwnedFd, _node: String, _links: Vec<SocketAddr>) -> Option<Self> {
            None
        }

        pub(crate) fn node(&self) -> &str {
            match self.0 {}
        }

        pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }

        pub(crate) fn answer(&mut self, _ports: &BTreeSet<u16>) -> Option<super::Past> {
            match self.0 {}
        }
    }
}

pub(super) use imp::{Guard, Handover, install};

/// A node connects or sends to one of the cluster's ports past its links.
pub(super) struct Past {
    /// Where to.
    pub address: std::net::SocketAddr,
    /// Whether by UDP.
    pub datagrams: bool,
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::net::SocketAddr;

    use super::imp::{local, wildcard_port};

    fn bytes(address: &str) -> Vec<u8> {
        let address = socket2::SockAddr::from(address.parse::<SocketAddr>().unwrap());
        // SAFETY: a SockAddr is valid for its length.
        unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), address.len() as usize) }.to_vec()
    }

    #[test]
    fn only_wildcards_are_narrowed() {
        assert_eq!(wildcard_port(&bytes("0.0.0.0:8000")), Some(8000));
        assert_eq!(wildcard_port(&bytes("[::]:8000")), Some(8000));
        assert_eq!(wildcard_port(&bytes("[::ffff:0.0.0.0]:8000")), Some(8000));
        assert_eq!(wildcard_port(&bytes("127.0.0.1:8000")), None);
        assert_eq!(wildcard_port(&bytes("[::1]:8000")), None);
        assert_eq!(wildcard_port(&bytes("0.0.0.0:8000")[..8]), None);
        assert_eq!(wildcard_port(&[]), None);
    }

    #[test]
    fn only_loopback_is_local() {
        let local = |address: &str| local(&bytes(address)).map(|address| address.to_string());
        for (asked, arrives) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("127.33.2.1:8000", "127.33.2.1:8000"),
            ("[::ffff:127.0.0.1]:8000", "127.0.0.1:8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
        ] {
            assert_eq!(local(asked).as_deref(), Some(arrives), "{asked}");
        }
        assert_eq!(local("192.0.2.1:8000"), None);
    }
}
