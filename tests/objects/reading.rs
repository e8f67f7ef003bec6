//! The checks on histories as they are recorded: sets as sets, vectors and lists, keys, large numbers, what is missing.

use std::path::Path;

use harness::check::Verdict;
use harness::check::plain::{Answer, Question, find};
use harness::history::calls::Calls;
use harness::history::import::{Options, read_from};

use super::{judged, kinds, stat};

fn read(text: &str) -> Calls {
    read_from(text.as_bytes(), Path::new("h"), Options::default()).unwrap_or_else(|why| panic!("{why}"))
}

/// A Jepsen history: one operation after another, each `f value → type value`.
fn edn(operations: &[(&str, &str, &str, &str)]) -> String {
    let mut text = String::new();
    for (process, (f, input, kind, output)) in operations.iter().enumerate() {
        text += &format!("{{:process {process} :type :invoke :f :{f} :value {input}}}\n");
        text += &format!("{{:process {process} :type :{kind} :f :{f} :value {output}}}\n");
    }
    text
}

fn check(name: &str, operations: &[(&str, &str, &str, &str)]) -> Answer {
    judged(name, &read(&edn(operations)))
}

fn story(answer: &Answer) -> &str {
    &answer.proofs[0].story
}

fn refused(name: &str, operations: &[(&str, &str, &str, &str)]) -> String {
    find(name).unwrap().judge(&read(&edn(operations)), &Question::default()).unwrap_err()
}

#[test]
fn a_set_may_be_read_as_a_set_a_vector_or_a_list() {
    for all in ["#{1 2}", "[2 1]", "(1 2)", "#jepsen.history/Set #{2 1}", "#{2, 1}"] {
        let answer =
            check("set", &[("add", "1", "ok", "1"), ("add", "2", "ok", "2"), ("read", "nil", "ok", all)]);
        assert_eq!(answer.verdict, Verdict::Valid, "{all}: {:?}", answer.reason);
        let answer =
            check("set", &[("add", "3", "ok", "3"), ("add", "1", "ok", "1"), ("read", "nil", "ok", all)]);
        assert_eq!(kinds(&answer), ["lost", "phantom"], "{all}");
    }
    let answer = check("set", &[("add", "[1 2 3]", "ok", "[1 2 3]"), ("read", "nil", "ok", "#{[1 2 3]}")]);
    assert_eq!(answer.verdict, Verdict::Valid);
    // What Jepsen's own checker can never report.
    let twice = check("set", &[("add", "1", "ok", "1"), ("read", "nil", "ok", "[1 1]")]);
    assert_eq!((kinds(&twice), story(&twice)), (vec!["duplicated"], "p1 read 1 twice in one answer"));
    // A set that was never there is empty.
    let lost = check("set", &[("add", "1", "ok", "1"), ("read", "nil", "ok", "nil")]);
    assert_eq!(story(&lost), "p0's add of 1 was acknowledged, yet the last read, p1's, does not show it");
}

#[test]
fn keys_are_objects_of_their_own() {
    let text = edn(&[
        ("add", "[:x 1]", "ok", "[:x 1]"),
        ("add", "[:y 1]", "ok", "[:y 1]"),
        ("read", "[:x nil]", "ok", "[:x #{1}]"),
        ("read", "[:y nil]", "ok", "[:y #{}]"),
    ]);
    let answer = judged("set", &read(&text));
    assert_eq!((answer.total, kinds(&answer)), (1, vec!["lost"]));
    assert_eq!(answer.proofs[0].key.to_string(), "\"y\"");
    assert_eq!(answer.evidence["keys"], 2);
}

#[test]
fn json_says_the_same() {
    let lines = r#"{"process":0,"type":"invoke","f":"add","value":"a"}
{"process":0,"type":"ok","f":"add","value":"a"}
{"process":1,"type":"invoke","f":"read","value":null}
{"process":1,"type":"ok","f":"read","value":["a","b"]}
"#;
    let answer = judged("set", &read(lines));
    assert_eq!(story(&answer), "p1 read \"b\", which nobody had tried to add");
}

#[test]
fn without_a_read_at_the_end_a_set_is_unknown() {
    let read_first = [("add", "1", "ok", "1"), ("read", "nil", "ok", "#{1}"), ("add", "2", "ok", "2")];
    let answer = check("set", &read_first);
    assert_eq!((answer.verdict, stat(&answer, "never_read")), (Verdict::Unknown, 1));
    assert!(answer.reason.unwrap().starts_with("1 acknowledged element(s) were never read"));
    let unknown = |operations: &[(&str, &str, &str, &str)]| check("set", operations).reason.unwrap();
    assert!(
        unknown(&[("add", "1", "ok", "1"), ("read", "nil", "info", "nil")]).starts_with("no completed read")
    );
    assert!(unknown(&[("add", "1", "info", "1"), ("read", "nil", "ok", "#{}")]).starts_with("no element"));
    let removed = [("add", "1", "ok", "1"), ("remove", "1", "info", "1"), ("read", "nil", "ok", "#{}")];
    assert!(unknown(&removed).starts_with("every element was also removed"));
}

#[test]
fn a_stale_set_is_a_figure_and_a_matter_of_linearizability() {
    let operations = [
        ("add", "1", "ok", "1"),
        ("read", "nil", "ok", "#{}"),
        ("read", "nil", "ok", "#{}"),
        ("read", "nil", "ok", "#{1}"),
    ];
    let answer = check("set", &operations);
    assert_eq!(
        (answer.verdict, stat(&answer, "stale"), stat(&answer, "stale_worst_lag_events")),
        (Verdict::Valid, 1, 3)
    );
    let strict = Question { model: Some("set".parse().unwrap()), ..Question::default() };
    let strict = find("linearizability").unwrap().judge(&read(&edn(&operations)), &strict).unwrap();
    assert_eq!(strict.verdict, Verdict::Invalid);
}

