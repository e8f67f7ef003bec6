//! Time as a node knows it: awake time for timeouts, the machine's clock, and that clock corrected towards the others'.
//!
//! Offsets are estimated as SNTP does (RFC 4330, section 5): asked at t1, received at t2, answered at t3, back at t4, the other
//! clock is ahead by ((t2 - t1) + (t3 - t4)) / 2, wrong by half the asymmetry of the two ways at most. Of the last few samples
//! the one with the shortest round trip counts.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::entry::Now;
use crate::node::kept::unpoisoned;

/// Samples of a peer that are compared.
const SAMPLES: usize = 8;
/// A sample counts for so long.
const FRESH: Duration = Duration::from_secs(30);
/// So much awake time passes at once at most: a process that was stopped, or had no processor, has not been listening, and
/// must not take its own silence for a leader's.
const LONGEST_STEP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    offset_us: i64,
    round_trip_us: i64,
}

/// The clocks of one node.
#[derive(Debug)]
pub struct Clock {
    skew_ms: i64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    last: Instant,
    awake: Duration,
    /// By member.
    samples: Vec<VecDeque<Sample>>,
}

impl Clock {
    /// A clock among so many `members`, wrong by `skew_ms`.
    pub fn new(members: usize, skew_ms: i64) -> Self {
        let samples = vec![VecDeque::new(); members];
        let inner = Inner { last: Instant::now(), awake: Duration::ZERO, samples };
        Clock { skew_ms, inner: Mutex::new(inner) }
    }

    /// The machine's clock, skewed, µs since 1970.
    pub fn wall_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        now_us.saturating_add(self.skew_ms.saturating_mul(1000))
    }

    /// All of them.
    pub fn now(&self) -> Now {
        let wall_us = self.wall_us();
        let mut inner = unpoisoned(self.inner.lock());
        let instant = Instant::now();
        let step = instant.duration_since(inner.last).min(LONGEST_STEP);
        inner.awake += step;
        inner.last = instant;
        let ms = |us: i64| u64::try_from(us / 1000).unwrap_or(0);
        let corrected_us = wall_us.saturating_add(offset_us(&inner.samples, instant));
        Now { awake_ms: inner.awake.as_millis() as u64, wall_ms: ms(wall_us), corrected_ms: ms(corrected_us) }
    }

    /// How far the corrected clock is ahead of the machine's, µs.
    pub fn offset_us(&self) -> i64 {
        offset_us(&unpoisoned(self.inner.lock()).samples, Instant::now())
    }

    /// An exchange with `member`: its times of receipt and answer, between ours of question and return, µs.
    pub fn sample(&self, member: usize, sent: i64, [received, answered]: [i64; 2], back: i64) {
        let ahead = received.saturating_sub(sent).saturating_add(answered.saturating_sub(back)) / 2;
        let round_trip_us = back.saturating_sub(sent).saturating_sub(answered.saturating_sub(received));
        let mut inner = unpoisoned(self.inner.lock());
        if let Some(samples) = inner.samples.get_mut(member) {
            samples.truncate(SAMPLES - 1);
            samples.push_front(Sample { at: Instant::now(), offset_us: ahead, round_trip_us });
        }
    }
}

/// The median over this clock and those known: every node that knows all others corrects to the same clock, and one that is
/// far off drags nobody along. Of two in the middle the one nearer to this clock counts: of two clocks nobody can tell which
/// is wrong.
fn offset_us(samples: &[VecDeque<Sample>], now: Instant) -> i64 {
    let best = |samples: &VecDeque<Sample>| {
        let fresh = samples.iter().filter(|sample| now.duration_since(sample.at) < FRESH);
        fresh.min_by_key(|sample| sample.round_trip_us).map(|sample| sample.offset_us)
    };
    let mut offsets: Vec<i64> = samples.iter().filter_map(best).collect();
    offsets.push(0);
    offsets.sort_unstable();
    let (lower, upper) = (offsets[(offsets.len() - 1) / 2], offsets[offsets.len() / 2]);
    if lower.unsigned_abs() <= upper.unsigned_abs() { lower } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_exchange_tells_the_offset_and_the_median_counts() {
        let clock = Clock::new(3, 0);
        assert_eq!(clock.offset_us(), 0);
        // The other is 1 s ahead; the way there took 40 ms and the way back none, then 1 ms each.
        clock.sample(1, 0, [1_040_000, 1_040_000], 40_000);
        assert_eq!(clock.offset_us(), 0, "of two clocks, its own");
        clock.sample(2, 0, [90_000_000, 90_000_000], 0);
        assert_eq!(clock.offset_us(), 1_020_000, "of three, the middle one");
        clock.sample(1, 100_000, [1_101_000, 1_102_000], 103_000);
        assert_eq!(clock.offset_us(), 1_000_000);
        clock.sample(2, 0, [-90_000_000, -90_000_000], -2);
        assert_eq!(clock.offset_us(), 0);
        for _ in 0..SAMPLES {
            clock.sample(1, 0, [2_005_000, 2_005_000], 10_000);
        }
        assert_eq!(clock.offset_us(), 0);
        clock.sample(2, 0, [90_000_000, 90_000_000], -4);
        assert_eq!(clock.offset_us(), 2_000_000, "old samples go");
    }

    #[test]
    fn a_skewed_clock_is_wrong_by_as_much() {
        let (right, wrong) = (Clock::new(1, 0).now(), Clock::new(1, -5_000).now());
        let behind = right.wall_ms - wrong.wall_ms;
        assert!((3_000..=5_000).contains(&behind), "{behind}");
    }
}
