//! Hostile nodes: a clear report, the right exit code, bounded time and memory, nothing left.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::{Spec, python, side_by_side};

/// What the harness itself may need, in a debug build, with nodes that say as much as they can.
const MEMORY_KIB: u64 = 256 * 1024;
/// What a run of a few seconds' load may take, patience with its nodes included.
const BOUND: Duration = Duration::from_secs(60);

fn spec(name: &'static str) -> Spec {
    let client = "timeout = \"2s\"\nmax-in-flight = 2";
    Spec { durability: "memory", client, settle: "3s", ..Spec::new(name) }
}

/// A script, its workload, the exit code it deserves, and a look at `results.json` and at what was printed.
type Case = (&'static str, Spec, i32, fn(&Json, &str));

fn carry_out(cases: Vec<Case>) {
    let cases: Vec<_> = cases.into_iter().map(|case| (case.0, case)).collect();
    side_by_side(3, &cases, |(script, spec, code, look)| {
        let Some(node) = python(&format!("hostile/{script}.py")) else { return };
        let (lab, ended) = Spec { node, ..spec.clone() }.run_with(&[]);
        ended.expect_code(*code);
        assert!(ended.took < BOUND, "{script}: {:?}", ended.took);
        assert!(ended.peak_kib < MEMORY_KIB, "{script}: {} KiB", ended.peak_kib);
        look(&lab.last_results(), &ended.stdout);
        let (code, out, err) = lab.check(&lab.history());
        assert!(matches!(code, Some(0 | 1 | 3)), "{script}: {code:?} {out}{err}");
    });
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    // What is printed is wrapped: words count, not lines.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(flat.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn nodes_that_do_not_start() {
    let soon = |name| Spec { ready_within: "15s", ..spec(name) };
    carry_out(vec![
        ("never_ready", soon("never-ready"), 4, |results, text| {
            has(text, &["did not become ready within 15s", "no answer within 2s"]);
            assert!(results["failures"][0]["node"].is_string(), "{results}");
        }),
        ("exits_at_once", spec("exits"), 4, |results, text| {
            has(text, &["exited with code 3 before it was ready", "Traceback", "KeyError: 'PEERS'"]);
            assert_eq!(results["failures"].as_array().unwrap().len(), 1, "{results}");
        }),
        ("port_taken", spec("port-taken"), 4, |_, text| {
            has(text, &["exited with code 1 before it was ready", "Address already in use"]);
        }),
        ("daemonises", spec("daemonises"), 4, |_, text| {
            has(text, &["exited with code 0 before it was ready", "has to stay in the foreground"]);
        }),
        ("wrong_port", soon("wrong-port"), 4, |_, text| {
            has(text, &["did not become ready within 15s", "connection refused"]);
        }),
        ("slow_30s", soon("slow"), 4, |_, text| {
            has(text, &["did not become ready within 15s", "no answer within 2s"]);
        }),
        ("closes_mid_answer", soon("closes"), 4, |_, text| {
            has(text, &["did not become ready within 15s", "closed in mid-answer"]);
        }),
    ]);
}

/// Each operation and reason has a row with the body as it came.
#[track_caller]
fn not_understood(results: &Json, text: &str, body: &str) {
    has(text, &["Answers that were not understood"]);
    let rows = results["not_understood"].as_array().unwrap();
    for f in ["read", "write"] {
        let row = rows.iter().find(|row| row["f"] == f).unwrap_or_else(|| panic!("no {f} in {rows:?}"));
        let raw = row["raw"].as_str().unwrap();
        assert!(raw.contains(body) && raw.chars().count() <= 512, "{row}");
        assert!(row["count"].as_u64().unwrap() > 0, "{row}");
    }
}

#[test]
fn nodes_that_answer_nonsense() {
    let spec = |name| Spec { load: "rate = 60\nduration = \"4s\"\nkeys = 4", ..spec(name) };
    let big = Spec {
        client: "timeout = \"10s\"\nmax-in-flight = 2",
        load: "rate = 10\nduration = \"4s\"\nkeys = 2\nclients = 3\nrotate = \"never\"",
        ..spec("big")
    };
    carry_out(vec![
        ("html_page", spec("html"), 3, |results, text| {
            not_understood(results, text, "<h1>It works!</h1>");
            has(text, &["<h1>It works!</h1>", "were not understood"]);
        }),
        ("invalid_utf8", spec("utf8"), 3, |results, text| {
            not_understood(results, text, "\u{fffd}");
        }),
        ("redirect_loop", spec("redirects"), 3, |results, text| {
            not_understood(results, text, "");
            has(text, &["status 307", "(an empty body)"]);
        }),
        ("big_answer", big, 3, |results, text| {
            not_understood(results, text, "HTTP/1.0");
            has(text, &["an answer of more than 1024 KiB"]);
        }),
    ]);
}

#[test]
fn nodes_that_work_and_misbehave() {
    let spec = |name| Spec { settle: "20s", ..spec(name) };
    let cut = "partition = [[\"A\"], [\"B\", \"C\"]]";
    carry_out(vec![
        ("forks", spec("forks").fault("300ms", "700ms", "kill = \"B\""), 0, |results, _| {
            assert_eq!(results["faults"][0]["took_effect"], true);
        }),
        ("past_link", spec("past-link").fault("300ms", "1500ms", cut), 4, |results, text| {
            has(text, &["did not hold", "past its link"]);
            assert!(!results["bypasses"].as_array().unwrap().is_empty());
            assert_eq!(results["verdict"], "unknown");
        }),
    ]);
}

/// 100 MB of output: all of it is read, so that the node does not block; the log has a bound, and memory too.
#[test]
fn a_node_that_prints_100_mb() {
    let Some(node) = python("hostile/floods.py") else { return };
    let Some(quiet) = python("threading_ok.py") else { return };
    // Each would print as much; one is enough to see.
    let head = format!("{{% if id == 'A' %}}{{{{ node }}}}{{% else %}}{quiet}{{% endif %}}");
    let (lab, ended) = Spec { node, head, settle: "20s", ready_within: "100s", ..spec("floods") }.run();
    ended.expect_code(0);
    assert!(ended.peak_kib < MEMORY_KIB, "{} KiB", ended.peak_kib);
    let bytes = std::fs::metadata(lab.folder().join("nodes/A.log")).unwrap().len();
    assert!(((1 << 20)..(18 << 20)).contains(&bytes), "{bytes} bytes of log");
    assert_eq!(ended.json()["not_understood"], json!([]));
}
