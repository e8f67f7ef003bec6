//! Situations that random schedules seldom reach, step by step.

use crate::node::kept::Logged as _;
use crate::node::pubsub::bug::Bug;
use crate::node::pubsub::entry::{Entry, Now, Post, Stamp};
use crate::node::pubsub::replica::disk::{Record, Tail};
use crate::node::pubsub::replica::{
    Answer, ELECTION_MIN_MS, ELECTION_SPREAD_MS, HEARTBEAT_MS, Replica, Setup,
};
use crate::node::pubsub::rpc::{Outcome, Rpc};

fn at(ms: u64) -> Now {
    Now { awake_ms: ms, wall_ms: ms, corrected_ms: ms }
}

fn entry(term: u64, id: &str) -> Entry {
    let stamp = Stamp { ts: term, corrected_ts: term, logical: 0 };
    let post = Post { topic: "t".into(), id: id.into(), stamp, clock: "n1".into(), text: id.into() };
    Entry { term, post: Some(post.into()) }
}

/// n1 of so many nodes, in `term`, with these entries on disk.
fn node(members: usize, bug: Option<Bug>, term: u64, entries: Vec<Entry>) -> Replica {
    let members = (1..=members).map(|n| format!("n{n}")).collect();
    let setup = Setup { members, me: 0, bug, keep_entries: 100, seed: 7 };
    let record =
        Record { term, vote: Some("n1".into()), snapshot: None, tail: Some(Tail { from: 1, entries }) };
    Replica::recover(setup, vec![record], at(0))
}

/// Writes to disk, and gives what leaves then.
fn sent(node: &mut Replica, now: Now) -> Vec<(usize, Rpc)> {
    let _ = node.take_pending();
    node.on_disk(node.seq(), now);
    node.take_outputs().send
}

/// Makes it the leader of the next term, by the votes of n2 and n3.
fn elected(node: &mut Replica) -> Now {
    let now = at(ELECTION_MIN_MS + ELECTION_SPREAD_MS + 1);
    node.tick(now);
    for pre in [true, false] {
        let term = node.term() + u64::from(pre);
        sent(node, now);
        for peer in [1, 2] {
            node.step(peer, Rpc::Voted { term, pre, granted: true }, now);
        }
    }
    assert_eq!(node.role(), "leader");
    now
}

fn appended(node: &mut Replica, from: usize, index: u64, now: Now) {
    let term = node.term();
    node.step(from, Rpc::Appended { term, round: 1, ok: true, index }, now);
}

/// Figure 8 of the paper: an entry of an earlier term is on a majority, and may be overwritten nevertheless.
#[test]
fn an_older_entry_on_a_majority_is_not_committed_until_a_newer_one_is() {
    let older = vec![entry(1, "a"), entry(2, "b")];
    let mut leader = node(5, None, 3, older.clone());
    let now = elected(&mut leader);
    assert_eq!(leader.last(), 3, "its own entry comes after them");
    sent(&mut leader, now);
    appended(&mut leader, 1, 2, now);
    appended(&mut leader, 2, 2, now);
    assert_eq!(leader.commit(), 0, "three of five have entry 2, of an earlier term");
    appended(&mut leader, 1, 3, now);
    assert_eq!(leader.commit(), 0);
    appended(&mut leader, 2, 3, now);
    assert_eq!((leader.commit(), leader.topics().published()), (3, 2));

    let mut hasty = node(5, Some(Bug::CommitsOldTerm), 3, older);
    elected(&mut hasty);
    assert_eq!(hasty.commit(), 2, "the bug");
}

