//! Faces: the sockets by which a node sees another's datagram sockets.
//!
//! What A sends to B's face arrives at B from A's face, the one that stands for the socket A sent from. So B knows A by one
//! address whoever speaks first: whether it answers by the address a datagram came from or by its own table of peers, the
//! answer goes to the same face and under the policy of (B, A). For ports that were declared the face is at the link's
//! address, the one that peers are told; other sockets get a face of their own while they talk ([`super::flows`]).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as Plain};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll, Waker};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::address::once_free;
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

    /// Opens it with the socket that `make` gives. To be called within the network's runtime.
    pub fn open(&self, make: impl FnOnce() -> io::Result<Socket>) -> io::Result<()> {
        // Made under the lock: what is sent posthumously at this moment needs the address as well.
        let mut place = self.write();
        *place = Some(UdpSocket::from_std(Plain::from(make()?))?);
        drop(place);
        self.wake();
        Ok(())
    }

    /// Its address is free when this returns, but for what [`once_free`] is there for.
    pub fn close(&self) {
        drop(self.write().take());
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

    fn write(&self) -> RwLockWriteGuard<'_, Option<UdpSocket>> {
        self.socket.write().unwrap_or_else(PoisonError::into_inner)
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
        self.read().as_ref().map(|socket| send_by(socket, bytes, to))
    }

    /// Sends although it is closed: what a node sent before it died is still on its way, and comes from where it was.
    pub fn send_posthumously(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        let Real::Port(_, address) = &self.real else { return Err(io::ErrorKind::NotConnected.into()) };
        // Nobody may find the address taken who opens it meanwhile; and somebody may just have.
        match &*self.write() {
            Some(socket) => send_by(socket, bytes, to),
            None => once_free(|| bound(*address))?.send_to(bytes, &to.into()),
        }
    }

    pub fn touch(&self, now_ms: u64) {
        self.used_ms.store(now_ms, Relaxed);
    }
}

/// Not by way of tokio, which takes a new socket for one that cannot be written to.
fn send_by(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to(bytes, &to.into())
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_face_opens_whatever_is_sent_posthumously_meanwhile() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _inside = runtime.enter();
        let receiver = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = receiver.local_addr().unwrap();
        // A port that is free there, and stays so: nobody else has this address.
        let host =
            if cfg!(target_os = "linux") { Ipv4Addr::new(127, 203, 0, 113) } else { Ipv4Addr::LOCALHOST };
        let address = bound((host, 0).into()).unwrap().local_addr().unwrap().as_socket().unwrap();
        let port = Arc::new(Port::new(0, address.port()));
        let face = Face::new(0, 1, Real::Port(port, address));
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    face.send_posthumously(b"late", to).unwrap();
                }
            });
            let opened = (0..2_000).try_for_each(|_| {
                face.open(|| once_free(|| bound(address)))?;
                face.close();
                Ok::<_, io::Error>(())
            });
            over.store(true, Relaxed);
            opened.unwrap();
        });
    }
}
