//! Words for people: values, versions, times, and what the faults had to do with it.

use super::facts::{Facts, KeyId, NodeId, Sight, SightId, Witness, Write, WriteId};
use super::stamp::Stamp;
use crate::history::{Fault, Level, Outcome, Value};

/// `3.214 s`
pub fn at(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

/// `A`, `A and B`, `A, B and C`
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

impl<'h> Facts<'h> {
    /// The name of a node.
    pub fn node_name(&self, node: NodeId) -> &'h str {
        self.nodes.name(node)
    }

    /// The name of a key.
    pub fn key_name(&self, key: KeyId) -> &'h str {
        self.keys.name(key)
    }

    /// `17 (ts 9 of B)`; without a version where none is known.
    pub fn show(&self, value: &Value, stamp: Option<Stamp>) -> String {
        match stamp {
            Some(stamp) if !value.is_nil() => format!("{value} ({})", self.origins.show(stamp)),
            _ => value.to_string(),
        }
    }

    /// `process 3 wrote k1 = 17 at B (ts 9 of B), acknowledged at 1.874 s`
    pub fn tell_write(&self, id: WriteId) -> String {
        let write: &Write = self.write(id);
        let stamp = write.stamp.map(|stamp| format!(" ({})", self.origins.show(stamp))).unwrap_or_default();
        let end = match (write.op.outcome, write.op.returned_ns) {
            (Outcome::Ok, Some(ns)) => format!("acknowledged at {}", at(ns)),
            (Outcome::Fail, Some(ns)) => format!("refused at {}", at(ns)),
            _ => format!("asked at {}, outcome unknown", at(write.op.invoked_ns)),
        };
        let (process, key, node) = (write.op.process, self.key_name(write.key), self.node_name(write.node));
        match write.deletes() {
            true => format!("process {process} deleted {key} at {node}{stamp}, {end}"),
            false => format!("process {process} wrote {key} = {} at {node}{stamp}, {end}", write.op.value),
        }
    }

    /// `B answered 17 (ts 9 of B) to a read of k1 by process 3 at 2.001 s`
    pub fn tell_sight(&self, id: SightId) -> String {
        let sight: &Sight = self.sight(id);
        let (node, key) = (self.node_name(sight.node), self.key_name(sight.key));
        let what = self.show(sight.value, sight.stamp);
        let when = at(sight.answered_ns());
        let read = match sight.op.level() {
            Some(Level::Strong) => "a strong read",
            Some(Level::Session) => "a session read",
            Some(Level::Eventual) => "an eventual read",
            _ => "a read",
        };
        if sight.is_nil() {
            return match sight.op.snapshot {
                Some(_) => format!("{node} held no {key} at {when}"),
                None => format!(
                    "{node} answered that there is no {key} to {read} by process {} at {when}",
                    sight.op.process
                ),
            };
        }
        match sight.op.snapshot {
            Some(_) => format!("{node} held {what} under {key} at {when}"),
            None => {
                format!("{node} answered {what} to {read} of {key} by process {} at {when}", sight.op.process)
            }
        }
    }

    /// [`Facts::tell_write`] or [`Facts::tell_sight`].
    pub fn tell(&self, witness: Witness) -> String {
        match witness {
            Witness::Write(id) => self.tell_write(id),
            Witness::Sight(id) => self.tell_sight(id),
        }
    }

    /// The faults in force in `[from_ns, to_ns]` that may keep a write of `from` from `to`: those aimed at either node,
    /// and those on the link between them.
    pub fn faults_on_the_way(&self, from: NodeId, to: NodeId, from_ns: u64, to_ns: u64) -> Vec<&'h Fault> {
        let (from, to) = (self.node_name(from), self.node_name(to));
        let link = format!("{from}→{to}");
        let touches = |fault: &&Fault| {
            let links = fault.evidence.get("links").and_then(|links| links.as_object());
            match links {
                Some(links) if !links.is_empty() => links.contains_key(&link),
                _ => {
                    fault.target.is_empty()
                        || fault.target.iter().any(|node| **node == *from || **node == *to)
                }
            }
        };
        self.history.faults.iter().filter(|fault| fault.overlaps(from_ns, to_ns)).filter(touches).collect()
    }

    /// Whether a fault may have kept a write from a node: one on the way while it was made, or a restart of the node since.
    pub fn kept_away(&self, write: WriteId, node: NodeId) -> bool {
        let write = self.write(write);
        let ends_ns = write.op.returned_ns.unwrap_or(u64::MAX);
        write.node != node
            && (!self.faults_on_the_way(write.node, node, write.op.invoked_ns, ends_ns).is_empty()
                || !self.same_life(node, write.op.invoked_ns, u64::MAX))
    }

    /// The faults in force between two witnesses, for a violation's row.
    pub fn faults_between(&self, from: Witness, to: Witness) -> Vec<String> {
        let (from, to) = (self.op(from), self.op(to));
        let until_ns = to.returned_ns.unwrap_or(to.invoked_ns).max(from.invoked_ns);
        self.history.faults_during(from.invoked_ns.min(to.invoked_ns), until_ns)
    }

    /// Whether `node` was restarted between two witnesses.
    pub fn restarted_between(&self, node: NodeId, from: Witness, to: Witness) -> bool {
        let (from, to) = (self.op(from), self.op(to));
        !self.same_life(node, from.invoked_ns, to.returned_ns.unwrap_or(u64::MAX).max(from.invoked_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["A"]), "A");
        assert_eq!(list(&["A", "B"]), "A and B");
        assert_eq!(list(&["A", "B", "C"]), "A, B and C");
        assert_eq!(at(1_234_567_890), "1.235 s");
    }
}
