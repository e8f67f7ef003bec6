//! "Lab 2": a replicated key-value store with Lamport clocks, last writer wins.
//!
//! A put is acknowledged once it is on the disk of the node that took it, and reaches the others in its own time:
//! pushed at once (`peer`), and found by comparing stores if a push was lost (`catch_up`). Every replica answers reads
//! from what it has. So replicas may differ for a while, and agree when writes stop and links work.

pub mod bug;
mod catch_up;
mod log;
mod peer;
mod replica;
mod server;
mod state;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::bug::Bug;
use self::log::{Log, LogError};
use self::peer::Peer;
use self::replica::Replica;
use self::state::State;
use super::http::Url;

/// How long requests under way may take to end after a SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

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

/// Why a node cannot run, or run on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// `host:port`
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// Its disk cannot keep what the node promises.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operating system refuses something every process may have.
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// [`NodeError`]; a node that cannot write its log stops, as it could not keep what it acknowledged.
pub fn run(options: Options) -> Result<(), NodeError> {
    // One thread is enough for what a node does, and three nodes share a laptop with the clients.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NodeError::System("start the runtime", error))?;
    let outcome = runtime.block_on(serve(options));
    // Name look-ups may hang on a thread of their own.
    runtime.shutdown_background();
    outcome
}

async fn serve(options: Options) -> Result<(), NodeError> {
    let Options { id, host, port, peers, data_dir, bug, clock_skew_ms } = options;
    let listen = |error| NodeError::Listen { address: format!("{host}:{port}"), error };
    let listener = TcpListener::bind((host.as_str(), port)).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;

    let path = data_dir.join(format!("lww-{id}.log"));
    let (log, recovered) = if bug == Some(Bug::ForgetsOnCrash) {
        (None, log::Recovered::default())
    } else {
        let (log, recovered) = Log::open(&path)?;
        (Some(log), recovered)
    };
    if recovered.torn_bytes > 0 {
        say!("{id}: cut {} bytes of an unfinished record off {}", recovered.torn_bytes, path.display());
    }
    let state = State::recover(&id, bug, clock_skew_ms, recovered.clock, recovered.writes);
    let keys = state.entries().len();
    let replica = Replica::new(&id, bug, state);
    let mut broken_log = spawn_log_writer(&replica, log)?;
    let urls: Vec<String> = peers.iter().map(|url| url.as_str().to_owned()).collect();
    say!(
        "{id}: listening on http://{address}, {keys} keys from {}, peers: {}{}",
        path.display(),
        if urls.is_empty() { "none".to_owned() } else { urls.join(", ") },
        bug.map_or_else(String::new, |bug| format!(", bug: {}", bug.name())),
    );
    spawn_replication(&replica, peers, bug);

    let app = server::router(Arc::new(server::App { replica: Arc::clone(&replica), peers: urls }));
    // Answers are small and somebody waits for each.
    let listener = listener.tap_io(|stream| {
        // A connection that is already gone says so when it is read.
        let _ = stream.set_nodelay(true);
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(async move { server.await });
    let handler = |kind| signal(kind).map_err(|error| NodeError::System("handle signals", error));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(error) = &mut broken_log => return Err(error.into()),
        Ok(Err(error)) = &mut server => return Err(NodeError::System("serve", error)),
    }
    let _ = stop.send(());
    // Whoever keeps a connection open past the grace sees it closed.
    let _ = tokio::time::timeout(GRACE, server).await;
    replica.flush().await;
    say!("{id}: stopped");
    Ok(())
}

fn spawn_log_writer(
    replica: &Arc<Replica>,
    log: Option<Log>,
) -> Result<oneshot::Receiver<LogError>, NodeError> {
    let (sender, receiver) = oneshot::channel();
    let replica = Arc::clone(replica);
    let write = move || {
        // The receiver is gone when the node stops anyway.
        let _ = sender.send(replica.write_log(log));
    };
    std::thread::Builder::new()
        .name("log".into())
        .spawn(write)
        .map_err(|error| NodeError::System("start the log's thread", error))?;
    Ok(receiver)
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
