//! The correct node when nodes die, sleep and lose each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use super::support::{Cluster, Linked, ask, command, put, put_ok, put_somewhere, read, status, store, value};
use crate::support::{Node, eventually};

#[test]
fn another_leads_when_the_leader_dies_and_nothing_acknowledged_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&command("2", "2", ""), root.path());
    let old = cluster.leader();
    let term = status(&cluster.nodes[old])["term"].as_u64().unwrap();
    for n in 0..10 {
        put_ok(&cluster.nodes[old], &format!("k{n}"), n);
    }
    cluster.nodes[old].kill();
    let new = cluster.leader_among(&cluster.others(old));
    assert!(status(&cluster.nodes[new])["term"].as_u64().unwrap() > term);
    for n in 0..10 {
        // Before it takes writes it has fetched what a majority had, so even its own copy is complete.
        assert_eq!(value(&cluster.nodes[new], &format!("k{n}"), "consistency=strong"), Some(json!(n)));
    }
    let version = put_ok(&cluster.nodes[new], "k0", "newer");
    assert!(version > (term + 1) * 1_000_000_000, "{version}");
    cluster.nodes[old].start();
    cluster.agree(|store| store["store"]["k0"]["value"] == "newer");
    assert_eq!(cluster.leader(), new, "whoever comes back deposes nobody");

    // All of them at once.
    let term = status(&cluster.nodes[new])["term"].as_u64().unwrap();
    let before = store(&cluster.nodes[old]);
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.nodes.iter_mut().for_each(Node::start);
    let leader = cluster.leader();
    assert!(status(&cluster.nodes[leader])["term"].as_u64().unwrap() > term);
    assert_eq!(cluster.agree(|_| true), before);
}

/// Side by side: most of their time is waiting for elections.
fn each<T: Copy + Send>(cases: [T; 2], run: impl Fn(T) + Sync) {
    let run = &run;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || run(case));
        }
    });
}

#[test]
fn without_a_majority_nothing_is_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    each(["1", "2"], |w| {
        let mut cluster = Cluster::start(&command(w, "2", ""), &root.path().join(w));
        let leader = cluster.leader();
        put_ok(&cluster.nodes[leader], "k", "before");
        for other in cluster.others(leader) {
            cluster.nodes[other].kill();
        }
        let node = &cluster.nodes[leader];
        let (code, answer) = put(node, "k", "alone");
        assert_eq!(
            (&answer["success"], &answer["achievedQuorum"]),
            (&json!(false), &json!(false)),
            "{answer}"
        );
        // 503 where it had stepped down before: then it was not even begun.
        assert!(code == 500 || code == 503, "{code} {answer}");
        assert_eq!(read(node, "k", "consistency=strong").0, 503);
        assert_eq!(read(node, "k", "consistency=eventual").0, 200);
        eventually("the lonely leader steps down", || {
            let status = status(node);
            let follows = status["role"] != "leader" && status["leaderId"].is_null();
            if follows { Ok(()) } else { Err(status.to_string()) }
        });
        assert_eq!(put(node, "k", "nobody leads").0, 503);
        let node = cluster.others(leader)[0];
        cluster.nodes[node].start();
        put_somewhere(&cluster, "k", "after");
        assert_eq!(value(&cluster.nodes[leader], "k", "consistency=strong"), Some(json!("after")));
    });
}

