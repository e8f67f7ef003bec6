//! `convergence`: after heal and settle all replicas hold the same.
//!
//! **Definition.** Strong eventual consistency (Shapiro et al., *Conflict-free Replicated Data Types*, SSS 2011; Vogels,
//! *Eventually Consistent*, CACM 2009): when writes have stopped and every fault is lifted, all replicas hold the same
//! value, under the same version, for each key, within the declared time.
//!
//! **Complexity.** Linear in the history, plus keys × nodes.
//!
//! **Soundness.** Judged on the last snapshot of each node, only if the settle phase was over, and only for keys that
//! nobody wrote during it. A write of unknown outcome that was done only *during* the settle phase makes its key
//! undecided: nobody knows how long the nodes had. So does such a delete. A node without a key holds what a node does that
//! shows the key without a value: deletes may leave either behind. Two versions differ only where both timestamps are shown and
//! differ, or both origins. Durability excuses nothing here: whatever was lost, all must agree. A node whose last
//! polls failed, but which lives, is not compared: slowness is no fault.

use super::facts::{Facts, KeyId, NodeId, SightId, Witness, WriteId};
use super::finals::Finals;
use super::findings::{Finding, Findings, evidence};
use super::phantom::{self, Phantom};
use super::tell::{at, list};
use super::{Check, CheckResult, Violation};
use crate::history::{Fault, History};

/// The check.
pub struct Convergence;

/// What it finds.
enum Found {
    Diverged(Diverged),
    Phantom(SightId, Phantom, KeyId),
    NoAnswer(NodeId),
}

/// One key, held differently by the nodes.
struct Diverged {
    key: KeyId,
    /// Each state and the nodes in it; the newest first.
    groups: Vec<(Option<SightId>, Vec<NodeId>)>,
    /// How long after the heal, ns.
    waited_ns: u64,
    /// The two snapshots that show it.
    ops: Vec<u64>,
    /// The delete that the others have missed, where the newest state is that there is no such key.
    delete: Option<WriteId>,
}

impl Check for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn about(&self) -> &'static str {
        "After all faults are lifted, every replica answers and all hold the same values."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut findings = Findings::new();
        let finals = match Finals::new(&facts) {
            Ok(finals) => finals,
            Err(reason) => return findings.conclude(&facts, evidence([]), Some(reason)),
        };
        findings_of(&facts, &finals, &mut findings);
        let held = |key: &KeyId| finals.nodes.iter().any(|(node, _)| finals.held(*node, *key).is_some());
        let keys = facts.keys.all().filter(held).count() as u64;
        let replicas = finals.nodes.len() as u64;
        let undecided = facts.keys.all().filter(|key| undecided(&facts, &finals, *key)).count() as u64;
        let unknown = if let [first, ..] = finals.not_understood[..] {
            Some(format!("the answers of {} about its state were not understood", facts.node_name(first)))
        } else if let [first, ..] = finals.silent[..] {
            Some(format!("{} was not seen to answer when the settle phase was over", facts.node_name(first)))
        } else if replicas < 2 {
            Some(format!("{replicas} replicas showed their final state; it takes two to differ"))
        } else if keys == 0 {
            Some("no replica held any key".into())
        } else {
            (keys == undecided).then(|| "every key was still being written during the settle phase".into())
        };
        let figures = evidence([
            ("keys", keys),
            ("replicas", replicas),
            ("undecided_keys", undecided),
            ("foreign_keys", facts.foreign_keys),
        ]);
        let mut result = findings.conclude(&facts, figures, unknown);
        if let Some(ms) = history.converged_ms {
            result.stats.insert("converged_ms".into(), ms.into());
        }
        result
    }
}

fn undecided(facts: &Facts, finals: &Finals, key: KeyId) -> bool {
    let held = finals.nodes.iter().filter_map(|(node, _)| finals.held(*node, key));
    let mut writers = held.filter_map(|id| facts.sight(id).writer);
    finals.busy(key) || writers.any(|writer| finals.late(facts, writer)) || finals.deleted_late(facts, key)
}

