//! Chats and publish/subscribe logs as students write them, in Python, under shipped workloads: what their `expected:`
//! headers say must come of it, and nothing else may be blamed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Lab, check, python, side_by_side};

/// Shares a machine of two cores with the other tests.
const WIDTH: usize = 3;
/// So many seeds at most until a bug of timing shows.
const SEEDS: u64 = 4;

struct Case {
    /// Below `tests/nodes/`.
    script: &'static str,
    /// Below `workloads/`.
    workload: &'static str,
    /// `--set`, over what all have.
    sets: &'static [&'static str],
    /// The kinds of violation that name the bug; none of another check may be found beside them.
    kinds: &'static [&'static str],
    /// Checks that may find the bug's other face: an entry that is lost because two led. Such a bug may hide from a seed.
    also: &'static [&'static str],
}

const fn case(script: &'static str, workload: &'static str, sets: &'static [&'static str]) -> Case {
    Case { script, workload, sets, kinds: &[], also: &[] }
}

const SHORT: &[&str] = &["load.duration=4s"];
const LARGE: &[&str] = &["load.duration=3s", "load.size=6000B", "settle.within=4s"];

const CASES: &[Case] = &[
    case("broadcast/chat_udp.py", "broadcast/slow-link", &[]),
    case("broadcast/chat_udp.py", "broadcast/lossy", &[]),
    case("broadcast/chat_tcp.py", "broadcast/quiet", &["load.duration=3s", "load.size=6000B"]),
    case("broadcast/own_address.py", "broadcast/slow-link", &[]),
    Case {
        kinds: &["order", "not-causal", "not-fifo"],
        ..case("broadcast/no_hold_back_queue.py", "broadcast/concurrent", SHORT)
    },
    Case {
        kinds: &["own-message-missing", "missing"],
        ..case("broadcast/one_read_one_message.py", "broadcast/quiet", LARGE)
    },
    case("pubsub/log_ok.py", "pubsub/leader-kill", &["load.duration=6s"]),
    case("pubsub/log_ok.py", "pubsub/restart-all", &[]),
    Case {
        kinds: &["duplicated", "diverged", "reordered", "two-offsets"],
        ..case("pubsub/replays_twice.py", "pubsub/leader-kill", &["load.duration=6s"])
    },
    Case {
        kinds: &["two-leaders-one-term"],
        also: &["log"],
        ..case("pubsub/votes_yes.py", "pubsub/split-vote", &[])
    },
];

#[test]
fn chats_and_logs_in_python_are_what_their_headers_say() {
    let cases: Vec<_> = CASES.iter().map(|case| (case.script, case)).collect();
    side_by_side(WIDTH, &cases, |case| keeps_its_word(case));
}

fn keeps_its_word(case: &Case) {
    let Some(node) = python(case.script) else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(root.join("tests/nodes").join(case.script)).unwrap();
    let expected = script.lines().find_map(|line| line.split_once("expected: "));
    let expected = expected.unwrap_or_else(|| panic!("{} has no `expected:`", case.script)).1;
    let by_chance = !case.also.is_empty();
    for seed in 1..=if by_chance { SEEDS } else { 1 } {
        if judge(case, &node, expected, seed) {
            return;
        }
    }
    panic!("{}: {expected} found nothing under {SEEDS} seeds", case.script);
}

/// Whether the run came out as expected; `false` only where a bug may hide from one seed.
fn judge(case: &Case, node: &str, expected: &str, seed: u64) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file: PathBuf = root.join(format!("workloads/{}.toml", case.workload));
    let text = std::fs::read_to_string(file).unwrap();
    let lab = Lab::new(&case.workload.replace('/', "-"));
    std::fs::write(lab.file(), text).unwrap();
    let mut sets = vec!["cluster.ready-within=60s".to_owned(), "settle.within=30s".to_owned()];
    if case.workload.starts_with("broadcast/") {
        let protocol = root.join("tests/nodes/broadcast/chat.toml");
        sets.push(format!("client.protocol={}", protocol.display()));
        // None of these ever goes on without somebody.
        sets.push("cluster.views=false".to_owned());
    }
    sets.extend(case.sets.iter().map(|set| (*set).to_owned()));
    let seed = seed.to_string();
    let mut arguments = vec!["--json", "--quiet", "--seed", &seed, "--node", node];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
    let ended = lab.start(&arguments).wait();
    lab.nothing_left();
    let results = ended.json();
    assert_eq!(results["not_understood"], json!([]), "{}", case.script);
    if expected == "bypass" {
        ended.expect_code(4);
        let why = results["why"].to_string();
        assert!(results["bypasses"] != json!([]) && why.contains("past its link"), "{why}");
        return true;
    }
    assert_eq!(results["bypasses"], json!([]), "{} talks past its links", case.script);
    for other in results["checks"].as_array().unwrap() {
        let name = other["name"].as_str().unwrap();
        let innocent = name != expected && !case.also.contains(&name);
        assert!(!innocent || other["verdict"] != "invalid", "{}: {other}", case.script);
    }
    if expected == "valid" {
        ended.expect_code(0);
        return true;
    }
    let found = check(&results, expected);
    if found["verdict"] != "invalid" {
        assert!(!case.also.is_empty(), "{}: {found}", case.script);
        return false;
    }
    ended.expect_code(1);
    let kind = found["violations"][0]["kind"].as_str().unwrap_or("none");
    assert!(case.kinds.contains(&kind), "{}: {found}", case.script);
    true
}
