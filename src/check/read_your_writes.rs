//! `read-your-writes`: a client reads its own writes, or something newer.
//!
//! **Definition.** Terry et al. 1994, §3.1: if a read follows a write in a session and is performed at server S, then S
//! has that write. With last-writer-wins to have a write is to hold it or one that wins over it: the read's version is
//! not below the version of any acknowledged write to the key by this process at this node.
//!
//! Without versions: the read must not find the key missing, nor a value that the node had shown before that write was
//! asked of it (see [`unversioned`](super::unversioned)).
//!
//! **Levels.** A plain read is held to what its client wrote at the node it asks. A *session read* is held to what its
//! client wrote anywhere: the store promises to find those writes, whichever node is asked. Strong and eventual reads are
//! not held to it here: `quorum` and `linearizability` ask more of the first, and nothing is promised of the second.
//!
//! **Complexity.** Linear: one pass, hash tables by process, node and key.
//!
//! **Soundness.** An acknowledged write has been applied at its node, and versions there only grow; what a restart
//! excuses is in [`facts`](super::facts). Only acknowledged writes and answered reads are looked at. A key found missing is
//! below a write only where no delete may have come after it. Without a disk, a restart of any node excuses session reads.

use std::collections::HashMap;

use super::facts::{Facts, KeyId, LifeId, NodeId, SightId, Step, Witness, WriteId};
use super::findings::{Findings, evidence};
use super::floor::Floor;
use super::session::Broken;
use super::unversioned::Shown;
use super::{Check, CheckResult};
use crate::history::{History, Level};
use across::{Across, Judged};

mod across;

/// The check.
pub struct ReadYourWrites;

const PROMISE: &str = "A client must read its own write, or something newer";

type Place = (u64, NodeId, KeyId);

/// The last acknowledged write of a session to a key in one life of the node (from asked to acknowledged).
#[derive(Clone, Copy)]
struct Last {
    life: LifeId,
    until: LifeId,
    any: WriteId,
    unversioned: Option<WriteId>,
}

impl Check for ReadYourWrites {
    fn name(&self) -> &'static str {
        "read-your-writes"
    }

    fn about(&self) -> &'static str {
        "A client reads its own acknowledged writes, or something newer: at its node, and by a session read anywhere."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let shown = Shown::new(&facts);
        let mut findings = Findings::new();
        let mut floor: Floor<Place> = Floor::new();
        let mut last: HashMap<Place, Vec<Last>> = HashMap::new();
        let mut across = Across::default();
        let (mut pairs, mut judged) = (0_u64, 0_u64);
        for step in &facts.steps {
            match *step {
                Step::Write(id) if facts.write(id).acked() => {
                    let write = facts.write(id);
                    let place = (write.op.process, write.node, write.key);
                    floor.raise(&facts, place, Witness::Write(id));
                    remember(&facts, last.entry(place).or_default(), id);
                    across.wrote(&facts, id);
                }
                Step::Write(_) => {}
                Step::Read(id) if facts.sight(id).is_at(Level::Session) => {
                    let outcome = across.judge(&facts, id);
                    pairs += u64::from(!matches!(outcome, Judged::Nothing));
                    judged += u64::from(matches!(outcome, Judged::Fine | Judged::Broken(_)));
                    if let Judged::Broken(witnesses) = outcome {
                        findings.add(&facts, Broken::new("read-your-writes", PROMISE, witnesses));
                    }
                }
                Step::Read(id) if !facts.sight(id).is_at(Level::Plain) => {}
                Step::Read(id) => {
                    let sight = facts.sight(id);
                    let place = (sight.op.process, sight.node, sight.key);
                    let Some(writes) = last.get(&place) else { continue };
                    pairs += 1;
                    let binding = floor.binding(&facts, place, sight.node, sight.answered_ns());
                    let by_version = binding.filter(|(floor, _)| facts.is_below(sight, *floor));
                    let decided = match by_version {
                        Some((_, write)) => Some(vec![write, Witness::Sight(id)]),
                        None => by_value(&facts, &shown, writes, id),
                    };
                    let own = writes.iter().any(|last| sight.writer == Some(last.any));
                    let compared = binding.is_some() && sight.stamp.is_some();
                    judged += u64::from(decided.is_some() || own || compared);
                    if let Some(witnesses) = decided {
                        findings.add(&facts, Broken::new("read-your-writes", PROMISE, witnesses));
                    }
                }
            }
        }
        let unknown = (judged == 0).then(|| match pairs {
            0 => "no client read a key that it had written, at that node or by a session read".into(),
            _ => "the nodes show no versions by which a client's reads could be compared with its writes"
                .into(),
        });
        findings.conclude(&facts, evidence([("reads_after_own_write", pairs), ("judged", judged)]), unknown)
    }
}

fn remember(facts: &Facts, writes: &mut Vec<Last>, id: WriteId) {
    let life = facts.life_of(Witness::Write(id));
    let unversioned = facts.write(id).stamp.is_none().then_some(id);
    let until = facts.life_until(facts.write(id).node, facts.write(id).acked_ns());
    match writes.iter_mut().find(|last| (last.life, last.until) == (life, until)) {
        Some(last) => *last = Last { life, until, any: id, unversioned: unversioned.or(last.unversioned) },
        None => writes.push(Last { life, until, any: id, unversioned }),
    }
}

/// The proof, by values alone, that a read is below one of the session's writes whose version cannot be compared.
fn by_value(facts: &Facts, shown: &Shown, writes: &[Last], id: SightId) -> Option<Vec<Witness>> {
    let sight = facts.sight(id);
    let life = facts.life_until(sight.node, sight.answered_ns());
    let binding = writes.iter().filter(|last| facts.disk || last.life == life);
    binding.rev().find_map(|last| {
        let versioned = sight.stamp.is_some() || sight.is_nil();
        let write = if versioned { last.unversioned? } else { last.any };
        let (own, read) = (Witness::Write(write), Witness::Sight(id));
        if sight.is_nil() {
            return (!facts.deletes.any(sight.key, sight.answered_ns())).then(|| vec![own, read]);
        }
        shown.precedes(facts, sight.writer?, write).map(|before| vec![before, own, read])
    })
}