#[test]
fn what_failed_did_not_happen() {
    let answer = check("set", &[("add", "1", "fail", "1"), ("read", "nil", "ok", "[1]")]);
    assert_eq!(story(&answer), "p1 read 1, which only p0 had tried to add, and failed");
    assert_eq!(answer.proofs[0].ops, [0, 1]);
    let answer = check("counter", &[("add", "5", "fail", "5"), ("read", "nil", "ok", "5")]);
    assert_eq!(answer.proofs[0].ops, [0, 1]);
    assert_eq!(story(&answer), "p1 read 5, but all that had been asked for by then makes it 0 at the most");
    let answer = check("queue", &[("enqueue", "1", "fail", "1"), ("dequeue", "nil", "ok", "1")]);
    assert_eq!(story(&answer), "p1 took 1 out, which only p0 had tried to put in, and failed");
}

#[test]
fn a_counter_has_its_bounds() {
    let operations = [
        ("add", "5", "ok", "5"),
        ("add", "4", "info", "4"),
        ("decrement", "2", "ok", "2"),
        ("add", "2", "ok", "2"),
        ("read", "nil", "ok", "5"),
        ("read", "nil", "ok", "9"),
        ("read", "nil", "ok", "4"),
    ];
    let answer = check("counter", &operations);
    assert_eq!(kinds(&answer), ["too-low"]);
    assert_eq!(story(&answer), "p6 read 4, but what had been acknowledged before makes it 5 at the least");
    // With the decrement forgotten, seven of what was added must be known to contradict a read of 4.
    assert_eq!(answer.proofs[0].ops, [0, 3, 6]);
    assert!(
        refused("counter", &[("add", "1", "ok", "1"), ("read", "nil", "ok", "[1]")])
            .contains("a whole number")
    );
    let nothing = check("counter", &[("add", "1", "fail", "1"), ("read", "nil", "ok", "0")]);
    assert_eq!(nothing.verdict, Verdict::Unknown);
}

#[test]
fn ids_may_be_anything_and_large_ones_are_not_confused() {
    let answer =
        check("unique-ids", &[("generate", "nil", "ok", "\"a-1\""), ("generate", "nil", "ok", "\"a-1\"")]);
    assert_eq!(story(&answer), "p0 was given the id \"a-1\", and so was p1");
    // As whole numbers these two differ, as floats they do not.
    let large = ["18446744073709551614", "18446744073709551615"];
    let generate = |id| ("generate", "nil", "ok", id);
    assert_eq!(check("unique-ids", &large.map(generate)).verdict, Verdict::Valid);
    let rounded = check("unique-ids", &["1.0e300", "1.0e300"].map(generate));
    assert_eq!(rounded.verdict, Verdict::Unknown);
    assert!(rounded.reason.unwrap().contains("too large to be told apart"));
    assert_eq!(check("unique-ids", &[generate("1")]).verdict, Verdict::Unknown);
    assert!(refused("unique-ids", &[generate("nil")]).contains("without an id"));
    assert_eq!(
        refused("unique-ids", &[("write", "1", "ok", "1")]),
        "the check `unique-ids` knows generate; this history has `write`"
    );
}

#[test]
fn a_queue_must_be_drained_to_be_judged() {
    let put = ("enqueue", "1", "ok", "1");
    let kept = check("queue", &[put, ("enqueue", "2", "ok", "2"), ("dequeue", "nil", "ok", "2")]);
    assert_eq!(kept.verdict, Verdict::Unknown);
    assert!(kept.reason.unwrap().starts_with("1 acknowledged element(s) were never dequeued"));
    let empty = ("dequeue", "nil", "ok", "nil");
    let lost = check("queue", &[put, empty]);
    assert_eq!(story(&lost), "1 was acknowledged and never came out, yet p1 found the queue empty");
    assert_eq!(lost.proofs[0].ops, [0, 1]);
    let excused = check("queue", &[put, ("dequeue", "nil", "info", "nil"), empty]);
    assert_eq!((excused.verdict, stat(&excused, "unaccounted")), (Verdict::Unknown, 1));
    let both = check("queue", &[put, ("enqueue", "2", "ok", "2"), ("dequeue", "nil", "info", "nil"), empty]);
    assert_eq!((both.total, both.proofs[0].ops.as_slice()), (1, [0, 1, 3].as_slice()));
    let drained = check("queue", &[put, ("drain", "nil", "ok", "[1]")]);
    assert_eq!(drained.verdict, Verdict::Valid);
    let again = check("queue", &[put, ("dequeue", "nil", "ok", "1"), ("drain", "nil", "ok", "[1]")]);
    assert_eq!(kinds(&again), ["duplicated"]);
    assert_eq!(
        story(&again),
        "p1 and p2 took 1 out, more often than the one time it had been put in by then"
    );
}

#[test]
fn other_histories_are_refused_with_a_reason() {
    let register = [("write", "1", "ok", "1"), ("read", "nil", "ok", "1")];
    assert_eq!(
        refused("set", &register),
        "the model `set` knows add, remove and read; this history has `write`"
    );
    assert_eq!(
        refused("queue", &register),
        "the model `queue` knows enqueue, dequeue and drain; this history has `write`"
    );
    assert!(refused("counter", &register).contains("this history has `write`"));
    assert_eq!(
        refused("set", &[("add", "1", "ok", "1"), ("read", "nil", "ok", "7")]),
        "`read` takes a list of elements; this history has 7"
    );
}
