//! The correct node keeps its promises while nodes die, stop, and lose each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::support::{Client, Cluster, ids};
use crate::support::eventually;

/// Numbers of messages that are published before and after something.
const SOME: usize = 12;

fn publish_some(cluster: &Cluster, from: usize) {
    for n in from..from + SOME {
        cluster.publish("t", &format!("m{n}"));
    }
}

/// All of `m0` … in order: one producer waits for each answer.
fn expect_all(cluster: &Cluster, count: usize) {
    let expected: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
    assert_eq!(ids(&cluster.agree("t")), expected);
}

#[test]
fn no_acknowledged_message_is_lost_or_doubled_when_leaders_are_killed() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(3, &[], root.path());
    let mut count = 0;
    for _ in 0..3 {
        publish_some(&cluster, count);
        let leader = cluster.leader();
        cluster.nodes[leader].kill();
        publish_some(&cluster, count + SOME);
        // An id from before the failover is known after it.
        assert_eq!(cluster.publish("t", &format!("m{count}")), format!("OK duplicate m{count}"));
        cluster.nodes[leader].start();
        count += 2 * SOME;
    }
    expect_all(&cluster, count);
}

#[test]
fn all_of_it_survives_a_restart_of_all() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(3, &["--keep-entries", "5"], root.path());
    for round in 0..3 {
        publish_some(&cluster, round * SOME);
        cluster.nodes.iter_mut().for_each(super::support::Node::kill);
        cluster.nodes.iter_mut().for_each(super::support::Node::start);
    }
    assert_eq!(cluster.publish("t", "m0"), "OK duplicate m0");
    expect_all(&cluster, 3 * SOME);
}

#[test]
fn a_leader_in_the_minority_acknowledges_nothing_and_shows_nothing_uncommitted() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(3, &[], root.path());
    let old = cluster.leader();
    publish_some(&cluster, 0);
    let mut producer = cluster.nodes[old].client();
    cluster.isolate(old, true);
    producer.send("PUB t --id cut-off text").unwrap();
    let new = cluster.leader_among(&cluster.others(old));
    let mut reader = cluster.nodes[old].client();
    assert_eq!(reader.history("t 100").unwrap().len(), SOME);
    publish_some(&cluster, SOME);
    assert_eq!(reader.history("t 100").unwrap().len(), SOME, "an old prefix");
    let error = reader.history("t 100 --strong").unwrap_err();
    assert!(error.starts_with("ERR unavailable "), "{error}");
    assert_eq!(cluster.nodes[new].client().history("t 100 --strong").unwrap().len(), 2 * SOME);

    eventually("it has given up", || {
        let status = cluster.nodes[old].status();
        if status["role"] == "leader" { Err(status.to_string()) } else { Ok(()) }
    });
    let mut refused = cluster.nodes[old].client();
    assert_eq!(refused.ask("PUB t --id refused text"), "ERR unavailable no leader is known");
    cluster.isolate(old, false);
    let answer = producer.line().unwrap();
    // Which of the two depends on how long the election took.
    assert!(answer.starts_with("ERR timeout cut-off ") || answer.starts_with("ERR not_committed cut-off "));
    expect_all(&cluster, 2 * SOME);
    assert_eq!(cluster.leader(), new, "whoever was cut off deposes nobody");
}

#[test]
fn a_leader_that_slept_through_an_election_acknowledges_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(3, &[], root.path());
    let old = cluster.leader();
    publish_some(&cluster, 0);
    cluster.nodes[old].signal(Signal::SIGSTOP);
    let new = cluster.leader_among(&cluster.others(old));
    // The kernel takes them in for the sleeper, who finds them when it wakes.
    let mut asleep: Vec<Client> = (0..4).map(|_| cluster.nodes[old].client()).collect();
    for (n, client) in asleep.iter_mut().enumerate() {
        client.send(&format!("PUB t --id asleep-{n} text")).unwrap();
    }
    let mut after = cluster.nodes[new].client();
    for n in SOME..2 * SOME {
        assert_eq!(after.ask(&format!("PUB t --id m{n} text")), format!("OK published m{n}"));
    }
    cluster.nodes[old].signal(Signal::SIGCONT);
    let answers: Vec<String> = asleep.iter_mut().map(|client| client.line().unwrap()).collect();
    let messages = cluster.agree("t");
    for (n, answer) in answers.iter().enumerate() {
        // It may be passed on to the new leader, so OK is fine when it is kept, and ERR when it is true.
        let id = format!("asleep-{n}");
        let there = ids(&messages).contains(&id.as_str());
        let ok = answer.starts_with("OK ");
        assert!(ok == there || answer.starts_with("ERR timeout"), "{answer}, there: {there}");
    }
    let kept: Vec<&str> = ids(&messages).into_iter().filter(|id| !id.starts_with("asleep")).collect();
    assert_eq!(kept.len(), 2 * SOME);
}

