//! Anti-entropy: every now and then each node reads each peer's whole store, takes over what is news to it, and
//! queues what the peer lacks. So whatever was lost on the way, by a crash or a cut, arrives in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value as Json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::bug::Bug;
use super::peer::Peer;
use super::replica::Replica;
use super::state::{MAX_TS, Write};
use crate::node::http::{Connection, HttpError};
use crate::node::random;

/// Pulls begin this far apart …
const EVERY: Duration = Duration::from_millis(400);
/// … plus up to so much, ms.
const JITTER_MS: u64 = 400;
/// How long one may take: over a slow link it still succeeds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pulls under way at a time. One begun while the link was cut may never end; a fresh one after the heal does.
const UNDER_WAY: usize = 4;
/// A store so large that pulling it takes this share of the time is pulled less often.
const MAX_SHARE: u32 = 20;

/// Keeps `replica` and `peer` at one state, for ever.
pub async fn catch_up(replica: Arc<Replica>, peer: Arc<Peer>) {
    // These never notice what they have missed.
    if [Bug::FireAndForget, Bug::NoCatchUp, Bug::BoundedQueue].into_iter().any(|bug| replica.has(bug)) {
        return;
    }
    let mut pulls = JoinSet::new();
    let mut next = Instant::now();
    let mut complained = false;
    loop {
        tokio::select! {
            () = sleep_until(next), if pulls.len() < UNDER_WAY => {
                next = Instant::now() + EVERY + Duration::from_millis(random::below(JITTER_MS));
                let peer = Arc::clone(&peer);
                pulls.spawn(async move {
                    timeout(PATIENCE, pull(&peer)).await.unwrap_or(Pulled::Nothing(None))
                });
            }
            Some(ended) = pulls.join_next() => match ended.unwrap_or(Pulled::Nothing(None)) {
                Pulled::Store(store) => {
                    let began = Instant::now();
                    peer.seen_alive();
                    for write in replica.reconcile(store) {
                        peer.tell(write);
                    }
                    next = next.max(Instant::now() + began.elapsed() * MAX_SHARE);
                }
                Pulled::Nothing(why) => {
                    if let (Some(why), false) = (why, complained) {
                        say!("{}: cannot catch up from {}: {why}", replica.id, peer.pool.url.as_str());
                        complained = true;
                    }
                }
            },
        }
    }
}

/// What came of one pull.
enum Pulled {
    Store(BTreeMap<String, Write>),
    /// Nothing, and why where waiting will not help.
    Nothing(Option<String>),
}

async fn pull(peer: &Peer) -> Pulled {
    let answer = async {
        let mut connection = Connection::open(&peer.pool.url).await?;
        connection.call("/status", None).await
    };
    let answer: Result<_, HttpError> = answer.await;
    match answer {
        Ok((StatusCode::OK, body)) => match parse_store(&body) {
            Some(store) => Pulled::Store(store),
            None => Pulled::Nothing(Some("its /status has no \"store\" as the lab defines it".into())),
        },
        Ok((status, _)) => Pulled::Nothing(Some(format!("its /status answers {status}"))),
        Err(_) => Pulled::Nothing(None),
    }
}

/// The store of a `/status` answer; entries that are no versioned values are left out.
fn parse_store(body: &[u8]) -> Option<BTreeMap<String, Write>> {
    let mut answer: Json = serde_json::from_slice(body).ok()?;
    let Json::Object(store) = answer.get_mut("store")?.take() else { return None };
    let entry = |(key, mut entry): (String, Json)| {
        let ts = entry.get("ts")?.as_u64().filter(|ts| *ts <= MAX_TS)?;
        let origin = entry.get("origin")?.as_str()?.to_owned();
        let value = entry.get_mut("value")?.take();
        Some((key.clone(), Write { key, value, ts, origin }))
    };
    Some(store.into_iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_store_is_read_and_what_is_none_left_out() {
        let body = br#"{"ok":true,"store":{
            "k1":{"value":[1],"ts":3,"origin":"A"}, "k2":{"value":1,"ts":-3,"origin":"A"},
            "k3":17, "k4":{"value":null,"ts":4,"origin":"B"}, "k5":{"ts":4,"origin":"B"}}}"#;
        let store = parse_store(body).unwrap();
        assert_eq!(store.keys().collect::<Vec<_>>(), ["k1", "k4"]);
        assert_eq!(store["k1"].version(), (3, "A"));
        assert_eq!(parse_store(b"<html>"), None);
        assert_eq!(parse_store(br#"{"store":3}"#), None);
    }
}
