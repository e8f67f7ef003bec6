//! `machine.csv`: what the machine was like during each run, and what nodes were kept from; and the same in a line.
//!
//! It is the one output about the class that two gradings with the same marks do not share.

use super::csv::line;
use crate::grade::journal::Known;
use crate::grade::record::UnitRecord;

const HEADER: [&str; 9] = [
    "submission",
    "item",
    "repeat",
    "attempts",
    "seconds",
    "busy_percent",
    "longest_wait_ms",
    "least_memory_mib",
    "kept_from_nodes",
];

/// A row a run, the last attempt of each: how often it was run, how long it took, the share of all CPU time that was in use
/// meanwhile, the longest a thread that could go on had to wait, the least memory that was available, and what nodes were kept from.
pub fn render(known: &Known) -> String {
    let rows = known.units.values().map(|unit| {
        line(&[
            unit.unit.submission.clone(),
            unit.unit.item.clone(),
            unit.unit.repeat.to_string(),
            unit.attempts.to_string(),
            format!("{:.1}", unit.duration_ms as f64 / 1e3),
            format!("{:.0}", unit.host.busy * 100.0),
            unit.host.late_ms.to_string(),
            (unit.host.available >> 20).to_string(),
            unit.isolation.clone(),
        ])
    });
    line(&HEADER.map(str::to_owned)) + &rows.collect::<String>()
}

/// `12 runs; the machine was busy 64% of the time, and a thread that could run waited up to 31 ms; kept from nodes: files
/// signals network` Empty where nothing was run.
pub fn summary(known: &Known) -> String {
    let units: Vec<&UnitRecord> = known.units.values().collect();
    if units.is_empty() {
        return String::new();
    }
    let runs = |count: usize| if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    let busy = units.iter().map(|unit| unit.host.busy).sum::<f64>() / units.len() as f64;
    let late = units.iter().map(|unit| unit.host.late_ms).max().unwrap_or(0);
    let repeated = units.iter().filter(|unit| unit.attempts > 1).count();
    let mut kept: Vec<&str> = units.iter().map(|unit| unit.isolation.as_str()).collect();
    kept.sort_unstable();
    kept.dedup();
    let again = match repeated {
        0 => String::new(),
        1 => "; 1 was repeated".to_owned(),
        count => format!("; {count} were repeated"),
    };
    format!(
        "{}{again}; the machine was busy {:.0}% of the time, and a thread that could run waited up to {late} ms; kept from nodes: {}",
        runs(units.len()),
        busy * 100.0,
        kept.join(", or ")
    )
}
