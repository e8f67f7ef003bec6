//! The comparison, from results to text.

use serde_json::{Value as Json, json};

use super::*;
use crate::check::{CheckMode, CheckResult};
use crate::history::{Contract, History};
use crate::report::style::Style;
use crate::report::{Results, RunFacts};

fn check(name: &str, verdict: Verdict, total: u64, stats: Json) -> (String, CheckMode, CheckResult) {
    let result = CheckResult {
        verdict,
        violations_total: total,
        stats: stats.as_object().cloned().unwrap(),
        ..CheckResult::unknown("")
    };
    (name.into(), CheckMode::Required, CheckResult { reason: None, ..result })
}

fn level(reads: u64, stale: u64) -> Json {
    let share = stale as f64 / reads as f64;
    json!({
        "p_stale": share,
        "versions_behind": {"p50": 0, "p99": 1, "max": stale.min(4)},
        "behind_ms": {"p50": 12.5, "p99": 60.0, "max": 81.25},
        // All of them right after a write.
        "by_age": [
            {"from_ms": 0, "until_ms": 1, "reads": reads / 2, "p_stale": share * 2.0},
            {"from_ms": 1, "until_ms": 10, "reads": reads / 2, "p_stale": 0.0},
            {"from_ms": 10, "until_ms": null, "reads": 0, "p_stale": 0.0},
        ],
    })
}

/// The results of a run with these quorums: so many stale strong reads, and eventual ones, of 1000 each.
fn run(seed: u64, (w, r): (u64, u64), (strong, eventual): (u64, u64)) -> Results {
    let outcome = |verdict, total| check("quorum", verdict, total, json!({}));
    let quorum = if strong > 0 { outcome(Verdict::Invalid, strong) } else { outcome(Verdict::Valid, 0) };
    let staleness =
        json!({"levels": {"strong-read": level(1000, strong), "eventual-read": level(1000, eventual)}});
    let row = |f: &str, ok: u64, fail: u64| json!({"f": f, "ok": ok, "fail": fail, "info": 0, "p50_ms": 0.4, "p99_ms": 2.25 * w as f64});
    let out = |nodes_out: u64, f: &str, ok: u64, fail: u64| {
        let mut row = row(f, ok, fail);
        row["nodes_out"] = json!(nodes_out);
        row
    };
    let availability = json!({
        "phases": [],
        "operations": [row("delete", 10, 0), row("eventual-read", 1000, 0), row("strong-read", 990, 10), row("write", 1000, 0)],
        "nodes_out": [
            out(0, "write", 900, 0), out(0, "delete", 100, 0), out(0, "strong-read", 5, 5),
            out(1, "write", 100 - w, w), out(2, "write", 4 - w, w),
        ],
        "recovery": [],
    });
    let checks = vec![
        quorum,
        check("staleness", Verdict::Valid, 0, staleness),
        check("availability", Verdict::Valid, 0, availability),
    ];
    let contract = Contract {
        nodes: ["n1", "n2", "n3"].map(str::to_owned).to_vec(),
        write_quorum: Some(w),
        read_quorum: Some(r),
        ..Contract::default()
    };
    let facts = RunFacts {
        workload: "matrix".into(),
        seed,
        cell: [("W".into(), w.to_string()), ("R".into(), r.to_string())].into(),
        folder: Some(format!("results/matrix/seed{seed}-W{w}-R{r}")),
        rerun: format!("harness run matrix.toml --var W={w} --var R={r} --seed {seed}"),
        ..RunFacts::default()
    };
    let mut results = Results::build(&History { contract, ..History::default() }, checks, facts);
    (results.load.ok, results.load.fail, results.load.info) = (2990, 9, 1);
    results
}

fn cell_of(runs: &[Results]) -> MatrixCell {
    let mut summary = RepeatSummary::new("matrix");
    let mut figures = Gathering::default();
    for run in runs {
        summary.push(run);
        figures.push(run);
    }
    MatrixCell::new(runs[0].cell.clone(), summary, figures.figures())
}

fn axes() -> Vec<MatrixAxis> {
    let axis = |name: &str| MatrixAxis { name: name.into(), values: vec!["1".into(), "2".into()] };
    vec![axis("W"), axis("R")]
}

fn quorums() -> MatrixSummary {
    let mut matrix = MatrixSummary::new("matrix", axes());
    for (quorums, stale) in [((1, 1), (3, 210)), ((1, 2), (0, 180)), ((2, 1), (0, 55)), ((2, 2), (0, 0))] {
        matrix.push(cell_of(&[run(42, quorums, stale)]));
    }
    matrix
}

