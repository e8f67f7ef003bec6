//! Faces of sockets that nobody declared: each gets one while it talks, as behind a translator of addresses (NAT).

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::conduit;
use super::core::Core;
use super::error::Trouble;
use super::face::{self, Face, Real};
use super::lock;

/// At most so many at a time; the one that was silent longest makes room. Each is a descriptor.
const MOST: usize = 512;
/// A flow that has been silent for so long is closed: what RFC 4787 (REQ-5) asks of translators at least.
const IDLE: Duration = Duration::from_secs(120);

/// By owner, viewer and where the socket really is.
type Key = (usize, usize, SocketAddr);

#[derive(Default)]
pub(super) struct Flows {
    open: HashMap<Key, (Arc<Face>, AbortHandle)>,
    /// How many there have been: flows of one number draw the same fates.
    begun: u64,
}

impl Core {
    /// The face by which `viewer` sees the socket of `owner` at `real`. To be called within the network's runtime.
    ///
    /// Errors: there is none, and none can be made.
    pub fn face(self: &Arc<Self>, owner: usize, viewer: usize, real: SocketAddr) -> io::Result<Arc<Face>> {
        let mut seen = self.links.iter().filter(|link| (link.to, link.from) == (owner, viewer));
        if real.ip() == Ipv4Addr::LOCALHOST
            && let Some(link) = seen.clone().find(|link| link.port.number == real.port())
        {
            return Ok(Arc::clone(&link.face));
        }
        let mut flows = lock(&self.flows);
        if let Some((face, _)) = flows.open.get(&(owner, viewer, real)) {
            return Ok(Arc::clone(face));
        }
        if flows.open.len() >= MOST {
            let silent = flows.open.iter().min_by_key(|(_, (face, _))| face.used_ms.load(Relaxed));
            if let Some(key) = silent.map(|(key, _)| *key) {
                flows.end(&key);
            }
        }
        // At the owner's own address, as far as the viewer knows it, so that it is known by that too.
        let ip = seen.next().map_or(Ipv4Addr::LOCALHOST.into(), |link| link.address.ip());
        let face = Arc::new(Face::new(owner, viewer, Real::Socket(real)));
        face.open(|| face::bound(SocketAddr::new(ip, 0)))?;
        face.touch(self.now_ms());
        let number = flows.begun;
        flows.begun += 1;
        let task = conduit::serve(self, &face, &format!("flow {number}"));
        flows.open.insert((owner, viewer, real), (Arc::clone(&face), task));
        Ok(face)
    }

    /// Ends flows that have been silent for long.
    pub fn sweep_flows(&self) {
        let before_ms = self.now_ms().saturating_sub(IDLE.as_millis() as u64);
        let mut flows = lock(&self.flows);
        let silent = flows.open.iter().filter(|(_, (face, _))| face.used_ms.load(Relaxed) < before_ms);
        for key in silent.map(|(key, _)| *key).collect::<Vec<_>>() {
            flows.end(&key);
        }
    }

    pub fn end_flows(&self) {
        let mut flows = lock(&self.flows);
        for key in flows.open.keys().copied().collect::<Vec<_>>() {
            flows.end(&key);
        }
    }

    /// A datagram of `from` to `to` could not be handed on.
    pub fn cannot_send(&self, from: usize, to: usize, error: &io::Error) {
        // What the sender may do, and what a receiver that is gone does.
        let usual =
            [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionRefused, io::ErrorKind::NotConnected];
        if !usual.contains(&error.kind()) {
            let (from, to) = (self.nodes[from].id.clone(), self.nodes[to].id.clone());
            self.trouble(Trouble::CannotSend { from, to, error: error.to_string() });
        }
    }
}

impl Flows {
    fn end(&mut self, key: &Key) {
        if let Some((face, task)) = self.open.remove(key) {
            face.close();
            task.abort();
        }
    }
}