fn findings_of(facts: &Facts, finals: &Finals, findings: &mut Findings<Found>) {
    for node in &finals.absent {
        findings.add(facts, Found::NoAnswer(*node));
    }
    for key in facts.keys.all() {
        let mut groups: Vec<(Option<SightId>, Vec<NodeId>)> = Vec::new();
        for (node, _) in &finals.nodes {
            let held = finals.held(*node, key);
            if let Some(id) = held
                && let Some(phantom) = phantom::judge(facts, facts.sight(id))
            {
                findings.add(facts, Found::Phantom(id, phantom, key));
            }
            match groups.iter_mut().find(|(other, _)| same(facts, *other, held)) {
                Some((_, nodes)) => nodes.push(*node),
                None => groups.push((held, vec![*node])),
            }
        }
        if groups.len() < 2 || undecided(facts, finals, key) {
            continue;
        }
        let delete = last_delete(facts, finals, key);
        let rank = |held: Option<SightId>| match held.filter(|id| !facts.sight(*id).is_nil()) {
            Some(id) => Some(facts.sight(id).stamp),
            None => delete.map(|id| facts.write(id).stamp),
        };
        groups.sort_by_key(|(held, nodes)| std::cmp::Reverse((rank(*held), nodes.len())));
        let snapshot = |place: usize| {
            let node = groups[place].1[0];
            finals.nodes.iter().find(|(other, _)| *other == node).map(|(_, op)| *op)
        };
        let (Some(newest), Some(other)) = (snapshot(0), snapshot(1)) else { continue };
        let waited_ns = newest.end_ns().max(other.end_ns()).saturating_sub(finals.settle_ns);
        let mut ops = vec![newest.index, other.index];
        ops.sort_unstable();
        let delete = delete.filter(|_| groups[0].0.is_none_or(|id| facts.sight(id).is_nil()));
        findings.add(facts, Found::Diverged(Diverged { key, groups, waited_ns, ops, delete }));
    }
}

/// The last acknowledged delete of `key`, where a missing key is its doing: nothing acknowledged was asked for after it.
fn last_delete(facts: &Facts, finals: &Finals, key: KeyId) -> Option<WriteId> {
    let newest = |id: &WriteId| (facts.write(*id).stamp, facts.write(*id).op.invoked_ns);
    let last = finals.acked(key).iter().copied().max_by_key(newest)?;
    facts.write(last).deletes().then_some(last)
}

fn same(facts: &Facts, left: Option<SightId>, right: Option<SightId>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => {
            let (left, right) = (facts.sight(left), facts.sight(right));
            let shown = left.explicit && right.explicit;
            let versions = left.stamp.zip(right.stamp).filter(|_| shown);
            left.value == right.value && !versions.is_some_and(|(left, right)| left.differs(right))
        }
        (Some(id), None) | (None, Some(id)) => facts.sight(id).is_nil(),
    }
}

impl Finding for Found {
    fn kind(&self) -> &'static str {
        match self {
            Found::Diverged(_) => "diverged",
            Found::Phantom(_, phantom, _) => phantom.kind(),
            Found::NoAnswer(_) => "no-answer",
        }
    }

    fn key(&self, _: &Facts) -> Option<KeyId> {
        match self {
            Found::Diverged(Diverged { key, .. }) | Found::Phantom(_, _, key) => Some(*key),
            Found::NoAnswer(_) => None,
        }
    }

    fn weight(&self) -> u64 {
        match self {
            Found::NoAnswer(_) => 1 << 40,
            Found::Phantom(..) => 1 << 30,
            Found::Diverged(diverged) => diverged.groups.len() as u64,
        }
    }

    fn tell(&self, facts: &Facts) -> Violation {
        let (kind, key) = (self.kind(), self.key(facts).map(|key| facts.key_name(key).to_owned()));
        match self {
            Found::Diverged(diverged) => diverged.tell(facts),
            Found::Phantom(id, phantom, _) => Violation {
                kind,
                key,
                nodes: vec![facts.node_name(facts.sight(*id).node).into()],
                story: phantom.story(facts, *id),
                cause: phantom.cause(facts, *id),
                ops: phantom.proof(facts, *id),
                faults: phantom.faults(facts, *id),
            },
            Found::NoAnswer(node) => no_answer(facts, *node),
        }
    }
}

