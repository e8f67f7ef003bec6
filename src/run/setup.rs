//! From a workload to a system that is up: ports, links, processes, readiness.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use super::elect;
use super::engine::{Events, Options};
use super::folder::Folder;
use super::jail::Inmate;
use super::limits::LimitWatch;
use super::messages::MessageLog;
use super::provision;
use super::world::{Readiness, Shared};
use crate::client::{Console, Protocol, Transport, Way};
use crate::cluster::console::Console as Listen;
use crate::cluster::ports::{self, PortBlock};
use crate::cluster::{Cluster, ExitStatus, Launch, NodeEvent, NodeSpec, NodeState};
use crate::fault::world::{Exit, Message};
use crate::history::recorder::Recorder;
use crate::history::{Contract, Phase};
use crate::load::{Live, Plan, StatusWatch, Targets};
use crate::network::{self, Addressing, Endpoint, Network, Trouble};
use crate::report::progress::{Progress, RunEvent};
use crate::report::results::Failure;
use crate::workload::{ClientSpec, NodeFacts, PeerFacts, Workload, render_node};

/// The address every node is told to listen on.
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A system that is up, and everything that is needed to drive it.
pub struct System {
    /// What more than one thread needs.
    pub shared: Arc<Shared>,
    /// What happens to processes.
    pub events: Events,
    /// Where clients and probes run.
    pub runtime: Runtime,
    /// Each node and its pid.
    pub nodes: Vec<(String, u32)>,
    /// What the clients will do.
    pub plan: Arc<Plan>,
    /// Keeps the ports from other harness processes.
    pub ports: PortBlock,
    /// Asks the nodes for their status, where something depends on it.
    pub watch: Option<StatusWatch>,
    /// Looks at what the nodes take, where something limits it.
    pub limits: Option<LimitWatch>,
    /// Writes down what passes over the links.
    pub messages: MessageLog,
    /// A system that was to have a leader never had one; what its nodes said instead.
    pub leaderless: Option<String>,
}

/// Why there is no system to drive.
#[derive(Debug)]
pub enum SetupError {
    /// Nothing can be written to the results folder.
    Folder(io::Error),
    /// The system, or the harness, does not come up.
    System(Failure),
}

impl SetupError {
    fn harness(why: impl std::fmt::Display) -> Self {
        SetupError::System(Failure { what: why.to_string(), ..Failure::default() })
    }
}

/// Brings the system up. Whatever was started is gone again when it fails.
///
/// Links have the peers' own port numbers where the system allows it. Where a node takes its port on every address in
/// spite of all, there is no such address left, and the system is brought up once more with links on other ports.
///
/// # Errors
/// When the harness cannot get what it needs, or a node does not become ready; its last log lines are in the failure.
pub fn system(workload: &Workload, options: &Options, folder: &Folder) -> Result<System, SetupError> {
    let recorder = Recorder::create(folder.history()).map_err(SetupError::Folder)?;
    record_contract(workload, &*protocol(workload)?, &recorder);
    recorder.phase(Phase::Setup);
    let attempt = |addressing| attempt(workload, options, folder, &recorder, addressing);
    let watched = |mut system| elect::watch(workload, options, &mut system).map(|()| system);
    let system = attempt(Addressing::default())?;
    let conflict = |trouble: &Trouble| matches!(trouble, Trouble::WildcardConflict { .. });
    let Some(trouble) = system.shared.network.troubles().into_iter().find(conflict) else {
        return watched(system);
    };
    system
        .shared
        .progress
        .event(&RunEvent::Warning(format!("{trouble}; trying links on ports of their own")));
    let gone = system.shared.cluster.shutdown();
    drop(system);
    gone.map_err(SetupError::harness)?;
    attempt(Addressing::Ports).and_then(watched)
}

