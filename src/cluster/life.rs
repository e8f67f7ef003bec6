//! What the harness knows of one node, and of all of them.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::drain::Drain;
use super::error::ClusterError;
use super::log::Log;
use super::process::{self, Pid, Process};
use super::wire::{self, Request};
use super::{ExitStatus, NodeEvent, NodeSpec};

/// Shared by the handle and the threads that watch.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The run's mark in the environment of its processes.
    pub(crate) mark: String,
    pub(crate) warden: Pid,
    pub(crate) requests: Mutex<UnixStream>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) events: Sender<NodeEvent>,
    /// Shutting down: ends are no longer news.
    pub(crate) closing: AtomicBool,
    /// The warden is gone, though nobody asked it to go.
    pub(crate) lost: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: NodeSpec,
    pub(crate) log: Arc<Log>,
    life: Mutex<Life>,
    changed: Condvar,
}

/// One life of a node after the other.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) stage: Stage,
    /// The main process of this life, or of the last one.
    pub(crate) pid: Pid,
    /// Whether its wildcard binds are narrowed and its connects seen.
    pub(crate) guard: bool,
    /// Whether the harness has sent it something to end it.
    pub(crate) asked: bool,
    /// What the warden said to the last request to start it.
    pub(crate) answer: Option<Result<Pid, String>>,
    pub(crate) drain: Option<Drain>,
    /// How many lives there were before this one.
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Never,
    Starting,
    Running,
    /// The main process has ended but is not collected, so its pid is still its own.
    Ending(ExitStatus),
    Ended(ExitStatus),
}

impl Node {
    pub(crate) fn new(spec: NodeSpec, log: Log) -> Self {
        Self { spec, log: Arc::new(log), life: Mutex::default(), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the life and wakes whoever waits for that.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Life) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.changed.notify_all();
        outcome
    }

    /// Waits until `done`, at most until the deadline.
    pub(crate) fn wait_until(&self, deadline: Instant, done: impl Fn(&Life) -> bool) -> MutexGuard<'_, Life> {
        let mut life = self.lock();
        while !done(&life) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            life = self.changed.wait_timeout(life, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        life
    }
}

impl Shared {
    pub(crate) fn node(&self, id: &str) -> Result<&Node, ClusterError> {
        self.nodes.get(id).ok_or_else(|| ClusterError::UnknownNode {
            node: id.to_owned(),
            known: self.nodes.keys().cloned().collect(),
        })
    }

    /// Whether nodes can still be started and signalled.
    pub(crate) fn check_open(&self) -> Result<(), ClusterError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(ClusterError::ShutDown);
        }
        if self.lost.load(Ordering::Acquire) {
            return Err(ClusterError::WardenLost);
        }
        Ok(())
    }

    pub(crate) fn request(&self, request: &Request, fds: &[std::os::fd::RawFd]) -> std::io::Result<()> {
        let stream = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&stream, request, fds)
    }

    /// Processes of a node that are alive, by the process table as it is now.
    pub(crate) fn processes(&self, node: &Node, leader: Pid) -> Vec<Process> {
        let table = process::table();
        let mut found = process::of_node(&table, self.warden, leader, &self.mark, &node.spec.id);
        found.retain(Process::is_alive);
        found
    }

    /// Kills everything of the run but the warden until nothing is left; who is, at the deadline.
    ///
    /// The warden may have ended, but must not have been collected: its pid stands for the run.
    pub(crate) fn sweep(&self, deadline: Instant) -> Vec<Pid> {
        loop {
            let mut left = process::of_run(&process::table(), self.warden, &self.mark);
            left.retain(Process::is_alive);
            let pids: Vec<Pid> = left.iter().map(|process| process.pid).collect();
            if pids.is_empty() || Instant::now() >= deadline {
                return pids;
            }
            for pid in pids {
                super::stray::send(pid, super::Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
