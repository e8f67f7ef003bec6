//! What an answer says beside values and versions: of the node, of the quorum, of the leader, and what the session keeps.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value as Json;

use super::answer::{Answer, Body, Place, number_of, text_of};
use crate::history::{Claim, Number, Outcome};

/// The longest token that is kept, bytes: it goes into every later request of its session.
const MAX_TOKEN_BYTES: usize = 4096;
/// How many hints of one answer are looked at.
const MAX_HINTS: usize = 4;

/// Where an operation's answers say so.
#[derive(Clone, Debug, Default)]
pub(super) struct Sayings {
    /// Whether the write quorum was met.
    pub achieved: Vec<Place>,
    /// How many replicas hold the write; of a list, its length.
    pub acks: Vec<Place>,
    /// The node's role.
    pub role: Vec<Place>,
    /// The term.
    pub term: Vec<Place>,
    /// The leader's id.
    pub leader: Vec<Place>,
    /// What the session's next requests carry.
    pub token: Vec<Place>,
    /// Who should be asked instead.
    pub hint: Vec<Place>,
    /// How a node says that it leads, in lower case, where not by `leader`.
    pub leader_word: Option<Arc<str>>,
}

impl Sayings {
    /// Adds what `body` says to `answer`, whatever its outcome.
    pub fn complete(&self, answer: &mut Answer, body: &Body<'_>) {
        let claim = self.claim(body);
        answer.claim = (!claim.is_empty()).then(|| Box::new(claim));
        answer.token = body.find(&self.token).find_map(|found| {
            // A line feed in a header would begin another header, so a token that has one is none.
            let fits = |text: &str| text.len() <= MAX_TOKEN_BYTES && !text.contains(char::is_control);
            text_of(&found).filter(|text| fits(text)).map(|text| text.as_ref().into())
        });
        // Many answers name the leader; it matters only where nothing was done.
        if answer.outcome == Outcome::Fail {
            answer.hints = body
                .find(&self.hint)
                .filter_map(|found| text_of(&found).map(Cow::into_owned))
                .take(MAX_HINTS)
                .collect();
        }
    }

    fn claim(&self, body: &Body<'_>) -> Claim {
        let text =
            |places| body.find(places).find_map(|found| text_of(&found).map(|text| text.trim().into()));
        Claim {
            achieved: body.find(&self.achieved).find_map(|found| truth_of(&found)),
            acks: body.find(&self.acks).find_map(|found| count_of(&found)),
            role: text(&self.role).map(|role: Arc<str>| self.role(&role)),
            term: body.find(&self.term).find_map(|found| whole(&found)),
            leader: text(&self.leader).filter(|leader: &Arc<str>| !leader.is_empty()),
        }
    }

    fn role(&self, said: &str) -> Arc<str> {
        let role = said.to_lowercase();
        if self.leader_word.as_deref() == Some(&*role) { "leader".into() } else { role.into() }
    }
}

fn truth_of(json: &Json) -> Option<bool> {
    match json {
        Json::Bool(truth) => Some(*truth),
        Json::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

fn count_of(json: &Json) -> Option<u64> {
    match json {
        Json::Array(list) => Some(list.len() as u64),
        other => whole(other),
    }
}

fn whole(json: &Json) -> Option<u64> {
    match number_of(json)? {
        Number::Int(int) => u64::try_from(int).ok(),
        Number::Float(_) => None,
    }
}