fn no_answer(facts: &Facts, node: NodeId) -> Violation {
    let name = facts.node_name(node);
    let last = facts.history.lives.get(name).and_then(|lives| lives.last());
    let ended = last.and_then(|life| Some((life, life.ended_ns?))).filter(|(life, _)| !life.expected);
    let cause = match ended {
        Some((life, ns)) => {
            let how = match (life.signal, life.code) {
                (Some(signal), _) => format!("by signal {signal}"),
                (None, Some(code)) => format!("with code {code}"),
                (None, None) => "by itself".into(),
            };
            format!("Its process ended {how} at {}.", at(ns))
        }
        None => "It hangs, listens on another port, or did not come back after its last fault.".into(),
    };
    let tried =
        facts.history.ops.iter().rev().find(|op| &*op.f == "snapshot" && op.node.as_deref() == Some(name));
    Violation {
        kind: "no-answer",
        key: None,
        nodes: vec![name.into()],
        story: format!("{name} did not show its state after all faults had been lifted."),
        cause,
        ops: tried.map(|op| op.index).into_iter().collect(),
        faults: Vec::new(),
    }
}

fn sorted(mut names: Vec<&str>) -> Vec<String> {
    names.sort_unstable();
    names.into_iter().map(str::to_owned).collect()
}

