//! Staleness and convergence as curves: P(stale | age of the newest write), and how far each node was from agreement.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;

use super::series::nice;
use super::{escape, shown};
use crate::history::model::Held;
use crate::history::{Entry, History, Phase, Value};
use crate::report::results::Results;
use crate::report::style::{clean, one_line};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// How many colours there are.
const COLOURS: usize = 6;
/// Most curves in one picture.
const MOST: usize = 12;
/// Moments at which deliveries are counted.
const SAMPLES: u64 = 240;

/// One curve: its name, and its points; `None`: nothing is known there.
struct Curve {
    name: String,
    points: Vec<(f64, Option<f64>)>,
}

/// What stands at the axes.
struct Axes<'a> {
    about: &'a str,
    below: &'a str,
    /// Places and names along the lower axis, from 0 to 1.
    across: Vec<(f64, String)>,
    /// The highest value, and what is put behind figures.
    most: f64,
    unit: &'a str,
    /// Whether a value holds until the next one.
    steps: bool,
}

fn drawn(axes: &Axes<'_>, curves: &[Curve]) -> String {
    let floor = HEIGHT - BOTTOM;
    let room = (WIDTH - LEFT - RIGHT, floor - TOP);
    let x = |share: f64| LEFT + share * room.0;
    let y = |value: f64| floor - (value / axes.most).min(1.0) * room.1;
    let mut out = format!(
        "<svg class=\"diagram\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(axes.about)
    );
    let step = nice(axes.most / 4.0);
    let mut level = 0.0;
    while level <= axes.most * 1.001 {
        let _ = write!(
            out,
            "<line class=\"lane\" x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\"/>\
             <text class=\"level\" x=\"{2:.1}\" y=\"{3:.1}\">{4}{5}</text>",
            y(level),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(level) + 4.0,
            (level * 1e6).round() / 1e6,
            axes.unit
        );
        level += step;
    }
    for (share, name) in &axes.across {
        let _ = write!(
            out,
            "<text class=\"tick-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x(*share),
            floor + 16.0,
            shown(name)
        );
    }
    let _ = write!(
        out,
        "<text class=\"tick-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        x(0.5),
        floor + 34.0,
        shown(axes.below)
    );
    for (number, curve) in curves.iter().enumerate() {
        let colour = number % COLOURS;
        // Curves that are the same are told apart by a small step aside.
        let aside = if axes.steps { number as f64 * 1.5 } else { 0.0 };
        let mut path = String::new();
        let mut before: Option<f64> = None;
        for (share, value) in &curve.points {
            let Some(value) = value else {
                before = None;
                continue;
            };
            let (x, y) = (x(*share), y(*value) - aside);
            let _ = match before {
                None => write!(path, "M{x:.1} {y:.1}"),
                Some(before) if axes.steps => write!(path, "L{x:.1} {before:.1}L{x:.1} {y:.1}"),
                Some(_) => write!(path, "L{x:.1} {y:.1}"),
            };
            before = Some(y);
            if !axes.steps {
                let _ = write!(path, "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0m2 0");
            }
        }
        let _ = write!(out, "<path class=\"curve c{colour}\" d=\"{path}\"/>");
        let line = TOP + 6.0 + 18.0 * number as f64;
        let _ = write!(
            out,
            "<path class=\"curve c{colour}\" d=\"M{:.1} {line:.1}l18 0\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT + 14.0,
            WIDTH - RIGHT + 38.0,
            line + 4.0,
            shown(&one_line(&curve.name, 18))
        );
    }
    out.push_str("</svg>");
    out
}

