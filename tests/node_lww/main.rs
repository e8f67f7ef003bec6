//! `harness node lww` and `harness client` as processes, over real sockets.

mod bugs;
/// `harness node pubsub`, and
#[path = "../node_pubsub/mod.rs"]
mod pubsub;
mod python;
/// `harness node quorum`: in this binary, since each one links the whole crate.
#[path = "../node_quorum/mod.rs"]
mod quorum;
mod support;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use support::{HARNESS, Node, eventually, free_port, three};

const LWW: [&str; 3] = [HARNESS, "node", "lww"];

fn single(root: &tempfile::TempDir) -> Node {
    let mut node = Node::new(&LWW, "A", free_port(), &[], root.path());
    node.start();
    node
}

/// Waits until all have the same store; returns it.
fn agreed(nodes: &[Node]) -> Json {
    eventually("the nodes agree", || {
        let stores: Vec<_> = nodes.iter().map(Node::store).collect();
        if stores.iter().all(|store| *store == stores[0]) {
            return Ok(stores[0].clone());
        }
        Err(format!("{stores:#?}"))
    })
}

#[test]
fn the_interface_is_the_lab_s() {
    let root = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut node = Node::new(&LWW, "A", port, &[1, 2], root.path());
    node.start();

    let put = node.post_json("/put", &json!({"key": "k 1", "value": {"a": [1, null]}}));
    let expected = json!({"ok": true, "node": "A", "key": "k 1", "value": {"a": [1, null]}, "ts": 1, "origin": "A",
                          "applied": true, "lamport": 1});
    assert_eq!(put, (200, expected));
    let got = node.get_json("/get?key=k%201");
    let expected = json!({"ok": true, "node": "A", "key": "k 1", "value": {"a": [1, null]}, "ts": 1, "origin": "A",
                          "lamport": 1});
    assert_eq!(got, (200, expected));
    assert_eq!(
        node.replicate("r", 7, 9, "B"),
        json!({"ok": true, "node": "A", "applied": true, "lamport": 10})
    );
    assert_eq!(
        node.replicate("r", 8, 8, "C"),
        json!({"ok": true, "node": "A", "applied": false, "lamport": 11})
    );
    let status = node.get_json("/status");
    let expected = json!({"ok": true, "node": "A", "lamport": 11,
        "store": {"k 1": {"value": {"a": [1, null]}, "ts": 1, "origin": "A"}, "r": {"value": 7, "ts": 9, "origin": "B"}},
        "peers": ["http://127.0.0.1:1", "http://127.0.0.1:2"]});
    assert_eq!(status, (200, expected));
    let (status, missing) = node.get_json("/get?key=nope");
    assert_eq!((status, &missing["ok"], &missing["error"]), (404, &json!(false), &json!("not found")));
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let node = single(&root);
    let cases = [
        ("/put", "", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
        ("/put", "[1]", "the body is not a JSON object"),
        ("/put", r#"{"value":1}"#, "the body has no \"key\""),
        ("/put", r#"{"key":["a"],"value":1}"#, "\"key\" is [\"a\"], expected a string"),
        ("/put", r#"{"key":"a"}"#, "the body has no \"value\""),
        ("/replicate", r#"{"key":"a","value":1,"origin":"B"}"#, "the body has no \"ts\""),
        (
            "/replicate",
            r#"{"key":"a","value":1,"origin":"B","ts":-1}"#,
            "\"ts\" is -1, expected an integer from 0 to 2^53",
        ),
        (
            "/replicate",
            r#"{"key":"a","value":1,"origin":"B","ts":18446744073709551615}"#,
            "\"ts\" is 18446744073709551615, expected an integer from 0 to 2^53",
        ),
        ("/replicate", r#"{"key":"a","value":1,"ts":3}"#, "the body has no \"origin\""),
    ];
    for (path, body, why) in cases {
        let (status, answer) = node.post_text(path, body);
        let expected = json!({"ok": false, "error": why, "node": "A"});
        assert_eq!((status, serde_json::from_str(&answer).unwrap()), (400, expected), "{path} {body}");
    }
    assert_eq!(node.get_json("/get").0, 400);
    assert_eq!(node.get_json("/nowhere").0, 404);
    assert_eq!(node.get_json("/put").0, 405);
    assert_eq!(node.post_json("/status", &json!({})).0, 405);
    let (status, answer) =
        node.post_text("/put", &format!("{{\"key\":\"k\",\"value\":\"{}\"}}", "x".repeat(9 << 20)));
    assert_eq!((status, answer.contains("\"ok\":false")), (413, true), "{answer}");
    assert_eq!(node.store(), json!({}), "nothing of it came in");
}

#[test]
fn clients_of_any_age_are_served() {
    let root = tempfile::tempdir().unwrap();
    let node = single(&root);
    let body = r#"{"key":"k","value":1}"#;
    let old = format!("POST /put HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(node.request(&old).unwrap().0, 200);
    assert_eq!(node.request("GET /get?key=k HTTP/1.0\r\n\r\n").unwrap().0, 200);
    let chunked = format!(
        "POST /put HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(node.request(&chunked).unwrap().0, 200);
}

#[test]
fn three_nodes_converge_on_the_highest_version() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = three(&LWW, root.path());
    nodes.iter_mut().for_each(Node::start);
    let acked: Vec<Json> = std::thread::scope(|scope| {
        let writers: Vec<_> = nodes
            .iter()
            .flat_map(|node| [(node, 0), (node, 1)])
            .map(|(node, writer)| {
                scope.spawn(move || {
                    let put = |n: usize| node.put(&format!("k{}", n % 4), format!("{}{writer}-{n}", node.id));
                    (0..40).map(put).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let version = |put: &Json| (put["ts"].as_u64().unwrap(), put["origin"].as_str().unwrap().to_owned());
    let mut versions: Vec<_> = acked.iter().map(version).collect();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), acked.len(), "every write has a version of its own");
    let store = agreed(&nodes);
    for key in ["k0", "k1", "k2", "k3"] {
        let newest = acked.iter().filter(|put| put["key"] == key).max_by_key(|put| version(put)).unwrap();
        let expected = json!({"value": newest["value"], "ts": newest["ts"], "origin": newest["origin"]});
        assert_eq!(store[key], expected, "{key}");
    }
}

#[test]
fn a_killed_node_keeps_what_it_acknowledged_and_its_clock() {
    let root = tempfile::tempdir().unwrap();
    let mut node = single(&root);
    node.replicate("k0", 0, 500, "B");
    for round in 0..3 {
        // Killed with writers at work: what they were told must be there, what they were not told may be.
        let acked = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (acked, port) = (&acked, node.port);
                scope.spawn(move || {
                    for n in 0.. {
                        let key = format!("r{round}w{writer}n{n}");
                        let body = json!({"key": key, "value": n}).to_string();
                        let text = format!(
                            "POST /put HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        let Ok((200, answer)) = support::request(port, &text) else { return };
                        let answer: Json = serde_json::from_str(&answer).unwrap();
                        acked.lock().unwrap().push((key, n, answer["ts"].as_u64().unwrap()));
                    }
                });
            }
            eventually("writes are acknowledged", || {
                let count = acked.lock().unwrap().len();
                if count >= 20 { Ok(()) } else { Err(count.to_string()) }
            });
            node.kill();
        });
        node.start();
        let store = node.store();
        let acked = acked.into_inner().unwrap();
        for (key, value, ts) in &acked {
            assert_eq!(store[key], json!({"value": value, "ts": ts, "origin": "A"}), "{key}");
        }
        let highest = acked.iter().map(|(_, _, ts)| *ts).max().unwrap();
        assert!(node.put("after", round)["ts"].as_u64().unwrap() > highest.max(500));
    }
}

#[test]
fn a_restarted_node_catches_up_and_others_learn_what_it_had_yet_to_tell() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = three(&LWW, root.path());
    nodes[0].start();
    // Nobody listens yet: A has to remember both across its crash.
    nodes[0].put("early", 1);
    nodes[0].kill();
    nodes.iter_mut().for_each(Node::start);
    assert_eq!(agreed_on(&nodes, "early"), json!(1));
    nodes[1].kill();
    nodes[0].put("missed", 2);
    nodes[2].put("early", 3);
    nodes[1].start();
    assert_eq!(agreed_on(&nodes, "missed"), json!(2));
    let store = agreed(&nodes);
    assert_eq!(store["early"]["value"], json!(3));
    let highest =
        store.as_object().unwrap().values().map(|entry| entry["ts"].as_u64().unwrap()).max().unwrap();
    assert!(nodes[1].put("early", 4)["ts"].as_u64().unwrap() > highest);
    assert_eq!(agreed_on(&nodes, "early"), json!(4));
}

/// Waits until all have one value for `key`.
fn agreed_on(nodes: &[Node], key: &str) -> Json {
    eventually(&format!("the nodes agree on {key}"), || {
        let values: Vec<_> = nodes.iter().map(|node| node.get(key)).collect();
        match &values[0] {
            Some(value) if values.iter().all(|other| other.as_ref() == Some(value)) => Ok(value.clone()),
            _ => Err(format!("{values:?}")),
        }
    })
}

#[test]
fn a_peer_that_accepts_and_never_answers_holds_up_nobody_and_is_told_when_it_is_back() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = three(&LWW, root.path());
    let silent = TcpListener::bind(("127.0.0.1", nodes[2].port)).unwrap();
    nodes[0].start();
    nodes[1].start();
    for n in 0..20 {
        nodes[0].put(&format!("k{n}"), n);
    }
    agreed(&nodes[..2]);
    // A cut link: connections open and nothing comes back. Held until both have tried more often than they may at one
    // time, so that none of what they wait for was begun before they gave up on something.
    let mut held = Vec::new();
    while held.len() < 24 {
        held.push(silent.accept().unwrap());
    }
    drop((silent, held));
    nodes[2].start();
    let healed = Instant::now();
    assert_eq!(agreed(&nodes).as_object().unwrap().len(), 20);
    // 1.5 s when the machine is quiet; the bound tells retries from waiting for ever.
    println!("caught up {:?} after the heal", healed.elapsed());
    assert!(healed.elapsed() < Duration::from_secs(8), "{:?}", healed.elapsed());
}

#[test]
fn a_torn_tail_is_cut_off_and_damage_elsewhere_stops_the_node() {
    let root = tempfile::tempdir().unwrap();
    let mut node = single(&root);
    let log = node.dir.join("lww-A.log");
    for n in 1..=3 {
        node.put("k", n);
    }
    node.kill();
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 7]).unwrap();
    node.start();
    assert_eq!((node.get("k"), node.lamport()), (Some(json!(2)), 2));
    assert!(node.log().contains("of an unfinished record off"), "{}", node.log());
    assert_eq!(node.put("k", 4)["ts"], 3);
    node.kill();
    node.start();
    assert_eq!(node.get("k"), Some(json!(4)));
    node.kill();

    let mut damaged = fs::read(&log).unwrap();
    damaged[20] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let output = node.command().output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("the record at byte 0 is damaged though intact ones follow"), "{message}");
}

#[test]
fn a_long_log_is_compacted_and_nothing_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let mut node = single(&root);
    node.put("once", 1);
    let filler = "x".repeat(100_000);
    for n in 0..30 {
        node.put("k", format!("{n}{filler}"));
    }
    let length = fs::metadata(node.dir.join("lww-A.log")).unwrap().len();
    assert!(length < 1_500_000, "3 MB were written, {length} bytes are kept");
    node.kill();
    node.start();
    assert_eq!((node.get("once"), node.lamport()), (Some(json!(1)), 31));
    assert_eq!(node.get("k"), Some(json!(format!("29{filler}"))));
}

#[test]
fn it_ends_as_asked_and_says_why_it_cannot_start() {
    let root = tempfile::tempdir().unwrap();
    let mut node = single(&root);
    node.put("k", 1);
    let mut second = Node::new(&LWW, "B", node.port, &[], root.path());
    let output = second.command().output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.starts_with(&format!("B: cannot listen on 127.0.0.1:{}: Address already in use", node.port))
    );

    second = Node::new(&LWW, "A", free_port(), &[], root.path());
    let output = second.command().output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("lww-A.log is in use by another node"), "{message}");

    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());

    let output = Command::new(HARNESS)
        .args(["node", "lww", "--id", "A", "--port", "1", "--bug", "no-tie-brek"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("a similar value exists: 'no-tie-break'"), "{message}");
    let wrong_peer = ["node", "lww", "--id", "A", "--port", "1", "--peers", "http://h:1,https://h:2"];
    let output = Command::new(HARNESS).args(wrong_peer).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("its scheme is not http"));
}

