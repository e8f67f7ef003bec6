//! Where the system tells nothing of other processes' sockets, a port is found listening by connecting to it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Listening;

#[derive(Default)]
pub(in super::super) struct Sockets;

impl Sockets {
    /// `known`: it listened when last looked at. That it has stopped is learned by a refused connection, not here.
    pub fn listening(&mut self, port: u16, known: Option<Listening>) -> Option<Listening> {
        known.or_else(|| {
            let answers =
                |address: SocketAddr| TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_ok();
            if answers((Ipv4Addr::LOCALHOST, port).into()) {
                return Some(Listening { only_v6: false, wildcard: false });
            }
            answers((Ipv6Addr::LOCALHOST, port).into())
                .then_some(Listening { only_v6: true, wildcard: false })
        })
    }

    /// Unknown here; links have ports of their own, and receive datagrams all the time.
    pub fn receiving(&mut self, _port: u16) -> Option<Listening> {
        None
    }

    /// Unknown here.
    pub fn is_held(&mut self, _local: SocketAddr, _remote: SocketAddr) -> Option<bool> {
        None
    }
}
