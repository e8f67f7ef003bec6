//! Who sent what, who delivered it when, and who was there all along.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Delivery, Fault, History, Op, Outcome, Phase, Value};

/// Number of a message.
pub type MessageId = usize;
/// Number of a process: one life of a node.
pub type ProcessId = usize;

/// A message somebody was asked to send.
pub struct Message<'h> {
    /// The requests to send it: more than one where an unknown outcome made a client ask again.
    pub ops: Vec<&'h Op>,
}

impl<'h> Message<'h> {
    /// The only request, where there was one that was carried out.
    pub fn sent(&self) -> Option<&'h Op> {
        match self.ops[..] {
            [op] if op.is_ok() => Some(op),
            _ => None,
        }
    }

    /// When it can first have been sent, ns; `None`: it certainly never was.
    pub fn asked_ns(&self) -> Option<u64> {
        self.ops.iter().filter(|op| op.outcome != Outcome::Fail).map(|op| op.invoked_ns).min()
    }
}

/// What one process delivered, in its order.
pub struct Sequence<'h> {
    /// The node.
    pub node: &'h str,
    /// Which of its lives.
    pub life: usize,
    /// First deliveries of messages that were sent.
    pub items: Vec<(MessageId, &'h Delivery)>,
    /// Where in `items` each message is.
    pub place: HashMap<MessageId, usize>,
    /// What it was given to send, in order, with the requests; only what was certainly given to this life.
    pub sent: Vec<(MessageId, &'h Op)>,
    /// Deliveries of what nobody sent.
    pub strange: Vec<&'h Delivery>,
    /// Second deliveries, with the first ones.
    pub repeated: Vec<(&'h Delivery, &'h Delivery)>,
    /// Whether it was there from the first start to the end.
    pub correct: bool,
    /// Whether it was there at the end.
    pub stays: bool,
    /// Whether the others removed it from the group, or may have, under a fault; where the contract has such a thing.
    pub removable: bool,
    /// When it said that they had, as indices of events.
    pub removed: Vec<u64>,
}

impl Sequence<'_> {
    /// Whether it must in the end have delivered whatever others did.
    pub fn owes_all(&self) -> bool {
        self.correct && !self.removable
    }

    /// How often it had been removed by a delivery of its own.
    pub fn stint(&self, place: usize) -> usize {
        self.items
            .get(place)
            .map_or(0, |(_, delivery)| self.removed.partition_point(|index| *index < delivery.index))
    }

    /// Whether its sequence begins where the group's does.
    pub fn begins_with_the_group(&self) -> bool {
        self.life == 0
    }
}

/// A history of broadcasts, indexed. Time and memory are linear in it.
pub struct Broadcasts<'h> {
    /// The history.
    pub history: &'h History,
    /// Every message.
    pub messages: Vec<Message<'h>>,
    /// Every process that was started, also one that delivered nothing.
    pub sequences: Vec<Sequence<'h>>,
    /// Whether the run healed and had its time to deliver everything.
    pub settled: bool,
    /// The middle of the settling, ns: what a process delivers later need not have come to the others before the end.
    in_time_ns: u64,
    /// Whether every node of the contract is a correct process that nothing can have removed.
    pub whole: bool,
}

impl<'h> Broadcasts<'h> {
    /// Indexes a history.
    pub fn new(history: &'h History) -> Self {
        let mut messages: Vec<Message> = Vec::new();
        let mut by_value: HashMap<&Value, MessageId> = HashMap::new();
        for op in history.ops.iter().filter(|op| &*op.f == "broadcast") {
            let id = *by_value.entry(&op.value).or_insert_with(|| {
                messages.push(Message { ops: Vec::new() });
                messages.len() - 1
            });
            messages[id].ops.push(op);
        }
        let settled = history.phase_began_ns(Phase::Settle).is_some()
            && (history.phase_began_ns(Phase::Done).is_some() || history.converged_ms.is_some());
        let settle_ns = history.phase_began_ns(Phase::Settle).unwrap_or_default();
        let done_ns = history.phase_began_ns(Phase::Done).unwrap_or(u64::MAX);
        let in_time_ns = settle_ns + done_ns.saturating_sub(settle_ns) / 2;
        let mut facts =
            Broadcasts { history, messages, sequences: Vec::new(), settled, in_time_ns, whole: true };
        facts.add_sequences(&by_value);
        let nodes = &history.contract.nodes;
        facts.whole = nodes
            .iter()
            .all(|node| facts.sequences.iter().any(|sequence| sequence.node == node && sequence.owes_all()));
        facts
    }

    fn add_sequences(&mut self, by_value: &HashMap<&Value, MessageId>) {
        let mut deliveries: BTreeMap<(&str, usize), Vec<&Delivery>> = BTreeMap::new();
        for (node, lives) in &self.history.lives {
            for life in 0..lives.len() {
                deliveries.insert((node, life), Vec::new());
            }
        }
        for delivery in self.history.deliveries.iter().filter(|delivery| delivery.subscriber.is_none()) {
            deliveries.entry((&delivery.node, delivery.life)).or_default().push(delivery);
        }
        for ((node, life), deliveries) in deliveries {
            let told = self.history.removals.iter();
            let told = told.filter(|removal| (&*removal.node, removal.life) == (node, life));
            // Where nobody may be removed, to say so is no excuse.
            let told = told.filter(|_| self.history.contract.views);
            let removed: Vec<u64> = told.map(|removal| removal.index).collect();
            let silenced = match self.history.contract.removals_told {
                true => !removed.is_empty(),
                false => self.was_silenced(node),
            };
            let mut sequence = Sequence {
                node,
                life,
                items: Vec::new(),
                place: HashMap::new(),
                sent: self.sent_by(node, life),
                strange: Vec::new(),
                repeated: Vec::new(),
                correct: self.is_correct(node),
                stays: self.lasts(node, life),
                removable: self.history.contract.views && silenced,
                removed,
            };
            for delivery in deliveries {
                let Some(id) = by_value.get(&delivery.entry.value).copied() else {
                    sequence.strange.push(delivery);
                    continue;
                };
                match sequence.place.get(&id) {
                    Some(first) => sequence.repeated.push((sequence.items[*first].1, delivery)),
                    None => {
                        sequence.place.insert(id, sequence.items.len());
                        sequence.items.push((id, delivery));
                    }
                }
            }
            self.sequences.push(sequence);
        }
    }

