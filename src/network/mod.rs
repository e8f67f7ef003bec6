//! Links and their proxies: every ordered pair of nodes has a link of its own, so that each direction fails by itself.
//!
//! A node is told, for each peer, an address at which a proxy listens. What it sends obeys the policy of (node, peer),
//! what it is answered that of (peer, node): policies belong to the direction in which bytes flow, whoever opened the
//! connection. Without a policy a proxy is as fast as a bare copy (`benches/links.rs`), and under one it behaves like
//! the network it stands for:
//!
//! - a cut holds bytes in silence, ends of streams included; they arrive in order when it is lifted. A connection
//!   attempted during a cut, of either direction, reaches the node only if its opener still waits then;
//! - a delay keeps the order and the throughput, and is measured from the receipt of each chunk;
//! - a half-close passes through, and a reset arrives as a reset;
//! - a link refuses connections while its node does not listen, and accepts them while it is merely paused.
//!
//! Datagrams pass at the same addresses and under the same policies, each for itself ([`face`], [`conduit`]):
//!
//! - a cut loses them in silence, those on their way included: nobody sends a datagram again but who sent it;
//! - a delay counts from the receipt of each, and jitter lets them overtake each other; a rate has a queue that overflows;
//! - they may also be lost, doubled, held back and damaged ([`Mishaps`]), as drawn from the seed.

mod address;
mod buffer;
mod bypass;
mod clock;
mod conduit;
mod connection;
mod core;
mod counters;
mod error;
mod face;
mod fate;
mod flows;
mod lane;
mod passages;
mod pipe;
mod policy;
mod relay;
mod sockets;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

pub use self::address::Addressing;
pub use self::bypass::{Bypass, Sighting, Whereabouts};
pub use self::counters::LinkCounters;
pub use self::error::{NetworkError, Trouble};
pub use self::passages::Passage;
pub use self::policy::{LinkPolicy, Mishaps};

use self::clock::Clock;
use self::core::{Core, Entrance, Link, Node, Port};
use self::face::{Face, Real};
use self::flows::Flows;
use self::lane::{Lane, Pair};

/// A node as the network knows it. It listens on 127.0.0.1, or on ::1.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The node's id.
    pub id: String,
    /// Its real ports, all of which get links.
    pub ports: Vec<u16>,
}

/// What a network may be told beside its nodes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's seed: jitter and the mishaps of datagrams are drawn from it.
    pub seed: u64,
    /// How links are told apart.
    pub addressing: Addressing,
    /// Threads the proxies run on; at least 1.
    pub workers: usize,
    /// Bytes a cut takes in at most, a direction of a connection, before its sender has to wait.
    pub hold_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, addressing: Addressing::default(), workers: 2, hold_limit: 1024 * 1024 }
    }
}

