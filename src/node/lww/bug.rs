//! The bugs the node can be given. Each is one deviation from the correct node, switched in one place.

use clap::ValueEnum;

/// A deviation from the correct node, for finding out whether a harness notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// Equal timestamps: keeps whichever write came first
    NoTieBreak,
    /// Applies every replicated write, whatever its timestamp
    LastArrivalWins,
    /// The clock does not advance on receive: later writes get lower timestamps and vanish
    NoReceiveRule,
    /// The clock never advances
    NoTick,
    /// Reads and increments the clock in two steps: two writes at one node can get the same (ts, origin)
    RacyTick,
    /// Replication is tried once and failures are ignored
    FireAndForget,
    /// What a down node missed is dropped by its peers and never fetched by it
    NoCatchUp,
    /// Keeps nothing on disk though it promises to
    ForgetsOnCrash,
    /// Data survives a restart, the clock starts at 0 again
    ClockReset,
    /// Answers ok, applies the write 50-300 ms later
    AckBeforeApply,
    /// Reads come from a copy refreshed every 200 ms
    CachedReads,
    /// The outgoing queue holds 32 writes a peer and drops silently what does not fit
    BoundedQueue,
    /// Forwards a received write as its own
    RelabelsOrigin,
    /// Two keys share a slot
    KeyCollision,
    /// A missing key reads as 0
    NilDefault,
    /// Uses the machine's clock (ms, plus $NODE_CLOCK_SKEW_MS) as timestamp
    WallClock,
}

impl Bug {
    /// The bug's name on the command line: `no-tie-break`.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_catalogue_s() {
        let names: Vec<_> = Bug::value_variants().iter().map(|bug| bug.name()).collect();
        assert_eq!(
            names,
            [
                "no-tie-break",
                "last-arrival-wins",
                "no-receive-rule",
                "no-tick",
                "racy-tick",
                "fire-and-forget",
                "no-catch-up",
                "forgets-on-crash",
                "clock-reset",
                "ack-before-apply",
                "cached-reads",
                "bounded-queue",
                "relabels-origin",
                "key-collision",
                "nil-default",
                "wall-clock",
            ]
        );
    }
}
