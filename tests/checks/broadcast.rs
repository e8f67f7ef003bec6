//! `total-order` on histories by hand, on simulated groups, and against the definitions taken literally.

use std::collections::BTreeSet;

use harness::check::Verdict;
use proptest::prelude::*;

use crate::chat::{Chat, chat};

#[test]
fn one_order_is_fine() {
    let result = chat("").sent(10, "A", "a").sent(10, "B", "b").all_got(20, &["b", "a"]).judge();
    assert_eq!(result.verdict, Verdict::Valid, "{:#?}", result.violations);
    assert_eq!(result.evidence["messages"], 2);
    assert_eq!(result.evidence["concurrent"], 1);
    assert_eq!(chat("").judge().verdict, Verdict::Unknown);
    let alone = chat("").sent(1, "A", "a").got(2, "A", "a");
    assert_eq!(alone.kinds(), ["missing"], "B and C never got it");
    let late = chat("").sent_as("info", 1, "A", "a").got(11_000, "A", "a");
    assert_eq!(late.kinds(), ["missing"], "nine seconds would have been enough");
}

#[test]
fn what_was_misread_is_no_evidence() {
    let two = || chat("").sent(10, "A", "a1").sent(10, "B", "b1");
    let reason = |chat: &Chat| {
        let result = chat.judge();
        assert_eq!((result.verdict, result.violations.len()), (Verdict::Unknown, 0), "{result:#?}");
        result.reason.unwrap()
    };
    let unread = two().unread(2, "A", "listening").unread(20, "C", "<A> a1!").unread(30, "C", "bye");
    let told = reason(&unread);
    assert!(told.contains("`deliver`") && told.contains("such as `<A> a1!`"), "{told}");
    let wrong_part = two().got(20, "A", "A").got(20, "B", "A").got(20, "C", "A");
    let told = reason(&wrong_part);
    assert!(told.contains("none of the 3 messages") && told.contains("one is `A`, where `a1`"), "{told}");
    // One message that was understood shows that they all could have been, and silence is no misunderstanding.
    assert_eq!(unread.clone().got(40, "A", "a1").kinds(), ["missing", "own-message-missing"]);
    let in_part = unread.clone().got(40, "A", "a1").judge();
    let hinted = |node: &str| {
        let of_node = in_part.violations.iter().find(|violation| violation.nodes == [node]);
        of_node.unwrap().cause.contains("C also printed `<A> a1!`")
    };
    assert!(hinted("C") && !hinted("B"), "{:#?}", in_part.violations);
    assert_eq!(wrong_part.all_got(40, &["a1", "b1"]).kinds(), ["from-nowhere"]);
    assert_eq!(two().kinds(), ["own-message-missing"]);
    assert!(two().judge().violations[0].cause.contains("flush"));
}