/// The links between a cluster's nodes, with the threads that serve them. Dropping it closes them all.
///
/// Its methods may be called from any thread; none of them waits for a node.
pub struct Network {
    core: Arc<Core>,
    runtime: Option<Runtime>,
    /// Dropped to end the watch.
    watch: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Network {
    /// Gives each port of each node a link from every other node. Links of nodes that listen already are open when
    /// this returns.
    ///
    /// Errors: ids or ports given twice, no addresses to be had, or no threads.
    pub fn start(endpoints: &[Endpoint], options: &Options) -> Result<Self, NetworkError> {
        address::validate(endpoints)?;
        let places = address::places(endpoints, options.addressing)?;
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(options.workers.max(1)).thread_name("links").enable_io();
        if cfg!(not(target_os = "linux")) {
            // What the clock is made of there.
            builder.enable_time();
        }
        let runtime = builder.build().map_err(NetworkError::Start)?;
        let clock = {
            let _runtime = runtime.enter();
            Arc::new(Clock::new().map_err(NetworkError::Start)?)
        };

        let nodes: Vec<_> = endpoints
            .iter()
            .map(|endpoint| Node {
                id: endpoint.id.clone(),
                down: AtomicBool::new(false),
                ports: (0..)
                    .zip(&endpoint.ports)
                    .map(|(place, port)| Arc::new(Port::new(place, *port)))
                    .collect(),
            })
            .collect();
        let lanes = lanes(nodes.len());
        let lane = |from: usize, to: usize| &lanes[from * nodes.len() + to];
        let mut datagrams = Vec::new();
        let links: Vec<_> = places
            .into_iter()
            .filter_map(|place| {
                let (from, to) = (place.from, place.to);
                let port = nodes[to].ports.iter().find(|port| port.number == place.port)?;
                datagrams.push(place.datagrams);
                Some(Arc::new(Link {
                    from,
                    to,
                    port: Arc::clone(port),
                    address: place.address,
                    out: Arc::clone(&lane(from, to).0),
                    back: Arc::clone(&lane(to, from).0),
                    pair: Arc::clone(&lane(from, to).1),
                    entrance: Mutex::new(Entrance::Closed(place.reserved)),
                    face: Arc::new(Face::new(to, from, Real::Port(Arc::clone(port), place.address))),
                    carried: Mutex::new(false),
                }))
            })
            .collect();
        let core = Arc::new(Core {
            nodes,
            links,
            lanes,
            flows: Mutex::new(Flows::default()),
            conduits: AtomicU64::new(0),
            epoch: Instant::now(),
            clock: Arc::clone(&clock),
            addressing: options.addressing,
            hold_limit: options.hold_limit.max(1),
            seed: options.seed,
            handle: runtime.handle().clone(),
            sockets: Mutex::default(),
            troubles: Mutex::new(BTreeSet::new()),
            hurry_until: Mutex::new(Instant::now()),
            closed: AtomicBool::new(false),
        });
        for (link, socket) in core.links.iter().zip(datagrams) {
            if let Some(socket) = socket {
                core.open_face(link, &mut lock(&link.carried), || Ok(socket)).map_err(NetworkError::Start)?;
            }
        }
        core.hurry();
        for node in 0..core.nodes.len() {
            core.look_at_node(node);
        }
        runtime.spawn(clock.run());
        let (stop, stopped) = mpsc::channel();
        let watching = Arc::clone(&core);
        let watch = thread::Builder::new()
            .name("links watch".into())
            .spawn(move || watching.watch(&stopped))
            .map_err(NetworkError::Start)?;
        Ok(Self { core, runtime: Some(runtime), watch: Some((stop, watch)) })
    }

    /// Where `from` reaches `port` of `to`.
    ///
    /// Errors: there is no such link or no such port.
    pub fn address(&self, from: &str, to: &str, port: u16) -> Result<SocketAddr, NetworkError> {
        let (from, to) = self.ends(from, to)?;
        let mut links = self.core.links.iter().filter(|link| (link.from, link.to) == (from, to));
        links.find(|link| link.port.number == port).map(|link| link.address).ok_or_else(|| {
            let node = &self.core.nodes[to];
            let ports = node.ports.iter().map(|port| port.number).collect();
            NetworkError::NoPort { node: node.id.clone(), port, ports }
        })
    }

    /// Replaces the policy for what flows from `from` to `to`. When it returns nothing is handed on under the old
    /// policy any more.
    ///
    /// Errors: there is no such link.
    pub fn set(&self, from: &str, to: &str, policy: LinkPolicy) -> Result<(), NetworkError> {
        let (from, to) = self.ends(from, to)?;
        let (lane, pair) = self.core.lane(from, to);
        let before = lane.set(policy);
        if before == policy {
            return Ok(());
        }
        pair.policy_changed();
        if before.cut != policy.cut {
            let both = |link: &&Arc<Link>| [(from, to), (to, from)].contains(&(link.from, link.to));
            for link in self.core.links.iter().filter(both) {
                self.core.reconcile(link);
            }
        }
        Ok(())
    }

    /// The policy in force for what flows from `from` to `to`.
    ///
    /// Errors: there is no such link.
    pub fn policy(&self, from: &str, to: &str) -> Result<LinkPolicy, NetworkError> {
        let (from, to) = self.ends(from, to)?;
        Ok(self.core.lane(from, to).0.state().policy)
    }

    /// What has flowed from `from` to `to`, and what was done to it.
    ///
    /// Errors: there is no such link.
    pub fn counters(&self, from: &str, to: &str) -> Result<LinkCounters, NetworkError> {
        let (from, to) = self.ends(from, to)?;
        Ok(self.core.lane(from, to).0.counters.snapshot())
    }

    /// Tells each piece that has passed since this was last called, with who sent it and to whom; how many there were beyond those
    /// that are kept.
    pub fn take_passages(&self, mut each: impl FnMut(&str, &str, Passage)) -> u64 {
        let id = |node: usize| self.core.nodes[node].id.as_str();
        let mut beyond = 0;
        for (lane, _) in &self.core.lanes {
            let (passages, more) = lane.passages.take();
            beyond += more;
            passages.into_iter().for_each(|passage| each(id(lane.from), id(lane.to), passage));
        }
        beyond
    }

    /// Connections open between two nodes at this moment, whoever opened them, held ones included.
    ///
    /// Errors: there is no such link.
    pub fn open_connections(&self, one: &str, other: &str) -> Result<usize, NetworkError> {
        let (one, other) = self.ends(one, other)?;
        Ok(self.core.lane(one, other).1.connections())
    }

    /// Says that `node` has been started, or is ready: its ports are looked at now and often from now on. If it
    /// listens already its links are open when this returns.
    ///
    /// Errors: there is no such node.
    pub fn node_up(&self, node: &str) -> Result<(), NetworkError> {
        let node = self.node(node)?;
        self.core.nodes[node].down.store(false, Ordering::Release);
        self.core.hurry();
        self.core.look_at_node(node);
        Ok(())
    }

    /// Says that `node` is about to be ended, or has been: its links refuse connections from now until
    /// [`Self::node_up`], cut ones excepted, through which no refusal comes either. Without this they do so some
    /// milliseconds after its ports have closed, and open again by themselves.
    ///
    /// Errors: there is no such node.
    pub fn node_down(&self, node: &str) -> Result<(), NetworkError> {
        let node = self.node(node)?;
        self.core.nodes[node].down.store(true, Ordering::Release);
        self.core.look_at_node(node);
        Ok(())
    }

    /// All that has gone wrong so far, each thing once.
    pub fn troubles(&self) -> Vec<Trouble> {
        lock(&self.core.troubles).iter().cloned().collect()
    }

    /// Which addresses are whose, for telling connections past the links.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts::new(&self.core)
    }