/// Whatever brings its node up to date, a subscriber gets every offset: entries that were held up on the way, or the state.
#[test]
fn a_subscriber_misses_nothing_while_its_node_catches_up() {
    let root = tempfile::tempdir().unwrap();
    // More than are sent to a follower that does not confirm them.
    for (words, behind_by, by_state) in [(&[][..], SOME, false), (&["--keep-entries", "5"], 300, true)] {
        let cluster = Cluster::start(3, words, &root.path().join(by_state.to_string()));
        let leader = cluster.leader();
        let behind = cluster.others(leader)[0];
        let mut subscriber = cluster.nodes[behind].client();
        assert_eq!(subscriber.ask("SUB t"), "OK subscribed t");
        let mut producer = cluster.nodes[leader].client();
        let mut count = 0;
        let mut publish = |more: usize| {
            for n in count..count + more {
                assert_eq!(producer.ask(&format!("PUB t --id m{n} text")), format!("OK published m{n}"));
            }
            count += more;
        };
        publish(SOME);
        cluster.isolate(behind, true);
        publish(behind_by);
        cluster.isolate(behind, false);
        cluster.nodes[behind].signal(Signal::SIGSTOP);
        publish(SOME);
        cluster.nodes[behind].signal(Signal::SIGCONT);
        let expected: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
        let seen: Vec<_> = (0..count).map(|_| subscriber.message()).collect();
        assert_eq!(ids(&seen), expected);
        assert!(seen.iter().zip(0..).all(|(message, offset)| message.offset == offset));
        assert_eq!(cluster.nodes[behind].log().contains("takes over the state"), by_state);
        expect_all(&cluster, count);
    }
}

/// Killed one after the other, over and over, under producers that publish again what they know nothing of.
#[test]
fn rolling_restarts_under_load() {
    let root = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(3, &["--keep-entries", "20"], root.path());
    cluster.leader();
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut acknowledged: Vec<String> = std::thread::scope(|scope| {
        let (done, count) = (&done, &count);
        let producers: Vec<_> =
            ports.iter().map(|&port| scope.spawn(move || produce(port, done, count))).collect();
        // It ends the producers also when something here panics.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let end = End(done);
        for round in 0..6 {
            let at = round % 3;
            cluster.nodes[at].kill();
            cluster.leader_among(&cluster.others(at));
            cluster.nodes[at].start();
            cluster.publish("rounds", &format!("round-{round}"));
            let enough = count.load(Ordering::SeqCst) + 10;
            eventually("producers go on", || {
                let count = count.load(Ordering::SeqCst);
                if count >= enough { Ok(()) } else { Err(count.to_string()) }
            });
        }
        drop(end);
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    });
    let messages = cluster.agree("load");
    let mut there: Vec<&str> = ids(&messages);
    there.sort_unstable();
    acknowledged.sort_unstable();
    assert!(acknowledged.len() >= 60, "{}", acknowledged.len());
    assert!(there.windows(2).all(|pair| pair[0] != pair[1]), "twice");
    let lost: Vec<&String> =
        acknowledged.iter().filter(|id| there.binary_search(&id.as_str()).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(cluster.agree("rounds").len(), 6);
}

/// Publishes one message after the other at one node, each until it is acknowledged; those that were.
fn produce(port: u16, done: &AtomicBool, count: &AtomicUsize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let id = format!("p{port}-{}", acknowledged.len());
        let line = format!("PUB load --id {id} text");
        while !done.load(Ordering::SeqCst) {
            let answer =
                Client::to(port).and_then(|mut client| client.send(&line).and_then(|()| client.line()));
            if answer.is_ok_and(|answer| answer.starts_with("OK ")) {
                acknowledged.push(id);
                count.fetch_add(1, Ordering::SeqCst);
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    acknowledged
}
