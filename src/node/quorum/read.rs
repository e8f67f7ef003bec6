//! Reads at three levels.
//!
//! `strong` is the reader's half of Attiya, Bar-Noy and Dolev's register (1995) with Gifford's quorums (1979): ask R
//! replicas, take the newest version, and answer when W replicas hold it. Without that last step a read could show a
//! write that only one replica has, and a later read, by others, could miss it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::bug::Bug;
use super::message::{Done, Get, Got, Item, Repair, Version};
use super::node::{Node, Peer};

/// How long a read may take.
pub const DEADLINE: Duration = Duration::from_millis(800);

/// What a read found: `None`, a key nobody asked has heard of.
pub type Found = Option<Arc<Item>>;

/// Too few replicas answered, so that nothing can be said.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreachable;

/// `consistency=eventual`: what this node has, on its disk.
pub async fn eventual(node: &Node, key: &str) -> Found {
    let (item, seq) = {
        let state = node.kept.lock();
        let entry = state.get(key)?;
        (Arc::clone(&entry.item), entry.seq)
    };
    node.kept.on_disk(seq).await;
    Some(item)
}

/// `consistency=strong`
///
/// # Errors
/// [`Unreachable`] when fewer than R replicas answer, or fewer than W hold what was found.
pub async fn strong(node: &Arc<Node>, key: &str) -> Result<Found, Unreachable> {
    let own = eventual(node, key).await;
    if node.has(Bug::LocalStrongRead) {
        return Ok(own);
    }
    let deadline = Instant::now() + DEADLINE;
    let wanted = node.read_quorum - 1;
    let theirs = timeout_at(deadline, first_answers(node, key, wanted, |_| false)).await;
    let theirs = theirs.map_err(|_| Unreachable)?;
    if theirs.len() < wanted {
        return Err(Unreachable);
    }
    let Some(found) = choose(node, own.as_ref(), &theirs) else { return Ok(None) };
    settle(node, &found, &theirs, deadline).await?;
    Ok(Some(found))
}

/// `consistency=read_your_writes`: at least as new as every write which `token` stands for.
///
/// A token is the newest version that the session was told of. Versions are ordered over all keys, so a copy of this
/// key that is as new as the token misses no write of the session. An older copy may still be the newest there is: the
/// token may be another key's. Then the newest of N-W+1 replicas has it, as each acknowledged write is on one of them.
///
/// # Errors
/// [`Unreachable`] when too few answer to tell.
pub async fn your_writes(node: &Arc<Node>, key: &str, token: Version) -> Result<Found, Unreachable> {
    let own = eventual(node, key).await;
    let is_new = |item: &Item| item.version >= token;
    if node.has(Bug::UnreadPending) || token == Version::default() || own.as_deref().is_some_and(is_new) {
        return Ok(own);
    }
    let deadline = Instant::now() + DEADLINE;
    let wanted = node.total() - node.write_quorum;
    let enough = |found: &Found| found.as_deref().is_some_and(is_new);
    let theirs = timeout_at(deadline, first_answers(node, key, wanted, enough)).await;
    let theirs = theirs.map_err(|_| Unreachable)?;
    let newest = newest(own.as_ref(), &theirs);
    if theirs.len() < wanted && !newest.as_deref().is_some_and(is_new) {
        return Err(Unreachable);
    }
    if let Some(newest) = &newest {
        node.store(newest).await;
    }
    Ok(newest)
}