/// P(stale | time since the last acknowledged write), a curve for each level of reads; `None` where it was not measured.
pub(super) fn staleness(results: &Results) -> Option<String> {
    let stats = &results.checks.iter().find(|check| check.name == "staleness")?.stats;
    let by_age = |stats: &Json| stats.get("by_age").and_then(Json::as_array).cloned();
    let mut levels: Vec<(String, Vec<Json>)> = match stats.get("levels").and_then(Json::as_object) {
        Some(levels) => {
            levels.iter().filter_map(|(name, stats)| Some((clean(name), by_age(stats)?))).collect()
        }
        None => Vec::new(),
    };
    if levels.is_empty() {
        levels.push(("read".to_owned(), stats.get("by_age").and_then(Json::as_array)?.clone()));
    }
    let ages = levels.iter().map(|(_, ages)| ages).max_by_key(|ages| ages.len())?.clone();
    let place = |row: &Json| ages.iter().position(|age| age["from_ms"] == row["from_ms"]);
    let share = |at: usize| (at as f64 + 0.5) / ages.len() as f64;
    let curve = |(name, rows): &(String, Vec<Json>)| {
        let point = |row: &Json| {
            let read = row["reads"].as_u64().unwrap_or(0) > 0;
            Some((share(place(row)?), row["p_stale"].as_f64().filter(|_| read).map(|p| p * 100.0)))
        };
        Curve { name: name.clone(), points: rows.iter().filter_map(point).collect() }
    };
    let curves: Vec<Curve> = levels.iter().take(MOST).map(curve).collect();
    let most = highest(&curves)?;
    let bound = |ms: u64| if ms < 1000 { format!("{ms}") } else { format!("{}k", ms / 1000) };
    let name = |row: &Json| match (row["from_ms"].as_u64().unwrap_or(0), row["until_ms"].as_u64()) {
        (from, Some(until)) => format!("{}–{}", bound(from), bound(until)),
        (from, None) => format!("> {}", bound(from)),
    };
    let axes = Axes {
        about: "How many of the reads were stale, by the time since the last acknowledged write",
        below: "time since the last acknowledged write to the key, ms",
        across: ages.iter().enumerate().map(|(at, row)| (share(at), name(row))).collect(),
        most: if most > 0.0 { nice(most) } else { 1.0 },
        unit: " %",
        steps: false,
    };
    Some(drawn(&axes, &curves))
}

/// The highest value; `None` where there is none at all.
fn highest(curves: &[Curve]) -> Option<f64> {
    curves.iter().flat_map(|curve| &curve.points).filter_map(|(_, value)| *value).reduce(f64::max)
}

/// How much each node lacked, moment by moment: of what all agreed on after the heal or, where nodes deliver
/// messages, of what had been delivered anywhere. `None` where it was not recorded, or nobody ever lacked anything.
pub(super) fn convergence(history: &History) -> Option<String> {
    let settle_ns = history.phase_began_ns(Phase::Settle);
    let settled = settle_ns.map(|settle_ns| (settle_ns, replicas(history, settle_ns)));
    let settled = settled.filter(|(_, lacks)| !lacks.is_empty());
    let logs = || settle_ns.map(|settle_ns| (settle_ns, logs(history, settle_ns)));
    if let Some((from_ns, lacks)) = settled.or_else(logs).filter(|(_, lacks)| !lacks.is_empty()) {
        let what = "how many keys or entries each node still lacked, or held differently";
        return over_time(history, from_ns, what, "after the beginning of the settle phase", lacks);
    }
    let lacks = deliveries(history);
    over_time(history, 0, "how many messages each node still lacked", "since the run began", lacks)
}

/// By node: moments (ns) and how much it lacked then; `None`: it did not answer.
type Lacks = BTreeMap<Arc<str>, Vec<(u64, Option<f64>)>>;

fn over_time(history: &History, from_ns: u64, what: &str, since: &str, lacks: Lacks) -> Option<String> {
    let to_ns = lacks.values().flatten().map(|(ns, _)| *ns).max()?.max(from_ns + 1);
    let share = |ns: u64| ns.saturating_sub(from_ns) as f64 / (to_ns - from_ns) as f64;
    let rank = |node: &str| history.contract.nodes.iter().position(|id| id == node).unwrap_or(usize::MAX);
    let mut nodes: Vec<_> = lacks.into_iter().collect();
    nodes.sort_by_key(|(node, _)| rank(node));
    let curves: Vec<Curve> = nodes
        .into_iter()
        .take(MOST)
        .map(|(node, points)| Curve {
            name: clean(&node),
            points: corners(points).into_iter().map(|(ns, lack)| (share(ns), lack)).collect(),
        })
        .collect();
    let most = highest(&curves).filter(|most| *most > 0.0)?;
    let seconds = (to_ns - from_ns) as f64 / 1e9;
    let step = nice(seconds / 6.0);
    let digits = if step < 1.0 { (-step.log10()).ceil() as usize } else { 0 };
    let ticks = (0..=(seconds / step) as u64).map(|at| at as f64 * step);
    let axes = Axes {
        about: &format!("Convergence: {what}"),
        below: &format!("{what}, by seconds {since}"),
        across: ticks.map(|at| (at / seconds, format!("{at:.digits$}"))).collect(),
        most: nice(most),
        unit: "",
        steps: true,
    };
    Some(drawn(&axes, &curves))
}

/// Only the points at which something changes, and the last.
fn corners(points: Vec<(u64, Option<f64>)>) -> Vec<(u64, Option<f64>)> {
    let last = points.len().saturating_sub(1);
    let changes = |at: usize| at == 0 || at == last || points[at].1 != points[at - 1].1;
    (0..points.len()).filter(|at| changes(*at)).map(|at| points[at]).collect()
}

