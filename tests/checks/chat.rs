//! Histories of broadcasts, in few words.

use std::collections::BTreeSet;
use std::path::Path;

use harness::check::{CheckResult, find};
use harness::history::{History, reader};

use crate::events;

/// A history of nodes A, B and C in few words; times are milliseconds.
#[derive(Clone, Default)]
pub struct Chat {
    pub contract: String,
    pub events: Vec<(u64, String)>,
    pub process: u64,
}

/// Nobody has said anything yet.
pub fn chat(contract: &str) -> Chat {
    let mut chat = Chat { contract: contract.to_owned(), ..Chat::default() };
    for node in ["A", "B", "C"] {
        chat = chat.nemesis(0, "start", Some(node), r#"{"pid":1}"#);
    }
    chat.nemesis(1, "phase", None, "\"main\"")
}

impl Chat {
    pub fn nemesis(mut self, ms: u64, f: &str, node: Option<&str>, value: &str) -> Self {
        self.events.push((ms, events::nemesis(f, node, value)));
        self
    }

    pub fn sent_as(mut self, kind: &str, ms: u64, node: &str, value: &str) -> Self {
        let head = format!(r#""process":{},"f":"broadcast","value":"{value}","node":"{node}""#, self.process);
        self.process += 1;
        self.events.push((ms, format!(r#"{head},"type":"invoke""#)));
        self.events.push((ms, format!(r#"{head},"type":"{kind}""#)));
        self
    }

    /// Handed to the node within that millisecond.
    pub fn sent(self, ms: u64, node: &str, value: &str) -> Self {
        self.sent_as("ok", ms, node, value)
    }

    pub fn got(mut self, ms: u64, node: &str, value: &str) -> Self {
        self.events.push((
            ms,
            format!(r#""process":"node","type":"info","f":"deliver","value":"{value}","node":"{node}""#),
        ));
        self
    }

    /// A line that no pattern of the protocol fits.
    pub fn unread(mut self, ms: u64, node: &str, line: &str) -> Self {
        self.events.push((
            ms,
            format!(r#""process":"node","type":"info","f":"unread","value":"{line}","node":"{node}""#),
        ));
        self
    }

    /// It said that the others had gone on without it.
    pub fn removed(mut self, ms: u64, node: &str) -> Self {
        self.events.push((
            ms,
            format!(r#""process":"node","type":"info","f":"removed","value":null,"node":"{node}""#),
        ));
        self
    }

    pub fn all_got(self, ms: u64, values: &[&str]) -> Self {
        let deliver = |chat: Chat, (at, value): (usize, &&str)| {
            ["A", "B", "C"].into_iter().fold(chat, |chat, node| chat.got(ms + at as u64, node, value))
        };
        values.iter().enumerate().fold(self, deliver)
    }

    pub fn killed(mut self, node: &str, from: u64, until: u64) -> Self {
        self.events.extend(events::kill(node, [from, until]));
        self
    }

    pub fn paused(mut self, node: &str, from: u64, until: u64) -> Self {
        let (target, label) = (format!(r#"["{node}"]"#), format!("pause {node}"));
        self.events.extend(events::fault("pause", [from, until], &target, &label, ""));
        self
    }

    /// A fault on all links of `node`.
    pub fn links(mut self, f: &str, node: &str, from: u64, until: u64) -> Self {
        let others = ["A", "B", "C"].into_iter().filter(|other| *other != node);
        let links: Vec<String> =
            others.flat_map(|other| [format!("\"{node}→{other}\""), format!("\"{other}→{node}\"")]).collect();
        let links = format!(r#","evidence":{{"links":[{}]}}"#, links.join(","));
        self.events.extend(events::fault(f, [from, until], "[]", &format!("{f} {node}"), &links));
        self
    }

    pub fn text(&self) -> String {
        let mut events = self.events.clone();
        events.push((10_000, r#""process":"nemesis","type":"info","f":"phase","value":"heal""#.into()));
        events.push((10_001, r#""process":"nemesis","type":"info","f":"phase","value":"settle""#.into()));
        events.push((20_000, r#""process":"nemesis","type":"info","f":"phase","value":"done""#.into()));
        // Equal moments keep the order in which they were told.
        events.sort_by_key(|(ms, _)| *ms);
        let contract = format!(
            r#"{{"contract":{{"nodes":["A","B","C"],"settle_within_ms":5000{}{}}}}}"#,
            if self.contract.is_empty() { "" } else { "," },
            self.contract
        );
        events.insert(0, (0, format!(r#""process":"nemesis","type":"info","f":"run","value":{contract}"#)));
        let line = |(index, (ms, text)): (usize, &(u64, String))| {
            // Within one millisecond things still happen one after another.
            format!("{{\"index\":{index},\"time\":{},{text}}}\n", ms * 1_000_000 + index as u64)
        };
        events.iter().enumerate().map(line).collect()
    }

    pub fn history(&self) -> History {
        let text = self.text();
        reader::read_from(text.as_bytes(), Path::new("chat.jsonl"))
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub fn judge(&self) -> CheckResult {
        find("total-order").unwrap().check(&self.history())
    }

    pub fn kinds(&self) -> Vec<&'static str> {
        let kinds: BTreeSet<_> = self.judge().violations.iter().map(|violation| violation.kind).collect();
        kinds.into_iter().collect()
    }

    /// The same without one event of a violation's proof.
    pub fn without(&self, index: u64) -> Chat {
        let text = self.text();
        let gone = text.lines().nth(index as usize).unwrap().to_owned();
        let mut chat = self.clone();
        let tail = &gone[gone.find("\"process\"").unwrap()..gone.len() - 1];
        let at = chat.events.iter().position(|(_, event)| event == tail).unwrap();
        let (_, event) = chat.events.remove(at);
        // Without its invocation a completion is no history.
        if event.contains("\"invoke\"") {
            let completion = chat
                .events
                .iter()
                .position(|(_, other)| other.starts_with(event.split(",\"type\"").next().unwrap()));
            chat.events.remove(completion.unwrap());
        }
        chat
    }
}
