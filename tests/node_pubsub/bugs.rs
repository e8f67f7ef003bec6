//! Each bug shows, and the correct node under the same treatment does not have it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::support::{Client, Cluster, Message, ids};
use crate::support::eventually;

/// What `act` sees of a cluster without the bug (`true`) and with it.
fn compare<T: Send>(bug: &str, act: impl Fn(&mut Cluster, bool) -> T + Sync) -> (T, T) {
    let root = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut cluster = Cluster::start(3, words, &root.path().join(words.len().to_string()));
        cluster.leader();
        act(&mut cluster, words.is_empty())
    };
    // Side by side: most of their time is waiting for elections.
    std::thread::scope(|scope| {
        let correct = scope.spawn(|| run(&[]));
        let wrong = run(&["--bug", bug]);
        (correct.join().unwrap(), wrong)
    })
}

/// A leader is cut off and takes messages `cut-0` … nobody else gets, until the others follow a new one that has messages
/// `new-0` …; where the old one is, and who waits there for answers.
fn two_logs(cluster: &Cluster) -> (usize, Vec<Client>) {
    cluster.publish("t", "first");
    let old = cluster.leader();
    let mut waiting: Vec<Client> = (0..3).map(|_| cluster.nodes[old].client()).collect();
    cluster.isolate(old, true);
    for (n, client) in waiting.iter_mut().enumerate() {
        client.send(&format!("PUB t --id cut-{n} text")).unwrap();
    }
    eventually("it has appended them", || {
        let status = cluster.nodes[old].status();
        let ahead = status["last_index"].as_u64() >= status["commit_index"].as_u64().map(|at| at + 3);
        if ahead { Ok(()) } else { Err(status.to_string()) }
    });
    let new = cluster.leader_among(&cluster.others(old));
    for n in 0..3 {
        let answer = cluster.nodes[new].client().ask(&format!("PUB t --id new-{n} text"));
        assert_eq!(answer, format!("OK published new-{n}"));
    }
    (old, waiting)
}

/// What one node shows once it has everything up to the message `last`.
fn shown(cluster: &Cluster, node: usize, last: &str) -> Vec<String> {
    eventually("the node has the last message", || {
        let messages = cluster.nodes[node].client().history("t 1000000").unwrap();
        let ids: Vec<String> = messages.into_iter().map(|message| message.id).collect();
        if ids.iter().any(|id| id == last) { Ok(ids) } else { Err(format!("{ids:?}")) }
    })
}

const AGREED: [&str; 4] = ["first", "new-0", "new-1", "new-2"];

#[test]
fn acknowledged_before_it_is_committed() {
    let act = |cluster: &mut Cluster, _: bool| {
        let (old, mut waiting) = two_logs(cluster);
        cluster.isolate(old, false);
        let answers = waiting.iter_mut().map(|client| client.line().unwrap());
        let acknowledged = answers.filter(|answer| answer.starts_with("OK published cut-")).count();
        (acknowledged, ids(&cluster.agree("t")) == AGREED)
    };
    let (correct, wrong) = compare("ack-before-commit", act);
    // Whether the others' log wins in the end is another matter: entries that were said to be there may yet come to be.
    assert_eq!((correct, wrong.0), ((0, true), 3));
}

#[test]
fn a_crash_of_all_loses_what_was_not_synced() {
    let act = |cluster: &mut Cluster, _: bool| {
        for n in 0..20 {
            cluster.publish("t", &format!("m{n}"));
        }
        cluster.nodes.iter_mut().for_each(super::support::Node::kill);
        cluster.nodes.iter_mut().for_each(super::support::Node::start);
        cluster.leader();
        cluster.publish("t", "after");
        cluster.agree("t").len() == 21
    };
    assert_eq!(compare("no-fsync", act), (true, false));
}

/// The followers of a leader come back before it does, as if none of them had voted for it.
#[test]
fn a_term_has_two_leaders() {
    let act = |cluster: &mut Cluster, _: bool| {
        let old = cluster.leader();
        let term = cluster.nodes[old].status()["term"].as_u64().unwrap();
        cluster.nodes.iter_mut().for_each(super::support::Node::kill);
        for other in cluster.others(old) {
            cluster.nodes[other].start();
        }
        let new = cluster.leader_among(&cluster.others(old));
        cluster.nodes[new].status()["term"].as_u64().unwrap() > term
    };
    assert_eq!(compare("vote-twice", act), (true, false));
}

#[test]
fn older_entries_count_as_committed() {
    let act = |cluster: &mut Cluster, _: bool| {
        let (old, _waiting) = two_logs(cluster);
        cluster.isolate(old, false);
        shown(cluster, old, "new-2")
    };
    let (correct, wrong) = compare("commits-old-term", act);
    assert_eq!(correct, AGREED);
    assert!(wrong.iter().any(|id| id.starts_with("cut-")) && wrong.len() > 4, "{wrong:?}");
}