    /// Whether what was delivered there had time to come to everybody before the run was over.
    pub fn had_time(&self, delivery: &Delivery) -> bool {
        delivery.time_ns <= self.in_time_ns
    }

    /// When the first fault began or the first process ended, ns: until then nobody had a reason to remove anybody.
    pub fn undisturbed_until_ns(&self) -> u64 {
        let faults = self.history.faults.iter().map(|fault| fault.began_ns);
        let ends = self.history.lives.values().flatten().filter_map(|life| life.ended_ns);
        faults.chain(ends).min().unwrap_or(u64::MAX)
    }

    fn sent_by(&self, node: &str, life: usize) -> Vec<(MessageId, &'h Op)> {
        let here = |op: &&Op| {
            let returned_ns = op.returned_ns.unwrap_or(u64::MAX);
            op.node.as_deref() == Some(node)
                && self.history.life_at(node, op.invoked_ns) == life
                && self.history.life_at(node, returned_ns) == life
        };
        let sent = self.messages.iter().enumerate();
        let mut sent: Vec<_> =
            sent.filter_map(|(id, message)| Some((id, message.sent().filter(here)?))).collect();
        sent.sort_by_key(|(_, op)| op.index);
        sent
    }

    /// One life, begun before the load, not over before the run was.
    fn is_correct(&self, node: &str) -> bool {
        self.history.lives.get(node).is_none_or(|lives| lives.len() == 1) && self.lasts(node, 0)
    }

    /// Whether this life of a node was not over before the run was.
    fn lasts(&self, node: &str, life: usize) -> bool {
        let done_ns = self.history.phase_began_ns(Phase::Done).unwrap_or(u64::MAX);
        // A history without lives (written by hand, imported) tells of no crash.
        let Some(lives) = self.history.lives.get(node) else { return true };
        life + 1 == lives.len() && lives[life].ended_ns.is_none_or(|ended_ns| ended_ns >= done_ns)
    }

    /// Whether a fault may have kept the others from hearing it for a while. Where that, or an end, came to half of the
    /// nodes, there may have been no majority left to go on, and everybody may have begun anew.
    fn was_silenced(&self, node: &str) -> bool {
        let nodes = &self.history.contract.nodes;
        let silenced = |node: &str| self.history.faults.iter().any(|fault| silences(fault, node, nodes));
        let gone = nodes.iter().filter(|node| silenced(node) || !self.is_correct(node)).count();
        silenced(node) || gone * 2 >= nodes.len()
    }

    /// Pairs of messages of different nodes, each asked for before the other had been delivered anywhere: those whose order
    /// was not plain. At most so many as there are messages are counted: how many neighbours in time are such a pair.
    pub fn concurrent(&self) -> u64 {
        let mut first: HashMap<MessageId, u64> = HashMap::new();
        for (id, delivery) in self.sequences.iter().flat_map(|sequence| &sequence.items) {
            let known = first.entry(*id).or_insert(delivery.time_ns);
            *known = delivery.time_ns.min(*known);
        }
        let mut asked: Vec<(u64, MessageId)> =
            (0..self.messages.len()).filter_map(|id| Some((self.messages[id].asked_ns()?, id))).collect();
        asked.sort_unstable();
        let node = |id: MessageId| self.messages[id].ops[0].node.as_deref();
        let overlap = |pair: &&[(u64, MessageId)]| {
            let (earlier, (later_ns, later)) = (pair[0].1, pair[1]);
            first.get(&earlier).is_none_or(|seen_ns| *seen_ns > later_ns) && node(earlier) != node(later)
        };
        asked.windows(2).filter(overlap).count() as u64
    }

    /// Deliveries that processes which may have been removed, or came in later, do not owe.
    pub fn excused(&self) -> u64 {
        let delivered: HashSet<MessageId> =
            self.sequences.iter().flat_map(|sequence| sequence.items.iter().map(|(id, _)| *id)).collect();
        let excused = self.sequences.iter().filter(|sequence| sequence.correct && sequence.removable);
        excused.map(|sequence| (delivered.len() - sequence.items.len()) as u64).sum()
    }

    /// `m17`, as its sender wrote it.
    pub fn name(&self, id: MessageId) -> String {
        self.messages[id].ops[0].value.plain()
    }
}

/// Whether a fault, by what was really done, may have kept most others from hearing `node`.
fn silences(fault: &Fault, node: &str, nodes: &[String]) -> bool {
    // Whoever is heard twice is heard.
    if &*fault.f == "duplicate" {
        return false;
    }
    let links = fault.links();
    if links.is_empty() {
        return fault.target.iter().any(|target| &**target == node);
    }
    let silent: HashSet<&str> = links
        .into_iter()
        .filter_map(|(from, to)| match (from == node, to == node) {
            (true, _) => Some(to),
            (_, true) => Some(from),
            _ => None,
        })
        .collect();
    // Whoever still reaches a majority, itself included, is not the one that is removed.
    let heard = nodes.len() - silent.len();
    heard * 2 <= nodes.len()
}
