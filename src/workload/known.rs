//! The names a workload may use of what other modules register.

/// Checks of the design that this version does not support.
pub const LATER_CHECKS: &[&str] = &["total-order", "log"];

/// Kinds of load, each with the operations its `mix` may name.
pub const KNOWN_LOADS: &[(&str, &[&str])] =
    &[("register", &["read", "write", "delete", "strong-read", "session-read", "eventual-read"])];

/// Kinds of load of the design that this version does not support.
pub const LATER_LOADS: &[&str] = &["set", "counter", "broadcast", "log"];
