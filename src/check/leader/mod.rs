//! `leader`: who led when, by what nodes said of themselves.
//!
//! **Definition.** Election safety (Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm*, USENIX ATC
//! 2014, figure 3: at most one leader can be elected in a given term) for any store that numbers its leaders, and election
//! of a leader within a declared time. Reported are
//!
//! - `two-leaders-one-term`: two nodes led in the same term;
//! - `deposed-leader-acknowledged`: a write was acknowledged in a term after another leader of a higher term had been seen;
//! - `no-leader`: a majority could talk for as long as an election may take, and nobody led.
//!
//! Two nodes may well say that they lead at the same time, in *different* terms: the older one has not heard yet. Without
//! terms that is all one sees, and nothing follows from it.
//!
//! **Evidence.** A node led in a term when it answered a status question with the role `leader` and that term, or
//! acknowledged a write under that term as the leader it names. A follower that passes a write on names another.
//!
//! **Complexity.** O(n log n) for n operations, and edges of faults × nodes.
//!
//! **Soundness.** `two-leaders-one-term`: votes of one term are given once, and any two majorities share a voter, so the
//! *times* of the two answers do not matter. Where a restart may take a vote with it (durability other than `disk`), two
//! answers prove nothing once a node was restarted before the second.
//!
//! `deposed-leader-acknowledged`: let M say that it leads in term u, and let a write be asked for after that answer and be
//! acknowledged by L in term t < u. A majority had voted for M in u before it answered; a node's term never falls, so each of
//! them refuses what a leader of t sends from then on. The write was sent after that, so none of its W holders voted in u
//! before holding it; but W + majority > N says that some node did both. Where W and a majority need not meet nothing is
//! concluded: a leader of old may then find W replicas that have not heard of the new one.
//!
//! `no-leader`: see [`windows`](super::reach::windows) for who could talk; that the nodes had time to elect is proved by their
//! prompt answers all along.

mod found;

use std::collections::{BTreeSet, HashMap};

use super::facts::{Facts, NodeId};
use super::findings::{Findings, evidence};
use super::reach::answers::{Answers, leads};
use super::reach::windows::{Window, windows};
use super::reach::{Reach, members};
use super::{Check, CheckResult};
use crate::history::{History, Op};
use found::Found;

/// The check.
pub struct Leader;

/// A node led in a term.
#[derive(Clone, Copy)]
struct Led<'h> {
    op: &'h Op,
    node: NodeId,
    term: u64,
}

impl Check for Leader {
    fn name(&self) -> &'static str {
        "leader"
    }

    fn about(&self) -> &'static str {
        "One leader a term, none that acknowledges once it was deposed, and one within the time an election may take."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let led = leaders(&facts);
        judge_terms(&facts, &led, &mut findings);
        let deposed = judge_deposed(&facts, &led, &mut findings);
        let windows = judge_windows(&facts, &mut findings);
        let terms = led.iter().map(|led| led.term).collect::<BTreeSet<_>>().len() as u64;
        let claims = led.len() as u64;
        let unknown = (claims + windows == 0).then(|| {
            let roles =
                history.ops.iter().any(|op| op.claim.as_ref().is_some_and(|claim| claim.role.is_some()));
            match roles {
                true => "no node said that it leads in a term, and at no time was a leader certainly owed".to_owned(),
                false => "no node tells its role: the system has no leader, or the protocol does not say where in an answer it is".to_owned(),
            }
        });
        let figures = evidence([
            ("leader_answers", claims),
            ("terms", terms),
            ("writes_after_a_newer_leader", deposed),
            ("windows", windows),
        ]);
        findings.conclude(&facts, figures, unknown)
    }
}

/// Every answer that shows who led in which term, in order of its return.
fn leaders<'h>(facts: &Facts<'h>) -> Vec<Led<'h>> {
    let led = facts.history.ops.iter().filter_map(|op| {
        let (claim, name) = (op.claim.as_ref()?, op.node.as_deref()?);
        let (node, term) = (facts.nodes.find(name)?, claim.term?);
        let leads = match &*op.f {
            "status" => claim.leads(),
            "write" | "delete" => {
                claim.leader.as_deref() == Some(name) || (claim.leader.is_none() && claim.leads())
            }
            _ => false,
        };
        (op.is_ok() && leads).then_some(Led { op, node, term })
    });
    let mut led: Vec<Led> = led.collect();
    led.sort_by_key(|led| (led.op.end_ns(), led.op.index));
    led
}