#[test]
fn the_client_prints_the_answer_and_exits_by_it() {
    let root = tempfile::tempdir().unwrap();
    let node = single(&root);
    let url = format!("http://127.0.0.1:{}", node.port);
    let ask = |words: &[&str]| {
        let output = Command::new(HARNESS).args(["client", "--node", &url]).args(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let answer = |words: &[&str]| {
        let (code, out, err) = ask(words);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        serde_json::from_str::<Json>(&out).unwrap()
    };
    assert_eq!(answer(&["put", "x", "1"])["ts"], 1);
    assert_eq!(answer(&["put", "a b&c", "-text"])["applied"], true);
    assert_eq!(answer(&["get", "x"])["value"], 1);
    assert_eq!(answer(&["get", "a b&c"])["value"], "-text");
    assert_eq!(answer(&["status"])["store"]["x"], json!({"value": 1, "ts": 1, "origin": "A"}));
    let (code, out, err) = ask(&["get", "nope"]);
    assert_eq!((code, err), (Some(1), format!("harness client: {url} answered 404 Not Found\n")));
    assert_eq!(serde_json::from_str::<Json>(&out).unwrap()["error"], "not found");
    drop(node);
    let (code, out, err) = ask(&["status"]);
    assert_eq!(
        (code, out.as_str(), err),
        (Some(1), "", format!("harness client: {url}: connection refused\n"))
    );
}