impl Diverged {
    fn tell(&self, facts: &Facts) -> Violation {
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| facts.node_name(*node)).collect::<Vec<_>>();
        let states = self.groups.iter().map(|(held, nodes)| {
            let what = held.map_or("nothing".to_owned(), |id| {
                let sight = facts.sight(id);
                facts.show(sight.value, sight.stamp)
            });
            let verb = if nodes.len() == 1 { "holds" } else { "hold" };
            format!("{} {verb} {what}", list(&names(nodes)))
        });
        let states = states.collect::<Vec<_>>();
        let states = format!("{}, but {}", states[0], list(&states[1..]));
        let key = facts.key_name(self.key);
        let waited = at(self.waited_ns);
        let newest = self.groups[0].0;
        let writer = self.delete.or_else(|| newest.and_then(|id| facts.sight(id).writer));
        let written = writer.map(|id| format!(" The newest: {}.", facts.tell_write(id))).unwrap_or_default();
        let lagging: Vec<NodeId> = self.groups[1..].iter().flat_map(|(_, nodes)| nodes.clone()).collect();
        let from_ns = writer.map_or(0, |id| facts.write(id).op.invoked_ns);
        let settle_ns = facts.history.phase_began_ns(crate::history::Phase::Settle).unwrap_or(u64::MAX);
        Violation {
            kind: "diverged",
            key: Some(key.into()),
            nodes: sorted(names(&lagging)),
            story: format!("{waited} after everything was healed, {states} under {key}.{written}"),
            cause: self.cause(facts),
            ops: self.ops.clone(),
            faults: self.faults(facts, from_ns, settle_ns),
        }
    }

    /// The faults that may have to do with it: those between the newest write and the nodes that lack it.
    fn faults(&self, facts: &Facts, from_ns: u64, settle_ns: u64) -> Vec<String> {
        let writer = self.delete.or_else(|| self.groups[0].0.and_then(|id| facts.sight(id).writer));
        let Some(writer) = writer.map(|id| facts.write(id)) else {
            return facts.history.faults_during(from_ns, settle_ns);
        };
        let mut faults: Vec<&Fault> = Vec::new();
        for node in self.groups[1..].iter().flat_map(|(_, nodes)| nodes) {
            faults.extend(facts.faults_on_the_way(writer.node, *node, from_ns, settle_ns));
        }
        faults.sort_by_key(|fault| (fault.began_ns, fault.id));
        faults.dedup_by_key(|fault| fault.id);
        faults.into_iter().map(Fault::describe).collect()
    }

    fn cause(&self, facts: &Facts) -> String {
        let key = facts.key_name(self.key);
        let lagging = self.groups[1].1[0];
        let lag = facts.node_name(lagging);
        if let Some(delete) = self.delete {
            let from = facts.node_name(facts.write(delete).node);
            return format!(
                "{from}'s delete of {key} never reached {lag}, or something that {lag} was sent later brought the value back."
            );
        }
        let Some(newest) = self.groups[0].0.map(|id| facts.sight(id)) else {
            return format!("{lag} holds a key that the others do not know.");
        };
        if let Some(held) = self.groups[1].0.map(|id| facts.sight(id)) {
            if held.value == newest.value {
                return "The nodes hold one write under two versions: one of them stores a write it received as its own.".into();
            }
            if let Some((new, old)) = newest.stamp.zip(held.stamp) {
                if new == old && new.has_origin() {
                    let shown = facts.origins.show(new);
                    return format!(
                        "Two writes got the version {shown}: a clock was not advanced, or began again after a restart."
                    );
                }
                if new.ts == old.ts {
                    let away = newest.writer.filter(|id| facts.kept_away(*id, lagging));
                    let missed = match away.filter(|_| self.had(facts, lagging).is_none()) {
                        Some(_) => format!(", or never received {}", newest.value),
                        None => String::new(),
                    };
                    return format!(
                        "The timestamps are equal, and {lag} does not decide the tie by origin{missed}."
                    );
                }
            }
        }
        if let Some((id, restarted)) = self.had(facts, lagging) {
            let when = at(facts.op(id).end_ns());
            return match restarted {
                true => format!("{lag} had it at {when}, lost it in a restart, and was never sent it again."),
                false => format!("{lag} had it at {when} and let an older write replace it."),
            };
        }
        let Some(writer) = newest.writer.map(|id| facts.write(id)) else {
            return format!("{lag} never received the newest write of {key}.");
        };
        let from = facts.node_name(writer.node);
        // What an older write replaced would have left that write.
        let replaced = match self.groups[1].0.filter(|id| !facts.sight(*id).is_nil()) {
            Some(_) => format!(", or {lag} let an older write replace it"),
            None => String::new(),
        };
        if writer.node != lagging && !facts.same_life(writer.node, writer.op.invoked_ns, u64::MAX) {
            return format!(
                "{from} was ended, perhaps before it had sent {key} to {lag}, and nobody sent it afterwards{replaced}."
            );
        }
        if !facts.same_life(lagging, writer.op.invoked_ns, u64::MAX) {
            return format!("{from} never sent {key} to {lag} again after {lag} came back.");
        }
        let (began_ns, acked_ns) = (writer.op.invoked_ns, writer.op.end_ns());
        let on_the_way = facts.faults_on_the_way(writer.node, lagging, began_ns, acked_ns);
        // A late or slow link loses nothing: only these keep a write away.
        let cutting = |fault: &&&Fault| ["partition", "reset", "pause"].contains(&&*fault.f);
        match on_the_way.iter().find(cutting) {
            Some(fault) => {
                format!("{from} never sent {key} to {lag} again after \"{}\" was over.", fault.label)
            }
            None => {
                format!("{from}'s write of {key} never reached {lag}{replaced}.")
            }
        }
    }

    /// When `node` provably had the newest state, and whether it was restarted since.
    fn had(&self, facts: &Facts, node: NodeId) -> Option<(Witness, bool)> {
        let newest = facts.sight(self.groups[0].0?);
        let stamp = newest.stamp?;
        let writes = (0..facts.writes.len() as u32).filter(|id| facts.write(*id).acked()).map(Witness::Write);
        let local = |id: &SightId| facts.sight(*id).is_local();
        let sights = (0..facts.sights.len() as SightId).filter(local).map(Witness::Sight);
        let here = |witness: &Witness| facts.node_of(*witness) == node && facts.key_of(*witness) == self.key;
        let mut had = writes.chain(sights).filter(here);
        let found = had.find(|witness| facts.stamp(*witness).is_some_and(|known| known.covers(stamp)))?;
        Some((found, !facts.same_life(node, facts.op(found).invoked_ns, u64::MAX)))
    }
}
