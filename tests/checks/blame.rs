//! One small history for each kind of violation.

use harness::check::{Verdict, Violation};

use crate::build::history;

fn only(mut violations: Vec<Violation>) -> Violation {
    assert_eq!(violations.len(), 1, "{violations:#?}");
    violations.remove(0)
}

#[test]
fn diverged_names_the_node_that_lags_and_why() {
    let build = history("disk")
        .write(0, "A", ("k3", 97), "12A", [100, 110])
        .restart("B", 300, 700)
        .write(0, "A", ("k3", 118), "41A", [400, 410])
        .ends(&[("k3", 118, "41A")], &[("k3", 97, "12A")], &[("k3", 118, "41A")]);
    let result = build.judge("convergence");
    assert_eq!(result.evidence["keys"], 1);
    assert_eq!(result.evidence["replicas"], 3);
    let violation = only(result.violations);
    assert_eq!((violation.kind, violation.key.as_deref()), ("diverged", Some("k3")));
    assert_eq!(violation.nodes, ["B"]);
    assert_eq!(
        violation.story,
        "0.409 s after everything was healed, A and C hold 118 (ts 41 of A), but B holds 97 (ts 12 of A) under k3. \
         The newest: process 0 wrote k3 = 118 at A (ts 41 of A), acknowledged at 0.410 s."
    );
    assert_eq!(violation.cause, "A never sent k3 to B again after B came back.");
    assert_eq!(violation.faults, ["kill B 0.3–0.7 s"]);
    assert_eq!(violation.ops.len(), 2);
}

#[test]
fn diverged_after_a_partition_or_a_step_back() {
    let edge = |edge| {
        format!(
            r#"{{"fault":1,"edge":"{edge}","target":["A"],"label":"partition A | B C","took_effect":true}}"#
        )
    };
    let build = history("disk")
        .event(200, "partition", None, &edge("begin"))
        .event(500, "partition", None, &edge("end"))
        .write(0, "A", ("k", 1), "1A", [300, 310])
        .ends(&[("k", 1, "1A")], &[], &[]);
    let violation = only(build.judge("convergence").violations);
    assert_eq!(violation.nodes, ["B", "C"]);
    assert_eq!(violation.cause, "A never sent k to B again after \"partition A | B C\" was over.");

    let build = history("disk")
        .write(0, "A", ("k", 1), "1A", [100, 110])
        .write(0, "A", ("k", 2), "5A", [120, 130])
        .read(1, "B", ("k", Some(2)), "5A", [200, 210])
        .ends(&[("k", 2, "5A")], &[("k", 1, "1A")], &[("k", 2, "5A")]);
    let violation = only(build.judge("convergence").violations);
    assert_eq!(violation.cause, "B had it at 0.210 s and let an older write replace it.");
    assert_eq!(build.kinds("lww"), ["lost-update"]);
}

#[test]
fn diverged_under_one_version_or_two() {
    let build = history("disk").write(0, "A", ("k", 1), "9A", [100, 110]).ends(
        &[("k", 1, "9A")],
        &[("k", 1, "9B")],
        &[("k", 1, "9A")],
    );
    assert!(only(build.judge("convergence").violations).cause.contains("one write under two versions"));
    assert_eq!(build.kinds("lww"), ["relabelled"]);
}

#[test]
fn a_replica_that_never_answers_or_is_gone() {
    let silent = history("disk")
        .write(0, "A", ("k", 1), "1A", [100, 110])
        .event(1001, "phase", None, "\"settle\"")
        .snapshot("A", &[("k", 1, "1A")], [1400, 1410])
        .snapshot("B", &[("k", 1, "1A")], [1400, 1410]);
    // Nobody asked C.
    assert_eq!(silent.judge("convergence").verdict, Verdict::Unknown);
    let mut dead = history("disk").write(0, "A", ("k", 1), "1A", [100, 110]).event(
        900,
        "exit",
        Some("C"),
        r#"{"pid":1,"code":1,"expected":false}"#,
    );
    dead = dead
        .event(1001, "phase", None, "\"settle\"")
        .snapshot("A", &[("k", 1, "1A")], [1400, 1410])
        .snapshot("B", &[("k", 1, "1A")], [1400, 1410])
        .event(1501, "phase", None, "\"done\"");
    let violation = only(dead.judge("convergence").violations);
    assert_eq!((violation.kind, &violation.nodes[..]), ("no-answer", &["C".to_owned()][..]));
    assert_eq!(violation.cause, "Its process ended with code 1 at 0.900 s.");
}

