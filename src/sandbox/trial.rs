//! What is in force, found out by trying: a process goes into a jail as a node does, and does there what it must not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, Uid, fork};

use super::{Group, IN_FORCE, Isolation, Jail, Limits, Room, files, linux};

/// How long one trial may take; it is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// The limit of processes on trial, and how many are started against it at most.
const PROCESSES: (u64, usize) = (4, 24);
/// The limit of a file's size on trial.
const FILE_BYTES: u64 = 4096;

/// What a trial found: an answer to each of these, in this order.
const QUESTIONS: usize = 11;
const OWN_IS_WRITABLE: usize = 0;
const OTHERS_ARE_NOT: usize = 1;
const MODES_ARE_NOT: usize = 2;
const HIDDEN_IS_HIDDEN: usize = 3;
const NO_SIGNAL: usize = 4;
const NO_TRACE: usize = 5;
const NO_SHARED_MEMORY: usize = 6;
const NO_RIGHTS: usize = 7;
const OWN_USER: usize = 8;
const FEW_PROCESSES: usize = 9;
const SHORT_FILES: usize = 10;

type Found = [bool; QUESTIONS];

pub(super) fn probe() -> Isolation {
    let mut parts = BTreeMap::new();
    let network = no_network();
    parts.insert("net", network.clone().map_or_else(not, |()| IN_FORCE.to_owned()));
    let ground = match Ground::prepare() {
        Ok(ground) => ground,
        Err(error) => {
            for part in ["user", "mount", "pid", "ipc", "landlock"] {
                parts.insert(part, not(format!("it could not be tried: {error}")));
            }
            return Isolation { network: network.is_ok(), parts: owned(parts), ..Isolation::default() };
        }
    };
    let group = Group::create(
        &format!("harness-probe-{}", std::process::id()),
        &Limits { processes: Some(PROCESSES.0), memory: Some(1 << 30), cpu: Some(1.0), ..Limits::default() },
    );
    let landlock = files::probe();
    let roomy = ground.trial(&ground.jail(landlock, true), group.as_ref());
    let bare = match &roomy {
        Ok(_) => None,
        Err(_) => Some(ground.trial(&ground.jail(landlock, false), group.as_ref())),
    };
    let found = match (&roomy, &bare) {
        (Ok(found), _) | (_, Some(Ok(found))) => *found,
        _ => [false; QUESTIONS],
    };
    let mut part = |name, holds: bool, otherwise: &str| {
        parts.insert(name, if holds { IN_FORCE.to_owned() } else { not(otherwise) });
    };
    let spaces = [
        ("user", NO_RIGHTS, "rights were left to it"),
        ("mount", HIDDEN_IS_HIDDEN, "it saw what was hidden"),
        ("pid", NO_TRACE, "it reached a process that is not its own"),
        ("ipc", NO_SHARED_MEMORY, "it reached shared memory that is not its own"),
    ];
    for (name, question, otherwise) in spaces {
        match &roomy {
            Ok(found) => part(name, found[question], otherwise),
            Err(why) => part(name, false, why),
        }
    }
    part(
        "landlock",
        landlock.0 && landlock.1,
        "this kernel does not have it, or not for signals (Linux 6.12)",
    );
    part("processes", found[FEW_PROCESSES], "");
    part("file", found[SHORT_FILES], "it wrote a longer one");
    if !found[FEW_PROCESSES] {
        parts.insert("processes", "watched".to_owned());
    }
    let keeps = |controller| group.as_ref().is_some_and(|group| group.keeps(controller));
    parts.insert("memory", if keeps("memory") { IN_FORCE } else { "watched" }.to_owned());
    parts.insert("disk", "watched".to_owned());
    let cpu = if keeps("cpu") { IN_FORCE.to_owned() } else { not("no control group can be made") };
    parts.insert("cpu", cpu);
    Isolation {
        files: found[OWN_IS_WRITABLE] && found[OTHERS_ARE_NOT] && found[MODES_ARE_NOT],
        signals: found[NO_SIGNAL] && found[NO_TRACE],
        network: network.is_ok(),
        groups: keeps("pids") && keeps("memory") && keeps("cpu"),
        landlock: landlock.0,
        rooms: roomy.is_ok(),
        user: Uid::effective().is_root() && roomy.is_ok() && found[OWN_USER],
        parts: owned(parts),
    }
}

fn not(why: impl AsRef<str>) -> String {
    format!("not: {}", why.as_ref())
}

fn owned(parts: BTreeMap<&str, String>) -> BTreeMap<String, String> {
    parts.into_iter().map(|(name, state)| (name.to_owned(), state)).collect()
}

