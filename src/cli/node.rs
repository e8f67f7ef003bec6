//! `harness node`: the bundled systems under test.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::EXIT_USAGE;
use crate::node::http::Url;
use crate::node::lww::{self, bug::Bug};

/// Runs a bundled node: something to test, correct unless told otherwise.
#[derive(Args, Debug)]
pub struct NodeArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Debug)]
enum Kind {
    Lww(LwwArgs),
}

/// "Lab 2": a replicated key-value store with Lamport clocks, last writer wins
///
/// HTTP with JSON: POST /put {"key","value"}, GET /get?key=, GET /status; between nodes POST /replicate
/// {"key","value","ts","origin"}. A put is answered when it is on disk. Stops on SIGTERM with exit code 0.
#[derive(Args, Debug)]
struct LwwArgs {
    /// The node's name: letters, digits, `-`, `_` and `.`; of two writes with equal timestamps the greater name wins
    #[arg(long, value_name = "NAME", value_parser = parse_id)]
    id: String,
    /// The port to listen on; 0 takes a free one and tells it
    #[arg(long)]
    port: u16,
    /// The other nodes, with commas between: http://127.0.0.1:8001,http://127.0.0.1:8002
    #[arg(long, value_name = "URL,URL", value_delimiter = ',', value_parser = parse_peer, default_value = "",
          hide_default_value = true)]
    peers: Vec<Option<Url>>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The directory of the node's log, made where absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// Makes the node wrong in one way
    #[arg(long, value_name = "NAME")]
    bug: Option<Bug>,
}

fn parse_id(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 64 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 letters, digits, `-`, `_` or `.`".into())
}

/// Nothing between two commas is no peer: `--peers ""` is a cluster of one.
fn parse_peer(text: &str) -> Result<Option<Url>, String> {
    if text.trim().is_empty() { Ok(None) } else { Url::parse(text).map(Some) }
}

/// Carries out `harness node`: 0 after SIGTERM, 1 when the node cannot run, 2 on bad usage.
pub fn main(args: NodeArgs) -> ExitCode {
    let Kind::Lww(args) = args.kind;
    let clock_skew_ms = match std::env::var("NODE_CLOCK_SKEW_MS") {
        Err(_) => 0,
        Ok(text) => match text.trim().parse() {
            Ok(skew_ms) => skew_ms,
            Err(_) => {
                eprintln!(
                    "harness node: NODE_CLOCK_SKEW_MS is {text:?}, expected a whole number of milliseconds"
                );
                return ExitCode::from(EXIT_USAGE);
            }
        },
    };
    let id = args.id.clone();
    let options = lww::Options {
        id: args.id,
        host: args.host,
        port: args.port,
        peers: args.peers.into_iter().flatten().collect(),
        data_dir: args.data_dir,
        bug: args.bug,
        clock_skew_ms,
    };
    match lww::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{id}: {error}");
            ExitCode::FAILURE
        }
    }
}
