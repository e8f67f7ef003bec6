//! The command line: one file a subcommand.

mod check;
mod client;
mod node;
mod overrides;
mod schema;
mod validate;
mod warden;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// All required checks valid.
pub const EXIT_VALID: u8 = 0;
/// A violation.
pub const EXIT_INVALID: u8 = 1;
/// Bad usage or workload file.
pub const EXIT_USAGE: u8 = 2;
/// Inconclusive: a required check is unknown.
pub const EXIT_UNKNOWN: u8 = 3;
/// The system under test or the harness could not be run.
pub const EXIT_BROKEN: u8 = 4;

/// Finds out whether a distributed system keeps its promises when machines die, freeze and lose each other.
#[derive(Parser, Debug)]
#[command(name = "harness", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check recorded histories offline
    Check(check::Args),
    Validate(validate::ValidateArgs),
    Schema(schema::SchemaArgs),
    Node(node::NodeArgs),
    Client(client::ClientArgs),
    /// Watches over the processes of a run; started by the harness itself.
    #[command(hide = true)]
    Warden,
}

/// Carries out the command line; the exit code is the process's.
pub fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Check(args) => check::main(&args),
        Command::Validate(args) => validate::main(args),
        Command::Schema(args) => schema::main(args),
        Command::Node(args) => node::main(args),
        Command::Client(args) => client::main(args),
        Command::Warden => warden::main(),
    }
}
