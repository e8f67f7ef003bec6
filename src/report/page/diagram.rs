//! A violation's proof as a space-time diagram: nodes and clients as lines, time from left to right, operations as bars.

use std::fmt::Write as _;

use super::escape;
use crate::report::results::{ProofRow, Results, ViolationRow};
use crate::report::style::{clean, one_line};
use crate::report::violations::{value, version};

/// Width of the drawing, in user units; the page scales it.
const WIDTH: f64 = 960.0;
/// Where the lines begin, right of their names.
const LEFT: f64 = 84.0;
/// Room right of the last moment.
const RIGHT: f64 = 24.0;
/// Height of one line of the drawing.
const ROW: f64 = 62.0;
/// Room above everything.
const HEAD: f64 = 8.0;
/// Height of one fault's name.
const FAULT_ROW: f64 = 16.0;
/// Narrowest bar, so that an operation of a microsecond is seen.
const THINNEST: f64 = 5.0;
/// Average width of a letter of a label, at 12 units high.
const LETTER: f64 = 6.7;
/// Operations beyond these are in the table beside, not in the picture.
const MOST: usize = 40;

/// The drawing as an SVG element; empty where no operation of the proof is known.
///
/// Moments are placed in their order, at distances that grow with the logarithm of the time between them: a proof often has
/// two operations a millisecond long and ten seconds apart, and a true scale would show two dots.
pub fn draw(results: &Results, violation: &ViolationRow) -> String {
    let ops: Vec<&ProofRow> = violation.proof.iter().take(MOST).collect();
    if ops.is_empty() {
        return String::new();
    }
    let axis = Axis::new(results, &ops);
    let lanes = lanes(&ops);
    let faults = axis.faults(results);
    let top = HEAD + FAULT_ROW * faults.len() as f64;
    let floor = top + ROW * lanes.len() as f64;
    let mut out = String::new();
    let height = floor + 30.0;
    let about = format!("Space-time diagram of {}: {}", violation.kind, violation.story);
    let _ = write!(
        out,
        "<svg class=\"diagram\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(&one_line(&clean(&about), 300))
    );
    for (at, (label, from, to)) in faults.iter().enumerate() {
        let y = 4.0 + FAULT_ROW * at as f64;
        let name = escape(&one_line(&clean(label), ((WIDTH - from) / LETTER).max(8.0) as usize));
        let _ = write!(
            out,
            "<rect class=\"fault\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <text class=\"fault-name\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            (to - from).max(2.0),
            floor - y,
            from + 4.0,
            y + 12.0
        );
    }
    for (at, lane) in lanes.iter().enumerate() {
        let y = top + ROW * at as f64 + 42.0;
        let name = escape(&one_line(&clean(lane), 11));
        let _ = write!(
            out,
            "<line class=\"lane\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{:.1}\" y2=\"{y}\"/>\
             <text class=\"lane-name\" x=\"6\" y=\"{:.1}\">{name}</text>",
            WIDTH - 8.0,
            y + 4.0
        );
    }
    for (number, op) in ops.iter().enumerate() {
        bar(&axis, op, number, &lanes, top, &mut out);
    }
    for (ms, x) in axis.ticks() {
        let _ = write!(
            out,
            "<line class=\"tick\" x1=\"{x:.1}\" y1=\"{floor:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
             <text class=\"tick-name\" x=\"{x:.1}\" y=\"{:.1}\">{:.3} s</text>",
            floor + 5.0,
            floor + 19.0,
            ms / 1e3
        );
    }
    out.push_str("</svg>");
    out
}

/// Whose line an operation is on: its client's, or that of the node that did it on its own.
fn lane(op: &ProofRow) -> String {
    match (op.process, &op.node) {
        (Some(process), Some(node)) => format!("p{process} at {node}"),
        (Some(process), None) => format!("p{process}"),
        (None, Some(node)) => node.clone(),
        (None, None) => "?".to_owned(),
    }
}

fn lanes(ops: &[&ProofRow]) -> Vec<String> {
    let mut lanes: Vec<String> = Vec::new();
    for op in ops {
        let lane = lane(op);
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }
    lanes
}

