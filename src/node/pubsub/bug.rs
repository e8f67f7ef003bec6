//! The bugs the node can be given. Each is one deviation from the correct node.

use clap::ValueEnum;

/// A deviation from the correct node, for finding out whether a harness notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// The leader answers a PUB when the message is in its own log, and sends it to the others with the next sign of life
    AckBeforeCommit,
    /// Log entries count as on disk at once and are written 3 s later: a crash loses the log's tail (votes are synced)
    NoFsync,
    /// A restart forgets the last vote, and the term it was given in: the node may vote in that term again
    VoteTwice,
    /// Entries of an earlier term count as committed as soon as a later term has a leader; nobody counts who has them
    CommitsOldTerm,
    /// Only the last 100 ids are remembered: whoever publishes an older one again publishes it twice
    DedupEvicts,
    /// The leader alone remembers ids, those it took itself: after a failover a known id is published again
    DedupLocal,
    /// HISTORY on a follower also shows entries that are not committed
    DirtyHistory,
    /// A subscriber misses what reaches its node later than 300 ms after it was published, as while the node catches up
    SubscriberGap,
    /// A message may be applied before its predecessor in the topic, on each node as it falls
    ReordersTopic,
    /// Where a follower's log conflicts with the leader's, the first conflicting entry stays
    OffByOneTruncate,
}

impl Bug {
    /// The bug's name on the command line: `ack-before-commit`.
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
                "ack-before-commit",
                "no-fsync",
                "vote-twice",
                "commits-old-term",
                "dedup-evicts",
                "dedup-local",
                "dirty-history",
                "subscriber-gap",
                "reorders-topic",
                "off-by-one-truncate",
            ]
        );
    }
}
