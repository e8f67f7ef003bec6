//! The comparison for people: one line a cell.

use std::fmt::Write as _;

use super::{CellFigures, MatrixCell, MatrixSummary, Stale};
use crate::check::Verdict;
use crate::history::Level;
use crate::report::figures::duration;
use crate::report::style::{Paint, Style};
use crate::report::table::word;

/// How many cells that are not valid are told about below the tables.
const SHOWN_CELLS: usize = 8;

/// One column: its head, and a cell of the matrix to the text in it.
struct Column {
    head: String,
    texts: Vec<String>,
}

impl MatrixSummary {
    /// For people, ending in a newline.
    pub fn render(&self, style: &Style) -> String {
        let runs: usize = self.cells.iter().map(|cell| cell.runs.len()).sum();
        let planned: usize = self.axes.iter().map(|axis| axis.values.len()).product();
        let names: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
        let cells = if self.cells.len() == planned {
            format!("all {planned} cells")
        } else {
            format!("{} of {planned} cells", self.cells.len())
        };
        let line = format!("{} · {} · {cells} · {}", self.workload, names.join(" × "), count(runs, "run"));
        let mut out = format!("{}\n", style.paint(Paint::Strong, &style.wrap(&line, 2)));
        out.push_str(&self.tables(self.columns(), style));
        for level in self.stale_levels() {
            let line = format!(
                "P(stale) of {} by the time since the last acknowledged write to the key",
                reads(&level)
            );
            let _ = writeln!(out, "\n{}", style.paint(Paint::Strong, &style.wrap(&line, 2)));
            out.push_str(&self.tables(self.ages(&level), style));
        }
        out.push_str(&self.not_valid(style));
        out
    }

    /// The columns in as few tables as fit the width, the axes in front of each. Columns of one theme are kept together
    /// where they can be.
    fn tables(&self, themes: Vec<Vec<Column>>, style: &Style) -> String {
        let axis = |name: &String| Column {
            head: name.clone(),
            texts: self.cells.iter().map(|cell| shown(cell.cell.get(name))).collect(),
        };
        let axes: Vec<Column> = self.axes.iter().map(|known| axis(&known.name)).collect();
        let fits = |group: &[&Column]| {
            let (heads, rows) = laid_out(&axes, group);
            style.fits(&heads, &rows)
        };
        let mut groups: Vec<Vec<&Column>> = Vec::new();
        let mut add = |columns: Vec<_>| match groups.last_mut() {
            Some(group) if fits(&[group.as_slice(), &columns].concat()) => group.extend(columns),
            _ => groups.push(columns),
        };
        for theme in &themes {
            let columns: Vec<&Column> = theme.iter().collect();
            match fits(&columns) {
                true => add(columns),
                false => columns.into_iter().for_each(|column| add(vec![column])),
            }
        }
        let mut out = String::new();
        for group in &groups {
            let (heads, rows) = laid_out(&axes, group);
            let verdicts = heads.iter().position(|head| *head == VERDICT);
            let table = style.table(&heads, &rows, |column, text| {
                let first = text.split(' ').next().filter(|_| Some(column) == verdicts)?;
                [Verdict::Valid, Verdict::Unknown, Verdict::Invalid]
                    .into_iter()
                    .find(|verdict| word(*verdict) == first)
                    .map(Paint::of)
            });
            let _ = writeln!(out, "{table}");
        }
        out
    }

    fn column(&self, head: impl Into<String>, text: impl Fn(&MatrixCell) -> String) -> Column {
        Column { head: head.into(), texts: self.cells.iter().map(text).collect() }
    }

    /// The columns for which some cell has a figure, by theme.
    fn columns(&self) -> Vec<Vec<Column>> {
        let mut themes = vec![self.outcomes()];
        themes.extend(self.levels().iter().map(|level| self.staleness(level)));
        themes.extend([self.writes(), self.latencies(), self.rates()]);
        themes.retain(|theme| !theme.is_empty());
        themes
    }

    fn outcomes(&self) -> Vec<Column> {
        let mut columns = vec![self.column(VERDICT, verdict), self.column("violations", violations)];
        if self.cells.iter().any(|cell| quorums(&cell.figures).is_some()) {
            columns.insert(0, self.column("R+W : N", |cell| or_dash(quorums(&cell.figures))));
        }
        columns
    }

    fn staleness(&self, level: &str) -> Vec<Column> {
        let mut columns = vec![
            self.column(format!("stale {}", reads(level)), |cell| or_dash(measured(cell, level).map(share))),
        ];
        if self.cells.iter().any(|cell| stale(cell, level).is_some()) {
            columns
                .push(self.column("behind p50/max ms", |cell| or_dash(stale(cell, level).and_then(behind))));
            columns.push(self.column("versions behind", |cell| {
                or_dash(stale(cell, level).map(|stale| stale.versions_behind_max.to_string()))
            }));
        }
        columns
    }