fn bar(axis: &Axis, op: &ProofRow, number: usize, lanes: &[String], top: f64, out: &mut String) {
    let row = lanes.iter().position(|name| *name == lane(op)).unwrap_or(0);
    let line = top + ROW * row as f64 + 42.0;
    let from = axis.x(op.invoked_ms);
    // What was never answered may still take effect: its bar has no end.
    let open = op.returned_ms.is_none();
    let to = op.returned_ms.map_or(WIDTH - 8.0, |ms| axis.x(ms)).max(from + THINNEST);
    let class = match &*op.outcome {
        "ok" => "ok",
        "fail" => "fail",
        _ => "info",
    };
    let saw = op.f == "write" || op.outcome == "ok";
    let shown = if saw { format!(" {}", value(&op.value)) } else { format!(" ({})", op.outcome) };
    let stamp = op.version.as_ref().map(|found| format!(" · {}", version(found))).unwrap_or_default();
    let label = clean(&one_line(&format!("{}{shown}{stamp}", op.f), 48));
    let width = label.chars().count() as f64 * LETTER;
    let x = from.min(WIDTH - 8.0 - width).max(LEFT);
    // Labels of one line would often overlap: every other one is a step higher.
    let y = line - if number.is_multiple_of(2) { 12.0 } else { 26.0 };
    let _ = write!(
        out,
        "<g class=\"op {class}\"><title>operation {}</title>\
         <rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>\
         <text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        op.op,
        line - 7.0,
        to - from,
        escape(&label)
    );
    if open {
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">…</text>", WIDTH - 12.0, line + 4.0);
    }
    out.push_str("</g>");
}

/// Moments in their order, with a place for each.
struct Axis {
    places: Vec<(f64, f64)>,
}

impl Axis {
    /// Of the operations, and of what faults began or ended between them.
    fn new(results: &Results, ops: &[&ProofRow]) -> Self {
        let mut moments: Vec<f64> =
            ops.iter().flat_map(|op| [Some(op.invoked_ms), op.returned_ms]).flatten().collect();
        let first = moments.iter().copied().fold(f64::INFINITY, f64::min);
        let last = moments.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let edges = results.faults.iter().flat_map(|fault| [Some(fault.began_ms), fault.ended_ms]).flatten();
        moments.extend(edges.map(|ms| ms as f64).filter(|ms| first < *ms && *ms < last));
        moments.sort_by(f64::total_cmp);
        moments.dedup();
        let mut sums = vec![0.0];
        for pair in moments.windows(2) {
            let step = 1.0 + (1.0 + (pair[1] - pair[0])).ln();
            sums.push(sums.last().copied().unwrap_or(0.0) + step);
        }
        let whole = sums.last().copied().unwrap_or(0.0).max(1.0);
        let room = WIDTH - LEFT - RIGHT - 40.0;
        let place = |(ms, sum): (f64, f64)| (ms, LEFT + 20.0 + room * sum / whole);
        Axis { places: moments.into_iter().zip(sums).map(place).collect() }
    }

    /// Where `ms` is: the last known moment that is not after it, else the edge.
    fn x(&self, ms: f64) -> f64 {
        let after = self.places.partition_point(|(moment, _)| *moment <= ms);
        match after.checked_sub(1) {
            Some(at) => self.places[at].1,
            None => LEFT,
        }
    }

    /// Faults in force at some moment of the picture: label, from, to.
    fn faults<'a>(&self, results: &'a Results) -> Vec<(&'a str, f64, f64)> {
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else { return Vec::new() };
        let inside = results.faults.iter().filter(|fault| {
            (fault.began_ms as f64) <= last.0 && fault.ended_ms.is_none_or(|ms| ms as f64 >= first.0)
        });
        let place = |fault: &'a crate::report::results::FaultRow| {
            let from = self.x(fault.began_ms as f64);
            let to = fault.ended_ms.map(|ms| ms as f64).filter(|ms| *ms <= last.0);
            (&*fault.label, from, to.map_or(WIDTH - 8.0, |ms| self.x(ms)))
        };
        inside.take(8).map(place).collect()
    }

    /// Moments that have room for their name.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let mut shown: Vec<(f64, f64)> = Vec::new();
        for place in &self.places {
            if shown.last().is_none_or(|(_, x)| place.1 - x > 80.0) {
                shown.push(*place);
            }
        }
        shown
    }
}
