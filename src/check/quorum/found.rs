//! What the `quorum` check finds, and how it tells it.

use super::lost::Lost;
use crate::check::Violation;
use crate::check::facts::{Facts, KeyId, SightId, Witness, WriteId};
use crate::check::findings::Finding;
use crate::check::tell::{at, list};
use crate::history::Phase;

/// A broken claim or promise.
pub enum Found {
    /// An answer claims more replicas than could be reached.
    Impossible {
        write: WriteId,
        claimed: u64,
        /// Whether the answer gives the number; else it is the declared W.
        by_count: bool,
        /// Whom its node could reach.
        others: Vec<String>,
    },
    /// A strong read shows less than had been acknowledged.
    Stale {
        missed: WriteId,
        /// The write of what it shows, where time alone makes it older.
        older: Option<WriteId>,
        read: SightId,
        /// Whether what it misses is a delete.
        deleted: bool,
    },
    /// An acknowledged write that nobody has.
    Lost(Lost),
    /// Nothing acknowledged although enough nodes could serve.
    Refused {
        refused: Vec<WriteId>,
        group: Vec<String>,
        leader: Option<String>,
        /// Since when they could talk, since when they should serve, and until when, ns.
        span: (u64, u64, u64),
        quorum: u64,
    },
}

/// A violation but for its kind and key.
pub struct Told {
    pub nodes: Vec<String>,
    pub story: String,
    pub cause: String,
    pub ops: Vec<u64>,
    pub faults: Vec<String>,
}

impl Finding for Found {
    fn kind(&self) -> &'static str {
        match self {
            Found::Impossible { .. } => "impossible-quorum",
            Found::Stale { deleted: false, .. } => "stale-strong-read",
            Found::Stale { deleted: true, .. } => "deleted-value-returned",
            Found::Lost(_) => "lost-acknowledged",
            Found::Refused { .. } => "refused-with-quorum",
        }
    }

    fn key(&self, facts: &Facts) -> Option<KeyId> {
        match self {
            Found::Impossible { write, .. } | Found::Lost(Lost { write, .. }) => {
                Some(facts.write(*write).key)
            }
            Found::Stale { read, .. } => Some(facts.sight(*read).key),
            Found::Refused { .. } => None,
        }
    }

    fn weight(&self) -> u64 {
        match self {
            Found::Lost(_) => 400,
            Found::Impossible { claimed, others, .. } => 300 + (claimed - others.len() as u64).min(99),
            Found::Stale { older, .. } => 200 + u64::from(older.is_none()),
            Found::Refused { .. } => 100,
        }
    }

    fn tell(&self, facts: &Facts) -> Violation {
        let Told { nodes, story, cause, mut ops, faults } = match self {
            Found::Impossible { write, claimed, by_count, others } => {
                impossible(facts, *write, *claimed, *by_count, others)
            }
            Found::Stale { missed, older, read, .. } => stale(facts, *missed, *older, *read),
            Found::Lost(gone) => lost(facts, gone),
            Found::Refused { refused, group, leader, span, quorum } => {
                refusals(facts, refused, group, leader.as_deref(), *span, *quorum)
            }
        };
        ops.sort_unstable();
        ops.dedup();
        let key = self.key(facts).map(|key| facts.key_name(key).to_owned());
        Violation { kind: self.kind(), key, nodes, story, cause, ops, faults }
    }
}

fn impossible(facts: &Facts, id: WriteId, claimed: u64, by_count: bool, others: &[String]) -> Told {
    let write = facts.write(id);
    let node = facts.node_name(write.node);
    let returned_ns = write.op.returned_ns.unwrap_or(write.op.invoked_ns);
    let says = match by_count {
        true => format!("The answer says that {claimed} replicas hold it"),
        false => format!("So {claimed} replicas must hold it (W = {claimed})"),
    };
    let reached = match others {
        [] => "nobody but itself".to_owned(),
        others => format!("nobody but itself and {}", list(others)),
    };
    let (from, to) = (at(write.op.invoked_ns), at(returned_ns));
    Told {
        nodes: vec![node.into()],
        story: format!(
            "{}. {says}, but from {from} to {to} {node} could reach {reached}.",
            facts.tell_write(id)
        ),
        cause: format!(
            "{node} counts a copy that is not there, or its own twice, or answers without counting."
        ),
        ops: vec![write.op.index],
        faults: facts.history.faults_during(write.op.invoked_ns, returned_ns),
    }
}

