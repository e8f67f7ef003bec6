//! What the log comes to when it is applied: topics, and the ids of all that was ever published.
//!
//! Everything is kept in memory, for ever: a message costs about 300 bytes and its own length, a third of that for its
//! id. Forgetting an id would make it possible to publish it twice, and this node promises that nobody can.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bug::Bug;
use super::entry::{Post, Stamp};

/// So many ids [`Bug::DedupEvicts`] remembers.
const REMEMBERED: u64 = 100;

/// A message with its offset in the topic.
pub type Placed = (u64, Arc<Post>);

/// The state as of one entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last entry in it,
    pub index: u64,
    /// and its term.
    pub term: u64,
    /// See [`Topics::digest`].
    pub digest: u64,
    /// The greatest stamp, published or not.
    pub stamp: Stamp,
    /// Messages with the entries they were in: topic after topic, in each by offset.
    pub messages: Vec<(u64, Arc<Post>)>,
}

#[derive(Debug, Default)]
struct Topic {
    /// By offset; with the entry each was in.
    messages: Vec<(u64, Arc<Post>)>,
    /// What [`Bug::SubscriberGap`] keeps from subscribers.
    hidden: BTreeSet<u64>,
}

/// The applied log.
#[derive(Debug, Default)]
pub struct Topics {
    bug: Option<Bug>,
    topics: BTreeMap<String, Topic>,
    /// Of each id which message it was, counted over all topics from 1.
    ids: HashMap<String, u64>,
    published: u64,
    digest: u64,
    stamp: Stamp,
}

impl Topics {
    /// Nothing yet.
    pub fn new(bug: Option<Bug>) -> Self {
        Topics { bug, ..Topics::default() }
    }

    /// The state of `snapshot`, which takes the place of `known` where the node was running.
    pub fn restore(snapshot: &Snapshot, bug: Option<Bug>, known: Option<&Topics>) -> Self {
        let mut topics = Topics::new(bug);
        for (index, post) in &snapshot.messages {
            let topic = topics.topics.entry(post.topic.clone()).or_default();
            topic.messages.push((*index, Arc::clone(post)));
        }
        if let Some(known) = known.filter(|_| bug == Some(Bug::SubscriberGap)) {
            for (name, topic) in &mut topics.topics {
                let shown = known.len(name);
                topic.hidden = (shown..topic.messages.len() as u64).collect();
                topic.hidden.extend(known.topics.get(name).iter().flat_map(|topic| &topic.hidden));
            }
        }
        let mut in_order: Vec<_> = snapshot.messages.iter().collect();
        in_order.sort_by_key(|(index, _)| *index);
        for (number, (_, post)) in (1..).zip(in_order) {
            topics.ids.insert(post.id.clone(), number);
            topics.published = number;
        }
        (topics.digest, topics.stamp) = (snapshot.digest, snapshot.stamp);
        topics
    }

    /// All of it, as of the entry `index` of `term`.
    pub fn snapshot(&self, index: u64, term: u64) -> Snapshot {
        let messages = self.topics.values().flat_map(|topic| &topic.messages);
        let messages = messages.map(|(index, post)| (*index, Arc::clone(post))).collect();
        Snapshot { index, term, digest: self.digest, stamp: self.stamp, messages }
    }

    /// Applies the entry `index`; `false`: its id was published before. `late`, where a bug minds: the node was behind;
    /// `swap`: before the one that came before it.
    pub fn apply(&mut self, index: u64, post: &Arc<Post>, late: bool, swap: bool) -> bool {
        if post.stamp.key() > self.stamp.key() {
            self.stamp = post.stamp;
        }
        if self.knows(&post.id) && self.bug != Some(Bug::DedupLocal) {
            return false;
        }
        self.published += 1;
        self.ids.insert(post.id.clone(), self.published);
        let topic = self.topics.entry(post.topic.clone()).or_default();
        let place = topic.messages.len().saturating_sub(usize::from(swap));
        let offset = place as u64;
        topic.messages.insert(place, (index, Arc::clone(post)));
        if late && self.bug == Some(Bug::SubscriberGap) {
            topic.hidden.insert(offset);
        }
        for part in [&post.topic, &post.id, &post.text, &offset.to_string()] {
            self.digest = mix(self.digest, part);
        }
        true
    }

    /// Whether a message with this id is published.
    pub fn knows(&self, id: &str) -> bool {
        let number = self.ids.get(id);
        number
            .is_some_and(|number| self.bug != Some(Bug::DedupEvicts) || self.published - number < REMEMBERED)
    }

    /// How many messages a topic has: the offset of its next one.
    pub fn len(&self, topic: &str) -> u64 {
        self.topics.get(topic).map_or(0, |topic| topic.messages.len() as u64)
    }

