//! Clusters of pubsub nodes: killed, stopped, cut off, and spoken to in lines.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

use crate::quorum::support::Link;
use crate::support::{HARNESS, eventually, free_port};

/// A line of HISTORY or MSG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub id: String,
    pub offset: u64,
    pub ts: u64,
    /// (corrected_ts, logical)
    pub hybrid: (u64, u64),
    pub clock: String,
    pub text: String,
}

impl Message {
    pub fn parse(line: &str, word: &str) -> Message {
        let parts: Vec<&str> = line.splitn(9, ' ').collect();
        assert_eq!((parts.len(), parts[0]), (9, word), "{line}");
        let number = |at: usize| parts[at].parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        Message {
            topic: parts[1].into(),
            id: parts[2].into(),
            offset: number(3),
            ts: number(4),
            hybrid: (number(5), number(6)),
            clock: parts[7].into(),
            text: parts[8].into(),
        }
    }
}

/// A connection to a node.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn to(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Client(BufReader::new(stream)))
    }

    pub fn send(&mut self, line: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    /// The next line; an error where the connection ended.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(line).and_then(|()| self.line()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn message(&mut self) -> Message {
        Message::parse(&self.line().unwrap(), "MSG")
    }

    /// The lines of HISTORY, or the ERR.
    pub fn history(&mut self, asked: &str) -> Result<Vec<Message>, String> {
        let mut line = self.ask(&format!("HISTORY {asked}"));
        let mut messages = Vec::new();
        while line.starts_with("HISTORY ") {
            messages.push(Message::parse(&line, "HISTORY"));
            line = self.line().unwrap();
        }
        if line == "OK history_end" { Ok(messages) } else { Err(line) }
    }
}

/// A node process. Killed when dropped.
pub struct Node {
    pub id: String,
    pub port: u16,
    words: Vec<String>,
    dir: PathBuf,
    child: Option<Child>,
    pub skew_ms: i64,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.join("stderr")).unwrap();
        let child = Command::new(HARNESS)
            .args(["node", "pubsub", "--id", &self.id, "--config", "cluster.yaml", "--data-root", "data"])
            .args(&self.words)
            .env("NODE_CLOCK_SKEW_MS", self.skew_ms.to_string())
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        eventually(&format!("{} listens", self.id), || {
            Client::to(self.port).map_err(|error| error.to_string())
        });
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// SIGTERM; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.take().unwrap().wait().unwrap().code()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.as_ref().unwrap().id() as i32), signal).unwrap();
    }

    pub fn client(&self) -> Client {
        Client::to(self.port).unwrap_or_else(|error| panic!("{}: {error}", self.id))
    }

    /// STATUS; null where it does not answer.
    pub fn status(&self) -> Json {
        let answer = Client::to(self.port).and_then(|mut client| {
            client.send("STATUS")?;
            client.line()
        });
        answer.map_or(Json::Null, |line| serde_json::from_str(&line).unwrap())
    }
}

/// Nodes n1, n2 …, with a link for each ordered pair.
pub struct Cluster {
    pub nodes: Vec<Node>,
    links: Vec<Vec<Option<Link>>>,
}

impl Cluster {
    pub fn start(count: usize, words: &[&str], root: &Path) -> Cluster {
        let mut cluster = Cluster::new(count, words, root);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster
    }

    pub fn new(count: usize, words: &[&str], root: &Path) -> Cluster {
        let ports: Vec<[u16; 3]> = (0..count).map(|_| [free_port(), free_port(), free_port()]).collect();
        let way = |from: usize, to: usize| (from != to).then(|| Link::to(ports[to][1]));
        let links: Vec<Vec<_>> =
            (0..count).map(|from| (0..count).map(|to| way(from, to)).collect()).collect();
        let node = |from: usize| {
            let row = |to: usize| {
                let [port, rpc, timesync] = ports[to];
                let rpc = links[from][to].as_ref().map_or(rpc, |link| link.port);
                format!(
                    "  - id: n{}\n    host: 127.0.0.1\n    port: {port}\n    rpc_port: {rpc}\n    timesync_port: {timesync}\n",
                    to + 1
                )
            };
            let table: String = (0..count).map(row).collect();
            let dir = root.join(format!("n{}", from + 1));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cluster.yaml"), format!("nodes:\n{table}")).unwrap();
            let words = words.iter().map(|&word| word.to_owned()).collect();
            Node { id: format!("n{}", from + 1), port: ports[from][0], words, dir, child: None, skew_ms: 0 }
        };
        Cluster { nodes: (0..count).map(node).collect(), links }
    }

    pub fn others(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| *at != node).collect()
    }

    /// Waits until all of `among` follow one of them that has committed in its term; which it is.
    pub fn leader_among(&self, among: &[usize]) -> usize {
        eventually("one leads", || {
            let all: Vec<Json> = among.iter().map(|&at| self.nodes[at].status()).collect();
            let leader = all.iter().position(|status| status["role"] == "leader");
            let followed = leader.filter(|&leader| {
                all.iter().all(|status| {
                    (&status["leader"], &status["term"]) == (&all[leader]["id"], &all[leader]["term"])
                })
            });
            followed.map(|leader| among[leader]).ok_or_else(|| format!("{all:?}"))
        })
    }

    pub fn leader(&self) -> usize {
        self.leader_among(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// Cuts one node off, or lets it back in.
    pub fn isolate(&self, node: usize, cut: bool) {
        for other in self.others(node) {
            for (from, to) in [(node, other), (other, node)] {
                self.links[from][to].as_ref().unwrap().cut(cut);
            }
        }
    }

    /// Waits until all nodes have applied the same; that topic as all of them show it.
    pub fn agree(&self, topic: &str) -> Vec<Message> {
        eventually("all have applied the same", || {
            let all: Vec<Json> = self.nodes.iter().map(Node::status).collect();
            let state = |at: usize| (&all[at]["applied_index"], &all[at]["last_index"], &all[at]["digest"]);
            let same = all.iter().enumerate().all(|(at, status)| {
                status["applied_index"] == status["last_index"] && !status.is_null() && state(at) == state(0)
            });
            if same { Ok(()) } else { Err(format!("{all:?}")) }
        });
        self.nodes[0].client().history(&format!("{topic} 1000000")).unwrap()
    }

    /// Publishes at whichever node takes it until that succeeds; the answer.
    pub fn publish(&self, topic: &str, id: &str) -> String {
        eventually("a message is published", || {
            let mut last = String::new();
            for node in &self.nodes {
                let Ok(mut client) = Client::to(node.port) else { continue };
                let line = format!("PUB {topic} --id {id} text of {id}");
                match client.send(&line).and_then(|()| client.line()) {
                    Ok(answer) if answer.starts_with("OK ") => return Ok(answer),
                    other => last = format!("{other:?}"),
                }
            }
            Err(last)
        })
    }
}

pub fn ids(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.id.as_str()).collect()
}