#[test]
fn one_entry_too_many_is_kept() {
    let act = |cluster: &mut Cluster, _: bool| {
        let (old, _waiting) = two_logs(cluster);
        cluster.isolate(old, false);
        shown(cluster, old, "new-2")
    };
    let (correct, wrong) = compare("off-by-one-truncate", act);
    assert_eq!(correct, AGREED);
    // One of them, in the place of the entry with which the new leader began its term.
    assert!(wrong[1].starts_with("cut-"), "{wrong:?}");
    assert_eq!([&wrong[..1], &wrong[2..]].concat(), AGREED);
}

#[test]
fn history_shows_what_is_not_committed() {
    let act = |cluster: &mut Cluster, _: bool| {
        let (old, _waiting) = two_logs(cluster);
        eventually("it has given up", || {
            let status = cluster.nodes[old].status();
            if status["role"] == "leader" { Err(status.to_string()) } else { Ok(()) }
        });
        let dirty = cluster.nodes[old].client().history("t 100").unwrap();
        cluster.isolate(old, false);
        (dirty.len(), ids(&cluster.agree("t")) == AGREED)
    };
    assert_eq!(compare("dirty-history", act), ((1, true), (4, true)));
}

#[test]
fn ids_are_forgotten() {
    let again = |between: usize, kill: bool| {
        move |cluster: &mut Cluster, _: bool| {
            cluster.publish("t", "first");
            for n in 0..between {
                cluster.publish("t", &format!("m{n}"));
            }
            let leader = cluster.leader();
            if kill {
                cluster.nodes[leader].kill();
                cluster.leader_among(&cluster.others(leader));
            }
            let answer = cluster.publish("t", "first");
            cluster.nodes[leader].kill();
            cluster.nodes[leader].start();
            let messages = cluster.agree("t");
            let times = ids(&messages).iter().filter(|id| **id == "first").count();
            (times, answer == "OK duplicate first")
        }
    };
    assert_eq!(compare("dedup-evicts", again(99, false)), ((1, true), (1, true)), "it remembers a hundred");
    assert_eq!(compare("dedup-evicts", again(100, false)), ((1, true), (2, false)));
    assert_eq!(compare("dedup-local", again(3, false)), ((1, true), (1, true)), "the leader remembers");
    assert_eq!(compare("dedup-local", again(3, true)), ((1, true), (2, false)));
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A follower is cut off while messages are published, and let back in; its subscriber, and what it holds.
fn caught_up(cluster: &Cluster) -> (Client, Vec<Message>) {
    let leader = cluster.leader();
    let behind = cluster.others(leader)[0];
    let mut subscriber = cluster.nodes[behind].client();
    assert_eq!(subscriber.ask("SUB t"), "OK subscribed t");
    cluster.isolate(behind, true);
    let mut producer = cluster.nodes[leader].client();
    for n in 0..40 {
        assert_eq!(producer.ask(&format!("PUB t --id m{n} text")), format!("OK published m{n}"));
    }
    let last = producer.history("t 1").unwrap()[0].hybrid.0;
    eventually("the messages are old", || if now_ms() > last + 400 { Ok(()) } else { Err(String::new()) });
    cluster.isolate(behind, false);
    shown(cluster, behind, "m39");
    cluster.publish("t", "end");
    shown(cluster, behind, "end");
    (subscriber, cluster.nodes[behind].client().history("t 100").unwrap())
}

#[test]
fn a_subscriber_misses_what_its_node_caught_up_on() {
    let act = |cluster: &mut Cluster, _: bool| {
        let (mut subscriber, held) = caught_up(cluster);
        let mut got = vec![subscriber.message()];
        while got.last().unwrap().id != "end" {
            got.push(subscriber.message());
        }
        (got == held, held.len(), got.len())
    };
    let (correct, wrong) = compare("subscriber-gap", act);
    assert_eq!(correct, (true, 41, 41));
    assert!(!wrong.0 && wrong.1 == 41 && wrong.2 < 41, "{wrong:?}");
}

#[test]
fn neighbours_in_a_topic_swap() {
    let act = |cluster: &mut Cluster, _: bool| {
        let (_, held) = caught_up(cluster);
        let expected: Vec<String> = (0..40).map(|n| format!("m{n}")).chain(["end".into()]).collect();
        // The offsets are in order, whatever is there.
        assert!(held.iter().zip(0..).all(|(message, offset)| message.offset == offset));
        ids(&held) == expected
    };
    assert_eq!(compare("reorders-topic", act), (true, false));
}
