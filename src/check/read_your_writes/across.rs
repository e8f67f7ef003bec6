//! Session reads: the guarantee goes with the session, whichever nodes it talks to.

use std::collections::HashMap;

use crate::check::facts::{Facts, KeyId, SightId, Witness, WriteId};
use crate::check::stamp::Stamp;

/// What sessions have written so far, wherever.
#[derive(Default)]
pub struct Across {
    own: HashMap<(u64, KeyId), Own>,
}

/// A session's acknowledged writes of a key.
struct Own {
    top: Option<(Stamp, WriteId)>,
    last: WriteId,
}

/// What came of a session read.
pub enum Judged {
    /// The session had not written the key, or a restart excuses everything.
    Nothing,
    /// It cannot be compared with what the session wrote.
    Blind,
    /// It shows the session's write, or something newer.
    Fine,
    /// Proof that it does not.
    Broken(Vec<Witness>),
}

impl Across {
    /// An acknowledged write.
    pub fn wrote(&mut self, facts: &Facts, id: WriteId) {
        let write = facts.write(id);
        let stamped = write.stamp.map(|stamp| (stamp, id));
        let place = (write.op.process, write.key);
        let own = self.own.entry(place).or_insert(Own { top: None, last: id });
        own.last = id;
        own.top = match (own.top, stamped) {
            (Some(top), Some(new)) => Some(if top.0 < new.0 { new } else { top }),
            (top, new) => top.or(new),
        };
    }

    /// A session read. With versions it must not be below any of the session's writes. By values: the key must not be
    /// missing, unless somebody may have deleted it; and of two of its own writes the session must not be shown the first.
    pub fn judge(&self, facts: &Facts, id: SightId) -> Judged {
        let sight = facts.sight(id);
        let Some(own) = self.own.get(&(sight.op.process, sight.key)) else { return Judged::Nothing };
        let last = facts.write(own.last);
        if !facts.nothing_forgotten(sight.answered_ns()) {
            return Judged::Nothing;
        }
        let read = Witness::Sight(id);
        if let Some((top, write)) = own.top
            && facts.is_below(sight, top)
        {
            return Judged::Broken(vec![Witness::Write(write), read]);
        }
        if sight.is_nil() {
            return match last.deletes() || facts.deletes.any(sight.key, sight.answered_ns()) {
                true => Judged::Fine,
                false => Judged::Broken(vec![Witness::Write(own.last), read]),
            };
        }
        if sight.writer == Some(own.last) {
            return Judged::Fine;
        }
        if sight.stamp.is_some() && last.stamp.is_some() {
            return Judged::Fine;
        }
        let Some(shown) = sight.writer.map(|writer| facts.write(writer)) else { return Judged::Blind };
        let older = shown.acked()
            && shown.op.process == last.op.process
            && shown.key == last.key
            && shown.op.index < last.op.index;
        match (older, sight.writer) {
            (true, Some(writer)) => {
                Judged::Broken(vec![Witness::Write(writer), Witness::Write(own.last), read])
            }
            _ => Judged::Blind,
        }
    }
}
