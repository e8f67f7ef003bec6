//! The settle phase: waiting until the replicas agree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::allowance::Allowance;
use super::world::Shared;
use crate::history::Entry;
use crate::history::model::Held;
use crate::load::{Plan, Prober, Subscribers};
use crate::workload::Workload;

/// How often the replicas are asked what they hold.
const POLL: Duration = Duration::from_millis(50);
/// How often they are asked for whole logs, which are long.
const LOG_POLL: Duration = Duration::from_millis(250);

/// Waits until everybody has everything, their time is up or it is cut short. Whether they have.
pub async fn settle(
    workload: &Workload,
    shared: &Shared,
    plan: &Plan,
    subscribers: Option<&Subscribers>,
    cut_short: &impl Fn() -> bool,
) -> bool {
    match workload.load.kind.as_str() {
        "broadcast" => delivered(workload, shared, cut_short).await,
        "log" => logs(workload, shared, &plan.topics(), subscribers, cut_short).await,
        _ => {
            let keys = plan.keys_until(shared.targets.live().scheduled_until());
            replicas(workload, shared, &keys, cut_short).await
        }
    }
}

/// Waits until every node has delivered all that was sent, whatever came of the sending. A node that was started again begins
/// anew, and a message of unknown outcome may never come; then the time passes.
async fn delivered(workload: &Workload, shared: &Shared, cut_short: &impl Fn() -> bool) -> bool {
    let nodes = &workload.cluster.nodes;
    until(POLL, workload, shared, cut_short, async || {
        let mut consoles = (0..nodes.len()).filter_map(|place| shared.targets.console(place));
        let sent = shared.targets.acked() + shared.targets.unknown();
        consoles.all(|console| console.delivered() >= sent)
    })
    .await
}

/// Asks every node for every topic's log, again and again, until all show the same, every subscriber has what it is owed, and
/// nothing is missing that was acknowledged, delivered or shown: nodes that have all been started again may agree on too little
/// for a while, and a message of unknown outcome may take its place between a question and its answer.
async fn logs(
    workload: &Workload,
    shared: &Shared,
    topics: &[Arc<str>],
    subscribers: Option<&Subscribers>,
    cut_short: &impl Fn() -> bool,
) -> bool {
    let places = 0..workload.cluster.nodes.len();
    let mut probers: Vec<_> =
        places.filter_map(|place| Prober::new(&shared.targets, shared.clients, place)).collect();
    until(LOG_POLL, workload, shared, cut_short, async || {
        let mut agreed = true;
        for topic in topics {
            let answers = join_all(probers.iter_mut().map(|prober| prober.history(topic))).await;
            let shown: Option<Vec<&Vec<Entry>>> =
                answers.iter().map(|answer| answer.entries.as_deref()).collect();
            let values =
                |entries: &[Entry]| entries.iter().map(|entry| entry.value.clone()).collect::<Vec<_>>();
            let same = shown
                .as_ref()
                .is_some_and(|shown| shown.windows(2).all(|pair| values(pair[0]) == values(pair[1])));
            let log = shown.and_then(|shown| shown.first().copied()).map_or(&[][..], Vec::as_slice);
            agreed &= same
                && shared.targets.is_all_in(topic, log)
                && subscribers.is_none_or(|all| all.have(&shared.targets, topic, log));
        }
        agreed
    })
    .await
}

/// Asks every node what it holds, again and again, until all agree, their time is up or it is cut short. Whether they
/// agree.
async fn replicas(
    workload: &Workload,
    shared: &Shared,
    keys: &[Arc<str>],
    cut_short: &impl Fn() -> bool,
) -> bool {
    let places = 0..workload.cluster.nodes.len();
    let mut probers: Vec<_> =
        places.filter_map(|place| Prober::new(&shared.targets, shared.clients, place)).collect();
    until(POLL, workload, shared, cut_short, async || {
        let answers = join_all(probers.iter_mut().map(|prober| prober.snapshot(keys))).await;
        let held: Vec<_> = answers.iter().map(|answer| answer.snapshot.as_deref()).collect();
        agree(&held)
    })
    .await
}

/// Looks again and again whether everybody `has` everything, until they have, their time is up or it is cut short. Whether
/// they have.
async fn until(
    poll: Duration,
    workload: &Workload,
    shared: &Shared,
    cut_short: &impl Fn() -> bool,
    mut has: impl AsyncFnMut() -> bool,
) -> bool {
    let allowance = Allowance::new(workload.settle_within, shared, &workload.cluster.nodes);
    while !has().await {
        if allowance.is_over() || cut_short() {
            return false;
        }
        tokio::time::sleep(poll).await;
    }
    true
}

/// What each node holds, by its last snapshot; `None`: it did not answer.
type Replicas<'a> = [Option<&'a BTreeMap<Arc<str>, Held>>];

/// Whether every replica answered and all hold the same values, and the same versions where two of them expose one.
fn agree(replicas: &Replicas<'_>) -> bool {
    let Some(held) = replicas.iter().copied().collect::<Option<Vec<_>>>() else { return false };
    held.windows(2).all(|pair| same(pair[0], pair[1]))
}

fn same(left: &BTreeMap<Arc<str>, Held>, right: &BTreeMap<Arc<str>, Held>) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|((left_key, left), (right_key, right))| {
            let versions = match (&left.version, &right.version) {
                (Some(left), Some(right)) => left == right,
                _ => true,
            };
            left_key == right_key && left.value == right.value && versions
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Number, Value, Version};

    fn holding(entries: &[(&str, i64, Option<i64>)]) -> BTreeMap<Arc<str>, Held> {
        let held = |&(key, value, ts): &(&str, i64, Option<i64>)| {
            let version = ts.map(|ts| Version { ts: Number::Int(ts), origin: "A".into() });
            (Arc::from(key), Held { value: Value::int(value), version })
        };
        entries.iter().map(held).collect()
    }

    #[test]
    fn agreement_is_about_keys_values_and_versions() {
        let left = holding(&[("k1", 1, Some(3)), ("k2", 2, None)]);
        assert!(agree(&[Some(&left), Some(&left.clone())]));
        assert!(agree(&[Some(&left), Some(&holding(&[("k1", 1, None), ("k2", 2, Some(9))]))]));
        assert!(!agree(&[Some(&left), None]));
        assert!(!agree(&[Some(&left), Some(&holding(&[("k1", 1, Some(4)), ("k2", 2, None)]))]));
        assert!(!agree(&[Some(&left), Some(&holding(&[("k1", 1, Some(3))]))]));
        assert!(!agree(&[Some(&left), Some(&holding(&[("k1", 1, Some(3)), ("k3", 2, None)]))]));
    }
}
