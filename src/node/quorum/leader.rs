//! The leader's heartbeats.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::message::{Done, Heartbeat};
use super::node::{Node, Peer};
use super::state::Role;
use crate::node::http::HttpError;

/// Between heartbeats.
const BEAT: Duration = Duration::from_millis(75);
/// How long one may take: over a slow link it still counts.
const PATIENCE: Duration = Duration::from_secs(1);
/// Heartbeats under way to one peer. Those begun while a link was cut may never end; a fresh one after the heal does.
const UNDER_WAY: usize = 16;

/// Sends heartbeats to all peers while this node leads, for ever.
pub async fn beat_while_leading(node: Arc<Node>) {
    let mut beats: Vec<JoinSet<()>> = node.peers.iter().map(|_| JoinSet::new()).collect();
    let mut standing = node.follow();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        let now = node.change(|state, _| state.standing());
        next = Instant::now() + BEAT;
        if now.role != Role::Leader {
            // Whatever is settled is told by the next leader, once it finds out.
            node.take_settled();
            continue;
        }
        let beat =
            Arc::new(Heartbeat { term: now.term, leader_id: node.id.clone(), settled: node.take_settled() });
        for (peer, under_way) in node.peers.iter().zip(&mut beats) {
            while under_way.try_join_next().is_some() {}
            if under_way.len() < UNDER_WAY {
                let (node, peer, beat) = (Arc::clone(&node), Arc::clone(peer), Arc::clone(&beat));
                under_way.spawn(async move {
                    // A peer that does not answer is noticed by what its answers would have renewed.
                    let _ = confirm(&node, &peer, &beat, PATIENCE).await;
                });
            }
        }
    }
}

/// One heartbeat: whether `peer` takes this node for the leader of that term.
///
/// # Errors
/// [`HttpError`] when it does not answer.
pub async fn confirm(
    node: &Node,
    peer: &Peer,
    beat: &Heartbeat,
    patience: Duration,
) -> Result<bool, HttpError> {
    let sent = Instant::now();
    let done: Done = node.ask(peer, "/internal/heartbeat", beat, patience).await?;
    if done.success {
        node.change(|state, _| state.answered(peer.index, beat.term, sent));
    }
    Ok(done.success)
}
