//! The nemesis's hands: the cluster, the links, and what is written down of both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use super::allowance::Allowance;
use super::bypass::Bypasses;
use crate::cluster::{Cluster, NodeState};
use crate::fault::world::{Exit, LinkTotals, World};
use crate::fault::{HowDown, Toll};
use crate::history::recorder::Recorder;
use crate::load::{Prober, Targets};
use crate::network::{LinkPolicy, Network};
use crate::report::progress::{Progress, RunEvent};

/// Which nodes have answered since they were last started.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<String, (u32, bool)>>);

impl Readiness {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (u32, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `node` was started as `pid`.
    pub fn started(&self, node: &str, pid: u32) {
        self.lock().insert(node.to_owned(), (pid, false));
    }

    /// `node` has answered; false when it is another process by now.
    pub fn answered(&self, node: &str, pid: u32) -> bool {
        match self.lock().get_mut(node) {
            Some((current, ready)) if *current == pid => {
                *ready = true;
                true
            }
            _ => false,
        }
    }

    /// `node` has ended.
    pub fn ended(&self, node: &str) {
        self.lock().remove(node);
    }

    /// Whether `node` is still being waited for as process `pid`.
    pub fn awaits(&self, node: &str, pid: u32) -> bool {
        self.lock().get(node) == Some(&(pid, false))
    }

    /// Nodes that were started and have not answered yet.
    pub fn waiting(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, (_, ready))| !ready).map(|(node, _)| node.clone()).collect()
    }
}

/// Everything of a run that more than one thread needs.
pub struct Shared {
    /// The processes.
    pub cluster: Cluster,
    /// The links.
    pub network: Network,
    /// The history being written.
    pub recorder: Arc<Recorder>,
    /// Who has answered.
    pub readiness: Readiness,
    /// Who was seen walking past a link.
    pub bypasses: Arc<Bypasses>,
    /// What is shown meanwhile.
    pub progress: Progress,
    /// Whom to ask, for probes.
    pub targets: Arc<Targets>,
    /// How many clients there are: probers are numbered after them.
    pub clients: u32,
    /// Where probes run.
    pub runtime: tokio::runtime::Handle,
    /// How long a node may take to answer.
    pub ready_within: Duration,
}

impl Shared {
    /// Starts `node` and writes it down.
    ///
    /// # Errors
    /// A sentence when its process could not be started.
    pub fn start(self: &Arc<Self>, node: &str) -> Result<u32, String> {
        let pid = self.cluster.start(node).map_err(|error| error.to_string())?;
        self.readiness.started(node, pid);
        self.recorder.nemesis("start", Some(node), &json!({"pid": pid}));
        self.progress.event(&RunEvent::NodeStarted { node: node.to_owned(), pid: u64::from(pid) });
        self.network.node_up(node).map_err(|error| error.to_string())?;
        Ok(pid)
    }

    /// Asks `node` until it answers, its process ends or the time is up; writes its readiness down.
    ///
    /// # Errors
    /// The last thing that came instead of an answer.
    pub async fn await_ready(self: Arc<Self>, place: usize, node: String, pid: u32) -> Result<(), String> {
        let started = Instant::now();
        let Some(mut prober) = Prober::new(&self.targets, self.clients, place) else {
            return Err(format!("there is no node number {place}"));
        };
        let mut last = String::from("nothing came");
        let nodes = [node.clone()];
        let allowance = Allowance::new(self.ready_within, &self, &nodes);
        while self.readiness.awaits(&node, pid) && !allowance.is_over() {
            match prober.ready().await {
                Ok(()) => {
                    if self.readiness.answered(&node, pid) {
                        self.recorder.nemesis("ready", Some(&node), &json!({}));
                        self.progress.event(&RunEvent::NodeReady { node, after: started.elapsed() });
                    }
                    return Ok(());
                }
                Err(why) => last = why,
            }
            // One that seems to be ending may only be changing its parent, as a daemon does: the end is waited for.
            if !matches!(
                self.cluster.state(&node),
                Some(NodeState::Running | NodeState::Stopped | NodeState::Ending)
            ) {
                break;
            }
            tokio::time::sleep(READY_POLL).await;
        }
        Err(last)
    }

