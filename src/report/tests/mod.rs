//! Whole runs: from a history to results, files and text.

mod ci;
mod looks;
mod pages;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::results::{Failure, NotUnderstood, Results, Versions};
use super::{Checked, RunFacts, Style, table};
use crate::check::{CheckMode, CheckResult, Verdict, Violation};
use crate::history::model::Held;
use crate::history::{Contract, Fault, History, Life, Number, Op, Outcome, Phase, Value, Version};

const MS: u64 = 1_000_000;

fn version(ts: i64, origin: &str) -> Version {
    Version { ts: Number::Int(ts), origin: origin.into() }
}

fn op(index: u64, process: u64, node: &str, f: &str, value: i64, invoked_ms: u64) -> Op {
    Op {
        index,
        end_index: Some(index + 1),
        process,
        f: f.into(),
        key: Some("k3".into()),
        value: Value::int(value),
        node: Some(node.into()),
        version: Some(version(index as i64 / 10, node)),
        invoked_ns: invoked_ms * MS,
        returned_ns: Some(invoked_ms * MS + 1_234_567),
        outcome: Outcome::Ok,
        error: None,
        snapshot: None,
        claim: None,
        entries: None,
    }
}

fn timed_out(mut op: Op) -> Op {
    op.outcome = Outcome::Info;
    op.version = None;
    op.error = Some("timeout after 1s".into());
    op.returned_ns = Some(op.invoked_ns + 1000 * MS);
    op
}

fn snapshot(index: u64, process: u64, node: &str, held: Option<(i64, Version)>) -> Op {
    let held = held
        .map(|(value, version)| (Arc::from("k3"), Held { value: Value::int(value), version: Some(version) }));
    Op {
        key: None,
        value: Value::Nil,
        version: None,
        snapshot: Some(Arc::new(held.into_iter().collect::<BTreeMap<_, _>>())),
        ..op(index, process, node, "snapshot", 0, 13_500)
    }
}

fn life(started_ms: u64, ended_ms: Option<u64>) -> Life {
    Life {
        pid: 4000 + started_ms,
        started_ns: started_ms * MS,
        ready_ns: Some((started_ms + 60) * MS),
        ended_ns: ended_ms.map(|ended_ms| ended_ms * MS),
        expected: true,
        signal: Some(9),
        code: None,
        log: Vec::new(),
    }
}

/// Twelve seconds of load on A, B and C; B is killed from 3.0 to 7.0 s and misses a write to k3.
fn history() -> History {
    let mut ops = vec![
        op(400, 3, "B", "write", 97, 2_100),
        op(412, 1, "A", "write", 118, 4_120),
        timed_out(op(420, 5, "B", "write", 119, 4_900)),
        op(976, 4, "C", "read", 118, 9_000),
    ];
    ops.push(snapshot(2000, 6, "A", Some((118, version(41, "A")))));
    ops.push(snapshot(2002, 7, "B", Some((97, version(40, "B")))));
    ops.push(snapshot(2004, 8, "C", Some((118, version(41, "A")))));
    let lives = [
        ("A", vec![life(10, Some(14_000))]),
        ("B", vec![life(12, Some(3_002)), life(7_004, Some(14_000))]),
        ("C", vec![life(14, Some(14_000))]),
    ];
    History {
        contract: Contract {
            nodes: ["A", "B", "C"].map(str::to_owned).to_vec(),
            settle_within_ms: 10_000,
            ..Default::default()
        },
        ops,
        lives: lives.into_iter().map(|(node, lives)| (Arc::from(node), lives)).collect(),
        faults: vec![Fault {
            id: 0,
            f: "kill".into(),
            target: vec!["B".into()],
            label: "kill B".into(),
            began_ns: 3_001 * MS,
            ended_ns: Some(7_004 * MS),
            took_effect: true,
            evidence: json!({"exits": {"B": {"pid": 4012, "signal": 9, "code": null}}}),
        }],
        phases: vec![
            (Phase::Setup, 0),
            (Phase::Main, 500 * MS),
            (Phase::Heal, 12_500 * MS),
            (Phase::Settle, 12_600 * MS),
            (Phase::Done, 13_900 * MS),
        ],
        converged_ms: Some(812),
        ..Default::default()
    }
}

fn facts() -> RunFacts {
    RunFacts {
        workload: "outage".into(),
        file: "workloads/outage.toml".into(),
        seed: 42,
        started: "2026-01-31T10:15:00Z".into(),
        duration_ms: 14_312,
        rerun: "harness run workloads/outage.toml --seed 42".into(),
        folder: Some("results/outage/2026-01-31T10-15-00Z-seed42".into()),
        asked_rate: 0.33,
        clients: 6,
        load_ms: 12_000,
        versions: Versions {
            harness: "0.1.0".into(),
            os: "linux x86_64".into(),
            kernel: Some("6.1.0".into()),
            cpus: 2,
        },
        ..Default::default()
    }
}