#[test]
fn w_and_r_are_what_they_say() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&command("3", "1", ""), &root.path().join("w3"));
    let leader = cluster.leader();
    put_ok(&cluster.nodes[leader], "k", "everywhere");
    for node in &cluster.nodes {
        assert_eq!(value(node, "k", "consistency=eventual"), Some(json!("everywhere")), "W = N: {}", node.id);
        assert_eq!(value(node, "k", "consistency=strong"), Some(json!("everywhere")));
    }
    let [down, up] = cluster.others(leader);
    cluster.nodes[down].kill();
    let (code, answer) = put(&cluster.nodes[leader], "k", "not everywhere");
    assert_eq!(
        (code, &answer["achievedQuorum"], &answer["acks"]),
        (500, &json!(false), &json!(2)),
        "{answer}"
    );
    // What only two of three hold must not be shown by a read that asks one.
    assert_eq!(read(&cluster.nodes[up], "k", "consistency=strong").0, 503);
    cluster.nodes[down].start();
    let shown =
        eventually("W can be met again", || match read(&cluster.nodes[up], "k", "consistency=strong") {
            (200, answer) => Ok(answer["value"].clone()),
            other => Err(format!("{other:?}")),
        });
    assert_eq!(shown, "not everywhere");
    assert_eq!(value(&cluster.nodes[down], "k", "consistency=eventual"), Some(shown), "read repair");

    let mut cluster = Cluster::start(&command("1", "3", ""), &root.path().join("r3"));
    let leader = cluster.leader();
    let [down, up] = cluster.others(leader);
    cluster.nodes[down].kill();
    put_ok(&cluster.nodes[leader], "k", 1);
    assert_eq!(read(&cluster.nodes[up], "k", "consistency=strong").0, 503, "R = 3 and two are there");
    cluster.nodes[down].start();
    eventually("R can be met again", || match read(&cluster.nodes[down], "k", "consistency=strong") {
        (200, answer) if answer["value"] == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// With W = 1 and R = 1 a replica that hears nothing is read as it is: the theory's stale read.
#[test]
fn few_replicas_read_stale_and_many_do_not() {
    let root = tempfile::tempdir().unwrap();
    let linked = Linked::start(&command("1", "1", ""), &root.path().join("few"));
    let leader = linked.cluster.leader();
    let [lonely, other] = linked.cluster.others(leader);
    let nodes = &linked.cluster.nodes;
    put_ok(&nodes[leader], "k", "old");
    linked.cluster.agree(|store| store["store"]["k"]["value"] == "old");
    linked.isolate(lonely, true);
    put_ok(&nodes[leader], "k", "new");
    assert_eq!(value(&nodes[lonely], "k", "consistency=strong"), Some(json!("old")));
    linked.isolate(lonely, false);
    linked.cluster.agree(|store| store["store"]["k"]["value"] == "new");
    assert_eq!(value(&nodes[other], "k", "consistency=strong"), Some(json!("new")));

    let linked = Linked::start(&command("2", "2", ""), &root.path().join("many"));
    let leader = linked.cluster.leader();
    let [lonely, other] = linked.cluster.others(leader);
    let nodes = &linked.cluster.nodes;
    put_ok(&nodes[leader], "k", "old");
    linked.cluster.agree(|store| store["store"]["k"]["value"] == "old");
    linked.isolate(lonely, true);
    let version = put_ok(&nodes[leader], "k", "new");
    assert_eq!(read(&nodes[lonely], "k", "consistency=strong").0, 503);
    assert_eq!(read(&nodes[lonely], "k", &format!("consistency=read_your_writes&token={version}")).0, 503);
    assert_eq!(read(&nodes[lonely], "k", "consistency=read_your_writes").0, 200, "no token, no demand");
    assert_eq!(value(&nodes[other], "k", "consistency=strong"), Some(json!("new")));
    linked.isolate(lonely, false);
    linked.cluster.agree(|store| store["store"]["k"]["value"] == "new");
    assert_eq!(linked.cluster.leader(), leader, "whoever was cut off deposes nobody");
}

#[test]
fn a_leader_that_slept_through_an_election_acknowledges_nothing() {
    let root = tempfile::tempdir().unwrap();
    // W = 1: its own copy would be enough, if a majority had not moved on.
    let cluster = Cluster::start(&command("1", "3", ""), root.path());
    let old = cluster.leader();
    put_ok(&cluster.nodes[old], "k", "before");
    cluster.nodes[old].signal(Signal::SIGSTOP);
    let new = cluster.leader_among(&cluster.others(old));
    put_ok(&cluster.nodes[new], "k", "after");
    let sleeper = &cluster.nodes[old];
    std::thread::scope(|scope| {
        // The kernel takes them in for the sleeper, who finds them when it wakes.
        let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || put(sleeper, "k", n))).collect();
        eventually("they wait", || {
            let waiting = writers.iter().all(|writer| !writer.is_finished());
            if waiting { Ok(()) } else { Err("answered by a stopped process".to_owned()) }
        });
        sleeper.signal(Signal::SIGCONT);
        for writer in writers {
            let (code, answer) = writer.join().unwrap();
            assert!(code != 200 && answer["success"] == false, "{code} {answer}");
        }
    });
    assert_eq!(cluster.leader(), new);
    cluster.agree(|store| store["store"]["k"]["value"] == "after");
}