fn attempt(
    workload: &Workload,
    options: &Options,
    folder: &Folder,
    recorder: &Arc<Recorder>,
    addressing: Addressing,
) -> Result<System, SetupError> {
    let ids = &workload.cluster.nodes;
    let count = u16::try_from(ids.len()).map_err(SetupError::harness)?;
    let offsets: Vec<u16> = workload.cluster.ports.iter().map(|(_, offset)| *offset).collect();
    let ports = ports::allocate_with(count, workload.cluster.port, &offsets).map_err(SetupError::harness)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("clients")
        .enable_all()
        .build()
        .map_err(SetupError::harness)?;
    let endpoint = |(id, port): (&String, u16)| Endpoint { id: id.clone(), ports: all_ports(workload, port) };
    let endpoints: Vec<_> = ids.iter().zip(ports.ports()).map(endpoint).collect();
    let network_options = network::Options { seed: workload.seed, addressing, ..network::Options::default() };
    let network = Network::start(&endpoints, &network_options).map_err(SetupError::harness)?;
    let targets = targets(workload, &ports, recorder)?;
    let main = workload.load.duration;
    let progress = Progress::new(options.progress, counters(targets.live()), main, recorder.clock());
    progress.event(&RunEvent::Phase(Phase::Setup));
    let specs = specs(workload, options, folder, &ports, &network, &targets)?;
    let (outbox, events) = mpsc::channel();
    let launch = Launch { run_id: workload.name.clone(), epoch: recorder.clock(), program: None };
    let cluster = Cluster::launch(launch, specs, outbox).map_err(SetupError::harness)?;
    let shared = Arc::new(Shared {
        cluster,
        network,
        recorder: Arc::clone(recorder),
        readiness: Readiness::default(),
        bypasses: Arc::default(),
        progress,
        targets,
        clients: workload.load.clients,
        runtime: runtime.handle().clone(),
        ready_within: workload.cluster.ready_within,
    });
    let messages = MessageLog::start(&shared, &folder.messages()).map_err(SetupError::Folder)?;
    let limits = LimitWatch::start(&shared, workload).map_err(SetupError::harness)?;
    let nodes = match bring_up(workload, options, &shared, &runtime, &events) {
        Ok(nodes) => nodes,
        // Who was stopped for taking too much never became ready because of that.
        Err(error) => return Err(limits.and_then(LimitWatch::first).map_or(error, SetupError::System)),
    };
    let plan = Plan::new(&workload.load, workload.seed, ids.len());
    let plan = Arc::new(plan.with_status_probes(workload.client.probe.is_some()));
    Ok(System {
        shared,
        events,
        runtime,
        nodes,
        plan,
        ports,
        watch: None,
        limits,
        messages,
        leaderless: None,
    })
}

fn protocol(workload: &Workload) -> Result<Arc<Protocol>, SetupError> {
    let base = workload.file.parent().map(PathBuf::from).unwrap_or_default();
    Protocol::load(&workload.client.protocol, &base).map_err(SetupError::harness)
}

