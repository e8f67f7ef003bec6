//! `harness node quorum` as processes, over real sockets: killed, paused and cut off.

mod bugs;
mod faults;
mod support;

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use crate::support::{HARNESS, Node, eventually, free_port};
use support::{Cluster, ask, command, internal, put, put_ok, read, repair, status, store, value};

#[test]
fn the_interface_is_the_course_s() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&command("2", "2", ""), root.path());
    let leader = cluster.leader();
    let (node, follower) = (&cluster.nodes[leader], &cluster.nodes[(leader + 1) % 3]);
    let term = status(node)["term"].as_u64().unwrap();
    let version = term * 1_000_000_000 + 1;

    let (code, mut answer) = put(node, "k%201", json!({"a": [1, null]}));
    let acks = answer["acks"].take().as_u64().unwrap();
    assert!((2..=3).contains(&acks), "{acks}");
    let expected = json!({"success": true, "key": "k 1", "value": {"a": [1, null]}, "leaderId": node.id,
        "achievedQuorum": true, "writeQuorum": 2, "acks": null, "term": term, "version": version, "token": version});
    assert_eq!((code, answer), (200, expected));

    for level in ["strong", "read_your_writes"] {
        let got = read(follower, "k%201", &format!("consistency={level}&token={version}"));
        let expected = json!({"key": "k 1", "value": {"a": [1, null]}, "nodeRole": "follower", "consistency": level,
            "nodeId": follower.id, "version": version, "token": version});
        assert_eq!(got, (200, expected));
    }
    assert_eq!(read(node, "k%201", "").1["consistency"], "strong", "unless asked for another");
    assert_eq!(read(node, "k%201", "consistency=eventual").1["nodeRole"], "leader");
    assert_eq!(read(node, "k%201", "token=9007000000000000").1["token"], json!(9_007_000_000_000_000_u64));

    // Names and URLs are learnt from answers, so right after the start a URL may be unknown.
    let hint = eventually("the follower knows where the leader is", || {
        let (code, answer) = put(follower, "k", 1);
        let known = answer["leaderUrl"].is_string();
        if known { Ok((code, answer)) } else { Err(answer.to_string()) }
    });
    let expected = json!({"success": false, "key": "k", "value": 1, "leaderId": node.id, "achievedQuorum": false,
        "writeQuorum": 2, "leaderUrl": format!("http://127.0.0.1:{}", node.port),
        "error": format!("not the leader; {} is", node.id)});
    assert_eq!(hint, (503, expected));

    let (code, missing) = read(node, "nope", "consistency=eventual");
    let expected = json!({"key": "nope", "value": null, "nodeRole": "leader", "consistency": "eventual",
        "nodeId": node.id, "version": null, "token": 0, "error": "not found"});
    assert_eq!((code, missing), (404, expected));

    let (code, deleted) = ask(node, "DELETE", "/key/k%201", "").unwrap();
    assert_eq!((code, &deleted["success"], &deleted["version"]), (200, &json!(true), &json!(version + 1)));
    put_ok(node, "kept", json!(null));
    let (code, gone) = read(follower, "k%201", "consistency=strong");
    assert_eq!((code, &gone["version"]), (404, &json!(version + 1)), "a tombstone has a version too");
    assert_eq!(value(follower, "kept", "consistency=strong"), Some(json!(null)), "null is a value");

    cluster.agree(|store| store["store"]["kept"]["version"] == version + 2);
    let expected = json!({"nodeId": follower.id, "role": "follower", "term": term, "leaderId": node.id,
        "totalKeys": 1, "keys": ["kept"], "config": {"writeQuorum": 2, "readQuorum": 2, "totalNodes": 3},
        "store": {"kept": {"value": null, "version": version + 2}}, "tombstones": {"k 1": version + 1}});
    assert_eq!(status(follower), expected);
}

