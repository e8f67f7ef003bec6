//! `harness schema`: the JSON Schema of workload files.

use std::io::Write;
use std::process::ExitCode;

use super::{EXIT_BROKEN, EXIT_VALID};
use crate::workload::schema;

/// Prints the JSON Schema of workload files, for editors
#[derive(clap::Args, Debug)]
pub struct SchemaArgs {}

/// Carries out `harness schema`.
pub fn main(SchemaArgs {}: SchemaArgs) -> ExitCode {
    let text = format!("{:#}\n", schema::schema());
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(EXIT_VALID),
        Err(_) => ExitCode::from(EXIT_BROKEN),
    }
}
