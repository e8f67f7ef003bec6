//! What the `lww` check finds, and how it tells it.

use super::identity::told_by;
use crate::check::Violation;
use crate::check::facts::{Facts, KeyId, NodeId, SightId, Witness, WriteId};
use crate::check::findings::Finding;
use crate::check::phantom::Phantom;
use crate::check::unversioned::Lost;
use crate::history::{Fault, Phase};

/// A violation of last-writer-wins.
pub enum Found {
    /// A final version is below an acknowledged one.
    Lost {
        write: WriteId,
        node: NodeId,
        snapshot: u64,
        held: Option<SightId>,
        /// Whether the timestamps are equal.
        tie: bool,
        /// Whether no node's final state has it.
        everywhere: bool,
        /// What proves that the crash of its node is no excuse.
        survivor: Option<Witness>,
    },
    /// The same, shown by values alone.
    LostByValue(Lost),
    /// A write was acknowledged under a version below one its node had shown for that key.
    Outranked { write: WriteId, by: Witness },
    /// A write's timestamp is not above one its node had shown.
    Clock { write: WriteId, seen: Witness },
    /// A node shows less than before.
    Backwards { before: Witness, after: SightId },
    /// Two writes, one version.
    OneVersion { first: WriteId, second: WriteId },
    /// One write, two versions.
    Relabelled { write: WriteId, shown: SightId },
    /// A value nobody wrote.
    Phantom(SightId, Phantom),
}

impl Found {
    /// A final state `held` at `node`, seen by `snapshot`, that lacks `write`.
    pub fn lost(
        facts: &Facts,
        write: WriteId,
        (node, snapshot): (NodeId, u64),
        held: Option<SightId>,
        (everywhere, survivor): (bool, Option<Witness>),
    ) -> Self {
        let ts = |stamp: Option<crate::check::stamp::Stamp>| stamp.map(|stamp| stamp.ts);
        let shown = held.and_then(|id| ts(facts.sight(id).stamp));
        let tie = shown.is_some() && shown == ts(facts.write(write).stamp);
        Found::Lost { write, node, snapshot, held, tie, everywhere, survivor }
    }

