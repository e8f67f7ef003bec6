//! Histories written by hand, in few words. Times are milliseconds; a version is `"9A"` (ts 9 of A), `"9"` or `""`.

use std::path::Path;

use harness::check::{CheckResult, Verdict, find};
use harness::history::{History, reader};

use crate::events;

#[path = "build_quorum.rs"]
pub mod quorum;

pub struct Build {
    pub contract: String,
    pub events: Vec<(u64, String)>,
}

/// A history of nodes A, B and C that ran from 0 to 1000 ms, then settled for 500 ms.
pub fn history(durability: &str) -> Build {
    let contract = format!(
        r#"{{"contract":{{"nodes":["A","B","C"],"durability":"{durability}","settle_within_ms":500}}}}"#
    );
    let mut build = Build { contract, events: Vec::new() };
    for node in ["A", "B", "C"] {
        build = build.event(0, "start", Some(node), r#"{"pid":1}"#);
    }
    build.event(1, "phase", None, "\"main\"").event(1000, "phase", None, "\"heal\"")
}

fn version(text: &str) -> String {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    match (digits, &text[digits.len()..]) {
        ("", _) => String::new(),
        (ts, "") => format!(r#","version":{{"ts":{ts}}}"#),
        (ts, origin) => format!(r#","version":{{"ts":{ts},"origin":"{origin}"}}"#),
    }
}

impl Build {
    pub fn tie_lower(mut self) -> Self {
        self.contract = self.contract.replace("\"durability\"", "\"tie\":\"lower\",\"durability\"");
        self
    }

    pub fn event(mut self, ms: u64, f: &str, node: Option<&str>, value: &str) -> Self {
        self.events.push((ms, events::nemesis(f, node, value)));
        self
    }

    /// `kill` with its window, the exit and the new start.
    pub fn restart(mut self, node: &str, from: u64, until: u64) -> Self {
        self.events.extend(events::kill(node, [from, until]));
        self
    }

    fn op(mut self, times: [u64; 2], head: &str, kind: &str, tail: &str) -> Self {
        let [from, until] = times;
        let asked =
            if head.contains("\"write\"") { tail.split(",\"version\"").next().unwrap_or("") } else { "" };
        self.events.push((from, format!(r#"{head},"type":"invoke"{asked}"#)));
        if kind != "open" {
            self.events.push((until, format!(r#"{head},"type":"{kind}"{tail}"#)));
        }
        self
    }

    pub fn write(
        self,
        process: u64,
        at: &str,
        (key, value): (&str, i64),
        shown: &str,
        times: [u64; 2],
    ) -> Self {
        self.write_as("ok", process, at, (key, value), shown, times)
    }

    pub fn write_as(
        self,
        kind: &str,
        process: u64,
        at: &str,
        (key, value): (&str, i64),
        shown: &str,
        times: [u64; 2],
    ) -> Self {
        let head = format!(r#""process":{process},"f":"write","key":"{key}","node":"{at}""#);
        self.op(times, &head, kind, &format!(r#","value":{value}{}"#, version(shown)))
    }

    pub fn read(
        self,
        process: u64,
        at: &str,
        (key, value): (&str, Option<i64>),
        shown: &str,
        times: [u64; 2],
    ) -> Self {
        let head = format!(r#""process":{process},"f":"read","key":"{key}","node":"{at}""#);
        let value = value.map_or("null".into(), |value| value.to_string());
        self.op(times, &head, "ok", &format!(r#","value":{value}{}"#, version(shown)))
    }

    pub fn snapshot(self, node: &str, held: &[(&str, i64, &str)], times: [u64; 2]) -> Self {
        let process = 100 + node.as_bytes()[0] as u64;
        let head = format!(r#""process":{process},"f":"snapshot","node":"{node}""#);
        let held: Vec<String> = held
            .iter()
            .map(|(key, value, shown)| format!(r#""{key}":{{"value":{value}{}}}"#, version(shown)))
            .collect();
        self.op(times, &head, "ok", &format!(r#","value":{{{}}}"#, held.join(",")))
    }

    /// The settle phase, with what each node holds at its end.
    pub fn ends(self, a: &[(&str, i64, &str)], b: &[(&str, i64, &str)], c: &[(&str, i64, &str)]) -> Self {
        self.event(1001, "phase", None, "\"settle\"")
            .snapshot("A", a, [1400, 1410])
            .snapshot("B", b, [1400, 1410])
            .snapshot("C", c, [1400, 1410])
            .event(1501, "phase", None, "\"done\"")
    }

    /// [`Build::ends`] with all three alike.
    pub fn agree(self, held: &[(&str, i64, &str)]) -> Self {
        self.ends(held, held, held)
    }

    pub fn text(&self) -> String {
        let mut events = self.events.clone();
        events.sort_by_key(|(ms, _)| *ms);
        let run = (0, format!(r#""process":"nemesis","type":"info","f":"run","value":{}"#, self.contract));
        events.insert(0, run);
        let lines = events
            .iter()
            .enumerate()
            .map(|(index, (ms, text))| format!("{{\"index\":{index},\"time\":{},{text}}}\n", ms * 1_000_000));
        lines.collect()
    }

    pub fn parse(&self) -> History {
        let text = self.text();
        reader::read_from(text.as_bytes(), Path::new("by-hand.jsonl"))
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub fn judge(&self, check: &str) -> CheckResult {
        find(check).unwrap().check(&self.parse())
    }

    /// The kinds of violation, sorted.
    pub fn kinds(&self, check: &str) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.judge(check).violations.iter().map(|violation| violation.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// No check blames it.
    pub fn innocent(&self) {
        for check in harness::check::CHECKS {
            let result = check.check(&self.parse());
            assert_ne!(result.verdict, Verdict::Invalid, "{}: {:#?}", check.name(), result.violations);
        }
    }
}

impl Build {
    /// A line of one's own: everything after `index` and `time`.
    pub fn raw(mut self, ms: u64, text: &str) -> Self {
        self.events.push((ms, text.to_owned()));
        self
    }
}