#[test]
fn quorums_are_compared_cell_by_cell() {
    let matrix = quorums();
    assert_eq!((matrix.verdict, matrix.exit_code), (Verdict::Invalid, 1));
    insta::assert_snapshot!(matrix.render(&Style { width: 120, ..Style::PLAIN }), @r"
    matrix · W × R · all 4 cells · 4 runs
    ┌───┬───┬─────────┬─────────┬────────────┬──────────┬───────────┬──────────┬────────────────┬───────────┬──────────┐
    │ W ┆ R ┆ R+W : N ┆ verdict ┆ violations ┆ stale    ┆ behind    ┆ versions ┆ stale eventual ┆ behind    ┆ versions │
    │   ┆   ┆         ┆         ┆            ┆ strong   ┆ p50/max   ┆   behind ┆ reads          ┆ p50/max   ┆   behind │
    │   ┆   ┆         ┆         ┆            ┆ reads    ┆ ms        ┆          ┆                ┆ ms        ┆          │
    ╞═══╪═══╪═════════╪═════════╪════════════╪══════════╪═══════════╪══════════╪════════════════╪═══════════╪══════════╡
    │ 1 ┆ 1 ┆ 2 ≤ 3   ┆ invalid ┆ quorum 3   ┆ 3 (0.3%) ┆ 12.5/81.2 ┆        3 ┆ 210 (21.0%)    ┆ 12.5/81.2 ┆        4 │
    │ 1 ┆ 2 ┆ 3 ≤ 3   ┆ valid   ┆ none       ┆ none     ┆ –         ┆        – ┆ 180 (18.0%)    ┆ 12.5/81.2 ┆        4 │
    │ 2 ┆ 1 ┆ 3 ≤ 3   ┆ valid   ┆ none       ┆ none     ┆ –         ┆        – ┆ 55 (5.5%)      ┆ 12.5/81.2 ┆        4 │
    │ 2 ┆ 2 ┆ 4 > 3   ┆ valid   ┆ none       ┆ none     ┆ –         ┆        – ┆ none           ┆ –         ┆        – │
    └───┴───┴─────────┴─────────┴────────────┴──────────┴───────────┴──────────┴────────────────┴───────────┴──────────┘
    ┌───┬───┬────────────┬────────────┬────────┬─────────────┬───────────────┬─────────┬────────────┬───────┬──────┬───────┐
    │ W ┆ R ┆ writes ok, ┆ writes ok, ┆ writes ┆ strong-read ┆ eventual-read ┆ delete  ┆ write      ┆    ok ┆ fail ┆ info  │
    │   ┆   ┆  all nodes ┆     1 node ┆  ok, 2 ┆ p50/p99 ms  ┆ p50/p99 ms    ┆ p50/p99 ┆ p50/p99 ms ┆       ┆      ┆       │
    │   ┆   ┆         up ┆       down ┆  nodes ┆             ┆               ┆ ms      ┆            ┆       ┆      ┆       │
    │   ┆   ┆            ┆            ┆   down ┆             ┆               ┆         ┆            ┆       ┆      ┆       │
    ╞═══╪═══╪════════════╪════════════╪════════╪═════════════╪═══════════════╪═════════╪════════════╪═══════╪══════╪═══════╡
    │ 1 ┆ 1 ┆       100% ┆      99.0% ┆  75.0% ┆ 0.4/2.2     ┆ 0.4/2.2       ┆ 0.4/2.2 ┆ 0.4/2.2    ┆ 99.7% ┆ 0.3% ┆ <0.1% │
    │ 1 ┆ 2 ┆       100% ┆      99.0% ┆  75.0% ┆ 0.4/2.2     ┆ 0.4/2.2       ┆ 0.4/2.2 ┆ 0.4/2.2    ┆ 99.7% ┆ 0.3% ┆ <0.1% │
    │ 2 ┆ 1 ┆       100% ┆      98.0% ┆  50.0% ┆ 0.4/4.5     ┆ 0.4/4.5       ┆ 0.4/4.5 ┆ 0.4/4.5    ┆ 99.7% ┆ 0.3% ┆ <0.1% │
    │ 2 ┆ 2 ┆       100% ┆      98.0% ┆  50.0% ┆ 0.4/4.5     ┆ 0.4/4.5       ┆ 0.4/4.5 ┆ 0.4/4.5    ┆ 99.7% ┆ 0.3% ┆ <0.1% │
    └───┴───┴────────────┴────────────┴────────┴─────────────┴───────────────┴─────────┴────────────┴───────┴──────┴───────┘

    P(stale) of strong reads by the time since the last acknowledged write to the key
    ┌───┬───┬────────────┬──────────┐
    │ W ┆ R ┆ under 1 ms ┆ to 10 ms │
    ╞═══╪═══╪════════════╪══════════╡
    │ 1 ┆ 1 ┆       0.6% ┆       0% │
    │ 1 ┆ 2 ┆         0% ┆       0% │
    │ 2 ┆ 1 ┆         0% ┆       0% │
    │ 2 ┆ 2 ┆         0% ┆       0% │
    └───┴───┴────────────┴──────────┘

    P(stale) of eventual reads by the time since the last acknowledged write to the key
    ┌───┬───┬────────────┬──────────┐
    │ W ┆ R ┆ under 1 ms ┆ to 10 ms │
    ╞═══╪═══╪════════════╪══════════╡
    │ 1 ┆ 1 ┆      42.0% ┆       0% │
    │ 1 ┆ 2 ┆      36.0% ┆       0% │
    │ 2 ┆ 1 ┆      11.0% ┆       0% │
    │ 2 ┆ 2 ┆         0% ┆       0% │
    └───┴───┴────────────┴──────────┘

    W=1 R=1 invalid: quorum is violated 3 times
    Everything the first of them left is in results/matrix/seed42-W1-R1
    Run it again with the same seed:
      harness run matrix.toml --var W=1 --var R=1 --seed 42
    ");
    let back: MatrixSummary = serde_json::from_str(&matrix.to_json()).unwrap();
    assert_eq!(back, matrix);
}

#[test]
fn in_a_narrow_terminal_there_are_more_tables_and_no_word_is_broken() {
    let matrix = quorums();
    for width in [40, 60, 80, 100] {
        let text = matrix.render(&Style { width, ..Style::PLAIN });
        let tables: Vec<&str> = text.lines().filter(|line| line.starts_with('┌')).collect();
        assert!(tables.iter().all(|line| line.chars().count() <= width), "{width}: {text}");
        assert!(text.contains("violations") && text.contains("verdict"), "{width}: {text}");
        assert!(tables.len() >= 2, "{width}: {text}");
    }
}

#[test]
fn runs_of_one_cell_are_taken_together() {
    let cell = cell_of(&[run(42, (1, 1), (3, 200)), run(43, (1, 1), (0, 100)), run(44, (1, 1), (0, 300))]);
    let figures = &cell.figures;
    assert_eq!((figures.ok, figures.fail, figures.info), (8970, 27, 3));
    assert_eq!(figures.violations["quorum"], 3);
    let eventual = figures.staleness.iter().find(|stale| stale.f == "eventual-read").unwrap();
    assert_eq!((eventual.reads, eventual.stale, eventual.versions_behind_max), (3000, 600, 4));
    assert_eq!(eventual.by_age[0], Age { from_ms: 0, until_ms: Some(1), reads: 1500, stale: 600 });
    assert_eq!(
        figures.writes[0],
        Writes { nodes_out: 0, ok: 3000, fail: 0, info: 0 },
        "deletes too, reads not"
    );
    let mut matrix = MatrixSummary::new("matrix", axes());
    matrix.push(cell);
    let text = matrix.render(&Style { width: 120, ..Style::PLAIN });
    assert!(text.contains("1/3") && text.contains("1 of 4 cells · 3 runs"), "{text}");
}

#[test]
fn without_quorums_and_levels_their_columns_are_absent() {
    let plain = |mode: &str, ok: u64| {
        let mut results = run(7, (1, 1), (0, 0));
        (results.write_quorum, results.read_quorum) = (None, None);
        results.cell = [("mode".to_owned(), mode.to_owned())].into();
        results.checks.truncate(1);
        (results.load.ok, results.load.fail) = (ok, 2991 - ok);
        results
    };
    let axes = vec![MatrixAxis { name: "mode".into(), values: vec!["fast".into(), "safe".into()] }];
    let mut matrix = MatrixSummary::new("modes", axes);
    matrix.push(cell_of(&[plain("fast", 2990)]));
    matrix.push(cell_of(&[plain("safe", 1200)]));
    insta::assert_snapshot!(matrix.render(&Style::PLAIN), @r"
    modes · mode · all 2 cells · 2 runs
    ┌──────┬─────────┬────────────┬───────┬───────┬───────┐
    │ mode ┆ verdict ┆ violations ┆    ok ┆ fail  ┆ info  │
    ╞══════╪═════════╪════════════╪═══════╪═══════╪═══════╡
    │ fast ┆ valid   ┆ none       ┆ 99.9% ┆ <0.1% ┆ <0.1% │
    │ safe ┆ valid   ┆ none       ┆ 40.1% ┆ 59.9% ┆ <0.1% │
    └──────┴─────────┴────────────┴───────┴───────┴───────┘
    all 2 cells were valid
    ");
}

#[test]
fn the_exit_code_of_the_whole_is_that_of_what_is_proved() {
    let code = |codes: &[u8]| {
        let mut matrix = MatrixSummary::new("w", axes());
        for code in codes {
            let mut cell = cell_of(&[run(1, (2, 2), (0, 0))]);
            cell.exit_code = *code;
            matrix.push(cell);
        }
        matrix.exit_code
    };
    assert_eq!([code(&[]), code(&[0, 3, 0]), code(&[3, 4]), code(&[4, 1, 3])], [0, 3, 4, 1]);
}
