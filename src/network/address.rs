//! Where links listen: the addresses a node is told for its peers.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, Socket, Type};

use super::Endpoint;
use super::error::NetworkError;
use super::face;
use super::sockets::Sockets;
use crate::seed::Rng;

/// How links are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// An address of its own each, 127.x.y.z, with the peer's real port number: nodes recognise each other by port.
    /// Needs a system that has all of 127.0.0.0/8 on its loopback: Linux.
    Loopback,
    /// 127.0.0.1 with a port of its own each.
    Ports,
}

impl Default for Addressing {
    /// `Loopback` where the system has it.
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::Loopback } else { Self::Ports }
    }
}

/// An address for `port` of `to`, as `from` is told it.
pub(super) struct Place {
    pub from: usize,
    pub to: usize,
    pub port: u16,
    pub address: SocketAddr,
    /// Keeps the port, where it is one of our own, while nobody is to be let in.
    pub reserved: Option<Socket>,
    /// Receives datagrams at the same address, where that is of our own choice.
    pub datagrams: Option<Socket>,
}

/// Draws of the first address before giving up.
const DRAWS: u32 = 16;

/// One place for each port of each ordered pair of nodes.
pub(super) fn places(endpoints: &[Endpoint], addressing: Addressing) -> Result<Vec<Place>, NetworkError> {
    // Not from the run's seed: two runs of one seed may be under way.
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mut rng = Rng::new(nanos ^ u64::from(std::process::id()) << 40, "addresses");
    let mut draw = 1;
    loop {
        match try_places(endpoints, addressing, &mut rng) {
            Err(NetworkError::NoAddress { .. }) if draw < DRAWS => draw += 1,
            settled => return settled,
        }
    }
}

fn try_places(
    endpoints: &[Endpoint],
    addressing: Addressing,
    rng: &mut Rng,
) -> Result<Vec<Place>, NetworkError> {
    // 127.0 and 127.1 have users of their own (127.0.0.53, 127.0.1.1 …).
    let (x, first_y) = (rng.between(16, 250) as u8, rng.below(256) as u8);
    let mut places = Vec::new();
    let mut number = 0_u32;
    for (from, opener) in endpoints.iter().enumerate() {
        for (to, peer) in endpoints.iter().enumerate().filter(|(to, _)| *to != from) {
            let ip = match addressing {
                Addressing::Ports => Ipv4Addr::LOCALHOST,
                Addressing::Loopback => {
                    let y = first_y.wrapping_add((number / 254) as u8);
                    Ipv4Addr::new(127, x, y, 1 + (number % 254) as u8)
                }
            };
            number += 1;
            // As far apart as the real ones: nodes that know one port of a peer may work out the others.
            let mut shift: Option<i32> = None;
            for &port in &peer.ports {
                let shifted = shift.and_then(|shift| u16::try_from(i32::from(port) + shift).ok());
                let number = if addressing == Addressing::Ports { shifted.unwrap_or(0) } else { port };
                let wanted = SocketAddr::from((ip, number));
                let refused = |error| NetworkError::NoAddress {
                    from: opener.id.clone(),
                    to: peer.id.clone(),
                    address: wanted,
                    error,
                };
                let (address, reserved, datagrams) = match bound(wanted) {
                    Ok(socket) if addressing == Addressing::Ports => {
                        let address = socket.local_addr().map_err(refused)?.as_socket().unwrap_or(wanted);
                        // Somebody may have this very port for datagrams; then another draw has better luck.
                        (address, Some(socket), Some(face::bound(address).map_err(refused)?))
                    }
                    Ok(_) => (wanted, None, None),
                    // No other address would do: told as trouble once the link is to listen.
                    Err(error) if error.kind() == ErrorKind::AddrInUse && wildcard(port) => {
                        (wanted, None, None)
                    }
                    Err(error) => return Err(refused(error)),
                };
                shift.get_or_insert(i32::from(address.port()) - i32::from(port));
                places.push(Place { from, to, port, address, reserved, datagrams });
            }
        }
    }
    Ok(places)
}

/// A socket bound to `address` that does not listen yet.
pub(super) fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit these.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// How long an address that was closed here may stay in use.
const FREED_WITHIN: Duration = Duration::from_millis(500);

/// What `bind` gives as soon as the address is free. What this process has closed may stay open a moment longer: a child of
/// it that has been forked and not yet executed its program holds a copy. Blocks for at most [`FREED_WITHIN`].
pub(super) fn once_free(bind: impl Fn() -> io::Result<Socket>) -> io::Result<Socket> {
    let begun = Instant::now();
    loop {
        match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < FREED_WITHIN => {
                thread::sleep(Duration::from_millis(1));
            }
            settled => return settled,
        }
    }
}

fn wildcard(port: u16) -> bool {
    Sockets::default().listening(port, None).is_some_and(|listening| listening.wildcard)
}

/// Errors: an id or a port is given twice.
pub(super) fn validate(endpoints: &[Endpoint]) -> Result<(), NetworkError> {
    let mut ids = HashSet::new();
    for endpoint in endpoints {
        if !ids.insert(&endpoint.id) {
            return Err(NetworkError::SameId(endpoint.id.clone()));
        }
    }
    for (at, second) in endpoints.iter().enumerate() {
        for (other, first) in endpoints[..=at].iter().enumerate() {
            for (number, port) in second.ports.iter().enumerate() {
                let earlier = if other == at { &first.ports[..number] } else { &first.ports[..] };
                if earlier.contains(port) {
                    let (first, second) = (first.id.clone(), second.id.clone());
                    return Err(NetworkError::SamePort { first, second, port: *port });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_awaited_that_a_child_still_holds() {
        let held = face::bound((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(face::bound(address).unwrap_err().kind(), ErrorKind::AddrInUse);
        let holder = thread::spawn(move || {
            // time itself is tested
            thread::sleep(FREED_WITHIN / 10);
            drop(held);
        });
        once_free(|| face::bound(address)).unwrap();
        holder.join().unwrap();
    }

    #[test]
    fn an_address_that_stays_in_use_is_told() {
        let held = face::bound((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(once_free(|| face::bound(address)).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