    fn writes(&self) -> Vec<Column> {
        let column = |nodes_out: u64| {
            let head = match nodes_out {
                0 => "writes ok, all nodes up".to_owned(),
                1 => "writes ok, 1 node down".to_owned(),
                several => format!("writes ok, {several} nodes down"),
            };
            self.column(head, |cell| or_dash(writes_ok(&cell.figures, nodes_out)))
        };
        self.nodes_out().into_iter().map(column).collect()
    }

    fn latencies(&self) -> Vec<Column> {
        let column =
            |f: &String| self.column(format!("{f} p50/p99 ms"), |cell| or_dash(latency(&cell.figures, f)));
        self.operations().iter().map(column).collect()
    }

    fn rates(&self) -> Vec<Column> {
        vec![
            self.column("ok", |cell| of_all(cell.figures.ok, &cell.figures)),
            self.column("fail", |cell| of_all(cell.figures.fail, &cell.figures)),
            self.column("info", |cell| of_all(cell.figures.info, &cell.figures)),
        ]
    }

    /// P(stale) of one level by age; ages in which no cell had a read are left out.
    fn ages(&self, level: &str) -> Vec<Vec<Column>> {
        let all = self.cells.iter().filter_map(|cell| measured(cell, level)).flat_map(|stale| &stale.by_age);
        let mut bounds: Vec<(u64, Option<u64>)> =
            all.filter(|age| age.reads > 0).map(|age| (age.from_ms, age.until_ms)).collect();
        bounds.sort_unstable_by_key(|(from_ms, _)| *from_ms);
        bounds.dedup();
        let column = |(from_ms, until_ms): (u64, Option<u64>)| {
            let head = match until_ms {
                Some(until_ms) if from_ms == 0 => format!("under {}", duration(until_ms as f64)),
                Some(until_ms) => format!("to {}", duration(until_ms as f64)),
                None => format!("over {}", duration(from_ms as f64)),
            };
            self.column(head, |cell| {
                let ages = measured(cell, level).map(|stale| stale.by_age.as_slice()).unwrap_or_default();
                let age = ages.iter().find(|age| age.from_ms == from_ms && age.reads > 0);
                or_dash(age.map(|age| percent(age.stale, age.reads)))
            })
        };
        vec![bounds.into_iter().map(column).collect()]
    }

    /// Levels of which some cell has reads.
    fn levels(&self) -> Vec<String> {
        let any = |f: &str| self.cells.iter().any(|cell| measured(cell, f).is_some());
        Level::ALL.iter().map(|(_, name)| (*name).to_owned()).filter(|name| any(name)).collect()
    }

    /// Levels of which some cell has stale reads.
    fn stale_levels(&self) -> Vec<String> {
        let any = |f: &String| self.cells.iter().any(|cell| stale(cell, f).is_some());
        self.levels().into_iter().filter(any).collect()
    }

    fn nodes_out(&self) -> Vec<u64> {
        let mut all: Vec<u64> =
            self.cells.iter().flat_map(|cell| &cell.figures.writes).map(|writes| writes.nodes_out).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Operations some cell has a latency of, reads first.
    fn operations(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for latency in self.cells.iter().flat_map(|cell| &cell.figures.latency) {
            if !all.contains(&latency.f) {
                all.push(latency.f.clone());
            }
        }
        all
    }

    /// The cells that are not valid and why, the first of them with the command that runs it again; or that all are.
    fn not_valid(&self, style: &Style) -> String {
        let mut out = String::new();
        let mut listed: Vec<&MatrixCell> =
            self.cells.iter().filter(|cell| cell.verdict != Verdict::Valid).collect();
        if listed.is_empty() {
            let line = match self.cells.len() {
                0 => "no cell was run".to_owned(),
                1 => "the cell was valid".to_owned(),
                count => format!("all {count} cells were valid"),
            };
            let paint = if self.cells.is_empty() { Paint::Doubt } else { Paint::Good };
            let _ = writeln!(out, "{}", style.paint(paint, &line));
            return out;
        }
        // Stable: the worst first, else in the order they were run.
        listed.sort_by_key(|cell| std::cmp::Reverse(cell.verdict));
        out.push('\n');
        for cell in listed.iter().take(SHOWN_CELLS) {
            let run = cell.runs.iter().find(|run| run.verdict == cell.verdict);
            let why = run.and_then(|run| run.why.first()).map(|why| format!(": {why}")).unwrap_or_default();
            let line = format!("{} {}{why}", self.name(cell), word(cell.verdict));
            let _ = writeln!(out, "{}", style.paint(Paint::of(cell.verdict), &style.wrap(&line, 2)));
        }
        let hidden = listed.len().saturating_sub(SHOWN_CELLS);
        if hidden > 0 {
            let _ = writeln!(out, "and {hidden} more in matrix.json");
        }
        if let Some(run) = listed[0].runs.iter().find(|run| run.verdict == listed[0].verdict) {
            if let Some(folder) = &run.folder {
                let _ = writeln!(out, "Everything the first of them left is in {}", style.text(folder));
            }
            if !run.rerun.is_empty() {
                let _ = writeln!(out, "Run it again with the same seed:\n  {}", style.text(&run.rerun));
            }
        }
        out
    }

    /// `W=1 R=3`
    fn name(&self, cell: &MatrixCell) -> String {
        let pair = |name: &String| format!("{name}={}", shown(cell.cell.get(name)));
        self.axes.iter().map(|axis| pair(&axis.name)).collect::<Vec<_>>().join(" ")
    }
}

/// A value, which may be empty.
fn shown(value: Option<&String>) -> String {
    value.filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| "\"\"".to_owned())
}

