//! How long something has worked, for limits that must not depend on what else the machine does: a verdict that is `valid`
//! on a quiet machine and `unknown` on a busy one helps nobody.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How many times as long as it may work something may take on the clock.
const PATIENCE: u32 = 4;

/// A piece of work of this thread, from its beginning.
pub(super) struct Stint {
    began: Instant,
    /// The thread's processor time then; `None` where the system does not tell.
    before: Option<Duration>,
}

impl Stint {
    pub(super) fn begin() -> Self {
        Stint { began: Instant::now(), before: worked() }
    }

    /// Whether it has worked for longer than this, or waited for longer than is reasonable.
    pub(super) fn is_beyond(&self, most: Duration) -> bool {
        let elapsed = self.began.elapsed();
        let worked = self.before.zip(worked()).map(|(before, now)| now.saturating_sub(before));
        elapsed > most && (worked.is_none_or(|worked| worked > most) || elapsed > most * PATIENCE)
    }
}

/// The processor time this thread has used.
fn worked() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_working() {
        let most = Duration::from_millis(20);
        let stint = Stint::begin();
        // time itself is tested
        while stint.began.elapsed() < most * 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!stint.is_beyond(most) || stint.began.elapsed() > most * PATIENCE);
        while stint.began.elapsed() <= most * PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(stint.is_beyond(most), "patience has an end");
        let stint = Stint::begin();
        let mut turns = 0_u64;
        while !stint.is_beyond(most) {
            turns = std::hint::black_box(turns + 1);
        }
        assert!(stint.began.elapsed() > most);
    }
}