/// Whether nothing but loopback can be reached. Connecting a datagram socket looks for a way, and sends nothing.
fn no_network() -> Result<(), String> {
    if !linux::only_loopback() {
        return Err("there are network devices other than loopback".to_owned());
    }
    // Addresses for documentation (RFC 5737, RFC 3849): nobody has them.
    let reaches = |from: &str, to: &str| UdpSocket::bind(from).is_ok_and(|socket| socket.connect(to).is_ok());
    match reaches("0.0.0.0:0", "192.0.2.1:9") || reaches("[::]:0", "[2001:db8::1]:9") {
        true => Err("there is a way to addresses outside".to_owned()),
        false => Ok(()),
    }
}

/// A place to try things in.
struct Ground {
    base: PathBuf,
    /// A segment of shared memory that is not the node's.
    shared: libc::c_int,
}

impl Ground {
    fn prepare() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("harness-probe-{}-{number}", std::process::id());
        let base = std::env::temp_dir().canonicalize()?.join(name);
        fs::create_dir(&base)?;
        // SAFETY: shmget(2) takes three integers.
        let shared = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600 | libc::IPC_CREAT) };
        let ground = Ground { base, shared };
        for folder in ["own", "hidden"] {
            fs::create_dir(ground.base.join(folder))?;
        }
        for file in ["other", "hidden/secret"] {
            fs::write(ground.base.join(file), "theirs")?;
            fs::set_permissions(ground.base.join(file), fs::Permissions::from_mode(0o666))?;
        }
        if let Some(user) = ground.user() {
            std::os::unix::fs::chown(ground.base.join("own"), Some(user), Some(user))?;
        }
        Ok(ground)
    }

    /// Root can give a node a user of its own, if that one can get here.
    fn user(&self) -> Option<u32> {
        let open = super::closed_to_others(&self.base).is_none();
        (Uid::effective().is_root() && open).then(|| super::spare_user(0))
    }

    fn jail(&self, landlock: (bool, bool), room: bool) -> Jail {
        let own = self.base.join("own");
        let room = room.then(|| Room {
            own: own.clone(),
            hidden: vec![self.base.join("hidden")],
            user: self.user(),
            ..Room::default()
        });
        let limits = Limits { processes: Some(PROCESSES.0), file: Some(FILE_BYTES), ..Limits::default() };
        Jail { writable: landlock.0.then(|| vec![own]), room, limits }
    }

    /// Lets a process into the jail and asks it how it fared.
    fn trial(&self, jail: &Jail, group: Option<&Group>) -> Result<Found, String> {
        let failed = |error: &dyn std::fmt::Display| format!("it could not be tried: {error}");
        let victim = Victim::start().map_err(|errno| failed(&errno))?;
        let (answers, answer) = io::pipe().map_err(|error| failed(&error))?;
        let (complaints, complaint) = io::pipe().map_err(|error| failed(&error))?;
        let own = self.base.join("own");
        // SAFETY: the child makes system calls and allocates, which the C libraries of Linux allow after a fork; it takes no lock
        // that another thread could hold, and never returns.
        match unsafe { fork() }.map_err(|errno| failed(&errno))? {
            ForkResult::Child => {
                let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                // SAFETY: what went to standard error goes to whoever asks.
                unsafe { libc::dup2(complaint.as_raw_fd(), libc::STDERR_FILENO) };
                drop((answers, complaints, complaint));
                let entered = super::enter(jail, group, &own);
                if let Err(error) = &entered {
                    let _ = io::stderr().write_all(format!("{error}\n").as_bytes());
                } else {
                    let found = self.attempt(victim.0);
                    let mut answer = answer;
                    let _ = answer.write_all(&found.map(u8::from));
                }
                // SAFETY: _exit(2) is always allowed.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                drop((answer, complaint));
                let found = read_all(answers, PATIENCE);
                if found.is_none() {
                    let _ = killpg(child, Signal::SIGKILL);
                }
                let _ = waitpid(child, None);
                let found: Option<[u8; QUESTIONS]> = found.and_then(|bytes| bytes.try_into().ok());
                found.map(|found| found.map(|byte| byte == 1)).ok_or_else(|| {
                    let said = read_all(complaints, Duration::ZERO).unwrap_or_default();
                    let said = String::from_utf8_lossy(&said);
                    let line = said.lines().next().unwrap_or("the one who tried it did not come back");
                    line.trim_start_matches("isolation: ").to_owned()
                })
            }
        }
    }

    /// In the jail: does what a node must not do.
    fn attempt(&self, victim: Pid) -> Found {
        let (own, other) = (self.base.join("own"), self.base.join("other"));
        let opens = |path: &Path| fs::OpenOptions::new().write(true).open(path).is_ok();
        let mut found = [false; QUESTIONS];
        found[OWN_IS_WRITABLE] = fs::write(own.join("mine"), "mine").is_ok()
            && fs::rename(own.join("mine"), own.join("renamed")).is_ok();
        found[OTHERS_ARE_NOT] = !opens(&other)
            && fs::write(self.base.join("new"), "new").is_err()
            && fs::remove_file(&other).is_err();
        found[MODES_ARE_NOT] = fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).is_err();
        found[HIDDEN_IS_HIDDEN] = fs::read(self.base.join("hidden/secret")).is_err();
        found[NO_TRACE] = !traces(victim);
        found[NO_SIGNAL] = kill(victim, Signal::SIGKILL).is_err();
        found[NO_SHARED_MEMORY] = !self.reaches_shared_memory();
        found[NO_RIGHTS] = !has_rights();
        found[OWN_USER] = !Uid::effective().is_root();
        found[FEW_PROCESSES] = starts(PROCESSES.1) < PROCESSES.1;
        found[SHORT_FILES] = is_cut_short(&own.join("long"));
        found
    }

    fn reaches_shared_memory(&self) -> bool {
        if self.shared < 0 {
            return false;
        }
        // SAFETY: a shmid_ds of zeroes is a valid one, and outlives the call that fills it in.
        unsafe {
            let mut about: libc::shmid_ds = std::mem::zeroed();
            libc::shmctl(self.shared, libc::IPC_STAT, &raw mut about) == 0
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.shared >= 0 {
            // SAFETY: removing takes no third argument.
            unsafe { libc::shmctl(self.shared, libc::IPC_RMID, std::ptr::null_mut()) };
        }
        // Nothing is in it but what this process made.
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// Everything up to the end of the pipe; `None`: that did not come in time.
fn read_all(mut pipe: io::PipeReader, patience: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut read = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return None,
        }
        let mut buffer = [0; 512];
        match pipe.read(&mut buffer) {
            Ok(0) => return Some(read),
            Ok(count) => read.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// A process outside of the jail that nobody would miss. Killed when dropped.
struct Victim(Pid);

impl Victim {
    fn start() -> nix::Result<Self> {
        // SAFETY: the child makes system calls alone.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                // Somebody may wait for the end of a pipe whose end it would hold.
                // SAFETY: nothing is used any more in this process.
                unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
                loop {
                    nix::unistd::pause();
                }
            }
            ForkResult::Parent { child } => Ok(Self(child)),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// The trace ends with the one who asks for it.
fn traces(process: Pid) -> bool {
    nix::sys::ptrace::seize(process, nix::sys::ptrace::Options::empty()).is_ok()
}

/// Naming the machine what it is called already takes the rights of its administrator, and changes nothing.
fn has_rights() -> bool {
    nix::unistd::gethostname().is_ok_and(|name| nix::unistd::sethostname(name).is_ok())
}

/// How many processes can be started, up to `most`. All of them are ended.
fn starts(most: usize) -> usize {
    let mut started = Vec::new();
    while started.len() < most {
        // SAFETY: as where this process was made; the child only waits to be killed.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => loop {
                nix::unistd::pause();
            },
            Ok(ForkResult::Parent { child }) => started.push(child),
            Err(_) => break,
        }
    }
    for child in &started {
        let _ = kill(*child, Signal::SIGKILL);
        let _ = waitpid(*child, None);
    }
    started.len()
}

/// Whether a file cannot grow beyond the limit.
fn is_cut_short(path: &Path) -> bool {
    // SAFETY: ignoring runs no code.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    let Ok(file) = fs::File::create(path) else { return false };
    file.write_at(b"x", FILE_BYTES).is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_tells_a_jail_from_none() {
        let ground = Ground::prepare().unwrap();
        let open = ground.trial(&Jail::default(), None).unwrap();
        assert!(open[OWN_IS_WRITABLE] || ground.user().is_some());
        for question in
            [OTHERS_ARE_NOT, MODES_ARE_NOT, HIDDEN_IS_HIDDEN, NO_SIGNAL, FEW_PROCESSES, SHORT_FILES]
        {
            assert!(!open[question], "{question} holds without a jail");
        }
        drop(ground);

        let ground = Ground::prepare().unwrap();
        let jail = ground.jail((false, false), true);
        match ground.trial(&jail, None) {
            Ok(found) => {
                for question in
                    (0..QUESTIONS).filter(|question| ![OWN_USER, FEW_PROCESSES].contains(question))
                {
                    assert!(found[question], "{question} does not hold in a room");
                }
                assert!(found[FEW_PROCESSES] || ground.user().is_none());
                assert_eq!(fs::read_to_string(ground.base.join("other")).unwrap(), "theirs");
            }
            Err(why) => eprintln!("skipped: {why}"),
        }
    }
}
