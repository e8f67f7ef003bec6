//! Operations as a picture: processes as rows, time as columns, and below what the object could have been each time one
//! completed.
//!
//! ```text
//! p0 ├─ write 17 ─┤
//! p1                ├─ write 18 ─┤
//! p3                               ├─ read 17 ─┤
//! =               17             18            ✗ 18
//! ```

use std::fmt::Write as _;

use super::Options;
use super::steps::{Step, steps};
use crate::check::plain::{Proof, Question};
use crate::history::calls::{Calls, OPEN, ValueId};
use crate::history::{Outcome, Value};

/// Beyond so many operations a picture no longer helps.
const MOST: usize = 16;
/// How long what an operation says may be, in characters: tried in this order until the picture is narrow enough.
const LABELS: [usize; 5] = [60, 30, 20, 14, 9];
/// How many states are told of one moment.
const MOST_STATES: usize = 3;

/// Draws the operations of a proof, those that help to understand it as `├┄ … ┄┤`, within `width` columns where that
/// can be done, else one below the other. Where linearizability is what is disproved and `question.model` is known, also
/// the states: what the orders that real time allows leave possible, all other operations relaxed. `None` when there is nothing to draw.
pub fn picture(calls: &Calls, question: &Question, proof: &Proof, width: usize) -> Option<String> {
    let mut ops = proof.ops.clone();
    ops.sort_unstable_by_key(|call| calls.calls[*call as usize].invoke);
    ops.dedup();
    // Other checks allow orders that real time does not: what was possible would have to be told otherwise.
    let model = question.model.filter(|_| proof.kind == super::check::KIND);
    let after = model.and_then(|model| {
        let by_key = model.by_key();
        let key = calls.calls.get(*ops.first()? as usize)?.key;
        let of_key = |index: &u32| !by_key || calls.calls[*index as usize].key == key;
        let order: Vec<u32> = (0..calls.calls.len() as u32).filter(of_key).collect();
        steps(calls, &Options::new(model, question.initial.clone()), &order, &ops)
    });
    let after = after.unwrap_or_default();
    let hidden = ops.len().saturating_sub(MOST);
    // The contradiction is at the end.
    ops.drain(..hidden);
    let room = MOST - ops.len();
    let context = proof.context.iter().filter(|call| !proof.ops.contains(call)).copied();
    let context: Vec<u32> = if hidden == 0 { context.take(room).collect() } else { Vec::new() };
    let mut drawn = draw(calls, &ops, &context, &after, width)?;
    if hidden > 0 {
        let _ = writeln!(drawn, "and {hidden} operations before these");
    }
    Some(drawn)
}

/// Draws these calls. Columns follow the order of events; their distance means nothing. What never completed goes
/// on to the right. `None` when there are too many, or none.
pub fn timeline(calls: &Calls, indices: &[u32]) -> Option<String> {
    if indices.len() > MOST {
        return None;
    }
    draw(calls, indices, &[], &[], usize::MAX)
}

fn draw(calls: &Calls, ops: &[u32], context: &[u32], after: &[Step], width: usize) -> Option<String> {
    if ops.is_empty() {
        return None;
    }
    let mut shown: Vec<(u32, bool)> = ops.iter().map(|op| (*op, false)).collect();
    shown.extend(context.iter().map(|op| (*op, true)));
    shown.sort_by_key(|(index, _)| calls.calls[*index as usize].invoke);
    shown.dedup_by_key(|(index, _)| *index);
    for limit in LABELS {
        let picture = across(calls, &shown, after, limit);
        if picture.lines().all(|line| line.chars().count() <= width) {
            return Some(picture);
        }
    }
    Some(below(calls, &shown, after))
}

/// What one operation says, without its process and key.
fn label(calls: &Calls, index: u32, limit: usize) -> String {
    let call = &calls.calls[index as usize];
    let f = calls.functions.get(usize::from(call.f)).map_or("?", |name| &**name);
    let show = |id: ValueId| match calls.values.get(id) {
        Value::Nil => "nil".to_owned(),
        other => other.to_string(),
    };
    let told = call.output != ValueId::NIL && call.output != call.input;
    let said = match call.outcome {
        Outcome::Ok if told && call.input != ValueId::NIL => {
            format!("{f} {} → {}", show(call.input), show(call.output))
        }
        Outcome::Ok if told => format!("{f} {}", show(call.output)),
        // What never completed said nothing: a read of unknown outcome is no read of nil.
        Outcome::Info | Outcome::Fail if call.input == ValueId::NIL => f.to_owned(),
        _ => format!("{f} {}", show(call.input)),
    };
    let said = cut(&said, limit);
    if call.outcome == Outcome::Fail { format!("{said} failed") } else { said }
}

