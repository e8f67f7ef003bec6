//! A node that dies in the middle of a run, though nobody asked it to.

use harness::history::reader;

use crate::support::{Spec, python};

#[test]
fn an_unexpected_exit_is_an_event_and_a_line_and_is_mended_by_the_heal() {
    let Some(node) = python("hostile/crashes_midway.py") else { return };
    let spec = Spec {
        node,
        durability: "memory",
        client: "timeout = \"2s\"\nmax-in-flight = 2",
        ..Spec::new("crash")
    };
    let spec = Spec { load: "rate = 90\nduration = \"3s\"\nkeys = 6\nrotate = \"500ms\"", ..spec };
    let (lab, ended) = spec.run_with(&[]);
    let results = lab.last_results();

    let exits = results["nodes"][1]["exits"].as_array().unwrap();
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!((&exits[0]["code"], &exits[0]["expected"]), (&7.into(), &false.into()), "{exits:?}");
    let log = exits[0]["log"].as_array().unwrap();
    assert!(log.iter().any(|line| line == "KeyError: 'clock'"), "{log:?}");

    assert!(ended.stdout.contains("KeyError: 'clock'"), "{}", ended.stdout);
    assert!(ended.stderr.contains("B ") && ended.stderr.contains("exit code 7"), "{}", ended.stderr);

    // Down until the heal, up again after it, and asked for its state as the others are.
    let history = reader::read(&lab.history()).unwrap();
    let lives = &history.lives["B"];
    assert_eq!(lives.len(), 2, "{lives:?}");
    let heal_ns = history.phase_began_ns(harness::history::Phase::Heal).unwrap();
    let ended_ns = lives[0].ended_ns.unwrap();
    assert!(ended_ns < heal_ns && lives[1].started_ns >= heal_ns && lives[1].ready_ns.is_some(), "{lives:?}");
    assert!(history.final_snapshots().contains_key("B"));
    ended.expect_code(0);
}

/// Started again after its fault and once more at the heal, and it does not come up: the report is about that.
#[test]
fn a_node_that_dies_again_after_the_heal_is_told() {
    let Some(node) = python("threading_ok.py") else { return };
    // The second life of B finds what the first one left, and ends at once.
    let head = "sh -c 'if [ {{ id }} = B ] && ! mkdir life; then echo once is enough; exit 9; fi; exec \"$0\" \"$@\"' \
                {{ node }}";
    let spec = Spec { node, head: head.to_owned(), durability: "memory", settle: "3s", ..Spec::new("once") };
    let (lab, ended) = spec.fault("500ms", "500ms", "kill = \"B\"").run_with(&[]);
    ended.expect_code(1);
    assert!(ended.stdout.contains("once is enough"), "{}", ended.stdout);
    let history = reader::read(&lab.history()).unwrap();
    let codes: Vec<_> = history.lives["B"].iter().map(|life| (life.expected, life.code)).collect();
    assert_eq!(codes, [(true, None), (false, Some(9)), (false, Some(9))]);
}