fn judge_terms<'h>(facts: &Facts<'h>, led: &[Led<'h>], findings: &mut Findings<Found<'h>>) {
    let mut first: HashMap<u64, Led> = HashMap::new();
    let mut told: HashMap<u64, NodeId> = HashMap::new();
    for &later in led {
        let earlier = *first.entry(later.term).or_insert(later);
        let new = earlier.node != later.node && told.insert(later.term, later.node) != Some(later.node);
        if new && facts.nothing_forgotten(later.op.end_ns()) {
            findings.add(facts, Found::TwoLeaders { first: earlier, second: later });
        }
    }
}

/// Acknowledgements under a term, against the leaders seen before they were asked for. How many came after a leader of
/// another term.
fn judge_deposed<'h>(facts: &Facts<'h>, led: &[Led<'h>], findings: &mut Findings<Found<'h>>) -> u64 {
    let nodes = facts.history.contract.nodes.len() as u64;
    let meets = |quorum: u64| quorum + nodes / 2 + 1 > nodes;
    if !facts.history.contract.write_quorum.is_some_and(meets) {
        return 0;
    }
    let mut writes: Vec<Led> = led.iter().copied().filter(|led| &*led.op.f != "status").collect();
    writes.retain(|led| led.op.claim.as_ref().is_none_or(|claim| claim.achieved != Some(false)));
    writes.sort_by_key(|led| (led.op.invoked_ns, led.op.index));
    let mut seen = led.iter().peekable();
    let mut newest: Option<Led> = None;
    let mut after = 0;
    for write in writes {
        while let Some(led) = seen.next_if(|led| led.op.end_ns() < write.op.invoked_ns) {
            if newest.is_none_or(|newest| newest.term < led.term) {
                newest = Some(*led);
            }
        }
        let Some(newest) = newest.filter(|newest| newest.term != write.term) else { continue };
        after += 1;
        if write.term < newest.term && facts.nothing_forgotten(write.op.end_ns()) {
            findings.add(facts, Found::Deposed { newer: newest, write });
        }
    }
    after
}

/// Windows in which somebody had to lead; how many there were.
fn judge_windows<'h>(facts: &Facts<'h>, findings: &mut Findings<Found<'h>>) -> u64 {
    let history = facts.history;
    let Some(elect_ms) = history.contract.elect_within_ms else { return 0 };
    let elect_ns = elect_ms.saturating_mul(1_000_000).max(1);
    let reach = Reach::new(history);
    let answers = Answers::new(&reach, history);
    let mut judged = 0;
    let long = |from_ns: u64, to_ns: u64| to_ns - from_ns >= elect_ns;
    for window in windows(&reach, history, reach.total() / 2 + 1) {
        judged += u64::from(long(window.from_ns, window.until_ns));
        let quiet = leaderless(&answers, window).into_iter();
        for (from_ns, to_ns) in
            quiet.flat_map(|(from_ns, to_ns)| answers.awake(window.group, true, from_ns, to_ns))
        {
            let last =
                members(window.group).map(|node| answers.statuses(node, from_ns, to_ns).last().copied());
            if let (true, Some(last)) = (long(from_ns, to_ns), last.collect::<Option<Vec<&Op>>>()) {
                let group = reach.names(window.group);
                findings.add(facts, Found::Nobody { group, from_ns, to_ns, elect_ms, last });
            }
        }
    }
    judged
}

/// The stretches of a window in which none of its group was seen leading.
fn leaderless(answers: &Answers, window: Window) -> Vec<(u64, u64)> {
    let mut led: Vec<(u64, u64)> = Vec::new();
    for node in members(window.group) {
        let near = answers.overlapping(node, window.from_ns, window.until_ns);
        led.extend(near.filter(|op| leads(op)).map(|op| (op.invoked_ns, op.end_ns())));
    }
    led.sort_unstable();
    let mut gaps = Vec::new();
    let mut from_ns = window.from_ns;
    for (asked_ns, answered_ns) in led {
        if asked_ns > from_ns {
            gaps.push((from_ns, asked_ns.min(window.until_ns)));
        }
        from_ns = from_ns.max(answered_ns);
    }
    if from_ns < window.until_ns {
        gaps.push((from_ns, window.until_ns));
    }
    gaps
}