/// By the snapshots of the settle phase.
fn replicas(history: &History, settle_ns: u64) -> Lacks {
    let asked = || history.ops.iter().filter(|op| &*op.f == "snapshot" && op.invoked_ns >= settle_ns);
    let mut held: BTreeMap<&str, Vec<&Held>> = BTreeMap::new();
    for op in history.final_snapshots().values() {
        for (key, value) in op.snapshot.iter().flat_map(|snapshot| snapshot.iter()) {
            held.entry(key).or_default().push(value);
        }
    }
    let agreed: BTreeMap<&str, &Held> =
        held.into_iter().filter_map(|(key, all)| Some((key, newest(&all)?))).collect();
    let mut lacks = Lacks::new();
    for op in asked() {
        let Some(node) = &op.node else { continue };
        let lack = op.snapshot.as_ref().map(|snapshot| {
            let differs =
                |(key, agreed): (&&str, &&Held)| snapshot.get(*key).is_none_or(|held| !same(held, agreed));
            let more = snapshot.keys().filter(|key| !agreed.contains_key(&***key)).count();
            (agreed.iter().filter(|entry| differs(*entry)).count() + more) as f64
        });
        lacks.entry(node.clone()).or_default().push((op.returned_ns.unwrap_or(op.invoked_ns), lack));
    }
    lacks
}

/// Versions count where both are known.
fn same(left: &Held, right: &Held) -> bool {
    let versions =
        left.version.as_ref().zip(right.version.as_ref()).is_none_or(|(left, right)| left == right);
    left.value == right.value && versions
}

/// The newest by version; where there are none, what most hold.
fn newest<'a>(all: &[&'a Held]) -> Option<&'a Held> {
    if let Some(newest) = all.iter().filter(|held| held.version.is_some()).max_by_key(|held| &held.version) {
        return Some(newest);
    }
    all.iter().max_by_key(|held| all.iter().filter(|other| other.value == held.value).count()).copied()
}

/// By the logs that nodes showed in the settle phase: what they lack of the longest of each topic.
fn logs(history: &History, settle_ns: u64) -> Lacks {
    let shown = || {
        history.ops.iter().filter(|op| op.invoked_ns >= settle_ns).filter_map(|op| {
            Some((op, op.node.clone()?, op.key.clone().unwrap_or_else(|| "".into()), op.entries.as_deref()?))
        })
    };
    let mut last: BTreeMap<(Arc<str>, Arc<str>), &Vec<Entry>> = BTreeMap::new();
    for (_, node, topic, entries) in shown() {
        last.insert((topic, node), entries);
    }
    let mut whole: BTreeMap<Arc<str>, &Vec<Entry>> = BTreeMap::new();
    for ((topic, _), entries) in &last {
        let longest = whole.entry(topic.clone()).or_insert(entries);
        if entries.len() > longest.len() {
            *longest = entries;
        }
    }
    let mut known: BTreeMap<Arc<str>, BTreeMap<Arc<str>, usize>> = BTreeMap::new();
    let mut lacks = Lacks::new();
    for (op, node, topic, entries) in shown() {
        let Some(longest) = whole.get(&topic) else { continue };
        let same =
            entries.iter().zip(longest.iter()).take_while(|(left, right)| left.value == right.value).count();
        let topics = known.entry(node.clone()).or_default();
        topics.insert(topic, longest.len().saturating_sub(same));
        if topics.len() == whole.len() {
            let lack = topics.values().sum::<usize>() as f64;
            lacks.entry(node).or_default().push((op.returned_ns.unwrap_or(op.invoked_ns), Some(lack)));
        }
    }
    lacks
}

/// By what nodes delivered to their own users, over the whole run.
fn deliveries(history: &History) -> Lacks {
    let own = || history.deliveries.iter().filter(|delivery| delivery.subscriber.is_none());
    let Some(last_ns) = own().map(|delivery| delivery.time_ns).max() else { return Lacks::new() };
    let mut anywhere: HashSet<&Value> = HashSet::new();
    let mut at: HashMap<&str, HashSet<&Value>> = HashMap::new();
    let mut lacks = Lacks::new();
    let mut rest = own().peekable();
    for sample in 0..=SAMPLES {
        let until_ns = (u128::from(last_ns) * u128::from(sample) / u128::from(SAMPLES)) as u64;
        while let Some(delivery) = rest.next_if(|delivery| delivery.time_ns <= until_ns) {
            anywhere.insert(&delivery.entry.value);
            at.entry(&delivery.node).or_default().insert(&delivery.entry.value);
        }
        for node in &history.contract.nodes {
            let has = at.get(node.as_str()).map_or(0, HashSet::len);
            let lack = (anywhere.len() - has) as f64;
            lacks.entry(node.as_str().into()).or_default().push((until_ns, Some(lack)));
        }
    }
    lacks
}