#[test]
fn a_delete_is_not_undone_by_whoever_missed_it() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&command("2", "2", ""), root.path());
    let leader = cluster.leader();
    let [down, _] = cluster.others(leader);
    put_ok(&cluster.nodes[leader], "k", 1);
    put_ok(&cluster.nodes[leader], "other", 1);
    cluster.agree(|store| store["store"]["other"].is_object());
    cluster.nodes[down].kill();
    let (code, answer) = ask(&cluster.nodes[leader], "DELETE", "/key/k", "").unwrap();
    assert_eq!((code, &answer["achievedQuorum"]), (200, &json!(true)));
    cluster.nodes[down].start();
    assert_eq!(value(&cluster.nodes[down], "k", "consistency=strong"), None);
    let agreed = cluster.agree(|store| store["tombstones"]["k"] == answer["version"]);
    assert!(agreed["store"]["k"].is_null());
}

#[test]
fn a_token_makes_any_node_answer_as_new_as_the_session() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&command("2", "2", ""), root.path());
    let leader = cluster.leader();
    let [behind, _] = cluster.others(leader);
    put_ok(&cluster.nodes[leader], "other", "untouched");
    cluster.agree(|store| store["store"]["other"].is_object());
    for n in 0..3 {
        cluster.nodes[behind].kill();
        let token = put_ok(&cluster.nodes[leader], "k", n);
        cluster.nodes[behind].start();
        let (code, answer) =
            read(&cluster.nodes[behind], "k", &format!("consistency=read_your_writes&token={token}"));
        assert_eq!((code, &answer["value"], &answer["token"]), (200, &json!(n), &json!(token)));
        // The token is another key's: what is there is the newest all the same.
        let (code, answer) =
            read(&cluster.nodes[behind], "other", &format!("consistency=read_your_writes&token={token}"));
        assert_eq!((code, &answer["value"], &answer["token"]), (200, &json!("untouched"), &json!(token)));
    }
    let request = "GET /key/k?consistency=read_your_writes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   X-Session-Token: 8000000000\r\n\r\n";
    let (code, body) = cluster.nodes[behind].request(request).unwrap();
    let answer: Json = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &answer["token"]), (200, &json!(8_000_000_000_u64)), "in a header it is as good");
}

/// One writer of growing numbers, readers at every node, and whatever happens to the leader: a strong read never shows
/// less than what was acknowledged, or read, before it began.
#[test]
fn strong_reads_never_go_back() {
    let root = tempfile::tempdir().unwrap();
    each([("2", "2"), ("1", "3")], |(w, r)| {
        let mut cluster = Cluster::start(&command(w, r, ""), &root.path().join(w));
        cluster.leader();
        let (floor, reads, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
        std::thread::scope(|scope| {
            let (floor, reads, done) = (&floor, &reads, &done);
            for &port in &ports {
                scope.spawn(move || {
                    while !done.load(Ordering::SeqCst) {
                        let before = floor.load(Ordering::SeqCst);
                        let text = "GET /key/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                        let Ok((200, body)) = crate::support::request(port, text) else { continue };
                        let answer: Json = serde_json::from_str(&body).unwrap();
                        let shown = answer["value"].as_u64().unwrap();
                        assert!(shown >= before, "{answer} after {before}");
                        floor.fetch_max(shown, Ordering::SeqCst);
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            // It ends the readers also when something here panics.
            struct End<'a>(&'a AtomicBool);
            impl Drop for End<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::SeqCst);
                }
            }
            let _end = End(done);
            let mut number = 0;
            let mut write = |cluster: &Cluster, times: u64| {
                for _ in 0..times {
                    number += 1;
                    put_somewhere(cluster, "k", number);
                    floor.fetch_max(number, Ordering::SeqCst);
                }
            };
            write(&cluster, 12);
            let old = cluster.leader();
            cluster.nodes[old].kill();
            if w == "2" {
                write(&cluster, 12);
            }
            cluster.nodes[old].start();
            write(&cluster, 12);
            let old = cluster.leader();
            cluster.nodes[old].signal(Signal::SIGSTOP);
            cluster.leader_among(&cluster.others(old));
            cluster.nodes[old].signal(Signal::SIGCONT);
            write(&cluster, 12);
            let enough = reads.load(Ordering::SeqCst) + 30;
            eventually("readers read", || {
                let count = reads.load(Ordering::SeqCst);
                if count >= enough { Ok(()) } else { Err(count.to_string()) }
            });
        });
    });
}