#[test]
fn each_kind_is_found_and_told_by_what_proves_it() {
    let two = || chat("").sent(10, "A", "a").sent(10, "B", "b");
    let cases: [(&str, Chat, &str); 8] = [
        (
            "order",
            two()
                .got(20, "A", "a")
                .got(21, "A", "b")
                .got(20, "B", "b")
                .got(21, "B", "a")
                .got(20, "C", "a")
                .got(22, "C", "b"),
            "A delivered a before b, but B delivered b before a.",
        ),
        (
            "gap",
            two().got(20, "A", "a").got(21, "A", "b").got(20, "B", "a").got(21, "B", "b").got(30, "C", "b"),
            "A delivered a and then b, but C delivered b (at 0.030 s) without ever having delivered a.",
        ),
        (
            "missing",
            two().all_got(20, &["a"]).got(25, "A", "b").got(25, "B", "b"),
            "A delivered b at 0.025 s; C was there all along and never did.",
        ),
        (
            "own-message-missing",
            two().all_got(20, &["a"]),
            "B was given b to send at 0.010 s; nobody ever delivered it, not even B itself, though everybody was there.",
        ),
        (
            "duplicate",
            two().all_got(20, &["a", "b"]).got(40, "C", "a"),
            "C delivered a at 0.020 s and again at 0.040 s.",
        ),
        (
            "from-nowhere",
            two().all_got(20, &["a", "b"]).got(40, "C", "ab"),
            "C delivered ab at 0.040 s, which nobody ever sent.",
        ),
        (
            "not-fifo",
            chat("").sent(10, "A", "a1").sent(11, "A", "a2").all_got(20, &["a2", "a1"]),
            "A sent a1 and after it a2, but A delivered a2 (at 0.020 s) before a1.",
        ),
        (
            "not-causal",
            chat("")
                .sent(10, "A", "q")
                .got(12, "B", "q")
                .sent(13, "B", "r")
                .got(15, "A", "q")
                .got(16, "A", "r")
                .got(17, "B", "r")
                .got(15, "C", "r")
                .got(16, "C", "q"),
            "B had delivered q when it sent r, but C delivered r (at 0.015 s) before q.",
        ),
    ];
    for (kind, chat, story) in cases {
        let result = chat.judge();
        let kinds: Vec<_> = result.violations.iter().map(|violation| violation.kind).collect();
        let Some(found) = result.violations.iter().find(|violation| violation.kind == kind) else {
            panic!("{kind} not among {kinds:?}");
        };
        assert!(found.story.starts_with(story.split(',').next().unwrap()), "{}", found.story);
        if kind != "not-causal" && kind != "order" {
            assert_eq!(found.story, story);
        }
        for op in &found.ops {
            let less = chat.without(*op).judge();
            // "Never" is about what is not there: without one delivery it is another one's turn.
            let same = less.violations.iter().any(|other| other.kind == kind && other.story == found.story);
            assert!(!same, "{kind}: without {op} the proof still stands");
        }
    }
}

