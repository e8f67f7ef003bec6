//! Operations of protocols that speak in lines: over TCP (`line`), or to a process's standard input (`stdio`).

use regex::Regex;

use super::answer::{self, Answer, ValueKind, spelled};
use super::template::Template;
use crate::history::{Entry, Number, Value};
use serde_json::Value as Json;

/// How an operation is said, and where its answer ends.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    /// The line to send, without its end.
    pub line: Template,
    /// What the last line of the answer looks like; `None`: the answer is one line.
    pub end: Option<Regex>,
    /// `history` alone: what a line that shows an entry looks like, with the groups of [`Shown`].
    pub entry: Option<Shown>,
}

/// A line that shows a message: the group `value` is the message, `key`, `offset` and `ts` are looked for too.
#[derive(Clone, Debug)]
pub(super) struct Shown(Regex);

/// What such a line showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    /// The topic, where the line names one.
    pub key: Option<&'a str>,
    /// The message.
    pub entry: Entry,
}

impl Shown {
    /// A pattern with a group `value`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(regex: Regex) -> Result<Self, String> {
        const GROUPS: [&str; 4] = ["value", "key", "offset", "ts"];
        if let Some(unknown) = regex.capture_names().flatten().find(|name| !GROUPS.contains(name)) {
            let hint = super::template::suggest(unknown, &GROUPS);
            return Err(format!("the group `{unknown}` means nothing here{hint}"));
        }
        if !regex.capture_names().flatten().any(|name| name == "value") {
            return Err("the pattern needs a group `(?P<value>…)`: the message".into());
        }
        Ok(Self(regex))
    }

    /// What `line` shows; `None`: it is another kind of line.
    pub fn read<'a>(&self, line: &'a str, kind: ValueKind) -> Option<Seen<'a>> {
        let found = self.0.captures(line)?;
        let text = |name: &str| found.name(name).map(|group| group.as_str());
        let ts = text("ts").and_then(|ts| {
            let json = serde_json::from_str::<Json>(ts).ok()?;
            Number::from_json(&json)
        });
        let entry = Entry {
            value: spelled(&Json::from(text("value")?), kind),
            offset: text("offset").and_then(|offset| offset.parse().ok()),
            ts,
        };
        Some(Seen { key: text("key"), entry })
    }

    /// An `ok` history of all entries in `body`. Where lines name their topic, only those of `key` count.
    pub fn entries(&self, body: &str, key: &str, kind: ValueKind) -> Answer {
        let seen = body.lines().filter_map(|line| self.read(line, kind));
        let of_key = seen.filter(|seen| seen.key.is_none_or(|named| named == key));
        let entries: Vec<Entry> = of_key.map(|seen| seen.entry).collect();
        // The last line only says that it is the last.
        let mut before_the_last = body.trim_end().lines().rev().skip(1);
        match before_the_last.find(|line| !line.trim().is_empty()) {
            Some(line) if entries.is_empty() => Answer {
                error: Some(line.to_owned()),
                raw: Some(answer::quote(body.as_bytes())),
                ..Answer::shown(entries)
            },
            _ => Answer::shown(entries),
        }
    }
}

/// A line that begins with what a terminal needs and a program does not: escapes, prompts, carriage returns.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    escapes: Regex,
    prompt: Option<Regex>,
}

impl Plain {
    /// Takes away escapes and, at the beginning of a line and as often as it is there, what matches `prompt`.
    pub fn new(prompt: Option<Regex>) -> Self {
        // ECMA-48: CSI sequences; OSC strings, ended by BEL or ST; DCS, SOS, PM and APC strings, ended by ST. ECMA-35: all
        // other escapes, such as the choice of a character set with which `tput sgr0` ends every coloured line.
        let escapes = Regex::new(concat!(
            r"\x1b\[[0-?]*[ -/]*[@-~]",
            r"|\x1b\][^\x07\x1b]*(\x07|\x1b\\)",
            r"|\x1b[PX^_][^\x1b]*\x1b\\",
            r"|\x1b[ -/]+[0-~]|\x1b[0-Z\\-~]",
            r"|[\r\x07\x08]",
        ));
        // A constant pattern, compiled by a test.
        let escapes = escapes.unwrap_or_else(|error| unreachable!("{error}"));
        Self { escapes, prompt }
    }

    /// The line as a person would read it.
    pub fn read(&self, line: &str) -> String {
        let mut text = self.escapes.replace_all(line, "").into_owned();
        while let Some(found) = self.prompt.as_ref().and_then(|prompt| prompt.find(&text))
            && found.start() == 0
            && found.end() > 0
        {
            text.drain(..found.end());
        }
        text
    }
}

/// The value of what is sent, on one line: a line end inside it would be two requests.
pub(super) fn fits_a_line(value: &Value) -> bool {
    match value {
        Value::Text(text) => !text.contains(['\n', '\r']),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_prompts_are_taken_away() {
        let plain = Plain::new(Some(Regex::new(r"^(you)?> ").unwrap()));
        let lines = [
            ("\u{1b}[32m[A] hello\u{1b}[0m", "[A] hello"),
            ("> > [A] m1", "[A] m1"),
            ("\r\u{1b}[2Kyou> [B] 2 > 1", "[B] 2 > 1"),
            ("\u{1b}]0;chat\u{7}[C] x", "[C] x"),
            // What `tput sgr0`, `tput sc`, `tput rc` and `tput smkx` print, and a reset.
            ("\u{1b}[1m[A] m1\u{1b}(B\u{1b}[m", "[A] m1"),
            ("\u{1b}7\u{1b}8\u{1b}=\u{1b}c[A] m1", "[A] m1"),
            // A string of a device, ended by ST.
            ("\u{1b}P1$r0m\u{1b}\\[A] m1", "[A] m1"),
            ("plain", "plain"),
        ];
        for (line, expected) in lines {
            assert_eq!(plain.read(line), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_show_messages() {
        let shown = Shown::new(
            Regex::new(r"^MSG (?P<key>\S+) \S+ (?P<offset>\d+) (?P<ts>\S+) (?P<value>.*)$").unwrap(),
        );
        let shown = shown.unwrap();
        let seen = shown.read("MSG t1 id7 12 1700.5 hello there", ValueKind::Number).unwrap();
        assert_eq!(seen.key, Some("t1"));
        assert_eq!(seen.entry.value, Value::Text("hello there".into()));
        assert_eq!((seen.entry.offset, seen.entry.ts), (Some(12), Some(Number::Float(1700.5))));
        assert_eq!(shown.read("OK subscribed t1", ValueKind::Number), None);
        let wrong = |pattern: &str| Shown::new(Regex::new(pattern).unwrap()).unwrap_err();
        assert!(wrong("(?P<valeu>.*)").contains("did you mean `value`?"));
        assert!(wrong(".*").contains("(?P<value>…)"));
    }
}
