//! What every bundled node does around its own work: listen, stop on a signal, and say why it cannot run.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::log::LogError;

/// How long requests under way may take to end after a SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

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
    /// A peer's host has no address.
    #[error("cannot find {id} at {host}: {error}")]
    Peer {
        /// The peer.
        id: String,
        /// `host:port`
        host: String,
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

/// Runs `node` to its end on a runtime of its own.
///
/// # Errors
/// The node's, or that there is no runtime.
pub fn block_on(node: impl Future<Output = Result<(), NodeError>>) -> Result<(), NodeError> {
    // One thread is enough for what a node does, and three nodes share a laptop with the clients.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NodeError::System("start the runtime", error))?;
    let outcome = runtime.block_on(node);
    // Name look-ups may hang on a thread of their own.
    runtime.shutdown_background();
    outcome
}

/// Listens on `host` and `port`; 0 takes a free one.
///
/// # Errors
/// [`NodeError::Listen`]
pub async fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), NodeError> {
    let refused = |error| NodeError::Listen { address: format!("{host}:{port}"), error };
    let listener = TcpListener::bind((host, port)).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Serves `app` until SIGTERM, SIGINT, or until the log cannot be written: a node that cannot keep what it
/// acknowledges stops.
///
/// # Errors
/// [`NodeError`]
pub async fn until_stopped(
    listener: TcpListener,
    app: Router,
    broken_log: oneshot::Receiver<LogError>,
) -> Result<(), NodeError> {
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
    tokio::select! {
        told = told_to_stop(broken_log) => told?,
        Ok(Err(error)) = &mut server => return Err(NodeError::System("serve", error)),
    }
    let _ = stop.send(());
    // Whoever keeps a connection open past the grace sees it closed.
    let _ = tokio::time::timeout(GRACE, server).await;
    Ok(())
}

/// Waits for SIGTERM or SIGINT, or until the log cannot be written.
///
/// # Errors
/// Why it cannot be, or that signals cannot be handled.
pub async fn told_to_stop(broken_log: oneshot::Receiver<LogError>) -> Result<(), NodeError> {
    let handler = |kind| signal(kind).map_err(|error| NodeError::System("handle signals", error));
    let (mut terminate, mut interrupt) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Ok(error) = broken_log => Err(error.into()),
    }
}
