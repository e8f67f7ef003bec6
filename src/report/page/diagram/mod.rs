//! A violation's proof as a space-time diagram: nodes and clients as lines, time from left to right, operations as bars, and
//! messages between nodes as arrows.

mod axis;

use std::fmt::Write as _;

use super::escape;
use super::messages::{Message, Messages};
use crate::report::results::{ProofRow, Results, ViolationRow};
use crate::report::style::{clean, one_line};
use crate::report::violations::{value, version};
use axis::Axis;

/// Width of the drawing, in user units; the page scales it.
const WIDTH: f64 = 960.0;
/// Where the lines begin, right of their names.
const LEFT: f64 = 84.0;
/// Room right of the last moment.
const RIGHT: f64 = 24.0;
/// Height of one line of the drawing.
const ROW: f64 = 62.0;
/// Height of the line of a node that does nothing but send and receive.
const NODE_ROW: f64 = 44.0;
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
///
/// Of the messages it shows those that [`Messages::of`] chooses.
pub fn draw(results: &Results, violation: &ViolationRow, messages: &Messages) -> String {
    let ops: Vec<&ProofRow> = violation.proof.iter().take(MOST).collect();
    if ops.is_empty() {
        return String::new();
    }
    let chosen = messages.of(&ops);
    let axis = Axis::new(results, &ops, &chosen);
    let faults = axis.faults(results);
    let lanes = Lanes::new(&ops, &chosen, messages, HEAD + FAULT_ROW * faults.len() as f64);
    let floor = lanes.floor;
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
    for (lane, y) in &lanes.list {
        let name = escape(&one_line(&clean(lane), 11));
        let _ = write!(
            out,
            "<line class=\"lane\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{:.1}\" y2=\"{y}\"/>\
             <text class=\"lane-name\" x=\"6\" y=\"{:.1}\">{name}</text>",
            WIDTH - 8.0,
            y + 4.0
        );
    }
    for message in &chosen {
        arrow(&axis, message, messages, &lanes, &mut out);
    }
    for (number, op) in ops.iter().enumerate() {
        bar(&axis, op, number, &lanes, &mut out);
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

/// The lines, from top to bottom: clients first, then the nodes that messages go to and from.
struct Lanes {
    list: Vec<(String, f64)>,
    /// Below all of them.
    floor: f64,
}

impl Lanes {
    fn new(ops: &[&ProofRow], chosen: &[&Message], messages: &Messages, top: f64) -> Self {
        let mut lanes = Lanes { list: Vec::new(), floor: top };
        for op in ops {
            lanes.add(&lane(op), ROW);
        }
        let mut nodes: Vec<u16> = chosen.iter().flat_map(|message| [message.from, message.to]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes {
            lanes.add(messages.name(node), NODE_ROW);
        }
        lanes
    }

    fn add(&mut self, name: &str, height: f64) {
        if self.y(name).is_none() {
            self.list.push((name.to_owned(), self.floor + height - 20.0));
            self.floor += height;
        }
    }

    fn y(&self, name: &str) -> Option<f64> {
        self.list.iter().find(|(lane, _)| lane == name).map(|(_, y)| *y)
    }
}

/// What was lost breaks off on its way.
fn arrow(axis: &Axis, message: &Message, messages: &Messages, lanes: &Lanes, out: &mut String) {
    const HEAD: f64 = 7.0;
    let (from, to) = (messages.name(message.from), messages.name(message.to));
    let (Some(y1), Some(y2)) = (lanes.y(from), lanes.y(to)) else { return };
    let x1 = axis.x(message.sent_ms);
    let (x2, y2) = match message.received_ms {
        Some(ms) => (axis.x(ms), y2),
        None => (x1 + 14.0, y1 + (y2 - y1) * 0.6),
    };
    let length = (x2 - x1).hypot(y2 - y1).max(1.0);
    let (along, across) = ((x2 - x1) / length, (y2 - y1) / length);
    let took = match message.received_ms {
        Some(ms) => format!("{:.3} ms in the link", ms - message.sent_ms),
        None => "lost".to_owned(),
    };
    let about = format!("{from} to {to}, {} bytes at {:.3} s: {took}", message.bytes, message.sent_ms / 1e3);
    let class = if message.received_ms.is_some() { "message" } else { "message lost" };
    let _ = write!(
        out,
        "<g class=\"{class}\"><title>{}</title><line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>",
        escape(&clean(&about))
    );
    if message.received_ms.is_some() {
        let (bx, by) = (x2 - along * HEAD, y2 - across * HEAD);
        let (sx, sy) = (-across * HEAD * 0.4, along * HEAD * 0.4);
        let _ = write!(
            out,
            "<polygon points=\"{x2:.1},{y2:.1} {:.1},{:.1} {:.1},{:.1}\"/>",
            bx + sx,
            by + sy,
            bx - sx,
            by - sy
        );
    } else {
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">✕</text>", x2 - 5.0, y2 + 4.0);
    }
    out.push_str("</g>");
}

fn bar(axis: &Axis, op: &ProofRow, number: usize, lanes: &Lanes, out: &mut String) {
    let line = lanes.y(&lane(op)).unwrap_or(lanes.floor);
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
