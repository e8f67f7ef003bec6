//! From when on there are more operations of unknown outcome than anybody can need.
//!
//! Take a legal order, and in it an operation `k` that leaves the same state whatever was before (it *settles*). An operation
//! that certainly happened is *demanding* unless it is possible in every state and settles, too (a plain write).
//! Between two demanding operations `k` is needed once at most: what is before the last plain write in between can be left out,
//! that write makes up for it; and of what comes after it, everything between the first `k` and the last can be left out, for the
//! same state comes back. So by any moment `k` was needed no more often than demanding operations had been invoked, plus once;
//! and in all no more often than there are any. From the moment on from which at least so many `k` had been invoked, there is
//! always one left, and they need not be counted.

use super::machine::{Item, Machine};
use crate::history::calls::OPEN;
use crate::history::hash::Fast;

/// From when on operations of a kind need not be counted.
pub(super) enum Supply {
    /// The position, by kind.
    From(Fast<u32, u32>),
    /// Always, of those that settle, whether or not there are enough: then what has no legal order certainly has none.
    Unlimited(Fast<u32, bool>),
}

/// What is known of one kind of unknown outcome.
struct Known {
    invoked: u32,
    /// The last moment at which there were too few.
    too_few: u32,
}

impl Supply {
    /// That of the operations of unknown outcome among `items`, which are in order of invocation.
    pub(super) fn of(machine: &dyn Machine, items: &[Item]) -> Supply {
        let mut kinds: Fast<u32, Known> = Fast::default();
        let mut demanding = 0;
        for item in items {
            if item.ret != OPEN {
                demanding += u32::from(!machine.overwrites(item.kind));
            } else if machine.settles(item.kind) {
                let known = kinds.entry(item.kind).or_insert(Known { invoked: 0, too_few: 0 });
                if known.invoked < demanding + 1 {
                    known.too_few = item.invoke;
                }
                known.invoked += 1;
            }
        }
        // Where it is still too few at the end, it never is plenty.
        kinds.retain(|_, known| known.invoked >= demanding);
        Supply::From(kinds.into_iter().map(|(kind, known)| (kind, known.too_few + 1)).collect())
    }

    /// As if there were always enough.
    pub(super) fn unlimited(machine: &dyn Machine, items: &[Item]) -> Supply {
        let unknown = items.iter().filter(|item| item.ret == OPEN);
        Supply::Unlimited(unknown.map(|item| (item.kind, machine.settles(item.kind))).collect())
    }

    pub(super) fn is_plenty(&self, kind: u32, now: u32) -> bool {
        match self {
            Supply::From(from) => from.get(&kind).is_some_and(|from| *from <= now),
            Supply::Unlimited(settles) => settles.get(&kind).copied().unwrap_or(false),
        }
    }
}
