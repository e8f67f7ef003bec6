//! Nodes that talk to each other by UDP, with a second port and a table of peers in a file.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::support::{Lab, Spec, check, python, side_by_side};

const CONFIG: &str = r#"{"nodes": [
{%- for node in all %}
  {"id": "{{ node.id }}", "host": "{{ node.host }}", "gossip": {{ node.ports.gossip }}}{{ "" if loop.last else "," }}
{%- endfor %}
]}
"#;

/// Runs `udp_gossip.py` with `flags` under `faults`, each (at, for, what) in milliseconds.
fn run(flags: &str, duration_ms: u64, settle: &str, faults: &[(u64, u64, &str)]) -> Option<(Lab, i32, Json)> {
    // Nodes run their own copies.
    python("udp_gossip.py")?;
    let sources: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/nodes"].iter().collect();
    let mut text = format!(
        "name = \"udp\"\nseed = 7\n[cluster]\nnodes = [\"A\", \"B\", \"C\"]\ndurability = \"memory\"\nready-within = \"60s\"\n\
         command = {:?}\ncopy = {sources:?}\nports = {{ gossip = 1000 }}\nfiles = {{ \"etc/peers.json\" = '''{CONFIG}''' }}\n\
         [client]\nprotocol = \"lab2\"\ntimeout = \"3s\"\nmax-in-flight = 2\n\
         [load]\nrate = 60\nduration = \"{duration_ms}ms\"\nkeys = 6\nrotate = \"150ms\"\n",
        format!(
            "python3 -B udp_gossip.py --id {{{{ id }}}} --port {{{{ port }}}} --config etc/peers.json {flags}"
        ),
    );
    for (at_ms, for_ms, what) in faults {
        text += &format!("[[fault]]\nat = \"{at_ms}ms\"\nfor = \"{for_ms}ms\"\n{what}\n");
    }
    text += &format!(
        "[settle]\nwithin = \"{settle}\"\n[checks]\nconvergence = \"required\"\nlww = \"required\"\n"
    );
    let mut attempts = 0;
    loop {
        let lab = Lab::new("udp");
        std::fs::write(lab.file(), &text).unwrap();
        let ended = lab.run(&["--json", "--quiet"]);
        let code = ended.status.code().unwrap_or_else(|| panic!("{ended:?}"));
        assert!([0, 1, 4].contains(&code), "{ended:?}");
        let results = ended.json();
        attempts += 1;
        // On a busy machine the nodes may have had no time to say anything while a short fault lasted.
        let faults = results["faults"].as_array().unwrap();
        let in_vain = faults.iter().any(|fault| fault["took_effect"] == false);
        if attempts == 3 || !in_vain && !lab.was_starved() {
            return Some((lab, code, results));
        }
    }
}

/// The sum of a counter over all links of a fault.
fn counted(results: &Json, fault: usize, counter: &str) -> u64 {
    let links = results["faults"][fault]["evidence"]["links"].as_object().unwrap();
    links.values().map(|link| link[counter].as_u64().unwrap_or_default()).sum()
}

