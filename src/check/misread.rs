//! Whether what nodes show was understood at all.
//!
//! A pattern of the protocol file that fits nothing, or whose group is the wrong part of a line, makes a correct node look
//! like one that has lost everything, or made everything up. Where a whole kind of showing (reads, deliveries,
//! entries of logs) names not one value that was written, nothing is known of it, and what was made of it is no evidence.
//!
//! **Soundness.** A node that shows anything of what it was given has been understood, and is judged. One that shows none
//! of it is judged only if it showed nothing else either: then there was nothing to misunderstand. A single unknown message
//! is no misreading but a message from nowhere: messages differ, and so do the wrong parts of [`SYSTEMATIC`] lines.

use std::collections::{BTreeMap, HashSet};

use super::{Check, CheckResult, Verdict, phantom};
use crate::history::{History, Value};

/// So many unknown messages, with not one that is known beside them, come of a misreading.
const SYSTEMATIC: usize = 3;
/// The same for values of keys: all replicas may agree on one that is corrupt, and be asked for it several times.
const SYSTEMATIC_VALUES: usize = 12;
/// How much of a line is quoted, characters.
const QUOTED_CHARS: usize = 120;

/// A message: its topic, where there are topics, and its value.
type Message<'h> = (Option<&'h str>, &'h Value);

/// What was sent by operations called `f`.
fn sent<'h>(history: &'h History, f: &str) -> HashSet<Message<'h>> {
    history.ops.iter().filter(|op| &*op.f == f).map(|op| (op.key.as_deref(), &op.value)).collect()
}

/// Why nothing is known of what processes delivered; `None`: it was understood, or there was nothing to understand.
pub fn deliveries(history: &History) -> Option<String> {
    let shown = history.deliveries.iter().filter(|delivery| delivery.subscriber.is_none());
    // A chat has no topics, whatever a line may name.
    let shown = shown.map(|delivery| (None, &delivery.entry.value));
    let sent = sent(history, "broadcast").into_iter().map(|(_, value)| (None, value)).collect();
    let unread = history.unread.iter().filter(|unread| unread.subscriber.is_none());
    why("deliver", &sent, shown, unread.map(|unread| &*unread.line))
}

/// A line with a message in it that `node` printed, and that is no delivery: what it seems to lack it may have said in other
/// words.
pub fn said_otherwise(history: &History, node: &str) -> Option<String> {
    let mut own = history.unread.iter().filter(|unread| &*unread.node == node && unread.subscriber.is_none());
    let words: Vec<String> = sent(history, "broadcast").iter().map(|(_, value)| value.plain()).collect();
    let line = own.rfind(|unread| words.iter().any(|word| holds(&unread.line, word)))?;
    Some(quoted(&line.line))
}

/// Why nothing is known of what nodes showed of their logs, and of what subscribers were sent; `None` as above.
pub fn logs(history: &History) -> [Option<String>; 2] {
    let sent = sent(history, "publish");
    let asked = || history.ops.iter().filter(|op| &*op.f == "history");
    let entries = asked().flat_map(|op| {
        let entries = op.entries.iter().flat_map(|entries| entries.iter());
        entries.map(|entry| (op.key.as_deref(), &entry.value))
    });
    let unread = asked().filter(|op| history.not_understood.contains(&op.index));
    let entries = why("entry", &sent, entries, unread.filter_map(|op| op.error.as_deref()));

    let delivered = history.deliveries.iter().filter(|delivery| delivery.subscriber.is_some());
    let delivered = delivered.map(|delivery| (delivery.key.as_deref(), &delivery.entry.value));
    let unread = history.unread.iter().filter(|unread| unread.subscriber.is_some());
    let subscriptions = why("deliver", &sent, delivered, unread.map(|unread| &*unread.line));
    [entries, subscriptions]
}

/// A history as far as it was understood.
pub struct Understood<'h> {
    history: &'h History,
    /// Where whole kinds of answers were not: why, and what is left without them.
    rest: Option<(String, History)>,
}

impl<'h> Understood<'h> {
    /// Looks once, for all checks. Linear.
    pub fn new(history: &'h History) -> Self {
        Self { history, rest: without_misread_values(history) }
    }

