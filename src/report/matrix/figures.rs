//! What is compared of the runs of one cell: figures that their checks measured, taken from `results.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::history::Level;
use crate::report::results::{CheckRow, Results};

/// The figures of one cell, over all its runs: counts are sums, quantiles the medians of the runs' own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellFigures {
    /// Operations that happened.
    pub ok: u64,
    /// Operations that certainly did not.
    pub fail: u64,
    /// Operations of which nobody knows.
    pub info: u64,
    /// W, where it was declared.
    pub write_quorum: Option<u64>,
    /// R, where it was declared.
    pub read_quorum: Option<u64>,
    /// N: how many nodes there are.
    pub nodes: u64,
    /// Violations by check, those without any too.
    pub violations: BTreeMap<String, u64>,
    /// One an operation, reads first.
    pub latency: Vec<Latency>,
    /// Writes of all kinds by how many nodes were out of service meanwhile.
    pub writes: Vec<Writes>,
    /// How old reads were, by their level.
    pub staleness: Vec<Stale>,
}

/// How fast an operation was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The operation.
    pub f: String,
    /// Median, ms.
    pub p50_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
}

/// What became of writes while so many nodes were out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// How many were down or stopped.
    pub nodes_out: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Certainly not done.
    pub fail: u64,
    /// Unknown.
    pub info: u64,
}

/// How old the reads of one level were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stale {
    /// The operation: `strong-read` …
    pub f: String,
    /// Reads that could be judged.
    pub reads: u64,
    /// Those that missed an acknowledged write.
    pub stale: u64,
    /// The most versions one was behind.
    pub versions_behind_max: u64,
    /// How long the stale ones were behind, median, ms.
    pub behind_p50_ms: Option<f64>,
    /// The longest any was behind, ms.
    pub behind_max_ms: Option<f64>,
    /// The same by the time since the last acknowledged write to the key.
    pub by_age: Vec<Age>,
}

/// The reads of one age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Age {
    /// At least so long after the last acknowledged write, ms.
    pub from_ms: u64,
    /// Less than so long, ms; `null`: no matter how long.
    pub until_ms: Option<u64>,
    /// Reads that could be judged.
    pub reads: u64,
    /// Stale ones.
    pub stale: u64,
}

/// Gathers the figures of one cell, run by run.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    sums: CellFigures,
    latency: BTreeMap<String, Vec<(f64, f64)>>,
    behind: BTreeMap<String, Vec<f64>>,
}

impl Gathering {
    /// Takes in one more run.
    pub fn push(&mut self, results: &Results) {
        let sums = &mut self.sums;
        sums.ok += results.load.ok;
        sums.fail += results.load.fail;
        sums.info += results.load.info;
        sums.write_quorum = results.write_quorum;
        sums.read_quorum = results.read_quorum;
        sums.nodes = results.nodes.len() as u64;
        for check in &results.checks {
            *sums.violations.entry(check.name.clone()).or_default() += check.violations_total;
        }
        if let Some(check) = find(results, "availability") {
            self.availability(&check.stats);
        }
        if let Some(check) = find(results, "staleness") {
            match check.stats.get("levels").and_then(Json::as_object) {
                Some(levels) => {
                    levels
                        .iter()
                        .filter_map(|(f, stats)| Some((f, stats.as_object()?)))
                        .for_each(|(f, stats)| self.staleness(f, stats));
                }
                None => self.staleness("read", &check.stats),
            }
        }
    }

