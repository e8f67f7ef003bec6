//! `harness schema`: the JSON Schema of workload files, and of rubrics.

use std::io::Write;
use std::process::ExitCode;

use super::{EXIT_BROKEN, EXIT_VALID};
use crate::grade::parse;
use crate::workload::schema;

/// Prints the JSON Schema of workload files, for editors
#[derive(clap::Args, Debug)]
pub struct SchemaArgs {
    /// That of rubrics, by which `harness grade` grades
    #[arg(long)]
    rubric: bool,
}

/// Carries out `harness schema`.
pub fn main(SchemaArgs { rubric }: SchemaArgs) -> ExitCode {
    let text = format!("{:#}\n", if rubric { parse::schema() } else { schema::schema() });
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(EXIT_VALID),
        Err(_) => ExitCode::from(EXIT_BROKEN),
    }
}
