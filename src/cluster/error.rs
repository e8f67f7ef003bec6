//! What can go wrong with processes and ports, in words for whoever wrote the workload.

use std::io;
use std::path::PathBuf;

/// Why something could not be done to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The warden process did not come up.
    #[error("the warden process could not be started: {0}")]
    Warden(#[source] io::Error),
    /// The warden is gone; nodes can neither be started nor watched any more.
    #[error("the warden process is gone (something killed it): the run is broken")]
    WardenLost,
    /// The cluster was shut down.
    #[error("the cluster has been shut down")]
    ShutDown,
    /// Two specs with one id.
    #[error("two nodes are called {0}")]
    DuplicateNode(String),
    /// No such node.
    #[error("there is no node {node}; there are {}", known.join(", "))]
    UnknownNode {
        /// What was asked for.
        node: String,
        /// All there are.
        known: Vec<String>,
    },
    /// A directory or log file could not be made.
    #[error("node {node}: cannot create {}: {error}", path.display())]
    Create {
        /// Which node.
        node: String,
        /// What was to be created.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The process could not be executed.
    #[error("node {node}: cannot start `{command}`: {error}")]
    Start {
        /// Which node.
        node: String,
        /// Its command line.
        command: String,
        /// The operating system's reason.
        error: String,
    },
    /// It runs already.
    #[error("node {node} is already running, pid {pid}")]
    AlreadyRunning {
        /// Which node.
        node: String,
        /// Its process.
        pid: u32,
    },
    /// There is no process to signal.
    #[error("node {node} is not running")]
    NotRunning {
        /// Which node.
        node: String,
    },
    /// kill(2) refused.
    #[error("node {node}: cannot send {signal} to its process group {pid}: {error}")]
    Signal {
        /// Which node.
        node: String,
        /// Its process, and its group.
        pid: u32,
        /// The signal's name.
        signal: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Processes that did not die.
    #[error("processes of the run are still alive after SIGKILL: {pids:?}")]
    Survivors {
        /// Who.
        pids: Vec<u32>,
    },
    /// A pipe or a thread could not be made.
    #[error("node {node}: {error}")]
    Io {
        /// Which node.
        node: String,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
}

/// Why there are no ports.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The fixed port, or one that follows it, is in use.
    #[error(
        "port {port} is taken by {holder}: stop it, name another first port with --set cluster.port=N, \
         or let the harness choose free ones with --set cluster.port=0"
    )]
    Taken {
        /// Which port.
        port: u16,
        /// Who has it, as far as is known: `python3 (pid 4711)`.
        holder: String,
    },
    /// The block does not fit below 65536.
    #[error("{count} consecutive ports from {first} on do not exist: the last port is 65535")]
    OutOfRange {
        /// First port of the block.
        first: u16,
        /// How many were wanted.
        count: u16,
    },
    /// Everything is in use.
    #[error("no {count} consecutive free ports between {from} and {to}: are many runs going on?")]
    NoneFree {
        /// How many were wanted.
        count: u16,
        /// Lowest port tried.
        from: u16,
        /// Highest port tried.
        to: u16,
    },
    /// The directory of the lock files cannot be used.
    #[error("cannot reserve ports in {path}: {error}")]
    Locks {
        /// The directory.
        path: String,
        /// Why not.
        error: String,
    },
}
