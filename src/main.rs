//! The `harness` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    harness::cli::main(harness::cli::Cli::parse())
}
