//! A version names one write, and a write has one version.

use std::collections::HashMap;

use super::Found;
use crate::check::facts::{Facts, SightId, Witness, Write, WriteId};
use crate::check::findings::Findings;
use crate::check::stamp::Stamp;
use crate::history::Number;

/// Judges both directions; the answer is how many timestamps were given twice for one key: ties that had to be decided.
pub fn judge(facts: &Facts, findings: &mut Findings<Found>) -> u64 {
    let mut by_stamp: HashMap<Stamp, Vec<WriteId>> = HashMap::new();
    let mut by_ts: HashMap<(u32, Number), u32> = HashMap::new();
    for (id, write) in facts.writes.iter().enumerate() {
        let Some(stamp) = write.stamp else { continue };
        *by_ts.entry((write.key, stamp.ts)).or_default() += 1;
        if stamp.has_origin() {
            by_stamp.entry(stamp).or_default().push(id as WriteId);
        }
    }
    for writes in by_stamp.values().filter(|writes| writes.len() > 1) {
        let mut acked = None;
        for (place, &later) in writes.iter().enumerate() {
            let neighbour = place.checked_sub(1).map(|place| writes[place]);
            let culprit = [acked, neighbour].into_iter().flatten();
            if let Some(earlier) = culprit.into_iter().find(|earlier| share_illegally(facts, *earlier, later))
            {
                findings.add(facts, Found::OneVersion { first: earlier, second: later });
            }
            if facts.write(later).acked() {
                acked = Some(later);
            }
        }
    }
    for (id, sight) in facts.sights.iter().enumerate().filter(|(_, sight)| sight.explicit) {
        let Some(writer) = sight.writer else { continue };
        if let Some((shown, known)) = sight.stamp.zip(facts.write(writer).stamp)
            && shown.differs(known)
        {
            findings.add(facts, Found::Relabelled { write: writer, shown: id as SightId });
        }
    }
    by_ts.values().filter(|writes| **writes > 1).count() as u64
}

/// Whether no restart can explain that two writes have one version. `first` was invoked first.
fn share_illegally(facts: &Facts, first: WriteId, second: WriteId) -> bool {
    let (first, second) = (facts.write(first), facts.write(second));
    if first.op.value == second.op.value {
        return false;
    }
    if first.node != second.node {
        // Some nodes answer with a name for themselves that all of them share: only a node's own name names one.
        let origin = first.stamp.map_or("", |stamp| facts.origins.name(stamp.origin));
        return facts.nodes.find(origin).is_some();
    }
    let until_ns = done_by(facts, first).max(done_by(facts, second));
    if facts.same_life(first.node, first.op.invoked_ns, until_ns) {
        return true;
    }
    // Whichever of two acknowledged writes came first, its timestamp was durable when it was acknowledged, and so when
    // the second was made. Of an acknowledged and an unacknowledged one this holds only if the latter came after.
    facts.disk && first.acked() && (second.acked() || second.op.invoked_ns > first.acked_ns())
}

/// When a write had certainly got its version.
fn done_by(facts: &Facts, write: &Write) -> u64 {
    let shown = write.first_shown.map_or(u64::MAX, |id| facts.sight(id).answered_ns());
    write.acked_ns().min(shown)
}

/// The witness that told a write's version.
pub fn told_by(facts: &Facts, write: WriteId) -> Witness {
    facts.write(write).told_by.map_or(Witness::Write(write), Witness::Sight)
}
