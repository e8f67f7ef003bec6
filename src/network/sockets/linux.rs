//! By sock_diag(7): a question about one socket costs two system calls, however many there are. Where it is not to be
//! had (some sandboxes), by /proc/net/tcp and /proc/net/udp.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::{End, Listening, proc};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const HEADER: usize = 16;
/// struct inet_diag_msg without its attributes.
const ENTRY: usize = 72;

const TCP_LISTEN: u8 = 10;
/// Every state but TIME_WAIT (6), CLOSE (7) and LISTEN: those in which somebody can still send.
const LIVE: u32 = 0xfff & !(1 << 6) & !(1 << 7) & !(1 << 10);
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const ANY_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// How old the list of all datagram sockets may become. Making it takes about 40 µs and more with every socket there is.
const LIST_FOR: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(in super::super) struct Sockets {
    netlink: Option<OwnedFd>,
    sequence: u32,
    /// Every datagram socket there is, and when that was found out.
    datagrams: Option<(Instant, Vec<SocketAddr>)>,
}

struct Found {
    state: u8,
    end: End,
}

impl Sockets {
    /// Who listens at `port` on loopback. `known` matters on other systems.
    pub fn listening(&mut self, port: u16, _known: Option<Listening>) -> Option<Listening> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let tcp = libc::IPPROTO_TCP;
        let found = match self.one(tcp, v4, ANY).and_then(|v4| Ok([v4, self.one(tcp, v6, ANY_V6)?])) {
            Ok(found) => found.map(|found| found.filter(|found| found.state == TCP_LISTEN)),
            Err(_) => return proc::listening(port),
        };
        let wildcard =
            found.iter().flatten().any(|found| found.end.local.ip().to_canonical().is_unspecified());
        let [v4, v6] = found.map(|found| found.is_some());
        (v4 || v6).then_some(Listening { only_v6: !v4, wildcard })
    }

    /// Who receives datagrams at `port` on loopback.
    pub fn receiving(&mut self, port: u16) -> Option<Listening> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        // Historical reasons, says the kernel: of datagram sockets it takes the ends the other way round.
        let udp = libc::IPPROTO_UDP;
        let found = self.one(udp, ANY, v4).and_then(|v4| Ok([v4, self.one(udp, ANY_V6, v6)?]));
        if let Ok(found @ ([Some(_), _] | [_, Some(_)])) = found {
            let any = |found: &Found| found.end.local.ip().to_canonical().is_unspecified();
            let wildcard = found.iter().flatten().any(any);
            return Some(Listening { only_v6: found[0].is_none(), wildcard });
        }
        // A socket that is connected to a peer does not answer for everybody, and is not found that way; nor is any where
        // the kernel has only TCP to tell of.
        let list = match self.datagrams.take() {
            Some((at, list)) if at.elapsed() < LIST_FOR => (at, list),
            _ => (Instant::now(), proc::datagrams().unwrap_or_default()),
        };
        let receiving = proc::at_port(list.1.iter().map(|local| (local.ip(), local.port())), port);
        self.datagrams = Some(list);
        receiving
    }

    /// Whether a process still holds the socket `local`, connected to `remote`; `None`: cannot be known.
    pub fn is_held(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<bool> {
        let inode = match self.one(libc::IPPROTO_TCP, local, remote) {
            Ok(found) => found.filter(|found| found.state != TCP_LISTEN).map(|found| found.end.inode),
            Err(_) => proc::ends()
                .ok()?
                .iter()
                .find(|end| end.local == local && end.remote == remote)
                .map(|end| end.inode),
        };
        Some(inode.is_some_and(|inode| inode != 0))
    }

    /// Every end of a connection that is not over. Errors: neither way of asking works.
    pub fn ends(&mut self) -> io::Result<Vec<End>> {
        let mut ends = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            if self.dump(family, &mut ends).is_err() {
                return proc::ends();
            }
        }
        Ok(ends)
    }

    fn one(&mut self, protocol: i32, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Found>> {
        let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        self.ask((family, protocol), local, remote, u32::MAX, 0)?;
        let mut answer = [0; 4096];
        let length = self.receive(&mut answer)?;
        let mut found = None;
        let absent = |errno| matches!(errno, Errno::ENOENT | Errno::EADDRNOTAVAIL);
        match messages(&answer[..length], |entry| found = Some(entry)) {
            Err(errno) if !absent(errno) => Err(errno.into()),
            _ => Ok(found),
        }
    }

    fn dump(&mut self, family: AddressFamily, ends: &mut Vec<End>) -> io::Result<()> {
        let any = if family == AddressFamily::Inet { ANY } else { ANY_V6 };
        self.ask((family, libc::IPPROTO_TCP), any, any, LIVE, NLM_F_DUMP)?;
        let mut answer = vec![0; 32 * 1024];
        loop {
            let length = self.receive(&mut answer)?;
            if messages(&answer[..length], |found| ends.push(found.end))? {
                return Ok(());
            }
        }
    }

    fn ask(
        &mut self,
        (family, protocol): (AddressFamily, i32),
        local: SocketAddr,
        remote: SocketAddr,
        states: u32,
        flags: u16,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(HEADER + 56);
        request.extend(((HEADER + 56) as u32).to_ne_bytes());
        request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend([family as u8, protocol as u8, 0, 0]);
        request.extend(states.to_ne_bytes());
        request.extend(local.port().to_be_bytes());
        request.extend(remote.port().to_be_bytes());
        for address in [local, remote] {
            match address.ip() {
                IpAddr::V4(ip) => {
                    request.extend(ip.octets());
                    request.extend([0; 12]);
                }
                IpAddr::V6(ip) => request.extend(ip.octets()),
            }
        }
        // Any interface; no cookie.
        request.extend([0; 4]);
        request.extend([0xff; 8]);

        // A failed question may leave answers behind: the next one starts afresh.
        let netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => socket(
                AddressFamily::Netlink,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkSockDiag,
            )?,
        };
        send(netlink.as_raw_fd(), &request, MsgFlags::empty())?;
        self.netlink = Some(netlink);
        Ok(())
    }

    fn receive(&mut self, answer: &mut [u8]) -> io::Result<usize> {
        let netlink = self.netlink.take().ok_or(io::ErrorKind::NotConnected)?;
        // The kernel has answered before `send` returned.
        let length = recv(netlink.as_raw_fd(), answer, MsgFlags::MSG_DONTWAIT)?;
        self.netlink = Some(netlink);
        Ok(length)
    }
}

