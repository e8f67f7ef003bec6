//! What a user sees at 80 columns.

use super::*;

pub(super) fn plain(results: &Results) -> String {
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
    - 1 info at B: timeout after 1s
    The replicas agreed 812 ms after the heal (10 s allowed)

    ┌──────────────┬──────────┬─────────┬─────────────────────────────┐
    │ check        ┆ mode     ┆ verdict ┆ what it judged              │
    ╞══════════════╪══════════╪═════════╪═════════════════════════════╡
    │ convergence  ┆ required ┆ valid   ┆ 8 keys on 3 replicas        │
    │ lww          ┆ required ┆ valid   ┆ 1190 writes, 17 ties        │
    │ availability ┆ reported ┆ valid   ┆ 1591 ok, 180 fail, 2 info   │
    │ staleness    ┆ reported ┆ valid   ┆ 588 reads, 17 of them stale │
    └──────────────┴──────────┴─────────┴─────────────────────────────┘

    availability measured
    ┌────────────┬──────┬──────┬──────┬────────┬────────┬────────┐
    │ phase      ┆   ok ┆ fail ┆ info ┆ p50 ms ┆ p99 ms ┆ max ms │
    ╞════════════╪══════╪══════╪══════╪════════╪════════╪════════╡
    │ healthy    ┆ 1190 ┆    0 ┆    0 ┆    0.5 ┆    1.9 ┆   12.2 │
    │ kill B     ┆    0 ┆  180 ┆    2 ┆      – ┆      – ┆      – │
    │ recovered  ┆  401 ┆    0 ┆    0 ┆    0.6 ┆    2.1 ┆  154.1 │
    │ every read ┆  800 ┆   90 ┆    0 ┆    0.5 ┆    2.0 ┆  154.1 │
    └────────────┴──────┴──────┴──────┴────────┴────────┴────────┘
    B answered again 66 ms after kill B ended.

    staleness measured
    17 of 588 reads (2.9%) were stale: they missed a write that some node had
      acknowledged before. Of these the median was 12 ms behind, the worst 776 ms,
      and none more than 7 versions.
    ┌───────────────────────┬───────┬───────┬──────────┐
    │ key last acknowledged ┆ reads ┆ stale ┆ P(stale) │
    ╞═══════════════════════╪═══════╪═══════╪══════════╡
    │ up to 1 ms ago        ┆    26 ┆     3 ┆    11.5% │
    │ 10 ms to 100 ms ago   ┆   388 ┆    10 ┆     2.6% │
    │ over 10 s ago         ┆   174 ┆     4 ┆     2.3% │
    └───────────────────────┴───────┴───────┴──────────┘

    ┌────────┬───────────┬────────────────────────────────┬─────┐
    │ fault  ┆ when      ┆ took effect                    ┆ ops │
    ╞════════╪═══════════╪════════════════════════════════╪═════╡
    │ kill B ┆ 3.0–7.0 s ┆ B ended by signal 9 (pid 4012) ┆   2 │
    └────────┴───────────┴────────────────────────────────┴─────┘

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
    - 1 info at B: timeout after 1s

    ┌──────────────────┬──────────┬─────────┬──────────────────────────────────────┐
    │ check            ┆ mode     ┆ verdict ┆ what it judged                       │
    ╞══════════════════╪══════════╪═════════╪══════════════════════════════════════╡
    │ convergence      ┆ required ┆ invalid ┆ 1 violation; 8 keys on 3 replicas; 2 │
    │                  ┆          ┆         ┆ losses excused by the declared       │
    │                  ┆          ┆         ┆ durability                           │
    │ lww              ┆ required ┆ invalid ┆ 44 violations; 1190 writes           │
    │ read-your-writes ┆ required ┆ valid   ┆ 1201 reads, 8 sessions               │
    │ staleness        ┆ reported ┆ valid   ┆ 588 reads, 17 of them stale          │
    └──────────────────┴──────────┴─────────┴──────────────────────────────────────┘

    staleness measured
    17 of 588 reads (2.9%) were stale: they missed a write that some node had
      acknowledged before. Of these the median was 12 ms behind, the worst 776 ms,
      and none more than 7 versions.
    ┌───────────────────────┬───────┬───────┬──────────┐
    │ key last acknowledged ┆ reads ┆ stale ┆ P(stale) │
    ╞═══════════════════════╪═══════╪═══════╪══════════╡
    │ up to 1 ms ago        ┆    26 ┆     3 ┆    11.5% │
    │ 10 ms to 100 ms ago   ┆   388 ┆    10 ┆     2.6% │
    │ over 10 s ago         ┆   174 ┆     4 ┆     2.3% │
    └───────────────────────┴───────┴───────┴──────────┘

    ┌────────┬───────────┬────────────────────────────────┬─────┐
    │ fault  ┆ when      ┆ took effect                    ┆ ops │
    ╞════════╪═══════════╪════════════════════════════════╪═════╡
    │ kill B ┆ 3.0–7.0 s ┆ B ended by signal 9 (pid 4012) ┆   2 │
    └────────┴───────────┴────────────────────────────────┴─────┘

    convergence: 1 violation
    promised: All replicas agree once the faults are over.
    ┌───────┬──────────────────────────────────────────────────────────────────────┐
    │ #1    ┆ diverged: k3                                                         │
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
    and 43 more: lost-update …; results.json has 6 of them

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
    │ convergence      ┆ required ┆ ESC[31;1minvalidESC[0m ┆ 1 violation; 8 keys on 3 replicas; 2 │
    │ staleness        ┆ reported ┆ ESC[32mvalidESC[0m   ┆ 588 reads, 17 of them stale          │
    ESC[1mstaleness measuredESC[0m
    │ ESC[2m#1ESC[0m    ┆ ESC[31;1mdiverged: k3ESC[0m                                                         │
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
    - 1 info at B: timeout after 1s
    Slower than asked: 2388 operations were never sent, because the clients were
      waiting for answers under kill B.
    The replicas agreed 812 ms after the heal (10 s allowed)

    ┌─────────────┬──────────┬─────────┬───────────────────────────────────────────┐
    │ check       ┆ mode     ┆ verdict ┆ what it judged                            │
    ╞═════════════╪══════════╪═════════╪═══════════════════════════════════════════╡
    │ convergence ┆ required ┆ valid   ┆ 8 keys on 3 replicas                      │
    │ lww         ┆ required ┆ unknown ┆ no write was acknowledged, so none could  │
    │             ┆          ┆         ┆ be lost                                   │
    └─────────────┴──────────┴─────────┴───────────────────────────────────────────┘

    ┌────────┬───────────┬────────────────────────────────┬─────┐
    │ fault  ┆ when      ┆ took effect                    ┆ ops │
    ╞════════╪═══════════╪════════════════════════════════╪═════╡
    │ kill B ┆ 3.0–7.0 s ┆ B ended by signal 9 (pid 4012) ┆   2 │
    └────────┴───────────┴────────────────────────────────┴─────┘

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
    history.faults[0].evidence = json!({"why_not": "B's process was signalled and did not end"});
    history.faults.push(Fault {
        id: 1,
        f: "partition".into(),
        target: Vec::new(),
        label: "partition A | B C".into(),
        began_ns: 8_000 * MS,
        ended_ns: None,
        took_effect: true,
        evidence: json!({"links": {"A→B": {"held_bytes": 812}, "B→A": {"held_connections": 3}}, "idle": false}),
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
        ..Failure::default()
    }];
    let checks = vec![valid("convergence", json!({"keys": 8, "replicas": 3}))];
    let results = Results::build(&history, checks, RunFacts { failures, ..facts() });
    assert_eq!((results.verdict, results.exit_code), (Verdict::Unknown, 4));
    insta::assert_snapshot!(plain(&results), @r#"
    outage · seed 42 · 3 nodes (A B C) · 14.3 s
    4 operations: 3 ok, 0 fail, 1 info; 0.3 a second of 0.3 asked
    - 1 info at B: timeout after 1s
    The replicas agreed 812 ms after the heal (10 s allowed)

    ┌─────────────┬──────────┬─────────┬──────────────────────┐
    │ check       ┆ mode     ┆ verdict ┆ what it judged       │
    ╞═════════════╪══════════╪═════════╪══════════════════════╡
    │ convergence ┆ required ┆ valid   ┆ 8 keys on 3 replicas │
    └─────────────┴──────────┴─────────┴──────────────────────┘

    ┌───────────────────┬────────────┬───────────────────────────────────────┬─────┐
    │ fault             ┆ when       ┆ took effect                           ┆ ops │
    ╞═══════════════════╪════════════╪═══════════════════════════════════════╪═════╡
    │ kill B            ┆ 3.0–7.0 s  ┆ NO: B's process was signalled and did ┆   2 │
    │                   ┆            ┆ not end                               ┆     │
    │ partition A | B C ┆ from 8.0 s ┆ 2 links: 812 bytes held, 3            ┆   1 │
    │                   ┆            ┆ connections held                      ┆     │
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
    - the fault "kill B" at 3.0 s did not take effect: B's process was signalled and
      did not end
    - A reached C past its link (seen 5 times), so "partition A | B C" did not hold
    Everything it left is in results/outage/2026-01-31T10-15-00Z-seed42
    Run it again with the same seed:
      harness run workloads/outage.toml --seed 42
    "#);
}