#[test]
fn correct_nodes_pass_whatever_befalls_their_datagrams() {
    const FAULTS: &[(u64, u64, &str)] = &[
        (300, 900, "partition = [[\"A\"], [\"B\", \"C\"]]"),
        (1_300, 700, "drop = 0.4"),
        (2_100, 700, "duplicate = { from = \"A\", share = 0.5 }"),
        (2_900, 700, "reorder = { share = 0.5, within = \"500ms\" }"),
        (3_700, 700, "corrupt = { to = \"B\", share = 0.5 }"),
        (4_500, 700, "delay = { from = \"C\", by = \"50ms\", jitter = \"50ms\" }"),
        (5_300, 700, "throttle = { to = \"A\", rate = \"256B/s\" }"),
        (6_100, 500, "partition = { from = \"B\", to = \"C\" }"),
    ];
    const COUNTERS: [&str; 8] = [
        "cut_datagrams",
        "dropped_datagrams",
        "duplicated_datagrams",
        "reordered_datagrams",
        "corrupted_datagrams",
        "delayed_datagrams",
        "delayed_datagrams",
        "cut_datagrams",
    ];
    let cases = [
        "--answer source",
        "--answer table",
        "--mouth fresh --answer source",
        "--mouth fresh --answer table",
    ];
    side_by_side(2, &cases.map(|flags| (flags, flags)), |flags| {
        let Some((lab, code, results)) = run(flags, 7_000, "30s", FAULTS) else { return };
        assert_eq!(code, 0, "{results}");
        assert_eq!((&results["bypasses"], &results["failures"]), (&json!([]), &json!([])));
        for (fault, counter) in COUNTERS.iter().enumerate() {
            assert_eq!(results["faults"][fault]["took_effect"], true, "{}", results["faults"][fault]);
            let some = counted(&results, fault, counter);
            // On a busy machine nodes may have had nothing to say in that time; the run knows, and says so.
            let idle = results["faults"][fault]["evidence"]["idle"] == true;
            assert!(some > 0 || idle, "no {counter} under {}", results["faults"][fault]);
        }
        for node in ["A", "B", "C"] {
            let log = std::fs::read_to_string(lab.folder().join(format!("nodes/{node}.log"))).unwrap();
            assert!(!log.contains("Error"), "{log}");
            assert!(log.contains("starting: python3 -B udp_gossip.py "), "{log}");
            assert!(lab.folder().join(format!("nodes/{node}/hostile/base.py")).is_file());
            // Each has a table of its own, in which it is at its own address and the others are at their links'.
            let table =
                std::fs::read_to_string(lab.folder().join(format!("nodes/{node}/etc/peers.json"))).unwrap();
            let table: Json = serde_json::from_str(&table).unwrap();
            let home = table["nodes"].as_array().unwrap().iter().find(|other| other["id"] == node).unwrap();
            assert_eq!(home["host"], "127.0.0.1");
            if cfg!(target_os = "linux") {
                assert_eq!(table.to_string().matches("\"127.0.0.1\"").count(), 1, "{table}");
            }
        }
    });
}

#[test]
fn a_node_that_sends_once_loses_what_the_links_lose() {
    let faults = [(300, 1_500, "drop = { from = \"A\", to = \"B\", share = 0.9 }")];
    let Some((lab, code, results)) = run("--once", 2_500, "2s", &faults) else { return };
    assert_eq!(code, 1, "{results}");
    let messages = std::fs::read_to_string(lab.folder().join("messages.csv")).unwrap();
    let lost = messages.lines().filter(|row| row.starts_with("A,B,udp,") && row.ends_with(','));
    let lost: Vec<f64> = lost.map(|row| row.split(',').nth(4).unwrap().parse().unwrap()).collect();
    let fault = &results["faults"][0];
    let (from, until) =
        (fault["began_ms"].as_f64().unwrap() - 1.0, fault["ended_ms"].as_f64().unwrap() + 1.0);
    assert!(!lost.is_empty() && lost.iter().all(|ms| (from..until).contains(ms)), "{fault} {lost:?}");
    assert_eq!(check(&results, "convergence")["verdict"], "invalid");
    assert_eq!(results["faults"][0]["took_effect"], true);
}

#[cfg(target_os = "linux")]
#[test]
fn nodes_that_talk_past_their_links_are_noticed() {
    let faults = [(300, 1_000, "partition = [[\"A\"], [\"B\", \"C\"]]")];
    let Some((_lab, code, results)) = run("--past", 1_800, "20s", &faults) else { return };
    // Where the kernel does not let nodes be watched, nobody can tell.
    if results["bypasses"] == json!([]) {
        let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
        assert!(!actions.contains("user_notif"), "{results}");
        return;
    }
    assert_eq!(code, 4, "{results}");
    let fault = &results["faults"][0];
    assert_eq!(fault["took_effect"], false, "{fault}");
    let why = fault["evidence"]["why_not"].as_str().unwrap();
    assert!(why.contains("past its link"), "{why}");
    assert!(counted(&results, 0, "bypasses") > 0, "{fault}");
}

#[test]
fn a_fault_on_datagrams_does_nothing_to_tcp_and_says_so() {
    let (_lab, ended) = Spec::new("no_datagrams").fault("300ms", "1s", "drop = 0.5").run();
    ended.expect_code(4);
    let fault = &ended.json()["faults"][0];
    assert_eq!(fault["took_effect"], false);
    assert_eq!(fault["evidence"]["why_not"], "no datagram ever crossed its links; it does nothing to TCP");
}
