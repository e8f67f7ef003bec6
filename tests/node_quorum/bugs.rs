//! Each bug shows, and the correct node under the same treatment does not have it.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use super::support::{
    Cluster, Linked, ask, command, internal, put, put_ok, put_somewhere, read, repair, status, store, value,
};
use crate::support::{Node, eventually, free_port};

/// What `act` sees of a cluster without the bug (`true`) and with it.
fn compare<T: Send>(w: &str, bug: &str, act: impl Fn(&mut Cluster, bool) -> T + Sync) -> (T, T) {
    let root = tempfile::tempdir().unwrap();
    both(bug, |bug| {
        let mut cluster = Cluster::start(&command(w, "2", bug), &root.path().join(bug));
        act(&mut cluster, bug.is_empty())
    })
}

/// The same with links to cut.
fn compare_linked<T: Send>(bug: &str, act: impl Fn(&Linked, bool) -> T + Sync) -> (T, T) {
    let root = tempfile::tempdir().unwrap();
    both(bug, |bug| {
        let linked = Linked::start(&command("2", "2", bug), &root.path().join(bug));
        act(&linked, bug.is_empty())
    })
}

/// Side by side: most of their time is waiting for elections.
fn both<T: Send>(bug: &str, run: impl Fn(&str) -> T + Sync) -> (T, T) {
    std::thread::scope(|scope| {
        let correct = scope.spawn(|| run(""));
        let wrong = run(bug);
        (correct.join().unwrap(), wrong)
    })
}

#[test]
fn a_quorum_is_claimed() {
    let alone = |cluster: &mut Cluster, _: bool| {
        let leader = cluster.leader();
        for other in cluster.others(leader) {
            cluster.nodes[other].kill();
        }
        put(&cluster.nodes[leader], "k", 1).1["achievedQuorum"].clone()
    };
    let one_down = |cluster: &mut Cluster, _: bool| {
        let leader = cluster.leader();
        let [down, _] = cluster.others(leader);
        cluster.nodes[down].kill();
        put(&cluster.nodes[leader], "k", 1).0
    };
    // As soon as it is noticed that one is silent it is refused; before, it waits in vain.
    let refused = |cluster: &mut Cluster, correct: bool| {
        let code = one_down(cluster, correct);
        (code == 200, correct || !matches!(put(&cluster.nodes[cluster.leader_up()], "k", 2).0, 200))
    };
    std::thread::scope(|scope| {
        for bug in ["claims-quorum", "counts-itself-twice"] {
            scope.spawn(move || assert_eq!(compare("2", bug, alone), (json!(false), json!(true)), "{bug}"));
        }
        scope.spawn(|| assert_eq!(compare("3", "counts-itself-twice", one_down), (500, 200)));
        scope.spawn(|| {
            assert_eq!(compare("2", "refuses-with-quorum", refused), ((true, true), (false, true)))
        });
    });
}

impl Cluster {
    /// Who leads among those that answer.
    fn leader_up(&self) -> usize {
        let up: Vec<usize> = (0..3).filter(|at| !status(&self.nodes[*at]).is_null()).collect();
        self.leader_among(&up)
    }
}

/// How often one node, asked by `query`, misses what the two others hold and were asked for. Anti-entropy may be
/// quicker now and then.
fn misses(cluster: &mut Cluster, query: &str) -> usize {
    cluster.leader();
    let nodes = &cluster.nodes;
    let base = status(&nodes[0])["term"].as_u64().unwrap() * 1_000_000_000 + 1;
    repair(&nodes[2], "k", 0, base);
    let miss = |n: &u64| {
        repair(&nodes[0], "k", *n, base + n);
        repair(&nodes[1], "k", *n, base + n);
        let shown = value(&nodes[2], "k", &format!("{query}&token={}", base + n));
        shown != Some(json!(n))
    };
    (1..=12).filter(miss).count()
}

