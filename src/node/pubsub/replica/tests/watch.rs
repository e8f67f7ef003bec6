//! What must hold at every step of a simulated run (figure 3 of the paper), and what clients were promised.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::sim::{Node, TOPICS};
use crate::node::pubsub::entry::Entry;
use crate::node::pubsub::replica::Replica;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Election safety: two leaders in one term.
    TwoLeaders(u64),
    /// Log matching: an entry in two logs, and before it something differs.
    LogsDiffer(u64),
    /// Leader completeness: a leader without a committed entry.
    LeaderLacks(u64),
    /// State machine safety: two nodes applied different entries at one place.
    AppliedDiffer(u64),
    /// Two nodes have another message at one offset.
    TopicsDiffer(String),
    /// One id twice.
    Twice(String),
    /// An acknowledged message is nowhere.
    Lost(String),
    /// A message that certainly did not happen did.
    Undead(String),
    /// HISTORY showed what was never committed.
    Dirty(String),
    /// A subscriber missed an offset.
    Gap(u64),
    /// A read missed what was acknowledged before.
    Stale(String),
    /// Hybrid time did not grow.
    Clock(String),
    /// No message was acknowledged in time after the last fault.
    NotLive,
    /// Nodes that do not agree after all faults.
    NotAgreed(String),
}

/// What was seen so far.
pub struct Watch {
    leaders: BTreeMap<u64, usize>,
    /// With the term of the node that was first seen to have applied it.
    committed: BTreeMap<u64, (Entry, u64)>,
    topics: HashMap<String, Vec<String>>,
    known: HashSet<String>,
    /// In the order in which they were acknowledged.
    pub acked: Vec<String>,
    /// Per id, attempts that may have happened.
    open: HashMap<String, u64>,
    /// Histories that were longer than what was known to be committed.
    early: Vec<(String, Vec<String>)>,
    seen: Vec<Seen>,
    pub snapshots: u64,
    looks: u64,
}

/// What was looked at of one node since it started.
#[derive(Clone, Default)]
struct Seen {
    applied: u64,
    lengths: HashMap<String, u64>,
    /// Its subscriber's next offset, per topic; subscribers come back where they were.
    next: HashMap<String, u64>,
}

impl Watch {
    pub fn new(nodes: usize) -> Watch {
        Watch {
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            topics: HashMap::new(),
            known: HashSet::new(),
            acked: Vec::new(),
            open: HashMap::new(),
            early: Vec::new(),
            seen: vec![Seen::default(); nodes],
            snapshots: 0,
            looks: 0,
        }
    }

    pub fn terms(&self) -> usize {
        self.leaders.len()
    }

    pub fn restarted(&mut self, node: usize) {
        let next = std::mem::take(&mut self.seen[node].next);
        self.seen[node] = Seen { next, ..Seen::default() };
    }

    pub fn asked(&mut self, id: &str) {
        *self.open.entry(id.to_owned()).or_default() += 1;
    }

    pub fn acknowledged(&mut self, id: String) {
        if !self.acked.contains(&id) {
            self.acked.push(id);
        }
    }

    pub fn refused(&mut self, id: &str) {
        *self.open.get_mut(id).unwrap() -= 1;
    }

    /// A confirmed read shows the first `shows` messages that were acknowledged.
    pub fn read(&self, replica: &Replica, shows: usize) -> Result<(), Broken> {
        let shown: HashSet<&str> = replica
            .topics()
            .all()
            .flat_map(|(_, messages)| messages)
            .map(|(_, post)| post.id.as_str())
            .collect();
        let missed = self.acked[..shows].iter().find(|id| !shown.contains(id.as_str()));
        missed.map_or(Ok(()), |id| Err(Broken::Stale(id.clone())))
    }

    pub fn look(&mut self, at: usize, nodes: &[Node]) -> Result<(), Broken> {
        let Some(replica) = &nodes[at].replica else { return Ok(()) };
        self.leads(at, replica)?;
        self.applied(at, replica)?;
        self.subscribed(at, replica)?;
        self.looks += 1;
        if self.looks.is_multiple_of(64) {
            self.history(replica)?;
            for other in nodes.iter().filter_map(|node| node.replica.as_ref()) {
                match_logs(replica, other)?;
            }
        }
        Ok(())
    }

