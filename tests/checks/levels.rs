//! Each read is held to the promise of its level, and a delete is a write of nothing.

use harness::check::Verdict;

use crate::build::Build;
use crate::build::quorum::{Said, quorum};

fn session(read: Said, at: &str) -> Build {
    quorum("disk", 2, 2)
        .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
        .does(1, "A", Said::write("k", 2, "5", ""), [200, 210])
        .does(1, at, read, [300, 310])
}

#[test]
fn a_session_read_sees_its_sessions_writes_at_any_node() {
    for at in ["A", "B"] {
        for read in [Said::read("session-read", "k", Some(1), "1"), Said::read("session-read", "k", None, "")]
        {
            let result = session(read, at).judge("read-your-writes");
            let [violation] = &result.violations[..] else { panic!("{result:#?}") };
            assert_eq!((violation.kind, violation.ops.len()), ("read-your-writes", 2));
            assert!(violation.cause.contains("answers a session read from its own copy"), "{violation:?}");
        }
        for fine in
            [("session-read", Some(2), "5"), ("eventual-read", Some(1), "1"), ("eventual-read", None, "")]
        {
            let read = Said::read(fine.0, "k", fine.1, fine.2);
            assert!(session(read, at).kinds("read-your-writes").is_empty(), "{fine:?}");
        }
    }
    // A plain read is held to what was written at its node.
    let plain = Said::read("read", "k", Some(1), "1");
    assert_eq!(session(plain, "A").kinds("read-your-writes"), ["read-your-writes"]);
    assert!(session(plain, "B").kinds("read-your-writes").is_empty());
    // Another session's.
    let other = quorum("disk", 2, 2).does(1, "A", Said::write("k", 1, "1", ""), [100, 110]).does(
        2,
        "B",
        Said::read("session-read", "k", None, ""),
        [300, 310],
    );
    assert!(other.kinds("read-your-writes").is_empty());
}

#[test]
fn session_reads_without_versions() {
    let build = |value, deleter: Option<[u64; 2]>| {
        let mut build = quorum("disk", 2, 2)
            .does(1, "A", Said::write("k", 1, "", ""), [100, 110])
            .does(1, "A", Said::write("k", 2, "", ""), [200, 210])
            .does(3, "A", Said::write("k", 3, "", ""), [20, 30])
            .does(1, "B", Said::read("session-read", "k", value, ""), [300, 310]);
        if let Some(times) = deleter {
            build = build.does(2, "C", Said::delete("k", "").kind("info"), times);
        }
        build.kinds("read-your-writes")
    };
    assert_eq!(build(None, None), ["read-your-writes"]);
    assert_eq!(build(Some(1), None), ["read-your-writes"]);
    // Somebody else's may be newer; and somebody may have deleted it.
    assert!(build(Some(2), None).is_empty());
    assert!(build(Some(3), None).is_empty());
    assert!(build(None, Some([20, 40])).is_empty());
    assert_eq!(build(None, Some([311, 320])), ["read-your-writes"]);
}

#[test]
fn without_a_disk_a_restart_excuses_session_reads() {
    let build = |durability| {
        quorum(durability, 2, 2)
            .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
            .restart("C", 1_000, 2_000)
            .does(1, "B", Said::read("session-read", "k", None, ""), [3_000, 3_010])
            .kinds("read-your-writes")
    };
    assert_eq!(build("disk"), ["read-your-writes"]);
    assert!(build("memory").is_empty());
}

