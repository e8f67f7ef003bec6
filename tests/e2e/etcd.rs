//! A system of somebody else's: etcd, under the shipped workload. Read with a quorum it is linearizable; read from the copy of
//! whoever is asked it is not, as Jepsen found out in 2014. Skipped, with a word, where there is no etcd.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Ended, Lab, check, side_by_side};

/// A stale read needs a follower that is late at the right moment.
const SEEDS: u64 = 4;

fn can_run() -> bool {
    let works = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let all = works("etcd", &["--version"]) && works("unshare", &["--map-root-user", "--mount", "true"]);
    if !all {
        eprintln!("skipped: there is no etcd, or nobody may give it names of its own here");
    }
    all
}

fn run(name: &str, seed: u64, more: &[String]) -> Ended {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lab = Lab::new(name);
    std::fs::copy(root.join("workloads/etcd/outage.toml"), lab.file()).unwrap();
    let seed = seed.to_string();
    // A busy machine may leave no time in which a leader is certainly owed.
    let mut arguments = vec!["--json", "--quiet", "--seed", &seed, "--set", "checks.leader=reported"];
    arguments.extend(more.iter().map(String::as_str));
    let ended = lab.start(&arguments).wait();
    lab.nothing_left();
    ended
}

fn reads_with_a_quorum() {
    let ended = run("etcd-quorum", 1, &[]);
    ended.expect_code(0);
    let results = ended.json();
    assert_eq!(results["not_understood"], serde_json::json!([]));
    assert_eq!(results["bypasses"], serde_json::json!([]), "its peers are reached through their links");
    let linearizability = check(&results, "linearizability");
    assert!(linearizability["evidence"]["reads"].as_u64().unwrap() > 100, "{linearizability}");
}

fn reads_what_is_at_hand() {
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads/protocols/etcd-local.toml");
    let protocol = ["--set".to_owned(), format!("client.protocol={}", protocol.display())];
    for seed in 1..=SEEDS {
        let ended = run("etcd-local", seed, &protocol);
        let results = ended.json();
        if check(&results, "linearizability")["verdict"] != "invalid" {
            continue;
        }
        ended.expect_code(1);
        for other in results["checks"].as_array().unwrap() {
            assert!(other["name"] == "linearizability" || other["verdict"] != "invalid", "{other}");
        }
        return;
    }
    panic!("no stale read under {SEEDS} seeds");
}

#[test]
fn a_quorum_tells_the_newest_and_a_copy_may_not() {
    if can_run() {
        let both: [(&str, fn()); 2] = [("quorum", reads_with_a_quorum), ("copy", reads_what_is_at_hand)];
        side_by_side(2, &both.map(|(name, run)| (name, run)), |run| run());
    }
}
