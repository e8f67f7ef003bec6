//! Chats of real processes: told lines, listened to, and reached by each other over ways that lose and cut.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

pub const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

/// Long enough for a machine that compiles beside the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free for UDP and TCP, outside the range from which the kernel draws.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let draw = std::process::id().wrapping_mul(173) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (12_000 + draw % 18_000) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Polls until `condition` gives something; panics with what it last said when that takes too long.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(last) => assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {last}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One process of a chat. Killed when dropped.
pub struct Process {
    pub id: String,
    dir: PathBuf,
    command: Vec<String>,
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    /// What its present run printed.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    pub fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("stderr")).unwrap();
        let mut child = Command::new(HARNESS)
            .args(["node", "broadcast", "--id", &self.id, "--config", "peers"])
            .args(&self.command)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        self.stdin = child.stdin.take();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        self.lines = Arc::clone(&lines);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line));
        });
        self.child = Some(child);
    }

    /// A line on its stdin. A process that was just killed does not hear it.
    pub fn say(&mut self, text: &str) {
        let _ = self.stdin.as_mut().unwrap().write_all(format!("{text}\n").as_bytes());
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The lines that begin with `word`, without it.
    pub fn told(&self, word: &str) -> Vec<String> {
        let lines = self.lines();
        let start = format!("{word} ");
        lines.iter().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
    }

    /// Delivered texts, in order.
    pub fn texts(&self) -> Vec<String> {
        let text = |line: &String| line.splitn(4, ' ').nth(3).unwrap().to_owned();
        self.told("DELIVER").iter().map(text).collect()
    }

    /// Waits until it has delivered a text.
    pub fn hears(&self, text: &str) {
        eventually(&format!("{} delivers {text:?}", self.id), || {
            if self.texts().iter().any(|heard| heard == text) { Ok(()) } else { Err(self.tail()) }
        });
    }

    /// Waits for a line that begins with `word` and has `part` in it.
    pub fn tells(&self, word: &str, part: &str) {
        eventually(&format!("{} tells {word} … {part}", self.id), || {
            let found = self.told(word).iter().any(|line| line.contains(part));
            if found { Ok(()) } else { Err(self.tail()) }
        });
    }

    fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// The members of its latest view.
    pub fn members(&self) -> String {
        self.told("VIEW")
            .last()
            .map_or_else(String::new, |view| view.splitn(4, ' ').nth(3).unwrap().to_owned())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("it ends", || child.try_wait().unwrap().ok_or_else(|| "still runs".to_owned()))
    }
}

/// A way for datagrams from one process to another.
pub struct Way {
    port: u16,
    state: Arc<WayState>,
}

#[derive(Default)]
struct WayState {
    cut: AtomicBool,
    /// Of 1000 datagrams so many are lost, and as many are doubled.
    loss: AtomicU64,
}

impl Way {
    /// It ends with the test's process.
    fn to(target: u16, seed: u64) -> Way {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let state = Arc::<WayState>::default();
        let held = Arc::clone(&state);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            let mut draw = seed;
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let chance = (draw >> 33) % 1000;
                let loss = held.loss.load(Ordering::Relaxed);
                if held.cut.load(Ordering::Relaxed) || chance < loss {
                    continue;
                }
                let copies = if chance >= 1000 - loss { 2 } else { 1 };
                for _ in 0..copies {
                    let _ = socket.send_to(&buffer[..length], ("127.0.0.1", target));
                }
            }
        });
        Way { port, state }
    }
}

/// Processes p1, p2, … that know each other.
pub struct Chat {
    pub processes: Vec<Process>,
    ways: Vec<Vec<Option<Way>>>,
}

impl Chat {
    /// With a way of its own for each pair, and `flags` after the others. By TCP they reach each other directly.
    pub fn start(n: usize, flags: &[&str], root: &Path) -> Chat {
        let mut chat = Chat::new(n, flags, root);
        chat.processes.iter_mut().for_each(Process::start);
        chat.whole();
        chat
    }

