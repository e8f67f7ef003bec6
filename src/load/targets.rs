//! The nodes, as clients reach them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Live;
use crate::client::{Address, Client, Protocol};
use crate::history::recorder::Recorder;

/// All that clients and probers share.
#[derive(Debug)]
pub struct Targets {
    pub(super) protocol: Arc<Protocol>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) live: Arc<Live>,
    pub(super) list: Vec<Target>,
    timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Target {
    pub id: Arc<str>,
    address: Address,
    permits: Option<Semaphore>,
}

impl Targets {
    /// `nodes` in the workload's order. `timeout` bounds each operation, `max_in_flight` the operations under way at one
    /// node at a time, probes included.
    pub fn new(
        protocol: Arc<Protocol>,
        recorder: Arc<Recorder>,
        nodes: &[(String, SocketAddr)],
        timeout: Duration,
        max_in_flight: Option<u32>,
    ) -> Arc<Self> {
        let target = |(id, address): &(String, SocketAddr)| Target {
            id: id.as_str().into(),
            address: Address::from(*address),
            permits: max_in_flight.map(|most| Semaphore::new(most.max(1) as usize)),
        };
        let live = Live::new(nodes.iter().map(|(id, _)| id.as_str()));
        let list = nodes.iter().map(target).collect();
        Arc::new(Self { protocol, recorder, live, list, timeout })
    }

    /// The counters.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// A new connection to the node at `place` of the list; `None`: there is no such node.
    pub fn client(&self, place: usize) -> Option<Client> {
        let target = self.list.get(place)?;
        Some(Client::new(Arc::clone(&self.protocol), target.address.clone(), self.timeout))
    }
}

impl Target {
    /// Waits until the node may be asked. `None`: there is no limit.
    pub async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permit_or(|| {}).await
    }

    /// As [`Target::permit`], but calls `before_waiting` if it must wait.
    pub async fn permit_or(&self, before_waiting: impl FnOnce()) -> Option<SemaphorePermit<'_>> {
        let permits = self.permits.as_ref()?;
        if let Ok(permit) = permits.try_acquire() {
            return Some(permit);
        }
        before_waiting();
        // The semaphore is never closed, so an error cannot occur; without a permit the limit would not hold, no more.
        permits.acquire().await.ok()
    }
}
