//! What all links share, and the listeners: a link listens while its node does, so that a node that is down refuses
//! connections at every address it is known by.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::address::{self, Addressing};
use super::clock::Clock;
use super::conduit;
use super::connection;
use super::error::Trouble;
use super::face::{self, Face};
use super::flows::Flows;
use super::lane::{Lane, Pair};
use super::lock;
use super::sockets::{Listening, Sockets};

/// Between looks at the nodes' ports while one is expected to begin listening, and otherwise.
const HURRIED: Duration = Duration::from_millis(2);
const UNHURRIED: Duration = Duration::from_millis(10);
/// A node that has not begun to listen after so long is not expected to at any moment.
const HURRY: Duration = Duration::from_secs(30);
/// Between looks for flows that have been silent for long.
const SWEPT_EVERY: Duration = Duration::from_secs(1);
/// Connections the system takes before the proxy does.
const BACKLOG: i32 = 1024;

pub(super) struct Core {
    pub nodes: Vec<Node>,
    pub links: Vec<Arc<Link>>,
    /// At `from * nodes + to`.
    pub lanes: Vec<(Arc<Lane>, Arc<Pair>)>,
    pub flows: Mutex<Flows>,
    /// Numbers them.
    pub conduits: AtomicU64,
    pub epoch: Instant,
    pub clock: Arc<Clock>,
    pub addressing: Addressing,
    /// Bytes a cut holds at most, a direction of a connection.
    pub hold_limit: usize,
    pub seed: u64,
    pub handle: Handle,
    pub sockets: Mutex<Sockets>,
    pub troubles: Mutex<BTreeSet<Trouble>>,
    pub hurry_until: Mutex<Instant>,
    /// No entrance opens any more.
    pub closed: AtomicBool,
}

pub(super) struct Node {
    pub id: String,
    /// The cluster says that it does not run.
    pub down: AtomicBool,
    pub ports: Vec<Arc<Port>>,
}

/// A port a node listens at, or will.
pub(super) struct Port {
    pub number: u16,
    /// Which of the node's ports it is: numbers differ from run to run, this does not.
    pub place: usize,
    state: Mutex<PortState>,
    /// The same for datagrams.
    datagrams: Mutex<PortState>,
}

#[derive(Default)]
struct PortState {
    now: Option<Listening>,
    /// As it last listened.
    last: Option<Listening>,
}

impl Port {
    pub fn new(place: usize, number: u16) -> Self {
        Self { number, place, state: Mutex::default(), datagrams: Mutex::default() }
    }

    /// Where the node is reached, the likelier first.
    pub fn upstreams(&self) -> [SocketAddr; 2] {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, self.number));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, self.number));
        if lock(&self.state).last.is_some_and(|last| last.only_v6) { [v6, v4] } else { [v4, v6] }
    }
}

/// The way from a node to a port of another: the address the first is told.
pub(super) struct Link {
    pub from: usize,
    pub to: usize,
    pub port: Arc<Port>,
    pub address: SocketAddr,
    /// What its opener sends, and what it is answered.
    pub out: Arc<Lane>,
    pub back: Arc<Lane>,
    pub pair: Arc<Pair>,
    pub entrance: Mutex<Entrance>,
    /// Its datagrams' side, and whether the task that carries them runs.
    pub face: Arc<Face>,
    pub carried: Mutex<bool>,
}

pub(super) enum Entrance {
    Open {
        listener: Arc<Mutex<Option<TcpListener>>>,
        task: AbortHandle,
    },
    /// With the socket that keeps the port, where it is our own.
    Closed(Option<Socket>),
}

impl Core {
    /// Looks whether `port` of node `to` is listened at, and lets its links listen accordingly.
    pub fn look(self: &Arc<Self>, to: usize, port: &Arc<Port>) {
        {
            let mut sockets = lock(&self.sockets);
            let mut state = lock(&port.state);
            let down = self.nodes[to].down.load(Ordering::Acquire);
            state.now = if down { None } else { sockets.listening(port.number, state.now) };
            state.last = state.now.or(state.last);
            drop(state);
            let mut state = lock(&port.datagrams);
            state.now = if down { None } else { sockets.receiving(port.number) };
            state.last = state.now.or(state.last);
            if state.now.is_some_and(|now| now.only_v6) {
                self.trouble(Trouble::OnlyV6 { node: self.id(to), port: port.number });
            }
        }
        for link in self.links.iter().filter(|link| Arc::ptr_eq(&link.port, port)) {
            self.reconcile(link);
        }
    }

