//! Clusters of quorum nodes: asked, written to, and cut in two.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value as Json, json};

use crate::support::{HARNESS, Node, eventually, free_port, request};

/// Three nodes, n1 to n3.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

/// What stands before `--id`.
pub fn command<'a>(w: &'a str, r: &'a str, bug: &'a str) -> Vec<&'a str> {
    let mut words = vec![HARNESS, "node", "quorum", "--write-quorum", w, "--read-quorum", r];
    if !bug.is_empty() {
        words.extend(["--bug", bug]);
    }
    words
}

impl Cluster {
    pub fn start(words: &[&str], root: &Path) -> Cluster {
        let ports = [free_port(), free_port(), free_port()];
        Cluster::start_with(words, root, ports, |from, to| if from == to { None } else { Some(ports[to]) })
    }

    /// `way` says at which port a node is told that another is.
    pub fn start_with(
        words: &[&str],
        root: &Path,
        ports: [u16; 3],
        way: impl Fn(usize, usize) -> Option<u16>,
    ) -> Cluster {
        let node = |from: usize| {
            let peers: Vec<u16> = (0..3).filter_map(|to| way(from, to)).collect();
            Node::new(words, &format!("n{}", from + 1), ports[from], &peers, root)
        };
        let mut nodes: Vec<Node> = (0..3).map(node).collect();
        nodes.iter_mut().for_each(Node::start);
        Cluster { nodes }
    }

    /// Waits until those of `among` know one leader among them that takes writes; which it is.
    pub fn leader_among(&self, among: &[usize]) -> usize {
        eventually("one leads", || {
            let statuses: Vec<Json> = among.iter().map(|&at| status(&self.nodes[at])).collect();
            let leader = statuses.iter().position(|status| status["role"] == "leader");
            let agreed = leader.filter(|&leader| {
                let (id, term) = (&statuses[leader]["nodeId"], &statuses[leader]["term"]);
                statuses.iter().all(|status| status["leaderId"] == *id && status["term"] == *term)
            });
            agreed.map(|leader| among[leader]).ok_or_else(|| format!("{statuses:?}"))
        })
    }

    pub fn leader(&self) -> usize {
        self.leader_among(&[0, 1, 2])
    }

    /// Waits until all hold the same, and that is what `expected` accepts.
    pub fn agree(&self, expected: impl Fn(&Json) -> bool) -> Json {
        eventually("the replicas agree", || {
            let stores: Vec<Json> = self.nodes.iter().map(store).collect();
            let agreed = stores.iter().all(|store| *store == stores[0]) && expected(&stores[0]);
            if agreed { Ok(stores[0].clone()) } else { Err(format!("{stores:#?}")) }
        })
    }

    pub fn others(&self, than: usize) -> [usize; 2] {
        [(than + 1) % 3, (than + 2) % 3]
    }
}

/// `/status`; null where nobody answers.
pub fn status(node: &Node) -> Json {
    ask(node, "GET", "/status", "").map_or(Json::Null, |(_, answer)| answer)
}

/// What a node holds, tombstones included.
pub fn store(node: &Node) -> Json {
    let mut status = status(node);
    json!({"store": status["store"].take(), "tombstones": status["tombstones"].take()})
}

pub fn ask(node: &Node, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Json)> {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = request(node.port, &text)?;
    Ok((status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"))))
}

pub fn put(node: &Node, key: &str, value: impl Into<Json>) -> (u16, Json) {
    ask(node, "PUT", &format!("/key/{key}"), &value.into().to_string()).unwrap()
}

/// A write that has to succeed; its version.
pub fn put_ok(node: &Node, key: &str, value: impl Into<Json>) -> u64 {
    let (status, answer) = put(node, key, value);
    assert_eq!((status, &answer["success"], &answer["achievedQuorum"]), (200, &json!(true), &json!(true)));
    answer["version"].as_u64().unwrap()
}

/// Writes at whichever node leads until that succeeds: leaders change while a machine is busy. Where it was.
pub fn put_somewhere(cluster: &Cluster, key: &str, value: impl Into<Json> + Clone) -> (usize, u64) {
    eventually("a write succeeds", || {
        let mut last = String::new();
        for (at, node) in cluster.nodes.iter().enumerate() {
            match ask(node, "PUT", &format!("/key/{key}"), &value.clone().into().to_string()) {
                Ok((200, answer)) => return Ok((at, answer["version"].as_u64().unwrap())),
                other => last = format!("{other:?}"),
            }
        }
        Err(last)
    })
}

pub fn read(node: &Node, key: &str, query: &str) -> (u16, Json) {
    ask(node, "GET", &format!("/key/{key}?{query}"), "").unwrap()
}

/// The value at a level; `None` for 404; panics for anything else.
pub fn value(node: &Node, key: &str, query: &str) -> Option<Json> {
    match read(node, key, query) {
        (200, mut answer) => Some(answer["value"].take()),
        (404, _) => None,
        other => panic!("{key}?{query} at {}: {other:?}", node.id),
    }
}

pub fn internal(node: &Node, message: &str, body: &Json) -> (u16, Json) {
    ask(node, "POST", &format!("/internal/{message}"), &body.to_string()).unwrap()
}

/// Gives one replica a version behind the leader's back.
pub fn repair(node: &Node, key: &str, value: impl Into<Json>, version: u64) {
    let item = json!({"item": {"key": key, "value": value.into(), "version": version}});
    assert_eq!(internal(node, "repair", &item).0, 200);
}

/// A way from one node to another that can be cut: bytes wait, as on a silent network.
pub struct Link {
    pub port: u16,
    gate: Arc<Gate>,
}

/// Shut while the link is cut. Whoever waits there sleeps: a cut link gathers hundreds of connections.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Link {
    pub fn to(target: u16) -> Link {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let held = Arc::clone(&held);
                    std::thread::spawn(move || forward(from, to, &held));
                }
            }
        });
        Link { port, gate }
    }

    pub fn cut(&self, cut: bool) {
        *self.gate.shut.lock().unwrap() = cut;
        self.gate.opened.notify_all();
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut bytes = [0; 16 << 10];
    loop {
        let count = from.read(&mut bytes).unwrap_or(0);
        drop(gate.opened.wait_while(gate.shut.lock().unwrap(), |shut| *shut).unwrap());
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            // The other end may be gone already.
            let _ = to.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// A cluster with a link for each pair of nodes.
pub struct Linked {
    pub cluster: Cluster,
    links: Vec<Vec<Option<Link>>>,
}

impl Linked {
    pub fn start(words: &[&str], root: &Path) -> Linked {
        let ports = [free_port(), free_port(), free_port()];
        let links: Vec<Vec<Option<Link>>> =
            (0..3).map(|from| (0..3).map(|to| (from != to).then(|| Link::to(ports[to]))).collect()).collect();
        let cluster = Cluster::start_with(words, root, ports, |from, to| {
            links[from][to].as_ref().map(|link| link.port)
        });
        Linked { cluster, links }
    }

    /// Cuts one node off, or lets it back in.
    pub fn isolate(&self, node: usize, cut: bool) {
        for other in self.cluster.others(node) {
            for (from, to) in [(node, other), (other, node)] {
                self.links[from][to].as_ref().unwrap().cut(cut);
            }
        }
    }
}
