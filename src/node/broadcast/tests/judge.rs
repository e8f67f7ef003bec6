//! What the lives of all processes show, by the definitions (Hadzilacos and Toueg, "Fault-tolerant broadcasts and related
//! problems", 1993), uniform ones: of what was delivered by processes that then died, too.

use std::collections::{BTreeMap, BTreeSet};

use super::super::core::Line;
use super::sim::Life;

/// The kinds of promises that are broken, each with an example.
pub fn broken(lives: &[Life]) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    integrity(lives, &mut found);
    for one in lives {
        fifo(one, &mut found);
        for other in lives.iter().filter(|other| other.group() == one.group()) {
            total_order(one, other, &mut found);
            causal(one, other, &mut found);
            agreement(one, other, &mut found);
        }
    }
    positions(lives, &mut found);
    for life in lives.iter().filter(|life| !life.over) {
        let delivered: BTreeSet<&str> = delivered(life).collect();
        for id in life.lines.iter().filter_map(Line::sent).filter(|id| !delivered.contains(id)) {
            found.entry("validity").or_insert(format!("{id} was never delivered to its own sender"));
        }
    }
    found
}

fn delivered(life: &Life) -> impl Iterator<Item = &str> {
    life.lines.iter().filter_map(Line::delivered)
}

fn integrity(lives: &[Life], found: &mut BTreeMap<&'static str, String>) {
    let text = |line: &Line| match line {
        Line::Sent { id, text } | Line::Deliver { id, text, .. } => Some((id.clone(), text.clone())),
        _ => None,
    };
    let all = |is: fn(&&Line) -> bool| lives.iter().flat_map(|life| &life.lines).filter(is).filter_map(text);
    let sent: BTreeMap<_, _> = all(|line| line.sent().is_some()).collect();
    for (id, text) in all(|line| line.delivered().is_some()) {
        if sent.get(&id) != Some(&text) {
            found.entry("integrity").or_insert(format!("{id} {text} from nowhere"));
        }
    }
    let mut seen = BTreeSet::new();
    for life in lives {
        for id in delivered(life) {
            if !seen.insert((life.rank, id)) {
                found.entry("integrity").or_insert(format!("{id} twice at {}", life.rank));
            }
        }
    }
}

fn fifo(life: &Life, found: &mut BTreeMap<&'static str, String>) {
    let mut last: BTreeMap<(String, String), u64> = BTreeMap::new();
    for id in delivered(life) {
        let mut parts = id.split(':').map(str::to_owned);
        let (sender, inc) = (parts.next().unwrap(), parts.next().unwrap());
        let line: u64 = parts.next().unwrap().parse().unwrap();
        let before = last.entry((sender, inc)).or_insert(0);
        if line < *before {
            found.entry("fifo").or_insert(format!("{id} after {before} at {}", life.rank));
        }
        *before = line.max(*before);
    }
}

/// Both deliver what both deliver in the same order.
fn total_order(one: &Life, other: &Life, found: &mut BTreeMap<&'static str, String>) {
    let at: BTreeMap<&str, usize> = delivered(other).enumerate().map(|(at, id)| (id, at)).collect();
    let common: Vec<(&str, usize)> = delivered(one).filter_map(|id| Some((id, *at.get(id)?))).collect();
    for pair in common.windows(2) {
        if pair[0].1 > pair[1].1 {
            let story = format!("{} before {} at {}, not at {}", pair[0].0, pair[1].0, one.rank, other.rank);
            found.entry("total-order").or_insert(story);
        }
    }
}

/// What `one` had delivered before it sent something comes before that at `other`.
fn causal(one: &Life, other: &Life, found: &mut BTreeMap<&'static str, String>) {
    let at: BTreeMap<&str, usize> = delivered(other).enumerate().map(|(at, id)| (id, at)).collect();
    let mut before: Option<(usize, &str)> = None;
    for line in &one.lines {
        if let Some(id) = line.delivered() {
            before = before.max(at.get(id).map(|at| (*at, id)));
        }
        if let Some((last, cause)) = before
            && let Some(id) = line.sent()
            && at.get(id).is_some_and(|at| *at < last)
        {
            let story = format!("{id} was sent after {cause} but came before it at {}", other.rank);
            found.entry("causal").or_insert(story);
        }
    }
}

/// What `one` delivered while both delivered the same, `other` delivered too; and all of it if `other` still lives and
/// was there from the start.
fn agreement(one: &Life, other: &Life, found: &mut BTreeMap<&'static str, String>) {
    let theirs: BTreeSet<&str> = delivered(other).collect();
    let mine: Vec<&str> = delivered(one).collect();
    let common = |id: &&str| theirs.contains(id);
    let (first, last) = (mine.iter().position(common), mine.iter().rposition(common));
    let from_start = other.lines.iter().any(|line| matches!(line, Line::View { number: 1, .. }));
    let start = if from_start { Some(0) } else { first };
    let end = if other.over { last.map_or(0, |last| last + 1) } else { mine.len() };
    if let Some(id) = start.and_then(|start| mine.get(start..end)?.iter().find(|id| !theirs.contains(*id))) {
        found.entry("agreement").or_insert(format!("{id} at {}, not at {}", one.rank, other.rank));
    }
}

/// Positions count on from where the view began, and stand for the same message everywhere.
fn positions(lives: &[Life], found: &mut BTreeMap<&'static str, String>) {
    let mut at: BTreeMap<(Option<u64>, u64), &str> = BTreeMap::new();
    for life in lives {
        let mut last = None;
        for line in &life.lines {
            match line {
                Line::View { position, .. } if last.is_none_or(|last| last == *position) => {
                    last = Some(*position)
                }
                Line::Deliver { position, id, .. }
                    if last == Some(*position - 1)
                        && *at.entry((life.group(), *position)).or_insert(id) == id =>
                {
                    last = Some(*position);
                }
                Line::View { .. } | Line::Deliver { .. } => {
                    found.entry("position").or_insert(format!("after {last:?} at {}: {line}", life.rank));
                }
                _ => {}
            }
        }
    }
}
