//! Which shipped workload must find which bundled bug, and by which check.

/// One row: a bug, a workload that must find it, and the checks of which at least one must name it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `lww`, …
    pub system: &'static str,
    /// The bug's name; `None`: the correct node.
    pub bug: Option<&'static str>,
    /// The workload file, relative to `workloads/`.
    pub workload: &'static str,
    /// Any of these must come out invalid; empty for the correct node: none may.
    pub checks: &'static [&'static str],
}

const fn lww(bug: &'static str, workload: &'static str, checks: &'static [&'static str]) -> Case {
    Case { system: "lww", bug: Some(bug), workload, checks }
}

const fn correct_lww(workload: &'static str) -> Case {
    Case { system: "lww", bug: None, workload, checks: &[] }
}

/// The shipped workloads the self-test runs, as they were when this binary was built.
pub const SHIPPED: &[(&str, &str)] = &[
    ("outage.toml", include_str!("../../../workloads/outage.toml")),
    ("delay.toml", include_str!("../../../workloads/delay.toml")),
    ("concurrent.toml", include_str!("../../../workloads/concurrent.toml")),
    ("partition.toml", include_str!("../../../workloads/partition.toml")),
    ("pause.toml", include_str!("../../../workloads/pause.toml")),
    ("restart.toml", include_str!("../../../workloads/restart.toml")),
    ("skew.toml", include_str!("../../../workloads/skew.toml")),
    ("chaos.toml", include_str!("../../../workloads/chaos.toml")),
];

/// Every case, by system and bug. The expectations are those of the field: what the bug does to a user.
pub const CASES: &[Case] = &[
    correct_lww("outage.toml"),
    correct_lww("delay.toml"),
    correct_lww("concurrent.toml"),
    correct_lww("partition.toml"),
    correct_lww("pause.toml"),
    correct_lww("restart.toml"),
    correct_lww("skew.toml"),
    correct_lww("chaos.toml"),
    lww("no-tie-break", "concurrent.toml", &["convergence", "lww"]),
    lww("no-tie-break", "delay.toml", &["convergence", "lww"]),
    lww("last-arrival-wins", "concurrent.toml", &["convergence", "lww"]),
    lww("last-arrival-wins", "delay.toml", &["convergence", "lww"]),
    lww("no-receive-rule", "concurrent.toml", &["lww"]),
    lww("no-receive-rule", "delay.toml", &["lww"]),
    lww("no-tick", "concurrent.toml", &["lww"]),
    lww("racy-tick", "concurrent.toml", &["lww"]),
    lww("fire-and-forget", "outage.toml", &["convergence"]),
    lww("fire-and-forget", "partition.toml", &["convergence"]),
    lww("no-catch-up", "outage.toml", &["convergence"]),
    lww("forgets-on-crash", "restart.toml", &["durability"]),
    lww("clock-reset", "restart.toml", &["lww"]),
    lww("ack-before-apply", "concurrent.toml", &["read-your-writes"]),
    lww("ack-before-apply", "delay.toml", &["read-your-writes"]),
    lww("cached-reads", "concurrent.toml", &["read-your-writes", "monotonic-reads"]),
    lww("cached-reads", "delay.toml", &["read-your-writes", "monotonic-reads"]),
    lww("bounded-queue", "outage.toml", &["convergence"]),
    lww("bounded-queue", "partition.toml", &["convergence"]),
    lww("relabels-origin", "concurrent.toml", &["lww", "convergence"]),
    lww("key-collision", "concurrent.toml", &["lww", "convergence"]),
    lww("key-collision", "delay.toml", &["lww", "convergence"]),
    lww("nil-default", "concurrent.toml", &["lww", "convergence"]),
    lww("nil-default", "outage.toml", &["lww", "convergence"]),
    lww("wall-clock", "skew.toml", &["lww"]),
];
