//! What nodes say on their own comes faster than any load asks for: all of it is in the history, in order.

use crate::support::{Lab, python};

/// So many each of them sends: ten seconds' worth of what the harness has to keep up with.
const COUNT: usize = 100_000;

/// The numbers that were delivered, in the order of the history.
fn delivered(lab: &Lab, skip: usize) -> Vec<usize> {
    let history = std::fs::read_to_string(lab.history()).unwrap();
    let events = history.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let deliveries = events.filter(|event| event["f"] == "deliver" && event["process"] == "node");
    deliveries.map(|event| event["value"].as_str().unwrap()[skip..].parse().unwrap()).collect()
}

fn expect_all(lab: &Lab, arguments: &[&str], first: usize, skip: usize) {
    let ended = lab.run(arguments);
    let all = delivered(lab, skip);
    assert_eq!(all.len(), COUNT, "{}", ended.stderr);
    assert!(all.iter().copied().eq(first..first + COUNT), "they are in the order in which they were sent");
}

#[test]
fn a_process_that_prints_without_pause_is_recorded_whole() {
    let lab = Lab::new("flood");
    let script = format!("echo ready; read line; seq 1 {COUNT} | sed s/^/d/; cat >/dev/null");
    std::fs::write(lab.dir.path().join("flood.sh"), script).unwrap();
    let protocol = "name = \"flood\"\nabout = \"deliveries\"\ntransport = \"stdio\"\ndeliver = '^(?P<value>d\\d+)$'\n\
                    [ready]\nmatch = '^ready'\n[broadcast]\nline = \"{{ value }}\"\n";
    std::fs::write(lab.dir.path().join("protocol.toml"), protocol).unwrap();
    let workload = format!(
        "name = \"flood\"\nseed = 7\n[cluster]\nnodes = [\"A\"]\ncommand = \"sh {}\"\n[client]\nprotocol = \"protocol.toml\"\n\
         [load]\nkind = \"broadcast\"\nclients = 1\nrate = 2\nduration = \"10s\"\n[settle]\nwithin = \"20s\"\n\
         [checks]\ntotal-order = \"reported\"\n",
        lab.dir.path().join("flood.sh").display()
    );
    std::fs::write(lab.file(), workload).unwrap();
    expect_all(&lab, &["--json", "--quiet"], 1, 1);
}

#[test]
fn a_subscriber_that_is_flooded_loses_nothing() {
    let Some(node) = python("hostile/flood_log.py") else { return };
    let lab = Lab::new("flood-log");
    let workload = format!(
        "name = \"flood-log\"\nseed = 7\n[cluster]\nnodes = [\"n1\"]\ncommand = \"{node} {{{{ port }}}} {COUNT}\"\n\
         ready-within = \"60s\"\n[client]\nprotocol = \"pubsub\"\n[load]\nkind = \"log\"\nclients = 1\nrate = 2\n\
         duration = \"8s\"\nkeys = 1\nsubscribers = 1\nmix = {{ publish = 1 }}\n[settle]\nwithin = \"5s\"\n\
         [checks]\nlog = \"reported\"\n"
    );
    std::fs::write(lab.file(), workload).unwrap();
    expect_all(&lab, &["--json", "--quiet"], 0, 1);
}