#[test]
fn nothing_is_said_before_it_is_on_disk() {
    let mut node = node(3, None, 1, vec![entry(1, "a")]);
    let now = at(10);
    node.step(1, Rpc::Vote { term: 2, pre: false, last_index: 1, last_term: 1 }, now);
    assert!(node.take_outputs().send.is_empty(), "the vote waits for the disk");
    let vote = node.take_pending().unwrap();
    assert_eq!((vote.term, vote.vote.as_deref(), vote.tail.is_none()), (2, Some("n2"), true));
    node.on_disk(node.seq(), now);
    assert_eq!(node.take_outputs().send, [(1, Rpc::Voted { term: 2, pre: false, granted: true })]);
    node.step(2, Rpc::Vote { term: 2, pre: false, last_index: 9, last_term: 1 }, now);
    assert_eq!(sent(&mut node, now), [(2, Rpc::Voted { term: 2, pre: false, granted: false })]);

    let append = |entries| Rpc::Append { term: 2, round: 1, prev_index: 1, prev_term: 1, entries, commit: 1 };
    node.step(1, append(vec![entry(2, "b")]), now);
    assert!(node.take_outputs().send.is_empty(), "the entry waits for the disk");
    assert_eq!(sent(&mut node, now), [(1, Rpc::Appended { term: 2, round: 1, ok: true, index: 2 })]);
    assert_eq!(node.commit(), 1);
}

/// A leader counts its own log when it is on disk, not before.
#[test]
fn a_leader_s_own_disk_counts() {
    let mut leader = node(3, None, 1, vec![]);
    let now = elected(&mut leader);
    appended(&mut leader, 1, 1, now);
    assert_eq!(leader.commit(), 0, "one follower has it, and this disk does not");
    sent(&mut leader, now);
    assert_eq!(leader.commit(), 1);
}

#[test]
fn whoever_hears_a_leader_helps_to_depose_it_only_in_earnest() {
    let mut node = node(3, None, 1, vec![]);
    let life = Rpc::Append { term: 1, round: 1, prev_index: 0, prev_term: 0, entries: vec![], commit: 0 };
    node.step(1, life, at(100));
    node.take_outputs();
    let ask = Rpc::Vote { term: 2, pre: true, last_index: 5, last_term: 1 };
    node.step(2, ask.clone(), at(100 + ELECTION_MIN_MS - 1));
    assert_eq!(node.take_outputs().send, [(2, Rpc::Voted { term: 1, pre: true, granted: false })]);
    node.step(2, ask, at(100 + ELECTION_MIN_MS));
    assert_eq!(node.take_outputs().send, [(2, Rpc::Voted { term: 2, pre: true, granted: true })]);
    assert_eq!((node.term(), node.leader()), (1, Some("n2")), "it promises nothing");
}

#[test]
fn a_leader_nobody_answers_steps_down_and_says_what_it_knows() {
    let mut leader = node(3, None, 1, vec![]);
    let now = elected(&mut leader);
    leader.publish(1, "t".into(), "m".into(), "text".into(), now);
    leader.read(2, now);
    let mut ms = now.awake_ms;
    while leader.role() == "leader" {
        ms += HEARTBEAT_MS;
        leader.tick(at(ms));
        assert!(ms < now.awake_ms + 2 * super::super::LEASE_MS);
    }
    assert_eq!(leader.take_outputs().answers, [(2, Answer::Read { confirmed: false })]);
    leader.publish(3, "t".into(), "n".into(), "text".into(), at(ms));
    let refused = Answer::Publish { outcome: Outcome::NotLeader, redirected: false };
    assert_eq!(leader.take_outputs().answers, [(3, refused)]);

    // Another leader's entries take the place of its own: now it is certain.
    let entries = vec![entry(3, "x"), entry(3, "y")];
    let append = Rpc::Append { term: 3, round: 1, prev_index: 0, prev_term: 0, entries, commit: 2 };
    leader.step(1, append, at(ms));
    let replaced = Answer::Publish { outcome: Outcome::Replaced, redirected: false };
    assert_eq!(leader.take_outputs().answers, [(1, replaced)]);
    assert_eq!((leader.last(), leader.commit()), (2, 2));
}

#[test]
fn one_entry_too_many_stays() {
    let fresh = |bug| {
        let mut node = node(3, bug, 2, vec![entry(1, "a"), entry(2, "old"), entry(2, "older")]);
        let entries = vec![entry(3, "b"), entry(3, "c"), entry(3, "d")];
        let append = Rpc::Append { term: 3, round: 1, prev_index: 1, prev_term: 1, entries, commit: 4 };
        node.step(1, append, at(1));
        let history = node.history("t", None, 9);
        history.iter().map(|(_, post)| post.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(fresh(None), ["a", "b", "c", "d"]);
    assert_eq!(fresh(Some(Bug::OffByOneTruncate)), ["a", "old", "c", "d"]);
}
