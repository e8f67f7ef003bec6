//! Strong reads that miss what was acknowledged before them.
//!
//! With R + W > N any R replicas include one of the W that hold an acknowledged write, so a strong read that is asked for
//! later finds it, or something newer. What is older:
//!
//! - a lower version, where both are known;
//! - without that (or where the store shows a value under another version than it acknowledged), a value whose own write
//!   had been acknowledged before the other was asked for: strong operations take effect between invocation and return, so
//!   the other is newer. Two writes that overlap have no known order, and a write of unknown outcome may take effect late;
//! - a missing key, unless a delete may have come after the write.
//!
//! Where a crash may take what was acknowledged, each restart between the write and the read may have taken one of the W
//! copies, and the two sets must still meet without them. A restart may take votes and terms as well, and with them the order
//! of versions in time: after one, nothing is concluded from time there.

use std::collections::HashMap;

use super::found::Found;
use super::{Declared, acked};
use crate::check::facts::{Facts, KeyId, Sight, SightId, Write, WriteId};
use crate::check::findings::Findings;
use crate::check::stamp::Stamp;
use crate::history::Level;

/// Judges every strong read; how many could be.
pub fn judge(facts: &Facts, declared: Declared, findings: &mut Findings<Found>) -> u64 {
    let Some(overlap) = declared.overlap() else { return 0 };
    let mut keys: HashMap<KeyId, (Vec<WriteId>, Vec<SightId>)> = HashMap::new();
    for (id, write) in facts.writes.iter().enumerate().filter(|(_, write)| acked(write)) {
        keys.entry(write.key).or_default().0.push(id as WriteId);
    }
    for (id, sight) in facts.sights.iter().enumerate().filter(|(_, sight)| sight.is_at(Level::Strong)) {
        keys.entry(sight.key).or_default().1.push(id as SightId);
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    let mut judged = 0;
    for (_, (mut writes, reads)) in keys {
        writes.sort_by_key(|id| facts.write(*id).acked_ns());
        let mut writes = writes.into_iter().peekable();
        let mut newest = Newest::default();
        // In order of invocation already.
        for id in reads {
            let read = facts.sight(id);
            while let Some(write) = writes.next_if(|id| facts.write(*id).acked_ns() < read.asked_ns()) {
                newest.take(facts, write);
            }
            let Some(latest) = newest.latest else { continue };
            judged += 1;
            let Some((missed, older)) = newest.missed_by(facts, read, latest) else { continue };
            if lost_copies(facts, facts.write(missed), read) < overlap {
                let deleted = facts.write(missed).deletes();
                findings.add(facts, Found::Stale { missed, older, read: id, deleted });
            }
        }
    }
    judged
}

/// The acknowledged writes of a key, as far as a read may be held against them.
#[derive(Default)]
struct Newest {
    /// The greatest version.
    top: Option<(Stamp, WriteId)>,
    /// The one asked for last.
    latest: Option<WriteId>,
}

impl Newest {
    fn take(&mut self, facts: &Facts, id: WriteId) {
        let write = facts.write(id);
        if let Some(stamp) = write.stamp
            && self.top.is_none_or(|(top, _)| top < stamp)
        {
            self.top = Some((stamp, id));
        }
        if self.latest.is_none_or(|latest| facts.write(latest).op.invoked_ns < write.op.invoked_ns) {
            self.latest = Some(id);
        }
    }

    /// The write that `read` misses, and the write of what it shows where time alone orders the two.
    fn missed_by(&self, facts: &Facts, read: &Sight, latest: WriteId) -> Option<(WriteId, Option<WriteId>)> {
        if let Some((top, id)) = self.top
            && facts.is_below(read, top)
        {
            return Some((id, None));
        }
        if !facts.nothing_forgotten(read.answered_ns()) {
            return None;
        }
        let last = facts.write(latest);
        if read.is_nil() {
            let earlier = facts.deletes.all_acked_before(read.key, read.answered_ns(), last.op.invoked_ns);
            return (!last.deletes() && earlier).then_some((latest, None));
        }
        let writer = read.writer.filter(|writer| older_in_time(facts, read, *writer, last))?;
        Some((latest, Some(writer)))
    }
}

/// Whether the write of what a sight shows certainly came before `newer`, in time, and no version says otherwise.
pub fn older_in_time(facts: &Facts, sight: &Sight, writer: WriteId, newer: &Write) -> bool {
    let older = facts.write(writer);
    let versions = older.stamp.zip(newer.stamp).is_some() && sight.stamp.is_some();
    let relabelled =
        sight.explicit && sight.stamp.zip(older.stamp).is_some_and(|(shown, own)| shown.differs(own));
    acked(older)
        && older.key == newer.key
        && older.acked_ns() < newer.op.invoked_ns
        && (!versions || relabelled)
}

/// How many replicas may have forgotten the write before the read was answered.
fn lost_copies(facts: &Facts, write: &Write, read: &Sight) -> u64 {
    if facts.disk {
        return 0;
    }
    let lost = |node: &u32| !facts.same_life(*node, write.op.invoked_ns, read.answered_ns());
    facts.nodes.all().filter(lost).count() as u64
}
