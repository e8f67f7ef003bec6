//! Nodes in Python, written from the lab's interface alone, as their `# expected:` headers say.

use std::path::PathBuf;

use serde_json::json;

use crate::support::{Lab, Spec, check, python, side_by_side};

/// Shares a machine of two cores with the next ones.
const WIDTH: usize = 4;

/// What a lab's workload has: data in memory, two in flight a node, keys that nobody writes again.
fn lab_spec(name: &'static str) -> Spec {
    Spec {
        durability: "memory",
        client: "timeout = \"3s\"\nmax-in-flight = 2",
        load: "rate = 60\nduration = \"7s\"\nkeys = 6\nrotate = \"700ms\"",
        settle: "25s",
        ..Spec::new(name)
    }
}

/// What a node's header says: `valid`, or the check that finds its bug.
fn expected(script: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/nodes", script].iter().collect();
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("# expected: "));
    line.unwrap_or_else(|| panic!("{script} has no `# expected:`")).to_owned()
}

/// Runs a node and takes its header's word for what has to come of it.
fn keeps_its_word(spec: Spec, script: &str) {
    let Some(node) = python(script) else { return };
    let expected = expected(script);
    let settle = if expected == "valid" { spec.settle } else { "3s" };
    let (_lab, ended) = Spec { node, settle, ..spec }.run();
    let results = ended.json();
    assert_eq!(results["bypasses"], json!([]), "{script} talks past its links");
    assert_eq!(results["not_understood"], json!([]), "{script}");
    for fault in results["faults"].as_array().unwrap() {
        assert_eq!(fault["took_effect"], true, "{script}: {fault}");
    }
    if expected == "valid" {
        ended.expect_code(0);
    } else {
        ended.expect_code(1);
        assert_eq!(check(&results, &expected)["verdict"], "invalid", "{script}: {results}");
    }
}

/// A kill, a partition and a pause one after the other.
fn all_three(spec: Spec) -> Spec {
    spec.fault("500ms", "2s", "kill = \"B\"")
        .fault("3500ms", "1500ms", "partition = [[\"A\"], [\"B\", \"C\"]]")
        .fault("5500ms", "1s", "pause = \"C\"")
}

#[test]
fn correct_nodes_pass_a_kill_a_partition_and_a_pause() {
    let cases =
        ["threading_ok.py", "single_threaded.py", "asyncio_node.py", "plaintext_put.py", "by_port.py"];
    side_by_side(WIDTH, &cases.map(|name| (name, name)), |script| {
        assert_eq!(expected(script), "valid");
        keeps_its_word(all_three(lab_spec("correct")), script);
    });
}

#[test]
fn wrong_nodes_are_found_out() {
    // Ties need writes of the same key at the same moment.
    let ties = "rate = 120\nburst = 6\nduration = \"4s\"\nkeys = 2\nrotate = \"300ms\"\nmix = { read = 1, write = 3 }";
    let cases = [
        ("flasklike.py", lab_spec("loses").fault("500ms", "3s", "kill = \"B\"")),
        ("no_receive_rule.py", lab_spec("clock")),
        ("nostatus_miss200.py", Spec { load: ties, ..lab_spec("ties") }),
    ];
    let cases = cases.map(|(script, spec)| (script, (script, spec)));
    side_by_side(WIDTH, &cases, |(script, spec)| keeps_its_word(spec.clone(), script));
}

/// A node that takes its port on every address leaves room for links that have its port on other addresses, and its
/// peers are cut off from it all the same.
#[test]
fn a_node_on_every_address_can_be_cut_off() {
    let Some(node) = python("flasklike.py") else { return };
    let spec = lab_spec("wildcard").fault("500ms", "2s", "partition = [[\"A\"], [\"B\", \"C\"]]");
    let load = "rate = 60\nduration = \"3s\"\nkeys = 4\nrotate = \"400ms\"";
    let (lab, ended) = Spec { node, load, settle: "3s", ..spec }.run();
    let results = ended.json();
    assert_eq!((&results["failures"], &results["bypasses"]), (&json!([]), &json!([])));
    let fault = &results["faults"][0];
    assert_eq!((&fault["took_effect"], &fault["evidence"]["idle"]), (&json!(true), &json!(false)), "{fault}");
    let log = std::fs::read_to_string(lab.folder().join("nodes/A.log")).unwrap();
    let told = log.lines().find_map(|line| line.split("--port ").nth(1)).unwrap();
    let own = told.split_whitespace().next().unwrap().parse::<u16>().unwrap();
    for peer in [own + 1, own + 2] {
        assert!(told.contains(&format!(":{peer}")), "a link has its peer's own port: {told}");
    }
}

/// A shipped workload as it is, on free ports and shorter: what a student types.
#[test]
fn a_shipped_workload_takes_a_student_s_node() {
    let Some(node) = python("threading_ok.py") else { return };
    let lab = Lab::new("lab2-outage");
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "workloads/lab2/outage.toml"].iter().collect();
    let sets = [
        "cluster.port=0",
        "cluster.ready-within=60s",
        "load.duration=9s",
        "fault.0.at=2500ms",
        "fault.0.for=4s",
    ];
    let mut arguments = vec!["--json", "--quiet", "--node", &node];
    arguments.extend(sets.iter().flat_map(|set| ["--set", *set]));
    let ended = lab.start_file(&file, &arguments).wait();
    lab.nothing_left();
    ended.expect_code(0);
    let results = ended.json();
    assert_eq!(check(&results, "durability")["verdict"], "valid");
    assert_eq!(results["durability"], "memory");
}