    fn leads(&mut self, at: usize, replica: &Replica) -> Result<(), Broken> {
        if replica.role() != "leader" {
            return Ok(());
        }
        match self.leaders.insert(replica.term(), at) {
            Some(before) if before == at => return Ok(()),
            Some(_) => return Err(Broken::TwoLeaders(replica.term())),
            None => {}
        }
        // An entry committed in some term is in the logs of all leaders of later terms. One that was elected late, in a term that
        // was over by then, may lack what a newer leader committed, also entries of terms before its own.
        for (index, (entry, term)) in &self.committed {
            if *term <= replica.term()
                && *index > replica.log.base()
                && replica.log.get(*index) != Some(entry)
            {
                return Err(Broken::LeaderLacks(*index));
            }
        }
        Ok(())
    }

    fn applied(&mut self, at: usize, replica: &Replica) -> Result<(), Broken> {
        let seen = &mut self.seen[at];
        if seen.applied < replica.log.base() && replica.applied() > seen.applied && seen.applied > 0 {
            self.snapshots += 1;
        }
        for index in seen.applied + 1..=replica.applied() {
            let Some(entry) = replica.log.get(index) else { continue };
            let (before, _) = self.committed.entry(index).or_insert_with(|| (entry.clone(), replica.term()));
            if before != entry {
                return Err(Broken::AppliedDiffer(index));
            }
        }
        seen.applied = replica.applied();
        for (topic, messages) in replica.topics().all() {
            let length = seen.lengths.entry(topic.to_owned()).or_default();
            let reference = self.topics.entry(topic.to_owned()).or_default();
            for at in *length as usize..messages.len() {
                let post = &messages[at].1;
                if at > 0 && messages[at - 1].1.stamp.key() >= post.stamp.key() {
                    return Err(Broken::Clock(post.id.clone()));
                }
                if at < reference.len() {
                    if reference[at] != post.id {
                        return Err(Broken::TopicsDiffer(topic.to_owned()));
                    }
                    continue;
                }
                if !self.known.insert(post.id.clone()) {
                    return Err(Broken::Twice(post.id.clone()));
                }
                reference.push(post.id.clone());
            }
            *length = messages.len() as u64;
        }
        Ok(())
    }

    fn subscribed(&mut self, at: usize, replica: &Replica) -> Result<(), Broken> {
        for topic in TOPICS {
            let next = self.seen[at].next.entry(topic.to_owned()).or_default();
            if replica.topics().len(topic) <= *next {
                continue;
            }
            let (placed, end) = replica.topics().deliver(topic, *next, usize::MAX);
            for (offset, _) in placed {
                if offset != *next {
                    return Err(Broken::Gap(*next));
                }
                *next += 1;
            }
            if *next != end {
                return Err(Broken::Gap(*next));
            }
        }
        Ok(())
    }

    fn history(&mut self, replica: &Replica) -> Result<(), Broken> {
        for topic in TOPICS {
            let shown: Vec<String> =
                replica.history(topic, Some(0), usize::MAX).iter().map(|(_, post)| post.id.clone()).collect();
            let reference = self.topics.entry(topic.to_owned()).or_default();
            let common = shown.len().min(reference.len());
            if shown[..common] != reference[..common] {
                return Err(Broken::Dirty(topic.to_owned()));
            }
            if shown.len() > common {
                self.early.push((topic.to_owned(), shown));
            }
        }
        Ok(())
    }

    /// All is quiet: the nodes agree, and every promise to a client is kept.
    pub fn at_rest(&self, nodes: &[Node]) -> Result<(), Broken> {
        let states = nodes.iter().filter_map(|node| node.replica.as_ref());
        let states: Vec<_> =
            states.map(|node| (node.commit(), node.applied(), node.topics().digest())).collect();
        if states.iter().any(|state| *state != states[0]) || states.len() < nodes.len() {
            return Err(Broken::NotAgreed(format!("{states:?}")));
        }
        for id in &self.acked {
            if !self.known.contains(id) {
                return Err(Broken::Lost(id.clone()));
            }
        }
        for (id, open) in &self.open {
            if *open == 0 && self.known.contains(id) {
                return Err(Broken::Undead(id.clone()));
            }
        }
        for (topic, shown) in &self.early {
            if self.topics.get(topic).is_none_or(|reference| !reference.starts_with(shown)) {
                return Err(Broken::Dirty(topic.clone()));
            }
        }
        Ok(())
    }
}

fn match_logs(one: &Replica, other: &Replica) -> Result<(), Broken> {
    let from = one.log.base().max(other.log.base()) + 1;
    let mut same = false;
    for index in (from..=one.last().min(other.last())).rev() {
        let (a, b) = (one.log.get(index), other.log.get(index));
        same |= one.log.term(index) == other.log.term(index);
        if same && a != b {
            return Err(Broken::LogsDiffer(index));
        }
    }
    Ok(())
}