    pub fn look_at_node(self: &Arc<Self>, node: usize) {
        for port in &self.nodes[node].ports {
            self.look(node, port);
        }
    }

    /// Watches the nodes' ports until the other end of `stop` is dropped. On a thread of its own: a task that runs
    /// now and then would each time move connections from one worker to the other.
    pub fn watch(self: &Arc<Self>, stop: &Receiver<()>) {
        let mut swept = Instant::now();
        loop {
            if swept.elapsed() > SWEPT_EVERY {
                self.sweep_flows();
                swept = Instant::now();
            }
            let mut awaited = false;
            for (at, node) in self.nodes.iter().enumerate() {
                if node.down.load(Ordering::Acquire) {
                    continue;
                }
                self.look_at_node(at);
                awaited |= node.ports.iter().any(|port| lock(&port.state).now.is_none());
            }
            let hurry = awaited && Instant::now() < *lock(&self.hurry_until);
            let pause = if hurry { HURRIED } else { UNHURRIED };
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    pub fn hurry(&self) {
        *lock(&self.hurry_until) = Instant::now() + HURRY;
    }

    /// The lane from one node to the other, and the pair they are.
    pub fn lane(&self, from: usize, to: usize) -> &(Arc<Lane>, Arc<Pair>) {
        &self.lanes[from * self.nodes.len() + to]
    }

    pub fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Opens or closes the link's entrance and its face as its node and its policies have it.
    pub fn reconcile(self: &Arc<Self>, link: &Arc<Link>) {
        let cut = link.out.state().policy.cut || link.back.state().policy.cut;
        self.reconcile_face(link, cut);
        let mut entrance = lock(&link.entrance);
        let wanted = {
            let state = lock(&link.port.state);
            // A refusal does not come through a cut any more than an acceptance does. But where the node would need
            // the port on every address, it must find it free when it starts again.
            let in_the_way =
                self.addressing == Addressing::Loopback && state.last.is_none_or(|last| last.wildcard);
            let wanted = state.now.is_some() || cut && state.last.is_some() && !in_the_way;
            wanted && !self.closed.load(Ordering::Acquire)
        };
        match &mut *entrance {
            Entrance::Closed(reserved) if wanted => match self.open(link, reserved.take()) {
                Ok(open) => *entrance = open,
                Err(error) => {
                    *reserved = self.reserve(link);
                    let wildcard = lock(&link.port.state).now.is_some_and(|now| now.wildcard);
                    self.trouble(self.cannot_listen(link, &error, wildcard));
                }
            },
            Entrance::Open { listener, task } if !wanted => {
                task.abort();
                drop(lock(listener).take());
                *entrance = Entrance::Closed(self.reserve(link));
            }
            _ => {}
        }
    }

    /// As [`Self::reconcile`]. Where links have ports of their own the face is always open: nothing is in its way there, and
    /// systems other than Linux do not tell who receives datagrams.
    fn reconcile_face(self: &Arc<Self>, link: &Arc<Link>, cut: bool) {
        if self.addressing == Addressing::Ports {
            return;
        }
        // One at a time, so that none opens what another has just closed.
        let mut carried = lock(&link.carried);
        let wanted = {
            let state = lock(&link.port.datagrams);
            let in_the_way = state.last.is_none_or(|last| last.wildcard);
            (state.now.is_some() || cut && !in_the_way) && !self.closed.load(Ordering::Acquire)
        };
        match (link.face.is_open(), wanted) {
            (false, true) => {
                let opened =
                    self.open_face(link, &mut carried, || address::once_free(|| face::bound(link.address)));
                if let Err(error) = opened {
                    let wildcard = lock(&link.port.datagrams).now.is_some_and(|now| now.wildcard);
                    self.trouble(self.cannot_listen(link, &error, wildcard));
                }
            }
            (true, false) => link.face.close(),
            _ => {}
        }
    }

    /// Has the link receive datagrams at the socket that `make` gives.
    pub fn open_face(
        self: &Arc<Self>,
        link: &Link,
        carried: &mut bool,
        make: impl FnOnce() -> io::Result<Socket>,
    ) -> io::Result<()> {
        let _runtime = self.handle.enter();
        link.face.open(make)?;
        if !*carried {
            *carried = true;
            conduit::serve(self, &link.face, &format!("port {}", link.port.place));
        }
        Ok(())
    }

    fn open(self: &Arc<Self>, link: &Arc<Link>, reserved: Option<Socket>) -> io::Result<Entrance> {
        let socket = match reserved {
            Some(socket) => socket,
            None => address::once_free(|| address::bound(link.address))?,
        };
        socket.listen(BACKLOG)?;
        let _runtime = self.handle.enter();
        let listener = Arc::new(Mutex::new(Some(TcpListener::from_std(socket.into())?)));
        let task = self.handle.spawn(accept(Arc::clone(self), Arc::clone(link), Arc::clone(&listener)));
        Ok(Entrance::Open { listener, task: task.abort_handle() })
    }

    fn reserve(&self, link: &Link) -> Option<Socket> {
        (self.addressing == Addressing::Ports).then(|| address::bound(link.address).ok()).flatten()
    }

    fn cannot_listen(&self, link: &Link, error: &io::Error, wildcard: bool) -> Trouble {
        if error.kind() == ErrorKind::AddrInUse && wildcard {
            return Trouble::WildcardConflict { node: self.id(link.to), port: link.port.number };
        }
        Trouble::CannotListen {
            from: self.id(link.from),
            to: self.id(link.to),
            address: link.address,
            error: error.to_string(),
        }
    }

    /// A connection could not be made to the node of `link`.
    pub fn dial_failed(self: &Arc<Self>, link: &Link, error: &io::Error) {
        match error.kind() {
            ErrorKind::ConnectionRefused => {
                if cfg!(not(target_os = "linux")) {
                    // Nothing else tells there that it has stopped listening.
                    lock(&link.port.state).now = None;
                }
                self.look(link.to, &link.port);
            }
            // What a node may well do to its peers.
            ErrorKind::TimedOut | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {}
            _ => {
                let (from, to) = (self.id(link.from), self.id(link.to));
                self.trouble(Trouble::CannotDial { from, to, error: error.to_string() });
            }
        }
    }

    /// Whether the process that opened `near` from the other side still holds its end. `at_end`: it has sent its last
    /// byte, which on its own may be a half-close, by one who waits for the answer.
    pub fn opener_waits(&self, near: &TcpStream, at_end: bool) -> bool {
        let held = match (near.peer_addr(), near.local_addr()) {
            (Ok(opener), Ok(here)) => lock(&self.sockets).is_held(opener, here),
            _ => Some(false),
        };
        held.unwrap_or(!at_end)
    }

    pub fn close_all(&self) {
        self.closed.store(true, Ordering::Release);
        for link in &self.links {
            let mut entrance = lock(&link.entrance);
            if let Entrance::Open { listener, task } = &*entrance {
                task.abort();
                drop(lock(listener).take());
            }
            *entrance = Entrance::Closed(None);
            let _no_other = lock(&link.carried);
            link.face.close();
        }
        self.end_flows();
    }

    pub fn trouble(&self, trouble: Trouble) {
        lock(&self.troubles).insert(trouble);
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].id.clone()
    }
}

/// Accepts until the entrance closes.
async fn accept(core: Arc<Core>, link: Arc<Link>, listener: Arc<Mutex<Option<TcpListener>>>) {
    loop {
        let accepted = poll_fn(|cx| match &*lock(&listener) {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        });
        match accepted.await {
            None => return,
            Some(Ok((near, _))) => {
                tokio::spawn(connection::serve(Arc::clone(&core), Arc::clone(&link), near));
            }
            // The opener gave up before it was accepted.
            Some(Err(error)) if error.kind() == ErrorKind::ConnectionAborted => {}
            Some(Err(error)) => {
                let (from, to) = (core.id(link.from), core.id(link.to));
                core.trouble(Trouble::CannotAccept { from, to, error: error.to_string() });
                // Out of descriptors, most likely: more will come free.
                core.clock.sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