    /// A watch for connections past the links, where nobody tells of them.
    ///
    /// Errors: other processes' connections cannot be seen on this system.
    pub fn bypass(&self) -> Result<Bypass, NetworkError> {
        Bypass::new(&self.core)
    }

    /// Closes every link and connection, and does not wait for it.
    pub fn shutdown(self) {
        drop(self);
    }

    fn ends(&self, from: &str, to: &str) -> Result<(usize, usize), NetworkError> {
        match (self.node(from), self.node(to)) {
            (Ok(opener), Ok(peer)) if opener != peer => Ok((opener, peer)),
            _ => Err(NetworkError::NoLink { from: from.into(), to: to.into(), nodes: self.ids() }),
        }
    }

    fn node(&self, id: &str) -> Result<usize, NetworkError> {
        let found = self.core.nodes.iter().position(|node| node.id == id);
        found.ok_or_else(|| NetworkError::NoNode(id.into(), self.ids()))
    }

    fn ids(&self) -> String {
        let ids: Vec<_> = self.core.nodes.iter().map(|node| node.id.as_str()).collect();
        ids.join(", ")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.core.close_all();
        if let Some((stop, watch)) = self.watch.take() {
            drop(stop);
            // It never waits for anything but the stop. Should it have panicked, that has been told.
            let _ = watch.join();
        }
        if let Some(runtime) = self.runtime.take() {
            // May be dropped where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// One lane for each ordered pair of `nodes`, at `from * nodes + to`, with the pair it belongs to.
fn lanes(nodes: usize) -> Vec<(Arc<Lane>, Arc<Pair>)> {
    let pairs: Vec<_> = (0..nodes * nodes).map(|_| Arc::new(Pair::default())).collect();
    let pair = |from: usize, to: usize| Arc::clone(&pairs[from.min(to) * nodes + from.max(to)]);
    (0..nodes * nodes)
        .map(|at| (at / nodes, at % nodes))
        .map(|(from, to)| (Arc::new(Lane::new(from, to)), pair(from, to)))
        .collect()
}

/// What a thread that panicked leaves behind is still consistent: nothing here is changed in more than one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
