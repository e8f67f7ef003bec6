//! The `leader` check on histories written by hand.

use harness::check::{Verdict, Violation};

use crate::build::Build;
use crate::build::quorum::{Said, quorum};

const TERM_1: &str = r#""term":1,"leader":"A","acks":2"#;

fn only(build: &Build) -> Violation {
    let mut violations = build.judge("leader").violations;
    assert_eq!(violations.len(), 1, "{violations:#?}");
    violations.remove(0)
}

#[test]
fn two_leaders_in_one_term() {
    let build = quorum("disk", 2, 2)
        .status(1, "A", "leader", Some(3), [100, 105])
        .status(2, "B", "follower", Some(3), [100, 105])
        .status(2, "B", "leader", Some(3), [5_000, 5_005]);
    let violation = only(&build);
    assert_eq!(violation.kind, "two-leaders-one-term");
    assert_eq!(
        violation.story,
        "A said at 0.105 s that it leads in term 3, and B said at 5.005 s that it leads in term 3: one term, two leaders."
    );
    assert_eq!((violation.nodes, violation.ops.len()), (vec!["A".to_owned(), "B".to_owned()], 2));
    // An acknowledgement says it as well; one that was passed on names another.
    let acked = |claim: &'static str| {
        quorum("disk", 2, 2)
            .status(1, "A", "leader", Some(3), [100, 105])
            .does(2, "B", Said::write("k", 1, "1", claim), [200, 210])
            .kinds("leader")
    };
    assert_eq!(acked(r#""term":3,"leader":"B""#), ["two-leaders-one-term"]);
    assert_eq!(acked(r#""term":3,"role":"leader""#), ["two-leaders-one-term"]);
    assert!(acked(r#""term":3,"leader":"A""#).is_empty());
    assert!(acked(r#""term":3"#).is_empty());
}

#[test]
fn two_leaders_in_two_terms_or_in_none_are_fine() {
    let fine = quorum("disk", 2, 2)
        .status(1, "A", "leader", Some(1), [100, 2_000])
        .status(2, "B", "leader", Some(2), [1_000, 1_005])
        .status(1, "A", "leader", Some(1), [3_000, 3_005])
        .status(2, "B", "candidate", Some(1), [4_000, 4_005]);
    assert_eq!(fine.judge("leader").verdict, Verdict::Valid);
    let without = quorum("disk", 2, 2).status(1, "A", "leader", None, [100, 105]).status(
        2,
        "B",
        "leader",
        None,
        [101, 104],
    );
    assert_eq!(without.judge("leader").verdict, Verdict::Unknown);
    // A vote that a crash may take.
    let voted = |durability| {
        quorum(durability, 2, 2)
            .status(1, "A", "leader", Some(1), [100, 105])
            .restart("C", 1_000, 2_000)
            .status(2, "B", "leader", Some(1), [3_000, 3_005])
            .kinds("leader")
    };
    assert_eq!(voted("disk"), ["two-leaders-one-term"]);
    assert!(voted("memory").is_empty() && voted("replicated").is_empty());
}

#[test]
fn a_deposed_leader_acknowledges_nothing() {
    let build = |write_quorum, claim: &'static str, kind: &'static str, asked: u64| {
        quorum("disk", write_quorum, 2)
            .status(1, "A", "leader", Some(1), [100, 105])
            .status(2, "B", "leader", Some(2), [1_000, 1_005])
            .does(3, "A", Said::write("k", 1, "1", claim).kind(kind), [asked, 1_500])
    };
    let violation = only(&build(2, TERM_1, "ok", 1_010));
    assert_eq!((violation.kind, violation.key.as_deref()), ("deposed-leader-acknowledged", Some("k")));
    assert_eq!(violation.nodes, ["A"]);
    assert_eq!(violation.ops.len(), 2);
    // Asked before the other was seen; refused; unknown; no majority needed; not said to be the leader's own.
    assert!(build(2, TERM_1, "ok", 1_000).kinds("leader").is_empty());
    assert!(build(2, TERM_1, "info", 1_010).kinds("leader").is_empty());
    assert!(build(2, TERM_1, "fail", 1_010).kinds("leader").is_empty());
    assert!(build(1, TERM_1, "ok", 1_010).kinds("leader").is_empty());
    assert!(build(2, r#""term":1,"leader":"B""#, "ok", 1_010).kinds("leader").is_empty());
    assert!(build(2, r#""term":3,"leader":"A""#, "ok", 1_010).kinds("leader").is_empty());
    // A candidate of a higher term deposes nobody yet.
    let candidate = quorum("disk", 2, 2).status(2, "B", "candidate", Some(2), [1_000, 1_005]).does(
        3,
        "A",
        Said::write("k", 1, "1", TERM_1),
        [1_010, 1_500],
    );
    assert!(candidate.kinds("leader").is_empty());
}

const NOBODY: [(&str, u64); 3] = [("follower", 0), ("follower", 0), ("candidate", 4)];

#[test]
fn nobody_leads_though_a_majority_could_talk() {
    let build = quorum("disk", 2, 2).elect_within(3_000).statuses(NOBODY, [20, 4_000]);
    let violation = only(&build);
    assert_eq!(violation.kind, "no-leader");
    assert_eq!(
        violation.story,
        "From 0.010 s to 3.925 s A, B and C could talk to each other and answered, and no node said that it leads; an election \
         may take 3.0 s. Their last words: A: follower, term 0, B: follower, term 0, C: candidate, term 4."
    );
    assert_eq!(violation.ops.len(), 3);
    // With one of them dead the others must still find one.
    let dead = quorum("disk", 2, 2)
        .elect_within(3_000)
        .statuses([("leader", 1), ("follower", 1), ("follower", 1)], [20, 5_000])
        .restart("A", 5_000, 12_000)
        .statuses([("", 0), ("follower", 1), ("follower", 1)], [5_000, 12_000])
        .statuses([("leader", 2), ("follower", 1), ("follower", 1)], [12_100, 19_000]);
    assert_eq!(only(&dead).nodes, ["B", "C"]);
}

#[test]
fn no_leader_for_a_while_is_fine() {
    let leads = [("follower", 2), ("leader", 2), ("follower", 2)];
    for fine in [
        // Within the time.
        quorum("disk", 2, 2)
            .elect_within(3_000)
            .statuses(NOBODY, [20, 2_900])
            .statuses(leads, [2_900, 9_000]),
        // It may be deposed for no reason that shows, and another be elected.
        quorum("disk", 2, 2)
            .elect_within(3_000)
            .statuses(leads, [20, 2_000])
            .statuses(NOBODY, [2_000, 4_900])
            .statuses(leads, [4_900, 9_000]),
        // No two of them can talk.
        quorum("disk", 2, 2)
            .elect_within(3_000)
            .statuses(leads, [20, 2_000])
            .cut(&["A→B", "B→A", "A→C", "C→A", "B→C", "C→B"], 2_000, 15_000)
            .statuses(NOBODY, [2_000, 15_000])
            .statuses(leads, [15_100, 18_000]),
        // One of two does not answer: perhaps it is the one.
        quorum("disk", 2, 2)
            .elect_within(3_000)
            .statuses([("follower", 0), ("follower", 0), ("", 0)], [20, 9_000]),
        // They answered only now and then.
        quorum("disk", 2, 2).elect_within(3_000).statuses(NOBODY, [20, 300]).statuses(NOBODY, [8_000, 8_200]),
        // Nothing was promised.
        quorum("disk", 2, 2).statuses(NOBODY, [20, 9_000]),
    ] {
        assert!(fine.kinds("leader").is_empty(), "{:#?}", fine.judge("leader"));
    }
}
