//! `availability`: what was answered, how fast, and how soon again after each fault.
//!
//! **Definition.** Availability as yield (Fox and Brewer, *Harvest, Yield, and Scalable Tolerant Systems*, HotOS 1999):
//! completed over asked, here as ok, fail and info counts with quantiles of the latency of ok answers, for the load in
//! the main phase: `healthy` (no fault in force between its invocation and its end), `recovered` (the same, after the
//! last fault) and under each fault, by its label (an operation under two faults counts under both); by operation; and by
//! operation and the number of nodes that were out of service (the most at one moment of it, [`Outages`]).
//! Recovery is the time from the end of a fault to the first ok answer, at each node it was aimed at, to something asked
//! after that end.
//!
//! What availability is owed is not declared, so the verdict is `valid` whenever something was measured.
//!
//! **Complexity.** O(n log n + n × faults).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hdrhistogram::Histogram;
use serde_json::{Map, Value as Json, json};

use super::findings::evidence;
use super::outages::Outages;
use super::{Check, CheckResult, Verdict};
use crate::history::{Fault, History, Op, Outcome, Phase};

/// The check.
pub struct Availability;

impl Check for Availability {
    fn name(&self) -> &'static str {
        "availability"
    }

    fn about(&self) -> &'static str {
        "How many operations were answered, how fast, under each fault and after it."
    }

    fn check(&self, history: &History) -> CheckResult {
        let main = main_phase(history);
        let load: Vec<&Op> =
            history.ops.iter().filter(|op| op.is_load() && main.contains(&op.invoked_ns)).collect();
        let faults: Vec<&Fault> = history.faults.iter().filter(|fault| !is_aimless(fault)).collect();
        let mut phases: Vec<(String, Tally)> = vec![("healthy".into(), Tally::new())];
        for fault in &faults {
            if !phases.iter().any(|(name, _)| *name == fault.label) {
                phases.push((fault.label.clone(), Tally::new()));
            }
        }
        phases.push(("recovered".into(), Tally::new()));
        let places: HashMap<String, usize> =
            phases.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let recovered = phases.len() - 1;
        let last_ns = faults.iter().map(|fault| fault.ended_ns.unwrap_or(u64::MAX)).max();
        let mut by_f: BTreeMap<Arc<str>, Tally> = BTreeMap::new();
        let outages = Outages::of(history);
        let mut by_out: BTreeMap<(u64, Arc<str>), Tally> = BTreeMap::new();
        for op in &load {
            by_f.entry(op.f.clone()).or_insert_with(Tally::new).add(op);
            let end_ns = op.returned_ns.unwrap_or(op.invoked_ns);
            let out = outages.most_during(op.invoked_ns, end_ns);
            by_out.entry((out, op.f.clone())).or_insert_with(Tally::new).add(op);
            let over = faults.iter().filter(|fault| fault.overlaps(op.invoked_ns, end_ns));
            let mut under: Vec<usize> = over.filter_map(|fault| places.get(&fault.label).copied()).collect();
            under.sort_unstable();
            under.dedup();
            if under.is_empty() {
                let after = last_ns.is_some_and(|last_ns| op.invoked_ns > last_ns);
                under.push(if after { recovered } else { 0 });
            }
            under.into_iter().for_each(|place| phases[place].1.add(op));
        }
        let total = |outcome| load.iter().filter(|op| op.outcome == outcome).count() as u64;
        let phases = phases.iter().filter(|(_, tally)| tally.total() > 0);
        let phases = phases.map(|(name, tally)| tally.row("phase", name)).collect::<Vec<_>>();
        let by_f = by_f.iter().map(|(f, tally)| tally.row("f", f)).collect::<Vec<_>>();
        let mut stats = Map::new();
        stats.insert("phases".into(), phases.into());
        stats.insert("operations".into(), by_f.into());
        let by_out = by_out.iter().map(|((out, f), tally)| {
            let mut row = tally.row("f", f);
            row["nodes_out"] = json!(out);
            row
        });
        stats.insert("nodes_out".into(), by_out.collect::<Vec<_>>().into());
        stats.insert("recovery".into(), recovery(history, &faults).into());
        CheckResult {
            verdict: if load.is_empty() { Verdict::Unknown } else { Verdict::Valid },
            reason: load.is_empty().then(|| "no client asked anything in the main phase".into()),
            evidence: evidence([
                ("ok", total(Outcome::Ok)),
                ("fail", total(Outcome::Fail)),
                ("info", total(Outcome::Info)),
            ]),
            violations: Vec::new(),
            violations_total: 0,
            excused: 0,
            stats,
        }
    }
}

/// Whether the fault found nobody to be aimed at: nothing was done, and nothing had to recover.
fn is_aimless(fault: &Fault) -> bool {
    !fault.took_effect && fault.evidence["aimless"] == true
}

/// A history without phases is all main.
fn main_phase(history: &History) -> std::ops::Range<u64> {
    let Some(began_ns) = history.phase_began_ns(Phase::Main) else { return 0..u64::MAX };
    let later = [Phase::Heal, Phase::Settle, Phase::Done];
    let ended_ns = later.iter().find_map(|phase| history.phase_began_ns(*phase));
    began_ns..ended_ns.unwrap_or(u64::MAX)
}

