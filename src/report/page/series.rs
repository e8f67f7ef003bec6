//! Latency and rate over time as pictures that need no script: for paper, for mail, for `--svg`.

use std::fmt::Write as _;

use super::{escape, shown};
use crate::history::{History, Op, Outcome, Phase};
use crate::report::style::{clean, one_line};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 26.0;
/// Height of a line of faults' names.
const NAME: f64 = 15.0;
/// Most lines of faults' names.
const NAME_LINES: usize = 3;
/// Height of the legend, above everything.
const LEGEND: f64 = 18.0;
/// Most buckets of time.
const BUCKETS: usize = 120;
/// Operations that a bucket should have on the average: a quantile of a handful is the handful.
const PER_BUCKET: usize = 20;
/// Average width of a letter at 11 units high.
const LETTER: f64 = 6.2;

/// The pictures: a name for a file, what is to be seen, the SVG element.
pub(super) fn pictures(history: &History) -> Vec<(&'static str, String, String)> {
    let ops: Vec<&Op> = history.ops.iter().filter(|op| op.is_load()).collect();
    let Some(frame) = Frame::new(history, &ops) else { return Vec::new() };
    let mut pictures = vec![(
        "rate",
        "Operations a second over time, by how they ended. Shaded: faults in force.".to_owned(),
        frame.rate(&ops),
    )];
    if let Some(latency) = frame.latency(&ops) {
        let about = "Latency of the operations that ended ok, over time. Shaded: faults in force.";
        pictures.insert(0, ("latency", about.to_owned(), latency));
    }
    pictures
}

struct Frame<'a> {
    history: &'a History,
    from_ns: u64,
    to_ns: u64,
    top: f64,
    buckets: usize,
    /// Names of faults that have room: text, x, line.
    names: Vec<(String, f64, usize)>,
}

impl<'a> Frame<'a> {
    fn new(history: &'a History, ops: &[&Op]) -> Option<Self> {
        let from_ns = ops.iter().map(|op| op.invoked_ns).min()?;
        let last = |op: &&Op| op.returned_ns.unwrap_or(op.invoked_ns);
        let to_ns = ops.iter().map(last).max()?.max(from_ns + 1_000_000);
        let buckets = (ops.len() / PER_BUCKET).clamp(1, BUCKETS);
        let mut frame = Frame { history, from_ns, to_ns, top: LEGEND + 2.0, buckets, names: Vec::new() };
        let mut ends: Vec<f64> = Vec::new();
        for fault in &history.faults {
            let (left, right) = frame.of_fault(fault.began_ns, fault.ended_ns);
            if fault.began_ns > to_ns || right <= LEFT {
                continue;
            }
            let name = clean(&one_line(&fault.label, 40));
            let width = name.chars().count() as f64 * LETTER + 8.0;
            let x = left.min(WIDTH - RIGHT - width).max(LEFT);
            let line = ends.iter().position(|end| *end <= x).unwrap_or(ends.len());
            if line >= NAME_LINES {
                continue;
            }
            if line == ends.len() {
                ends.push(0.0);
            }
            ends[line] = right.max(x + width);
            frame.names.push((name, x, line));
        }
        frame.top += NAME * ends.len() as f64;
        Some(frame)
    }