#[test]
fn the_two_messages_and_the_two_processes_are_drawn() {
    let wrong = chat("").sent(10, "A", "a").sent(10, "B", "b").got(20, "A", "a").got(21, "A", "b");
    let wrong = wrong.got(20, "B", "b").got(22, "B", "a").got(23, "C", "b").got(24, "C", "a");
    let result = wrong.judge();
    let found = result.violations.iter().find(|violation| violation.nodes == ["A", "B"]).unwrap();
    insta::assert_snapshot!(found.diagram.as_deref().unwrap(), @r"
    A ─ got a ───────── got b ─────────
    B ───────── got b ───────── got a ─
    ");
}

#[test]
fn correct_groups_that_look_wrong() {
    let innocent = |why: &str, chat: Chat| {
        let result = chat.judge();
        assert_ne!(result.verdict, Verdict::Invalid, "{why}: {:#?}", result.violations);
    };
    let base = || chat("").sent(10, "A", "a").sent(10, "B", "b");
    innocent(
        "a killed sender's message reached all of the survivors, the dead one did not see it",
        base()
            .sent(30, "C", "c")
            .killed("C", 31, 3_000)
            .all_got(20, &["a", "b"])
            .got(40, "A", "c")
            .got(41, "B", "c"),
    );
    innocent(
        "a killed sender's message reached nobody",
        base().sent(30, "C", "c").killed("C", 31, 3_000).all_got(20, &["a", "b"]),
    );
    innocent(
        "everybody waits for the one that is gone",
        base().all_got(20, &["a", "b"]).killed("C", 31, 3_000).sent(50, "A", "x").sent(60, "B", "y"),
    );
    innocent(
        "whoever comes back begins where it comes in",
        base()
            .all_got(20, &["a", "b"])
            .killed("C", 31, 3_000)
            .sent(50, "A", "x")
            .got(60, "A", "x")
            .got(60, "B", "x")
            .sent(4_000, "A", "y")
            .all_got(4_010, &["y"]),
    );
    innocent(
        "a crashed process was ahead of the others, and nothing uniform was promised",
        base()
            .got(20, "C", "b")
            .killed("C", 31, 3_000)
            .got(40, "A", "a")
            .got(41, "A", "b")
            .got(40, "B", "a")
            .got(41, "B", "b"),
    );
    innocent(
        "an unknown sending took effect long after",
        base().sent_as("info", 15, "A", "late").all_got(20, &["a", "b"]).all_got(9_000, &["late"]),
    );
    innocent(
        "one was the first to deliver it, and then the run was over",
        base().sent_as("info", 15, "A", "late").all_got(20, &["a", "b"]).got(19_999, "B", "late"),
    );
    innocent(
        "two lines of one node that were not handed over one after the other",
        Chat { process: 7, ..base() }.all_got(20, &["b", "a"]),
    );
    let skipped = chat(r#""views":true"#).sent(10, "A", "a").sent(10, "B", "b").all_got(20, &["b"]);
    let skipped = skipped.got(19, "A", "a").got(19, "B", "a");
    assert_eq!(skipped.clone().paused("C", 100, 3_000).kinds(), ["gap"], "nothing had happened yet");
    innocent("nobody knows when it was removed", skipped.clone().paused("C", 15, 3_000));
    innocent("nobody may have heard it", skipped.clone().links("partition", "C", 15, 3_000));
    assert_eq!(skipped.links("duplicate", "C", 15, 3_000).kinds(), ["gap"], "it was heard twice");
    let removed = chat(r#""views":true"#)
        .sent(10, "A", "a")
        .all_got(20, &["a"])
        .paused("C", 100, 3_000)
        .sent(200, "A", "x")
        .got(210, "A", "x")
        .got(210, "B", "x")
        .sent(4_000, "B", "y")
        .all_got(4_010, &["y"]);
    innocent("a silenced process was removed, missed a message and was let in again", removed);
}

#[test]
fn what_is_declared_decides() {
    let ahead = |contract: &str| {
        chat(contract)
            .sent(10, "A", "a")
            .sent(10, "B", "b")
            .got(20, "C", "b")
            .got(21, "C", "a")
            .killed("C", 31, 3_000)
            .got(40, "A", "a")
            .got(41, "A", "b")
            .got(40, "B", "a")
            .got(41, "B", "b")
    };
    assert_eq!(ahead("").kinds(), [""; 0]);
    assert_eq!(ahead(r#""uniform":true"#).kinds(), ["order"]);
    let silent = |contract: &str| {
        chat(contract)
            .sent(10, "A", "a")
            .all_got(20, &["a"])
            .paused("C", 100, 3_000)
            .sent(200, "A", "x")
            .got(210, "A", "x")
            .got(210, "B", "x")
    };
    assert_eq!(silent("").kinds(), ["missing"]);
    assert_eq!(silent(r#""views":true"#).kinds(), [""; 0]);
}

/// Nodes that say when they were removed are taken at their word, and held to it.
#[test]
fn who_says_nothing_was_not_removed() {
    const TOLD: &str = r#""uniform":true,"views":true,"removals_told":true"#;
    let silent = |contract: &str| {
        chat(contract)
            .sent(10, "A", "a")
            .all_got(20, &["a"])
            .paused("C", 100, 3_000)
            .sent(200, "A", "x")
            .got(210, "A", "x")
            .got(210, "B", "x")
    };
    assert_eq!(silent(TOLD).kinds(), ["missing"]);
    let told = || silent(TOLD).removed(3_010, "C");
    assert_eq!(told().kinds(), [""; 0]);
    let without_views = r#""uniform":true,"removals_told":true"#;
    assert_eq!(silent(without_views).removed(3_010, "C").kinds(), ["missing"], "nobody may be removed");
    // It was let in again with y: x is excused, what follows y is not.
    let back = || told().sent(4_000, "B", "y").all_got(4_010, &["y"]);
    assert_eq!(back().kinds(), [""; 0]);
    let after = |chat: Chat| chat.sent(4_100, "B", "z").got(4_110, "A", "z").got(4_110, "B", "z");
    assert_eq!(after(back()).kinds(), ["missing"]);
    assert_eq!(after(back()).sent(4_200, "A", "w").all_got(4_210, &["w"]).kinds(), ["gap"]);
    assert_eq!(
        after(back()).removed(4_150, "C").sent(4_200, "A", "w").all_got(4_210, &["w"]).kinds(),
        [""; 0]
    );
    // What it left out before it was removed is no matter of the removal.
    let early = chat(TOLD)
        .sent(10, "A", "a")
        .sent(15, "A", "b")
        .got(20, "A", "a")
        .all_got(21, &["b"])
        .got(21, "B", "a")
        .paused("C", 100, 3_000)
        .removed(3_010, "C");
    assert_eq!(early.kinds(), ["gap", "not-fifo"]);
    // One that was started again, too, owes what follows its first message.
    let restarted = chat(TOLD)
        .killed("C", 5, 1_000)
        .sent(1_100, "A", "a")
        .all_got(1_110, &["a"])
        .sent(1_200, "A", "b")
        .got(1_210, "A", "b")
        .got(1_210, "B", "b");
    assert_eq!(restarted.kinds(), ["missing"]);
}

/// A correct group: messages enter one order some time after they are sent, and everybody delivers it from where it came
/// in, late by as much as it likes. With views, whoever is silent or gone misses what enters meanwhile, and says so if
/// `told`; without, nothing enters from then on.
fn correct_group(draw: &[u64], views: bool, told: bool) -> Chat {
    let nodes = ["A", "B", "C"];
    let mut dice = draw.iter().cycle().zip(0_u64..).map(|(drawn, at)| drawn.wrapping_mul(at + 7) >> 3);
    let mut roll = |below: u64| dice.next().unwrap_or(0) % below;
    let contract = match (views, told) {
        (true, true) => r#""uniform":true,"views":true,"removals_told":true"#,
        (true, false) => r#""uniform":true,"views":true"#,
        (false, _) => r#""uniform":true"#,
    };
    let mut group = chat(contract);
    // One node is away for a while, or for good.
    let (away, killed, paused) = (roll(3) as usize, roll(2) == 0, roll(3) > 0);
    let gone = 400 + roll(300)..900 + roll(300);
    if killed {
        group = group.killed(nodes[away], gone.start, gone.end);
    } else if paused {
        group = group.paused(nodes[away], gone.start, gone.end);
    }
    let absent = killed || paused;
    let blocked = |ms: u64| absent && !views && (gone.contains(&ms) || killed && ms >= gone.start);
    let mut delivered = [20_u64; 3];
    let mut entered = 20;
    let mut to_tell = views && told && paused && !killed;
    for number in 0..60 {
        let sender = roll(3) as usize;
        let sent = 20 + number * 30 + roll(20);
        if sender == away && absent && gone.contains(&sent) {
            continue;
        }
        let name = format!("m{number}");
        group = group.sent(sent, nodes[sender], &name);
        entered = entered.max(sent) + 1 + roll(40);
        if blocked(entered) && killed {
            continue;
        }
        if blocked(entered) {
            entered = gone.end + 1;
        }
        if to_tell && entered >= gone.end {
            to_tell = false;
            delivered[away] = delivered[away].max(gone.end);
            group = group.removed(delivered[away], nodes[away]);
        }
        for (node, at) in delivered.iter_mut().enumerate() {
            if node == away && absent && gone.contains(&entered) {
                continue;
            }
            let late = (*at).max(entered) + 1 + roll(60);
            // What arrives when it is gone is delivered by the next life, if at all: here, not.
            let missed = node == away && absent && entered < gone.start && late >= gone.start;
            if missed && killed {
                *at = gone.end;
                continue;
            }
            *at = if missed { (*at).max(gone.end) + 1 + roll(5) } else { late };
            group = group.got(*at, nodes[node], &name);
        }
    }
    if to_tell { group.removed(9_000, nodes[away]) } else { group }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn correct_groups_are_not_blamed(draw in prop::collection::vec(any::<u64>(), 40), views in any::<bool>(), told in any::<bool>()) {
        let group = correct_group(&draw, views, told);
        let result = group.judge();
        prop_assert_eq!(result.verdict, Verdict::Valid, "{:#?}\n{}", result.violations, group.text());
    }
}

/// The definitions, word for word, for histories without faults.
fn literally(sent: &[(usize, u64)], orders: &[Vec<(usize, u64)>]) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    let place = |process: usize, id: usize| orders[process].iter().position(|(other, _)| *other == id);
    for process in 0..orders.len() {
        for (at, (id, ms)) in orders[process].iter().enumerate() {
            if *id < sent.len() && orders[process][..at].iter().any(|(other, _)| other == id) {
                kinds.insert("duplicate");
            }
            if sent.get(*id).is_none_or(|(_, sent_ms)| ms < sent_ms) {
                kinds.insert("from-nowhere");
            }
        }
        for one in 0..sent.len() {
            for two in 0..sent.len() {
                let (Some(first), Some(second)) = (place(process, one), place(process, two)) else {
                    continue;
                };
                if sent[one].0 == sent[two].0 && sent[one].1 < sent[two].1 && second < first {
                    kinds.insert("not-fifo");
                }
                let known = place(sent[two].0, one)
                    .is_some_and(|at| orders[sent[two].0][at].1 < sent[two].1 && sent[two].0 != process);
                if known && second < first {
                    kinds.insert("not-causal");
                }
                for other in 0..orders.len() {
                    if let (Some(here), Some(there)) = (place(other, one), place(other, two))
                        && (here < there) != (first < second)
                        && one != two
                    {
                        kinds.insert("order");
                    }
                }
            }
        }
    }
    for id in 0..sent.len() {
        let had: Vec<bool> = (0..orders.len()).map(|process| place(process, id).is_some()).collect();
        match (had.contains(&true), had.contains(&false)) {
            (true, true) => {
                kinds.insert("incomplete");
            }
            (false, _) => {
                kinds.insert("own-message-missing");
            }
            _ => {}
        }
    }
    kinds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_definitions(
        sent in prop::collection::vec((0..3_usize, 10..60_u64), 1..5),
        orders in prop::collection::vec(prop::collection::vec((0..5_usize, 10..90_u64), 0..6), 3),
    ) {
        let nodes = ["A", "B", "C"];
        let mut history = chat("");
        // Equal moments would leave the order to chance.
        let sent: Vec<_> = sent.iter().enumerate().map(|(at, (node, ms))| (*node, ms * 10 + at as u64)).collect();
        for (id, (node, ms)) in sent.iter().enumerate() {
            history = history.sent(*ms, nodes[*node], &format!("m{id}"));
        }
        let mut told = Vec::new();
        for (process, order) in orders.iter().enumerate() {
            let mut order: Vec<_> = order.iter().enumerate().map(|(at, (id, ms))| (*id, ms * 10 + 5 + at as u64 % 5)).collect();
            order.sort_by_key(|(_, ms)| *ms);
            order.dedup_by_key(|(_, ms)| *ms);
            for (id, ms) in &order {
                history = history.got(*ms, nodes[process], &format!("m{id}"));
            }
            told.push(order);
        }
        let result = history.judge();
        // Nothing but messages from nowhere is nothing that was understood.
        if told.iter().flatten().count() >= 3 && told.iter().flatten().all(|(id, _)| *id >= sent.len()) {
            prop_assert_eq!(result.verdict, Verdict::Unknown);
            return Ok(());
        }
        let found: BTreeSet<&str> = result.violations.iter().map(|violation| violation.kind).collect();
        // A message that is not everywhere is a gap or missing, as the case may be.
        let found: BTreeSet<&str> =
            found.into_iter().map(|kind| if kind == "gap" || kind == "missing" { "incomplete" } else { kind }).collect();
        let mut expected = literally(&sent, &told);
        // Two messages one of which follows from the other are told as that, and not as a mere disagreement too.
        let follows = found.contains("not-fifo") || found.contains("not-causal");
        if expected.contains("order") && follows && !found.contains("order") {
            expected.remove("order");
        }
        prop_assert_eq!(found, expected, "{}", history.text());
    }
}
