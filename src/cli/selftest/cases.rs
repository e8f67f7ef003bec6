//! Which shipped workload must find which bundled bug, by which check, and as what.

/// A check that finds a bug, and what it must take it for: the kinds of its worst violation. A lost tie reported as a
/// timeout was not found.
pub type Proof = (&'static str, &'static [&'static str]);

/// One row: a bug and a workload that must find it, whichever the seed.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `lww`, `quorum`, `pubsub` …
    pub system: &'static str,
    /// The bug's name; `None`: the correct node; [`PROMISES_TOO_MUCH`]: the correct node under a workload that is wrong.
    pub bug: Option<&'static str>,
    /// The workload file, relative to `workloads/`.
    pub workload: &'static str,
    /// At least one of these must be there; empty for the correct node: nothing may be.
    pub proofs: &'static [Proof],
    /// It takes half a minute and more: only for those who ask for it.
    pub long: bool,
}

const fn lww(bug: &'static str, workload: &'static str, proofs: &'static [Proof]) -> Case {
    Case { system: "lww", bug: Some(bug), workload, proofs, long: false }
}

const fn correct_lww(workload: &'static str) -> Case {
    Case { system: "lww", bug: None, workload, proofs: &[], long: false }
}

const fn lab2(workload: &'static str) -> Case {
    Case { long: true, ..correct_lww(workload) }
}

const fn quorum(bug: &'static str, workload: &'static str, proofs: &'static [Proof]) -> Case {
    Case { system: "quorum", bug: Some(bug), workload, proofs, long: false }
}

const fn correct_quorum(workload: &'static str) -> Case {
    Case { system: "quorum", bug: None, workload, proofs: &[], long: false }
}

const fn quorum_lab(workload: &'static str) -> Case {
    Case { long: true, ..correct_quorum(workload) }
}

const fn pubsub(bug: &'static str, workload: &'static str, proofs: &'static [Proof]) -> Case {
    Case { system: "pubsub", bug: Some(bug), workload, proofs, long: false }
}

const fn correct_pubsub(workload: &'static str) -> Case {
    Case { system: "pubsub", bug: None, workload, proofs: &[], long: false }
}

const fn broadcast(bug: &'static str, workload: &'static str, proofs: &'static [Proof]) -> Case {
    Case { system: "broadcast", bug: Some(bug), workload, proofs, long: false }
}

const fn correct_broadcast(workload: &'static str) -> Case {
    Case { system: "broadcast", bug: None, workload, proofs: &[], long: false }
}

/// Stands where a bug's name does for a workload that promises what no node can keep.
pub const PROMISES_TOO_MUCH: &str = "promises-too-much";

macro_rules! shipped {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../workloads/", $name)))),*]
    };
}

/// The shipped workloads the self-test runs, as they were when this binary was built.
pub const SHIPPED: &[(&str, &str)] = shipped! {
    "outage.toml" "delay.toml" "concurrent.toml" "partition.toml" "pause.toml" "restart.toml" "skew.toml" "chaos.toml"
    "lab2/outage.toml" "lab2/delay.toml" "lab2/concurrent.toml" "lab2/partition.toml" "lab2/pause.toml"
    "lab2/restart.toml" "lab2/chaos.toml"
    "quorum/outage.toml" "quorum/leader-kill.toml" "quorum/leader-kill-mid-write.toml" "quorum/leader-pause.toml"
    "quorum/isolate-leader.toml" "quorum/partition.toml" "quorum/two-down.toml" "quorum/pause.toml" "quorum/delete.toml"
    "quorum/lag.toml" "quorum/chaos.toml" "quorum/weak.toml" "quorum/weak-promised.toml" "quorum/exercise1.toml"
    "quorum/exercise2.toml" "quorum/exercise4.toml"
    "quorum/lab/outage.toml" "quorum/lab/leader-kill.toml" "quorum/lab/leader-pause.toml" "quorum/lab/partition.toml"
    "quorum/lab/two-down.toml" "quorum/lab/pause.toml" "quorum/lab/delete.toml" "quorum/lab/lag.toml"
    "quorum/lab/chaos.toml"
    "pubsub/steady.toml" "pubsub/leader-kill.toml" "pubsub/leader-pause.toml" "pubsub/follower-pause.toml"
    "pubsub/rolling-restart.toml" "pubsub/partition.toml" "pubsub/duplicates.toml" "pubsub/restart-all.toml"
    "pubsub/split-vote.toml" "pubsub/chaos.toml"
    "broadcast/quiet.toml" "broadcast/concurrent.toml" "broadcast/slow-link.toml" "broadcast/lossy.toml"
    "broadcast/deaf-peer.toml" "broadcast/silent-peer.toml" "broadcast/partition.toml" "broadcast/killed-sender.toml"
    "broadcast/five-peers.toml" "broadcast/ten-peers.toml" "broadcast/chaos.toml"
};

