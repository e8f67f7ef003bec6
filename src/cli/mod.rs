//! The command line: one file a subcommand.

mod check;
mod client;
mod convert;
mod grade;
mod node;
mod overrides;
mod report;
mod run;
mod schema;
pub mod selftest;
mod validate;
mod warden;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use crate::report::verdict::{EXIT_BROKEN, EXIT_INVALID, EXIT_UNKNOWN, EXIT_VALID};

/// Bad usage or workload file. The others are a run's own.
pub const EXIT_USAGE: u8 = 2;

/// Finds out whether a distributed system keeps its promises when machines die, freeze and lose each other.
#[derive(Parser, Debug)]
#[command(name = "harness", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::RunArgs),
    /// Check recorded histories offline
    Check(check::Args),
    /// Write a history in another format: EDN for Jepsen, Knossos and Elle, or JSON lines
    Convert(convert::Args),
    Grade(grade::GradeArgs),
    Report(report::ReportArgs),
    Validate(validate::ValidateArgs),
    Schema(schema::SchemaArgs),
    Selftest(selftest::SelftestArgs),
    Node(node::NodeArgs),
    Client(client::ClientArgs),
    /// Watches over the processes of a run; started by the harness itself.
    #[command(hide = true)]
    Warden,
}

/// Carries out the command line; the exit code is the process's.
pub fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Convert(args) => convert::main(&args),
        Command::Grade(args) => grade::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Validate(args) => validate::main(args),
        Command::Selftest(args) => selftest::main(&args),
        Command::Schema(args) => schema::main(args),
        Command::Node(args) => node::main(args),
        Command::Client(args) => client::main(args),
        Command::Warden => warden::main(),
    }
}