    /// Records that a node's process ended, and shows it.
    pub fn note_exit(&self, node: &str, exit: &Exit, expected: bool) {
        self.readiness.ended(node);
        if let Some(place) = self.targets.place_of(node) {
            self.targets.leaders().gone(place);
        }
        if let Err(error) = self.network.node_down(node) {
            self.progress.event(&RunEvent::Warning(error.to_string()));
        }
        let mut value =
            json!({"pid": exit.pid, "signal": exit.signal, "code": exit.code, "expected": expected});
        if !expected {
            value["log"] = json!(exit.log);
        }
        self.recorder.nemesis("exit", Some(node), &value);
        let how = match (exit.signal, exit.code) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "unknown cause".to_owned(),
        };
        self.progress.event(&RunEvent::NodeExited { node: node.to_owned(), expected, how });
    }
}

/// How often a node that is starting is asked. Students' machines start three interpreters at once: polling harder would
/// slow them down.
const READY_POLL: Duration = Duration::from_millis(10);

/// The real world.
pub struct Real {
    /// What other threads share.
    pub shared: Arc<Shared>,
    /// Node ids, in the workload's order.
    pub nodes: Vec<String>,
}

impl World for Real {
    fn end(&mut self, node: &str, how: HowDown) -> Option<u32> {
        let signal = match how {
            HowDown::Kill => {
                // A dead node's links refuse from the moment of its death; an unknown node is the signal's to tell.
                let _ = self.shared.network.node_down(node);
                Signal::SIGKILL
            }
            HowDown::Stop => Signal::SIGTERM,
        };
        self.shared.cluster.signal(node, signal).ok().map(|evidence| evidence.pid)
    }

    fn start(&mut self, node: &str) -> Result<u32, String> {
        let pid = self.shared.start(node)?;
        if let Some(place) = self.nodes.iter().position(|id| id == node) {
            let shared = Arc::clone(&self.shared);
            self.shared.runtime.spawn(shared.await_ready(place, node.to_owned(), pid));
        }
        Ok(pid)
    }

    fn pause(&mut self, node: &str, stop: bool) -> bool {
        let signal = if stop { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.shared.cluster.signal(node, signal).is_ok()
    }

    fn is_stopped(&self, node: &str) -> bool {
        self.shared.cluster.state(node) == Some(NodeState::Stopped)
    }

    fn link(&mut self, from: &str, to: &str, tolls: &[Toll]) {
        if let Err(error) = self.shared.network.set(from, to, LinkPolicy::compose(tolls)) {
            self.shared.progress.event(&RunEvent::Warning(error.to_string()));
        }
    }

    fn link_totals(&self, from: &str, to: &str) -> LinkTotals {
        let bypasses = self.shared.bypasses.seen(from, to);
        let Ok(counters) = self.shared.network.counters(from, to) else {
            return LinkTotals { bypasses, ..LinkTotals::default() };
        };
        LinkTotals {
            delivered_bytes: counters.bytes,
            held_bytes: counters.held_bytes,
            held_connections: counters.held_connections,
            delayed_bytes: counters.delayed_bytes + counters.throttled_bytes,
            reset_connections: counters.reset_connections,
            datagrams: counters.datagrams,
            cut_datagrams: counters.cut_datagrams,
            delayed_datagrams: counters.delayed_datagrams
                + counters.throttled_datagrams
                + counters.overflowed_datagrams,
            dropped_datagrams: counters.dropped_datagrams,
            duplicated_datagrams: counters.duplicated_datagrams,
            reordered_datagrams: counters.reordered_datagrams,
            corrupted_datagrams: counters.corrupted_datagrams,
            bypasses,
        }
    }

    fn leader(&self) -> Option<String> {
        self.shared.targets.leaders().leader_id().map(|id| id.to_string())
    }

    fn writes_under_way(&self, node: &str) -> u64 {
        let place = self.nodes.iter().position(|id| id == node);
        place.map_or(0, |place| self.shared.targets.live().writing(place))
    }

    fn record(&mut self, f: &str, value: Json) {
        self.shared.recorder.nemesis(f, None, &value);
        let id = value["fault"].as_u64().unwrap_or_default();
        match (value["edge"].as_str(), value["label"].as_str()) {
            (Some("begin"), Some(label)) => {
                self.shared.progress.event(&RunEvent::FaultBegan { id, label: label.to_owned() });
            }
            _ => {
                let took_effect = value["took_effect"].as_bool().unwrap_or_default();
                self.shared.progress.event(&RunEvent::FaultEnded { id, took_effect });
            }
        }
    }

    fn exited(&mut self, node: &str, exit: &Exit, expected: bool) {
        self.shared.note_exit(node, exit, expected);
    }
}