#[test]
fn reads_are_stale() {
    std::thread::scope(|scope| {
        for (bug, query) in [
            ("local-strong-read", "consistency=strong"),
            ("first-answer-wins", "consistency=strong"),
            ("unread-pending", "consistency=read_your_writes"),
        ] {
            scope.spawn(move || {
                let (correct, stale) = compare("2", bug, |cluster, _| misses(cluster, query));
                assert!(correct == 0 && stale > 0, "{bug}: {correct} {stale}");
            });
        }
    });
}

#[test]
fn the_first_answer_may_be_null() {
    // Where the node itself has nothing, what another has counts.
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&command("2", "3", "first-answer-wins"), root.path());
    cluster.leader();
    repair(&cluster.nodes[0], "k", 1, 1_000_000_001);
    assert_eq!(value(&cluster.nodes[1], "k", "consistency=strong"), Some(json!(1)));
}

#[test]
fn old_and_new_are_mixed_up() {
    let root = tempfile::tempdir().unwrap();
    let held = |bug: &str| {
        let mut node = Node::new(&command("1", "1", bug), "n1", free_port(), &[], &root.path().join(bug));
        node.start();
        repair(&node, "k", "new", 1_000_000_002);
        repair(&node, "k", "old", 1_000_000_001);
        value(&node, "k", "consistency=eventual").unwrap()
    };
    assert_eq!((held(""), held("no-versions")), (json!("new"), json!("old")));

    // A read takes what comes last for the newest, and spreads it.
    let read_and_spread = |cluster: &mut Cluster, _: bool| {
        cluster.leader();
        repair(&cluster.nodes[1], "k", "old", 1_000_000_001);
        repair(&cluster.nodes[2], "k", "old", 1_000_000_001);
        repair(&cluster.nodes[0], "k", "new", 1_000_000_002);
        ["strong", "eventual"]
            .map(|level| value(&cluster.nodes[0], "k", &format!("consistency={level}")).unwrap())
    };
    assert_eq!(
        compare("2", "no-versions", read_and_spread),
        (["new", "new"].map(Json::from), ["old", "old"].map(Json::from))
    );
}

#[test]
fn a_delete_stays_with_the_leader() {
    let deleted = |cluster: &mut Cluster, correct: bool| {
        let leader = cluster.leader();
        put_ok(&cluster.nodes[leader], "k", 1);
        cluster.agree(|store| store["store"]["k"]["value"] == 1);
        assert_eq!(ask(&cluster.nodes[leader], "DELETE", "/key/k", "").unwrap().0, 200);
        assert_eq!(value(&cluster.nodes[leader], "k", "consistency=strong"), None);
        // Whatever comes after it arrives, by replication and by anti-entropy.
        put_ok(&cluster.nodes[leader], "later", 1);
        eventually("the later write is everywhere", || {
            let stores: Vec<Json> = cluster.nodes.iter().map(store).collect();
            let everywhere = stores.iter().all(|store| store["store"]["later"].is_object());
            let gone = stores.iter().all(|store| store["tombstones"]["k"].is_number());
            if everywhere && (gone || !correct) { Ok(()) } else { Err(format!("{stores:?}")) }
        });
        let [one, other] = cluster.others(leader);
        let held = [leader, one, other].map(|at| value(&cluster.nodes[at], "k", "consistency=eventual"));
        held.map(|value| value.is_some())
    };
    assert_eq!(compare("2", "delete-not-replicated", deleted), ([false, false, false], [false, true, true]));
}