/// Asks all peers and returns the first `wanted` answers, or fewer where the others fail, or where one is `enough`.
async fn first_answers(
    node: &Arc<Node>,
    key: &str,
    wanted: usize,
    enough: impl Fn(&Found) -> bool,
) -> Vec<(usize, Found)> {
    let mut answers = Vec::new();
    if wanted == 0 {
        return answers;
    }
    let mut asked = JoinSet::new();
    for peer in &node.peers {
        let (node, peer, get) = (Arc::clone(node), Arc::clone(peer), Get { key: key.to_owned() });
        asked.spawn(async move {
            let got: Got = node.ask(&peer, "/internal/get", &get, DEADLINE).await.ok()?;
            // A version that no leader gives would outrank all there ever will be.
            let item = got.item.filter(|item| item.key == get.key && item.version.is_possible());
            Some((peer.index, item))
        });
    }
    while answers.len() < wanted
        && let Some(answer) = asked.join_next().await
    {
        let Ok(Some(answer)) = answer else { continue };
        let done = enough(&answer.1);
        answers.push(answer);
        if done {
            break;
        }
    }
    // Their connections outlive the question.
    asked.detach_all();
    answers
}

fn choose(node: &Node, own: Option<&Arc<Item>>, theirs: &[(usize, Found)]) -> Found {
    let all = || own.into_iter().chain(theirs.iter().filter_map(|(_, found)| found.as_ref()));
    if node.has(Bug::FirstAnswerWins)
        && let Some(first) = all().find(|item| !item.deleted)
    {
        return Some(Arc::clone(first));
    }
    if node.has(Bug::NoVersions) {
        return all().last().map(Arc::clone);
    }
    newest(own, theirs)
}

fn newest(own: Option<&Arc<Item>>, theirs: &[(usize, Found)]) -> Found {
    let all = own.into_iter().chain(theirs.iter().filter_map(|(_, found)| found.as_ref()));
    all.max_by_key(|item| item.version).map(Arc::clone)
}

/// Makes sure that W replicas hold `item` or what is newer.
async fn settle(
    node: &Arc<Node>,
    item: &Arc<Item>,
    theirs: &[(usize, Found)],
    deadline: Instant,
) -> Result<(), Unreachable> {
    let covers = |held: &Item| match node.has(Bug::NoVersions) {
        true => held.version == item.version,
        false => held.version >= item.version,
    };
    let (told, known) = {
        let state = node.kept.lock();
        let known = state.get(&item.key).is_some_and(|entry| entry.settled && covers(&entry.item));
        (state.tells(item), known)
    };
    // Whoever is known to lack it gets it, also where W others hold it: read repair.
    let holds = |found: &Found| found.as_deref().is_some_and(covers);
    let holders: Vec<usize> =
        theirs.iter().filter(|(_, found)| holds(found)).map(|(peer, _)| *peer).collect();
    let stale = theirs.iter().filter(|(_, found)| !holds(found)).map(|(peer, _)| *peer);
    let stored = node.store(item);
    if known || !told {
        for peer in stale.filter(|_| told) {
            tokio::spawn(repair(Arc::clone(node), Arc::clone(&node.peers[peer]), Arc::clone(item), deadline));
        }
        stored.await;
        return Ok(());
    }
    let mut count = holders.len() + 1;
    let ask_others = count < node.write_quorum;
    let stale: Vec<usize> = stale.collect();
    let mut repairs = JoinSet::new();
    for peer in &node.peers {
        if stale.contains(&peer.index) || (ask_others && !holders.contains(&peer.index)) {
            repairs.spawn(repair(Arc::clone(node), Arc::clone(peer), Arc::clone(item), deadline));
        }
    }
    stored.await;
    while count < node.write_quorum
        && let Some(done) = repairs.join_next().await
    {
        count += usize::from(done.unwrap_or(false));
    }
    // The others are told as well, without anybody waiting for it.
    repairs.detach_all();
    if count < node.write_quorum {
        return Err(Unreachable);
    }
    node.change(|state, _| state.settle(&item.key, item.version));
    Ok(())
}

/// Tells `peer` of `item`; whether it holds it now, or a newer one.
pub async fn repair(node: Arc<Node>, peer: Arc<Peer>, item: Arc<Item>, deadline: Instant) -> bool {
    let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
    let done: Result<Done, _> = node.ask(&peer, "/internal/repair", &Repair { item }, left).await;
    done.is_ok_and(|done| done.success)
}
