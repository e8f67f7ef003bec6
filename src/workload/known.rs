//! The names a workload may use of what other modules register.

/// Checks: name, and what it finds.
// The lead swaps this for `crate::check::CHECKS` once every check is registered there.
pub const KNOWN_CHECKS: &[(&str, &str)] = &[
    ("convergence", "After heal and settle all replicas agree, on values somebody wrote."),
    ("lww", "Versions follow Lamport's rules, and the highest version of each key wins."),
    ("read-your-writes", "A session's reads see its own earlier writes."),
    ("monotonic-reads", "A session's reads never go back to an older version."),
    ("monotonic-writes", "A session's writes take effect in its order."),
    ("writes-follow-reads", "A session's write is ordered after what it had read."),
    ("durability", "Acknowledged writes survive crashes, as far as `cluster.durability` promises."),
    ("availability", "Rates of ok, fail and info, and latencies, in each phase."),
    ("staleness", "How stale reads were, in versions and in time."),
];

/// Checks of the design that this version does not support.
pub const LATER_CHECKS: &[&str] = &[
    "causal",
    "sequential",
    "linearizability",
    "quorum",
    "leader",
    "total-order",
    "log",
    "set",
    "counter",
    "unique-ids",
];

/// Kinds of load, each with the operations its `mix` may name.
pub const KNOWN_LOADS: &[(&str, &[&str])] = &[("register", &["read", "write"])];

/// Kinds of load of the design that this version does not support.
pub const LATER_LOADS: &[&str] = &["set", "counter", "broadcast", "log"];
