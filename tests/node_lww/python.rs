//! The nodes under `tests/nodes/`: each keeps its header's word, so that what a harness says of it can be judged.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use crate::support::{Node, eventually, free_port, request, three};

fn script(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/nodes", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

fn python(name: &str) -> [String; 3] {
    // -B: nothing is written beside the scripts.
    ["python3".into(), "-B".into(), script(name)]
}

fn start_three(name: &str, root: &tempfile::TempDir) -> Vec<Node> {
    let command = python(name);
    let mut nodes = three(&command.each_ref().map(String::as_str), root.path());
    nodes.iter_mut().for_each(Node::start);
    nodes
}

fn start_one(name: &str, root: &tempfile::TempDir) -> Node {
    let command = python(name);
    let mut node = Node::new(&command.each_ref().map(String::as_str), "B", free_port(), &[], root.path());
    node.start();
    node
}

/// The answer to a read, as far as all of these nodes agree on it.
fn read(node: &Node, key: &str) -> Option<Json> {
    let text = format!("GET /get?key={key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (status, body) = node.request(&text).ok()?;
    let answer: Json = if status == 200 { serde_json::from_str(&body).unwrap() } else { return None };
    answer.get("value").cloned()
}

fn write(node: &Node, key: &str, value: impl Into<Json>) -> (u16, String) {
    node.post_text("/put", &json!({"key": key, "value": value.into()}).to_string())
}

/// Waits until every node reads the same for every key, and something.
fn agree(nodes: &[Node], keys: &[String]) {
    for key in keys {
        eventually(&format!("the nodes agree on {key}"), || {
            let values: Vec<_> = nodes.iter().map(|node| read(node, key)).collect();
            let settled = values[0].is_some() && values.iter().all(|value| *value == values[0]);
            if settled { Ok(()) } else { Err(format!("{values:?} {}", nodes[1].log())) }
        });
    }
}

/// Load, a pause, and a kill with everything lost from memory.
fn holds_its_word(name: &str) {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = start_three(name, &root);
    let keys: Vec<String> = (0..6).map(|n| format!("k{n}")).collect();
    let load = |nodes: &[&Node], round: &str| {
        std::thread::scope(|scope| {
            for node in nodes {
                let keys = &keys;
                scope.spawn(move || {
                    for n in 0..18 {
                        let (status, answer) = write(node, &keys[n % 6], format!("{round}-{}-{n}", node.id));
                        assert_eq!(status, 200, "{answer}");
                    }
                });
            }
        });
    };
    load(&nodes.iter().collect::<Vec<_>>(), "all");
    agree(&nodes, &keys);

    nodes[1].signal(Signal::SIGSTOP);
    load(&[&nodes[0], &nodes[2]], "paused");
    nodes[1].signal(Signal::SIGCONT);
    agree(&nodes, &keys);

    nodes[1].kill();
    load(&[&nodes[0]], "down");
    nodes[1].start();
    agree(&nodes, &keys);
    // Its clock is above all it has seen in its life before: what it writes now wins.
    for key in &keys {
        assert_eq!(write(&nodes[1], key, "afterwards").0, 200);
    }
    eventually("writes of the restarted node reach the others", || {
        let values: Vec<_> = nodes.iter().map(|node| read(node, "k5")).collect();
        if values.iter().all(|value| *value == Some(json!("afterwards"))) {
            Ok(())
        } else {
            Err(format!("{values:?}"))
        }
    });
}

#[test]
fn threading_ok() {
    holds_its_word("threading_ok.py");
}

#[test]
fn single_threaded() {
    holds_its_word("single_threaded.py");
}

#[test]
fn asyncio_node() {
    holds_its_word("asyncio_node.py");
}

#[test]
fn plaintext_put() {
    holds_its_word("plaintext_put.py");
    let root = tempfile::tempdir().unwrap();
    let node = start_one("plaintext_put.py", &root);
    assert_eq!(write(&node, "k", 1), (200, "OK".to_owned()));
}

#[test]
fn by_port() {
    holds_its_word("by_port.py");
}

#[test]
fn flasklike_sends_once() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = start_three("flasklike.py", &root);
    write(&nodes[0], "both up", 1);
    write(&nodes[0], "k", 1);
    agree(&nodes, &["k".to_owned()]);
    nodes[1].kill();
    write(&nodes[0], "missed", 2);
    eventually("C has it", || read(&nodes[2], "missed").ok_or_else(|| "not yet".to_owned()));
    nodes[1].start();
    write(&nodes[0], "later", 3);
    eventually("B hears of A again", || read(&nodes[1], "later").ok_or_else(|| "not yet".to_owned()));
    assert_eq!((read(&nodes[1], "missed"), read(&nodes[1], "k")), (None, None));
}

#[test]
fn nostatus_miss200_keeps_the_last_of_a_tie() {
    let root = tempfile::tempdir().unwrap();
    let node = start_one("nostatus_miss200.py", &root);
    let replicate = |value: &str, origin: &str| {
        let body = json!({"key": "k", "value": value, "ts": i64::MAX / 2, "origin": origin});
        assert_eq!(node.post_json("/replicate", &body).0, 200);
    };
    assert_eq!(node.get_json("/get?key=k"), (200, json!({"status": "not_found"})));
    replicate("higher origin", "C");
    replicate("lower origin", "A");
    assert_eq!(read(&node, "k"), Some(json!("lower origin")));
    assert_eq!(node.get_json("/status"), (200, json!({"status": "not_found"})), "there is no /status");
}

#[test]
fn no_receive_rule_loses_its_own_writes() {
    let root = tempfile::tempdir().unwrap();
    let node = start_one("no_receive_rule.py", &root);
    node.replicate("k", "theirs", 41, "A");
    let put = node.put("k", "ours");
    assert_eq!((&put["ts"], read(&node, "k")), (&json!(1), Some(json!("theirs"))));
}

#[test]
fn hostile_nodes_answer_as_badly_as_they_say() {
    let root = tempfile::tempdir().unwrap();
    let ask = |name: &str| {
        let node = start_one(&format!("hostile/{name}"), &root);
        let text = "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = request_bytes(node.port, text, Duration::from_secs(10));
        (node, answer)
    };
    let (_, answer) = ask("html_page.py");
    assert!(answer.starts_with(b"HTTP/1.0 200") && answer.ends_with(b"</html>"));
    let (_, answer) = ask("invalid_utf8.py");
    assert!(answer.starts_with(b"HTTP/1.0 200") && String::from_utf8(answer).is_err());
    let (_, answer) = ask("redirect_loop.py");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 307") && answer.contains("Location: /status\r\n"), "{answer}");
    let (node, answer) = ask("closes_mid_answer.py");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let announced = head.split("Content-Length: ").nth(1).unwrap().trim().parse::<usize>().unwrap();
    assert!(body.len() < announced && !body.is_empty(), "{answer}");
    drop(node);
    let (node, answer) = ask("big_answer.py");
    assert!(answer.len() > 10_000_000);
    assert_eq!(node.put("k", 1)["applied"], true, "it works all the same");
    for name in ["never_ready.py", "slow_30s.py"] {
        let node = start_one(&format!("hostile/{name}"), &root);
        let text = "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert_eq!(request_bytes(node.port, text, Duration::from_millis(500)), b"", "{name}");
    }
}

/// What comes back until the connection closes or is silent for `patience`.
fn request_bytes(port: u16, text: &str, patience: Duration) -> Vec<u8> {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // An error is the silence.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn hostile_nodes_start_as_badly_as_they_say() {
    let root = tempfile::tempdir().unwrap();
    let node = |name: &str| {
        let command = python(&format!("hostile/{name}"));
        Node::new(&command.each_ref().map(String::as_str), "B", free_port(), &[], root.path())
    };
    let output = node("exits_at_once.py").command().output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && message.starts_with("Traceback"), "{message}");
    let output = node("port_taken.py").command().output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("Address already in use"), "{message}");

    let floods = node("floods.py");
    let mut child = floods.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()).unwrap());
    let mut stdout = child.stdout.take().unwrap();
    let output = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
    eventually("it works after the flood", || {
        request(floods.port, "GET /status HTTP/1.0\r\n\r\n").map_err(|e| e.to_string())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let printed = output.join().unwrap() + errors.join().unwrap();
    assert!(printed >= 100_000_000, "{printed}");
}

#[cfg(target_os = "linux")]
#[test]
fn hostile_nodes_leave_the_processes_they_say() {
    let root = tempfile::tempdir().unwrap();
    // Theirs alone have this port in their command line.
    let alive = |port: u16| -> Vec<i32> {
        let words = format!("--port\0{port}\0");
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&words))
        })
        .collect()
    };
    let kill = |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);

    let mut node = start_one("hostile/forks.py", &root);
    assert_eq!(alive(node.port).len(), 2);
    node.signal(Signal::SIGTERM);
    node.wait();
    let left = alive(node.port);
    for pid in &left {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGTERM);
    }
    assert_eq!(left, alive(node.port), "it ignores SIGTERM");
    assert_eq!(left.len(), 1);
    left.iter().for_each(|pid| kill(*pid).unwrap());

    let command = python("hostile/daemonises.py");
    let node = Node::new(&command.each_ref().map(String::as_str), "D", free_port(), &[], root.path());
    assert!(node.command().status().unwrap().success());
    eventually("the daemon works", || {
        request(node.port, "GET /status HTTP/1.0\r\n\r\n").map_err(|e| e.to_string())
    });
    let left = alive(node.port);
    assert_eq!(left.len(), 1);
    left.iter().for_each(|pid| kill(*pid).unwrap());
}
