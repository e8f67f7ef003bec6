//! Anti-entropy: every now and then each node asks each peer for what is newer there. So whatever was lost on the way,
//! by a crash, a cut or a leader that gave up, arrives in the end, and all replicas come to hold the newest version.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::message::{Sync, Synced};
use super::node::{Node, Peer};
use crate::node::http::HttpError;
use crate::node::random;

/// Pulls begin this far apart …
const EVERY: Duration = Duration::from_millis(250);
/// … plus up to so much, ms.
const JITTER_MS: u64 = 150;
/// How long one question may take: over a slow link it still succeeds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pulls under way at a time. One begun while the link was cut may never end; a fresh one after the heal does.
const UNDER_WAY: usize = 8;
/// A store so large that comparing takes this share of the time is compared less often.
const MAX_SHARE: u32 = 10;
/// What one answer may hold, bytes of keys and values.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Fetches what `peer` has, again and again.
pub async fn catch_up(node: Arc<Node>, peer: Arc<Peer>) {
    let mut pulls = JoinSet::new();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next), if pulls.len() < UNDER_WAY => {
                next = Instant::now() + EVERY + Duration::from_millis(random::below(JITTER_MS));
                let (node, peer) = (Arc::clone(&node), Arc::clone(&peer));
                pulls.spawn(async move { pull(&node, &peer).await.unwrap_or_default() });
            }
            Some(worked) = pulls.join_next() => {
                next = next.max(Instant::now() + worked.unwrap_or_default() * MAX_SHARE);
            }
        }
    }
}

/// Takes over all that `peer` has newer; how long this node itself worked for it.
///
/// # Errors
/// [`HttpError`]
pub async fn pull(node: &Node, peer: &Peer) -> Result<Duration, HttpError> {
    let mut worked = Duration::ZERO;
    let mut question = Sync { summary: summary(node), versions: None };
    loop {
        let answer: Synced = node.ask(peer, "/internal/sync", &question, PATIENCE).await?;
        let began = Instant::now();
        if answer.same {
            return Ok(worked);
        }
        let possible = answer.entries.iter().filter(|item| item.version.is_possible());
        node.change(|state, _| {
            for item in possible {
                state.apply(item);
            }
        });
        if question.versions.is_some() && !answer.more {
            return Ok(worked);
        }
        let versions = node.kept.lock().versions();
        question = Sync { summary: summary(node), versions: Some(versions) };
        worked += began.elapsed();
    }
}

/// What a peer that asks lacks.
pub fn compare(node: &Node, theirs: &Sync) -> Synced {
    let durable = node.kept.durable();
    let state = node.kept.lock();
    let same = format!("{:016x}", state.summary()) == theirs.summary;
    let newer = match &theirs.versions {
        Some(versions) if !same => state.newer_than(versions, durable),
        _ => Vec::new(),
    };
    let term = state.term();
    drop(state);
    let mut room = MAX_ANSWER_BYTES;
    let mut entries = Vec::new();
    let count = newer.len();
    for item in newer {
        let size = item.key.len() + item.value.to_string().len();
        // One always fits, so that there is progress.
        if size > room && !entries.is_empty() {
            break;
        }
        room = room.saturating_sub(size);
        entries.push(item);
    }
    Synced { node_id: node.id.clone(), term, same, more: entries.len() < count, entries }
}

fn summary(node: &Node) -> String {
    format!("{:016x}", node.kept.lock().summary())
}
