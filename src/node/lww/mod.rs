//! "Lab 2": a replicated key-value store with Lamport clocks, last writer wins.
//!
//! A put is acknowledged once it is on the disk of the node that took it, and reaches the others in its own time:
//! pushed at once (`peer`), and found by comparing stores if a push was lost (`catch_up`). Every replica answers reads
//! from what it has. So replicas may differ for a while, and agree when writes stop and links work.

pub mod bug;
mod catch_up;
mod peer;
mod replica;
mod server;
mod state;

use std::path::PathBuf;
use std::sync::Arc;

use self::bug::Bug;
use self::peer::Peer;
use self::replica::Replica;
use self::state::State;
use super::http::Url;
use super::kept::spawn_log_writer;
use super::log::{Log, Recovered};
use super::serve::{self, NodeError};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name: the origin of its writes, part of its log's file name. Ties go to the greater.
    pub id: String,
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0: a free one, told on stderr.
    pub port: u16,
    /// The other nodes.
    pub peers: Vec<Url>,
    /// Where the log is kept; made where absent.
    pub data_dir: PathBuf,
    /// The bug it has.
    pub bug: Option<Bug>,
    /// What [`Bug::WallClock`] adds to the machine's clock, ms.
    pub clock_skew_ms: i64,
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// [`NodeError`]; a node that cannot write its log stops, as it could not keep what it acknowledged.
pub fn run(options: Options) -> Result<(), NodeError> {
    serve::block_on(run_here(options))
}

async fn run_here(options: Options) -> Result<(), NodeError> {
    let Options { id, host, port, peers, data_dir, bug, clock_skew_ms } = options;
    let (listener, address) = serve::listen(&host, port).await?;

    let path = data_dir.join(format!("lww-{id}.log"));
    let (log, recovered) = if bug == Some(Bug::ForgetsOnCrash) {
        (None, Recovered::default())
    } else {
        let (log, recovered) = Log::open(&path)?;
        (Some(log), recovered)
    };
    if recovered.torn_bytes > 0 {
        say!("{id}: cut {} bytes of an unfinished record off {}", recovered.torn_bytes, path.display());
    }
    let state = State::recover(&id, bug, clock_skew_ms, recovered.records);
    let keys = state.entries().len();
    let replica = Replica::new(&id, bug, state);
    let broken_log = spawn_log_writer(&replica.kept, log)?;
    let urls: Vec<String> = peers.iter().map(|url| url.as_str().to_owned()).collect();
    say!(
        "{id}: listening on http://{address}, {keys} keys from {}, peers: {}{}",
        path.display(),
        if urls.is_empty() { "none".to_owned() } else { urls.join(", ") },
        bug.map_or_else(String::new, |bug| format!(", bug: {}", bug.name())),
    );
    spawn_replication(&replica, peers, bug);

    let app = server::router(Arc::new(server::App { replica: Arc::clone(&replica), peers: urls }));
    serve::until_stopped(listener, app, broken_log).await?;
    replica.kept.flush().await;
    say!("{id}: stopped");
    Ok(())
}

fn spawn_replication(replica: &Arc<Replica>, urls: Vec<Url>, bug: Option<Bug>) {
    let peers: Vec<_> = urls.into_iter().map(|url| Peer::new(url, bug)).collect();
    for peer in &peers {
        let (replica, deliverer) = (Arc::clone(replica), Arc::clone(peer));
        tokio::spawn(catch_up::catch_up(Arc::clone(&replica), Arc::clone(peer)));
        tokio::spawn(async move { deliverer.deliver(&replica.id).await });
    }
    if bug == Some(Bug::CachedReads) {
        let replica = Arc::clone(replica);
        tokio::spawn(async move { replica.refresh_cache().await });
    }
    let replica = Arc::clone(replica);
    tokio::spawn(async move {
        loop {
            for write in replica.outgoing().await {
                peers.iter().for_each(|peer| peer.tell(Arc::clone(&write)));
            }
        }
    });
}