    fn nodes<'h>(&self, facts: &Facts<'h>) -> Vec<&'h str> {
        let mut nodes = match self {
            Found::Lost { node, .. } => vec![*node],
            Found::LostByValue(lost) => vec![lost.node],
            Found::Outranked { write, .. } | Found::Clock { write, .. } => vec![facts.write(*write).node],
            Found::Backwards { after: id, .. }
            | Found::Relabelled { shown: id, .. }
            | Found::Phantom(id, _) => {
                vec![facts.sight(*id).node]
            }
            Found::OneVersion { first, second } => vec![facts.write(*first).node, facts.write(*second).node],
        };
        nodes.dedup();
        nodes.into_iter().map(|node| facts.node_name(node)).collect()
    }

    /// The operations that prove it, and the faults in force meanwhile.
    fn proof(&self, facts: &Facts) -> (Vec<u64>, Vec<String>) {
        let pair = |first, second| (facts.proof(&[first, second]), facts.faults_between(first, second));
        match self {
            Found::Lost { write, node, snapshot, held, survivor, .. } => {
                let mut ops = facts.proof(&[Witness::Write(*write)]);
                ops.extend(held.map(|id| facts.proof(&[Witness::Sight(id)])).unwrap_or_default());
                ops.extend(survivor.map(|witness| facts.op(witness).index));
                ops.push(*snapshot);
                ops.sort_unstable();
                ops.dedup();
                let from = facts.write(*write);
                let settle_ns = facts.history.phase_began_ns(Phase::Settle).unwrap_or(u64::MAX);
                let faults = facts.faults_on_the_way(from.node, *node, from.op.invoked_ns, settle_ns);
                (ops, faults.into_iter().map(Fault::describe).collect())
            }
            Found::LostByValue(lost) => lost.proof(facts),
            Found::Outranked { write, by } | Found::Clock { write, seen: by } => {
                pair(*by, Witness::Write(*write))
            }
            Found::Backwards { before, after } => pair(*before, Witness::Sight(*after)),
            Found::OneVersion { first, second } => pair(Witness::Write(*first), Witness::Write(*second)),
            Found::Relabelled { write, shown } => pair(told_by(facts, *write), Witness::Sight(*shown)),
            Found::Phantom(id, phantom) => (phantom.proof(facts, *id), phantom.faults(facts, *id)),
        }
    }

    fn story(&self, facts: &Facts) -> String {
        match self {
            Found::Lost { write, node, held, tie, .. } => {
                let (node, key) = (facts.node_name(*node), facts.key_name(facts.write(*write).key));
                let written = facts.tell_write(*write);
                let held = held
                    .map_or("nothing".into(), |id| facts.show(facts.sight(id).value, facts.sight(id).stamp));
                match tie {
                    true => format!(
                        "{written}. In the end {node} holds {held} under {key}: the loser of the tie."
                    ),
                    false => {
                        format!("{written}. In the end {node} holds {held} under {key}: the update is lost.")
                    }
                }
            }
            Found::LostByValue(lost) => lost.story(facts),
            Found::Outranked { write, by } => {
                let (by, write) = (facts.tell(*by), facts.tell_write(*write));
                format!(
                    "{by}. Later {write}: acknowledged, but outranked already, so nobody will ever see it."
                )
            }
            Found::Clock { write, seen } => {
                let ts = facts.stamp(*seen).map_or(String::new(), |stamp| format!(" above {}", stamp.ts));
                format!(
                    "{}. Later {}: its timestamp should be{ts}.",
                    facts.tell(*seen),
                    facts.tell_write(*write)
                )
            }
            Found::Backwards { before, after } => {
                format!("{}. Later {}: an older state.", facts.tell(*before), facts.tell_sight(*after))
            }
            Found::OneVersion { first, second } => {
                let keys = facts.write(*first).key == facts.write(*second).key;
                let what = if keys { "no node can tell which one wins" } else { "two events of one clock" };
                let (first, second) = (facts.tell_write(*first), facts.tell_write(*second));
                format!("{first}; {second}. Both have the same version: {what}.")
            }
            Found::Relabelled { write, shown } => {
                let written = facts.tell(told_by(facts, *write));
                format!("{written}. But {}: one write under two versions.", facts.tell_sight(*shown))
            }
            Found::Phantom(id, phantom) => phantom.story(facts, *id),
        }
    }

    fn cause(&self, facts: &Facts) -> String {
        match self {
            Found::Lost { write, node, tie, everywhere, held, .. } => {
                let (name, from) = (facts.node_name(*node), facts.node_name(facts.write(*write).node));
                let key = facts.key_name(facts.write(*write).key);
                let restarted =
                    !facts.same_life(facts.write(*write).node, facts.write(*write).op.invoked_ns, u64::MAX);
                // What an older write replaced would have left that write.
                let replaced = match held.filter(|id| !facts.sight(*id).is_nil()) {
                    Some(_) => format!(", or {name} let an older write replace it"),
                    None => String::new(),
                };
                if *tie && facts.kept_away(*write, *node) {
                    format!("{from}'s write never reached {name}, or {name} does not decide a tie by origin.")
                } else if *tie {
                    format!(
                        "{name} does not decide a tie by origin: it keeps whichever write came first, or last."
                    )
                } else if *everywhere && !restarted && facts.write(*write).node == *node && held.is_none() {
                    format!("{name} acknowledged the write before it was kept anywhere.")
                } else if *everywhere && restarted && held.is_none() {
                    format!("{from} forgot it when it was restarted, and no other node had it, or kept it.")
                } else if *everywhere {
                    "No node kept it: an older write replaced it, or it was acknowledged before it was kept."
                        .into()
                } else if facts.write(*write).node == *node {
                    match replaced.is_empty() {
                        true => {
                            format!("{name} lost it in a restart, or acknowledged it before it was kept.")
                        }
                        false => {
                            format!("{name} let an older write replace its own, or lost it in a restart.")
                        }
                    }
                } else if restarted {
                    format!(
                        "{from} was ended, perhaps before it had sent {key} to {name}, and nobody sent it afterwards{replaced}."
                    )
                } else if !facts.same_life(*node, facts.write(*write).op.invoked_ns, u64::MAX) {
                    format!("{from} never sent {key} to {name} again after {name} came back{replaced}.")
                } else {
                    format!("{from}'s write never reached {name}{replaced}.")
                }
            }
            Found::LostByValue(lost) => lost.cause(facts),
            Found::Outranked { write, by } | Found::Clock { write, seen: by } => {
                clock_cause(facts, *write, *by)
            }
            Found::Backwards { before, after } => {
                let sight = facts.sight(*after);
                let node = facts.node_name(sight.node);
                let ts = facts
                    .stamp(*before)
                    .zip(sight.stamp)
                    .is_some_and(|(before, after)| before.ts == after.ts);
                if facts.restarted_between(sight.node, *before, Witness::Sight(*after)) {
                    format!("{node} forgot what it had acknowledged when it was restarted.")
                } else if ts {
                    format!("{node} does not decide a tie by origin: the last to arrive wins.")
                } else if let Witness::Write(_) = before {
                    format!(
                        "{node} acknowledges before it applies, reads from an old copy, or lets an older write replace a newer one."
                    )
                } else {
                    format!("{node} reads from an old copy, or lets an older write replace a newer one.")
                }
            }
            Found::OneVersion { first, second } => {
                let (first, second) = (facts.write(*first), facts.write(*second));
                let node = facts.node_name(first.node);
                if first.node != second.node {
                    format!("{node} and {} give their writes the same origin.", facts.node_name(second.node))
                } else if facts.life_from(first.node, first.op.invoked_ns)
                    != facts.life_until(first.node, second.acked_ns())
                {
                    format!("{node}'s clock went back when it was restarted.")
                } else if first.acked_ns() < second.op.invoked_ns {
                    format!("{node}'s clock did not advance for the second write.")
                } else {
                    format!(
                        "{node} reads and advances its clock in two steps: two writes at a time get the same timestamp."
                    )
                }
            }
            Found::Relabelled { shown, .. } => {
                let sight = facts.sight(*shown);
                let node = facts.node_name(sight.node);
                format!("{node} stores a write it received under a version of its own, or was sent it so.")
            }
            Found::Phantom(id, phantom) => phantom.cause(facts, *id),
        }
    }
}

