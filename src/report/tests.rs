//! Whole runs, from history to text, as a user sees them at 80 columns.

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
            evidence: json!({"pid": 4012, "signal": 9}),
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
    let mut measured = result(Verdict::Valid, json!({"reads": 1201}), Vec::new());
    measured.stats = object(json!({"stale_reads": 0.0123456, "worst_ms": 412}));
    ("staleness".into(), CheckMode::Reported, measured)
}

fn availability() -> Checked {
    let mut measured = result(Verdict::Valid, json!({"operations": 2391}), Vec::new());
    measured.stats = object(json!({"phases": [
        {"phase": "healthy", "ok": 1190, "fail": 0, "info": 0, "p50_ms": 0.51, "p99_ms": 1.9},
        {"phase": "kill B", "ok": 401, "fail": 180, "info": 2, "p50_ms": 0.6, "p99_ms": null},
    ]}));
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
        faults: vec!["kill B 3.0–7.0 s".into()],
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
    Results::build(&history, checks, facts())
}

fn plain(results: &Results) -> String {
    let text = table::render(results, &Style::PLAIN);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        assert_eq!(line, line.trim_end(), "trailing blanks");
    }
    assert!(!text.contains('\x1b'));
    text
}

#[test]
fn a_valid_run() {
    let checks = vec![
        valid("convergence", json!({"keys": 8, "replicas": 3})),
        valid("lww", json!({"writes": 1190, "ties": 17})),
        availability(),
        staleness(),
    ];
    let results = Results::build(&history(), checks, facts());
    assert_eq!((results.verdict, results.exit_code), (Verdict::Valid, 0));
    insta::assert_snapshot!(plain(&results), @r"
    outage · seed 42 · 3 nodes (A B C) · 14.3 s
    4 operations: 3 ok, 0 fail, 1 info; 0.3 a second of 0.3 asked
    The replicas agreed 0.8 s after the heal (10 s allowed)

    ┌──────────────┬──────────┬─────────┬────────────────────────┐
    │ check        ┆ mode     ┆ verdict ┆ what it had to bite on │
    ╞══════════════╪══════════╪═════════╪════════════════════════╡
    │ convergence  ┆ required ┆ valid   ┆ keys 8, replicas 3     │
    │ lww          ┆ required ┆ valid   ┆ writes 1190, ties 17   │
    │ availability ┆ reported ┆ valid   ┆ operations 2391        │
    │ staleness    ┆ reported ┆ valid   ┆ reads 1201             │
    └──────────────┴──────────┴─────────┴────────────────────────┘

    availability measured
    ┌─────────┬──────┬──────┬──────┬────────┬────────┐
    │ phase   ┆ ok   ┆ fail ┆ info ┆ p50 ms ┆ p99 ms │
    ╞═════════╪══════╪══════╪══════╪════════╪════════╡
    │ healthy ┆ 1190 ┆ 0    ┆ 0    ┆ 0.51   ┆ 1.9    │
    │ kill B  ┆ 401  ┆ 180  ┆ 2    ┆ 0.6    ┆ –      │
    └─────────┴──────┴──────┴──────┴────────┴────────┘

    staleness measured
    stale reads 0.012, worst ms 412

    ┌────────┬───────────┬────────────────────┬─────┐
    │ fault  ┆ when      ┆ took effect        ┆ ops │
    ╞════════╪═══════════╪════════════════════╪═════╡
    │ kill B ┆ 3.0–7.0 s ┆ pid 4012, signal 9 ┆ 2   │
    └────────┴───────────┴────────────────────┴─────┘

    VALID both required checks held, and the fault took effect
    Everything it left is in results/outage/2026-01-31T10-15-00Z-seed42
    Run it again with the same seed:
      harness run workloads/outage.toml --seed 42
    ");
}

#[test]
fn an_invalid_run() {
    let results = diverged_runs();
    assert_eq!((results.verdict, results.exit_code), (Verdict::Invalid, 1));
    insta::assert_snapshot!(plain(&results), @r"
    outage · seed 42 · 3 nodes (A B C) · 14.3 s
    4 operations: 3 ok, 0 fail, 1 info; 0.3 a second of 0.3 asked

    ┌──────────────────┬──────────┬─────────┬──────────────────────────────────────┐
    │ check            ┆ mode     ┆ verdict ┆ what it had to bite on               │
    ╞══════════════════╪══════════╪═════════╪══════════════════════════════════════╡
    │ convergence      ┆ required ┆ invalid ┆ 1 violation; keys 8, replicas 3; 2   │
    │                  ┆          ┆         ┆ losses excused by the declared       │
    │                  ┆          ┆         ┆ durability                           │
    │ lww              ┆ required ┆ invalid ┆ 44 violations; writes 1190           │
    │ read-your-writes ┆ required ┆ valid   ┆ reads 1201, sessions 8               │
    │ staleness        ┆ reported ┆ valid   ┆ reads 1201                           │
    └──────────────────┴──────────┴─────────┴──────────────────────────────────────┘

    staleness measured
    stale reads 0.012, worst ms 412

    ┌────────┬───────────┬────────────────────┬─────┐
    │ fault  ┆ when      ┆ took effect        ┆ ops │
    ╞════════╪═══════════╪════════════════════╪═════╡
    │ kill B ┆ 3.0–7.0 s ┆ pid 4012, signal 9 ┆ 2   │
    └────────┴───────────┴────────────────────┴─────┘

    convergence: 1 violation
    ┌───────┬──────────────────────────────────────────────────────────────────────┐
    │ #1    ┆ diverged of k3                                                       │
    ╞═══════╪══════════════════════════════════════════════════════════════════════╡
    │ what  ┆ After the heal all replicas must hold the same value under k3, but A │
    │       ┆ and C hold 118 and B holds 97.                                       │
    │ node  ┆ B                                                                    │
    │ under ┆ kill B 3.0–7.0 s                                                     │
    │ proof ┆ p1 A  write k3=118     ok  4.120–4.121 s    ts 41 of A               │
    │       ┆ p7 B  snapshot k3=97   ok  13.500–13.501 s  ts 40 of B               │
    │       ┆ p8 C  snapshot k3=118  ok  13.500–13.501 s  ts 41 of A               │
    │ now   ┆ A, C: 118 (ts 41 of A)                                               │
    │       ┆ B: 97 (ts 40 of B)                                                   │
    │ cause ┆ A never sent k3 to B again after B came back.                        │
    └───────┴──────────────────────────────────────────────────────────────────────┘

    lww: 44 violations
    ┌───────┬───────────────────────────────────────────────────────────┐
    │ #1    ┆ lost-update                                               │
    ╞═══════╪═══════════════════════════════════════════════════════════╡
    │ what  ┆ Acknowledged write 1 is gone.                             │
    │ proof ┆ p5 B  write k3=119  info  4.900–5.900 s  timeout after 1s │
    │       ┆ (1 operation of it not found in the history)              │
    └───────┴───────────────────────────────────────────────────────────┘
    ┌───────┬───────────────────────────────────────────────────────────┐
    │ #2    ┆ lost-update                                               │
    ╞═══════╪═══════════════════════════════════════════════════════════╡
    │ what  ┆ Acknowledged write 2 is gone.                             │
    │ proof ┆ p5 B  write k3=119  info  4.900–5.900 s  timeout after 1s │
    │       ┆ (1 operation of it not found in the history)              │
    └───────┴───────────────────────────────────────────────────────────┘
    ┌───────┬───────────────────────────────────────────────────────────┐
    │ #3    ┆ lost-update                                               │
    ╞═══════╪═══════════════════════════════════════════════════════════╡
    │ what  ┆ Acknowledged write 3 is gone.                             │
    │ proof ┆ p5 B  write k3=119  info  4.900–5.900 s  timeout after 1s │
    │       ┆ (1 operation of it not found in the history)              │
    └───────┴───────────────────────────────────────────────────────────┘
    ┌───────┬───────────────────────────────────────────────────────────┐
    │ #4    ┆ lost-update                                               │
    ╞═══════╪═══════════════════════════════════════════════════════════╡
    │ what  ┆ Acknowledged write 4 is gone.                             │
    │ proof ┆ p5 B  write k3=119  info  4.900–5.900 s  timeout after 1s │
    │       ┆ (1 operation of it not found in the history)              │
    └───────┴───────────────────────────────────────────────────────────┘
    ┌───────┬───────────────────────────────────────────────────────────┐
    │ #5    ┆ lost-update                                               │
    ╞═══════╪═══════════════════════════════════════════════════════════╡
    │ what  ┆ Acknowledged write 5 is gone.                             │
    │ proof ┆ p5 B  write k3=119  info  4.900–5.900 s  timeout after 1s │
    │       ┆ (1 operation of it not found in the history)              │
    └───────┴───────────────────────────────────────────────────────────┘
    and 39 more, 2 of them in results.json

    INVALID promises were broken:
    - convergence is violated
    - lww is violated 44 times
    Everything it left is in results/outage/2026-01-31T10-15-00Z-seed42
    Run it again with the same seed:
      harness run workloads/outage.toml --seed 42
    ");
}

#[test]
fn the_same_in_colour_says_the_same() {
    let results = diverged_runs();
    let style = Style { colour: true, ..Style::PLAIN };
    let coloured = table::render(&results, &style);
    let codes = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    assert_eq!(codes.replace_all(&coloured, ""), plain(&results));
    let visible = coloured.replace('\x1b', "ESC");
    let interesting = ["convergence ", "staleness ", "#1", "INVALID", "(A B C)"];
    let lines: Vec<&str> =
        visible.lines().filter(|line| interesting.iter().any(|word| line.contains(word))).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    ESC[1moutage · seed 42 · 3 nodes (A B C) · 14.3 sESC[0m
    │ convergence      ┆ required ┆ ESC[31;1minvalidESC[0m ┆ 1 violation; keys 8, replicas 3; 2   │
    │ staleness        ┆ reported ┆ ESC[32mvalidESC[0m   ┆ reads 1201                           │
    ESC[1mstaleness measuredESC[0m
    │ ESC[2m#1ESC[0m    ┆ ESC[31;1mdiverged of k3ESC[0m                                                       │
    │ ESC[2m#1ESC[0m    ┆ ESC[31;1mlost-updateESC[0m                                               │
    ESC[31;1mINVALIDESC[0m promises were broken:
    - convergence is violated
    ");
}

#[test]
fn in_ascii() {
    let style = Style { ascii: true, ..Style::PLAIN };
    let text = table::render(&diverged_runs(), &style);
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("kill B 3.0-7.0 s"), "{text}");
}

#[test]
fn an_undecided_run() {
    let mut lww = result(Verdict::Unknown, json!({"writes": 0}), Vec::new());
    lww.reason = Some("no write was acknowledged, so none could be lost".into());
    let checks = vec![
        valid("convergence", json!({"keys": 8, "replicas": 3})),
        ("lww".into(), CheckMode::Required, lww),
    ];
    let not_understood = vec![NotUnderstood {
        node: "B".into(),
        f: "write".into(),
        why: "no /ok in the answer, status 200".into(),
        count: 17,
        raw: "<html>\n<b>stored\x1b[2J</b>\n</html>".into(),
    }];
    let facts = RunFacts { not_understood, asked_rate: 200.0, skipped: 2388, ..facts() };
    let results = Results::build(&history(), checks, facts);
    assert_eq!((results.verdict, results.exit_code), (Verdict::Unknown, 3));
    insta::assert_snapshot!(plain(&results), @r"
    outage · seed 42 · 3 nodes (A B C) · 14.3 s
    4 operations: 3 ok, 0 fail, 1 info; 0.3 a second of 200 asked
    The clients could not keep the rate that was asked for. 2388 operations were
      never sent: every client was still waiting for an answer.
    The replicas agreed 0.8 s after the heal (10 s allowed)

    ┌─────────────┬──────────┬─────────┬───────────────────────────────────────────┐
    │ check       ┆ mode     ┆ verdict ┆ what it had to bite on                    │
    ╞═════════════╪══════════╪═════════╪═══════════════════════════════════════════╡
    │ convergence ┆ required ┆ valid   ┆ keys 8, replicas 3                        │
    │ lww         ┆ required ┆ unknown ┆ no write was acknowledged, so none could  │
    │             ┆          ┆         ┆ be lost; writes 0                         │
    └─────────────┴──────────┴─────────┴───────────────────────────────────────────┘

    ┌────────┬───────────┬────────────────────┬─────┐
    │ fault  ┆ when      ┆ took effect        ┆ ops │
    ╞════════╪═══════════╪════════════════════╪═════╡
    │ kill B ┆ 3.0–7.0 s ┆ pid 4012, signal 9 ┆ 2   │
    └────────┴───────────┴────────────────────┴─────┘

    Answers that were not understood
    B write ×17: no /ok in the answer, status 200
      | <html>
      | <b>stored\x1b[2J</b>
      | </html>

    UNKNOWN lww could not be decided: no write was acknowledged, so none could be
      lost
    Everything it left is in results/outage/2026-01-31T10-15-00Z-seed42
    Run it again with the same seed:
      harness run workloads/outage.toml --seed 42
    ");
}

#[test]
fn a_broken_run() {
    let mut history = history();
    history.faults[0].took_effect = false;
    history.faults[0].evidence = json!({"pid": 4012, "state": "still running"});
    history.faults.push(Fault {
        id: 1,
        f: "partition".into(),
        target: Vec::new(),
        label: "partition A | B C".into(),
        began_ns: 8_000 * MS,
        ended_ns: None,
        took_effect: true,
        evidence: json!({"links": [{"from": "A", "to": "B", "held_bytes": 812}], "refused": 3}),
    });
    history.bypasses.push(("A".into(), "C".into(), 5));
    let crash = Life {
        expected: false,
        signal: Some(11),
        log: vec!["Traceback (most recent call last):".into(), "\tKeyError: 'k3'\r".into()],
        ..life(20, Some(9_100))
    };
    history.lives.insert("C".into(), vec![crash]);
    let failures = vec![Failure {
        what: "node C never became ready again within 5 s: connection refused".into(),
        node: Some("C".into()),
        log: vec!["OSError: [Errno 98] Address already in use".into()],
    }];
    let checks = vec![valid("convergence", json!({"keys": 8, "replicas": 3}))];
    let results = Results::build(&history, checks, RunFacts { failures, ..facts() });
    assert_eq!((results.verdict, results.exit_code), (Verdict::Unknown, 4));
    insta::assert_snapshot!(plain(&results), @r#"
    outage · seed 42 · 3 nodes (A B C) · 14.3 s
    4 operations: 3 ok, 0 fail, 1 info; 0.3 a second of 0.3 asked
    The replicas agreed 0.8 s after the heal (10 s allowed)

    ┌─────────────┬──────────┬─────────┬────────────────────────┐
    │ check       ┆ mode     ┆ verdict ┆ what it had to bite on │
    ╞═════════════╪══════════╪═════════╪════════════════════════╡
    │ convergence ┆ required ┆ valid   ┆ keys 8, replicas 3     │
    └─────────────┴──────────┴─────────┴────────────────────────┘

    ┌───────────────────┬────────────┬───────────────────────────────────────┬─────┐
    │ fault             ┆ when       ┆ took effect                           ┆ ops │
    ╞═══════════════════╪════════════╪═══════════════════════════════════════╪═════╡
    │ kill B            ┆ 3.0–7.0 s  ┆ NO: pid 4012, state still running     ┆ 2   │
    │ partition A | B C ┆ from 8.0 s ┆ links from A, links to B, links held  ┆ 1   │
    │                   ┆            ┆ bytes 812, refused 3                  ┆     │
    └───────────────────┴────────────┴───────────────────────────────────────┴─────┘

    C ended by itself at 9.1 s: signal 11 (SIGSEGV)
      | Traceback (most recent call last):
      |  KeyError: 'k3'

    node C never became ready again within 5 s: connection refused
      | OSError: [Errno 98] Address already in use

    note: A talks to C at an address it was not given; such a connection was seen 5
      times, and no fault on a link can touch it

    UNKNOWN the run was not what it should have been:
    - node C never became ready again within 5 s: connection refused
    - the fault "kill B" at 3.0 s did not take effect
    - A reached C past its link (seen 5 times), so "partition A | B C" did not hold
    Everything it left is in results/outage/2026-01-31T10-15-00Z-seed42
    Run it again with the same seed:
      harness run workloads/outage.toml --seed 42
    "#);
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
    let text = plain(&results);
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
    let failures = vec![Failure { what: "x".into(), node: Some("A".into()), log: Vec::new() }];
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
