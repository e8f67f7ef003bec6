//! What a correct system may do, and what must not be concluded from too little.

use harness::check::{CHECKS, Understood, Verdict, find};

use crate::build::history;

#[test]
fn a_write_that_timed_out_may_take_effect_late_or_never() {
    history("disk")
        .write_as("info", 0, "A", ("k", 1), "", [100, 200])
        .write_as("open", 1, "B", ("k", 2), "", [100, 200])
        .write(2, "C", ("k", 3), "5C", [100, 110])
        .read(3, "C", ("k", Some(3)), "5C", [150, 160])
        .read(3, "C", ("k", Some(1)), "9A", [900, 910])
        .agree(&[("k", 1, "9A")])
        .innocent();
    // It arrives at its node in the middle of the settle phase.
    let late = history("disk")
        .write_as("info", 0, "A", ("k", 1), "", [100, 200])
        .write(2, "C", ("k", 3), "5C", [100, 110])
        .event(1001, "phase", None, "\"settle\"")
        .snapshot("A", &[("k", 3, "5C")], [1010, 1020])
        .snapshot("A", &[("k", 1, "9A")], [1400, 1410])
        .snapshot("B", &[("k", 3, "5C")], [1400, 1410])
        .snapshot("C", &[("k", 3, "5C")], [1400, 1410])
        .event(1501, "phase", None, "\"done\"");
    late.innocent();
    assert_eq!(late.judge("convergence").verdict, Verdict::Unknown);
}

#[test]
fn the_winner_need_not_be_the_last_in_real_time() {
    history("disk")
        .write(0, "A", ("k", 1), "90A", [100, 110])
        .write(1, "B", ("k", 2), "3B", [800, 810])
        .read(1, "B", ("k", Some(2)), "3B", [820, 830])
        .agree(&[("k", 1, "90A")])
        .innocent();
    // Nor without versions: what another node shows says nothing about the order.
    history("disk")
        .write(0, "A", ("k", 1), "", [100, 110])
        .write(1, "B", ("k", 2), "", [800, 810])
        .agree(&[("k", 1, "")])
        .innocent();
}

#[test]
fn roaming_sessions_and_other_clients_may_read_old_values() {
    history("disk")
        .write(0, "A", ("k", 1), "3A", [100, 110])
        .read(0, "B", ("k", None), "", [120, 130])
        .read(1, "C", ("k", None), "", [120, 130])
        .read(0, "A", ("k", Some(1)), "3A", [140, 150])
        .read(0, "B", ("k", None), "", [160, 170])
        .write(0, "B", ("k", 2), "1B", [180, 190])
        .agree(&[("k", 1, "3A")])
        .innocent();
}

#[test]
fn without_a_disk_a_restart_forgets_everything() {
    for durability in ["memory", "replicated"] {
        let build = history(durability)
            .write(0, "A", ("k", 1), "8A", [100, 110])
            .read(0, "A", ("k", Some(1)), "8A", [120, 130])
            .restart("A", 200, 300)
            .read(0, "A", ("k", None), "", [350, 360])
            .write(0, "A", ("k", 2), "1A", [370, 380])
            .write(0, "A", ("k2", 3), "8A", [390, 400])
            .agree(&[("k", 2, "1A"), ("k2", 3, "8A")]);
        build.innocent();
        assert_eq!(build.judge("durability").excused, 1);
    }
}

#[test]
fn with_a_disk_a_restart_forgets_what_was_only_shown() {
    history("disk")
        .write(0, "A", ("k", 1), "8A", [100, 110])
        .read(1, "B", ("k", Some(1)), "8A", [120, 130])
        .restart("B", 200, 300)
        .read(1, "B", ("k", None), "", [350, 360])
        .write(1, "B", ("k", 2), "1B", [370, 380])
        .agree(&[("k", 1, "8A")])
        .innocent();
}

#[test]
fn an_operation_that_spans_a_restart_may_belong_to_either_life() {
    history("memory")
        .write(0, "A", ("k", 1), "8A", [100, 110])
        .read(1, "A", ("k", None), "", [190, 360])
        .restart("A", 200, 300)
        .agree(&[])
        .innocent();
}

#[test]
fn overlapping_operations_have_no_order() {
    history("disk")
        .write(0, "A", ("k", 1), "8A", [100, 200])
        .read(1, "A", ("k", None), "", [110, 120])
        .read(2, "A", ("k", Some(1)), "8A", [130, 140])
        .write(3, "A", ("k2", 2), "7A", [150, 160])
        .agree(&[("k", 1, "8A"), ("k2", 2, "7A")]);
    history("disk")
        .write(0, "A", ("k", 1), "8A", [100, 200])
        .read(1, "A", ("k", None), "", [150, 250])
        .write(3, "A", ("k2", 2), "7A", [150, 250])
        .agree(&[("k", 1, "8A"), ("k2", 2, "7A")])
        .innocent();
    // A snapshot may have read one key early and the other late.
    history("disk")
        .snapshot("A", &[("k2", 2, "9A")], [90, 300])
        .write(0, "A", ("k", 1), "8A", [100, 110])
        .write(0, "A", ("k2", 2), "9A", [120, 130])
        .agree(&[("k", 1, "8A"), ("k2", 2, "9A")])
        .innocent();
}

#[test]
fn timestamps_without_origins_leave_ties_undecided() {
    history("disk")
        .write(0, "A", ("k", 1), "9", [100, 110])
        .write(1, "B", ("k", 2), "9", [100, 110])
        .agree(&[("k", 2, "9")])
        .innocent();
    // Origins that are not node names cannot be told from the missing ones.
    history("disk")
        .write(0, "A", ("k", 1), "9", [100, 110])
        .read(1, "B", ("k", Some(1)), "9X", [200, 210])
        .agree(&[("k", 1, "9X")])
        .innocent();
    // All nodes call themselves the same.
    history("disk")
        .write(0, "A", ("k", 1), "9me", [100, 110])
        .write(1, "B", ("k2", 2), "9me", [100, 110])
        .agree(&[("k", 1, "9me"), ("k2", 2, "9me")])
        .innocent();
}

