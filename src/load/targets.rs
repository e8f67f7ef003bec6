//! The nodes, as clients reach them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Leaders, Live};
use crate::client::{Address, Client, Protocol};
use crate::history::recorder::Recorder;

/// All that clients and probers share.
#[derive(Debug)]
pub struct Targets {
    pub(super) protocol: Arc<Protocol>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) live: Arc<Live>,
    pub(super) leaders: Leaders,
    pub(super) list: Vec<Target>,
    pub(super) timeout: Duration,
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
        let list: Vec<Target> = nodes.iter().map(target).collect();
        let leaders = Leaders::new(list.iter().map(|target| &target.id));
        Arc::new(Self { protocol, recorder, live, leaders, list, timeout })
    }

    /// The counters.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Who leads.
    pub fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    /// The place of the node that an answer means by `hint`: its id, or a URL or address with its port. Nodes know each other
    /// by addresses that lead through links, so the host says nothing.
    pub fn place_of(&self, hint: &str) -> Option<usize> {
        let hint = hint.trim();
        if let Some(place) = self.list.iter().position(|target| *target.id == *hint) {
            return Some(place);
        }
        let authority = hint.split_once("://").map_or(hint, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let port: u16 = authority.rsplit_once(':')?.1.parse().ok()?;
        self.list.iter().position(|target| target.address.port() == port)
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
