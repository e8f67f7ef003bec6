//! Faces: the sockets by which a node sees another's datagram sockets.
//!
//! What A sends to B's face arrives at B from A's face, the one that stands for the socket A sent from. So B knows A by one
//! address whoever speaks first: whether it answers by the address a datagram came from or by its own table of peers, the
//! answer goes to the same face and under the policy of (B, A). For ports that were declared the face is at the link's
//! address, the one that peers are told; other sockets get a face of their own while they talk ([`super::flows`]).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as Plain};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::core::Port;
use super::lock;

/// What a face's socket may hold before the proxy has come to it, bytes; the system may allow less.
const RECEIVED: usize = 4 * 1024 * 1024;

/// One node's socket, as another node sees it.
pub(super) struct Face {
    /// Whose socket it stands for.
    pub owner: usize,
    /// Who sees it.
    pub viewer: usize,
    real: Real,
    /// `None` while nobody is there: what is sent to it is refused then, as by any machine without such a socket.
    socket: RwLock<Option<UdpSocket>>,
    /// Waits for a datagram, or for there to be a socket: who waits at one that is closed is told by nobody else.
    sleeper: Mutex<Option<Waker>>,
    /// Milliseconds of the network's time at which something last passed; of flows alone.
    pub used_ms: AtomicU64,
}

/// What a face stands for.
pub(super) enum Real {
    /// A declared port, and where its face is.
    Port(Arc<Port>, SocketAddr),
    /// A socket of the node's own choice.
    Socket(SocketAddr),
}

impl Face {
    pub fn new(owner: usize, viewer: usize, real: Real) -> Self {
        let (socket, sleeper, used_ms) = (RwLock::default(), Mutex::default(), AtomicU64::new(0));
        Self { owner, viewer, real, socket, sleeper, used_ms }
    }

    /// Where the socket really is that it stands for.
    pub fn real(&self) -> SocketAddr {
        match &self.real {
            Real::Port(port, _) => SocketAddr::from((Ipv4Addr::LOCALHOST, port.number)),
            Real::Socket(address) => *address,
        }
    }

    /// The declared port it stands for.
    pub fn port(&self) -> Option<&Arc<Port>> {
        match &self.real {
            Real::Port(port, _) => Some(port),
            Real::Socket(_) => None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.read().is_some()
    }

    /// To be called within the network's runtime.
    pub fn open(&self, socket: Socket) -> io::Result<()> {
        let socket = UdpSocket::from_std(Plain::from(socket))?;
        *self.socket.write().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        self.wake();
        Ok(())
    }

    /// Its address is free when this returns.
    pub fn close(&self) {
        drop(self.socket.write().unwrap_or_else(PoisonError::into_inner).take());
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = lock(&self.sleeper).take() {
            waker.wake();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<UdpSocket>> {
        self.socket.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next datagram that was sent to it, and by whom. Pending for ever while it is closed.
    pub fn poll_receive(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        let socket = self.read();
        if let Some(socket) = &*socket
            && let Poll::Ready(received) = socket.poll_recv_from(cx, into)
        {
            return Poll::Ready(received);
        }
        // Under the lock that opening and closing need, so that neither is missed.
        let mut sleeper = lock(&self.sleeper);
        if !sleeper.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *sleeper = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends as the node it stands for. `None`: it is closed.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> Option<io::Result<usize>> {
        // Not by way of tokio, which takes a new socket for one that cannot be written to.
        self.read().as_ref().map(|socket| SockRef::from(socket).send_to(bytes, &to.into()))
    }

    /// Sends once although it is closed: what a node sent before it died is still on its way, and comes from where it was.
    pub fn send_posthumously(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        let Real::Port(_, address) = &self.real else { return Err(io::ErrorKind::NotConnected.into()) };
        bound(*address)?.send_to(bytes, &to.into())
    }

    pub fn touch(&self, now_ms: u64) {
        self.used_ms.store(now_ms, Relaxed);
    }
}

/// A datagram socket bound to `address`.
pub(super) fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // As much as there is to be had; less only means that a burst loses more.
    let _ = socket.set_recv_buffer_size(RECEIVED);
    socket.bind(&address.into())?;
    Ok(socket)
}
