//! The warden: a small process between the harness and the nodes, which sees to it that nothing outlives a run.
//!
//! It is the parent of every node and, on Linux, the subreaper of all their descendants: however often a node forks
//! and starts new sessions, what it leaves behind becomes the warden's child. The harness holds the other end of
//! a socket; when that end closes, for whatever reason, `kill -9` of the harness included, the warden kills everything
//! below itself until nothing is left, and goes.
//!
//! It has a session of its own and ignores what a terminal or a shutting-down system sends, so only SIGKILL ends it
//! early. Then the kernel kills the nodes (PR_SET_PDEATHSIG; that signal comes when the *thread* that forked ends,
//! which is why the warden has one thread alone), and the harness sweeps up the rest.
//!
//! An ended node stays a zombie until the harness has noted its end: its pid, and so its group's, cannot come to mean
//! another process while the harness may still signal it.

mod guard;
mod spawn;

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, killpg, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::process::{self, Pid};
use super::wire::{self, Inbox, Report, Request};
use crate::sandbox::Jail;
use guard::{Guard, Past};

/// Signals the warden ignores, and its nodes must not inherit ignored.
pub(crate) const IGNORED: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGPIPE,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// How long the warden goes on killing what does not die (a process in an uninterruptible wait dies when that ends).
const SWEEP_LIMIT: Duration = Duration::from_secs(60);

/// Where the SIGCHLD handler writes.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Serves the harness on stdin until it is gone, then kills everything that is left.
///
/// # Errors
/// When stdin is not the harness's socket, or the system refuses what the warden cannot do without.
pub fn serve() -> io::Result<()> {
    let stream = claim_socket()?;
    let mut warden = Warden::new(stream)?;
    // Whatever goes wrong, the sweep must follow.
    let outcome = catch_unwind(AssertUnwindSafe(|| warden.run()));
    warden.sweep();
    outcome.unwrap_or_else(|_| Err(io::Error::other("the warden panicked")))
}

/// Takes stdin as the socket to the harness and leaves /dev/null in its place.
fn claim_socket() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    let is_socket = nix::sys::socket::getsockopt(&stdin, nix::sys::socket::sockopt::SockType);
    if is_socket.is_err() {
        let what = "`harness warden` is started by the harness itself; there is nothing to do by hand";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let stream = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: both descriptors are open; what stdin meant has just been kept in `stream`.
    if unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stream)
}

extern "C" fn ring(_signal: libc::c_int) {
    // SAFETY: write(2) is async-signal-safe, the byte is valid, and the pipe never blocks; errno is put back
    // because the interrupted code may be about to read it.
    unsafe {
        let errno = nix::errno::Errno::last_raw();
        libc::write(BELL.load(Ordering::Relaxed), [0_u8].as_ptr().cast(), 1);
        nix::errno::Errno::set_raw(errno);
    }
}

struct Warden {
    stream: UnixStream,
    inbox: Inbox,
    /// Readable when a child has ended.
    bell: io::PipeReader,
    _bell_rope: io::PipeWriter,
    run: String,
    guarded_ports: BTreeSet<u16>,
    /// Nodes whose end the harness has not noted.
    nodes: Vec<Node>,
    guards: Vec<Guard>,
    /// Control groups of nodes, by id; gone with the warden, when nothing is in them any more.
    #[cfg(target_os = "linux")]
    groups: std::collections::BTreeMap<String, std::sync::Arc<crate::sandbox::Group>>,
}

struct Node {
    id: String,
    pid: Pid,
    /// Whether its end has been reported.
    ended: bool,
}

impl Warden {
    /// What a node is put into when it starts.
    #[cfg(target_os = "linux")]
    fn cell(&mut self, node: &str, jail: Jail) -> spawn::Cell {
        if !self.groups.contains_key(node) {
            let name = crate::sandbox::group_name(std::process::id(), node);
            let group = crate::sandbox::Group::create(&name, &jail.limits);
            self.groups.extend(group.map(|group| (node.to_owned(), group.into())));
        }
        spawn::Cell { jail, group: self.groups.get(node).cloned() }
    }

    #[cfg(not(target_os = "linux"))]
    fn cell(&mut self, _node: &str, jail: Jail) -> spawn::Cell {
        spawn::Cell { jail }
    }

    fn new(stream: UnixStream) -> io::Result<Self> {
        let (bell, rope) = io::pipe()?;
        for fd in [bell.as_fd(), rope.as_fd()] {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        }
        BELL.store(rope.as_raw_fd(), Ordering::Relaxed);
        let action = |handler| SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: `ring` is async-signal-safe.
        unsafe {
            sigaction(Signal::SIGCHLD, &action(SigHandler::Handler(ring)))?;
            for signal in IGNORED {
                sigaction(signal, &action(SigHandler::SigIgn))?;
            }
        }
        #[cfg(target_os = "linux")]
        {
            nix::sys::prctl::set_child_subreaper(true)?;
            // Executed from /proc/self/exe it would be called "exe".
            nix::sys::prctl::set_name(c"warden")?;
        }
        Ok(Self {
            stream,
            inbox: Inbox::default(),
            bell,
            _bell_rope: rope,
            run: String::new(),
            guarded_ports: BTreeSet::new(),
            nodes: Vec::new(),
            guards: Vec::new(),
            #[cfg(target_os = "linux")]
            groups: std::collections::BTreeMap::new(),
        })
    }