fn record_contract(workload: &Workload, protocol: &Protocol, recorder: &Recorder) {
    let contract = Contract {
        nodes: workload.cluster.nodes.clone(),
        durability: workload.cluster.durability,
        sessions: workload.load.sessions,
        settle_within_ms: millis(workload.settle_within),
        write_quorum: workload.cluster.write_quorum,
        read_quorum: workload.cluster.read_quorum,
        elect_within_ms: workload.cluster.elect_within.map(millis),
        uniform: workload.cluster.uniform,
        views: workload.cluster.views,
        removals_told: protocol.tells_removals(),
        ..Contract::default()
    };
    let mut value = serde_json::to_value(contract).unwrap_or_default();
    value["workload"] = json!(workload.name);
    value["seed"] = json!(workload.seed);
    // So that `harness check` asks of the history what the run did.
    value["checks"] = workload.checks.iter().map(|(name, mode)| (name.clone(), json!(mode))).collect();
    value["harness"] = json!(env!("CARGO_PKG_VERSION"));
    recorder.nemesis("run", None, &value);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn counters(live: &Arc<Live>) -> crate::report::progress::Counters {
    let live = Arc::clone(live);
    crate::report::progress::Counters::new(move || {
        let counts = live.counts();
        [counts.ok, counts.fail, counts.info]
    })
}

fn targets(
    workload: &Workload,
    ports: &PortBlock,
    recorder: &Arc<Recorder>,
) -> Result<Arc<Targets>, SetupError> {
    let protocol = protocol(workload)?;
    let way = |(id, port): (&String, u16)| {
        let way = match protocol.transport() {
            Transport::Stdio => Way::Console(Console::new(id, Arc::clone(&protocol), Arc::clone(recorder))),
            Transport::Http | Transport::Line => Way::from(SocketAddr::from((HOST, port))),
        };
        (id.clone(), way)
    };
    let list: Vec<_> = workload.cluster.nodes.iter().zip(ports.ports()).map(way).collect();
    let ClientSpec { timeout, max_in_flight, .. } = workload.client;
    Ok(Targets::new(protocol, Arc::clone(recorder), &list, timeout, max_in_flight))
}

/// The node's first port, and its further ones.
fn all_ports(workload: &Workload, first: u16) -> Vec<u16> {
    let further = workload.cluster.ports.iter().map(|(_, offset)| first + offset);
    [first].into_iter().chain(further).collect()
}

/// The further ports by their names, as `port` has it that is given each.
fn named_ports<E>(
    workload: &Workload,
    first: u16,
    port: impl Fn(u16) -> Result<u16, E>,
) -> Result<BTreeMap<String, u16>, E> {
    let ports = workload.cluster.ports.iter();
    ports.map(|(name, offset)| Ok((name.clone(), port(first + offset)?))).collect()
}

fn specs(
    workload: &Workload,
    options: &Options,
    folder: &Folder,
    ports: &PortBlock,
    network: &Network,
    targets: &Targets,
) -> Result<Vec<NodeSpec>, SetupError> {
    let ids = &workload.cluster.nodes;
    let parent = workload.cluster.dir.clone().unwrap_or_else(|| folder.nodes());
    let mut specs = Vec::new();
    for (place, (id, port)) in ids.iter().zip(ports.ports()).enumerate() {
        let dir = parent.join(id);
        let (mut peers, mut links) = (Vec::new(), Vec::new());
        for (peer, peer_port) in ids.iter().zip(ports.ports()).filter(|(peer, _)| *peer != id) {
            let address = |port| network.address(id, peer, port).map_err(SetupError::harness);
            for port in all_ports(workload, peer_port) {
                links.push(address(port)?);
            }
            let first = address(peer_port)?;
            peers.push(PeerFacts {
                id: peer.clone(),
                host: first.ip().to_string(),
                port: first.port(),
                ports: named_ports(workload, peer_port, |port| address(port).map(|there| there.port()))?,
            });
        }
        std::fs::create_dir_all(&dir).map_err(SetupError::Folder)?;
        if let Some(source) = &workload.cluster.copy {
            // What runs leave behind may lie in the folder that is copied.
            provision::copy(source, &dir, &[&options.results, &parent]).map_err(SetupError::harness)?;
        }
        let ports = named_ports(workload, port, Ok::<_, SetupError>)?;
        let facts = NodeFacts { host: HOST.to_string(), port, ports, dir: dir.clone(), peers };
        let rendered = render_node(workload, place, &facts).map_err(SetupError::harness)?;
        provision::write(&dir, &rendered.files).map_err(SetupError::harness)?;
        let cwd = workload.cluster.cwd.clone().unwrap_or(dir.clone());
        let mut env = rendered.env;
        let inmate = Inmate { place, dir: &dir, cwd: &cwd, argv: &rendered.argv };
        let jail = inmate.jail(workload, options, folder, &mut env).map_err(SetupError::Folder)?;
        specs.push(NodeSpec {
            id: id.clone(),
            argv: rendered.argv,
            env,
            cwd,
            jail,
            log_path: folder.nodes().join(format!("{id}.log")),
            log_limit_bytes: workload.cluster.log_limit,
            ports: all_ports(workload, port),
            links,
            console: targets
                .console(place)
                .map(|console| Arc::new(Voice(Arc::clone(console))) as Arc<dyn Listen>),
        });
    }
    Ok(specs)
}

/// A node's console, as its cluster sees it.
#[derive(Debug)]
struct Voice(Arc<Console>);

impl Listen for Voice {
    fn opened(&self, life: u64, input: io::PipeWriter) {
        self.0.opened(life, input);
    }

    fn printed(&self, life: u64, bytes: &[u8]) {
        self.0.printed(life, bytes);
    }

    fn closed(&self, _life: u64) {}
}

/// Starts every node and waits until each has answered.
fn bring_up(
    workload: &Workload,
    options: &Options,
    shared: &Arc<Shared>,
    runtime: &Runtime,
    events: &Events,
) -> Result<Vec<(String, u32)>, SetupError> {
    let mut nodes = Vec::new();
    let mut waiting = Vec::new();
    for (place, id) in workload.cluster.nodes.iter().enumerate() {
        let pid = shared.start(id).map_err(SetupError::harness)?;
        nodes.push((id.clone(), pid));
        waiting.push((id, runtime.spawn(Arc::clone(shared).await_ready(place, id.clone(), pid))));
    }
    let mut failed = None;
    for (id, task) in waiting {
        while !task.is_finished() && !options.interrupt.asked() && failed.is_none() {
            failed = early_exit(shared, events, Duration::ZERO);
            std::thread::sleep(Duration::from_millis(2));
        }
        if failed.is_some() || options.interrupt.asked() {
            break;
        }
        if let Ok(Err(why)) = runtime.block_on(task) {
            // The process table knows of an end before the event is there that tells how, with the last log lines.
            let ended = !matches!(shared.cluster.state(id), Some(NodeState::Running | NodeState::Stopped));
            let patience = if ended { EXIT_TOLD_WITHIN } else { Duration::ZERO };
            failed = early_exit(shared, events, patience)
                .or_else(|| Some(never_ready(workload, shared, id, &why)));
        }
    }
    match failed.or_else(|| early_exit(shared, events, Duration::ZERO)) {
        Some(failure) => Err(SetupError::System(failure)),
        None => Ok(nodes),
    }
}

/// How long the word of a process's end may come after the end: what it left behind is killed and its log read to
/// the end first.
const EXIT_TOLD_WITHIN: Duration = Duration::from_secs(5);

/// A node that ended before it was ready, if there is one, or will be within `patience`.
pub(super) fn early_exit(shared: &Shared, events: &Events, patience: Duration) -> Option<Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()? {
            NodeEvent::Exited { node, pid, status, left_behind, log_tail, .. } => {
                let exit = exit_of(pid, status, log_tail);
                shared.note_exit(&node, &exit, false);
                return Some(ended_early(node, exit, left_behind));
            }
            NodeEvent::WardenLost { .. } => {
                return Some(Failure { what: WARDEN_LOST.to_owned(), ..Failure::default() });
            }
            // Nothing is impaired yet.
            NodeEvent::Connects { .. } => {}
        }
    }
}