    fn x(&self, ns: u64) -> f64 {
        let share = ns.saturating_sub(self.from_ns) as f64 / (self.to_ns - self.from_ns) as f64;
        LEFT + share.min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn of_fault(&self, began_ns: u64, ended_ns: Option<u64>) -> (f64, f64) {
        (self.x(began_ns), self.x(ended_ns.unwrap_or(u64::MAX)))
    }

    fn floor(&self) -> f64 {
        HEIGHT - BOTTOM
    }

    fn bucket(&self, ns: u64) -> usize {
        let share = ns.saturating_sub(self.from_ns) as f64 / (self.to_ns - self.from_ns) as f64;
        ((share * self.buckets as f64) as usize).min(self.buckets - 1)
    }

    /// Middle of a bucket.
    fn middle(&self, bucket: usize) -> f64 {
        LEFT + (bucket as f64 + 0.5) * (WIDTH - LEFT - RIGHT) / self.buckets as f64
    }

    /// Frame, faults and times around `inside`.
    fn drawn(&self, about: &str, inside: &str) -> String {
        let floor = self.floor();
        let mut out = format!(
            "<svg class=\"diagram\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(about)
        );
        for fault in &self.history.faults {
            let (left, right) = self.of_fault(fault.began_ns, fault.ended_ns);
            if fault.began_ns <= self.to_ns && right > LEFT {
                let _ = write!(
                    out,
                    "<rect class=\"fault\" x=\"{left:.1}\" y=\"{LEGEND}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    (right - left).max(2.0),
                    floor - LEGEND
                );
            }
        }
        for (name, x, line) in &self.names {
            let _ = write!(
                out,
                "<text class=\"fault-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 3.0,
                LEGEND + 11.0 + NAME * *line as f64,
                shown(name)
            );
        }
        if let Some(heal_ns) = self.history.phase_began_ns(Phase::Heal).filter(|ns| *ns < self.to_ns) {
            let x = self.x(heal_ns);
            let _ = write!(
                out,
                "<line class=\"tick\" stroke-dasharray=\"3 3\" x1=\"{x:.1}\" y1=\"{LEGEND}\" x2=\"{x:.1}\" y2=\"{floor:.1}\"/>"
            );
        }
        out.push_str(inside);
        let _ = write!(
            out,
            "<line class=\"tick\" x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{:.1}\" y2=\"{floor}\"/>",
            WIDTH - RIGHT
        );
        let step = nice((self.to_ns - self.from_ns) as f64 / 1e9 / 8.0);
        let mut at = (self.from_ns as f64 / 1e9 / step).ceil() as u64;
        while at as f64 * step * 1e9 <= self.to_ns as f64 {
            let seconds = at as f64 * step;
            let x = self.x((seconds * 1e9) as u64);
            let digits = if step < 1.0 { (-step.log10()).ceil() as usize } else { 0 };
            let _ = write!(
                out,
                "<text class=\"tick-name\" x=\"{x:.1}\" y=\"{:.1}\">{seconds:.digits$} s</text>",
                floor + 16.0
            );
            at += 1;
        }
        out.push_str("</svg>");
        out
    }

    /// A line across with its number.
    fn level(out: &mut String, y: f64, name: &str) {
        let _ = write!(
            out,
            "<line class=\"lane\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"level\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }

    fn rate(&self, ops: &[&Op]) -> String {
        let mut counts = vec![[0_u64; 3]; self.buckets];
        for op in ops {
            counts[self.bucket(op.invoked_ns)][place(op.outcome)] += 1;
        }
        let most = counts.iter().map(|count| count.iter().sum()).max().unwrap_or(1).max(1) as f64;
        let seconds = (self.to_ns - self.from_ns) as f64 / 1e9 / self.buckets as f64;
        let room = self.floor() - self.top - 4.0;
        let mut inside = String::new();
        let step = nice(most / seconds / 3.0);
        let mut rate = step;
        while rate <= most / seconds {
            Self::level(&mut inside, self.floor() - rate * seconds / most * room, &format!("{rate}/s"));
            rate += step;
        }
        let width = (WIDTH - LEFT - RIGHT) / self.buckets as f64;
        for (bucket, count) in counts.iter().enumerate() {
            let mut floor = self.floor();
            for (number, class) in count.iter().zip(["ok", "fail", "info"]) {
                if *number == 0 {
                    continue;
                }
                let height = *number as f64 / most * room;
                floor -= height;
                let _ = write!(
                    inside,
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{floor:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    LEFT + bucket as f64 * width,
                    width - 0.5
                );
            }
        }
        legend(&mut inside, &[("ok", "ok"), ("fail", "fail"), ("info", "info")]);
        self.drawn("Operations a second over time", &inside)
    }

    /// p50, p95 and p99 over time; `None` where nothing was answered.
    fn latency(&self, ops: &[&Op]) -> Option<String> {
        let mut buckets: Vec<Vec<u64>> = vec![Vec::new(); self.buckets];
        for op in ops.iter().filter(|op| op.outcome == Outcome::Ok) {
            let returned_ns = op.returned_ns?;
            buckets[self.bucket(op.invoked_ns)].push(returned_ns.saturating_sub(op.invoked_ns).max(1000));
        }
        buckets.iter_mut().for_each(|bucket| bucket.sort_unstable());
        let low = buckets
            .iter()
            .filter_map(|bucket| bucket.first())
            .min()
            .map(|ns| (*ns as f64).log10().floor())?;
        let high =
            buckets.iter().filter_map(|bucket| bucket.last()).max().map(|ns| (*ns as f64).log10().ceil())?;
        let high = high.max(low + 1.0);
        let y = |ns: u64| {
            let share = ((ns as f64).log10() - low) / (high - low);
            self.floor() - share * (self.floor() - self.top - 4.0)
        };
        let mut inside = String::new();
        for decade in low as u32..=high as u32 {
            let ns = 10_u64.pow(decade);
            Self::level(&mut inside, y(ns), &time(ns));
        }
        let lines = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
        for (class, quantile) in lines {
            let mut path = String::new();
            let mut drawing = false;
            for (at, bucket) in buckets.iter().enumerate() {
                let rank = (bucket.len() as f64 * quantile).ceil() as usize;
                let Some(ns) = rank.checked_sub(1).and_then(|rank| bucket.get(rank)) else {
                    drawing = false;
                    continue;
                };
                let (x, y) = (self.middle(at), y(*ns));
                // A bucket between two empty ones is a short line, not an invisible point.
                let _ = match drawing {
                    true => write!(path, "L{x:.1} {y:.1}"),
                    false => write!(path, "M{:.1} {y:.1}L{x:.1} {y:.1}", x - 2.0),
                };
                drawing = true;
            }
            let _ = write!(inside, "<path class=\"{class}\" d=\"{path}\"/>");
        }
        legend(&mut inside, &lines.map(|(name, _)| (name, name)));
        Some(self.drawn("Latency quantiles over time", &inside))
    }
}

/// Names of what is drawn, at the upper right, where nothing else is.
fn legend(out: &mut String, names: &[(&str, &str)]) {
    let mut x = WIDTH - RIGHT - names.len() as f64 * 62.0;
    for (class, name) in names {
        let y = LEGEND / 2.0;
        let _ = match class.starts_with('p') {
            true => write!(out, "<path class=\"{class}\" d=\"M{x:.1} {y:.1}l18 0\"/>"),
            false => {
                write!(
                    out,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"14\" height=\"9\"/>",
                    y - 5.0
                )
            }
        };
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{name}</text>", x + 22.0, y + 4.0);
        x += 62.0;
    }
}

fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Info => 2,
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `rough`.
pub(super) fn nice(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(power * 10.0)
}

/// A power of ten of nanoseconds for people.
fn time(ns: u64) -> String {
    match ns {
        ns if ns >= 1_000_000_000 => format!("{} s", ns / 1_000_000_000),
        ns if ns >= 1_000_000 => format!("{} ms", ns / 1_000_000),
        ns => format!("{} µs", ns / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (rough, step) in [(0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (0.03, 0.05), (60.0, 100.0), (450.0, 500.0)]
        {
            assert!((nice(rough) - step).abs() < 1e-9, "{rough}: {}", nice(rough));
        }
    }
}