    /// Serves until the harness is gone.
    fn run(&mut self) -> io::Result<()> {
        wire::send(&self.stream, &Report::Ready, &[])?;
        loop {
            let (from_harness, child_ended) = self.wait()?;
            if from_harness.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
                // Requests may still be in the socket; nobody wants them carried out any more.
                return Ok(());
            }
            if child_ended {
                self.note_ends()?;
            }
            if from_harness.contains(PollFlags::POLLIN) {
                if !self.inbox.fill(&self.stream)? {
                    return Ok(());
                }
                while let Some(request) = self.inbox.next()? {
                    self.carry_out(request)?;
                }
            }
        }
    }

    /// Waits until there is something to do. Binds, connects and datagrams of guarded nodes are answered here.
    fn wait(&mut self) -> io::Result<(PollFlags, bool)> {
        let mut polled: Vec<PollFd<'_>> = [self.stream.as_fd(), self.bell.as_fd()]
            .into_iter()
            .chain(self.guards.iter().map(Guard::as_fd))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events: Vec<PollFlags> =
            polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        let mut guard_events = events[2..].iter();
        let ports = &self.guarded_ports;
        let mut reports = Vec::new();
        self.guards.retain_mut(|guard| {
            let events = guard_events.next().copied().unwrap_or(PollFlags::empty());
            if events.contains(PollFlags::POLLIN) {
                let past = guard.answer(ports);
                reports.extend(past.map(|past| (guard.node().to_owned(), past)));
                return true;
            }
            // Hung up: the last process under this guard is gone.
            events.is_empty()
        });
        for (node, Past { address, datagrams }) in reports {
            wire::send(&self.stream, &Report::Connects { node, address, datagrams }, &[])?;
        }
        Ok((events[0], !events[1].is_empty()))
    }

    fn carry_out(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Hello { run, guarded_ports } => {
                self.run = run;
                self.guarded_ports = guarded_ports.into_iter().collect();
            }
            Request::Start { node, argv, env, cwd, links, jail } => {
                let stdio: Option<[OwnedFd; wire::STDIO]> = self.inbox.take_fds();
                let Some(stdio) = stdio else {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a start came without its pipes"));
                };
                let guarded = !self.guarded_ports.is_empty();
                let cell = self.cell(&node, *jail);
                let report = match spawn::spawn(&argv, &env, &cwd, stdio, guarded, cell) {
                    Ok((pid, listener)) => {
                        let guard = listener.is_some();
                        let guarded = |listener| Guard::new(listener, node.clone(), links);
                        self.guards.extend(listener.and_then(guarded));
                        self.nodes.push(Node { id: node.clone(), pid, ended: false });
                        Report::Started { node, pid, guard }
                    }
                    Err(error) => Report::Refused { node, error: error.to_string() },
                };
                wire::send(&self.stream, &report, &[])?;
                // It may have ended before it was in the list.
                self.note_ends()?;
            }
            Request::Collect { pid } => {
                let known = self.nodes.iter().position(|node| node.pid == pid && node.ended);
                if let Some(index) = known {
                    self.nodes.swap_remove(index);
                    let _ = waitpid(nix::unistd::Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
                }
            }
        }
        Ok(())
    }

    /// Reports the nodes that have ended, and collects orphans.
    fn note_ends(&mut self) -> io::Result<()> {
        let mut rings = [0_u8; 64];
        while matches!(self.bell.read(&mut rings), Ok(count) if count == rings.len()) {}
        for node in self.nodes.iter_mut().filter(|node| !node.ended) {
            if let Some((code, signal)) = process::peek_end(node.pid)? {
                node.ended = true;
                let report = Report::Exited { node: node.id.clone(), pid: node.pid, code, signal };
                wire::send(&self.stream, &report, &[])?;
            }
        }
        let is_node = |pid: &Pid| self.nodes.iter().any(|node| node.pid == *pid);
        for orphan in process::children(std::process::id() as Pid).into_iter().filter(|pid| !is_node(pid)) {
            let _ = waitpid(nix::unistd::Pid::from_raw(orphan), Some(WaitPidFlag::WNOHANG));
        }
        Ok(())
    }

    /// Kills everything the run started, until nothing is left.
    fn sweep(&mut self) {
        for node in &self.nodes {
            let _ = killpg(nix::unistd::Pid::from_raw(node.pid), Signal::SIGKILL);
        }
        // Nobody answers a bind, connect or datagram from here on: whoever waits for an answer must be let go to die.
        self.guards.clear();
        let deadline = Instant::now() + SWEEP_LIMIT;
        let own = std::process::id() as Pid;
        while Instant::now() < deadline {
            let reaped = reap_all();
            let left = process::of_run(&process::table(), own, &self.run);
            let alive: Vec<Pid> =
                left.iter().filter(|process| process.is_alive()).map(|process| process.pid).collect();
            if alive.is_empty() && !reaped {
                return;
            }
            // SIGKILL ends stopped processes too: no SIGCONT is needed.
            for pid in alive {
                let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            }
            let mut bell = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut bell, 5_u8);
            let mut rings = [0_u8; 64];
            while matches!(self.bell.read(&mut rings), Ok(count) if count == rings.len()) {}
        }
    }
}

/// Collects every child that has ended. Whether there was one.
fn reap_all() -> bool {
    let mut any = false;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return any,
            Ok(_) => any = true,
        }
    }
}