fn cut(text: &str, limit: usize) -> String {
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if text.chars().count() <= limit {
        return text;
    }
    let kept: String = text.chars().take(limit - 1).collect();
    format!("{kept}…")
}

/// The states of one moment, each cut to `limit` characters.
pub(super) fn told(states: &[String], between: &str, limit: usize) -> String {
    let mut told: Vec<String> = states.iter().take(MOST_STATES).map(|state| cut(state, limit)).collect();
    if states.len() > MOST_STATES {
        told.push("…".into());
    }
    told.join(between)
}

fn state(step: &Step, limit: usize) -> String {
    let told = told(&step.states, "|", limit);
    if step.fits { told } else { format!("✗ {told}").trim_end().to_owned() }
}

/// Processes as rows, time as columns.
fn across(calls: &Calls, shown: &[(u32, bool)], after: &[Step], limit: usize) -> String {
    let labels: Vec<String> = shown.iter().map(|(index, _)| label(calls, *index, limit)).collect();
    let mut events: Vec<(u32, usize, bool)> = Vec::new();
    for (at, (index, _)) in shown.iter().enumerate() {
        let call = &calls.calls[*index as usize];
        events.push((call.invoke, at, false));
        if call.ret != OPEN {
            events.push((call.ret, at, true));
        }
    }
    events.sort_unstable();
    let mut spans = vec![(0, usize::MAX); shown.len()];
    let mut states = String::new();
    let mut column = 0;
    for (_, at, completes) in events {
        if !completes {
            column += 2;
            spans[at].0 = column;
            continue;
        }
        column = (column + 2).max(spans[at].0 + labels[at].chars().count() + 5);
        if let Some(step) = after.iter().find(|step| step.call == shown[at].0) {
            // Every state stands below the end of its operation, so the ends keep apart.
            let used = states.chars().count();
            column = if used == 0 { column } else { column.max(used + 1) };
            states.extend(std::iter::repeat_n(' ', column - used));
            states.push_str(&state(step, limit));
        }
        spans[at].1 = column;
    }
    let mut processes: Vec<u32> =
        shown.iter().map(|(index, _)| calls.calls[*index as usize].process).collect();
    processes.sort_unstable();
    processes.dedup();
    let margin = processes.iter().map(|process| process.to_string().len() + 1).max().unwrap_or(2);
    let mut picture = String::new();
    for process in processes {
        let mut row = String::new();
        for (at, (index, helps)) in shown.iter().enumerate() {
            if calls.calls[*index as usize].process != process {
                continue;
            }
            let (from, to) = spans[at];
            let line = if *helps { '┄' } else { '─' };
            let gap = from.saturating_sub(row.chars().count());
            row.extend(std::iter::repeat_n(' ', gap));
            let _ = write!(row, "├{line} {} ", labels[at]);
            if to == usize::MAX {
                let _ = write!(row, "{line} …");
            } else {
                let rest = to.saturating_sub(row.chars().count()).max(1);
                row.extend(std::iter::repeat_n(line, rest));
                row.push('┤');
            }
        }
        let _ = writeln!(picture, "{:<margin$}{}", format!("p{process}"), row.trim_end());
    }
    if !states.is_empty() {
        let _ = writeln!(picture, "{:<margin$}{states}", "=");
    }
    picture
}