    /// Nobody is started yet.
    pub fn new(n: usize, flags: &[&str], root: &Path) -> Chat {
        let ports: Vec<u16> = (0..n).map(|_| free_port()).collect();
        let direct = flags.contains(&"--tcp");
        let ways: Vec<Vec<Option<Way>>> = (0..n)
            .map(|from| {
                let way = |to: usize| Way::to(ports[to], (from * n + to) as u64);
                (0..n).map(|to| (from != to && !direct).then(|| way(to))).collect()
            })
            .collect();
        let processes = (0..n).map(|me| {
            let id = format!("p{}", me + 1);
            let dir = root.join(&id);
            std::fs::create_dir_all(&dir).unwrap();
            let row = |to: usize| {
                let port = ways[me][to].as_ref().map_or(ports[to], |way: &Way| way.port);
                format!("p{} 127.0.0.1 {port}\n", to + 1)
            };
            std::fs::write(dir.join("peers"), (0..n).map(row).collect::<String>()).unwrap();
            let command = flags.iter().map(|&flag| flag.to_owned()).collect();
            Process { id, dir, command, child: None, stdin: None, lines: Arc::default() }
        });
        Chat { processes: processes.collect(), ways }
    }

    /// Waits until all are in a view of all.
    pub fn whole(&self) {
        let all = self.ids();
        self.view(&(0..self.processes.len()).collect::<Vec<_>>(), &all);
    }

    fn ids(&self) -> String {
        let mut ids: Vec<&str> = self.processes.iter().map(|process| process.id.as_str()).collect();
        ids.sort_unstable();
        ids.join(",")
    }

    /// Waits until these are in a view of `members`.
    pub fn view(&self, ranks: &[usize], members: &str) {
        for &rank in ranks {
            let process = &self.processes[rank];
            eventually(&format!("{} is in a view of {members}", process.id), || {
                if process.members() == members { Ok(()) } else { Err(process.tail()) }
            });
        }
    }

    /// So many of 1000 datagrams are lost on each way, and as many are doubled.
    pub fn lose(&self, loss: u64) {
        let ways = self.ways.iter().flatten().flatten();
        ways.for_each(|way| way.state.loss.store(loss, Ordering::Relaxed));
    }

    /// The same for what one process sends.
    pub fn lose_from(&self, rank: usize, loss: u64) {
        let ways = self.ways[rank].iter().flatten();
        ways.for_each(|way| way.state.loss.store(loss, Ordering::Relaxed));
    }

    /// The same for what is sent to one process.
    pub fn lose_to(&self, rank: usize, loss: u64) {
        let ways = self.ways.iter().filter_map(|ways| ways[rank].as_ref());
        ways.for_each(|way| way.state.loss.store(loss, Ordering::Relaxed));
    }

    /// Cuts one process off, or lets it back in.
    pub fn isolate(&self, rank: usize, cut: bool) {
        for other in (0..self.processes.len()).filter(|other| *other != rank) {
            for (from, to) in [(rank, other), (other, rank)] {
                self.ways[from][to].as_ref().unwrap().state.cut.store(cut, Ordering::Relaxed);
            }
        }
    }

    /// Waits until these have delivered `count` messages; they must be the same, in the same order. The texts.
    pub fn agree(&self, ranks: &[usize], count: usize) -> Vec<String> {
        for &rank in ranks {
            let process = &self.processes[rank];
            eventually(&format!("{} delivers {count}", process.id), || {
                let got = process.told("DELIVER").len();
                if got >= count { Ok(()) } else { Err(format!("{got}: {}", process.tail())) }
            });
        }
        let deliveries: Vec<_> = ranks.iter().map(|&rank| self.processes[rank].told("DELIVER")).collect();
        for other in &deliveries {
            assert_eq!(*other, deliveries[0]);
        }
        self.processes[ranks[0]].texts()
    }
}