fn ended_early(node: String, exit: Exit, left_behind: usize) -> Failure {
    let how = match (exit.signal, exit.code) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, code) => format!("exited with code {}", code.unwrap_or_default()),
    };
    let mut what = format!("node {node} {how} before it was ready");
    if left_behind > 0 || exit.code == Some(0) {
        what.push_str("; a node has to stay in the foreground");
    }
    Failure { what, node: Some(node), log: exit.log, limit: None }
}

fn never_ready(workload: &Workload, shared: &Shared, id: &str, why: &str) -> Failure {
    let within = humantime::format_duration(workload.cluster.ready_within);
    let protocol = shared.targets.protocol().name();
    let what = format!(
        "node {id} did not become ready within {within}, by the protocol {protocol}: {why}; if it only starts slowly, \
         give it longer: --set cluster.ready-within=60s"
    );
    Failure { what, node: Some(id.to_owned()), log: shared.cluster.log_tail(id, LOG_LINES), limit: None }
}

/// How many of a node's last log lines a failure shows.
const LOG_LINES: usize = 15;

const WARDEN_LOST: &str = "the process that watches over the nodes (the warden) is gone: something killed it";

fn exit_of(pid: u32, status: ExitStatus, log: Vec<String>) -> Exit {
    Exit { pid, signal: status.signal, code: status.code, log }
}

/// Tells the nemesis of every process that ends, and counts connections past the links, until the cluster is gone. `lost`
/// is set when the warden is.
///
/// # Errors
/// When no thread can be made.
pub(super) fn route(
    events: Events,
    nemesis: Sender<Message>,
    shared: &Shared,
    lost: Arc<Mutex<Option<String>>>,
) -> io::Result<()> {
    // Not all of `shared`: the events end when it is dropped.
    let (bypasses, whereabouts) = (Arc::clone(&shared.bypasses), shared.network.whereabouts());
    let follow = move || {
        for event in events {
            match event {
                NodeEvent::Exited { node, pid, status, log_tail, .. } => {
                    // Once the nemesis has left, the run is over and the cluster is being ended.
                    let _ = nemesis.send(Message::Exited(node, exit_of(pid, status, log_tail)));
                }
                NodeEvent::Connects { node, address, datagrams } => {
                    if let Some(reached) = whereabouts.passed(&node, address, datagrams) {
                        bypasses.add(&node, reached);
                    }
                }
                NodeEvent::WardenLost { .. } => {
                    let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                    lost.get_or_insert_with(|| WARDEN_LOST.to_owned());
                }
            }
        }
    };
    std::thread::Builder::new().name("events".into()).spawn(follow).map(|_| ())
}