#[test]
fn phantom_values() {
    let build = history("disk")
        .write(0, "A", ("k1", 5), "1A", [100, 110])
        .read(1, "B", ("k2", Some(5)), "1A", [200, 210])
        .read(1, "B", ("k3", Some(0)), "", [220, 230])
        .read(1, "B", ("k4", Some(99)), "", [240, 250])
        .read(1, "B", ("k5", Some(7)), "", [260, 270])
        .write(0, "A", ("k5", 7), "3A", [300, 310])
        .agree(&[("k1", 5, "1A"), ("k5", 7, "3A")]);
    let result = build.judge("lww");
    let mut causes: Vec<&str> = result.violations.iter().map(|violation| violation.cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(
        causes,
        [
            "B answers a missing key with 0 instead of saying that there is none.",
            "B began with data of an earlier run.",
            "B makes values up, mangles them, or began with data of an earlier run.",
            "k1 and k2 share one place in the store.",
        ]
    );
    assert!(result.violations.iter().all(|violation| violation.kind == "phantom-value"));
    let last = history("disk")
        .write(0, "A", ("k1", 5), "1A", [100, 110])
        .read(0, "A", ("k2", None), "", [120, 130])
        .agree(&[("k1", 5, "1A"), ("k2", 5, "1A")]);
    assert_eq!(last.kinds("convergence"), ["phantom-value"]);
}

#[test]
fn a_failed_write_that_shows() {
    let build = history("disk")
        .write_as("fail", 0, "A", ("k", 5), "", [100, 110])
        .read(1, "B", ("k", Some(5)), "1A", [200, 210])
        .write(0, "A", ("k", 6), "7A", [300, 310])
        .agree(&[("k", 6, "7A")]);
    assert_eq!(build.kinds("lww"), ["failed-write-visible"]);
}

#[test]
fn lost_updates() {
    let nowhere = history("disk")
        .write(0, "A", ("k", 1), "9A", [100, 110])
        .write(1, "B", ("k", 2), "4B", [100, 110])
        .agree(&[("k", 2, "4B")]);
    let violation = only(nowhere.judge("lww").violations);
    assert_eq!(violation.kind, "lost-update");
    assert!(violation.story.contains("In the end A holds 2 (ts 4 of B) under k"), "{}", violation.story);
    assert_eq!(violation.ops.len(), 2);
    let missing = history("disk").write(0, "A", ("k", 1), "9A", [100, 110]).agree(&[]);
    assert_eq!(missing.kinds("lww"), ["lost-update"]);
    // Without versions: A had shown 1 before 2 was written there, so 2 wins over it.
    let blind = history("disk")
        .write(0, "A", ("k", 1), "", [100, 110])
        .write(0, "A", ("k", 2), "", [120, 130])
        .agree(&[("k", 1, "")]);
    assert_eq!(blind.kinds("lww"), ["lost-update"]);
}

#[test]
fn the_wrong_winner_of_a_tie() {
    let build = |winner: (&'static str, i64, &'static str)| {
        history("disk")
            .write(0, "A", ("k", 1), "9A", [100, 110])
            .write(1, "B", ("k", 2), "9B", [100, 110])
            .agree(&[winner])
    };
    let violation = only(build(("k", 1, "9A")).judge("lww").violations);
    assert_eq!(violation.kind, "wrong-tie-winner");
    assert!(violation.cause.contains("does not decide a tie by origin"), "{}", violation.cause);
    build(("k", 2, "9B")).innocent();
    assert_eq!(build(("k", 2, "9B")).tie_lower().kinds("lww"), ["wrong-tie-winner"]);
    build(("k", 1, "9A")).tie_lower().innocent();
    assert_eq!(build(("k", 1, "9A")).judge("lww").evidence["ties"], 1);
}

#[test]
fn outranked_when_it_was_acknowledged() {
    let build = |durability| {
        history(durability)
            .write(0, "B", ("k", 1), "41B", [100, 110])
            .restart("B", 200, 300)
            .write(1, "B", ("k", 2), "1B", [400, 410])
            .agree(&[("k", 1, "41B")])
    };
    let violation = only(build("disk").judge("lww").violations);
    assert_eq!(violation.kind, "lost-update");
    assert_eq!(violation.cause, "B's clock restarted at 0: its write got ts 1 and lost to ts 41.");
    assert_eq!(violation.faults, ["kill B 0.2–0.3 s"]);
    assert!(build("memory").kinds("lww").is_empty());
    let receive = history("memory")
        .write(0, "A", ("k", 1), "41A", [100, 110])
        .read(1, "B", ("k", Some(1)), "41A", [200, 210])
        .write(2, "B", ("k", 2), "3B", [300, 310])
        .agree(&[("k", 1, "41A")]);
    let violation = only(receive.judge("lww").violations);
    assert_eq!(violation.kind, "lost-update");
    assert!(
        violation.cause.starts_with("B does not advance its clock when it receives a write"),
        "{}",
        violation.cause
    );
}

#[test]
fn the_clock_condition_across_keys() {
    let build = history("disk")
        .write(0, "A", ("k1", 1), "7A", [100, 110])
        .write(1, "A", ("k2", 2), "7A", [200, 210])
        .agree(&[("k1", 1, "7A"), ("k2", 2, "7A")]);
    assert_eq!(build.kinds("lww"), ["lamport", "two-values-one-version"]);
    // At the same time neither has seen the other; but one clock does not give one timestamp twice.
    let racy = history("disk")
        .write(0, "A", ("k1", 1), "7A", [100, 110])
        .write(1, "A", ("k2", 2), "7A", [105, 115])
        .agree(&[("k1", 1, "7A"), ("k2", 2, "7A")]);
    let violation = only(racy.judge("lww").violations);
    assert_eq!(violation.kind, "two-values-one-version");
    assert!(violation.cause.contains("in two steps"), "{}", violation.cause);
}

#[test]
fn a_node_steps_back() {
    let build = history("disk")
        .write(0, "A", ("k", 1), "3A", [100, 110])
        .write(1, "B", ("k", 2), "8B", [100, 110])
        .read(2, "A", ("k", Some(2)), "8B", [200, 210])
        .read(3, "A", ("k", Some(1)), "3A", [220, 230])
        .agree(&[("k", 2, "8B")]);
    assert_eq!(build.kinds("lww"), ["version-backwards"]);
    // Two clients saw it, neither of them twice.
    assert!(build.kinds("monotonic-reads").is_empty());
    let gone = history("disk")
        .write(0, "A", ("k", 1), "3A", [100, 110])
        .read(3, "A", ("k", None), "", [220, 230])
        .agree(&[("k", 1, "3A")]);
    assert_eq!(gone.kinds("lww"), ["version-backwards"]);
}

#[test]
fn read_your_writes() {
    let by_version = history("disk")
        .write(0, "A", ("k", 1), "3A", [100, 110])
        .write(0, "A", ("k", 2), "5A", [120, 130])
        .read(0, "A", ("k", Some(1)), "3A", [140, 150])
        .agree(&[("k", 2, "5A")]);
    let violation = only(by_version.judge("read-your-writes").violations);
    assert_eq!((violation.kind, violation.ops.len()), ("read-your-writes", 2));
    let by_value = history("disk")
        .read(1, "A", ("k", Some(7)), "", [50, 60])
        .write(1, "C", ("k", 7), "", [10, 20])
        .write(0, "A", ("k", 2), "", [120, 130])
        .read(0, "A", ("k", Some(7)), "", [140, 150])
        .agree(&[("k", 2, "")]);
    assert_eq!(only(by_value.judge("read-your-writes").violations).ops.len(), 3);
    let nil = history("memory")
        .write(0, "A", ("k", 2), "", [120, 130])
        .read(0, "A", ("k", None), "", [140, 150])
        .agree(&[("k", 2, "")]);
    assert_eq!(nil.kinds("read-your-writes"), ["read-your-writes"]);
    // The version of a write whose acknowledgement shows none is told by any read of it.
    let told = history("disk")
        .write(0, "A", ("k", 2), "", [120, 130])
        .read(0, "A", ("k", Some(9)), "2B", [140, 150])
        .write_as("info", 4, "B", ("k", 9), "", [90, 100])
        .read(3, "C", ("k", Some(2)), "6A", [200, 210])
        .agree(&[("k", 2, "6A")]);
    assert_eq!(only(told.judge("read-your-writes").violations).ops.len(), 3);
}

#[test]
fn monotonic_reads() {
    let build = |first, second| {
        history("disk")
            .write(5, "B", ("k", 1), first, [10, 20])
            .write(6, "C", ("k", 2), second, [10, 20])
            .read(0, "A", ("k", Some(1)), first, [100, 110])
            .read(0, "A", ("k", Some(2)), second, [120, 130])
            .read(0, "A", ("k", Some(1)), first, [140, 150])
    };
    let by_version = build("3B", "8C").agree(&[("k", 2, "8C")]);
    assert_eq!(only(by_version.judge("monotonic-reads").violations).ops.len(), 2);
    let by_value = build("", "").agree(&[("k", 2, "")]);
    assert_eq!(only(by_value.judge("monotonic-reads").violations).ops.len(), 3);
}

#[test]
fn the_order_of_a_clients_writes() {
    let writes = history("disk")
        .write(0, "A", ("k1", 1), "8A", [100, 110])
        .write(0, "A", ("k2", 2), "3A", [120, 130])
        .agree(&[("k1", 1, "8A"), ("k2", 2, "3A")]);
    assert_eq!(writes.kinds("monotonic-writes"), ["monotonic-writes"]);
    let reads = history("disk")
        .write(5, "B", ("k1", 1), "8B", [10, 20])
        .read(0, "A", ("k1", Some(1)), "8B", [100, 110])
        .write(0, "A", ("k2", 2), "3A", [120, 130])
        .agree(&[("k1", 1, "8B"), ("k2", 2, "3A")]);
    assert_eq!(reads.kinds("writes-follow-reads"), ["writes-follow-reads"]);
    assert!(reads.kinds("monotonic-writes").is_empty());
}

#[test]
fn durability() {
    let lost = |durability| {
        history(durability)
            .write(0, "A", ("k", 1), "8A", [100, 110])
            .write(1, "B", ("k", 2), "3B", [100, 110])
            .restart("A", 200, 300)
            .agree(&[("k", 2, "3B")])
    };
    let result = lost("disk").judge("durability");
    assert_eq!(result.evidence["acked_before_crash"], 1);
    let gone = result.violations.iter().find(|violation| violation.kind == "lost-acknowledged").unwrap();
    assert_eq!(gone.ops.len(), 2);
    assert!(gone.story.contains("A's process ended at 0.200 s. In the end no node has it"), "{}", gone.story);
    for durability in ["memory", "replicated"] {
        let result = lost(durability).judge("durability");
        assert_eq!((result.verdict, result.excused), (Verdict::Valid, 1));
        let lww = lost(durability).judge("lww");
        assert_eq!((lww.verdict, lww.excused), (Verdict::Valid, 1));
    }
    // C had it, and stayed up.
    let kept = history("memory")
        .write(0, "A", ("k", 1), "8A", [100, 110])
        .write(1, "B", ("k", 2), "3B", [100, 110])
        .read(2, "C", ("k", Some(1)), "8A", [150, 160])
        .restart("A", 200, 300)
        .agree(&[("k", 2, "3B")]);
    let violation = only(kept.judge("durability").violations);
    assert_eq!((violation.kind, violation.ops.len()), ("lost-acknowledged", 3));
    assert!(kept.kinds("lww").contains(&"lost-update"));
    // Not lost for ever, but not where it must be as soon as its node is back.
    let forgotten = history("disk")
        .write(0, "A", ("k", 1), "8A", [100, 110])
        .restart("A", 200, 300)
        .read(1, "A", ("k", None), "", [350, 360])
        .agree(&[("k", 1, "8A")]);
    assert_eq!(forgotten.kinds("durability"), ["forgotten"]);
    let blind = history("disk").write(0, "A", ("k", 1), "", [100, 110]).restart("A", 200, 300).agree(&[]);
    assert_eq!(blind.kinds("durability"), ["lost-acknowledged"]);
}

#[test]
fn figures() {
    let build = history("disk")
        .write(0, "A", ("k", 1), "1A", [100, 110])
        .write(0, "A", ("k", 2), "2A", [120, 130])
        .read(1, "B", ("k", None), "", [140, 150])
        .read(1, "B", ("k", Some(2)), "2A", [300, 310])
        .write_as("info", 2, "B", ("k", 3), "", [400, 900])
        .restart("B", 500, 600)
        .read(3, "B", ("k", Some(2)), "2A", [640, 650])
        .agree(&[("k", 2, "2A")]);
    let stale = build.judge("staleness");
    assert_eq!(stale.verdict, Verdict::Valid);
    assert_eq!(stale.evidence["reads"], 3);
    assert_eq!(stale.evidence["stale_reads"], 1);
    assert_eq!(stale.stats["versions_behind"]["max"], 2);
    assert_eq!(stale.stats["behind_ms"]["max"].as_f64().unwrap().round(), 30.0);
    assert_eq!(stale.stats["by_age"][2]["p_stale"], 1.0);
    let available = build.judge("availability");
    assert_eq!(available.evidence["ok"], 5);
    assert_eq!(available.evidence["info"], 1);
    let phases: Vec<&str> = available.stats["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["healthy", "kill B", "recovered"]);
    assert_eq!(available.stats["operations"][0]["f"], "read");
    assert_eq!(available.stats["operations"][0]["p99_ms"].as_f64().unwrap().round(), 10.0);
    assert_eq!(available.stats["recovery"][0]["ms"], 50.0);
}
