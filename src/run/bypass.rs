//! Noticing nodes that walk past their links.
//!
//! The warden tells of every connect of a guarded node ([`NodeEvent::Connects`](crate::cluster::NodeEvent)), however
//! short the connection. Where nodes cannot be guarded, the system's list of connections is looked at instead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::world::Shared;
use crate::network::NetworkError;

/// How often connections are looked at: shorter than most requests' timeouts, so that few pass unseen.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who was seen talking to whom past the link between them.
#[derive(Debug, Default)]
pub struct Bypasses {
    seen: Mutex<BTreeMap<(String, String), u64>>,
    stopped: AtomicBool,
}

impl Bypasses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections of `from` to `to` were seen past their link so far.
    pub fn seen(&self, from: &str, to: &str) -> u64 {
        self.lock().get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default()
    }

    /// All of them: from, to, connections.
    pub fn all(&self) -> Vec<(String, String, u64)> {
        self.lock().iter().map(|((from, to), seen)| (from.clone(), to.clone(), *seen)).collect()
    }

    /// One more connection of `from` to `to`.
    pub fn add(&self, from: &str, to: &str) {
        *self.lock().entry((from.to_owned(), to.to_owned())).or_default() += 1;
    }

    /// Ends the watch.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }
}

/// Looks from now on until [`Bypasses::stop`], on a thread of its own; needless, and left out, where every node is
/// guarded.
///
/// # Errors
/// When connections cannot be looked at on this system; the run goes on without.
pub fn watch(shared: &Arc<Shared>, nodes: &[String]) -> Result<(), NetworkError> {
    if nodes.iter().all(|node| shared.cluster.is_guarded(node)) {
        return Ok(());
    }
    let mut bypass = shared.network.bypass()?;
    // Looks once here, so that a system that cannot be watched says so before the thread exists.
    bypass.look(|| processes(shared, nodes))?;
    let (shared, nodes) = (Arc::clone(shared), nodes.to_vec());
    let look = move || {
        while !shared.bypasses.stopped.load(Ordering::Acquire) {
            std::thread::sleep(LOOK_EVERY);
            if bypass.look(|| processes(&shared, &nodes)).is_err() {
                return;
            }
            let mut seen = shared.bypasses.lock();
            for sighting in bypass.sightings() {
                seen.insert((sighting.from, sighting.to), sighting.connections);
            }
        }
    };
    std::thread::Builder::new().name("bypass watch".into()).spawn(look).map_err(NetworkError::Start)?;
    Ok(())
}

fn processes(shared: &Shared, nodes: &[String]) -> Vec<(String, Vec<u32>)> {
    nodes.iter().map(|node| (node.clone(), shared.cluster.pids(node))).collect()
}