#[test]
fn a_deposed_leader_goes_on() {
    let goes_on = |cluster: &mut Cluster, correct: bool| {
        let old = cluster.leader();
        cluster.nodes[old].signal(Signal::SIGSTOP);
        let new = cluster.leader_among(&cluster.others(old));
        put_ok(&cluster.nodes[new], "k", "new");
        cluster.nodes[old].signal(Signal::SIGCONT);
        let (code, _) = put(&cluster.nodes[old], "k", "deposed");
        if correct {
            assert_eq!(cluster.leader(), new);
        }
        let roles = [old, new].map(|at| status(&cluster.nodes[at])["role"].clone());
        // The bug's write is acknowledged, and outranked: nobody else ever sees it.
        let shown = value(&cluster.nodes[new], "k", "consistency=strong").unwrap();
        (code == 200, roles == [json!("leader"), json!("leader")], shown)
    };
    let (correct, bug) = compare("2", "no-term-check", goes_on);
    assert_eq!(correct, (false, false, json!("new")));
    assert_eq!(bug, (true, true, json!("new")));

    let root = tempfile::tempdir().unwrap();
    let mut node = Node::new(&command("2", "2", "no-term-check"), "n1", free_port(), &[1, 2], root.path());
    node.start();
    internal(&node, "heartbeat", &json!({"term": 9, "leaderId": "n2"}));
    let late =
        json!({"term": 7, "leaderId": "n3", "item": {"key": "k", "value": 1, "version": 7_000_000_001_u64}});
    assert_eq!(
        internal(&node, "replicate", &late),
        (200, json!({"success": true, "nodeId": "n1", "term": 7}))
    );
}

#[test]
fn each_side_has_a_leader() {
    let both_sides = |linked: &Linked, correct: bool| {
        let cluster = &linked.cluster;
        cluster.leader();
        // n1 is the lowest: on its own side it leads again, and so does the lower of the others.
        linked.isolate(0, true);
        let leaders = eventually("a leader on the larger side, and maybe on the other", || {
            let statuses: Vec<Json> = cluster.nodes.iter().map(status).collect();
            let leads = |at: usize| statuses[at]["role"] == "leader";
            let other = leads(1) || leads(2);
            let terms: Vec<&Json> = (0..3).filter(|&at| leads(at)).map(|at| &statuses[at]["term"]).collect();
            let lonely = statuses[0]["leaderId"].is_null();
            let found =
                if correct { other && lonely } else { other && terms.len() == 2 && terms[0] == terms[1] };
            if found { Ok(terms.len()) } else { Err(format!("{statuses:?}")) }
        });
        linked.isolate(0, false);
        cluster.leader();
        leaders
    };
    assert_eq!(compare_linked("two-leaders", both_sides), (1, 2));
}

#[test]
fn nobody_leads() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&command("2", "2", "url-sorts-first"), root.path());
    // time itself is tested: three of the longest waits for an election.
    std::thread::sleep(Duration::from_millis(1800));
    for node in &cluster.nodes {
        let status = status(node);
        assert_eq!((&status["role"], &status["leaderId"]), (&json!("follower"), &json!(null)), "{status}");
        assert_eq!(put(node, "k", 1).0, 503);
    }
    assert_eq!(read(&cluster.nodes[0], "k", "consistency=strong").0, 404, "reads need no leader");
}

#[test]
fn an_acknowledged_write_is_nowhere_yet() {
    let at_once = |cluster: &mut Cluster, _: bool| {
        let (leader, _) = put_somewhere(cluster, "k", 1);
        // Unless this process is kept from running for longer than the write waits, so more than once.
        let missing = |n: &u64| {
            let key = format!("k{n}");
            put_ok(&cluster.nodes[leader], &key, 1);
            value(&cluster.nodes[leader], &key, "consistency=strong").is_none()
        };
        let missing = (0..5).filter(missing).count();
        cluster.agree(|store| (0..5).all(|n| store["store"][format!("k{n}")].is_object()));
        missing > 0
    };
    assert_eq!(compare("2", "ack-then-replicate", at_once), (false, true));
}

#[test]
fn a_healed_leader_pushes_its_old_map() {
    let after_heal = |linked: &Linked, correct: bool| {
        let cluster = &linked.cluster;
        let old = cluster.leader();
        put_ok(&cluster.nodes[old], "k", "old");
        linked.isolate(old, true);
        let new = cluster.leader_among(&cluster.others(old));
        put_ok(&cluster.nodes[new], "k", "new");
        linked.isolate(old, false);
        let expected = if correct { "new" } else { "old" };
        cluster.agree(|store| store["store"]["k"]["value"] == expected)["store"]["k"]["value"].clone()
    };
    assert_eq!(compare_linked("overwrites-on-heal", after_heal), (json!("new"), json!("old")));
}
