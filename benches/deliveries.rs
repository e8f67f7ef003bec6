//! What it costs to record what nodes say on their own: deliveries a second into the history, as ratios within one run.
//!
//! `cargo bench --bench deliveries`. A process prints numbered lines as fast as it can. The binary runs it as a node of a
//! broadcast workload and records each line as a `deliver` event; its rate is that between the first and the last event by
//! their own times. A bare reader of the same process, which only counts lines, is measured in turns with it. The best of the
//! rounds counts: other work on the machine only takes away.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What has to be kept up with, deliveries a second.
const WANTED_RATE: f64 = 10_000.0;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` passes no `--bench`: then once through, quickly, to see that it works.
    let measuring = std::env::args().any(|arg| arg == "--bench");
    let (rounds, count) = if measuring { (3, 1_000_000) } else { (1, 10_000) };
    let folder = std::env::temp_dir().join(format!("harness-bench-deliveries-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder, rounds, count);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path, rounds: usize, count: usize) -> Result<(), Box<dyn Error>> {
    let script = folder.join("flood.sh");
    std::fs::write(&script, format!("echo ready; read line; seq 1 {count} | sed s/^/d/; cat >/dev/null\n"))?;
    let (mut recorded, mut bare) = (0.0_f64, 0.0_f64);
    for _ in 0..rounds {
        recorded = recorded.max(recorded_rate(folder, &script, count)?);
        bare = bare.max(bare_rate(&script, count)?);
    }
    println!("{count} deliveries of one process, best of {rounds}:");
    println!("  bare reader   {:>12.0} lines a second", bare);
    println!(
        "  recorded      {:>12.0} deliveries a second: {:.2} of the bare reader",
        recorded,
        recorded / bare
    );
    let met = if recorded >= WANTED_RATE { "yes" } else { "no" };
    println!("  {WANTED_RATE} a second kept up with: {met} ({:.0} times)", recorded / WANTED_RATE);
    Ok(())
}

/// Deliveries a second by the history of a run; an error when one is missing or out of order.
fn recorded_rate(folder: &Path, script: &Path, count: usize) -> Result<f64, Box<dyn Error>> {
    let protocol = "name = \"flood\"\nabout = \"deliveries\"\ntransport = \"stdio\"\ndeliver = '^(?P<value>d\\d+)$'\n\
                    [ready]\nmatch = '^ready'\n[broadcast]\nline = \"{{ value }}\"\n";
    std::fs::write(folder.join("protocol.toml"), protocol)?;
    let workload = format!(
        "name = \"flood\"\nseed = 7\n[cluster]\nnodes = [\"A\"]\ncommand = \"sh {}\"\n[client]\nprotocol = \"protocol.toml\"\n\
         [load]\nkind = \"broadcast\"\nclients = 1\nrate = 1\nduration = \"3s\"\n[settle]\nwithin = \"1s\"\n\
         [checks]\navailability = \"reported\"\n",
        script.display()
    );
    let file = folder.join("workload.toml");
    std::fs::write(&file, workload)?;
    let results = folder.join("results");
    let mut run = Command::new(env!("CARGO_BIN_EXE_harness"));
    run.args(["run", "--quiet", "--json", "--results"]).arg(&results).arg(&file);
    run.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let history = BufReader::new(std::fs::File::open(results.join("flood/latest/history.jsonl"))?);
    let (mut seen, mut first_ns, mut last_ns) = (0, 0, 0);
    for line in history.lines() {
        let event: serde_json::Value = serde_json::from_str(&line?)?;
        if event["f"] != "deliver" || event["process"] != "node" {
            continue;
        }
        seen += 1;
        if event["value"] != format!("d{seen}") {
            return Err(format!("expected d{seen}, found {}", event["value"]).into());
        }
        last_ns = event["time"].as_u64().unwrap_or_default();
        first_ns = if seen == 1 { last_ns } else { first_ns };
    }
    std::fs::remove_dir_all(&results)?;
    if seen != count {
        return Err(format!("{seen} of {count} deliveries are in the history").into());
    }
    Ok(count as f64 / ((last_ns - first_ns) as f64 / 1e9))
}

/// Lines a second of the same process, read and counted.
fn bare_rate(script: &Path, count: usize) -> Result<f64, Box<dyn Error>> {
    let mut process = Command::new("sh").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (Some(mut input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
        return Err("the process has no pipes".into());
    };
    let mut lines = BufReader::new(output);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    input.write_all(b"go\n")?;
    line.clear();
    lines.read_line(&mut line)?;
    let begun = Instant::now();
    for _ in 1..count {
        line.clear();
        lines.read_line(&mut line)?;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    drop(input);
    process.wait()?;
    Ok(rate)
}
