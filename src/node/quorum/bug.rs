//! The bugs the node can be given. Each is one deviation from the correct node.

use clap::ValueEnum;

/// A deviation from the correct node, for finding out whether a harness notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// Always answers achievedQuorum = true, also where the time for the write ran out
    ClaimsQuorum,
    /// Counts its own copy of a write twice: W-1 replicas are enough, and alone it takes itself for two
    CountsItselfTwice,
    /// A strong read asks R replicas and returns the first answer that is not null, its own above all, not the newest
    FirstAnswerWins,
    /// Replicas cannot tell old from new: what arrives last is kept, and what answers last is read
    NoVersions,
    /// consistency=strong answers from the local copy
    LocalStrongRead,
    /// consistency=read_your_writes answers from the local copy, whatever the session has written
    UnreadPending,
    /// The leader deletes its own copy and tells nobody: the others keep the value
    DeleteNotReplicated,
    /// Terms are not compared: a deposed leader's replication is accepted, and it never hears that it was deposed
    NoTermCheck,
    /// The lowest reachable id leads, without a majority: each side of a partition has a leader
    TwoLeaders,
    /// Compares its id with the peers' URLs, which sort first: nobody is ever the lowest, so nobody leads
    UrlSortsFirst,
    /// Acknowledges a write at once, and stores and replicates it 50-150 ms later
    AckThenReplicate,
    /// A deposed leader that hears from the new one pushes the whole map it had when it lost touch, as if it were news
    OverwritesOnHeal,
    /// Wants all replicas for every write: with one of them dead it refuses, though W could be met
    RefusesWithQuorum,
}

impl Bug {
    /// The bug's name on the command line: `claims-quorum`.
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
                "claims-quorum",
                "counts-itself-twice",
                "first-answer-wins",
                "no-versions",
                "local-strong-read",
                "unread-pending",
                "delete-not-replicated",
                "no-term-check",
                "two-leaders",
                "url-sorts-first",
                "ack-then-replicate",
                "overwrites-on-heal",
                "refuses-with-quorum",
            ]
        );
    }
}
