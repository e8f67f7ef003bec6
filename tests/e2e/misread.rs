//! A protocol file with a slip in one of its patterns: correct nodes are not blamed for what nobody could read.

use std::path::PathBuf;

use crate::support::{Lab, check, side_by_side};

/// Runs a shipped workload with its built-in protocol, after a replacement in that. The check must not know, and say why.
fn is_not_blamed(name: &str, workload: &str, slips: &[(&str, &str)], judge: &str, told: &[&str]) {
    let lab = Lab::new(name);
    let shipped: PathBuf = [env!("CARGO_MANIFEST_DIR"), "workloads"].iter().collect();
    let protocol = if judge == "log" { "pubsub" } else { "broadcast" };
    let mut text = std::fs::read_to_string(shipped.join(format!("protocols/{protocol}.toml"))).unwrap();
    for (right, slip) in slips {
        assert!(text.contains(right), "{text}");
        text = text.replace(right, slip);
    }
    let file = lab.dir.path().join("slip.toml");
    std::fs::write(&file, text).unwrap();
    let protocol = format!("client.protocol={}", file.display());
    let sets = [&*protocol, "cluster.port=0", "load.duration=2s", "settle.within=2s"];
    let mut arguments = vec!["--json", "--quiet"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", *set]));
    let ended = lab.start_file(&shipped.join(workload), &arguments).wait();
    ended.expect_code(3);
    let results = ended.json();
    let judged = check(&results, judge);
    assert_eq!(judged["verdict"], "unknown", "{judged:#}");
    let reason = judged["reason"].as_str().unwrap();
    for words in told {
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn patterns_that_fit_nothing_blame_nobody() {
    let (chat, log) = ("broadcast/quiet.toml", "pubsub/steady.toml");
    let deliver = ("^DELIVER (", "^DELIVERED (");
    let part = ("\\S+ \\S+ (?P<value>.*)$", "(?P<value>\\S+) .*$");
    let (entry, message) = (("^HISTORY (", "^ENTRY ("), ("^MSG (", "^MESSAGE ("));
    let cases = [
        ("chat", (chat, vec![deliver], "total-order", vec!["`deliver`", "such as `DELIVER "])),
        ("part", (chat, vec![part], "total-order", vec!["had been sent: one is `", "where `"])),
        ("entry", (log, vec![entry], "log", vec!["`entry`", "such as `HISTORY "])),
        ("both", (log, vec![entry, message], "log", vec!["`HISTORY ", "; `deliver`", "such as `MSG "])),
    ];
    side_by_side(2, &cases, |(workload, slips, judge, told)| {
        is_not_blamed("slip", workload, slips, judge, told);
    });
}
