//! What can go wrong with the network, told so that it can be put right.

use std::io;
use std::net::SocketAddr;

/// The network could not be set up, or was asked for what is not there.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Two endpoints have the same id.
    #[error("network: two nodes are named {0:?}; ids must differ")]
    SameId(String),
    /// Two endpoints have the same port.
    #[error("network: nodes {first:?} and {second:?} both use port {port}; each node needs ports of its own")]
    SamePort {
        /// The node named first.
        first: String,
        /// The other one.
        second: String,
        /// What they share.
        port: u16,
    },
    /// There is no such link.
    #[error("network: there is no link {from} → {to}; links join two different nodes out of {nodes}")]
    NoLink {
        /// As asked for.
        from: String,
        /// As asked for.
        to: String,
        /// Those there are, for people.
        nodes: String,
    },
    /// The node has no such port.
    #[error("network: node {node} has no port {port} (it has {ports:?})")]
    NoPort {
        /// Whose port was asked for.
        node: String,
        /// As asked for.
        port: u16,
        /// Those it has.
        ports: Vec<u16>,
    },
    /// There is no such node.
    #[error("network: there is no node {0:?} (there are {1})")]
    NoNode(String, String),
    /// No address for a link.
    #[error("network: no address for the link {from} → {to} (tried {address}): {error}")]
    NoAddress {
        /// The opener.
        from: String,
        /// The node reached.
        to: String,
        /// The last one tried.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The runtime or its timer could not be made.
    #[error("network: cannot start the proxies: {0}")]
    Start(io::Error),
    /// Sockets of other processes cannot be looked at here.
    #[error("network: connections past the links cannot be noticed here: {0}")]
    Unwatchable(String),
}

/// What went wrong while the network ran. Each is told once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Trouble {
    /// The node listens on all addresses, so that none of its links can have its port.
    #[error(
        "node {node} listens on every address (0.0.0.0 or ::) at port {port}, which leaves no address with that port for \
         its links: its peers cannot reach it; have it listen on 127.0.0.1"
    )]
    WildcardConflict {
        /// Which node.
        node: String,
        /// At which port.
        port: u16,
    },
    /// A link could not listen.
    #[error("link {from} → {to} cannot listen on {address}: {error}")]
    CannotListen {
        /// The opener.
        from: String,
        /// The node reached.
        to: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: String,
    },
    /// A link could not accept a connection.
    #[error("link {from} → {to} cannot accept connections: {error}")]
    CannotAccept {
        /// The opener.
        from: String,
        /// The node reached.
        to: String,
        /// What the system said.
        error: String,
    },
    /// A link could not hand datagrams on.
    #[error("link {from} → {to} cannot hand datagrams on: {error}")]
    CannotSend {
        /// The sender.
        from: String,
        /// The node that was to receive.
        to: String,
        /// What the system said.
        error: String,
    },
    /// The node receives datagrams on IPv6 alone, which the proxies do not carry.
    #[error(
        "node {node} receives datagrams at [::1]:{port} and not at 127.0.0.1:{port}, where its links hand them on: have it \
         bind 127.0.0.1"
    )]
    OnlyV6 {
        /// Which node.
        node: String,
        /// At which port.
        port: u16,
    },
    /// A link could not reach its node, though it was not refused.
    #[error("link {from} → {to} cannot connect to {to}: {error}")]
    CannotDial {
        /// The opener.
        from: String,
        /// The node reached.
        to: String,
        /// What the system said.
        error: String,
    },
}
