//! What the system knows of sockets: who listens, who still holds an end. Nothing here connects to a node, except
//! where the system offers no other way.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
mod proc;

#[cfg(target_os = "linux")]
pub(super) use linux::Sockets;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Sockets;

/// How a port of this machine's loopback is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    /// On ::1 and not on 127.0.0.1.
    pub only_v6: bool,
    /// On every address.
    pub wildcard: bool,
}

/// One end of a TCP connection.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub local: std::net::SocketAddr,
    pub remote: std::net::SocketAddr,
    /// Of the descriptor that holds it; 0: nobody does.
    pub inode: u32,
}
