//! `harness node pubsub` as processes, over real sockets.

mod bugs;
mod faults;
mod support;

use std::process::{Command, Stdio};

use crate::support::{HARNESS, eventually};
use support::{Client, Cluster, ids};

#[test]
fn the_interface_is_as_told() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(3, &[], root.path());
    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    let (mut here, mut there) = (cluster.nodes[leader].client(), cluster.nodes[follower].client());
    let mut subscriber = cluster.nodes[follower].client();

    assert_eq!(here.ask("PING"), "PONG");
    assert_eq!(subscriber.ask("SUB news"), "OK subscribed news");
    assert_eq!(here.ask("PUB news --id m-1 hello  world"), "OK published m-1");
    assert_eq!(there.ask("PUB news --id m-2 --id is a word"), "OK REDIRECTED m-2");
    assert_eq!(there.ask("PUB other --id m-1 something else"), "OK duplicate m-1");
    assert_eq!(here.ask("PUB news --id m-1 hello  world"), "OK duplicate m-1");
    let answer = here.ask("PUB other no id");
    let id = answer.strip_prefix("OK published ").unwrap();
    assert!(id.starts_with(&format!("{}-", cluster.nodes[leader].id)), "{answer}");

    let history = there.history("news 10 --strong").unwrap();
    let told: Vec<_> = history.iter().map(|m| (m.id.as_str(), m.offset, m.text.as_str())).collect();
    assert_eq!(told, [("m-1", 0, "hello  world"), ("m-2", 1, "--id is a word")]);
    assert!(history[0].hybrid < history[1].hybrid && history[0].ts > 1_600_000_000_000);
    assert!(history.iter().all(|message| message.clock == cluster.nodes[leader].id));
    assert_eq!([subscriber.message(), subscriber.message()], history[..]);

    assert_eq!(ids(&there.history("news 1").unwrap()), ["m-2"], "the last ones");
    assert_eq!(ids(&there.history("news 1 --from 0").unwrap()), ["m-1"]);
    assert!(there.history("nothing 5 --strong").unwrap().is_empty());

    // One connection for everything: no message gets between the lines of an answer.
    assert_eq!(here.ask("SUB news --from 1"), "OK subscribed news");
    assert_eq!(here.message(), history[1]);
    assert_eq!(here.ask("SUB news"), "ERR usage news is subscribed on this connection");
    let status = eventually("the follower has applied it all", || {
        let status = cluster.nodes[follower].status();
        if status["messages"] == 3 { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(status["offsets"], serde_json::json!({"news": 2, "other": 1}));
    assert_eq!(status["leader"], cluster.nodes[leader].id.as_str());
    assert_eq!(status["commit_index"], status["applied_index"]);
    here.send("QUIT").unwrap();
    assert!(here.line().is_err());
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(1, &[], root.path());
    cluster.leader();
    let mut client = cluster.nodes[0].client();
    assert_eq!(client.ask("PUB"), "ERR usage expected PUB topic [--id id] message");
    assert_eq!(client.ask("hello"), "ERR usage expected PING, PUB, SUB, HISTORY, STATUS or QUIT");
    assert_eq!(
        client.ask("PUB t --id m fine\r"),
        "OK published m",
        "the same connection, and telnet's line ends"
    );
    assert_eq!(client.history("t 1").unwrap()[0].text, "fine");
    client.send(&"x".repeat(70_000)).unwrap();
    assert_eq!(client.line().unwrap(), "ERR usage the line is longer than 65536 bytes");
    assert!(client.line().is_err(), "where the next command would begin nobody knows");

    let long = "y".repeat(60_000);
    let mut client = cluster.nodes[0].client();
    assert_eq!(client.ask(&format!("PUB t --id long {long}")), "OK published long");
    assert_eq!(client.history("t 1").unwrap()[0].text, long);
}

#[test]
fn a_table_without_the_node_is_bad_usage() {
    let root = tempfile::tempdir().unwrap();
    let run = |table: &str| {
        std::fs::write(root.path().join("t.yaml"), table).unwrap();
        let run = Command::new(HARNESS)
            .args(["node", "pubsub", "--id", "n9", "--config", "t.yaml"])
            .current_dir(root.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    let missing = "harness node: t.yaml has no node n9, it has n1\n".to_owned();
    assert_eq!(run("nodes:\n- {id: n1, port: 1}\n"), (Some(2), missing));
    let unknown = "harness node: t.yaml: nodes[0]: there is no key `hots`; is `host` meant?\n".to_owned();
    assert_eq!(run("nodes:\n- {id: n1, hots: x}\n"), (Some(2), unknown));
}

#[test]
fn corrected_time_is_the_cluster_s() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(3, &[], root.path());
    cluster.nodes[1].skew_ms = -60_000;
    cluster.nodes.iter_mut().for_each(support::Node::start);
    eventually("the node with the wrong clock knows it", || {
        let offset_us = cluster.nodes[1].status()["clock_offset_us"].as_i64().unwrap();
        if (59_000_000..61_000_000).contains(&offset_us) { Ok(()) } else { Err(offset_us.to_string()) }
    });
    // Whoever leads, time goes on: with a clock that is a minute behind too.
    for n in 0..4 {
        cluster.publish("t", &format!("m{n}"));
        let leader = cluster.leader();
        cluster.nodes[leader].kill();
        cluster.nodes[leader].start();
    }
    let messages = cluster.agree("t");
    assert_eq!(messages.len(), 4);
    assert!(messages.windows(2).all(|pair| pair[0].hybrid < pair[1].hybrid), "{messages:?}");
    for message in messages {
        let expected = if message.clock == "n2" { 60_000 } else { 0 };
        let corrected = message.hybrid.0 as i64 - message.ts as i64;
        assert!((corrected - expected).abs() < 5_000, "{message:?}");
    }
}

#[test]
fn a_clean_stop_is_one() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(1, &["--bug", "no-fsync"], root.path());
    cluster.leader();
    cluster.publish("t", "m");
    assert_eq!(cluster.nodes[0].stop(), Some(0));
    assert!(cluster.nodes[0].log().ends_with("n1: stopped\n"));
    cluster.nodes[0].start();
    cluster.leader();
    assert_eq!(cluster.publish("t", "m"), "OK duplicate m", "what the kernel would write is written");
}

#[test]
fn nobody_is_known_by_an_address() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(1, &[], root.path());
    let table = std::fs::read_to_string(root.path().join("n1/cluster.yaml")).unwrap();
    let rpc = table.split("rpc_port: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    for (line, reason) in [
        ("hello", "no message"),
        (r#"{"from":"n2","to":"n1","rpc":{"read_index":{"ticket":1}}}"#, "n2 is not among the others"),
        (r#"{"from":"n1","to":"n1","rpc":{"read_index":{"ticket":1}}}"#, "n1 is not among the others"),
        (r#"{"from":"n2","to":"n3","rpc":{"read_index":{"ticket":1}}}"#, "n2 takes this node for n3"),
    ] {
        let mut stranger = Client::to(rpc).unwrap();
        stranger.send(line).unwrap();
        assert!(stranger.line().is_err(), "the connection is closed");
        eventually(reason, || {
            let log = cluster.nodes[0].log();
            if log.contains(reason) { Ok(()) } else { Err(log) }
        });
    }
    assert_eq!(cluster.nodes[0].client().ask("PING"), "PONG");
}