#[test]
fn it_is_started_by_the_environment_and_spells_as_asked() {
    let root = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut node = Node::new(&[], "solo", port, &[], root.path());
    let mut child = Command::new(HARNESS)
        .args(["node", "quorum", "--spelling", "snake"])
        .envs([("NODE_ID", "solo"), ("PEERS", ""), ("WRITE_QUORUM", "1"), ("READ_QUORUM", "1")])
        .env("PORT", port.to_string())
        .current_dir(&node.dir)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stop = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let answer = eventually("it leads itself", || match ask(&node, "PUT", "/key/k", "17") {
            Ok((200, answer)) => Ok(answer),
            other => Err(format!("{other:?}")),
        });
        let expected = json!({"success": true, "key": "k", "value": 17, "leader_id": "solo", "achieved_quorum": true,
            "write_quorum": 1, "acks": 1, "term": 1, "version": 1_000_000_001, "token": 1_000_000_001});
        assert_eq!(answer, expected);
        assert_eq!(read(&node, "k", "").1["node_role"], "leader");
        let status = status(&node);
        assert_eq!(status["config"], json!({"write_quorum": 1, "read_quorum": 1, "total_nodes": 1}));
        assert_eq!((&status["node_id"], &status["total_keys"]), (&json!("solo"), &json!(1)));
        assert_eq!(ask(&node, "GET", "/nope", "").unwrap().1["node_id"], "solo");
    }));
    child.kill().unwrap();
    child.wait().unwrap();
    node.kill();
    stop.unwrap();
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let mut node = Node::new(&command("1", "1", ""), "n1", free_port(), &[], root.path());
    node.start();
    let refused = |method: &str, path: &str, body: &str| {
        let (code, mut answer) = ask(&node, method, path, body).unwrap();
        assert_eq!((&answer["success"], &answer["nodeId"]), (&json!(false), &json!("n1")), "{answer}");
        (code, answer["error"].take().as_str().unwrap().to_owned())
    };
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    let long = "x".repeat(1025);
    let cases = [
        (
            "PUT",
            "/key/k",
            "",
            400,
            "the body is not a JSON value: EOF while parsing a value at line 1 column 0",
        ),
        ("PUT", "/key/k", &deep, 400, "the value is nested deeper than 100 levels"),
        ("PUT", &format!("/key/{long}"), "1", 400, "the key has 1025 bytes, expected at most 1024"),
        (
            "GET",
            "/key/k?consistency=Strong",
            "",
            400,
            "consistency is \"Strong\", expected one of strong, eventual, read_your_writes",
        ),
        ("GET", "/key/k?token=-1", "", 400, "the token is \"-1\", expected what an answer gave as \"token\""),
        ("POST", "/key/k", "1", 405, "\"/key/k\" takes PUT, GET or DELETE, not POST"),
        ("POST", "/status", "", 405, "\"/status\" takes GET, not POST"),
        ("GET", "/internal/vote", "", 405, "\"/internal/vote\" takes POST, not GET"),
        (
            "POST",
            "/internal/heartbeat",
            r#"{"term":99999999,"leaderId":"x"}"#,
            400,
            "term 99999999 is beyond 9000000",
        ),
        (
            "POST",
            "/internal/repair",
            r#"{"item":{"key":"k","value":1,"version":18446744073709551615}}"#,
            400,
            "version 18446744073709551615 is beyond what a leader gives",
        ),
    ];
    for (method, path, body, code, why) in cases {
        assert_eq!(refused(method, path, body), (code, why.to_owned()), "{method} {path}");
    }
    for (path, code) in [("/nowhere", 404), ("/key/", 404), ("/key/%ff", 400)] {
        assert_eq!(refused("GET", path, "").0, code, "{path}");
    }
    assert_eq!(refused("POST", "/internal/replicate", "[]").0, 400);
    assert_eq!(refused("PUT", "/key/k", &format!("\"{}\"", "x".repeat(2 << 20))).0, 413);
    assert_eq!(store(&node), json!({"store": {}, "tombstones": {}}), "nothing of it came in");
    let deepest = &deep[1..deep.len() - 1];
    eventually("the deepest value is taken", || match ask(&node, "PUT", "/key/deep", deepest) {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    node.kill();
    node.start();
    assert_eq!(value(&node, "deep", "consistency=eventual").unwrap().to_string(), deepest, "and read again");
}

#[test]
fn what_cannot_be_started_says_why() {
    let run = |flags: &[&str]| {
        let words = ["node", "quorum", "--id", "n1", "--port", "0"];
        let output = Command::new(HARNESS).args(words).args(flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = run(&["--peers", "http://h:1,http://h:2", "--write-quorum", "4"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("the write quorum is 4, expected 1 to 3: so many nodes there are"), "{message}");
    let (code, message) = run(&["--read-quorum", "0"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("the read quorum is 0, expected 1 to 1"), "{message}");
    let (code, message) = run(&["--peers", "http://h:1,http://h:1"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("http://h:1 is twice among the peers"), "{message}");
    let (code, message) = run(&["--bug", "no-version"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("a similar value exists: 'no-versions'"), "{message}");
}

#[test]
fn a_vote_is_given_once_a_term_and_survives_a_crash() {
    let root = tempfile::tempdir().unwrap();
    // Peers that do not exist: it never leads, and its own elections are pre-votes, which change nothing.
    let mut node = Node::new(&command("2", "2", ""), "n1", free_port(), &[1, 2], root.path());
    node.start();
    let vote = |node: &Node, candidate: &str, term: u64, pre: bool| {
        let request = json!({"term": term, "candidateId": candidate, "pre": pre});
        let answer = internal(node, "vote", &request).1;
        (answer["granted"].as_bool().unwrap(), answer["term"].as_u64().unwrap())
    };
    assert_eq!(vote(&node, "n2", 50, true), (true, 0), "a pre-vote changes nothing");
    assert_eq!(vote(&node, "n2", 50, false), (true, 50));
    assert_eq!(vote(&node, "n3", 50, false), (false, 50));
    assert_eq!(vote(&node, "n3", 49, false), (false, 50));
    node.kill();
    node.start();
    assert_eq!(vote(&node, "n3", 50, false), (false, 50), "the crash did not undo it");
    assert_eq!(vote(&node, "n2", 50, false), (true, 50), "asked again, answered again");
    let beat = json!({"term": 50, "leaderId": "n2"});
    assert_eq!(
        internal(&node, "heartbeat", &beat),
        (200, json!({"success": true, "nodeId": "n1", "term": 50}))
    );
    assert_eq!(status(&node)["leaderId"], "n2");
    assert_eq!(vote(&node, "n3", 51, true), (false, 50), "the leader lives");
    assert_eq!(vote(&node, "n3", 51, false), (true, 51));

    let late = json!({"term": 50, "leaderId": "n2",
                      "item": {"key": "k", "value": 1, "version": 50_000_000_001_u64}});
    let (code, answer) = internal(&node, "replicate", &late);
    assert_eq!((code, answer), (409, json!({"success": false, "nodeId": "n1", "term": 51})));
    assert_eq!(store(&node)["store"], json!({}), "what a deposed leader sends is not stored");
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
}

#[test]
fn the_newer_version_stays_whichever_way_it_comes() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&command("2", "2", ""), root.path());
    cluster.leader();
    let nodes = &cluster.nodes;
    let first = 1_000_000_001;
    repair(&nodes[0], "k", "new", first + 1);
    repair(&nodes[0], "k", "old", first);
    repair(&nodes[1], "k", "old", first);
    repair(&nodes[1], "only here", 1, first + 2);
    let agreed = cluster.agree(|store| store["store"]["only here"].is_object());
    let expected: Json =
        json!({"k": {"value": "new", "version": first + 1}, "only here": {"value": 1, "version": first + 2}});
    assert_eq!(agreed["store"], expected);
}

#[test]
fn the_client_talks_to_it_by_hand() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&command("2", "2", ""), root.path());
    let leader = cluster.leader();
    let client = |node: &Node, words: &[&str]| {
        let url = format!("http://127.0.0.1:{}", node.port);
        let arguments = [&["client", "--node", &url, "--store", "quorum"], words].concat();
        let output = Command::new(HARNESS).args(arguments).output().unwrap();
        (output.status.code(), serde_json::from_slice::<Json>(&output.stdout).unwrap_or_default())
    };
    let (code, written) = client(&cluster.nodes[leader], &["put", "a b", "17"]);
    assert_eq!((code, &written["value"]), (Some(0), &json!(17)));
    let token = written["token"].to_string();
    for level in [&["--consistency", "strong"][..], &["--consistency", "read_your_writes", "--token", &token]]
    {
        let (code, answer) = client(&cluster.nodes[(leader + 1) % 3], &[&["get", "a b"], level].concat());
        assert_eq!((code, &answer["value"], &answer["consistency"]), (Some(0), &json!(17), &json!(level[1])));
    }
    let (code, answer) = client(&cluster.nodes[(leader + 1) % 3], &["delete", "a b"]);
    assert_eq!((code, &answer["leaderId"]), (Some(1), &json!(cluster.nodes[leader].id)));
    assert_eq!(client(&cluster.nodes[leader], &["delete", "a b"]).0, Some(0));
    assert_eq!(client(&cluster.nodes[leader], &["get", "a b"]).0, Some(1));
    assert_eq!(client(&cluster.nodes[leader], &["status"]).1["role"], "leader");

    let output = Command::new(HARNESS).args(["client", "delete", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--store quorum"));
}
