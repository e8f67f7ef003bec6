//! /proc/net/tcp, /proc/net/udp and their like for IPv6: slower, as they list every socket there is, but always there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{End, Listening};

const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;

struct Line {
    state: u8,
    end: End,
}

pub(super) fn listening(port: u16) -> Option<Listening> {
    let listen = lines("tcp").ok()?.into_iter().filter(|line| line.state == LISTEN);
    at_port(listen.map(|line| (line.end.local.ip(), line.end.local.port())), port)
}

/// How `port` is bound by those of `sockets` that are reached on loopback.
pub(super) fn at_port(sockets: impl Iterator<Item = (IpAddr, u16)>, port: u16) -> Option<Listening> {
    let mut listening: Option<Listening> = None;
    for (ip, _) in sockets.filter(|(_, bound)| *bound == port) {
        let wildcard = ip.is_unspecified();
        if !wildcard && ip != IpAddr::V4(Ipv4Addr::LOCALHOST) && ip != IpAddr::V6(Ipv6Addr::LOCALHOST) {
            continue;
        }
        // Whether [::] serves IPv4 too is not told here; it does unless asked not to.
        let only_v6 = ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
        let known = listening.unwrap_or(Listening { only_v6, wildcard });
        listening =
            Some(Listening { only_v6: known.only_v6 && only_v6, wildcard: known.wildcard || wildcard });
    }
    listening
}

pub(super) fn ends() -> io::Result<Vec<End>> {
    let live = |line: &Line| ![TIME_WAIT, CLOSE, LISTEN].contains(&line.state);
    Ok(lines("tcp")?.into_iter().filter(live).map(|line| line.end).collect())
}

/// Where every datagram socket is bound.
pub(super) fn datagrams() -> io::Result<Vec<SocketAddr>> {
    Ok(lines("udp")?.into_iter().map(|line| line.end.local).collect())
}

fn lines(protocol: &str) -> io::Result<Vec<Line>> {
    let mut text = std::fs::read_to_string(format!("/proc/net/{protocol}"))?;
    // Absent where IPv6 is switched off.
    text.push_str(&std::fs::read_to_string(format!("/proc/net/{protocol}6")).unwrap_or_default());
    Ok(text.lines().filter_map(parse).collect())
}

/// `None`: a heading.
fn parse(line: &str) -> Option<Line> {
    let mut fields = line.split_ascii_whitespace();
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Line { state, end: End { local, remote, inode } })
}

/// The address as words in this machine's byte order, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = [0; 16];
    for (at, chunk) in ip.as_bytes().chunks(8).enumerate() {
        let word = u32::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok()?;
        octets.get_mut(at * 4..at * 4 + 4)?.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = if ip.len() == 8 {
        IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    } else {
        Ipv6Addr::from(octets).to_canonical()
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_the_kernel_writes_them() {
        let line = "   1: 0100007F:1F90 0101007F:A3C2 01 00000000:00000000 00:00000000 00000000  1000        0 21562 2 0";
        let line = parse(line).unwrap();
        assert_eq!(line.state, 1);
        if cfg!(target_endian = "little") {
            assert_eq!(line.end.local, "127.0.0.1:8080".parse().unwrap());
            assert_eq!(line.end.remote, "127.0.1.1:41922".parse().unwrap());
        }
        assert_eq!(line.end.inode, 21562);
        assert!(parse("  sl  local_address rem_address   st tx_queue rx_queue").is_none());
    }
}
