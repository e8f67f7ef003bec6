//! Who leads: Raft's election (Ongaro and Ousterhout, 2014, section 5.2), with the pre-vote of Ongaro's dissertation
//! (2014, section 9.6), so that a node that was cut off does not depose a leader the others hear well.
//!
//! Raft lets only those lead who have every committed entry. Here any may, and fetches what a majority has before it
//! takes writes: versions, not positions in a log, say which value is newer.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::bug::Bug;
use super::message::{Vote, Voted};
use super::node::Node;
use super::sync::pull;

/// How long a round of votes may take.
const ROUND: Duration = Duration::from_millis(300);
/// How often somebody waiting for an election looks whether it is time.
const LOOK: Duration = Duration::from_millis(50);
/// Between two tries to fetch what a peer has.
const PAUSE: Duration = Duration::from_millis(50);

/// Stands for election whenever it is time, for ever.
pub async fn stand_when_due(node: Arc<Node>) {
    loop {
        match node.change(|state, _| state.election()) {
            Some(due) if due <= Instant::now() => {
                if node.has(Bug::TwoLeaders) || node.has(Bug::UrlSortsFirst) {
                    lowest_leads(&node).await;
                } else {
                    campaign(&node).await;
                }
            }
            due => {
                let look = Instant::now() + LOOK;
                sleep_until(due.map_or(look, |due| due.min(look))).await;
            }
        }
    }
}

async fn campaign(node: &Arc<Node>) {
    let term = node.change(|state, now| {
        state.give_up_leader(now);
        state.term() + 1
    });
    if !majority_votes(node, term, true).await {
        return;
    }
    if !stand(node, term).await || !majority_votes(node, term, false).await {
        return;
    }
    let followers = node.majority() - 1;
    if node.change(|state, now| state.win(term, followers, now)) {
        say!("{}: leader of term {term}", node.id);
        tokio::spawn(synchronise(Arc::clone(node), term));
    }
}

/// Enters `term` with a vote for itself, which is on disk when this returns.
async fn stand(node: &Node, term: u64) -> bool {
    let (stands, promised) = node.change(|state, now| (state.stand(term, now), state.promised_seq()));
    if stands {
        node.kept.on_disk(promised).await;
    }
    stands
}

async fn majority_votes(node: &Arc<Node>, term: u64, pre: bool) -> bool {
    let mut votes = 1;
    let mut asked = ask_all(node, term, pre);
    while votes < node.majority() {
        match asked.join_next().await {
            Some(Ok(Some(voted))) => votes += usize::from(voted.granted),
            Some(_) => {}
            None => return false,
        }
    }
    asked.detach_all();
    true
}

fn ask_all(node: &Arc<Node>, term: u64, pre: bool) -> JoinSet<Option<Voted>> {
    let request = Vote { term, candidate_id: node.id.clone(), pre };
    let mut asked = JoinSet::new();
    for peer in &node.peers {
        let (node, peer, request) = (Arc::clone(node), Arc::clone(peer), request.clone());
        asked.spawn(async move { node.ask::<Voted>(&peer, "/internal/vote", &request, ROUND).await.ok() });
    }
    asked
}

/// Fetches what a majority has, this node included, before it takes writes as the leader of `term`.
async fn synchronise(node: Arc<Node>, term: u64) {
    let mut pulls = JoinSet::new();
    for peer in &node.peers {
        let (node, peer) = (Arc::clone(&node), Arc::clone(peer));
        pulls.spawn(async move {
            while pull(&node, &peer).await.is_err() {
                sleep(PAUSE).await;
            }
        });
    }
    let fetched = async {
        for _ in 1..node.majority() {
            // As many as there are peers at most, and each goes on until it succeeds.
            pulls.join_next().await;
        }
        node.kept.flush().await;
    };
    tokio::select! {
        () = fetched => {
            node.change(|state, _| state.make_ready(term));
        }
        () = node.deposed(term) => {}
    }
}

/// The election of [`Bug::TwoLeaders`] and [`Bug::UrlSortsFirst`]: the lowest of those that answer leads.
async fn lowest_leads(node: &Arc<Node>) {
    let mut term = node.change(|state, now| {
        state.give_up_leader(now);
        state.term()
    });
    let mut reachable = 0;
    let mut lowest = true;
    let mut asked = ask_all(node, term, true);
    while let Some(answer) = asked.join_next().await {
        if let Ok(Some(voted)) = answer {
            reachable += 1;
            term = term.max(voted.term);
            lowest &= node.id < voted.node_id;
        }
    }
    if node.has(Bug::UrlSortsFirst) {
        // "node1" < "http://…" is false: with whatever id, in this node the URL sorts first.
        lowest = node.peers.is_empty();
    }
    if lowest && stand(node, term + 1).await && node.change(|state, now| state.win(term + 1, reachable, now))
    {
        say!("{}: leader of term {}, {reachable} peers answer", node.id, term + 1);
        tokio::spawn(synchronise(Arc::clone(node), term + 1));
    }
}
