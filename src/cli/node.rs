//! `harness node`: the bundled systems under test.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::EXIT_USAGE;
use crate::node::broadcast::{self, table::Table};
use crate::node::http::Url;
use crate::node::lww;
use crate::node::pubsub;
use crate::node::quorum::{self, spelling::Spelling};
use crate::node::serve::NodeError;

/// Runs a bundled node: something to test, correct unless told otherwise.
#[derive(Args, Debug)]
pub struct NodeArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Debug)]
enum Kind {
    Lww(LwwArgs),
    Quorum(QuorumArgs),
    Broadcast(BroadcastArgs),
    Pubsub(PubsubArgs),
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
    bug: Option<lww::bug::Bug>,
}

/// A leader-based replicated store with write quorum W, read quorum R and reads at three levels
///
/// HTTP with JSON: PUT, GET and DELETE /key/{key}?consistency=strong|eventual|read_your_writes (a PUT's body is the value),
/// GET /status; between nodes POST /internal/{heartbeat,replicate,get,vote,repair,sync}. A leader is elected by a majority; a
/// write is answered when W replicas have it on disk. Stops on SIGTERM with exit code 0.
#[derive(Args, Debug)]
struct QuorumArgs {
    /// The node's name, different from the others': letters, digits, `-`, `_` and `.`
    #[arg(long, value_name = "NAME", env = "NODE_ID", value_parser = parse_id)]
    id: String,
    /// The port to listen on; 0 takes a free one and tells it
    #[arg(long, env = "PORT")]
    port: u16,
    /// The other nodes, with commas between: http://127.0.0.1:8001,http://127.0.0.1:8002
    #[arg(long, value_name = "URL,URL", env = "PEERS", value_delimiter = ',', value_parser = parse_peer,
          default_value = "", hide_default_value = true)]
    peers: Vec<Option<Url>>,
    /// W: how many replicas hold an acknowledged write [default: a majority]
    #[arg(long, value_name = "W", env = "WRITE_QUORUM")]
    write_quorum: Option<usize>,
    /// R: how many replicas a strong read asks [default: a majority]
    #[arg(long, value_name = "R", env = "READ_QUORUM")]
    read_quorum: Option<usize>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The directory of the node's log, made where absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// How the fields of answers are spelt: achievedQuorum or achieved_quorum
    #[arg(long, value_name = "SPELLING", default_value = "camel")]
    spelling: Spelling,
    /// Makes the node wrong in one way
    #[arg(long, value_name = "NAME")]
    bug: Option<quorum::bug::Bug>,
}

/// A chat: total-order broadcast after ISIS, with Lamport clocks
///
/// Each line on stdin is a message to all; deliveries are lines on stdout, in one order at all processes:
/// DELIVER POSITION SENDER ID TEXT. Other lines there: READY ID ADDRESS, VIEW GROUP NUMBER POSITION MEMBER,MEMBER…, SENT ID TEXT
/// (a line was taken), REFUSED WHY, EVICTED VIEW and DISSOLVED VIEW (this life is over, another begins). Between processes
/// JSON by UDP, or by TCP. It goes on after stdin has ended, and stops on SIGTERM with exit code 0.
#[derive(Args, Debug)]
struct BroadcastArgs {
    /// The process's name, one of those in the peer table
    #[arg(long, value_name = "NAME", value_parser = parse_id)]
    id: String,
    /// The peer table as this process sees it: lines of ID HOST PORT, or JSON {"peers": [{"id", "host", "port"}, …]}. Its own
    /// row says where it listens
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Peers by TCP instead of UDP, one JSON frame a line
    #[arg(long)]
    tcp: bool,
    /// Milliseconds after which the others, if they are a majority, go on without a process that is silent; 0: they wait for
    /// ever
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    evict_after: u64,
    /// Makes the process wrong in one way
    #[arg(long, value_name = "NAME")]
    bug: Option<broadcast::bug::Bug>,
}

