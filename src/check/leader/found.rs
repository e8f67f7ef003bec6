//! What the `leader` check finds, and how it tells it.

use super::Led;
use crate::check::Violation;
use crate::check::facts::{Facts, KeyId};
use crate::check::findings::Finding;
use crate::check::tell::{at, list};
use crate::history::Op;

/// A broken promise about leaders.
pub enum Found<'h> {
    /// Two nodes led in one term.
    TwoLeaders { first: Led<'h>, second: Led<'h> },
    /// A write was acknowledged in a term that was over.
    Deposed { newer: Led<'h>, write: Led<'h> },
    /// Nobody led.
    Nobody {
        group: Vec<&'h str>,
        from_ns: u64,
        to_ns: u64,
        elect_ms: u64,
        /// What each of the group last said.
        last: Vec<&'h Op>,
    },
}

impl Finding for Found<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Found::TwoLeaders { .. } => "two-leaders-one-term",
            Found::Deposed { .. } => "deposed-leader-acknowledged",
            Found::Nobody { .. } => "no-leader",
        }
    }

    fn key(&self, facts: &Facts) -> Option<KeyId> {
        match self {
            Found::Deposed { write, .. } => write.op.key.as_deref().and_then(|key| facts.keys.find(key)),
            _ => None,
        }
    }

    fn weight(&self) -> u64 {
        match self {
            Found::TwoLeaders { .. } => u64::MAX,
            Found::Deposed { newer, write } => 1 + (newer.term - write.term).min(99),
            Found::Nobody { from_ns, to_ns, .. } => 1_000 + (to_ns - from_ns),
        }
    }

    fn tell(&self, facts: &Facts) -> Violation {
        let key = self.key(facts).map(|key| facts.key_name(key).to_owned());
        let (nodes, story, cause, mut ops, faults) = match self {
            Found::TwoLeaders { first, second } => {
                let names = [first, second].map(|led| facts.node_name(led.node).to_owned());
                let until_ns = first.op.end_ns().max(second.op.end_ns());
                (
                    names.to_vec(),
                    format!("{}, and {}: one term, two leaders.", said(facts, first), said(facts, second)),
                    "Leading does not take a majority's votes, or a node votes twice in a term.".to_owned(),
                    vec![first.op.index, second.op.index],
                    facts.history.faults_during(first.op.invoked_ns.min(second.op.invoked_ns), until_ns),
                )
            }
            Found::Deposed { newer, write } => {
                let (leader, deposed) = (facts.node_name(newer.node), facts.node_name(write.node));
                (
                    vec![deposed.to_owned()],
                    format!(
                        "{}. A write asked for after that, at {}, was still acknowledged by {deposed} in term {}, at {}.",
                        said(facts, newer),
                        at(write.op.invoked_ns),
                        write.term,
                        at(write.op.end_ns()),
                    ),
                    format!(
                        "The replicas that voted for {leader} go on taking what {deposed} sends in its old term, or {deposed} does \
                         not ask them."
                    ),
                    vec![newer.op.index, write.op.index],
                    facts.history.faults_during(newer.op.invoked_ns, write.op.end_ns()),
                )
            }
            Found::Nobody { group, from_ns, to_ns, elect_ms, last } => {
                let says = last.iter().map(|op| words(op)).collect::<Vec<_>>();
                let nodes = list(group);
                (
                    group.iter().map(|node| (*node).to_owned()).collect(),
                    format!(
                        "From {} to {} {nodes} could talk to each other and answered, and no node said that it leads; an election \
                         may take {:.1} s. Their last words: {}.",
                        at(*from_ns),
                        at(*to_ns),
                        *elect_ms as f64 / 1e3,
                        says.join(", "),
                    ),
                    "No node takes itself for the one to lead, or none gets the votes it wants.".to_owned(),
                    last.iter().map(|op| op.index).collect(),
                    facts.history.faults_during(*from_ns, *to_ns),
                )
            }
        };
        ops.sort_unstable();
        ops.dedup();
        Violation { kind: self.kind(), key, nodes, story, cause, ops, faults }
    }
}

/// `B said at 3.214 s that it leads in term 4`
fn said(facts: &Facts, led: &Led) -> String {
    let (node, when) = (facts.node_name(led.node), at(led.op.end_ns()));
    match &*led.op.f {
        "status" => format!("{node} said at {when} that it leads in term {}", led.term),
        _ => format!("{node} acknowledged a write as the leader of term {} at {when}", led.term),
    }
}

/// `B: follower, term 3`
fn words(op: &Op) -> String {
    let node = op.node.as_deref().unwrap_or_default();
    let claim = op.claim.as_deref().cloned().unwrap_or_default();
    let term = claim.term.map(|term| format!(", term {term}")).unwrap_or_default();
    format!("{node}: {}{term}", claim.role.as_deref().unwrap_or("no role"))
}