const VERDICT: &str = "verdict";

fn laid_out<'c>(axes: &'c [Column], group: &[&'c Column]) -> (Vec<&'c str>, Vec<Vec<String>>) {
    let all: Vec<&Column> = axes.iter().chain(group.iter().copied()).collect();
    let heads = all.iter().map(|column| column.head.as_str()).collect();
    let count = all.iter().map(|column| column.texts.len()).max().unwrap_or(0);
    let row =
        |at: usize| all.iter().map(|column| column.texts.get(at).cloned().unwrap_or_default()).collect();
    (heads, (0..count).map(row).collect())
}

fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// `strong-read` as its reads: `strong reads`.
fn reads(f: &str) -> String {
    format!("{}s", f.replace('-', " "))
}

/// The reads of a level, where there are any.
fn measured<'c>(cell: &'c MatrixCell, f: &str) -> Option<&'c Stale> {
    cell.figures.staleness.iter().find(|stale| stale.f == f && stale.reads > 0)
}

/// The same, where any of them was stale.
fn stale<'c>(cell: &'c MatrixCell, f: &str) -> Option<&'c Stale> {
    measured(cell, f).filter(|stale| stale.stale > 0)
}

/// `12.5/81.3`: how long they were behind, median and longest, ms.
fn behind(stale: &Stale) -> Option<String> {
    Some(format!("{:.1}/{:.1}", stale.behind_p50_ms?, stale.behind_max_ms?))
}

/// `4 > 3`: whether a read quorum and a write quorum always meet.
fn quorums(figures: &CellFigures) -> Option<String> {
    let sum = figures.read_quorum? + figures.write_quorum?;
    let sign = if sum > figures.nodes { '>' } else { '≤' };
    Some(format!("{sum} {sign} {}", figures.nodes))
}

/// `valid`; of several runs that did not all come out alike `invalid 2/3`.
fn verdict(cell: &MatrixCell) -> String {
    let alike = cell.runs.iter().filter(|run| run.verdict == cell.verdict).count();
    match cell.runs.len() {
        total if alike < total => format!("{} {alike}/{total}", word(cell.verdict)),
        _ => word(cell.verdict).to_owned(),
    }
}

/// `quorum 3, lww 1`
fn violations(cell: &MatrixCell) -> String {
    let some = cell.figures.violations.iter().filter(|(_, total)| **total > 0);
    let all: Vec<String> = some.map(|(check, total)| format!("{check} {total}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// `none`, or how many and which share: `3 (0.4%)`.
fn share(stale: &Stale) -> String {
    match stale.stale {
        0 => "none".to_owned(),
        count => format!("{count} ({})", percent(count, stale.reads)),
    }
}

/// One decimal; what is neither none nor all never reads as if it were.
fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    match format!("{share:.1}%").as_str() {
        "0.0%" if part > 0 => "<0.1%".to_owned(),
        "0.0%" => "0%".to_owned(),
        "100.0%" if part < whole => ">99.9%".to_owned(),
        "100.0%" => "100%".to_owned(),
        text => text.to_owned(),
    }
}

fn writes_ok(figures: &CellFigures, nodes_out: u64) -> Option<String> {
    let writes = figures.writes.iter().find(|writes| writes.nodes_out == nodes_out)?;
    Some(percent(writes.ok, writes.ok + writes.fail + writes.info))
}

fn latency(figures: &CellFigures, f: &str) -> Option<String> {
    let latency = figures.latency.iter().find(|latency| latency.f == f)?;
    Some(format!("{:.1}/{:.1}", latency.p50_ms, latency.p99_ms))
}

fn of_all(part: u64, figures: &CellFigures) -> String {
    percent(part, figures.ok + figures.fail + figures.info)
}
