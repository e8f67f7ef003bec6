use serde_json::{Value as Json, json};

use super::*;

fn state(bug: Option<Bug>) -> (State, Instant) {
    let now = Instant::now();
    (State::recover("n2", bug, Vec::new(), 2, now), now)
}

fn leader(bug: Option<Bug>) -> (State, Instant) {
    let (mut state, now) = state(bug);
    assert!(state.stand(1, now) && state.win(1, 1, now) && state.make_ready(1));
    (state, now)
}

fn item(key: &str, value: u64, version: Version) -> Arc<Item> {
    Arc::new(Item { key: key.into(), value: json!(value), deleted: false, version })
}

fn vote(term: u64, candidate: &str, pre: bool) -> Vote {
    Vote { term, candidate_id: candidate.into(), pre }
}

#[test]
fn a_follower_stands_only_when_nobody_leads() {
    let (mut state, now) = state(None);
    state.hear(4, "n1", now).unwrap();
    assert!(!state.stand(5, now + ELECTION_MIN / 2), "the leader lives");
    assert!(!state.vote(&vote(5, "n3", true), now + ELECTION_MIN / 2));
    let due = state.election().unwrap();
    assert!((ELECTION_MIN..=ELECTION_MIN + ELECTION_SPREAD).contains(&due.duration_since(now)));
    assert!(state.vote(&vote(5, "n3", true), due), "it would vote");
    assert_eq!(state.term(), 4, "and has not yet");
    assert!(!state.stand(4, due) && !state.stand(6, due), "terms go up by one");
    assert!(state.stand(5, due));
    assert!(!state.vote(&vote(5, "n3", false), due), "it has voted for itself");
    assert!(state.vote(&vote(6, "n3", false), due), "a later term, a new vote");
    assert!(!state.win(5, 1, due), "its own election is over");
}

#[test]
fn a_later_term_ends_a_leader_and_an_earlier_one_is_told() {
    let (mut state, now) = leader(None);
    assert_eq!(state.hear(1, "n1", now), Err(1), "a term has one leader");
    assert_eq!(state.next_version(now), Some(Version::new(1, 1)));
    state.see_term(3, now);
    assert_eq!((state.standing().role, state.term(), state.next_version(now)), (Role::Follower, 3, None));
    assert_eq!(state.hear(2, "n1", now), Err(3));
    assert_eq!(state.hear(3, "n1", now), Ok(()));
    assert_eq!(state.standing().leader.as_deref(), Some("n1"));
}

#[test]
fn a_leader_nobody_answers_steps_down() {
    let (mut state, now) = leader(None);
    state.answered(1, 1, now + LEASE / 2);
    state.lapse(now + LEASE);
    assert!(state.leads_in(1), "one answer and itself are a majority");
    assert!(!state.hears_all(now + LEASE));
    state.answered(0, 0, now + LEASE * 9);
    state.lapse(now + LEASE * 2);
    assert!(!state.leads_in(1), "an answer to another term is none");
    let (mut deaf, now) = leader(Some(Bug::NoTermCheck));
    deaf.lapse(now + LEASE * 2);
    deaf.see_term(7, now);
    assert_eq!(deaf.hear(7, "n1", now), Ok(()));
    assert!(deaf.leads_in(1));
}

#[test]
fn the_newest_version_stays_and_summaries_tell_stores_apart() {
    let (mut left, now) = leader(None);
    let (mut right, _) = state(None);
    let versions: Vec<Version> = (0..3).map(|_| left.next_version(now).unwrap()).collect();
    assert!(versions.is_sorted());
    let items = [item("a", 1, versions[0]), item("b", 2, versions[1]), item("a", 3, versions[2])];
    items.iter().for_each(|item| _ = left.apply(item));
    items.iter().rev().for_each(|item| _ = right.apply(item));
    assert_eq!(left.summary(), right.summary(), "in whichever order");
    assert_eq!(left.versions(), right.versions());
    assert_eq!(*left.get("a").unwrap().item, *items[2]);
    right.apply(&item("c", 4, Version::new(1, 9)));
    assert_ne!(left.summary(), right.summary());
    let news = right.newer_than(&left.versions(), u64::MAX);
    assert_eq!(news.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(right.newer_than(&left.versions(), 0).is_empty(), "what is not on disk is not told");
}

#[test]
fn what_is_recovered_is_what_was_recorded() {
    let (mut state, now) = leader(None);
    let first = state.take_pending().unwrap();
    assert_eq!((first.term, first.vote.as_deref(), first.items.len()), (1, Some("n2"), 0));
    assert!(state.take_pending().is_none());
    let version = state.next_version(now).unwrap();
    let seq = state.apply(&item("a", 1, version));
    assert_eq!(seq, state.seq());
    let tombstone = Item { key: "b".into(), value: Json::Null, deleted: true, version: Version::new(1, 7) };
    state.apply(&Arc::new(tombstone));
    for records in [vec![first, state.take_pending().unwrap()], vec![state.whole()]] {
        let mut again = State::recover("n2", None, records, 2, now);
        assert_eq!((again.term(), again.summary()), (1, state.summary()));
        assert!(!again.vote(&vote(1, "n3", false), now));
        assert!(again.get("b").unwrap().item.deleted);
    }
}

#[test]
fn settled_is_said_of_what_is_held_only() {
    let (mut state, now) = leader(None);
    let (old, new) = (state.next_version(now).unwrap(), state.next_version(now).unwrap());
    state.apply(&item("a", 1, new));
    state.settle("a", old);
    assert!(!state.get("a").unwrap().settled, "the newer one may be here alone");
    state.settle("a", new);
    assert!(state.get("a").unwrap().settled);
    state.apply(&item("a", 2, Version::new(2, 1)));
    assert!(!state.get("a").unwrap().settled);
}

#[test]
fn the_bugs_of_the_state_are_those() {
    let (mut state, now) = leader(Some(Bug::OverwritesOnHeal));
    state.apply(&item("a", 1, Version::new(1, 1)));
    state.lapse(now + LEASE);
    state.apply(&item("a", 2, Version::new(2, 5)));
    state.hear(2, "n1", now).unwrap();
    assert_eq!(state.get("a").unwrap().item.value, json!(1), "what it had when it led");
    assert_eq!(state.take_outbox().len(), 1);

    let (mut state, now) = leader(Some(Bug::TwoLeaders));
    assert_eq!(state.hear(1, "n3", now), Err(1));
    assert_eq!(state.hear(1, "n1", now), Ok(()));
    assert_eq!(state.standing().role, Role::Follower);

    let (mut state, _) = leader(Some(Bug::DeleteNotReplicated));
    let tombstone = Item { key: "a".into(), value: Json::Null, deleted: true, version: Version::new(1, 1) };
    let before = state.summary();
    state.apply(&Arc::new(tombstone));
    assert!(state.versions().is_empty() && state.summary() == before);
}
