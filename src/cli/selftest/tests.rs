use std::collections::BTreeSet;

use clap::{Parser, ValueEnum as _};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SelftestArgs,
}

fn args(words: &[&str]) -> SelftestArgs {
    Line::parse_from([&["selftest"], words].concat()).args
}

fn case(bug: &str, workload: &str) -> &'static Case {
    CASES.iter().find(|case| bug_name(case) == bug && case.workload == workload).unwrap()
}

/// Results in which `check` found violations of `kinds`, the worst first.
fn results(exit_code: u8, check: &str, mode: &str, kinds: &[&str]) -> Results {
    let verdict = if kinds.is_empty() { "valid" } else { "invalid" };
    let violation = |kind: &&str| serde_json::json!({"kind": kind, "nodes": [], "story": "", "cause": "", "ops": [], "faults": []});
    let check = serde_json::json!({
        "name": check, "mode": mode, "verdict": verdict, "evidence": {}, "excused": 0,
        "violations": kinds.iter().map(violation).collect::<Vec<_>>(),
    });
    let json = serde_json::json!({
        "schema": 1, "workload": "w", "seed": 7, "verdict": verdict, "exit_code": exit_code, "started": "",
        "duration_ms": 1, "checks": [check], "faults": [], "nodes": [],
        "load": {"asked_rate": 1.0, "achieved_rate": 1.0, "ok": 1, "fail": 0, "info": 0},
    });
    serde_json::from_value(json).unwrap()
}

fn entered(case: &Case, results: Results) -> (SelftestRow, String) {
    let mut row = empty_row(case);
    let story = enter(&mut row, case, 7, &Ok(results));
    (row, story)
}

#[test]
fn every_bug_has_a_workload_and_every_name_is_known() {
    let named = |system: &str| -> BTreeSet<String> {
        let cases = CASES.iter().filter(|case| case.system == system && case.bug != Some(PROMISES_TOO_MUCH));
        cases.filter_map(|case| case.bug).map(str::to_owned).collect()
    };
    let lww: BTreeSet<String> =
        crate::node::lww::bug::Bug::value_variants().iter().map(|bug| bug.name()).collect();
    let quorum: BTreeSet<String> =
        crate::node::quorum::bug::Bug::value_variants().iter().map(|bug| bug.name()).collect();
    assert_eq!((named("lww"), named("quorum")), (lww, quorum));
    for case in CASES {
        assert!(SHIPPED.iter().any(|(name, _)| *name == case.workload), "{}", case.workload);
        assert_eq!(case.bug.is_some(), !case.proofs.is_empty(), "{}", bug_name(case));
        for (check, kinds) in case.proofs {
            assert!(crate::check::find(check).is_some(), "{check}");
            assert!(!kinds.is_empty());
        }
    }
    for (name, _) in SHIPPED {
        let correct = |bug: Option<&str>| bug.is_none_or(|bug| bug == PROMISES_TOO_MUCH);
        assert!(
            CASES.iter().any(|case| correct(case.bug) && case.workload == *name),
            "the correct node is not run under {name}"
        );
    }
}

#[test]
fn every_shipped_workload_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
    for prefix in ["", "lab2/", "quorum/", "quorum/lab/"] {
        for entry in std::fs::read_dir(folder.join(prefix)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = SHIPPED.iter().any(|(shipped, _)| *shipped == format!("{prefix}{name}"));
            // A matrix is many runs, and the tests from end to end have one.
            let matrix =
                || std::fs::read_to_string(folder.join(prefix).join(&name)).unwrap().contains("\n[matrix]\n");
            assert!(known || !name.ends_with(".toml") || matrix(), "{prefix}{name} is not in SHIPPED");
        }
    }
    // What they point at beside them goes along.
    let pointed: BTreeSet<&str> = SHIPPED
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("protocol = \"../")?.split('"').next())
        .collect();
    assert_eq!(pointed, PROTOCOLS.iter().map(|(name, _)| *name).collect());
}

#[test]
fn long_ones_are_for_those_who_ask() {
    let long = |words: &[&str]| chosen(&args(words)).unwrap().iter().filter(|case| case.long).count();
    assert_eq!(long(&[]), 0);
    assert_eq!(long(&["--workload", "lab2/outage.toml"]), 1);
    assert!(long(&["--lab2"]) > 1);
    assert!(chosen(&args(&["--bug", "all"])).unwrap().iter().all(|case| case.bug.is_some()));
    assert_eq!(
        chosen(&args(&["--bug", "racy-tik"])).unwrap_err(),
        "no bug `racy-tik` in the self-test; did you mean `racy-tick`?"
    );
}

#[test]
fn the_right_check_must_find_it_for_the_right_reason() {
    let tie = case("no-tie-break", "concurrent.toml");
    let (row, story) = entered(tie, results(1, "lww", "required", &["wrong-tie-winner", "lost-update"]));
    assert!(row.passed() && story == "found by lww", "{story}");
    let (row, story) = entered(tie, results(1, "lww", "required", &["lost-update", "wrong-tie-winner"]));
    assert!(!row.passed() && story.starts_with("MISTAKEN"), "{story}");
    let (row, story) = entered(tie, results(1, "durability", "required", &["lost-acknowledged"]));
    assert!(!row.passed() && story.contains("durability: lost-acknowledged"), "{story}");
    let (row, story) = entered(tie, results(0, "lww", "reported", &["wrong-tie-winner"]));
    assert!(!row.passed() && story.starts_with("MISSED"), "what is only reported fails nobody: {story}");
}

#[test]
fn the_correct_node_must_come_out_valid() {
    let correct = case("correct", "outage.toml");
    let (row, story) = entered(correct, results(0, "lww", "required", &[]));
    assert!(row.passed() && story == "passes", "{story}");
    let (row, story) = entered(correct, results(1, "lww", "required", &["lamport"]));
    assert!(!row.passed() && row.found == 1 && story.starts_with("BLAMED"), "{story}");
    let (row, story) = entered(correct, results(4, "lww", "required", &[]));
    assert!(!row.passed() && row.found == 0 && story.starts_with("UNDECIDED"), "{story}");
    let mut row = empty_row(correct);
    let story = enter(&mut row, correct, 7, &Err("no results".into()));
    assert!(!row.passed() && story.starts_with("BROKEN"), "{story}");
}
