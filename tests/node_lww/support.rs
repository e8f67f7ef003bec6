//! Real node processes on free ports, and a plain HTTP client to talk to them.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

pub const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

/// Long enough for a machine that compiles beside the tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port that is free on every address and outside the range from which the kernel draws for outgoing connections,
/// so that it stays free while a node is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let draw = std::process::id().wrapping_mul(151) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (12_000 + draw % 18_000) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
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

/// One node: a command, a directory, a port. Killed when dropped.
pub struct Node {
    pub id: String,
    pub port: u16,
    pub dir: PathBuf,
    command: Vec<String>,
    child: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    /// A node that is not started yet. `command` is what stands before `--id`.
    pub fn new(command: &[&str], id: &str, port: u16, peers: &[u16], root: &Path) -> Self {
        let peers: Vec<_> = peers.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let mut command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let port_text = port.to_string();
        command.extend(["--id", id, "--port", &port_text, "--peers", &peers.join(",")].map(str::to_owned));
        let dir = root.join(id);
        std::fs::create_dir_all(&dir).unwrap();
        Node { id: id.to_owned(), port, dir, command, child: None }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it accepts connections.
    pub fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("stderr")).unwrap();
        let mut child = self.command().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        eventually(&format!("{} listens", self.id), || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{} ended with {status}: {}", self.id, self.log());
            }
            TcpStream::connect(("127.0.0.1", self.port)).map_err(|error| error.to_string())
        });
        self.child = Some(child);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = self.child.as_ref().unwrap().id();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("it ends", || child.try_wait().unwrap().ok_or_else(|| "still runs".to_owned()))
    }

    pub fn request(&self, text: &str) -> io::Result<(u16, String)> {
        request(self.port, text)
    }

    pub fn get_json(&self, path: &str) -> (u16, Json) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        parse(&self.request(&request).unwrap_or_else(|error| panic!("GET {path} of {}: {error}", self.id)))
    }

    pub fn post_json(&self, path: &str, body: &Json) -> (u16, Json) {
        parse(&self.post_text(path, &body.to_string()))
    }

    pub fn post_text(&self, path: &str, body: &str) -> (u16, String) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.request(&request).unwrap_or_else(|error| panic!("POST {path} to {}: {error}", self.id))
    }

    pub fn put(&self, key: &str, value: impl Into<Json>) -> Json {
        let (status, answer) = self.post_json("/put", &json!({"key": key, "value": value.into()}));
        assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
        answer
    }

    pub fn replicate(&self, key: &str, value: impl Into<Json>, ts: u64, origin: &str) -> Json {
        let body = json!({"key": key, "value": value.into(), "ts": ts, "origin": origin});
        let (status, answer) = self.post_json("/replicate", &body);
        assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
        answer
    }

    /// The value of `key`, `None` when the node has none.
    pub fn get(&self, key: &str) -> Option<Json> {
        let (status, mut answer) = self.get_json(&format!("/get?key={key}"));
        (status == 200).then(|| answer["value"].take())
    }

    pub fn store(&self) -> Json {
        self.get_json("/status").1["store"].take()
    }

    pub fn lamport(&self) -> u64 {
        self.get_json("/status").1["lamport"].as_u64().unwrap()
    }
}

/// One request on a connection of its own; the answer's status and body. The server has to close the connection.
pub fn request(port: u16, text: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).map_err(io::Error::other)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(answer.clone()))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other(head.to_owned()))?, body.to_owned()))
}

fn parse((status, body): &(u16, String)) -> (u16, Json) {
    (*status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
}

/// Three nodes A, B, C that know each other, not started yet.
pub fn three(command: &[&str], root: &Path) -> Vec<Node> {
    let ports = [free_port(), free_port(), free_port()];
    let others = |own: u16| ports.iter().copied().filter(|port| *port != own).collect::<Vec<_>>();
    ["A", "B", "C"]
        .into_iter()
        .zip(ports)
        .map(|(id, port)| Node::new(command, id, port, &others(port), root))
        .collect()
}
