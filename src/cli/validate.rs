//! `harness validate`: checks workload files, protocol files and rubrics, without running anything.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};

use super::overrides::{OverrideArgs, show_errors};
use super::{EXIT_BROKEN, EXIT_USAGE, EXIT_VALID};
use crate::client::Protocol;
use crate::document;
use crate::grade::parse;
use crate::workload::{Cells, Workload};

/// Checks workload files, protocol files and rubrics, without running anything
#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// The workload files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show when which fault begins and ends
    #[arg(long)]
    schedule: bool,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// Carries out `harness validate`.
pub fn main(args: ValidateArgs) -> ExitCode {
    let overrides = args.overrides.overrides();
    let mut exit = EXIT_VALID;
    for file in &args.files {
        let table = document::read(file).map(|(_, table)| table).ok();
        if table.as_ref().is_some_and(parse::is_rubric) {
            match parse::read(file) {
                Ok(rubric) => {
                    // As below.
                    let _ = writeln!(std::io::stdout(), "ok {}: {}", file.display(), rubric.summary());
                }
                Err(errors) => {
                    show_errors(&errors);
                    exit = EXIT_USAGE;
                }
            }
            continue;
        }
        if table.is_some_and(|table| Protocol::is_meant(|key| table.get(key).is_some())) {
            match Protocol::load(&file.display().to_string(), Path::new("")) {
                Ok(protocol) => {
                    let _ = writeln!(std::io::stdout(), "ok {}: {}", file.display(), protocol.summary());
                }
                Err(error) => {
                    eprintln!("error: {error}");
                    exit = EXIT_USAGE;
                }
            }
            continue;
        }
        match Workload::load_cells(file, &overrides) {
            Ok(Cells { axes, list }) => {
                // Cells differ in their variables alone, so that one speaks for all.
                let Some((_, workload)) = list.first() else { continue };
                let mut text = format!("ok {}: {}", file.display(), workload.summary());
                if !axes.is_empty() {
                    let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
                    text.push_str(&format!(", {} cells of {}", list.len(), names.join(" × ")));
                }
                text.push('\n');
                for warning in &workload.warnings {
                    text.push_str(&format!("   warning: {warning}\n"));
                }
                if args.schedule {
                    text.push_str(&schedule(workload));
                }
                // A reader that has gone away (`| head`) has what it wanted.
                if std::io::stdout().write_all(text.as_bytes()).is_err() {
                    return ExitCode::from(EXIT_BROKEN);
                }
            }
            Err(errors) => {
                show_errors(&errors);
                exit = EXIT_USAGE;
            }
        }
    }
    ExitCode::from(exit)
}

/// The schedule as a table.
fn schedule(workload: &Workload) -> String {
    if workload.faults.is_empty() {
        return "   no faults\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "begins", "ends", "fault"]);
    for fault in &workload.faults {
        let ends = fault.until.map_or_else(|| "at the heal".to_owned(), seconds);
        table.add_row([String::new(), seconds(fault.at), ends, fault.label.clone()]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