/// A publish/subscribe log, replicated by Raft
///
/// Text lines over TCP: PING, PUB topic [--id id] message, SUB topic [--from offset], HISTORY topic n [--from offset]
/// [--strong], STATUS, QUIT. A message is acknowledged when a majority has it on disk, and an id is published once. The
/// table is YAML: a list `nodes` with id, host, port, and where they are not port + 1000 and port + 200, rpc_port and
/// timesync_port; where the others are is where this node reaches them. Stops on SIGTERM with exit code 0.
#[derive(Args, Debug)]
struct PubsubArgs {
    /// The node's name in the table
    #[arg(long, value_name = "NAME", value_parser = parse_id)]
    id: String,
    /// The table of all nodes, this one included
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the node makes a directory of its name for its log
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_root: PathBuf,
    /// Applied entries kept for nodes that are behind; one that is further behind gets the whole state
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    keep_entries: usize,
    /// Makes the node wrong in one way
    #[arg(long, value_name = "NAME")]
    bug: Option<pubsub::bug::Bug>,
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
    let (id, outcome) = match args.kind {
        Kind::Lww(args) => (args.id.clone(), run_lww(args)),
        Kind::Quorum(args) => (args.id.clone(), run_quorum(args)),
        Kind::Broadcast(args) => (args.id.clone(), run_broadcast(args)),
        Kind::Pubsub(args) => (args.id.clone(), run_pubsub(args)),
    };
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{id}: {error}");
            ExitCode::FAILURE
        }
        Err(usage) => {
            eprintln!("harness node: {usage}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// How a node ended, or why it was not started.
type Outcome = Result<Result<(), NodeError>, String>;

/// By how much the environment says that a node's clock is wrong.
fn clock_skew_ms() -> Result<i64, String> {
    match std::env::var("NODE_CLOCK_SKEW_MS") {
        Err(_) => Ok(0),
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("NODE_CLOCK_SKEW_MS is {text:?}, expected a whole number of milliseconds")),
    }
}

fn run_lww(args: LwwArgs) -> Outcome {
    let clock_skew_ms = clock_skew_ms()?;
    Ok(lww::run(lww::Options {
        id: args.id,
        host: args.host,
        port: args.port,
        peers: args.peers.into_iter().flatten().collect(),
        data_dir: args.data_dir,
        bug: args.bug,
        clock_skew_ms,
    }))
}

fn run_quorum(args: QuorumArgs) -> Outcome {
    let peers: Vec<Url> = args.peers.into_iter().flatten().collect();
    for (index, peer) in peers.iter().enumerate() {
        if peers[..index].contains(peer) {
            return Err(format!("{} is twice among the peers: its vote would count twice", peer.as_str()));
        }
    }
    let total = peers.len() + 1;
    let quorum = |name: &str, asked: Option<usize>| match asked {
        None => Ok(total / 2 + 1),
        Some(size) if (1..=total).contains(&size) => Ok(size),
        Some(size) => Err(format!("{name} is {size}, expected 1 to {total}: so many nodes there are")),
    };
    Ok(quorum::run(quorum::Options {
        id: args.id,
        host: args.host,
        port: args.port,
        write_quorum: quorum("the write quorum", args.write_quorum)?,
        read_quorum: quorum("the read quorum", args.read_quorum)?,
        peers,
        data_dir: args.data_dir,
        spelling: args.spelling,
        bug: args.bug,
    }))
}

fn run_broadcast(args: BroadcastArgs) -> Outcome {
    Ok(broadcast::run(broadcast::Options {
        table: Table::read(&args.config, &args.id)?,
        tcp: args.tcp,
        evict_after_ms: args.evict_after,
        bug: args.bug,
    }))
}

fn run_pubsub(args: PubsubArgs) -> Outcome {
    let path = args.config.display();
    let text =
        std::fs::read_to_string(&args.config).map_err(|error| format!("cannot read {path}: {error}"))?;
    let table = pubsub::Table::parse(&text).map_err(|error| format!("{path}: {error}"))?;
    if !table.ids().any(|id| id == args.id) {
        let ids: Vec<&str> = table.ids().collect();
        return Err(format!("{path} has no node {}, it has {}", args.id, ids.join(", ")));
    }
    Ok(pubsub::run(pubsub::Options {
        id: args.id,
        table,
        data_root: args.data_root,
        keep_entries: args.keep_entries,
        bug: args.bug,
        clock_skew_ms: clock_skew_ms()?,
    }))
}