#[test]
fn an_acknowledgement_may_name_the_winner() {
    history("disk")
        .write(0, "A", ("k", 1), "9B", [100, 110])
        .write(1, "B", ("k", 2), "9B", [100, 110])
        .agree(&[("k", 2, "9B")])
        .innocent();
}

#[test]
fn keys_that_are_no_clients_business() {
    history("disk")
        .write(0, "A", ("k", 1), "9A", [100, 110])
        .ends(&[("k", 1, "9A"), ("_id", 1000, "")], &[("k", 1, "9A"), ("_id", 2000, "")], &[("k", 1, "9A")])
        .innocent();
}

#[test]
fn nothing_to_bite_on_is_unknown() {
    let empty = history("disk").agree(&[]);
    for check in CHECKS {
        let result = check.check(&empty.parse());
        assert_eq!(result.verdict, Verdict::Unknown, "{}", check.name());
        assert!(result.reason.is_some_and(|reason| !reason.is_empty()), "{}", check.name());
    }
    // The harness was killed in the middle of the settle phase: the replicas still had time.
    let short = history("disk")
        .write(0, "A", ("k", 1), "9A", [100, 110])
        .event(1001, "phase", None, "\"settle\"")
        .snapshot("A", &[("k", 1, "9A")], [1010, 1020])
        .snapshot("B", &[], [1010, 1020])
        .snapshot("C", &[], [1010, 1020])
        // Interrupted runs end like any other.
        .event(1100, "phase", None, "\"done\"");
    short.innocent();
    for check in ["convergence", "lww"] {
        let reason = short.judge(check).reason.unwrap();
        assert_eq!(reason, "the history breaks off before the settle phase was over");
    }
    // Every acknowledgement came from a node that stayed up.
    let calm = history("disk")
        .write(0, "A", ("k", 1), "9A", [100, 110])
        .restart("B", 200, 300)
        .agree(&[("k", 1, "9A")]);
    assert_eq!(
        calm.judge("durability").reason.unwrap(),
        "no node was restarted after it had acknowledged a write"
    );
    assert_eq!(calm.judge("lww").verdict, Verdict::Valid);
    assert_eq!(calm.judge("convergence").verdict, Verdict::Valid);
    // No versions: the order of writes does not show.
    let blind = history("disk")
        .write(0, "A", ("k", 1), "", [100, 110])
        .write(0, "A", ("k", 2), "", [120, 130])
        .read(0, "A", ("k", Some(2)), "", [140, 150])
        .agree(&[("k", 2, "")]);
    assert_eq!(blind.judge("monotonic-writes").verdict, Verdict::Unknown);
    assert_eq!(blind.judge("writes-follow-reads").verdict, Verdict::Unknown);
    assert_eq!(blind.judge("read-your-writes").verdict, Verdict::Valid);
}

#[test]
fn a_replica_that_was_slow_at_the_end_is_not_compared() {
    let head = r#""process":200,"f":"snapshot","node":"C""#;
    let mut build = history("disk")
        .write(0, "A", ("k", 1), "9A", [100, 110])
        .event(1001, "phase", None, "\"settle\"")
        .snapshot("C", &[], [1010, 1020])
        .snapshot("A", &[("k", 1, "9A")], [1400, 1410])
        .snapshot("B", &[("k", 1, "9A")], [1400, 1410])
        .event(1501, "phase", None, "\"done\"");
    build =
        build.raw(1100, &format!(r#"{head},"type":"invoke""#)).raw(1490, &format!(r#"{head},"type":"fail""#));
    build.innocent();
    assert_eq!(
        build.judge("convergence").reason.unwrap(),
        "C was not seen to answer when the settle phase was over"
    );
}

/// A `value` of the protocol file that is something else's place.
#[test]
fn what_was_misread_is_no_evidence() {
    let written = |count: i64| {
        (0..count).fold(history("disk"), |build, number| {
            let at = 10 * number as u64;
            build.write(0, "A", ("k", 100 + number), &format!("{number}A"), [at, at + 1]).read(
                0,
                "A",
                ("k", Some(number)),
                &format!("{number}A"),
                [at + 2, at + 3],
            )
        })
    };
    let verdict =
        |build: &crate::build::Build, name: &str| Understood::new(&build.parse()).judge(find(name).unwrap());
    let misread = written(20).agree(&[("k", 119, "19A")]);
    for name in ["lww", "linearizability", "staleness"] {
        let result = verdict(&misread, name);
        assert_eq!(result.verdict, Verdict::Unknown, "{name}: {:#?}", result.violations);
        let reason = result.reason.unwrap();
        assert!(reason.contains("`read`") && reason.contains("one is `1`, where `100`"), "{reason}");
    }
    // What was understood is judged all the same.
    let apart = written(20).ends(&[("k", 119, "19A")], &[("k", 118, "18A")], &[("k", 119, "19A")]);
    assert_eq!(verdict(&apart, "convergence").violations[0].kind, "diverged");
    // One value that had been written, or too few of the others, and nodes are taken at their word.
    let once = misread.read(1, "B", ("k", Some(119)), "19A", [900, 901]);
    assert_eq!(verdict(&once, "lww").violations[0].kind, "phantom-value");
    assert_eq!(verdict(&written(5).agree(&[("k", 104, "4A")]), "lww").verdict, Verdict::Invalid);
}
