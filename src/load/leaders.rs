//! Who leads, as far as the nodes have said.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::client::Answer;
use crate::history::Outcome;

/// Stands for "nobody" where a node's place is kept.
const NOBODY: usize = usize::MAX;

/// What each node last said of its role, by status probes, and whom nodes that refused writes named. Shared by clients,
/// the set-up and whatever aims at a leader.
///
/// It is a belief, not knowledge: a leader that was cut off or stopped goes on being one here until another says that it
/// leads in a later term, or until nobody listens where it was.
#[derive(Debug)]
pub struct Leaders {
    nodes: Vec<Arc<str>>,
    state: Mutex<State>,
    /// What [`Leaders::believed`] answers, so that an operation pays no lock for it.
    believed: AtomicUsize,
}

#[derive(Debug)]
struct State {
    said: Vec<Option<Said>>,
    /// Why a node's last probe was not answered with a role.
    unanswered: Vec<Option<String>>,
    hinted: Option<usize>,
}

/// A node's answer to a status probe.
#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    role: Option<Arc<str>>,
    term: Option<u64>,
    leads: bool,
}

impl Leaders {
    /// Nobody has said anything yet.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a Arc<str>>) -> Self {
        let nodes: Vec<Arc<str>> = nodes.into_iter().cloned().collect();
        let state =
            State { said: vec![None; nodes.len()], unanswered: vec![None; nodes.len()], hinted: None };
        Self { nodes, state: Mutex::new(state), believed: AtomicUsize::new(NOBODY) }
    }

    /// The place of the node that leads: of those that last said they do, the one with the highest term; of equals, the
    /// one that said it last.
    pub fn leader(&self) -> Option<usize> {
        self.lock().leader()
    }

    /// The id of [`Leaders::leader`].
    pub fn leader_id(&self) -> Option<Arc<str>> {
        self.leader().map(|place| Arc::clone(&self.nodes[place]))
    }

    /// Where to send what is for the leader: to the one that leads, else to whom a node named last.
    pub fn believed(&self) -> Option<usize> {
        Some(self.believed.load(Ordering::Relaxed)).filter(|place| *place != NOBODY)
    }

    /// What each node last said of itself, in words, for people.
    pub fn words(&self) -> Vec<String> {
        let state = self.lock();
        let word = |(place, id): (usize, &Arc<str>)| match (&state.unanswered[place], &state.said[place]) {
            (Some(why), _) => format!("{id}: {why}"),
            (None, Some(said)) => {
                let role = said.role.as_deref().unwrap_or("no role");
                let term = said.term.map_or_else(String::new, |term| format!(" in term {term}"));
                format!("{id} says {role}{term}")
            }
            (None, None) => format!("{id} was not asked yet"),
        };
        self.nodes.iter().enumerate().map(word).collect()
    }

    /// Takes in a node's answer to a status probe.
    pub(super) fn heard(&self, place: usize, answer: &Answer) {
        self.change(|state| {
            if answer.refused {
                state.said[place] = None;
            }
            let ok = answer.outcome == Outcome::Ok;
            // Whoever is silent may lead all the same; what it said last stands.
            state.unanswered[place] =
                (!ok).then(|| answer.error.clone().unwrap_or_else(|| "no answer".to_owned()));
            if let (true, Some(claim)) = (ok, &answer.claim) {
                state.said[place] = Some(Said {
                    at: Instant::now(),
                    role: claim.role.clone(),
                    term: claim.term,
                    leads: claim.leads(),
                });
            }
        });
    }

    /// Another node named this one.
    pub(super) fn hinted(&self, place: usize) {
        self.change(|state| state.hinted = Some(place));
    }

    /// Nobody listens there any more, or somebody else does: what it said counts no longer.
    pub fn gone(&self, place: usize) {
        self.change(|state| {
            state.said[place] = None;
            state.hinted = state.hinted.filter(|hinted| *hinted != place);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let believed = state.leader().or(state.hinted).unwrap_or(NOBODY);
        // Within the lock, lest an older belief be stored over a newer one.
        self.believed.store(believed, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leader(&self) -> Option<usize> {
        let leads = |(place, said): (usize, &Option<Said>)| {
            let said = said.as_ref().filter(|said| said.leads)?;
            Some((said.term, said.at, place))
        };
        self.said.iter().enumerate().filter_map(leads).max().map(|(_, _, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Claim, Value};

    fn leaders() -> Leaders {
        Leaders::new(&["A", "B", "C"].map(Arc::from))
    }

    fn says(role: &str, term: Option<u64>) -> Answer {
        let claim = Claim { role: Some(role.into()), term, ..Claim::default() };
        let mut answer = Answer::broken(Outcome::Ok, &Value::Nil, "");
        answer.claim = Some(Box::new(claim));
        answer
    }

    fn silent(refused: bool) -> Answer {
        Answer { refused, ..Answer::broken(Outcome::Fail, &Value::Nil, "no answer within 1s") }
    }

    #[test]
    fn the_highest_term_leads_whoever_spoke_last() {
        let leaders = leaders();
        assert_eq!((leaders.leader(), leaders.believed()), (None, None));
        leaders.heard(0, &says("leader", Some(1)));
        leaders.heard(1, &says("follower", Some(1)));
        assert_eq!(leaders.leader_id().as_deref(), Some("A"));
        leaders.heard(1, &says("leader", Some(2)));
        // A was cut off and has not heard of it.
        leaders.heard(0, &says("leader", Some(1)));
        assert_eq!((leaders.leader(), leaders.believed()), (Some(1), Some(1)));
        leaders.heard(1, &says("follower", Some(3)));
        leaders.heard(0, &says("follower", Some(3)));
        assert_eq!(leaders.leader(), None);
    }

    #[test]
    fn without_terms_the_last_word_counts() {
        let leaders = leaders();
        leaders.heard(2, &says("leader", None));
        leaders.heard(0, &says("leader", None));
        assert_eq!(leaders.leader(), Some(0));
    }

    #[test]
    fn silence_is_no_resignation_but_absence_is() {
        let leaders = leaders();
        leaders.heard(0, &says("leader", Some(1)));
        leaders.heard(0, &silent(false));
        assert_eq!(leaders.leader(), Some(0));
        assert_eq!(leaders.words()[0], "A: no answer within 1s");
        leaders.heard(0, &silent(true));
        assert_eq!(leaders.leader(), None);
        leaders.heard(1, &says("candidate", Some(4)));
        assert_eq!(leaders.words()[1..], ["B says candidate in term 4", "C was not asked yet"]);
    }

    #[test]
    fn a_hint_counts_where_nobody_says_that_it_leads() {
        let leaders = leaders();
        leaders.hinted(2);
        assert_eq!((leaders.leader(), leaders.believed()), (None, Some(2)));
        leaders.heard(1, &says("leader", Some(1)));
        assert_eq!(leaders.believed(), Some(1));
        leaders.gone(1);
        assert_eq!(leaders.believed(), Some(2));
        leaders.gone(2);
        assert_eq!(leaders.believed(), None);
    }
}
