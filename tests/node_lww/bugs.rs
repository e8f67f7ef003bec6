//! Each bug shows, and the correct node under the same treatment does not have it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use crate::LWW;
use crate::support::{Node, eventually, free_port, three};

fn with_bug(bug: &str) -> Vec<&str> {
    let mut command = LWW.to_vec();
    if !bug.is_empty() {
        command.extend(["--bug", bug]);
    }
    command
}

/// What `act` sees of one node on its own, without the bug and with it.
fn compare<T>(bug: &str, act: impl Fn(&mut Node) -> T) -> (T, T) {
    let root = tempfile::tempdir().unwrap();
    let run = |bug: &str| {
        let mut node = Node::new(&with_bug(bug), "B", free_port(), &[], &root.path().join(bug));
        node.start();
        act(&mut node)
    };
    (run(""), run(bug))
}

/// What `act` sees of three nodes, without the bug (`true`) and with it.
fn compare_three<T>(bug: &str, act: impl Fn(&mut Vec<Node>, bool) -> T) -> (T, T) {
    let root = tempfile::tempdir().unwrap();
    let run = |bug: &str| {
        let mut nodes = three(&with_bug(bug), &root.path().join(bug));
        nodes.iter_mut().for_each(Node::start);
        act(&mut nodes, bug.is_empty())
    };
    (run(""), run(bug))
}

/// Whether `node` gets `key`: waits for it where it must come, else for several rounds of anti-entropy.
fn arrives(node: &Node, key: &str, must: bool) -> bool {
    if must {
        eventually(&format!("{key} reaches {}", node.id), || node.get(key).ok_or_else(|| node.log()));
        return true;
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        if node.get(key).is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn bugs_in_who_wins() {
    let tie = |node: &mut Node| {
        node.replicate("k", "first", 5, "A");
        node.replicate("k", "second", 5, "C");
        node.get("k").unwrap()
    };
    assert_eq!(compare("no-tie-break", tie), (json!("second"), json!("first")));
    let late = |node: &mut Node| {
        node.replicate("k", "new", 6, "A");
        node.replicate("k", "old", 5, "A");
        node.get("k").unwrap()
    };
    assert_eq!(compare("last-arrival-wins", late), (json!("new"), json!("old")));
}

#[test]
fn bugs_in_the_clock() {
    let after_receive = |node: &mut Node| {
        node.replicate("k", "theirs", 41, "A");
        let ts = node.put("k", "ours")["ts"].as_u64().unwrap();
        (ts, node.get("k").unwrap())
    };
    assert_eq!(compare("no-receive-rule", after_receive), ((43, json!("ours")), (1, json!("theirs"))));
    let twice = |node: &mut Node| [1, 2].map(|n| node.put("k", n)["ts"].as_u64().unwrap());
    assert_eq!(compare("no-tick", twice), ([1, 2], [0, 0]));
    let after_restart = |node: &mut Node| {
        node.put("k", 1);
        node.put("k", 2);
        node.kill();
        node.start();
        assert_eq!(node.get("k"), Some(json!(2)), "the data survives");
        node.put("k", 3)["ts"].as_u64().unwrap()
    };
    assert_eq!(compare("clock-reset", after_restart), (3, 1));
    let (correct, wall) = compare("wall-clock", |node| node.put("k", 1)["ts"].as_u64().unwrap());
    assert!(correct == 1 && wall > 1_700_000_000_000, "{wall}");
}

#[test]
fn racing_writes_share_a_version() {
    let distinct = |node: &mut Node| {
        let node = &*node;
        let mut versions: Vec<u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let put = move |n| node.put("k", format!("{writer}-{n}"))["ts"].as_u64().unwrap();
                    scope.spawn(move || (0..25).map(put).collect::<Vec<_>>())
                })
                .collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        versions.sort_unstable();
        versions.dedup();
        versions.len()
    };
    let (correct, racy) = compare("racy-tick", distinct);
    assert!(correct == 200 && racy < 200, "{correct} {racy}");
}

#[test]
fn bugs_in_reading() {
    assert_eq!(compare("nil-default", |node| node.get("k")), (None, Some(json!(0))));
    let other_key = |node: &mut Node| {
        node.put("k2", "two");
        node.put("k3", "three");
        node.get("k2").unwrap()
    };
    assert_eq!(compare("key-collision", other_key), (json!("two"), json!("three")));
    // Once in five tries at least the copy is older than the write.
    let own_writes = |node: &mut Node| {
        let stale = |n: &i32| {
            node.put("k", *n);
            node.get("k") != Some(json!(n))
        };
        (0..20).filter(stale).count()
    };
    for bug in ["cached-reads", "ack-before-apply"] {
        let (correct, stale) = compare(bug, own_writes);
        assert!(correct == 0 && stale > 0, "{bug}: {correct} {stale}");
    }
    let (_, applied_in_the_end) = compare("ack-before-apply", |node| {
        node.put("k", 1);
        eventually("it is applied", || node.get("k").ok_or_else(|| "not yet".to_owned()))
    });
    assert_eq!(applied_in_the_end, json!(1));
}

#[test]
fn the_disk_is_forgotten() {
    let after_crash = |node: &mut Node| {
        node.put("k", 1);
        node.kill();
        node.start();
        node.get("k")
    };
    assert_eq!(compare("forgets-on-crash", after_crash), (Some(json!(1)), None));
}

#[test]
fn what_a_down_node_missed_is_lost() {
    let catches_up = |nodes: &mut Vec<Node>, correct: bool| {
        nodes[1].kill();
        nodes[0].put("missed", 1);
        arrives(&nodes[2], "missed", true);
        // A tells its peers in order, so B was tried by the time C has a second write.
        nodes[0].put("second", 1);
        arrives(&nodes[2], "second", true);
        nodes[1].start();
        arrives(&nodes[1], "missed", correct)
    };
    for bug in ["no-catch-up", "fire-and-forget"] {
        assert_eq!(compare_three(bug, catches_up), (true, false), "{bug}");
    }
}

#[test]
fn a_full_queue_drops_and_nothing_heals_it() {
    let catches_up = |nodes: &mut Vec<Node>, correct: bool| {
        nodes[1].signal(Signal::SIGSTOP);
        for n in 0..60 {
            nodes[0].put(&format!("k{n}"), n);
        }
        nodes[1].signal(Signal::SIGCONT);
        arrives(&nodes[1], "k0", true);
        arrives(&nodes[1], "k59", correct)
    };
    assert_eq!(compare_three("bounded-queue", catches_up), (true, false));
}

#[test]
fn a_relabelled_write_is_told_to_others_under_the_wrong_name() {
    let origin = |nodes: &mut Vec<Node>, correct: bool| {
        nodes[0].put("k", 1);
        let expected = if correct { "A" } else { "C" };
        eventually("all nodes know the write", || {
            let entries: Vec<Json> = nodes.iter().map(|node| node.store()["k"].take()).collect();
            let settled = entries.iter().all(|entry| entry["origin"] == expected);
            if settled { Ok(entries[0].clone()) } else { Err(format!("{entries:?}")) }
        })
    };
    let (correct, relabelled) = compare_three("relabels-origin", origin);
    assert_eq!(correct, json!({"value": 1, "ts": 1, "origin": "A"}));
    assert_eq!(relabelled, json!({"value": 1, "ts": 1, "origin": "C"}));
}
