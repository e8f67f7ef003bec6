//! Hostile nodes: a clear report, the right exit code, bounded time and memory, nothing left.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::{Ended, Lab, Spec, python, side_by_side};

/// What the harness itself may need, in a debug build, with nodes that say as much as they can.
const MEMORY_KIB: u64 = 256 * 1024;
/// What a run of two seconds' load may take, patience with its nodes included.
const BOUND: Duration = Duration::from_secs(60);

/// One hostile node, its workload, the exit code it deserves, and what the report has to say besides.
struct Case {
    spec: Spec,
    code: i32,
    look: fn(&Json, &str),
}

fn spec(name: &'static str) -> Spec {
    Spec {
        durability: "memory",
        client: "timeout = \"2s\"\nmax-in-flight = 2",
        settle: "3s",
        ..Spec::new(name)
    }
}

/// Runs the node twice over: as JSON for what is in it, and the text for what is shown.
fn carry_out(case: &Case, script: &str) -> Option<(Lab, Ended)> {
    let node = python(&format!("hostile/{script}.py"))?;
    let lab = case.spec.lab();
    let ended = lab.run(&["--node", &node]);
    ended.expect_code(case.code);
    assert!(ended.took < BOUND, "{script}: {:?}", ended.took);
    assert!(ended.peak_kib < MEMORY_KIB, "{script}: {} KiB", ended.peak_kib);
    let results = std::fs::read_to_string(lab.folder().join("results.json")).unwrap();
    (case.look)(&serde_json::from_str(&results).unwrap(), &ended.stdout);
    let (code, out, err) = lab.check(&lab.history());
    assert!(matches!(code, Some(0 | 1 | 3)), "{script}: {code:?} {out}{err}");
    Some((lab, ended))
}

