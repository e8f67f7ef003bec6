//! Versions, made comparable.
//!
//! A last-writer-wins store orders the writes of a key by timestamp, then by origin as the contract's
//! [`Tie`] says. Some nodes do not expose the origin; two versions with one timestamp are then
//! **incomparable**, and no check concludes anything from their order.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::history::{History, Number, Tie, Version};

/// A version: timestamp and rank of the origin. Greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The timestamp.
    pub ts: Number,
    /// Rank of the origin under the tie rule; 0 where it is not known.
    pub origin: u32,
}

impl Stamp {
    /// Whether this version certainly loses to `other`.
    pub fn is_below(self, other: Stamp) -> bool {
        self.ts < other.ts || (self.ts == other.ts && self.has_origin() && other.has_origin() && self < other)
    }

    /// Whether this is certainly the version `other`, or one that wins over it.
    pub fn covers(self, other: Stamp) -> bool {
        other.is_below(self) || (self == other && self.has_origin())
    }

    /// Whether the two certainly are different versions.
    pub fn differs(self, other: Stamp) -> bool {
        self.ts != other.ts || (self.has_origin() && other.has_origin() && self.origin != other.origin)
    }

    /// Whether the origin is known.
    pub fn has_origin(self) -> bool {
        self.origin != 0
    }
}

/// All origins of a history, in the order in which ties are won.
pub struct Origins {
    /// Ascending: the last one wins. `names[rank - 1]`.
    names: Vec<Arc<str>>,
    tie: Tie,
}

impl Origins {
    /// The nodes of the contract, and whatever else versions name.
    pub fn new(history: &History) -> Self {
        let mut names: BTreeSet<Arc<str>> =
            history.contract.nodes.iter().map(|node| node.as_str().into()).collect();
        let mut add = |name: &Arc<str>| {
            if !names.contains(name) {
                names.insert(name.clone());
            }
        };
        for op in &history.ops {
            op.node.iter().for_each(&mut add);
            op.version.iter().for_each(|version| add(&version.origin));
            for held in op.snapshot.iter().flat_map(|snapshot| snapshot.values()) {
                held.version.iter().for_each(|version| add(&version.origin));
            }
        }
        names.remove("");
        let mut names: Vec<Arc<str>> = names.into_iter().collect();
        if history.contract.tie == Tie::Lower {
            names.reverse();
        }
        Origins { names, tie: history.contract.tie }
    }

    /// The rank of `origin`; 0 when it is empty.
    pub fn rank(&self, origin: &str) -> u32 {
        let place = match self.tie {
            Tie::Higher => self.names.binary_search_by(|name| (**name).cmp(origin)),
            Tie::Lower => self.names.binary_search_by(|name| origin.cmp(name)),
        };
        place.map_or(0, |place| place as u32 + 1)
    }

    /// The name behind a rank; empty for 0.
    pub fn name(&self, rank: u32) -> &str {
        let place = (rank as usize).checked_sub(1);
        place.and_then(|place| self.names.get(place)).map_or("", |name| name)
    }

    /// The version as recorded.
    pub fn stamp(&self, version: &Version) -> Stamp {
        Stamp { ts: version.ts, origin: self.rank(&version.origin) }
    }

    /// `ts 9 of B`; `ts 9` where the origin is not known.
    pub fn show(&self, stamp: Stamp) -> String {
        match self.name(stamp.origin) {
            "" => format!("ts {}", stamp.ts),
            origin => format!("ts {} of {origin}", stamp.ts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Contract;

    fn origins(tie: Tie) -> Origins {
        let contract = Contract { nodes: vec!["A".into(), "B".into()], tie, ..Contract::default() };
        Origins::new(&History { contract, ..History::default() })
    }

    #[test]
    fn ties_go_by_origin() {
        for (tie, winner, loser) in [(Tie::Higher, "B", "A"), (Tie::Lower, "A", "B")] {
            let origins = origins(tie);
            let of = |name| Stamp { ts: Number::Int(9), origin: origins.rank(name) };
            assert!(of(loser).is_below(of(winner)) && !of(winner).is_below(of(loser)));
            assert!(of(winner).covers(of(loser)) && of(winner).differs(of(loser)));
            assert_eq!(origins.show(of(winner)), format!("ts 9 of {winner}"));
        }
    }

    #[test]
    fn an_unknown_origin_decides_no_tie() {
        let origins = origins(Tie::Higher);
        let unknown = Stamp { ts: Number::Int(9), origin: 0 };
        let known = Stamp { ts: Number::Int(9), origin: origins.rank("A") };
        assert!(!unknown.is_below(known) && !known.is_below(unknown));
        assert!(!unknown.covers(known) && !known.covers(unknown) && !unknown.covers(unknown));
        assert!(!unknown.differs(known));
        assert!(unknown.is_below(Stamp { ts: Number::Int(10), origin: 0 }));
    }
}
