//! A leader-based replicated store with write quorum W, read quorum R, and reads at three levels.
//!
//! One node leads; it alone takes writes and gives them versions. Any node answers reads. Who may do what, and why that
//! is right:
//!
//! - **One leader a term** (`election`): Raft's election (Ongaro and Ousterhout, "In Search of an Understandable
//!   Consensus Algorithm", 2014). A node votes once a term, the vote is on disk before it is given, and a majority is
//!   needed; any two majorities share a node.
//! - **Versions** are (term, number within the term), so they are unique and totally ordered, and replicas agree on which
//!   of two is newer however late and in which order they arrive. A delete is a version too, a tombstone, kept for ever:
//!   otherwise a replica that missed it would bring the value back.
//! - **A write** (`write`) is acknowledged when W replicas hold it and a majority has confirmed the leader's term after
//!   it was stored. So versions follow real time: let a write of term t be acknowledged before one of term u begins that
//!   is acknowledged as well. Some node confirmed t and later u, and a node's term never falls: t <= u. Within one term the
//!   one leader counts upwards.
//! - **A strong read** (`read`) asks R replicas, takes the newest version, and answers once W replicas hold it: Attiya, Bar-Noy
//!   and Dolev's register ("Sharing Memory Robustly in Message-Passing Systems", 1995) with Gifford's weights ("Weighted
//!   Voting for Replicated Data", 1979). With R + W > N any R replicas include one of any W, so a read sees every write
//!   that was acknowledged, and every value that was read, before it began: strong operations are linearizable. With
//!   R + W <= N they need not be, and this node does nothing to hide that: it asks R replicas, not more.
//! - **Everything a node says is on its disk** (`crate::node::kept`): terms, votes and versions survive a SIGKILL.
//! - **Anti-entropy** (`sync`) brings every version to every replica in the end. It needs no leader and no term.
//! - **Time** decides only when to try: elections, deadlines, and when a leader nobody answers gives up. A node that was
//!   stopped for an hour and wakes as a leader of old cannot acknowledge a write, as no majority confirms its term.

pub mod bug;
mod election;
mod internal;
mod leader;
mod message;
mod node;
mod read;
mod server;
pub mod spelling;
mod state;
mod sync;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;

use self::bug::Bug;
use self::node::{Node, Peer};
use self::spelling::Spelling;
use self::state::State;
use super::http::Url;
use super::kept::spawn_log_writer;
use super::log::Log;
use super::serve::{self, NodeError};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, part of its log's file name; every node needs one of its own.
    pub id: String,
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0: a free one, told on stderr.
    pub port: u16,
    /// The other nodes.
    pub peers: Vec<Url>,
    /// W, from 1 to the number of nodes.
    pub write_quorum: usize,
    /// R, from 1 to the number of nodes.
    pub read_quorum: usize,
    /// Where the log is kept; made where absent.
    pub data_dir: PathBuf,
    /// How answers to clients are spelt.
    pub spelling: Spelling,
    /// The bug it has.
    pub bug: Option<Bug>,
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// [`NodeError`]; a node that cannot write its log stops, as it could not keep what it promised.
pub fn run(options: Options) -> Result<(), NodeError> {
    serve::block_on(run_here(options))
}

async fn run_here(options: Options) -> Result<(), NodeError> {
    let Options { id, host, port, peers, write_quorum, read_quorum, data_dir, spelling, bug } = options;
    let (listener, address) = serve::listen(&host, port).await?;
    let path = data_dir.join(format!("quorum-{id}.log"));
    let (log, recovered) = Log::open(&path)?;
    if recovered.torn_bytes > 0 {
        say!("{id}: cut {} bytes of an unfinished record off {}", recovered.torn_bytes, path.display());
    }
    let state = State::recover(&id, bug, recovered.records, peers.len(), Instant::now());
    say!(
        "{id}: listening on http://{address}, {} keys and term {} from {}, W = {write_quorum}, R = {read_quorum}, \
         peers: {}{}",
        state.entries().len(),
        state.term(),
        path.display(),
        if peers.is_empty() {
            "none".to_owned()
        } else {
            peers.iter().map(Url::as_str).collect::<Vec<_>>().join(", ")
        },
        bug.map_or_else(String::new, |bug| format!(", bug: {}", bug.name())),
    );
    let peers = peers.into_iter().enumerate().map(|(index, url)| Peer::new(index, url)).collect();
    let node = Node::new(&id, bug, peers, write_quorum, read_quorum, state);
    let broken_log = spawn_log_writer(&node.kept, Some(log))?;
    for peer in &node.peers {
        tokio::spawn(sync::catch_up(Arc::clone(&node), Arc::clone(peer)));
    }
    tokio::spawn(leader::beat_while_leading(Arc::clone(&node)));
    tokio::spawn(election::stand_when_due(Arc::clone(&node)));

    let app = server::router(server::App::new(Arc::clone(&node), spelling));
    serve::until_stopped(listener, app, broken_log).await?;
    node.kept.flush().await;
    say!("{id}: stopped");
    Ok(())
}
