//! The bugs the node can be given. Each is one deviation from the correct node, switched in one place.

use clap::ValueEnum;

/// A deviation from the correct node, for finding out whether a harness notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// Delivers each message as soon as it arrives: nothing is ordered
    DeliverOnArrival,
    /// Messages with equal agreed timestamps are delivered in the order in which they arrived
    NoSenderTieBreak,
    /// Waits 300 ms for those who are silent, then goes on with the proposals it has, or without the message
    TimeoutFallback,
    /// Agrees on the smallest of the proposed timestamps instead of the largest
    MinProposal,
    /// A message that arrives again is delivered again
    DuplicatesOnRetry,
    /// An agreed timestamp is sent once: whoever misses it waits for ever, and delivers nothing more
    NoRetransmit,
    /// Each line is sent by a task of its own, 0-40 ms later: a line may overtake the one before
    NotFifo,
    /// Holds a message back for earlier ones of its own sender only: a reply may come before what it answers
    NotCausal,
}

impl Bug {
    /// The bug's name on the command line: `deliver-on-arrival`.
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
                "deliver-on-arrival",
                "no-sender-tie-break",
                "timeout-fallback",
                "min-proposal",
                "duplicates-on-retry",
                "no-retransmit",
                "not-fifo",
                "not-causal",
            ]
        );
    }
}