    /// Has `check` judge what was understood. What was not is told instead of being taken for the nodes' doing.
    pub fn judge(&self, check: &dyn Check) -> CheckResult {
        match &self.rest {
            // What these say does not rest on values.
            Some((why, rest)) if !matches!(check.name(), "availability" | "leader") => {
                let result = check.check(rest);
                match result.verdict {
                    Verdict::Invalid => result,
                    Verdict::Valid | Verdict::Unknown => {
                        CheckResult { verdict: Verdict::Unknown, reason: Some(why.clone()), ..result }
                    }
                }
            }
            _ => check.check(self.history),
        }
    }
}

/// What is left of a run's history without the kinds of reads, and snapshots, of which nothing is known, and why; `None`: all
/// were understood. Defaults (`0`, `""`) are what a node answers that knows nothing, and no misreading.
fn without_misread_values(history: &History) -> Option<(String, History)> {
    if history.contract.nodes.is_empty() {
        // Recorded elsewhere: no protocol file of ours stood between.
        return None;
    }
    let written: HashSet<&Value> =
        history.ops.iter().filter(|op| &*op.f == "write").map(|op| &op.value).collect();
    let asked = written.iter().min()?;
    let mut understood: HashSet<&str> = HashSet::new();
    let mut strange: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.is_ok()) {
        let kind = match (&op.snapshot, op.level()) {
            (Some(_), _) | (_, Some(_)) => &*op.f,
            (None, None) => continue,
        };
        if understood.contains(kind) {
            continue;
        }
        let held = op.snapshot.iter().flat_map(|held| held.values()).map(|held| &held.value);
        let single = op.snapshot.is_none().then_some(&op.value);
        for value in held.chain(single).filter(|value| !phantom::looks_like_default(value)) {
            if written.contains(value) {
                understood.insert(kind);
            } else {
                strange.entry(kind).or_default().push(value);
            }
        }
    }
    strange.retain(|kind, values| !understood.contains(kind) && values.len() >= SYSTEMATIC_VALUES);
    let (kind, values) = strange.first_key_value()?;
    let why = format!(
        "none of the {} values that `{kind}` showed had been written: one is `{}`, where `{}` had been written; does `value` of \
         `[{kind}]` in the protocol file say where the value is?",
        values.len(),
        quoted(&values[0].plain()),
        quoted(&asked.plain()),
    );
    let mut rest = history.clone();
    rest.ops.retain(|op| !strange.contains_key(&*op.f));
    Some((why, rest))
}

/// Why nothing that was shown is known to have been sent; `unread` are lines that `pattern` did not fit.
fn why<'h>(
    pattern: &str,
    sent: &HashSet<Message<'_>>,
    shown: impl Iterator<Item = Message<'h>>,
    unread: impl Iterator<Item = &'h str>,
) -> Option<String> {
    let mut unknown: Vec<&Value> = Vec::new();
    for message in shown {
        if sent.contains(&message) {
            return None;
        }
        unknown.push(message.1);
    }
    let (_, asked) = sent.iter().min()?;
    if unknown.len() >= SYSTEMATIC {
        return Some(format!(
            "none of the {} messages that `{pattern}` of the protocol file found had been sent: one is `{}`, where `{}` had \
             been sent; is its group `value` the message and nothing else, and `key`, where there is one, the topic?",
            unknown.len(),
            quoted(&unknown[0].plain()),
            quoted(&asked.plain()),
        ));
    }
    // A line that has a message in it tells more than what a program says when it starts.
    let words: Vec<String> = sent.iter().map(|(_, value)| value.plain()).collect();
    let names = |line: &&&str| words.iter().any(|word| holds(line, word));
    let unread: Vec<&str> = unread.collect();
    let sample = unread.iter().rev().find(names).or(unread.last()).filter(|_| unknown.is_empty())?;
    Some(format!("`{pattern}` of the protocol file fits nothing that came, such as `{}`", quoted(sample)))
}

/// Whether `line` has `word` in it, and not as a part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        apart(line[..at].chars().next_back()) && apart(line[at + word.len()..].chars().next())
    })
}

fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let beginning: String = chars.by_ref().take(QUOTED_CHARS).collect();
    if chars.next().is_some() { beginning + "…" } else { beginning }
}
