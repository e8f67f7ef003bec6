//! Node processes: spawn, signal, watch, restart, clean up.
//!
//! ```text
//! harness ──socket── warden ──┬── node A ── its children
//!    │                        ├── node B
//!    │                        └── …
//!    └── signals: killpg, directly
//! ```
//!
//! The [`warden`] is a process of its own, parent and subreaper of all nodes; it dies last, and takes everything with
//! it. Signals do not go through it: the harness sends them to the node's process group at once, and the warden keeps
//! an ended process's pid from being used anew until the harness knows of the end.
//!
//! A node is its main process, that process's group, and whatever else descends from them or carries the node's
//! mark in its environment. As in a container, **when the main process ends, the rest of the node is killed**: a node
//! that is down must not go on answering through a child it left behind.
//!
//! Limits, for the record: without root there are no control groups to rely on, so a process that leaves its group, its
//! session and its parent *and* cleans its environment is known as one of the run (it is the warden's child, and
//! dies with the run), but no longer as one of its node; and if at the same time the warden itself is killed with
//! SIGKILL, it escapes.

pub mod console;
mod drain;
mod error;
mod handle;
mod life;
mod log;
pub mod ports;
mod process;
mod stray;
pub mod warden;
mod watch;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

pub use error::{ClusterError, PortError};
pub use handle::Cluster;
pub use log::{LogStats, MAX_LINE_BYTES, RING_LINES};
pub use nix::sys::signal::Signal;
pub use process::Process;

/// How many of the last log lines an [`NodeEvent::Exited`] carries.
pub const EXIT_LOG_LINES: usize = 20;

/// A run, as far as its processes are concerned.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Names the run; a part that makes it unique on this machine is added.
    pub run_id: String,
    /// When the run began: logs count from here.
    pub epoch: Instant,
    /// The `harness` binary to run as warden; `None`: the one this process was started from, even if it has been
    /// rebuilt meanwhile.
    pub program: Option<PathBuf>,
}

/// What a node's process is started with.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its id, unique.
    pub id: String,
    /// Command line: a program (a name for PATH, or an absolute path) and its arguments.
    pub argv: Vec<String>,
    /// Added to the harness's own environment. `PYTHONUNBUFFERED=1` is added unless it is set here or there.
    pub env: BTreeMap<String, String>,
    /// Where it starts; made if it does not exist.
    pub cwd: PathBuf,
    /// Where its output goes; replaced when the cluster is launched, appended to over restarts.
    pub log_path: PathBuf,
    /// How many bytes of its output are kept there over all its lives.
    pub log_limit_bytes: u64,
    /// Its ports: where it binds one of the cluster's ports on all addresses, it gets loopback alone (Linux).
    pub ports: Vec<u16>,
    /// Where it is told that its peers are: a connection or datagram to one of the cluster's ports anywhere else is a
    /// [`NodeEvent::Connects`] (Linux).
    pub links: Vec<SocketAddr>,
    /// What it may not do.
    pub jail: crate::sandbox::Jail,
    /// Who talks to it by standard input and output; `None`: nobody, it reads /dev/null.
    pub console: Option<std::sync::Arc<dyn console::Console>>,
}

/// What happened to the cluster without being asked at that moment.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// A node's main process ended, and what it left behind has been killed.
    Exited {
        /// Which node.
        node: String,
        /// Its process.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// When the harness learned of it.
        at: Instant,
        /// Whether the harness had sent it SIGKILL or SIGTERM.
        asked: bool,
        /// How many other processes of the node were still there, if it was not asked to end.
        left_behind: usize,
        /// Its last log lines, at most [`EXIT_LOG_LINES`].
        log_tail: Vec<String>,
    },
    /// A node tries to connect or send to one of the cluster's ports at an address that is none of its links; its own is
    /// among them. Datagrams to an address are told a hundred times a second at most.
    Connects {
        /// Which node.
        node: String,
        /// Where to; on loopback.
        address: SocketAddr,
        /// Whether by UDP.
        datagrams: bool,
    },
    /// The warden was killed, and all nodes with it. The run is broken.
    WardenLost {
        /// When the harness learned of it.
        at: Instant,
        /// How the warden ended.
        status: ExitStatus,
        /// Processes of the run that could not be killed.
        survivors: Vec<u32>,
    },
}

/// How a process ended. Neither field is set when nobody was left to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitStatus {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => match Signal::try_from(signal) {
                Ok(name) => write!(f, "killed by signal {signal} ({name})"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
            (None, None) => f.write_str("ended unseen"),
        }
    }
}

/// What a node is doing, by the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It was never started.
    NotStarted,
    /// At least one of its processes may run.
    Running,
    /// Every process of it, with every thread, is stopped.
    Stopped,
    /// Its main process has ended; what it left is being killed.
    Ending,
    /// Nothing is left.
    Ended(ExitStatus),
}

/// That a signal was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalEvidence {
    /// The node's main process, and its group.
    pub pid: u32,
    /// What was sent.
    pub signal: Signal,
    /// When the group had it.
    pub at: Instant,
    /// Processes outside the group that were sent it too.
    pub strays: Vec<u32>,
}

/// How a node was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopEvidence {
    /// The SIGTERM.
    pub term: SignalEvidence,
    /// The SIGKILL, if the grace time passed.
    pub kill: Option<SignalEvidence>,
    /// How it ended; `None`: it did not, even on SIGKILL (an uninterruptible wait), within 2 s.
    pub status: Option<ExitStatus>,
}
