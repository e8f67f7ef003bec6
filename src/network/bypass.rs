//! Connections past the links: a node that has learned a peer's real address by itself, or an address meant for
//! another node, talks to that peer under no policy or the wrong one, and a partition does not hold.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::core::Core;
use super::error::NetworkError;
use super::sockets::Sockets;

/// How often the owner of a socket is looked for: a process may be younger than the list of processes.
#[cfg(target_os = "linux")]
const LOOKS: u8 = 3;

/// Connections of one node to another that do not use its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The node that connected.
    pub from: String,
    /// The node it reached.
    pub to: String,
    /// Where it connected to, most recently.
    pub address: SocketAddr,
    /// Whose link that is, if it is one: an address that was told to that node only.
    pub link_of: Option<String>,
    /// How many such connections were seen.
    pub connections: u64,
}

/// Which addresses are whose. Made by [`super::Network::whereabouts`].
#[derive(Clone, Debug)]
pub struct Whereabouts {
    ids: Vec<String>,
    ports: HashMap<u16, usize>,
    links: HashMap<SocketAddr, (usize, usize)>,
}

impl Whereabouts {
    pub(super) fn new(core: &Core) -> Self {
        let numbered = core.nodes.iter().enumerate();
        Self {
            ids: core.nodes.iter().map(|node| node.id.clone()).collect(),
            ports: numbered
                .flat_map(|(at, node)| node.ports.iter().map(move |port| (port.number, at)))
                .collect(),
            links: core.links.iter().map(|link| (link.address, (link.from, link.to))).collect(),
        }
    }

    /// The node that is reached at `address`, and whose link that is.
    fn reached(&self, address: SocketAddr) -> Option<(usize, Option<usize>)> {
        match (self.links.get(&address), self.ports.get(&address.port())) {
            (Some(&(from, to)), _) => Some((to, Some(from))),
            (None, to) => to.map(|to| (*to, None)),
        }
    }

    /// The other node that `from` reaches at `address`, by a connection or by datagrams, past its own link to it: `None`
    /// for its links and for itself, and where nobody listens, as nothing is passed on there.
    pub fn passed(&self, from: &str, address: SocketAddr, datagrams: bool) -> Option<&str> {
        let (to, link_of) = self.reached(address)?;
        let from = self.ids.iter().position(|id| id == from)?;
        let past = from != to && link_of != Some(from);
        let heard = |mut sockets: Sockets| match datagrams {
            true => sockets.receiving(address.port()),
            false => sockets.listening(address.port(), None),
        };
        let open = || link_of.is_some() || heard(Sockets::default()).is_some();
        (past && open()).then(|| self.ids[to].as_str())
    }
}

/// Looks for connections past the links. Made by [`super::Network::bypass`].
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "cannot be made there"))]
pub struct Bypass {
    known_places: Whereabouts,
    sockets: Sockets,
    /// Ends whose owner has been looked for so often.
    known: HashMap<(u32, SocketAddr), u8>,
    seen: BTreeMap<(usize, usize), Sighting>,
}

impl Bypass {
    pub(super) fn new(core: &Core) -> Result<Self, NetworkError> {
        if cfg!(not(target_os = "linux")) {
            return Err(NetworkError::Unwatchable("this needs the /proc of Linux".into()));
        }
        Ok(Self {
            known_places: Whereabouts::new(core),
            sockets: Sockets::default(),
            known: HashMap::new(),
            seen: BTreeMap::new(),
        })
    }

    /// All that has been seen so far, by nodes.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.seen.values().cloned().collect()
    }

    /// Looks at every connection there is now; `processes` tells those of each node, and is asked only when there are new
    /// connections to a node, so that this is cheap enough for every 50 ms. Returns how many were found past the links. A
    /// connection that comes and goes between two looks is missed.
    ///
    /// Errors: not on Linux, or /proc cannot be read.
    #[cfg(target_os = "linux")]
    pub fn look(&mut self, processes: impl FnOnce() -> Vec<(String, Vec<u32>)>) -> Result<u64, NetworkError> {
        let ends = self.sockets.ends().map_err(|error| NetworkError::Unwatchable(error.to_string()))?;
        let mut suspects: HashMap<u32, (SocketAddr, usize, Option<usize>)> = HashMap::new();
        let mut known = HashMap::with_capacity(self.known.len());
        for end in ends.iter().filter(|end| end.inode != 0) {
            let Some((to, link_of)) = self.known_places.reached(end.remote) else { continue };
            let looks = self.known.get(&(end.inode, end.local)).copied().unwrap_or(0);
            known.insert((end.inode, end.local), (looks + 1).min(LOOKS));
            if looks < LOOKS {
                suspects.insert(end.inode, (end.remote, to, link_of));
            }
        }
        self.known = known;
        if suspects.is_empty() {
            return Ok(0);
        }
        let mut found = 0;
        for (id, pids) in processes() {
            let Some(from) = self.known_places.ids.iter().position(|known| *known == id) else { continue };
            for inode in pids.into_iter().flat_map(sockets_of) {
                let Some(&(address, to, link_of)) = suspects.get(&inode) else { continue };
                // Its owner is known: once is enough.
                suspects.remove(&inode);
                for (key, looks) in &mut self.known {
                    if key.0 == inode {
                        *looks = LOOKS;
                    }
                }
                if from != to && link_of != Some(from) {
                    found += 1;
                    self.sighted(from, to, address, link_of);
                }
            }
        }
        Ok(found)
    }

    /// Errors: always, as other processes' sockets are not to be seen on this system.
    #[cfg(not(target_os = "linux"))]
    pub fn look(
        &mut self,
        _processes: impl FnOnce() -> Vec<(String, Vec<u32>)>,
    ) -> Result<u64, NetworkError> {
        Err(NetworkError::Unwatchable("this needs the /proc of Linux".into()))
    }

    #[cfg(target_os = "linux")]
    fn sighted(&mut self, from: usize, to: usize, address: SocketAddr, link_of: Option<usize>) {
        let ids = &self.known_places.ids;
        let sighting = self.seen.entry((from, to)).or_insert_with(|| Sighting {
            from: ids[from].clone(),
            to: ids[to].clone(),
            address,
            link_of: None,
            connections: 0,
        });
        sighting.connections += 1;
        sighting.address = address;
        sighting.link_of = link_of.map(|owner| ids[owner].clone());
    }
}

/// The inodes of the sockets a process holds; none for a process that has gone.
#[cfg(target_os = "linux")]
fn sockets_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.ok()?.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}