/// The protocol files that shipped workloads point at.
pub const PROTOCOLS: &[(&str, &str)] = shipped! { "protocols/quorum-eventual.toml" };

/// Replicas that differ in the end.
const DIVERGED: Proof = ("convergence", &["diverged"]);
/// Values nobody wrote under that key, in the final state or in a read.
const PHANTOM: &[Proof] = &[("convergence", &["phantom-value"]), ("lww", &["phantom-value"])];
/// A clock behind what its node had seen.
const BEHIND: &[Proof] = &[("lww", &["lamport", "lost-update"])];
/// A clock that stands still: each write has the version of others, or loses to what its node had shown.
const STANDING: &[Proof] = &[("lww", &["two-values-one-version", "lost-update", "lamport"])];
const LOST_TIE: &[Proof] = &[("lww", &["wrong-tie-winner"]), DIVERGED];
const LOST: &[Proof] = &[("lww", &["lost-update", "wrong-tie-winner", "version-backwards"]), DIVERGED];
const OWN: Proof = ("read-your-writes", &["read-your-writes"]);
const STALE_OWN: &[Proof] = &[OWN];
const STALE: &[Proof] = &[OWN, ("monotonic-reads", &["monotonic-reads"])];

/// Claims of copies that cannot be.
const IMPOSSIBLE: &[Proof] = &[("quorum", &["impossible-quorum"])];
/// Strong reads that missed what was acknowledged.
const STALE_STRONG: &[Proof] =
    &[("quorum", &["stale-strong-read", "deleted-value-returned"]), NOT_LINEARIZABLE];
const NOT_LINEARIZABLE: Proof = ("linearizability", &["not-linearizable"]);
/// Acknowledged and gone.
const GONE: &[Proof] = &[("durability", &["lost-acknowledged"]), ("quorum", &["lost-acknowledged"])];
/// Old values in place of new ones, whoever notices first.
const MIXED_UP: &[Proof] =
    &[("quorum", &["stale-strong-read", "deleted-value-returned", "lost-acknowledged"]), DIVERGED];
/// Old values written anew.
const OVERWRITTEN: &[Proof] = &[
    ("durability", &["lost-acknowledged"]),
    ("quorum", &["lost-acknowledged", "stale-strong-read", "deleted-value-returned"]),
    DIVERGED,
];
/// Deleted here, not there.
const UNDELETED: &[Proof] = &[("quorum", &["deleted-value-returned"]), DIVERGED];
const OLD_LEADER: &[Proof] = &[("leader", &["deposed-leader-acknowledged"])];
const TWO_LEADERS: &[Proof] = &[("leader", &["two-leaders-one-term"])];
const NO_LEADER: &[Proof] = &[("leader", &["no-leader"])];

/// An acknowledged message that is in no log.
const LOST_ACKED: &[Proof] = &[("log", &["lost-acknowledged"])];
/// Logs that are not one: by what nodes hold in the end, or by what one of them showed before.
const LOGS_DIFFER: &[Proof] =
    &[("log", &["lost-acknowledged", "diverged", "vanished", "reordered", "two-offsets"])];
/// What a node showed that is not, or not like that, in the log: it was not committed.
const NOT_THE_LOG: &[Proof] = &[("log", &["vanished", "reordered", "gap", "two-offsets"])];

/// Two processes that delivered two messages in different orders.
const DISORDER: &[Proof] = &[("total-order", &["order", "not-causal", "not-fifo", "gap"])];