fn stale(facts: &Facts, missed: WriteId, older: Option<WriteId>, read: SightId) -> Told {
    let (write, sight) = (facts.write(missed), facts.sight(read));
    let node = facts.node_name(sight.node);
    let (missed, read) = (Witness::Write(missed), Witness::Sight(read));
    let before = older.map(|id| format!("{}. Then ", facts.tell_write(id))).unwrap_or_default();
    let (what, cause) = match write.deletes() {
        true => (
            "the deleted value is back",
            format!(
                "The delete never reached a replica that {node} asked, or its answer was taken for the newer one."
            ),
        ),
        false => (
            "an older value than the latest acknowledged one",
            format!(
                "{node} answers from its own copy, or takes another answer than the newest of R replicas."
            ),
        ),
    };
    let mut ops = facts.proof(&[missed, read]);
    ops.extend(older.map(|id| facts.write(id).op.index));
    Told {
        nodes: vec![node.into()],
        story: format!("{before}{}. Then {}: {what}.", facts.tell(missed), facts.tell(read)),
        cause,
        ops,
        faults: facts.faults_between(missed, read),
    }
}

/// Tells of an acknowledged write that is gone.
pub fn lost(facts: &Facts, Lost { write: id, snapshots, before }: &Lost) -> Told {
    let write = facts.write(*id);
    let nodes: Vec<&str> = snapshots.iter().map(|(node, _)| facts.node_name(*node)).collect();
    let earlier: Vec<String> =
        before.iter().take(1).map(|id| format!("{}. Then ", facts.tell_write(*id))).collect();
    let cause = match write.deletes() {
        true => "The delete never reached the others, or an older value replaced it.",
        false => {
            "It was acknowledged before W replicas had it, or an older write replaced it, perhaps a deposed leader's."
        }
    };
    let mut ops = facts.proof(&[Witness::Write(*id)]);
    ops.extend(snapshots.iter().map(|(_, op)| *op));
    ops.extend(before.iter().map(|id| facts.write(*id).op.index));
    ops.sort_unstable();
    ops.dedup();
    let settle_ns = facts.history.phase_began_ns(Phase::Settle).unwrap_or(u64::MAX);
    Told {
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        story: format!(
            "{}{}. In the end no replica has it, or anything newer, {} among them, although fewer than W lost their memory.",
            earlier.concat(),
            facts.tell_write(*id),
            list(&nodes)
        ),
        cause: cause.to_owned(),
        ops,
        faults: facts.history.faults_during(write.op.invoked_ns, settle_ns),
    }
}

fn refusals(
    facts: &Facts,
    refused: &[WriteId],
    group: &[String],
    leader: Option<&str>,
    (from_ns, due_ns, until_ns): (u64, u64, u64),
    quorum: u64,
) -> Told {
    let nodes = list(group);
    let led = leader.map(|leader| format!(", led by {leader}")).unwrap_or_default();
    let who = leader.map_or_else(|| "any of them".to_owned(), |_| "the leader".to_owned());
    let first = refused.first().map(|id| facts.tell_write(*id)).unwrap_or_default();
    let asked = (due_ns - from_ns) as f64 / 1e9;
    Told {
        nodes: leader.map_or_else(|| group.to_vec(), |leader| vec![leader.to_owned()]),
        story: format!(
            "{nodes} could talk to each other from {} on{led}: enough for W = {quorum}. Yet from {asked:.1} s later until {} \
             not one write to {who} was acknowledged; the first: {first}.",
            at(from_ns),
            at(until_ns),
        ),
        cause:
            "It waits for all replicas instead of W, or has no leader although a majority could elect one."
                .to_owned(),
        ops: refused.iter().map(|id| facts.write(*id).op.index).collect(),
        faults: facts.history.faults_during(from_ns, until_ns),
    }
}
