//! The `quorum` check on histories written by hand: what it proves, and what a correct store may do.

use harness::check::Verdict;
use harness::history::History;

use crate::build::Build;
use crate::build::quorum::{Said, quorum};

const MET: &str = r#""achieved":true,"acks":2"#;

/// The only violation's kind; that its operations prove it, and that without any one of them nothing is proved.
fn minimal(build: &Build, kind: &str) {
    let result = build.judge("quorum");
    let [violation] = &result.violations[..] else { panic!("{kind}: {:#?}", result.violations) };
    assert_eq!(violation.kind, kind, "{violation:#?}");
    let history = build.parse();
    let judge = |ops: &[u64]| {
        let mut history: History = history.clone();
        history.ops.retain(|op| ops.contains(&op.index) || op.snapshot.is_some());
        harness::check::find("quorum").unwrap().check(&history).violations
    };
    assert_eq!(judge(&violation.ops).len(), 1, "{violation:#?}");
    for gone in &violation.ops {
        let rest: Vec<u64> = violation.ops.iter().copied().filter(|op| op != gone).collect();
        if history.ops.iter().any(|op| op.index == *gone && op.snapshot.is_some()) {
            continue;
        }
        assert!(judge(&rest).is_empty(), "without {gone}: {violation:#?}");
    }
}