    fn availability(&mut self, stats: &Map<String, Json>) {
        for row in rows(stats, "operations") {
            let (Some(f), Some(p50), Some(p99)) =
                (text(row, "f"), float(row, "p50_ms"), float(row, "p99_ms"))
            else {
                continue;
            };
            self.latency.entry(f.to_owned()).or_default().push((p50, p99));
        }
        for row in rows(stats, "nodes_out") {
            let (Some(f), Some(nodes_out)) = (text(row, "f"), whole(row, "nodes_out")) else { continue };
            if Level::of(f).is_some() {
                continue;
            }
            let writes = &mut self.sums.writes;
            let at = writes.iter().position(|known| known.nodes_out == nodes_out).unwrap_or_else(|| {
                writes.push(Writes { nodes_out, ..Writes::default() });
                writes.len() - 1
            });
            let known = &mut writes[at];
            known.ok += whole(row, "ok").unwrap_or_default();
            known.fail += whole(row, "fail").unwrap_or_default();
            known.info += whole(row, "info").unwrap_or_default();
        }
        self.sums.writes.sort_by_key(|writes| writes.nodes_out);
    }

    fn staleness(&mut self, f: &str, stats: &Map<String, Json>) {
        let known = &mut self.sums.staleness;
        let at = known.iter().position(|known| known.f == f).unwrap_or_else(|| {
            known.push(Stale { f: f.to_owned(), ..Stale::default() });
            known.len() - 1
        });
        let known = &mut known[at];
        let before = known.stale;
        for row in rows(stats, "by_age") {
            let (Some(reads), Some(p_stale)) = (whole(row, "reads"), float(row, "p_stale")) else { continue };
            let (from_ms, until_ms) = (whole(row, "from_ms").unwrap_or_default(), whole(row, "until_ms"));
            let stale = (p_stale * reads as f64).round() as u64;
            known.reads += reads;
            known.stale += stale;
            match known.by_age.iter_mut().find(|age| age.from_ms == from_ms) {
                Some(age) => (age.reads, age.stale) = (age.reads + reads, age.stale + stale),
                None => known.by_age.push(Age { from_ms, until_ms, reads, stale }),
            }
        }
        if known.stale == before {
            return;
        }
        let versions = stats.get("versions_behind").and_then(|versions| whole(versions, "max"));
        known.versions_behind_max = known.versions_behind_max.max(versions.unwrap_or_default());
        let behind = |name| stats.get("behind_ms").and_then(|behind| float(behind, name));
        self.behind.entry(f.to_owned()).or_default().extend(behind("p50"));
        known.behind_max_ms = match (known.behind_max_ms, behind("max")) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }

    /// The figures of all runs so far.
    pub fn figures(&self) -> CellFigures {
        let mut figures = self.sums.clone();
        for (f, quantiles) in &self.latency {
            let of = |pick: fn(&(f64, f64)) -> f64| median(quantiles.iter().map(pick).collect());
            if let (Some(p50_ms), Some(p99_ms)) = (of(|pair| pair.0), of(|pair| pair.1)) {
                figures.latency.push(Latency { f: f.clone(), p50_ms, p99_ms });
            }
        }
        figures.latency.sort_by_key(|latency| place(&latency.f));
        for stale in &mut figures.staleness {
            stale.behind_p50_ms = self.behind.get(&stale.f).cloned().and_then(median);
        }
        figures.staleness.sort_by_key(|stale| place(&stale.f));
        figures
    }
}

/// Reads by their level, strongest promises in between, then everything else as it comes.
fn place(f: &str) -> usize {
    Level::ALL.iter().position(|(_, name)| *name == f).unwrap_or(Level::ALL.len())
}

fn find<'r>(results: &'r Results, name: &str) -> Option<&'r CheckRow> {
    results.checks.iter().find(|check| check.name == name)
}

fn rows<'s>(stats: &'s Map<String, Json>, name: &str) -> impl Iterator<Item = &'s Json> {
    stats.get(name).and_then(Json::as_array).into_iter().flatten()
}

fn text<'r>(row: &'r Json, name: &str) -> Option<&'r str> {
    row.get(name)?.as_str()
}

fn whole(row: &Json, name: &str) -> Option<u64> {
    row.get(name)?.as_u64()
}

fn float(row: &Json, name: &str) -> Option<f64> {
    row.get(name)?.as_f64()
}

/// The middle one; of an even number the lower of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}