/// Whether a timestamp is one that a Lamport clock cannot have reached: it takes an event for each tick, and the clock of
/// the machine gives seconds since 1970 or less.
fn by_the_wall(facts: &Facts, write: WriteId) -> bool {
    let seconds = |ts: f64| ts >= 1e9 && ts > 1e3 * facts.history.ops.len() as f64;
    facts.write(write).stamp.is_some_and(|stamp| stamp.ts.to_string().parse().is_ok_and(seconds))
}

fn clock_cause(facts: &Facts, write: WriteId, seen: Witness) -> String {
    let node = facts.node_name(facts.write(write).node);
    let ts = |witness| facts.stamp(witness).map_or(String::new(), |stamp| stamp.ts.to_string());
    let (mine, above) = (ts(Witness::Write(write)), ts(seen));
    let own = facts.stamp(seen).is_some_and(|stamp| facts.origins.name(stamp.origin) == node);
    let place = facts.write(write).node;
    // What is seen after a restart may have been known before it.
    let made = match seen {
        Witness::Write(id) => Some(id),
        Witness::Sight(id) => facts.sight(id).writer,
    };
    let restarted_since = made.is_some_and(|made| {
        let made_ns = facts.write(made).op.invoked_ns;
        made_ns < facts.write(write).acked_ns()
            && !facts.same_life(place, made_ns, facts.write(write).acked_ns())
    });
    if facts.restarted_between(place, seen, Witness::Write(write)) || (own && restarted_since) {
        format!("{node}'s clock restarted at 0: its write got ts {mine} and lost to ts {above}.")
    } else if own {
        format!("{node}'s clock does not advance with each write: ts {mine} after ts {above} of its own.")
    } else if restarted_since {
        format!(
            "{node}'s clock restarted at 0, or does not advance when it receives a write: it knew ts {above}, and gave ts {mine}."
        )
    } else if mine == above {
        format!(
            "{node}'s clock did not go above ts {above}, which it knew: it does not advance at all, or not when it receives a write."
        )
    } else if by_the_wall(facts, write) {
        format!(
            "{node} takes its timestamps from the machine's clock, which may be behind: it knew ts {above}, and gave ts {mine}."
        )
    } else {
        format!(
            "{node} does not advance its clock when it receives a write: it knew ts {above}, and gave ts {mine}."
        )
    }
}

impl Finding for Found {
    fn kind(&self) -> &'static str {
        match self {
            Found::Lost { tie: true, .. } => "wrong-tie-winner",
            Found::Lost { .. } | Found::LostByValue(_) | Found::Outranked { .. } => "lost-update",
            Found::Clock { .. } => "lamport",
            Found::Backwards { .. } => "version-backwards",
            Found::OneVersion { .. } => "two-values-one-version",
            Found::Relabelled { .. } => "relabelled",
            Found::Phantom(_, phantom) => phantom.kind(),
        }
    }

    fn key(&self, facts: &Facts) -> Option<KeyId> {
        Some(match self {
            Found::LostByValue(lost) => lost.key,
            Found::Lost { write: id, .. }
            | Found::Outranked { write: id, .. }
            | Found::Clock { write: id, .. }
            | Found::OneVersion { second: id, .. } => facts.write(*id).key,
            Found::Backwards { after: id, .. }
            | Found::Relabelled { shown: id, .. }
            | Found::Phantom(id, _) => facts.sight(*id).key,
        })
    }

    fn weight(&self) -> u64 {
        match self {
            Found::Phantom(..) => 9,
            Found::Lost { everywhere: true, .. } | Found::LostByValue(_) => 8,
            Found::Outranked { .. } => 7,
            Found::Lost { tie: true, .. } => 6,
            Found::OneVersion { .. } => 5,
            Found::Relabelled { .. } => 4,
            Found::Clock { .. } => 3,
            Found::Backwards { .. } => 2,
            Found::Lost { .. } => 1,
        }
    }

    fn tell(&self, facts: &Facts) -> Violation {
        let (ops, faults) = self.proof(facts);
        Violation {
            kind: self.kind(),
            key: self.key(facts).map(|key| facts.key_name(key).into()),
            nodes: self.nodes(facts).into_iter().map(str::to_owned).collect(),
            story: self.story(facts),
            cause: self.cause(facts),
            ops,
            faults,
            diagram: None,
        }
    }
}
