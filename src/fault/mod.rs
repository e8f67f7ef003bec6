//! Faults: what a workload may ask for, expanded to a small closed set of [`Demand`]s, each in force for a window.
//!
//! The state of the system is a **fold over the faults in force now** (see `shared` notes in CONTRIBUTING): at each
//! boundary of a window the state each node and link should be in is computed anew from all demands in force, and the
//! difference is carried out. Overlapping faults therefore compose, and lifting one is recomputation, never undo.

pub mod aim;
pub mod chaos;
pub mod fold;
pub mod kinds;
mod links;
pub mod nemesis;
pub mod schedule;
mod shapes;
pub mod target;
pub mod world;

use std::time::Duration;

/// One fault of the expanded schedule. All times are since the main phase began.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledFault {
    /// Number within the run, by `at`.
    pub id: u64,
    /// `kill`, `pause`, `partition` …
    pub f: &'static str,
    /// The nodes it is aimed at, by id; empty for a fault on named links. Where `pending`, words for them.
    pub target: Vec<String>,
    /// For people: "kill B", "partition A | B C", "delay A→C by 2s".
    pub label: String,
    /// When it begins.
    pub at: Duration,
    /// When it is lifted; `None`: at the heal. Where `pending`, it lasts as long as from `at` until then, whenever it
    /// begins.
    pub until: Option<Duration>,
    /// What it demands while in force. Where `pending`, of words for nodes.
    pub demands: Vec<Demand>,
    /// What is settled only when it begins: whom it is aimed at, or when just it begins.
    pub pending: Option<aim::Pending>,
}

/// A demand on one node or one directed link.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// The node's process is ended and stays down; it is started again when no such demand is left.
    Down {
        /// Which node.
        node: String,
        /// How it is ended.
        how: HowDown,
    },
    /// The whole process group is stopped (SIGSTOP), continued when no such demand is left.
    Paused {
        /// Which node.
        node: String,
    },
    /// A duty cycle of pauses: of each `period` the node runs only the share `running` (0..1).
    Slow {
        /// Which node.
        node: String,
        /// Share of the time it runs.
        running: f64,
        /// Length of one cycle.
        period: Duration,
    },
    /// What the directed link does to bytes that flow from `from` to `to`.
    Link {
        /// Sending node.
        from: String,
        /// Receiving node.
        to: String,
        /// What is done.
        toll: Toll,
    },
}

/// How a node is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowDown {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and SIGKILL when it has not ended after the grace time (2 s).
    Stop,
}

/// One impairment of a directed link. Tolls of overlapping faults compose: delays and jitters add up, the lowest rate
/// holds, one cut cuts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Toll {
    /// Bytes are held in silence.
    Cut,
    /// Open connections are reset when it begins, new ones are reset while it is in force.
    Reset,
    /// Each chunk arrives `by` later, plus up to `jitter`, in order.
    Delay {
        /// Fixed part.
        by: Duration,
        /// Random part, uniform from 0.
        jitter: Duration,
    },
    /// At most so many bytes a second.
    Throttle {
        /// Bytes a second, at least 1.
        rate: u64,
    },
}
