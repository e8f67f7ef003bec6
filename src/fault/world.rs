//! What the nemesis needs of the system, and what it is told.

use std::sync::mpsc::Sender;

use serde_json::Value as Json;

use super::{HowDown, Toll};

/// What the nemesis can do to the system, and see of it.
pub trait World {
    /// Sends the signal that ends `node`'s whole process group; its pid, or `None` when there was none to signal.
    fn end(&mut self, node: &str, how: HowDown) -> Option<u32>;
    /// Starts `node`'s process again; the pid.
    ///
    /// # Errors
    /// A sentence when it could not be started.
    fn start(&mut self, node: &str) -> Result<u32, String>;
    /// SIGSTOP (`true`) or SIGCONT (`false`) to the whole group; whether it was sent.
    fn pause(&mut self, node: &str, stop: bool) -> bool;
    /// Whether every process of `node` is stopped, as the kernel says.
    fn is_stopped(&self, node: &str) -> bool;
    /// Makes the directed link do exactly this from now on; empty: nothing.
    fn link(&mut self, from: &str, to: &str, tolls: &[Toll]);
    /// What the link has done so far.
    fn link_totals(&self, from: &str, to: &str) -> LinkTotals;
    /// The node that leads, by what the nodes said last; `None`: none said so, or nobody can ask.
    fn leader(&self) -> Option<String>;
    /// How many writes of clients are under way at `node`.
    fn writes_under_way(&self, node: &str) -> u64;
    /// Records a fault's edge.
    fn record(&mut self, f: &str, value: Json);
    /// Records that a node's process ended, and tells whoever shows it.
    fn exited(&mut self, node: &str, exit: &Exit, expected: bool);
}

/// Running totals of a directed link, as evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTotals {
    /// Bytes delivered.
    pub delivered_bytes: u64,
    /// Bytes that were held by a cut.
    pub held_bytes: u64,
    /// Connections that were held or begun during a cut.
    pub held_connections: u64,
    /// Bytes that were made to wait by a delay or a throttle.
    pub delayed_bytes: u64,
    /// Connections that were reset.
    pub reset_connections: u64,
    /// Sightings of traffic from one node to the other that did not go through the link.
    pub bypasses: u64,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Which process.
    pub pid: u32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The exit code, when it ended by itself.
    pub code: Option<i32>,
    /// Its last log lines.
    pub log: Vec<String>,
}

/// What the nemesis is told.
#[derive(Debug)]
pub enum Message {
    /// A node's process ended.
    Exited(String, Exit),
    /// Lift everything, start what is down, and answer with the pids of nodes that were started.
    Heal(Sender<()>),
    /// End the thread.
    Leave,
}
