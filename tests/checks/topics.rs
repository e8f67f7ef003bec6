//! `log` on histories by hand and on simulated logs.

use std::collections::BTreeSet;
use std::path::Path;

use harness::check::{CheckResult, Verdict, find};
use harness::history::{History, reader};
use proptest::prelude::*;

use crate::events;

/// A history of nodes A, B and C with one topic, in few words; times are milliseconds.
#[derive(Clone, Default)]
struct Topic {
    durability: &'static str,
    events: Vec<(u64, String)>,
    process: u64,
}

fn topic() -> Topic {
    let mut topic = Topic { durability: "disk", ..Topic::default() };
    for node in ["A", "B", "C"] {
        topic = topic.nemesis(0, "start", Some(node), r#"{"pid":1}"#);
    }
    topic.nemesis(1, "phase", None, "\"main\"")
}

impl Topic {
    fn nemesis(mut self, ms: u64, f: &str, node: Option<&str>, value: &str) -> Self {
        self.events.push((ms, events::nemesis(f, node, value)));
        self
    }

    fn op(
        mut self,
        [from, until]: [u64; 2],
        kind: &str,
        f: &str,
        node: &str,
        asked: &str,
        told: &str,
    ) -> Self {
        let head = format!(r#""process":{},"f":"{f}","key":"t","node":"{node}""#, self.process);
        self.process += 1;
        self.events.push((from, format!(r#"{head},"value":{asked},"type":"invoke""#)));
        self.events.push((until, format!(r#"{head},"value":{told},"type":"{kind}""#)));
        self
    }

    fn publish_as(self, kind: &str, times: [u64; 2], node: &str, value: &str) -> Self {
        let value = format!("\"{value}\"");
        self.op(times, kind, "publish", node, &value, &value)
    }

    fn publish(self, times: [u64; 2], node: &str, value: &str) -> Self {
        self.publish_as("ok", times, node, value)
    }

    fn shows(self, times: [u64; 2], node: &str, values: &[&str]) -> Self {
        let entries: Vec<String> = values.iter().map(|value| format!(r#"{{"value":"{value}"}}"#)).collect();
        self.op(times, "ok", "history", node, "null", &format!("[{}]", entries.join(",")))
    }

    /// Subscribes with the process of that number.
    fn subscribes(mut self, times: [u64; 2], node: &str, process: u64) -> Self {
        let counted = std::mem::replace(&mut self.process, process);
        let subscribed = self.op(times, "ok", "subscribe", node, "null", "null");
        Topic { process: counted, ..subscribed }
    }

    fn sends(mut self, ms: u64, node: &str, process: u64, value: &str) -> Self {
        self.events.push((ms, format!(
            r#""process":"node","type":"info","f":"deliver","key":"t","value":"{value}","node":"{node}","subscriber":{process}"#
        )));
        self
    }

    /// A line on a subscription that is no delivery.
    fn unread(mut self, ms: u64, node: &str, process: u64, line: &str) -> Self {
        self.events.push((ms, format!(
            r#""process":"node","type":"info","f":"unread","value":"{line}","node":"{node}","subscriber":{process}"#
        )));
        self
    }

    /// What each node shows in the settle phase, none of whose lines was an entry.
    fn shows_unread(self, line: &str) -> Self {
        ["A", "B", "C"].into_iter().fold(self, |topic, node| {
            let told = format!(r#"[],"error":"{line}","raw":"{line}""#);
            topic.op([11_000, 11_001], "ok", "history", node, "null", &told)
        })
    }

    fn unsubscribed(mut self, ms: u64, node: &str, process: u64) -> Self {
        self.events.push((ms, format!(
            r#""process":"node","type":"info","f":"unsubscribed","value":null,"node":"{node}","subscriber":{process}"#
        )));
        self
    }

    fn killed(self, node: &str, from: u64, until: u64) -> Self {
        self.nemesis(from, "exit", Some(node), r#"{"pid":1,"signal":9,"expected":true}"#).nemesis(
            until,
            "start",
            Some(node),
            r#"{"pid":1}"#,
        )
    }

    /// What each node shows in the settle phase.
    fn ends(self, a: &[&str], b: &[&str], c: &[&str]) -> Self {
        self.shows([11_000, 11_001], "A", a).shows([11_000, 11_001], "B", b).shows([11_000, 11_001], "C", c)
    }

    fn agree(self, values: &[&str]) -> Self {
        self.ends(values, values, values)
    }

    fn text(&self) -> String {
        let mut events = self.events.clone();
        for (ms, phase) in [(10_000, "heal"), (10_001, "settle"), (20_000, "done")] {
            events.push((ms, format!(r#""process":"nemesis","type":"info","f":"phase","value":"{phase}""#)));
        }
        events.sort_by_key(|(ms, _)| *ms);
        let contract =
            format!(r#"{{"contract":{{"nodes":["A","B","C"],"durability":"{}"}}}}"#, self.durability);
        events.insert(0, (0, format!(r#""process":"nemesis","type":"info","f":"run","value":{contract}"#)));
        let line = |(index, (ms, text)): (usize, &(u64, String))| {
            format!("{{\"index\":{index},\"time\":{},{text}}}\n", ms * 1_000_000 + index as u64)
        };
        events.iter().enumerate().map(line).collect()
    }

    fn history(&self) -> History {
        let text = self.text();
        reader::read_from(text.as_bytes(), Path::new("log.jsonl"))
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn judge(&self) -> CheckResult {
        find("log").unwrap().check(&self.history())
    }

    fn kinds(&self) -> Vec<&'static str> {
        let kinds: BTreeSet<_> = self.judge().violations.iter().map(|violation| violation.kind).collect();
        kinds.into_iter().collect()
    }
}

fn two() -> Topic {
    topic().publish([10, 20], "A", "a").publish([30, 40], "A", "b")
}

#[test]
fn what_is_there_once_and_everywhere_is_fine() {
    let result = two().shows([50, 51], "C", &["a"]).agree(&["a", "b"]).judge();
    assert_eq!(result.verdict, Verdict::Valid, "{:#?}", result.violations);
    assert_eq!(result.evidence["acknowledged"], 2);
    assert_eq!(topic().judge().verdict, Verdict::Unknown);
    assert_eq!(two().judge().verdict, Verdict::Unknown);
}

#[test]
fn what_was_misread_is_no_evidence() {
    let told = |topic: &Topic| {
        let result = topic.judge();
        assert_eq!((result.verdict, result.violations.len()), (Verdict::Unknown, 0), "{result:#?}");
        result.reason.unwrap()
    };
    let unread = two().shows_unread("0|a");
    let reason = told(&unread);
    assert!(reason.contains("`entry`") && reason.contains("such as `0|a`"), "{reason}");
    assert_eq!(
        told(&two().shows_unread("0|a").subscribes([1, 2], "B", 90)),
        reason,
        "there is no log to compare with"
    );
    let wrong_part = two().agree(&["x", "y"]);
    assert!(told(&wrong_part).contains("one is `x`, where `a` had been sent"));
    let subscription = two().subscribes([1, 2], "B", 90).unread(21, "B", 90, "got a").agree(&["a", "b"]);
    let reason = told(&subscription);
    assert!(reason.contains("`deliver`") && reason.contains("such as `got a`"), "{reason}");
    // What was understood is judged all the same; and so is whoever shows nothing at all.
    assert_eq!(subscription.clone().publish([50, 60], "A", "c").kinds(), ["lost-acknowledged"]);
    assert_eq!(subscription.sends(42, "B", 90, "a").kinds(), ["subscriber-gap"]);
    assert_eq!(two().agree(&[]).kinds(), ["lost-acknowledged"]);
    assert_eq!(two().subscribes([1, 2], "B", 90).agree(&["a", "b"]).kinds(), ["subscriber-gap"]);
}

#[test]
fn each_kind_is_found() {
    let cases: Vec<(&str, Topic)> = vec![
        ("lost-acknowledged", two().agree(&["a"])),
        ("duplicated", two().agree(&["a", "b", "a"])),
        ("reordered", two().agree(&["b", "a"])),
        (
            "reordered",
            topic()
                .publish([10, 20], "A", "a")
                .publish([15, 25], "B", "b")
                .shows([50, 51], "C", &["b", "a"])
                .agree(&["a", "b"]),
        ),
        ("diverged", two().ends(&["a", "b"], &["a"], &["a", "b"])),
        (
            "diverged",
            topic().publish([10, 20], "A", "a").publish_as("info", [10, 20], "B", "x").ends(
                &["a"],
                &["a"],
                &["x"],
            ),
        ),
        (
            "vanished",
            two()
                .publish_as("info", [50, 60], "A", "x")
                .shows([70, 71], "A", &["a", "b", "x"])
                .agree(&["a", "b"]),
        ),
        (
            "vanished",
            two()
                .publish_as("info", [50, 60], "A", "x")
                .subscribes([65, 66], "A", 90)
                .sends(10_900, "A", 90, "x")
                .agree(&["a", "b"]),
        ),
        (
            "diverged",
            two().publish_as("info", [50, 60], "A", "x").shows([10_100, 10_101], "A", &["a", "b", "x"]).ends(
                &["a", "b", "x"],
                &["a", "b"],
                &["a", "b", "x"],
            ),
        ),
        (
            "subscriber-gap",
            two()
                .subscribes([45, 46], "B", 90)
                .publish_as("info", [50, 60], "A", "x")
                .shows([70, 71], "A", &["a", "b", "x"])
                .agree(&["a", "b", "x"]),
        ),
        ("gap", two().publish([50, 60], "A", "c").shows([70, 71], "A", &["a", "c"]).agree(&["a", "b", "c"])),
        ("from-nowhere", two().agree(&["a", "b", "ab"])),
        ("from-nowhere", two().publish_as("fail", [50, 60], "B", "no").agree(&["a", "b", "no"])),
        (
            "silent",
            two().ends(&["a", "b"], &["a", "b"], &["a", "b"]).op(
                [12_000, 12_001],
                "fail",
                "history",
                "D",
                "null",
                "null",
            ),
        ),
        (
            "subscriber-gap",
            two()
                .publish([50, 60], "A", "c")
                .subscribes([1, 2], "B", 90)
                .sends(41, "B", 90, "a")
                .sends(61, "B", 90, "c")
                .agree(&["a", "b", "c"]),
        ),
        ("subscriber-gap", two().subscribes([1, 2], "B", 90).sends(41, "B", 90, "b").agree(&["a", "b"])),
        ("subscriber-gap", two().subscribes([1, 2], "B", 90).sends(41, "B", 90, "a").agree(&["a", "b"])),
        (
            "subscriber-duplicate",
            two()
                .subscribes([1, 2], "B", 90)
                .sends(21, "B", 90, "a")
                .sends(41, "B", 90, "b")
                .sends(42, "B", 90, "a")
                .agree(&["a", "b"]),
        ),
        (
            "subscriber-order",
            two()
                .subscribes([1, 2], "B", 90)
                .sends(41, "B", 90, "b")
                .sends(42, "B", 90, "a")
                .agree(&["a", "b"]),
        ),
    ];
    for (kind, case) in cases {
        assert!(case.kinds().contains(&kind), "{kind}: {:#?}", case.judge().violations);
    }
    let offsets = two().op(
        [50, 51],
        "ok",
        "history",
        "A",
        "null",
        r#"[{"value":"a","offset":0},{"value":"b","offset":1}]"#,
    );
    let moved = offsets.clone().op([60, 61], "ok", "history", "B", "null", r#"[{"value":"a","offset":1}]"#);
    assert_eq!(moved.agree(&["a", "b"]).kinds(), ["two-offsets"]);
    assert_eq!(offsets.agree(&["a", "b"]).kinds(), [""; 0]);
}

#[test]
fn correct_logs_that_look_wrong() {
    let innocent = |why: &str, topic: Topic| {
        let result = topic.judge();
        assert_eq!(result.verdict, Verdict::Valid, "{why}: {:#?}", result.violations);
    };
    innocent(
        "an unknown publish took effect much later",
        two().publish_as("info", [15, 25], "A", "late").agree(&["a", "b", "late"]),
    );
    innocent(
        "an unknown publish never took effect",
        two().publish_as("info", [15, 25], "A", "never").agree(&["a", "b"]),
    );
    innocent(
        "a publish was asked for again after an unknown outcome, and its first attempt counts",
        topic()
            .publish_as("info", [10, 20], "A", "x")
            .publish([30, 40], "B", "y")
            .publish([50, 60], "C", "x")
            .agree(&["x", "y"]),
    );
    innocent(
        "a follower is late",
        two().shows([50, 51], "C", &[]).shows([60, 61], "B", &["a"]).agree(&["a", "b"]),
    );
    innocent("only the last entries were asked for", two().shows([50, 51], "A", &["b"]).agree(&["a", "b"]));
    innocent(
        "concurrent publishes come in any order",
        topic().publish([10, 30], "A", "a").publish([20, 40], "B", "b").agree(&["b", "a"]),
    );
    let late = || two().publish_as("info", [50, 60], "A", "late").subscribes([1, 2], "C", 90);
    let late = || late().sends(21, "C", 90, "a").sends(41, "C", 90, "b");
    innocent(
        "an unknown publish took effect between a last question and the delivery",
        late().agree(&["a", "b"]).sends(11_002, "C", 90, "late"),
    );
    innocent(
        "an unknown publish took effect between two nodes' last answers, before the third could deliver it",
        late().ends(&["a", "b"], &["a", "b", "late"], &["a", "b"]),
    );
    innocent(
        "a subscription begins where it begins",
        two().subscribes([25, 35], "B", 90).sends(41, "B", 90, "b").agree(&["a", "b"]),
    );
    innocent(
        "a subscription whose connection broke owes nothing after",
        two()
            .subscribes([1, 2], "B", 90)
            .sends(21, "B", 90, "a")
            .unsubscribed(25, "B", 90)
            .agree(&["a", "b"]),
    );
    innocent(
        "as does one whose node was killed",
        two().subscribes([1, 2], "B", 90).sends(21, "B", 90, "a").killed("B", 25, 200).agree(&["a", "b"]),
    );
}

#[test]
fn what_a_crash_excuses_is_declared() {
    let lost = |durability, node| {
        let history = Topic { durability, ..two().killed(node, 100, 200).agree(&["b"]) };
        let result = history.judge();
        (result.verdict, result.excused)
    };
    assert_eq!(lost("disk", "A"), (Verdict::Invalid, 0));
    assert_eq!(lost("replicated", "A"), (Verdict::Invalid, 0));
    assert_eq!(lost("memory", "A"), (Verdict::Valid, 1));
}

#[test]
fn stories_name_who_and_when() {
    let result = two()
        .subscribes([1, 2], "B", 90)
        .sends(41, "B", 90, "b")
        .ends(&["a", "b"], &["a", "b"], &["a"])
        .judge();
    let stories: Vec<_> = result.violations.iter().map(|violation| &*violation.story).collect();
    insta::assert_snapshot!(stories.join("\n"), @r"
    After the heal C's log ends at place 1, where A's has b.
    B confirmed a subscription at 0.002 s. a was published after that and is in A's log, but the subscriber was never sent it; the first it was sent was b.
    ");
}

/// A correct log: every publish gets a place some time while it is under way, or later or never where its outcome is unknown;
/// nodes apply it late; answers show the last so many entries applied; subscribers are sent what is applied. Some of unknown
/// outcome take effect while the nodes are asked for the last time. And how many of C's last answer are none of those.
fn correct(draw: &[u64]) -> (Topic, usize) {
    let mut dice = draw.iter().cycle().zip(0_u64..).map(|(drawn, at)| drawn.wrapping_mul(at + 7) >> 3);
    let mut roll = |below: u64| dice.next().unwrap_or(0) % below;
    let nodes = ["A", "B", "C"];
    let mut history = topic();
    let mut placed: Vec<(u64, String)> = Vec::new();
    for number in 0..40_u64 {
        let value = format!("m{number}");
        let asked = 10 + number * 20 + roll(30);
        let answered = asked + 2 + roll(60);
        let node = nodes[roll(3) as usize];
        match roll(5) {
            0 => {
                history = history.publish_as("info", [asked, answered], node, &value);
                match roll(3) {
                    0 => placed.push((asked + 1 + roll(400), value)),
                    1 => {
                        // Asked for again: the log has it once, from either attempt.
                        let [asked_again, answered_again] =
                            [answered + 1 + roll(20), answered + 60 + roll(20)];
                        history =
                            history.publish([asked_again, answered_again], nodes[roll(3) as usize], &value);
                        let first = roll(2) == 0;
                        placed.push((if first { asked + 1 } else { asked_again + 1 + roll(30) }, value));
                    }
                    _ => {}
                }
            }
            1 => history = history.publish_as("fail", [asked, answered], node, &value),
            _ => {
                history = history.publish([asked, answered], node, &value);
                placed.push((asked + 1 + roll(answered - asked - 1), value));
            }
        }
    }
    placed.sort();
    let early = placed.len();
    for number in 0..roll(4) {
        let value = format!("late{number}");
        history = history.publish_as("info", [800, 820], nodes[roll(3) as usize], &value);
        placed.push((10_990 + number, value));
    }
    let mut last_answers = Vec::new();
    let answers: Vec<(u64, usize, usize)> =
        (0..12).map(|_| (20 + roll(900), roll(3) as usize, 1 + roll(10) as usize)).collect();
    for (process, (node, name)) in (1_000..).zip(nodes.into_iter().enumerate()) {
        let mut applied: Vec<(u64, String)> = Vec::new();
        let mut now = 0;
        for (ms, value) in &placed {
            now = now.max(ms + 1 + roll(if *ms > 1_000 { 20 } else { 80 }));
            applied.push((now, value.clone()));
        }
        last_answers.push((name, 11_000 + roll(10), applied.clone()));
        for (ms, at, most) in &answers {
            if *at == node {
                let shown: Vec<&str> =
                    applied.iter().filter(|(when, _)| when < ms).map(|(_, value)| &**value).collect();
                history = history.shows([*ms, ms + 1], name, &shown[shown.len().saturating_sub(*most)..]);
            }
        }
        let confirmed = 5 + roll(500);
        let lasts = roll(2) == 0;
        let ends = if lasts { u64::MAX } else { confirmed + roll(400) };
        history = history.subscribes([confirmed - 1, confirmed], name, process);
        for (ms, value) in applied.iter().filter(|(ms, _)| *ms > confirmed && *ms < ends) {
            history = history.sends(*ms, name, process, value);
        }
        if !lasts {
            history = history.unsubscribed(ends, name, process);
        }
    }
    history.process = 2_000;
    for round in [10_100, 10_300, 0] {
        for (name, last, applied) in &last_answers {
            let asked = if round == 0 { *last } else { round };
            let there = applied.iter().filter(|(ms, _)| *ms <= asked);
            let shown: Vec<&str> = there.map(|(_, value)| &**value).collect();
            history = history.shows([asked, asked + 1], name, &shown);
        }
    }
    (history, early)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn correct_logs_are_not_blamed(draw in prop::collection::vec(any::<u64>(), 40)) {
        let (history, _) = correct(&draw);
        let result = history.judge();
        prop_assert_eq!(result.verdict, Verdict::Valid, "{:#?}\n{}", result.violations, history.text());
    }

    /// One entry of the log moved, left out, repeated or changed at one place: none goes unnoticed.
    #[test]
    fn any_change_of_a_final_log_is_noticed(draw in prop::collection::vec(any::<u64>(), 40), kind in 0..4_u8, at in any::<prop::sample::Index>()) {
        let (history, early) = correct(&draw);
        let mark = "\"f\":\"history\"";
        let last = history.events.iter().rposition(|(_, text)| text.contains(mark)).unwrap();
        let (ms, text) = history.events[last].clone();
        let begin = text.find('[').unwrap() + 1;
        let end = text.rfind(']').unwrap();
        let mut entries: Vec<String> = text[begin..end].split("},{").map(|entry| entry.trim_matches(['{', '}']).to_owned()).collect();
        let place = at.index(early);
        match kind {
            0 => { entries.remove(place); }
            1 => { let again = entries[place].clone(); entries.push(again); }
            2 => entries[place] = "\"value\":\"nobody's\"".to_owned(),
            _ => { let moved = entries.remove(place); entries.insert(if place == 0 { 1 } else { 0 }, moved); }
        }
        let told = format!("{}[{{{}}}]{}", &text[..begin - 1], entries.join("},{"), &text[end + 1..]);
        let mut changed = history.clone();
        changed.events[last] = (ms, told);
        prop_assert_eq!(changed.judge().verdict, Verdict::Invalid, "{}", changed.text());
    }
}