    /// How many messages there are in all.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Equal, for nodes that applied as much, where they hold the same in the same order.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Topics and how many messages each has.
    pub fn lengths(&self) -> impl Iterator<Item = (&str, u64)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic.messages.len() as u64))
    }

    /// At most `count` messages of a topic: the first from the offset `from` on, or the last.
    pub fn history(&self, topic: &str, from: Option<u64>, count: usize) -> Vec<Placed> {
        let Some(topic) = self.topics.get(topic) else { return Vec::new() };
        let len = topic.messages.len();
        let first = from.map_or(len.saturating_sub(count), |from| usize::try_from(from).unwrap_or(len));
        let placed = (0..).zip(&topic.messages).skip(first).take(count);
        placed.map(|(offset, (_, post))| (offset, Arc::clone(post))).collect()
    }

    /// At most `count` messages for a subscriber that has all below the offset `next`, and the offset to go on from.
    pub fn deliver(&self, topic: &str, next: u64, count: usize) -> (Vec<Placed>, u64) {
        let mut placed = self.history(topic, Some(next), count);
        let end = placed.last().map_or(next, |(offset, _)| offset + 1);
        if let Some(topic) = self.topics.get(topic) {
            placed.retain(|(offset, _)| !topic.hidden.contains(offset));
        }
        (placed, end)
    }

    /// The messages of a topic in order, with the entries they were in.
    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = (&str, &[(u64, Arc<Post>)])> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic.messages.as_slice()))
    }
}

/// FNV-1a over what was before, the length and the letters: enough to tell honest histories apart.
fn mix(digest: u64, text: &str) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let before = if digest == 0 { 0xcbf2_9ce4_8422_2325 } else { digest };
    text.as_bytes().iter().fold((text.len() as u64).to_le_bytes().iter().fold(before, fold), fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(topic: &str, id: &str) -> Arc<Post> {
        let stamp = Stamp { ts: 1, corrected_ts: id.len() as u64, logical: 0 };
        Arc::new(Post {
            topic: topic.into(),
            id: id.into(),
            stamp,
            clock: "n1".into(),
            text: format!("{id}!"),
        })
    }

    fn filled(bug: Option<Bug>, count: u64) -> Topics {
        let mut topics = Topics::new(bug);
        for index in 1..=count {
            let topic = if index % 3 == 0 { "b" } else { "a" };
            assert!(topics.apply(index, &post(topic, &format!("m{index}")), index > 10, false));
        }
        topics
    }

    #[test]
    fn an_id_is_published_once_in_all_topics_and_for_ever() {
        let mut topics = filled(None, 500);
        assert!(
            !topics.apply(501, &post("a", "m1"), false, false)
                && !topics.apply(502, &post("c", "m500"), false, false)
        );
        assert_eq!(
            (topics.published(), topics.len("a"), topics.len("b"), topics.len("c")),
            (500, 334, 166, 0)
        );
        let mut again = Topics::restore(&topics.snapshot(502, 3), None, None);
        assert!(!again.apply(503, &post("a", "m2"), false, false));
        assert_eq!((again.digest(), again.snapshot(502, 3)), (topics.digest(), topics.snapshot(502, 3)));

        // The bug forgets the 101st newest, also across a snapshot.
        let mut evicts = filled(Some(Bug::DedupEvicts), 500);
        assert!(evicts.knows("m401") && !evicts.knows("m400"));
        evicts = Topics::restore(&evicts.snapshot(500, 3), evicts.bug, None);
        assert!(evicts.knows("m401") && evicts.apply(501, &post("a", "m400"), false, false));
        let mut local = filled(Some(Bug::DedupLocal), 5);
        assert!(local.apply(6, &post("a", "m5"), false, false));
    }

    #[test]
    fn history_is_the_end_of_a_topic_or_from_an_offset_on() {
        let topics = filled(None, 12);
        let ids = |from, count| {
            let placed = topics.history("a", from, count);
            placed.iter().map(|(offset, post)| format!("{offset}:{}", post.id)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ids(None, 2), "6:m10 7:m11");
        assert_eq!(ids(None, 0), "");
        assert_eq!(ids(Some(1), 2), "1:m2 2:m4");
        assert_eq!(ids(Some(8), 2), "");
        assert_eq!(ids(Some(u64::MAX), usize::MAX), "");
        assert_eq!(topics.history("a", None, 100).len(), 8);
        assert!(topics.history("nope", None, 100).is_empty());
    }

    #[test]
    fn subscribers_see_every_offset_unless_the_bug_hides_it() {
        let seen =
            |topics: &Topics| topics.deliver("a", 2, 100).0.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(seen(&filled(None, 12)), [2, 3, 4, 5, 6, 7]);
        let gap = filled(Some(Bug::SubscriberGap), 12);
        assert_eq!(seen(&gap), [2, 3, 4, 5, 6]);
        assert_eq!(gap.deliver("a", 2, 100).1, 8);
        let behind = filled(Some(Bug::SubscriberGap), 6);
        assert_eq!(seen(&Topics::restore(&gap.snapshot(12, 1), behind.bug, Some(&behind))), [2, 3]);
        assert_eq!(gap.history("a", None, 100).len(), 8, "HISTORY has them all");
    }
}