#[test]
fn deletes_are_no_losses() {
    let deleted = |outcome: &'static str, version: &'static str| {
        quorum("disk", 2, 2)
            .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
            .does(1, "A", Said::delete("k", version).kind(outcome), [200, 210])
            .does(1, "A", Said::read("read", "k", None, ""), [300, 310])
            .restart("A", 1_000, 2_000)
            .does(3, "A", Said::read("read", "k", None, ""), [3_000, 3_010])
            .settles(&[], &[], &[])
    };
    for build in [deleted("ok", "2"), deleted("ok", ""), deleted("info", "")] {
        build.innocent();
    }
    // A delete that certainly failed explains nothing, nor does one that came before.
    assert_eq!(deleted("fail", "").kinds("durability"), ["forgotten", "lost-acknowledged"]);
    let before = quorum("disk", 2, 2)
        .does(1, "A", Said::delete("k", "1"), [100, 110])
        .does(1, "A", Said::write("k", 1, "2", ""), [200, 210])
        .restart("A", 1_000, 2_000)
        .settles(&[], &[], &[]);
    assert_eq!(before.kinds("durability"), ["lost-acknowledged"]);
    assert_eq!(before.kinds("quorum"), ["lost-acknowledged"]);
}

#[test]
fn a_delete_that_did_not_reach_everybody() {
    let build = quorum("disk", 2, 2)
        .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
        .does(1, "A", Said::delete("k", "2"), [200, 210])
        .settles(&[], &[("k", 1, "1")], &[("k", 1, "1")]);
    let violations = build.judge("convergence").violations;
    assert_eq!(violations.len(), 1);
    assert_eq!(
        (violations[0].kind, &violations[0].nodes[..]),
        ("diverged", &["B".to_owned(), "C".to_owned()][..])
    );
    assert_eq!(
        violations[0].story,
        "0.409 s after everything was healed, A holds nothing, but B and C hold 1 (ts 1 of A) under k. The newest: process 1 \
         deleted k at A (ts 2 of A), acknowledged at 0.210 s."
    );
    // One of unknown outcome that was done only meanwhile decides nothing.
    let late = quorum("disk", 2, 2)
        .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
        .does(1, "A", Said::delete("k", "").kind("info"), [200, 210])
        .event(20_001, "phase", None, "\"settle\"")
        .snapshot("A", &[("k", 1, "1")], [20_010, 20_020])
        .snapshot("A", &[], [20_400, 20_410])
        .snapshot("B", &[("k", 1, "1")], [20_400, 20_410])
        .snapshot("C", &[("k", 1, "1")], [20_400, 20_410])
        .event(20_502, "phase", None, "\"done\"");
    assert_eq!(late.judge("convergence").verdict, Verdict::Unknown);
}

#[test]
fn staleness_is_measured_by_level() {
    let result = quorum("disk", 2, 2)
        .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
        .does(1, "A", Said::delete("k", "2"), [200, 210])
        .does(2, "B", Said::read("eventual-read", "k", Some(1), "1"), [213, 220])
        .does(2, "B", Said::read("eventual-read", "k", None, ""), [300, 310])
        .does(3, "B", Said::strong("k", None, ""), [300, 310])
        .judge("staleness");
    assert_eq!((&result.evidence["reads"], &result.evidence["stale_reads"]), (&3.into(), &1.into()));
    assert_eq!(result.stats["by_age"].as_array().unwrap().len(), 6);
    let levels = result.stats["levels"].as_object().unwrap();
    assert_eq!(levels.keys().collect::<Vec<_>>(), ["strong-read", "eventual-read"]);
    assert_eq!(
        (&levels["eventual-read"]["p_stale"], &levels["strong-read"]["p_stale"]),
        (&0.5.into(), &0.0.into())
    );
    let of_age = |from: u64| {
        let ages = levels["eventual-read"]["by_age"].as_array().unwrap();
        ages.iter().find(|age| age["from_ms"] == from).unwrap()["p_stale"].clone()
    };
    assert_eq!((of_age(2), of_age(50)), (1.0.into(), 0.0.into()));
}

#[test]
fn phantom_values_are_phantom_at_every_level() {
    for f in ["read", "strong-read", "session-read", "eventual-read"] {
        let build = quorum("disk", 2, 2).does(1, "A", Said::write("k", 1, "1", ""), [100, 110]).does(
            2,
            "B",
            Said::read(f, "k", Some(99), ""),
            [300, 310],
        );
        assert_eq!(build.kinds("lww"), ["phantom-value"], "{f}");
    }
}
