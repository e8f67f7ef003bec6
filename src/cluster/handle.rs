//! [`Cluster`]: what the rest of the harness does with node processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, killpg, signal};

use super::drain::Drain;
use super::error::ClusterError;
use super::life::{Life, Node, Shared, Stage};
use super::log::Log;
use super::process::{self, NODE_VARIABLE, Pid, RUN_VARIABLE};
use super::wire::{Inbox, Report, Request};
use super::{
    ExitStatus, Launch, LogStats, NodeEvent, NodeSpec, NodeState, Signal, SignalEvidence, StopEvidence,
    stray, warden, watch,
};

/// How long the warden may take to come up, and to answer a start: forever on a healthy machine, but finite.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long ending everything may take. A matter of milliseconds, but a machine that is short of time is no reason to
/// call a run broken.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// How long the harness waits for the end of a process after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// How often the process table is read while waiting for a state.
const STATE_POLL: Duration = Duration::from_millis(1);

/// The processes of a run. Can be used from any thread; dropping it kills them all.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    warden: Mutex<Option<Child>>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl Cluster {
    /// Starts the warden and prepares the nodes' directories and logs. No node runs yet.
    ///
    /// # Errors
    /// When the warden, a directory or a log file cannot be made, or two nodes have one id.
    pub fn launch(
        launch: Launch,
        specs: Vec<NodeSpec>,
        on_event: Sender<NodeEvent>,
    ) -> Result<Self, ClusterError> {
        let guarded_ports: BTreeSet<u16> = specs.iter().flat_map(|spec| spec.ports.iter().copied()).collect();
        let nodes = prepare(specs, launch.epoch)?;
        let (child, stream) = start_warden(&launch).map_err(ClusterError::Warden)?;
        let mut starting = Starting(Some(child));
        let mark = unique_mark(&launch.run_id);
        let shared = Shared {
            mark: mark.clone(),
            warden: starting.pid(),
            requests: Mutex::new(stream.try_clone().map_err(ClusterError::Warden)?),
            nodes,
            events: on_event,
            closing: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        };
        let hello = Request::Hello { run: mark, guarded_ports: guarded_ports.into_iter().collect() };
        shared.request(&hello, &[]).map_err(ClusterError::Warden)?;
        let mut inbox = Inbox::default();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(ClusterError::Warden)?;
        match inbox.receive::<Report>(&stream) {
            Ok(Some(Report::Ready)) => {}
            Ok(_) => {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended at once");
                return Err(ClusterError::Warden(error));
            }
            Err(error) => return Err(ClusterError::Warden(error)),
        }
        stream.set_read_timeout(None).map_err(ClusterError::Warden)?;
        let shared = Arc::new(shared);
        let seen = Arc::clone(&shared);
        let watcher = std::thread::Builder::new()
            .name("warden watch".into())
            .spawn(move || watch::watch(&seen, &stream, inbox))
            .map_err(ClusterError::Warden)?;
        let warden = Mutex::new(starting.0.take());
        Ok(Self { shared, warden, watcher: Mutex::new(Some(watcher)) })
    }

    /// The warden's process id.
    pub fn warden_pid(&self) -> u32 {
        self.shared.warden.cast_unsigned()
    }

    /// `HARNESS_RUN` in the environment of the run's processes.
    pub fn run_mark(&self) -> &str {
        &self.shared.mark
    }

    /// Starts a node, or starts it again; the pid of its main process, which leads its process group.
    ///
    /// # Errors
    /// When it runs already, cannot be executed, or the warden is gone.
    pub fn start(&self, node: &str) -> Result<u32, ClusterError> {
        self.shared.check_open()?;
        let known = self.shared.node(node)?;
        let spec = &known.spec;
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut life = known.wait_until(deadline, |life| !matches!(life.stage, Stage::Ending(_)));
        let before = match life.stage {
            Stage::Never | Stage::Ended(_) => life.stage,
            Stage::Starting | Stage::Running | Stage::Ending(_) => {
                let pid = life.pid.cast_unsigned();
                return Err(ClusterError::AlreadyRunning { node: node.to_owned(), pid });
            }
        };
        let number = if life.stage == Stage::Never { 0 } else { life.number + 1 };
        *life = Life { stage: Stage::Starting, pid: life.pid, number, ..Life::default() };
        drop(life);
        let command = shell_words::join(&spec.argv);
        known.log.remark(&format!("starting: {command}"));
        let outcome = self.request_start(known, number).and_then(|()| {
            let answered = |life: &Life| life.answer.is_some() || self.shared.check_open().is_err();
            let answer = known.wait_until(deadline, answered).answer.take();
            match answer {
                Some(Ok(pid)) => Ok(pid.cast_unsigned()),
                Some(Err(error)) => Err(ClusterError::Start { node: node.to_owned(), command, error }),
                None => Err(self.shared.check_open().err().unwrap_or(ClusterError::WardenLost)),
            }
        });
        if let Err(error) = &outcome {
            known.log.remark(&error.to_string());
            known.update(|life| {
                life.drain = None;
                if life.stage == Stage::Starting {
                    life.stage = before;
                }
            });
        }
        outcome
    }

    fn request_start(&self, node: &Node, life: u64) -> Result<(), ClusterError> {
        let spec = &node.spec;
        let failed = |error| ClusterError::Io { node: spec.id.clone(), error };
        let (out, out_writer) = io::pipe().map_err(failed)?;
        let (err, err_writer) = io::pipe().map_err(failed)?;
        let stdin = match &spec.console {
            None => OwnedFd::from(std::fs::File::open("/dev/null").map_err(failed)?),
            Some(console) => {
                let (stdin, input) = io::pipe().map_err(failed)?;
                console.opened(life, input);
                stdin.into()
            }
        };
        let heard = spec.console.clone().map(|console| (console, life));
        let drain = Drain::start(&spec.id, Arc::clone(&node.log), out, err, heard).map_err(failed)?;
        node.lock().drain = Some(drain);
        let start = Request::Start {
            node: spec.id.clone(),
            argv: spec.argv.clone(),
            env: environment(spec, &self.shared.mark),
            cwd: spec.cwd.clone().into_os_string(),
            links: spec.links.clone(),
            jail: Box::new(spec.jail.clone()),
        };
        let stdio = [stdin, out_writer.into(), err_writer.into()];
        let sent = self.shared.request(&start, &stdio.each_ref().map(|fd| fd.as_raw_fd()));
        sent.map_err(|_| self.shared.check_open().err().unwrap_or(ClusterError::WardenLost))
    }

    /// Sends a signal to the node's process group at once, then to its processes outside it.
    ///
    /// # Errors
    /// When the node does not run, or the system refuses.
    pub fn signal(&self, node: &str, signal: Signal) -> Result<SignalEvidence, ClusterError> {
        self.shared.check_open()?;
        let known = self.shared.node(node)?;
        let ends = matches!(signal, Signal::SIGKILL | Signal::SIGTERM);
        let mut life = known.lock();
        if life.stage != Stage::Running {
            return Err(ClusterError::NotRunning { node: node.to_owned() });
        }
        let leader = life.pid;
        let pid = leader.cast_unsigned();
        // Once the leader is dead, nothing tells whose children these were.
        let seen = if ends { stray::glance(leader) } else { Vec::new() };
        // Under the lock: the pid cannot be given up before the signal is out.
        killpg(nix::unistd::Pid::from_raw(leader), signal).map_err(|errno| ClusterError::Signal {
            node: node.to_owned(),
            pid,
            signal: signal.as_str(),
            error: errno.into(),
        })?;
        let at = Instant::now();
        life.asked |= ends;
        drop(life);
        let strays = stray::signal_all(&self.shared, known, leader, signal, &seen);
        Ok(SignalEvidence { pid, signal, at, strays })
    }

    /// SIGKILL to the whole node.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn kill(&self, node: &str) -> Result<SignalEvidence, ClusterError> {
        self.signal(node, Signal::SIGKILL)
    }

    /// SIGTERM, and SIGKILL when the node has not ended after `grace`. Waits for the end.
    ///
    /// A paused node gets the SIGTERM when it is continued, so within `grace` or never.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn stop(&self, node: &str, grace: Duration) -> Result<StopEvidence, ClusterError> {
        let term = self.signal(node, Signal::SIGTERM)?;
        if let Some(status) = self.wait_exit(node, Instant::now() + grace) {
            return Ok(StopEvidence { term, kill: None, status: Some(status) });
        }
        let kill = match self.kill(node) {
            Ok(kill) => Some(kill),
            // It ended between the two.
            Err(ClusterError::NotRunning { .. }) => None,
            Err(error) => return Err(error),
        };
        let status = self.wait_exit(node, Instant::now() + KILL_LIMIT);
        Ok(StopEvidence { term, kill, status })
    }

    /// What the node is doing. `None`: there is no such node.
    pub fn state(&self, node: &str) -> Option<NodeState> {
        let known = self.shared.nodes.get(node)?;
        let (stage, leader) = {
            let life = known.lock();
            (life.stage, life.pid)
        };
        Some(match stage {
            Stage::Never | Stage::Starting => NodeState::NotStarted,
            Stage::Ending(_) => NodeState::Ending,
            Stage::Ended(status) => NodeState::Ended(status),
            Stage::Running => {
                let processes = self.shared.processes(known, leader);
                if processes.is_empty() {
                    NodeState::Ending
                } else if processes.iter().all(process::is_still) {
                    NodeState::Stopped
                } else {
                    NodeState::Running
                }
            }
        })
    }

    /// Waits until the node is in a state, at most until the deadline; whether it is. For evidence after a signal,
    /// which takes effect a moment after it was sent.
    pub fn wait_state(&self, node: &str, state: NodeState, deadline: Instant) -> bool {
        loop {
            if self.state(node) == Some(state) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(STATE_POLL);
        }
    }

    /// The node's living processes, from the process table. Empty when it does not run.
    pub fn processes(&self, node: &str) -> Vec<super::Process> {
        let Some(known) = self.shared.nodes.get(node) else { return Vec::new() };
        let (stage, leader) = {
            let life = known.lock();
            (life.stage, life.pid)
        };
        match stage {
            Stage::Running | Stage::Ending(_) => self.shared.processes(known, leader),
            Stage::Never | Stage::Starting | Stage::Ended(_) => Vec::new(),
        }
    }

    /// The node's living processes, without those that keep it (see [`crate::sandbox`]).
    pub fn inmates(&self, node: &str) -> Vec<u32> {
        let mut processes = self.processes(node);
        let Some(known) = self.shared.nodes.get(node).filter(|node| node.spec.jail.room.is_some()) else {
            return processes.into_iter().map(|process| process.pid.cast_unsigned()).collect();
        };
        // The keeper leads, and has the init as its only child.
        let keeper = known.lock().pid;
        processes.retain(|process| process.pid != keeper && process.parent != keeper);
        processes.into_iter().map(|process| process.pid.cast_unsigned()).collect()
    }

    /// The main process of the node's present or last life.
    pub fn pid(&self, node: &str) -> Option<u32> {
        Some(self.shared.nodes.get(node)?.lock().pid.cast_unsigned())
    }

    /// What the kernel has refused the node so far, because of its limits.
    pub fn refusals(&self, node: &str) -> crate::sandbox::Refusals {
        crate::sandbox::refusals(self.shared.warden.cast_unsigned(), node)
    }

    /// The node's own directory, which it may write to.
    pub fn directory(&self, node: &str) -> Option<std::path::PathBuf> {
        let spec = &self.shared.nodes.get(node)?.spec;
        let own = spec.jail.writable.as_ref().and_then(|writable| writable.first());
        Some(own.unwrap_or(&spec.cwd).clone())
    }

    /// The ids of the node's living processes.
    pub fn pids(&self, node: &str) -> Vec<u32> {
        self.processes(node).into_iter().map(|process| process.pid.cast_unsigned()).collect()
    }

    /// How long the node has waited for a processor, ready to run, in its present life: that of its threads which waited
    /// longest. Zero where the system does not tell (only Linux does).
    pub fn starved(&self, node: &str) -> Duration {
        self.processes(node)
            .into_iter()
            .map(|process| process::starved(process.pid))
            .max()
            .unwrap_or_default()
    }

    /// Waits for the end of the node's present life and of everything it left behind. `None`: it still runs at the
    /// deadline, or was never started.
    pub fn wait_exit(&self, node: &str, deadline: Instant) -> Option<ExitStatus> {
        let known = self.shared.nodes.get(node)?;
        let life = known.wait_until(deadline, |life| matches!(life.stage, Stage::Ended(_) | Stage::Never));
        match life.stage {
            Stage::Ended(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the node's binds and connects go before the warden in its present or last life: its wildcard binds are
    /// narrowed to loopback, and a connection or datagram past its links is a [`NodeEvent::Connects`].
    pub fn is_guarded(&self, node: &str) -> bool {
        self.shared.nodes.get(node).is_some_and(|node| node.lock().guard)
    }

    /// The node's last `count` lines of output, oldest first, shortened, without control characters; at most
    /// [`RING_LINES`](super::RING_LINES).
    pub fn log_tail(&self, node: &str, count: usize) -> Vec<String> {
        self.shared.nodes.get(node).map(|node| node.log.tail(count)).unwrap_or_default()
    }

    /// How much the node has printed.
    pub fn log_stats(&self, node: &str) -> LogStats {
        self.shared.nodes.get(node).map(|node| node.log.stats()).unwrap_or_default()
    }

    /// Kills everything the run started and sees to it that nothing is left, within about 2 s. Again: does nothing.
    ///
    /// # Errors
    /// [`ClusterError::Survivors`], when the kernel does not let go of a process.
    pub fn shutdown(&self) -> Result<(), ClusterError> {
        let mut warden = self.warden.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut child) = warden.take() else { return Ok(()) };
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        self.shared.closing.store(true, Ordering::Release);
        for node in self.shared.nodes.values() {
            let life = node.lock();
            if life.stage == Stage::Running {
                let _ = killpg(nix::unistd::Pid::from_raw(life.pid), Signal::SIGKILL);
            }
        }
        // The warden takes the end of the stream as the end of the run.
        let requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = requests.shutdown(std::net::Shutdown::Write);
        drop(requests);
        while matches!(process::peek_end(self.shared.warden), Ok(None)) {
            if Instant::now() >= deadline {
                stray::send(self.shared.warden, Signal::SIGKILL);
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let survivors = self.shared.sweep(deadline.max(Instant::now() + Duration::from_millis(100)));
        if let Some(watcher) = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = watcher.join();
        }
        // Nobody goes by the warden's pid any more: it may come to mean another process.
        let _ = child.wait();
        self.shared.nodes.values().for_each(finish);
        if survivors.is_empty() {
            return Ok(());
        }
        Err(ClusterError::Survivors { pids: survivors.into_iter().map(Pid::cast_unsigned).collect() })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody is left to be told of survivors; the warden and the kernel do what can be done.
        let _ = self.shutdown();
    }
}

/// Kills a warden that never became part of a [`Cluster`].
struct Starting(Option<Child>);

impl Starting {
    fn pid(&self) -> Pid {
        self.0.as_ref().map_or(0, |child| child.id().cast_signed())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn prepare(specs: Vec<NodeSpec>, epoch: Instant) -> Result<BTreeMap<String, Node>, ClusterError> {
    let mut nodes = BTreeMap::new();
    for spec in specs {
        let id = spec.id.clone();
        let failed = |path: &std::path::Path| {
            let (node, path) = (id.clone(), path.to_owned());
            move |error| ClusterError::Create { node, path, error }
        };
        std::fs::create_dir_all(&spec.cwd).map_err(failed(&spec.cwd))?;
        let log = Log::create(&spec.log_path, spec.log_limit_bytes, epoch).map_err(failed(&spec.log_path))?;
        if nodes.insert(id.clone(), Node::new(spec, log)).is_some() {
            return Err(ClusterError::DuplicateNode(id));
        }
    }
    Ok(nodes)
}

/// Ends the log of a node that ran to the end of the run.
fn finish(node: &Node) {
    let drain = node.lock().drain.take();
    if let Some(drain) = drain {
        drain.wait(Duration::from_millis(300));
    }
    let ran = node.update(|life| {
        let ran = !matches!(life.stage, Stage::Never | Stage::Ended(_));
        if ran {
            life.stage = Stage::Ended(ExitStatus { code: None, signal: Some(Signal::SIGKILL as i32) });
        }
        ran
    });
    if ran {
        node.log.remark("ended with the run");
    }
    node.log.close_off();
}

/// Unique on this machine, whatever the caller calls its run: processes are killed by it.
fn unique_mark(run_id: &str) -> String {
    static LAUNCHES: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let number = LAUNCHES.fetch_add(1, Ordering::Relaxed);
    // An environment variable holds no NUL.
    let name = run_id.replace('\0', "");
    format!("{name}.{}.{number}.{:x}", std::process::id(), now.as_nanos())
}

fn environment(spec: &NodeSpec, mark: &str) -> Vec<(String, String)> {
    let mut env = spec.env.clone();
    const UNBUFFERED: &str = "PYTHONUNBUFFERED";
    if std::env::var_os(UNBUFFERED).is_none() {
        env.entry(UNBUFFERED.into()).or_insert_with(|| "1".into());
    }
    env.insert(RUN_VARIABLE.into(), mark.into());
    env.insert(NODE_VARIABLE.into(), spec.id.clone());
    env.into_iter().collect()
}

fn start_warden(launch: &Launch) -> io::Result<(Child, UnixStream)> {
    let (own, its) = UnixStream::pair()?;
    let program = match &launch.program {
        Some(program) => program.clone(),
        // The file this process was started from, even if another has taken its place since.
        None if cfg!(target_os = "linux") => "/proc/self/exe".into(),
        None => std::env::current_exe()?,
    };
    let mut command = Command::new(program);
    // Not called harness, so that `pkill harness` leaves it to do its work.
    command.arg0("warden").arg("warden").current_dir("/");
    command.env_remove(RUN_VARIABLE).env_remove(NODE_VARIABLE);
    command.stdin(Stdio::from(OwnedFd::from(its))).stdout(Stdio::null()).stderr(Stdio::inherit());
    // SAFETY: between fork and exec only setsid(2) and signal(2) are called, both async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            for ignored in warden::IGNORED {
                signal(ignored, SigHandler::SigIgn)?;
            }
            Ok(())
        });
    }
    Ok((command.spawn()?, own))
}