/// For each fault and node: ms from its end to the first ok answer to something asked after it; `null`: none came.
fn recovery(history: &History, faults: &[&Fault]) -> Vec<Json> {
    let mut answers: HashMap<&str, Vec<(u64, u64)>> = HashMap::new();
    for op in history.ops.iter().filter(|op| op.is_load() && op.is_ok()) {
        if let Some(node) = &op.node {
            answers.entry(node).or_default().push((op.invoked_ns, op.end_ns()));
        }
    }
    for answers in answers.values_mut() {
        answers.sort_unstable();
        // From the back: the earliest answer to anything asked from there on.
        let mut earliest_ns = u64::MAX;
        for (_, returned_ns) in answers.iter_mut().rev() {
            earliest_ns = earliest_ns.min(*returned_ns);
            *returned_ns = earliest_ns;
        }
    }
    let mut rows = Vec::new();
    for fault in faults {
        let Some(ended_ns) = fault.ended_ns else { continue };
        let all: Vec<Arc<str>> = history.contract.nodes.iter().map(|node| node.as_str().into()).collect();
        let nodes = if fault.target.is_empty() { &all } else { &fault.target };
        for node in nodes {
            let answers = answers.get(&**node).map_or(&[][..], |answers| answers);
            let next = answers.partition_point(|(invoked_ns, _)| *invoked_ns < ended_ns);
            let ms = answers.get(next).map(|(_, returned_ns)| (returned_ns - ended_ns) as f64 / 1e6);
            rows.push(json!({"fault": fault.label, "node": **node, "ms": ms}));
        }
    }
    rows
}

struct Tally {
    ok: u64,
    fail: u64,
    info: u64,
    latency_us: Histogram<u64>,
}

impl Tally {
    fn new() -> Self {
        // Only a precision above 5 digits could fail.
        #[expect(clippy::expect_used)]
        let latency_us = Histogram::new(3).expect("3 digits are a valid precision");
        Tally { ok: 0, fail: 0, info: 0, latency_us }
    }

    fn add(&mut self, op: &Op) {
        match op.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Info => self.info += 1,
        }
        if op.is_ok() {
            // Grows as needed; an error would mean more than 2^64 µs.
            let _ = self.latency_us.record((op.end_ns() - op.invoked_ns) / 1_000);
        }
    }

    fn total(&self) -> u64 {
        self.ok + self.fail + self.info
    }

    fn row(&self, kind: &str, name: &str) -> Json {
        let ms = |us: u64| us as f64 / 1e3;
        let latency = |quantile| (self.ok > 0).then(|| ms(self.latency_us.value_at_quantile(quantile)));
        json!({
            kind: name,
            "ok": self.ok,
            "fail": self.fail,
            "info": self.info,
            "p50_ms": latency(0.5),
            "p90_ms": latency(0.9),
            "p99_ms": latency(0.99),
            "max_ms": (self.ok > 0).then(|| ms(self.latency_us.max())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Life, Value};

    fn op(f: &str, invoked_ns: u64, returned_ns: u64, outcome: Outcome) -> Op {
        Op {
            index: invoked_ns,
            end_index: None,
            process: 0,
            f: f.into(),
            key: Some("k".into()),
            value: Value::Nil,
            node: Some("A".into()),
            version: None,
            invoked_ns,
            returned_ns: Some(returned_ns),
            outcome,
            error: None,
            snapshot: None,
            claim: None,
            entries: None,
        }
    }

    fn life(ready_ns: u64, ended_ns: Option<u64>) -> Life {
        Life {
            pid: 1,
            started_ns: ready_ns,
            ready_ns: Some(ready_ns),
            ended_ns,
            expected: true,
            signal: None,
            code: None,
            log: Vec::new(),
        }
    }

    #[test]
    fn operations_are_counted_by_how_many_nodes_were_out_meanwhile() {
        let ops = vec![
            op("write", 10, 20, Outcome::Ok),
            // It was under way when B ended.
            op("write", 90, 110, Outcome::Info),
            op("write", 120, 130, Outcome::Fail),
            op("read", 140, 150, Outcome::Ok),
            // The harness's own questions are no load.
            op("status", 145, 150, Outcome::Ok),
            op("subscribe", 146, 149, Outcome::Fail),
            op("write", 210, 220, Outcome::Ok),
        ];
        let aimless = Fault {
            id: 0,
            f: "kill".into(),
            target: Vec::new(),
            label: "kill leader".into(),
            began_ns: 125,
            ended_ns: Some(125),
            took_effect: false,
            evidence: json!({"aimless": true}),
        };
        let lives = [("A", vec![life(1, None)]), ("B", vec![life(1, Some(100)), life(200, None)])];
        let lives = lives.into_iter().map(|(node, lives)| (Arc::from(node), lives)).collect();
        let result = Availability.check(&History { ops, lives, faults: vec![aimless], ..History::default() });
        let row = |row: &Json| {
            let counts = ["ok", "fail", "info"].map(|name| row[name].as_u64().unwrap());
            (row["nodes_out"].as_u64().unwrap(), row["f"].as_str().unwrap().to_owned(), counts)
        };
        let rows: Vec<_> = result.stats["nodes_out"].as_array().unwrap().iter().map(row).collect();
        assert_eq!(
            rows,
            [
                (0, "write".to_owned(), [2, 0, 0]),
                (1, "read".to_owned(), [1, 0, 0]),
                (1, "write".to_owned(), [0, 1, 1]),
            ]
        );
        let phases: Vec<_> =
            result.stats["phases"].as_array().unwrap().iter().map(|row| &row["phase"]).collect();
        assert_eq!(phases, ["healthy"], "a fault that found nobody is no phase");
        assert_eq!(result.stats["recovery"], json!([]));
    }
}
