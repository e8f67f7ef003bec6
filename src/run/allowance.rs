//! Time that nodes are given, on a machine that may have none for them.

use std::time::{Duration, Instant};

use super::world::Shared;

/// How many times as long as asked nodes are given at most.
const PATIENCE: u32 = 4;

/// So much time for some nodes to do something. What they spent waiting for a processor is not counted: otherwise a
/// correct node would be blamed for the machine it runs on.
pub struct Allowance<'a> {
    within: Duration,
    began: Instant,
    shared: &'a Shared,
    nodes: &'a [String],
    starved_before: Duration,
}

impl<'a> Allowance<'a> {
    /// From now on.
    pub fn new(within: Duration, shared: &'a Shared, nodes: &'a [String]) -> Self {
        let mut allowance =
            Self { within, began: Instant::now(), shared, nodes, starved_before: Duration::ZERO };
        allowance.starved_before = allowance.starved();
        allowance
    }

    /// Whether it is used up.
    pub fn is_over(&self) -> bool {
        let elapsed = self.began.elapsed();
        // Asked of the system only when it matters.
        elapsed >= self.within
            && is_over(self.within, elapsed, self.starved().saturating_sub(self.starved_before))
    }

    fn starved(&self) -> Duration {
        self.nodes.iter().map(|node| self.shared.cluster.starved(node)).max().unwrap_or_default()
    }
}

fn is_over(within: Duration, elapsed: Duration, starved: Duration) -> bool {
    elapsed >= within + starved.min(within * (PATIENCE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_processor_is_not_counted() {
        let s = Duration::from_secs;
        assert!(!is_over(s(10), s(9), s(0)));
        assert!(is_over(s(10), s(10), s(0)));
        assert!(!is_over(s(10), s(14), s(5)));
        assert!(is_over(s(10), s(15), s(5)));
        assert!(is_over(s(10), s(40), s(3600)), "there is an end to patience");
    }
}