fn object(json: Json) -> Map<String, Json> {
    json.as_object().cloned().unwrap()
}

fn result(verdict: Verdict, evidence: Json, violations: Vec<Violation>) -> CheckResult {
    CheckResult {
        verdict,
        reason: None,
        evidence: object(evidence),
        violations_total: violations.len() as u64,
        violations,
        excused: 0,
        stats: Map::new(),
    }
}

fn valid(name: &str, evidence: Json) -> Checked {
    (name.into(), CheckMode::Required, result(Verdict::Valid, evidence, Vec::new()))
}

fn staleness() -> Checked {
    let mut measured = result(Verdict::Valid, json!({"reads": 588, "stale_reads": 17}), Vec::new());
    measured.stats = object(json!({
        "p_stale": 0.0289,
        "versions_behind": {"p50": 0, "p99": 1, "max": 7},
        "behind_ms": {"p50": 12.007, "p99": 775.679, "max": 775.679},
        "by_age": [
            {"from_ms": 0, "until_ms": 1, "reads": 26, "p_stale": 0.1154},
            {"from_ms": 1, "until_ms": 10, "reads": 0, "p_stale": 0.0},
            {"from_ms": 10, "until_ms": 100, "reads": 388, "p_stale": 0.0258},
            {"from_ms": 10_000, "until_ms": null, "reads": 174, "p_stale": 0.023},
        ],
    }));
    ("staleness".into(), CheckMode::Reported, measured)
}

fn availability() -> Checked {
    let mut measured = result(Verdict::Valid, json!({"ok": 1591, "fail": 180, "info": 2}), Vec::new());
    let row = |kind: &str, name: &str, counts: [u64; 3], ms: Json| {
        json!({kind: name, "ok": counts[0], "fail": counts[1], "info": counts[2],
            "p50_ms": ms[0], "p90_ms": ms[1], "p99_ms": ms[2], "max_ms": ms[3]})
    };
    measured.stats = object(json!({
        "phases": [
            row("phase", "healthy", [1190, 0, 0], json!([0.51, 0.8, 1.9, 12.25])),
            row("phase", "kill B", [0, 180, 2], json!([null, null, null, null])),
            row("phase", "recovered", [401, 0, 0], json!([0.6, 0.9, 2.1, 154.111])),
        ],
        "operations": [row("f", "read", [800, 90, 0], json!([0.5, 0.8, 2.0, 154.111]))],
        "recovery": [{"fault": "kill B", "node": "B", "ms": 65.961}],
    }));
    ("availability".into(), CheckMode::Reported, measured)
}

fn diverged() -> Violation {
    Violation {
        kind: "diverged",
        key: Some("k3".into()),
        nodes: vec!["B".into()],
        story: "After the heal all replicas must hold the same value under k3, but A and C hold 118 and B holds 97."
            .into(),
        cause: "A never sent k3 to B again after B came back.".into(),
        ops: vec![412, 2002, 2004],
        faults: vec!["kill B 3.0–7.0 s".into()], diagram: None,
}
}

fn diverged_runs() -> Results {
    let lost = |number: i64| Violation {
        kind: "lost-update",
        key: None,
        nodes: Vec::new(),
        story: format!("Acknowledged write {number} is gone."),
        cause: String::new(),
        ops: vec![420, 99_999],
        faults: Vec::new(),
        diagram: None,
    };
    let mut convergence = result(Verdict::Invalid, json!({"keys": 8, "replicas": 3}), vec![diverged()]);
    convergence.excused = 2;
    let mut lww = result(Verdict::Invalid, json!({"writes": 1190}), (1..=7).map(lost).collect());
    lww.violations_total = 44;
    let checks = vec![
        ("convergence".into(), CheckMode::Required, convergence),
        ("lww".into(), CheckMode::Required, lww),
        valid("read-your-writes", json!({"reads": 1201, "sessions": 8})),
        staleness(),
    ];
    let mut history = history();
    history.converged_ms = None;
    let mut results = Results::build(&history, checks, facts());
    // Fixed here, so that the words of a check can change without this picture.
    for (check, promise) in
        results.checks.iter_mut().zip(["All replicas agree once the faults are over.", "", "", ""])
    {
        check.promise = promise.to_owned();
    }
    results
}

#[test]
fn results_json_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let results = diverged_runs();
    results.write(&folder.path().join("results.json")).unwrap();
    assert_eq!(Results::read(folder.path()).unwrap(), results);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no unfinished file stays");
}