fn carry_out_all(cases: &[(&str, Case)]) {
    let cases: Vec<_> = cases.iter().map(|(script, case)| (*script, (*script, case))).collect();
    side_by_side(3, &cases, |(script, case)| {
        carry_out(case, script);
    });
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        // The table wraps: words count, not lines.
        let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn nodes_that_do_not_start() {
    let soon = |name| Spec { ready_within: "6s", ..spec(name) };
    let cases = [
        (
            "never_ready",
            Case {
                spec: soon("never-ready"),
                code: 4,
                look: |results, text| {
                    has(text, &["did not become ready within 6s", "no answer within 2s"]);
                    assert!(results["failures"][0]["node"].is_string(), "{results}");
                },
            },
        ),
        (
            "exits_at_once",
            Case {
                spec: spec("exits"),
                code: 4,
                look: |results, text| {
                    has(text, &["exited with code 3 before it was ready", "Traceback", "KeyError: 'PEERS'"]);
                    assert_eq!(results["failures"].as_array().unwrap().len(), 1, "{results}");
                },
            },
        ),
        (
            "port_taken",
            Case {
                spec: spec("port-taken"),
                code: 4,
                look: |_, text| {
                    has(text, &["exited with code 1 before it was ready", "Address already in use"]);
                },
            },
        ),
        (
            "daemonises",
            Case {
                spec: spec("daemonises"),
                code: 4,
                look: |_, text| {
                    has(text, &["exited with code 0 before it was ready", "has to stay in the foreground"]);
                },
            },
        ),
        (
            "wrong_port",
            Case {
                spec: soon("wrong-port"),
                code: 4,
                look: |_, text| {
                    has(text, &["did not become ready within 6s", "connection refused"]);
                },
            },
        ),
        (
            "slow_30s",
            Case {
                spec: soon("slow"),
                code: 4,
                look: |_, text| {
                    has(text, &["did not become ready within 6s", "no answer within 2s"]);
                },
            },
        ),
        (
            "closes_mid_answer",
            Case {
                spec: soon("closes"),
                code: 4,
                look: |_, text| {
                    has(text, &["did not become ready within 6s", "closed in mid-answer"]);
                },
            },
        ),
    ];
    carry_out_all(&cases);
}

/// Each operation and reason has a row with the body as it came.
fn not_understood(results: &Json, text: &str, body: &str) {
    has(text, &["Answers that were not understood"]);
    let rows = results["not_understood"].as_array().unwrap();
    for f in ["read", "write"] {
        let row = rows.iter().find(|row| row["f"] == f).unwrap_or_else(|| panic!("no {f} in {rows:?}"));
        assert!(row["raw"].as_str().unwrap().contains(body), "{row}");
        assert!(row["raw"].as_str().unwrap().chars().count() <= 512, "{row}");
        assert!(row["count"].as_u64().unwrap() > 0);
    }
    assert_eq!(results["load"]["ok"].as_u64().map(|ok| ok < 10), Some(true), "{}", results["load"]);
}

#[test]
fn nodes_that_answer_nonsense() {
    let patient = "timeout = \"10s\"\nmax-in-flight = 2";
    let few = "rate = 10\nduration = \"2s\"\nkeys = 2\nclients = 3\nrotate = \"never\"";
    let cases = [
        (
            "html_page",
            Case {
                spec: spec("html"),
                code: 3,
                look: |results, text| {
                    not_understood(results, text, "<h1>It works!</h1>");
                    has(text, &["<h1>It works!</h1>", "were not understood"]);
                },
            },
        ),
        (
            "invalid_utf8",
            Case {
                spec: spec("utf8"),
                code: 3,
                look: |results, text| {
                    not_understood(results, text, "\u{fffd}");
                },
            },
        ),
        (
            "redirect_loop",
            Case {
                spec: spec("redirects"),
                code: 3,
                look: |results, text| {
                    not_understood(results, text, "");
                    has(text, &["status 307"]);
                },
            },
        ),
        (
            "big_answer",
            Case {
                spec: Spec { client: patient, load: few, ..spec("big") },
                code: 3,
                look: |results, text| {
                    not_understood(results, text, "HTTP/1.0");
                    has(text, &["an answer of more than 1024 KiB"]);
                },
            },
        ),
    ];
    // Answers to reads of keys that are not there are never right here, so nothing is ever acknowledged.
    carry_out_all(&cases);
}

#[test]
fn nodes_that_work_and_misbehave() {
    let kill = |spec: Spec| spec.fault("300ms", "700ms", "kill = \"B\"");
    let cut = |spec: Spec| spec.fault("300ms", "1500ms", "partition = [[\"A\"], [\"B\", \"C\"]]");
    let cases = [
        (
            "forks",
            Case {
                spec: kill(Spec { settle: "20s", ..spec("forks") }),
                code: 0,
                look: |results, _| {
                    assert_eq!(results["faults"][0]["took_effect"], true);
                },
            },
        ),
        (
            "past_link",
            Case {
                spec: cut(Spec { settle: "20s", ..spec("past-link") }),
                code: 4,
                look: |results, text| {
                    has(text, &["did not hold", "past its link"]);
                    assert!(!results["bypasses"].as_array().unwrap().is_empty());
                    assert_eq!(results["verdict"], "unknown");
                },
            },
        ),
    ];
    carry_out_all(&cases);
}

/// 100 MB of output: all of it is read, so that the node does not block; the log has a bound, and memory too.
#[test]
fn a_node_that_prints_100_mb() {
    let Some(node) = python("hostile/floods.py") else { return };
    let Some(quiet) = python("threading_ok.py") else { return };
    let lab = Spec { settle: "20s", ready_within: "100s", ..spec("floods") }.lab();
    // Each node prints as much; one is enough to see.
    let only_a = format!("{{% if id == 'A' %}}{node}{{% else %}}{quiet}{{% endif %}}");
    let ended = lab.run(&["--json", "--quiet", "--node", &only_a]);
    ended.expect_code(0);
    assert!(ended.peak_kib < MEMORY_KIB, "{} KiB", ended.peak_kib);
    let log = lab.folder().join("nodes/A.log");
    let bytes = std::fs::metadata(&log).unwrap().len();
    assert!(((1 << 20)..(18 << 20)).contains(&bytes), "{bytes} bytes of log");
    assert_eq!(ended.json()["not_understood"], json!([]));
}