/// Every case, by system and bug. The expectations are those of the field: what the bug does to a user. A workload is
/// in a bug's rows only where the bug has so many independent chances to show that it is found in 99 of 100 runs.
pub const CASES: &[Case] = &[
    correct_lww("outage.toml"),
    correct_lww("delay.toml"),
    correct_lww("concurrent.toml"),
    correct_lww("partition.toml"),
    correct_lww("pause.toml"),
    correct_lww("restart.toml"),
    correct_lww("skew.toml"),
    correct_lww("chaos.toml"),
    lab2("lab2/outage.toml"),
    lab2("lab2/delay.toml"),
    lab2("lab2/concurrent.toml"),
    lab2("lab2/partition.toml"),
    lab2("lab2/pause.toml"),
    lab2("lab2/restart.toml"),
    lab2("lab2/chaos.toml"),
    lww("no-tie-break", "concurrent.toml", LOST_TIE),
    lww("last-arrival-wins", "concurrent.toml", LOST),
    lww("last-arrival-wins", "delay.toml", LOST),
    lww("no-receive-rule", "concurrent.toml", BEHIND),
    lww("no-receive-rule", "delay.toml", BEHIND),
    lww("no-tick", "concurrent.toml", STANDING),
    lww("racy-tick", "concurrent.toml", &[("lww", &["two-values-one-version"])]),
    lww("fire-and-forget", "outage.toml", &[DIVERGED]),
    lww("fire-and-forget", "partition.toml", &[DIVERGED]),
    lww("no-catch-up", "outage.toml", &[DIVERGED]),
    lww("forgets-on-crash", "restart.toml", &[("durability", &["lost-acknowledged", "forgotten"])]),
    lww("clock-reset", "restart.toml", BEHIND),
    lww("ack-before-apply", "concurrent.toml", STALE_OWN),
    lww("ack-before-apply", "delay.toml", STALE_OWN),
    lww("cached-reads", "concurrent.toml", STALE),
    lww("cached-reads", "delay.toml", STALE),
    lww("bounded-queue", "outage.toml", &[DIVERGED]),
    lww("bounded-queue", "partition.toml", &[DIVERGED]),
    lww("relabels-origin", "concurrent.toml", &[("lww", &["relabelled"]), DIVERGED]),
    lww("key-collision", "concurrent.toml", PHANTOM),
    lww("key-collision", "delay.toml", PHANTOM),
    lww("nil-default", "concurrent.toml", PHANTOM),
    lww("nil-default", "outage.toml", PHANTOM),
    lww("wall-clock", "skew.toml", BEHIND),
    correct_quorum("quorum/outage.toml"),
    correct_quorum("quorum/leader-kill.toml"),
    correct_quorum("quorum/leader-kill-mid-write.toml"),
    correct_quorum("quorum/leader-pause.toml"),
    correct_quorum("quorum/isolate-leader.toml"),
    correct_quorum("quorum/partition.toml"),
    correct_quorum("quorum/two-down.toml"),
    correct_quorum("quorum/pause.toml"),
    correct_quorum("quorum/delete.toml"),
    correct_quorum("quorum/lag.toml"),
    correct_quorum("quorum/chaos.toml"),
    correct_quorum("quorum/weak.toml"),
    correct_quorum("quorum/exercise1.toml"),
    correct_quorum("quorum/exercise2.toml"),
    correct_quorum("quorum/exercise4.toml"),
    quorum_lab("quorum/lab/outage.toml"),
    quorum_lab("quorum/lab/leader-kill.toml"),
    quorum_lab("quorum/lab/leader-pause.toml"),
    quorum_lab("quorum/lab/partition.toml"),
    quorum_lab("quorum/lab/two-down.toml"),
    quorum_lab("quorum/lab/pause.toml"),
    quorum_lab("quorum/lab/delete.toml"),
    quorum_lab("quorum/lab/lag.toml"),
    quorum_lab("quorum/lab/chaos.toml"),
    quorum(PROMISES_TOO_MUCH, "quorum/weak-promised.toml", &[NOT_LINEARIZABLE]),
    quorum("claims-quorum", "quorum/two-down.toml", IMPOSSIBLE),
    quorum("counts-itself-twice", "quorum/two-down.toml", IMPOSSIBLE),
    quorum("first-answer-wins", "quorum/lag.toml", STALE_STRONG),
    quorum("first-answer-wins", "quorum/delete.toml", STALE_STRONG),
    quorum("no-versions", "quorum/lag.toml", MIXED_UP),
    quorum("no-versions", "quorum/partition.toml", MIXED_UP),
    quorum("local-strong-read", "quorum/lag.toml", STALE_STRONG),
    quorum("local-strong-read", "quorum/delete.toml", STALE_STRONG),
    quorum("unread-pending", "quorum/lag.toml", STALE_OWN),
    quorum("delete-not-replicated", "quorum/delete.toml", UNDELETED),
    quorum("delete-not-replicated", "quorum/outage.toml", UNDELETED),
    quorum("no-term-check", "quorum/leader-pause.toml", OLD_LEADER),
    quorum("no-term-check", "quorum/isolate-leader.toml", OLD_LEADER),
    quorum("two-leaders", "quorum/isolate-leader.toml", TWO_LEADERS),
    quorum("two-leaders", "quorum/partition.toml", TWO_LEADERS),
    quorum("url-sorts-first", "quorum/outage.toml", NO_LEADER),
    quorum("ack-then-replicate", "quorum/leader-kill-mid-write.toml", GONE),
    quorum("ack-then-replicate", "quorum/lag.toml", STALE_STRONG),
    quorum("overwrites-on-heal", "quorum/partition.toml", OVERWRITTEN),
    quorum("refuses-with-quorum", "quorum/outage.toml", &[("quorum", &["refused-with-quorum"])]),
    correct_pubsub("pubsub/steady.toml"),
    correct_pubsub("pubsub/leader-kill.toml"),
    correct_pubsub("pubsub/leader-pause.toml"),
    correct_pubsub("pubsub/follower-pause.toml"),
    correct_pubsub("pubsub/rolling-restart.toml"),
    correct_pubsub("pubsub/partition.toml"),
    correct_pubsub("pubsub/duplicates.toml"),
    correct_pubsub("pubsub/restart-all.toml"),
    correct_pubsub("pubsub/split-vote.toml"),
    correct_pubsub("pubsub/chaos.toml"),
    pubsub("ack-before-commit", "pubsub/leader-kill.toml", LOST_ACKED),
    pubsub("ack-before-commit", "pubsub/partition.toml", LOST_ACKED),
    pubsub("no-fsync", "pubsub/restart-all.toml", LOST_ACKED),
    pubsub("vote-twice", "pubsub/restart-all.toml", &[("leader", &["two-leaders-one-term"])]),
    pubsub("commits-old-term", "pubsub/partition.toml", LOGS_DIFFER),
    pubsub("off-by-one-truncate", "pubsub/partition.toml", LOGS_DIFFER),
    pubsub("dirty-history", "pubsub/partition.toml", NOT_THE_LOG),
    pubsub("dedup-evicts", "pubsub/duplicates.toml", &[("log", &["duplicated"])]),
    pubsub("dedup-local", "pubsub/duplicates.toml", &[("log", &["duplicated"])]),
    pubsub("subscriber-gap", "pubsub/follower-pause.toml", &[("log", &["subscriber-gap"])]),
    pubsub("reorders-topic", "pubsub/steady.toml", LOGS_DIFFER),
    correct_broadcast("broadcast/quiet.toml"),
    correct_broadcast("broadcast/concurrent.toml"),
    correct_broadcast("broadcast/slow-link.toml"),
    correct_broadcast("broadcast/lossy.toml"),
    correct_broadcast("broadcast/deaf-peer.toml"),
    correct_broadcast("broadcast/silent-peer.toml"),
    correct_broadcast("broadcast/partition.toml"),
    correct_broadcast("broadcast/killed-sender.toml"),
    correct_broadcast("broadcast/five-peers.toml"),
    correct_broadcast("broadcast/ten-peers.toml"),
    correct_broadcast("broadcast/chaos.toml"),
    broadcast("deliver-on-arrival", "broadcast/concurrent.toml", DISORDER),
    broadcast("no-sender-tie-break", "broadcast/concurrent.toml", DISORDER),
    broadcast("min-proposal", "broadcast/concurrent.toml", DISORDER),
    broadcast("timeout-fallback", "broadcast/silent-peer.toml", DISORDER),
    broadcast("timeout-fallback", "broadcast/partition.toml", DISORDER),
    broadcast("duplicates-on-retry", "broadcast/lossy.toml", &[("total-order", &["duplicate"])]),
    broadcast("no-retransmit", "broadcast/deaf-peer.toml", &[("total-order", &["missing", "gap"])]),
    broadcast("not-fifo", "broadcast/concurrent.toml", &[("total-order", &["not-fifo"])]),
    broadcast("not-causal", "broadcast/slow-link.toml", &[("total-order", &["not-causal", "order"])]),
];