/// True: the last message of a dump was among them.
fn messages(mut bytes: &[u8], mut entry: impl FnMut(Found)) -> Result<bool, Errno> {
    while let Some(length) = word(bytes, 0) {
        let length = length as usize;
        if length < HEADER || length > bytes.len() {
            return Err(Errno::EBADMSG);
        }
        let payload = &bytes[HEADER..length];
        match u16::from_ne_bytes([bytes[4], bytes[5]]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = word(payload, 0).ok_or(Errno::EBADMSG)?;
                return Err(Errno::from_raw((code as i32).wrapping_neg()));
            }
            SOCK_DIAG_BY_FAMILY => entry(parse(payload).ok_or(Errno::EBADMSG)?),
            _ => {}
        }
        // Messages begin at multiples of four.
        bytes = bytes.get((length + 3) & !3..).unwrap_or_default();
    }
    Ok(false)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn parse(entry: &[u8]) -> Option<Found> {
    if entry.len() < ENTRY {
        return None;
    }
    let address = |at: usize, port: usize| -> Option<SocketAddr> {
        let ip = if i32::from(entry[0]) == libc::AF_INET {
            IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&entry[at..at + 4]).ok()?))
        } else {
            Ipv6Addr::from(<[u8; 16]>::try_from(&entry[at..at + 16]).ok()?).to_canonical()
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes([entry[port], entry[port + 1]])))
    };
    let end = End { local: address(8, 4)?, remote: address(24, 6)?, inode: word(entry, 68)? };
    Some(Found { state: entry[1], end })
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
    use std::os::linux::fs::MetadataExt;

    use super::*;

    fn inode(socket: &impl std::os::fd::AsFd) -> u32 {
        let fd = socket.as_fd().try_clone_to_owned().unwrap();
        u32::try_from(std::fs::File::from(fd).metadata().unwrap().st_ino()).unwrap()
    }

    /// A test beside this one may have forked in this moment: its child has our sockets until it executes something else.
    fn closes(address: &str, mut is_closed: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_closed() {
            assert!(Instant::now() < deadline, "{address}, closed");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn listeners_are_seen_by_family_and_address() {
        let mut sockets = Sockets::default();
        for (address, expected) in [
            ("127.0.0.1:0", Listening { only_v6: false, wildcard: false }),
            ("[::1]:0", Listening { only_v6: true, wildcard: false }),
            ("0.0.0.0:0", Listening { only_v6: false, wildcard: true }),
            ("[::]:0", Listening { only_v6: false, wildcard: true }),
        ] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(sockets.listening(port, None), Some(expected), "{address}");
            assert_eq!(proc::listening(port), Some(expected), "{address} by /proc");
            drop(listener);
            closes(address, || sockets.listening(port, None).is_none() && proc::listening(port).is_none());
        }
    }

    #[test]
    fn receivers_are_seen_connected_or_not() {
        let mut sockets = Sockets::default();
        for (address, expected) in [
            ("127.0.0.1:0", Listening { only_v6: false, wildcard: false }),
            ("[::1]:0", Listening { only_v6: true, wildcard: false }),
            ("0.0.0.0:0", Listening { only_v6: false, wildcard: true }),
            ("[::]:0", Listening { only_v6: false, wildcard: true }),
        ] {
            let socket = UdpSocket::bind(address).unwrap();
            let port = socket.local_addr().unwrap().port();
            assert_eq!(sockets.receiving(port), Some(expected), "{address}");
            sockets.datagrams = None;
            drop(socket);
            closes(address, || {
                let seen = sockets.receiving(port);
                sockets.datagrams = None;
                seen.is_none()
            });
        }
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(other.local_addr().unwrap()).unwrap();
        let seen = sockets.receiving(one.local_addr().unwrap().port());
        assert_eq!(seen, Some(Listening { only_v6: false, wildcard: false }), "connected");
    }

    #[test]
    fn an_end_is_held_until_its_last_descriptor_closes() {
        let mut sockets = Sockets::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let opener = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let (local, remote) = (opener.local_addr().unwrap(), opener.peer_addr().unwrap());
        let expected = End { local, remote, inode: inode(&opener) };
        assert!(sockets.ends().unwrap().contains(&expected));
        assert!(proc::ends().unwrap().contains(&expected));
        opener.shutdown(Shutdown::Write).unwrap();
        assert_eq!(sockets.is_held(local, remote), Some(true), "half-closed");
        drop(opener);
        closes("the opener", || sockets.is_held(local, remote) == Some(false));
        drop(accepted);
    }
}
