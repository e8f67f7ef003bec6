//! Quorum stores as students write them, in Python and in JavaScript, under shipped workloads: what their `expected:`
//! headers say must come of it.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Lab, check, javascript, python, side_by_side};

/// Shares a machine of two cores with the other tests.
const WIDTH: usize = 3;
/// So many seeds at most until a bug of timing shows: on a busy machine few operations fall into its moment.
const SEEDS: u64 = 4;

/// A script below `tests/nodes/quorum/`, the workload that is to judge it, and the kinds of violation that name its bug.
type Case = (&'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    ("quorum_ok.py", "outage", &[]),
    ("quorum_ok.js", "outage", &[]),
    ("quorum_ok.py", "leader-kill", &[]),
    ("quorum_ok.js", "leader-kill", &[]),
    ("first_answer_wins.py", "lag", &["stale-strong-read", "deleted-value-returned"]),
    ("first_answer_wins.js", "lag", &["stale-strong-read", "deleted-value-returned"]),
    ("delete_not_replicated.py", "delete", &["deleted-value-returned", "lost-acknowledged"]),
    ("delete_not_replicated.js", "delete", &["diverged"]),
    ("pending_never_filled.py", "lag", &["read-your-writes"]),
    ("pending_never_filled.js", "lag", &["read-your-writes"]),
    ("url_sorts_first.py", "outage", &["no-leader"]),
    ("url_sorts_first.js", "outage", &["no-leader"]),
];

/// The lab's faults in half the time: the nodes' timers run in tenths of a second, and what goes wrong goes wrong at once. The soak
/// runs the workloads as they are shipped.
fn sooner(workload: &str) -> &'static [&'static str] {
    match workload {
        "outage" => &["load.duration=11s", "fault.0.at=2s", "fault.0.for=6s"],
        "leader-kill" => {
            &["load.duration=13s", "fault.0.at=2s", "fault.0.for=3s", "fault.1.at=8s", "fault.1.for=3s"]
        }
        "lag" => &["load.duration=10s", "fault.0.at=1s", "fault.0.for=8s"],
        "delete" => {
            &["load.duration=12s", "fault.0.at=1s", "fault.0.for=4s", "fault.1.at=6s", "fault.1.for=4s"]
        }
        _ => panic!("{workload} is not among them"),
    }
}

/// `valid`, or the check that finds the bug.
fn expected(script: &Path) -> String {
    let text = std::fs::read_to_string(script).unwrap();
    let line = text.lines().find_map(|line| line.split_once("expected: "));
    line.unwrap_or_else(|| panic!("{} has no `expected:`", script.display())).1.to_owned()
}

#[test]
fn nodes_in_python_and_javascript_are_what_their_headers_say() {
    let cases: Vec<_> = CASES.iter().map(|case| (case.0, *case)).collect();
    side_by_side(WIDTH, &cases, |(script, workload, kinds)| keeps_its_word(script, workload, kinds));
}

fn keeps_its_word(script: &str, workload: &str, kinds: &[&str]) {
    let below = format!("quorum/{script}");
    let (node, protocol) = if script.ends_with(".py") {
        (python(&below), "quorum-snake")
    } else {
        (javascript(&below), "quorum")
    };
    let Some(node) = node else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = expected(&root.join("tests/nodes").join(below));
    let file: PathBuf = root.join(format!("workloads/quorum/lab/{workload}.toml"));
    let sets = [
        format!("client.protocol={protocol}"),
        "cluster.ready-within=60s".to_owned(),
        // Whoever never elects is waited for so long.
        format!("cluster.elect-within={}", if expected == "leader" { "6s" } else { "30s" }),
        "settle.within=30s".to_owned(),
    ];
    let sets: Vec<&str> = sets
        .iter()
        .map(String::as_str)
        .chain(sooner(workload).iter().copied())
        .flat_map(|set| ["--set", set])
        .collect();
    for seed in 1..=SEEDS {
        let lab = Lab::new(&format!("quorum-lab-{workload}"));
        let seed = seed.to_string();
        let arguments = [&["--json", "--quiet", "--node", &node, "--seed", &seed], &sets[..]].concat();
        let ended = lab.start_file(&file, &arguments).wait();
        lab.nothing_left();
        let results = ended.json();
        assert_eq!(results["bypasses"], json!([]), "{script} talks past its links");
        assert_eq!(results["not_understood"], json!([]), "{script}");
        if expected == "valid" {
            ended.expect_code(0);
            return;
        }
        let found = check(&results, &expected);
        if found["verdict"] == "invalid" {
            ended.expect_code(1);
            let kind = found["violations"][0]["kind"].as_str().unwrap_or("none");
            assert!(kinds.contains(&kind), "{script}: {found}");
            return;
        }
        eprintln!("{script} got through seed {seed}: {found}");
    }
    panic!("{script}: {expected} found nothing under {SEEDS} seeds");
}