#[test]
fn a_quorum_beyond_the_cut_is_impossible() {
    let isolated = |times| {
        quorum("disk", 2, 2).isolate("A", 5_000, 9_000).does(1, "A", Said::write("k", 1, "1", MET), times)
    };
    let build = isolated([6_000, 6_400]);
    minimal(&build, "impossible-quorum");
    let violation = &build.judge("quorum").violations[0];
    assert_eq!(
        violation.story,
        "Process 1 wrote k = 1 at A (ts 1 of A), acknowledged at 6.400 s. The answer says that 2 replicas hold it, but from \
         6.000 s to 6.400 s A could reach nobody but itself."
    );
    assert_eq!(
        (&violation.nodes[..], &violation.faults[..]),
        (&["A".to_owned()][..], &["partition  5.0–9.0 s".to_owned()][..])
    );
    // The other side has two.
    let other = quorum("disk", 2, 2).isolate("A", 5_000, 9_000).does(
        1,
        "B",
        Said::write("k", 1, "1", MET),
        [6_000, 6_400],
    );
    assert!(other.kinds("quorum").is_empty());
    assert_eq!(other.judge("quorum").evidence["claims_while_cut_off"], 1);
    let three = Said::write("k", 1, "1", r#""achieved":true,"acks":3"#);
    let other = quorum("disk", 2, 2).isolate("A", 5_000, 9_000).does(1, "B", three, [6_000, 6_400]);
    minimal(&other, "impossible-quorum");
    // Its edges belong to nobody: the cut may have come later than it was recorded, and gone before.
    for times in [[5_400, 6_000], [4_900, 8_000], [6_000, 8_600], [8_600, 8_900], [6_000, 9_500]] {
        assert!(isolated(times).kinds("quorum").is_empty(), "{times:?}");
    }
}

#[test]
fn a_link_that_delivered_nothing_was_cut_from_the_record_on() {
    let cut = |delivered: &str| {
        let mut build = quorum("disk", 2, 2).isolate("A", 5_000, 9_000);
        for (_, text) in &mut build.events {
            *text = text
                .replace("\"held_bytes\":9", &format!("\"held_bytes\":9,\"delivered_bytes\":{delivered}"));
        }
        build
    };
    let acked =
        |delivered, times| cut(delivered).does(1, "A", Said::write("k", 1, "1", MET), times).kinds("quorum");
    assert_eq!(acked("0", [5_001, 5_500]), ["impossible-quorum"]);
    assert!(acked("1", [5_001, 5_500]).is_empty());
    assert!(acked("0", [4_999, 5_500]).is_empty());
    assert!(acked("0", [5_001, 8_600]).is_empty());
}

#[test]
fn claims_may_be_told_in_several_ways() {
    let with = |claim: &'static str, kind: &'static str| {
        let said = Said::write("k", 1, "1", claim).kind(kind);
        quorum("disk", 2, 2).isolate("A", 5_000, 9_000).does(1, "A", said, [6_000, 6_400]).kinds("quorum")
    };
    assert_eq!(with("", "ok"), ["impossible-quorum"]);
    assert_eq!(with(r#""achieved":true"#, "ok"), ["impossible-quorum"]);
    assert_eq!(with(r#""acks":2"#, "ok"), ["impossible-quorum"]);
    assert_eq!(with(r#""achieved":false,"acks":2"#, "info"), ["impossible-quorum"]);
    assert!(with(r#""acks":1"#, "ok").is_empty());
    assert!(with(r#""achieved":false,"acks":1"#, "info").is_empty());
    assert!(with(r#""achieved":false"#, "ok").is_empty());
    assert!(with("", "info").is_empty());
    assert!(with(r#""achieved":true"#, "fail").is_empty());
    // More copies than nodes, without any fault.
    let four = Said::write("k", 1, "1", r#""achieved":true,"acks":4"#);
    minimal(&quorum("disk", 2, 2).does(1, "A", four, [100, 110]), "impossible-quorum");
    // A delete is a write.
    let delete =
        quorum("disk", 2, 2).isolate("A", 5_000, 9_000).does(1, "A", Said::delete("k", "2"), [6_000, 6_400]);
    minimal(&delete, "impossible-quorum");
}

#[test]
fn others_may_relay_and_answers_must_come_back() {
    let acked = |build: Build| build.does(1, "A", Said::write("k", 1, "1", r#""acks":3"#), [6_000, 6_400]);
    // A hears C through B.
    let relayed = acked(quorum("disk", 2, 2).cut(&["A→C", "C→A"], 5_000, 9_000));
    assert!(relayed.kinds("quorum").is_empty());
    // What C says reaches nobody; what A says still does.
    let mute = acked(quorum("disk", 2, 2).cut(&["C→A", "C→B"], 5_000, 9_000));
    minimal(&mute, "impossible-quorum");
    let deaf = acked(quorum("disk", 2, 2).cut(&["A→C", "B→C"], 5_000, 9_000));
    minimal(&deaf, "impossible-quorum");
    let one_way = acked(quorum("disk", 2, 2).cut(&["A→C"], 5_000, 9_000));
    assert!(one_way.kinds("quorum").is_empty());
    // A relay that is stopped relays nothing.
    let stopped = acked(quorum("disk", 2, 2).cut(&["A→C", "C→A"], 5_000, 9_000).pause("B", 5_100, 9_100));
    minimal(&stopped, "impossible-quorum");
    assert!(stopped.judge("quorum").violations[0].story.contains("A could reach nobody but itself"));
}

#[test]
fn only_what_took_effect_and_nothing_went_past_bounds() {
    let acked =
        |build: Build| build.does(1, "A", Said::write("k", 1, "1", MET), [6_000, 6_400]).kinds("quorum");
    let links = ["A→B", "B→A", "A→C", "C→A"];
    assert_eq!(acked(quorum("disk", 2, 2).cut(&links, 5_000, 9_000)), ["impossible-quorum"]);
    assert!(acked(quorum("disk", 2, 2).fault("partition", &links, "", 5_000, 9_000, false)).is_empty());
    assert!(acked(quorum("disk", 2, 2).fault("delay", &links, "", 5_000, 9_000, true)).is_empty());
    let past = r#"{"from":"B","to":"A","seen":1}"#;
    assert!(
        acked(quorum("disk", 2, 2).cut(&links, 5_000, 9_000).event(9_500, "bypass", None, past)).is_empty()
    );
    // Two cuts in a row leave a gap that nobody can bound; two that overlap well do not.
    let twice = |second| quorum("disk", 2, 2).cut(&links, 2_000, 6_200).cut(&links, second, 9_000);
    assert!(acked(twice(5_900)).is_empty());
    assert_eq!(acked(twice(5_000)), ["impossible-quorum"]);
}

#[test]
fn the_dead_and_the_stopped_hold_nothing() {
    let acked = |build: Build, times| {
        build.does(1, "A", Said::write("k", 1, "1", r#""acks":3"#), times).kinds("quorum")
    };
    let dead = || quorum("disk", 2, 2).restart("C", 5_000, 9_000);
    assert_eq!(acked(dead(), [5_100, 8_000]), ["impossible-quorum"]);
    // It was alive when it was asked, or again before the answer; a start may be recorded late.
    for times in [[4_990, 8_000], [5_100, 8_700], [5_100, 9_500]] {
        assert!(acked(dead(), times).is_empty(), "{times:?}");
    }
    let paused = || quorum("disk", 2, 2).pause("C", 5_000, 9_000);
    assert_eq!(acked(paused(), [5_600, 8_000]), ["impossible-quorum"]);
    for times in [[5_400, 8_000], [5_600, 8_600], [5_600, 9_500]] {
        assert!(acked(paused(), times).is_empty(), "{times:?}");
    }
    // Started while it was to be paused: until it is stopped it runs.
    let restarted = || quorum("disk", 2, 2).pause("C", 4_000, 9_900).restart("C", 5_000, 6_000);
    assert_eq!(acked(restarted(), [6_600, 8_000]), ["impossible-quorum"]);
    assert!(acked(restarted(), [5_600, 6_100]).is_empty());
    // Never seen stopped.
    let unseen = quorum("disk", 2, 2).fault("pause", &[], "B", 5_000, 9_000, true);
    assert!(
        acked(unseen.fault("slow", &[], "C", 5_001, 9_000, true), [5_600, 8_000]) == ["impossible-quorum"]
    );
    assert!(
        acked(quorum("disk", 2, 2).fault("slow", &[], "C", 5_000, 9_000, true), [5_600, 8_000]).is_empty()
    );
}

fn two_writes() -> Build {
    quorum("disk", 2, 2).does(1, "A", Said::write("k", 1, "1", ""), [100, 110]).does(
        1,
        "A",
        Said::write("k", 2, "2", ""),
        [200, 210],
    )
}

#[test]
fn a_strong_read_sees_what_was_acknowledged() {
    minimal(&two_writes().does(2, "B", Said::strong("k", Some(1), "1"), [300, 310]), "stale-strong-read");
    minimal(&two_writes().does(2, "B", Said::strong("k", None, ""), [300, 310]), "stale-strong-read");
    for fine in [
        two_writes().does(2, "B", Said::strong("k", Some(2), "2"), [300, 310]),
        // It began before the second was acknowledged.
        two_writes().does(2, "B", Said::strong("k", Some(1), "1"), [205, 310]),
        // Other levels promise less.
        two_writes().does(2, "B", Said::read("eventual-read", "k", Some(1), "1"), [300, 310]),
        two_writes().does(2, "B", Said::read("session-read", "k", Some(1), "1"), [300, 310]),
        // Newer ones may show, acknowledged or not.
        two_writes().does(3, "A", Said::write("k", 3, "", "").kind("info"), [120, 1_000]).does(
            2,
            "B",
            Said::strong("k", Some(3), "9"),
            [300, 310],
        ),
        two_writes().does(3, "A", Said::delete("k", "").kind("info"), [20, 90]).does(
            2,
            "B",
            Said::strong("k", None, ""),
            [300, 310],
        ),
    ] {
        assert!(fine.kinds("quorum").is_empty(), "{}", fine.text());
    }
    // With R + W <= N it may miss it.
    let loose = quorum("disk", 1, 2)
        .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
        .does(1, "A", Said::write("k", 2, "2", ""), [200, 210])
        .does(2, "B", Said::strong("k", Some(1), "1"), [300, 310]);
    assert!(loose.kinds("quorum").is_empty());
}

#[test]
fn without_versions_time_orders_what_does_not_overlap() {
    let writes = |first: [u64; 2], second: [u64; 2]| {
        quorum("disk", 2, 2)
            .does(1, "A", Said::write("k", 1, "", ""), first)
            .does(2, "A", Said::write("k", 2, "", ""), second)
            .does(3, "B", Said::strong("k", Some(1), ""), [300, 310])
    };
    minimal(&writes([100, 110], [200, 210]), "stale-strong-read");
    assert!(writes([100, 205], [200, 210]).kinds("quorum").is_empty());
    assert!(writes([200, 210], [100, 110]).kinds("quorum").is_empty());
    let unsure = quorum("disk", 2, 2)
        .does(1, "A", Said::write("k", 1, "", "").kind("info"), [100, 110])
        .does(2, "A", Said::write("k", 2, "", ""), [200, 210])
        .does(3, "B", Said::strong("k", Some(1), ""), [300, 310]);
    assert!(unsure.kinds("quorum").is_empty());
    // A value that comes back under a newer version than it was acknowledged with is still the older write.
    let relabelled = two_writes().does(3, "B", Said::strong("k", Some(1), "7"), [300, 310]);
    minimal(&relabelled, "stale-strong-read");
}

#[test]
fn deleted_values_stay_deleted() {
    let deleted = |shown: Said| {
        quorum("disk", 2, 2)
            .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
            .does(1, "A", Said::delete("k", "2"), [200, 210])
            .does(2, "B", shown, [300, 310])
    };
    minimal(&deleted(Said::strong("k", Some(1), "1")), "deleted-value-returned");
    assert!(deleted(Said::strong("k", None, "")).kinds("quorum").is_empty());
    let unversioned = quorum("disk", 2, 2)
        .does(1, "A", Said::write("k", 1, "", ""), [100, 110])
        .does(1, "A", Said::delete("k", ""), [200, 210])
        .does(2, "B", Said::strong("k", Some(1), ""), [300, 310]);
    minimal(&unversioned, "deleted-value-returned");
    // Written again after the delete, it must be there again.
    let again = |value, shown| {
        quorum("disk", 2, 2)
            .does(1, "A", Said::delete("k", "1"), [100, 110])
            .does(1, "A", Said::write("k", 1, "2", ""), [200, 210])
            .does(2, "B", Said::strong("k", value, shown), [300, 310])
    };
    minimal(&again(None, ""), "stale-strong-read");
    assert!(again(Some(1), "2").kinds("quorum").is_empty());
}

#[test]
fn forgotten_copies_excuse_a_strong_read_only_without_a_disk() {
    let build = |durability| {
        quorum(durability, 2, 2)
            .does(1, "A", Said::write("k", 1, "1", ""), [100, 110])
            .restart("B", 1_000, 2_000)
            .does(2, "C", Said::strong("k", None, ""), [3_000, 3_010])
    };
    assert_eq!(build("disk").kinds("quorum"), ["stale-strong-read"]);
    assert!(build("memory").kinds("quorum").is_empty());
    assert!(build("replicated").kinds("quorum").is_empty());
}

#[test]
fn an_acknowledged_write_is_somewhere_in_the_end() {
    let old: &[(&str, i64, &str)] = &[("k", 1, "1")];
    let new: &[(&str, i64, &str)] = &[("k", 2, "2")];
    assert_eq!(two_writes().settles(old, old, old).kinds("quorum"), ["lost-acknowledged"]);
    assert_eq!(two_writes().settles(&[], &[], &[]).kinds("quorum"), ["lost-acknowledged"]);
    for fine in [[new, old, old], [old, old, new], [new, new, new]] {
        assert!(two_writes().settles(fine[0], fine[1], fine[2]).kinds("quorum").is_empty());
    }
    let deleted = || two_writes().does(1, "A", Said::delete("k", "3"), [300, 310]);
    assert!(deleted().settles(&[], &[], &[]).kinds("quorum").is_empty());
    assert_eq!(deleted().settles(new, new, new).kinds("quorum"), ["lost-acknowledged"]);
    assert!(deleted().settles(new, &[], new).kinds("quorum").is_empty());
    let unsure = two_writes().does(1, "A", Said::delete("k", "").kind("info"), [20, 30]);
    assert!(unsure.settles(&[], &[], &[]).kinds("quorum").is_empty());
    // The old leader's map came back as if it were news.
    let news: &[(&str, i64, &str)] = &[("k", 1, "9")];
    assert_eq!(two_writes().settles(news, news, news).kinds("quorum"), ["lost-acknowledged"]);
    // Fewer than two that kept their memory prove nothing.
    let crashed = |durability, nodes: &[&str]| {
        let mut build = quorum(durability, 2, 2).does(1, "A", Said::write("k", 1, "1", ""), [100, 110]);
        for node in nodes {
            build = build.restart(node, 1_000 + u64::from(node.as_bytes()[0]), 2_000);
        }
        build.settles(&[], &[], &[]).kinds("quorum")
    };
    assert_eq!(crashed("memory", &["A"]), ["lost-acknowledged"]);
    assert!(crashed("memory", &["A", "B"]).is_empty());
    assert_eq!(crashed("disk", &["A", "B", "C"]), ["lost-acknowledged"]);
}

/// B is dead, A leads and C follows; `writes` of them go to each node, and are refused.
fn refusing(kind: &str, nodes: &[&str], writes: u64, roles: [(&str, u64); 3]) -> Build {
    let mut build =
        quorum("disk", 2, 2).elect_within(2_000).restart("B", 5_000, 12_000).statuses(roles, [100, 19_000]);
    for (place, node) in nodes.iter().enumerate() {
        for count in 0..writes {
            let (ms, value) = (7_600 + 400 * count, 100 * place as u64 + count);
            let said = Said::write("k", value as i64, "", r#""role":"leader""#).kind(kind);
            build = build.does(10 + place as u64 + 10 * count, node, said, [ms, ms + 100]);
        }
    }
    build
}

const A_LEADS: [(&str, u64); 3] = [("leader", 1), ("follower", 1), ("follower", 1)];
const NOBODY_LEADS: [(&str, u64); 3] = [("follower", 1), ("follower", 1), ("follower", 1)];

#[test]
fn refusing_although_a_quorum_could_serve() {
    for kind in ["fail", "info"] {
        let build = refusing(kind, &["A"], 9, A_LEADS);
        let result = build.judge("quorum");
        assert_eq!(build.kinds("quorum"), ["refused-with-quorum"], "{:#?}", result.evidence);
        let violation = &result.violations[0];
        assert_eq!(violation.nodes, ["A"]);
        assert!(
            violation.story.starts_with("A and C could talk to each other from 5.000 s on, led by A: enough for W = 2. Yet from 2.0 s later until 11.500 s not one write to the leader was acknowledged"),
            "{}",
            violation.story
        );
        assert_eq!(violation.ops.len(), 5);
    }
    // Nobody says that he leads, and all refuse.
    assert_eq!(refusing("fail", &["A", "C"], 9, NOBODY_LEADS).kinds("quorum"), ["refused-with-quorum"]);
    // Followers may refuse, and few writes prove nothing.
    assert!(refusing("fail", &["C"], 9, A_LEADS).kinds("quorum").is_empty());
    assert!(refusing("fail", &["A"], 9, NOBODY_LEADS).kinds("quorum").is_empty());
    assert!(refusing("fail", &["A"], 4, A_LEADS).kinds("quorum").is_empty());
}

#[test]
fn one_success_or_any_doubt_forgives_refusals() {
    let refusing = || refusing("fail", &["A"], 9, A_LEADS);
    let served = Said::write("k", 999, "5", "");
    assert!(refusing().does(77, "C", served, [9_000, 9_010]).kinds("quorum").is_empty());
    assert!(refusing().does(77, "A", served, [5_000, 9_010]).kinds("quorum").is_empty());
    // Long before it counts for nothing.
    assert_eq!(refusing().does(77, "A", served, [1_000, 1_010]).kinds("quorum"), ["refused-with-quorum"]);
    // Another fault at the same time, whether it took effect or not.
    for (f, links, target) in [
        ("pause", &[][..], "C"),
        ("slow", &[], "A"),
        ("delay", &["A→C"], ""),
        ("whatever", &[], "C"),
        ("new", &[], ""),
    ] {
        let build = refusing().fault(f, links, target, 4_000, 15_000, false);
        assert!(build.kinds("quorum").is_empty(), "{f}");
    }
    // Cut off, B disturbs nobody; heard and not hearing, it may.
    let cut = |links: &[&str]| {
        let mut build = refusing();
        build.events.retain(|(_, text)| !text.contains("kill") && !text.contains("\"exit\""));
        build.cut(links, 5_000, 12_000)
    };
    assert_eq!(cut(&["A→B", "B→A", "C→B", "B→C"]).kinds("quorum"), ["refused-with-quorum"]);
    assert_eq!(cut(&["B→A", "B→C"]).kinds("quorum"), ["refused-with-quorum"]);
    assert!(cut(&["A→B", "C→B"]).kinds("quorum").is_empty());
    // No promise, no breach.
    let mut silent = refusing();
    silent.contract = silent.contract.replace("\"elect_within_ms\":2000,", "");
    assert!(silent.kinds("quorum").is_empty());
}

#[test]
fn a_machine_without_time_is_no_refusal() {
    // The nodes' other answers stop, or take long.
    let mut late = quorum("disk", 2, 2).elect_within(2_000);
    for second in 0..9 {
        late = late.statuses(A_LEADS, [1_900 * second + 100, 1_900 * second + 900]);
    }
    let mut slow = quorum("disk", 2, 2).elect_within(2_000);
    for ms in (100..19_000).step_by(400) {
        for (place, node) in ["A", "B", "C"].into_iter().enumerate() {
            slow = slow.status(
                900 + place as u64,
                node,
                if place == 0 { "leader" } else { "follower" },
                Some(1),
                [ms, ms + 350],
            );
        }
    }
    for count in 0..9 {
        let ms = 3_000 + 1_000 * count;
        let said = Said::write("k", count as i64, "", r#""role":"leader""#).kind("info");
        late = late.does(100 + count, "A", said, [ms, ms + 900]);
        slow = slow.does(100 + count, "A", said, [ms, ms + 900]);
    }
    assert!(late.kinds("quorum").is_empty());
    assert!(slow.kinds("quorum").is_empty());
}

#[test]
fn with_nothing_to_judge_it_says_so() {
    let plain =
        crate::build::history("disk").write(0, "A", ("k", 1), "1A", [100, 110]).agree(&[("k", 1, "1A")]);
    let result = plain.judge("quorum");
    assert_eq!(result.verdict, Verdict::Unknown);
    assert_eq!(
        result.reason.as_deref(),
        Some("the workload declares no `write-quorum`, and no answer claims one")
    );
    let idle = quorum("disk", 2, 2).does(1, "A", Said::write("k", 1, "1", MET), [100, 110]);
    assert_eq!(idle.judge("quorum").verdict, Verdict::Unknown);
    let read = two_writes().does(2, "B", Said::strong("k", Some(2), "2"), [300, 310]);
    assert_eq!(read.judge("quorum").verdict, Verdict::Valid);
}