/// One operation a line, by invocation: for what does not fit side by side. Positions say what overlaps.
fn below(calls: &Calls, shown: &[(u32, bool)], after: &[Step]) -> String {
    let mut lines: Vec<[String; 4]> = Vec::new();
    for (index, helps) in shown {
        let call = &calls.calls[*index as usize];
        let until = if call.ret == OPEN { "…".into() } else { call.ret.to_string() };
        let mark = if *helps { "┄" } else { "─" };
        let held = after.iter().find(|step| step.call == *index).map(|step| format!("= {}", state(step, 20)));
        lines.push([
            format!("p{}", call.process),
            format!("{}{mark}{until}", call.invoke),
            label(calls, *index, 40),
            held.unwrap_or_default(),
        ]);
    }
    let mut widths = [0; 4];
    for line in &lines {
        for (width, part) in widths.iter_mut().zip(line) {
            *width = part.chars().count().max(*width);
        }
    }
    let mut picture = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(part, width)| format!("{part:width$}"));
        let _ = writeln!(picture, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::linearizability::Linearizability;
    use crate::check::models::Model;
    use crate::check::plain::PlainCheck as _;
    use crate::history::import::{Options, read_from};

    fn read(text: &str) -> Calls {
        match read_from(text.as_bytes(), std::path::Path::new("h"), Options::default()) {
            Ok(calls) => calls,
            Err(error) => panic!("{error}"),
        }
    }

    fn drawn(model: Model, text: &str, width: usize) -> String {
        let calls = read(text);
        let question = Question { model: Some(model), ..Question::default() };
        let answer = Linearizability.judge(&calls, &question).unwrap_or_else(|why| panic!("{why}"));
        picture(&calls, &question, &answer.proofs[0], width).unwrap_or_default()
    }

    #[test]
    fn overlap_is_seen() {
        let calls = read(
            "{:process 0 :type :invoke :f :write :value 17}{:process 1 :type :invoke :f :write :value 18}
            {:process 0 :type :ok :f :write :value 17}{:process 0 :type :invoke :f :read}
            {:process 0 :type :ok :f :read :value 18}{:process 12 :type :invoke :f :cas :value [1 2]}",
        );
        let expected = "\
p0   ├─ write 17 ─┤ ├─ read 18 ─┤
p1     ├─ write 18 ─ …
p12                               ├─ cas [1,2] ─ …
";
        assert_eq!(timeline(&calls, &[0, 1, 2, 3]).unwrap_or_default(), expected);
        assert_eq!(timeline(&calls, &[]), None);
    }

    const STALE: &str =
        "{:process 0 :type :invoke :f :write :value 17}{:process 0 :type :ok :f :write :value 17}
        {:process 1 :type :invoke :f :write :value 18}{:process 1 :type :ok :f :write :value 18}
        {:process 3 :type :invoke :f :read}{:process 3 :type :ok :f :read :value 17}";

    #[test]
    fn states_stand_below_the_ends() {
        let expected = "\
p0  ├─ write 17 ─┤
p1                 ├─ write 18 ─┤
p3                                ├─ read 17 ─┤
=                17             18            ✗ 18
";
        assert_eq!(drawn(Model::Register, STALE, 80), expected);
    }

    #[test]
    fn what_does_not_fit_stands_one_below_the_other() {
        let expected = "\
p0  0─1  write 17  = 17
p1  2─3  write 18  = 18
p3  4─5  read 17   = ✗ 18
";
        assert_eq!(drawn(Model::Register, STALE, 30), expected);
        let long = STALE.replace("17", "\"a value far too long for a picture of this width\"");
        let narrow = drawn(Model::Register, &long, 60);
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        assert!(narrow.starts_with("p0  ├─ write \"a… ─┤\n"), "{narrow}");
    }

    /// `left {1} possible` beside `✗ {1}|{1 2}`: the one would be of the whole history, the other of the proof.
    #[test]
    fn the_sentence_names_the_states_of_the_picture() {
        let set = "{:process 0 :type :invoke :f :add :value 1}{:process 0 :type :ok :f :add :value 1}
            {:process 0 :type :invoke :f :read}{:process 0 :type :ok :f :read :value [1]}
            {:process 1 :type :invoke :f :add :value 2}{:process 2 :type :invoke :f :read}
            {:process 2 :type :ok :f :read :value []}{:process 1 :type :ok :f :add :value 2}";
        let calls = read(set);
        let question = Question { model: Some(Model::Set), ..Question::default() };
        let answer = Linearizability.judge(&calls, &question).unwrap_or_else(|why| panic!("{why}"));
        let proof = &answer.proofs[0];
        assert_eq!(
            proof.story,
            "p2 read [] has no place: when it completed the object could only be {1} or {1 2}, \
             whatever all other operations did"
        );
        assert_eq!(proof.states, ["{1}", "{1 2}"]);
        let picture = picture(&calls, &question, proof, 80).unwrap_or_default();
        assert!(picture.ends_with("✗ {1}|{1 2}\n"), "{picture}");
    }

    #[test]
    fn the_general_search_has_states_too() {
        let queue =
            "{:process 0 :type :invoke :f :enqueue :value 1}{:process 1 :type :invoke :f :enqueue :value 2}
            {:process 0 :type :ok :f :enqueue :value 1}{:process 1 :type :ok :f :enqueue :value 2}
            {:process 0 :type :invoke :f :dequeue}{:process 0 :type :ok :f :dequeue :value 2}
            {:process 0 :type :invoke :f :dequeue}{:process 0 :type :ok :f :dequeue :value 2}";
        let expected = "\
p0                  ├─ dequeue 2 ─┤ ├─ dequeue 2 ─┤
p1  ├┄ enqueue 2 ┄┤
=                                 []|[1]          ✗ []|[1]
";
        assert_eq!(drawn(Model::Queue, queue, 80), expected);
    }
}