#[test]
fn what_the_design_promises_is_there_under_its_name() {
    let json: Json = serde_json::from_str(&diverged_runs().to_json()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["verdict"], "invalid");
    assert_eq!(json["exit_code"], 1);
    assert_eq!(json["checks"][0]["mode"], "required");
    assert_eq!(json["checks"][0]["evidence"]["keys"], 8);
    assert_eq!(json["checks"][0]["excused"], 2);
    assert_eq!(json["checks"][0]["violations"][0]["ops"], json!([412, 2002, 2004]));
    assert_eq!(json["checks"][0]["violations"][0]["faults"], json!(["kill B 3.0–7.0 s"]));
    let kill = &json["faults"][0];
    assert_eq!(
        (&kill["f"], &kill["target"], &kill["began_ms"], &kill["ended_ms"]),
        (&json!("kill"), &json!("B"), &json!(3001), &json!(7004))
    );
    // The write that timed out at 4.9 s and the one acknowledged at 4.12 s; not the one before the kill.
    assert_eq!(kill["overlapping_ops"], 2);
    assert_eq!(json["nodes"][0], json!({"id": "A", "exits": []}), "the final clean-up is no exit");
    assert_eq!(json["nodes"][1]["exits"][0]["signal"], 9);
    assert_eq!((&json["load"]["ok"], &json["load"]["info"]), (&json!(3), &json!(1)), "snapshots are no load");
    assert_eq!(json["load"]["achieved_rate"], 0.333);
}

/// A file of the first release, with the fields of the design and no others.
#[test]
fn a_minimal_file_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let minimal = json!({"schema": 1, "workload": "outage", "seed": 42, "verdict": "invalid", "exit_code": 1,
        "started": "2026-01-31T10:15:00Z", "duration_ms": 21873,
        "checks": [{"name": "convergence", "mode": "required", "verdict": "invalid",
            "evidence": {"keys": 8, "replicas": 3},
            "violations": [{"kind": "diverged", "key": "k3", "nodes": ["B"], "story": "A and C hold 118 …",
                "cause": "…", "ops": [412, 413, 977], "faults": ["kill B 3.0–7.0 s"]}],
            "excused": 0}],
        "faults": [{"f": "kill", "target": "B", "began_ms": 3001, "ended_ms": 7004, "took_effect": true,
            "overlapping_ops": 812}],
        "nodes": [{"id": "A", "exits": []}],
        "load": {"asked_rate": 200, "achieved_rate": 199.4, "ok": 2391, "fail": 0, "info": 12}});
    std::fs::write(&path, minimal.to_string()).unwrap();
    let results = Results::read(&path).unwrap();
    assert_eq!(results.checks[0].violations[0].kind, "diverged");
    let text = looks::plain(&results);
    assert!(text.contains("kill B"), "{text}");

    let mut other = minimal;
    other["schema"] = json!(2);
    std::fs::write(&path, other.to_string()).unwrap();
    let error = Results::read(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("it has schema 2, this harness reads schema 1; use the harness that wrote it"),
        "{error}"
    );
    std::fs::write(&path, "{\"schema\": 1,\n \"workload\": 3}").unwrap();
    let error = Results::read(&path).unwrap_err().to_string();
    assert!(error.contains("results.json:2:14: not a results.json of this harness"), "{error}");
}

/// `docs/results.md` must name every field there is.
#[test]
fn every_field_is_documented() {
    fn names(json: &Json, free: &[&str], out: &mut std::collections::BTreeSet<String>) {
        match json {
            Json::Object(map) => {
                for (name, value) in map {
                    out.insert(name.clone());
                    // What is below these is up to each check and fault.
                    if !free.contains(&name.as_str()) {
                        names(value, free, out);
                    }
                }
            }
            Json::Array(items) => items.iter().for_each(|item| names(item, free, out)),
            _ => {}
        }
    }
    let mut history = history();
    history.bypasses.push(("A".into(), "C".into(), 5));
    history.ops[0].error = Some("late".into());
    let mut check = result(Verdict::Invalid, json!({}), vec![diverged()]);
    check.violations[0].ops = vec![400];
    check.reason = Some("why not".into());
    let failures =
        vec![Failure { what: "x".into(), node: Some("A".into()), log: Vec::new(), ..Failure::default() }];
    let not_understood = vec![NotUnderstood {
        node: "A".into(),
        f: "read".into(),
        why: "x".into(),
        count: 1,
        raw: String::new(),
    }];
    let checks = vec![("convergence".into(), CheckMode::Required, check)];
    let results = Results::build(&history, checks, RunFacts { failures, not_understood, ..facts() });
    let mut fields = std::collections::BTreeSet::new();
    let json = serde_json::to_value(&results).unwrap();
    names(&json, &["evidence", "stats", "version", "value"], &mut fields);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/results.md")).unwrap();
    let missing: Vec<&String> = fields.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(fields.len() > 50, "{fields:?}");
    assert!(missing.is_empty(), "docs/results.md says nothing of {missing:?}");
}
