//! What is to become of a datagram, drawn from the run's seed.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::policy::LinkPolicy;
use crate::seed::Rng;

/// One that is held back waits for at most so many to overtake it.
const OVERTAKEN_BY: u64 = 3;
/// At most so many bits are flipped at a time.
const FLIPS: u64 = 3;

/// Draws fates. Each datagram takes the same number of draws whatever the policy, so that what one fault does to the
/// hundredth of them does not depend on which other faults there are.
pub(super) struct Fates {
    label: String,
    seed: u64,
    rng: Option<Box<Rng>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fate {
    pub dropped: bool,
    pub corrupted: Option<Flips>,
    /// The jitter of its copy.
    pub duplicated: Option<Duration>,
    /// How many are to overtake it; 0: it is not held back.
    pub overtaken_by: u8,
    pub jitter: Duration,
}

impl Fates {
    pub fn new(seed: u64, label: &str) -> Self {
        Self { label: label.to_owned(), seed, rng: None }
    }

    pub fn draw(&mut self, policy: &LinkPolicy) -> Fate {
        let rng = self.rng.get_or_insert_with(|| Box::new(Rng::new(self.seed, &self.label)));
        let mut happens = |share: f64| rng.unit() < share;
        let mishaps = &policy.mishaps;
        let (dropped, corrupted) = (happens(mishaps.drop), happens(mishaps.corrupt));
        let (duplicated, reordered) = (happens(mishaps.duplicate), happens(mishaps.reorder));
        let most_ns = u64::try_from(policy.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        let mut jitter = || Duration::from_nanos(rng.below(most_ns.saturating_add(1)));
        let (own, copy) = (jitter(), jitter());
        let (flips, overtaken_by) = (Flips(rng.bits()), rng.between(1, OVERTAKEN_BY));
        Fate {
            dropped,
            corrupted: corrupted.then_some(flips),
            duplicated: duplicated.then_some(copy),
            overtaken_by: if reordered { overtaken_by as u8 } else { 0 },
            jitter: own,
        }
    }
}

/// Which bits are flipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flips(u64);

impl Flips {
    /// Flips 1 to 3 different bits of `bytes`, which has at least one byte.
    pub fn apply(self, bytes: &mut [u8]) {
        let mut rng = Rng::new(self.0, "flips");
        let bits = bytes.len() as u64 * 8;
        let first = rng.below(bits);
        // Consecutive multiples of a step from the first one on are different bits while they stay below the whole.
        let count = rng.between(1, FLIPS.min(bits));
        let step = 1 + rng.below((bits - 1) / FLIPS + 1);
        for at in (0..count).map(|turn| (first + turn * step) % bits) {
            bytes[(at / 8) as usize] ^= 1 << (at % 8);
        }
    }
}

/// A datagram on its way.
pub(super) struct Waiting {
    pub due: Instant,
    /// Of all that were received.
    pub number: u64,
    pub received: Instant,
    /// When the rate lets it leave; its delay counts from there.
    pub leaves: Instant,
    pub jitter: Duration,
    pub from: SocketAddr,
    pub overtaken_by: u8,
    pub bytes: Box<[u8]>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    /// Reversed: the heap's greatest is the first to arrive.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Mishaps;
    use super::*;

    #[test]
    fn some_bits_are_flipped_and_never_none() {
        let mut counts = [0; 4];
        for seed in 0..2_000 {
            for length in [1, 2, 3, 1000] {
                let mut bytes = vec![0xa5; length];
                Flips(seed).apply(&mut bytes);
                let flipped: u32 = bytes.iter().map(|byte| (byte ^ 0xa5).count_ones()).sum();
                counts[flipped as usize] += 1;
            }
        }
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|count| *count > 1_000), "{counts:?}");
    }

    #[test]
    fn one_mishap_does_not_change_what_another_draws() {
        let fates = |mishaps| {
            let policy = LinkPolicy { mishaps, ..LinkPolicy::default() };
            let mut fates = Fates::new(7, "x");
            (0..200).map(|_| fates.draw(&policy)).collect::<Vec<_>>()
        };
        let lossy = fates(Mishaps { drop: 0.5, ..Mishaps::NONE });
        let all = fates(Mishaps { drop: 0.5, duplicate: 0.5, reorder: 0.5, corrupt: 0.5, ..Mishaps::NONE });
        let dropped = |fates: &[Fate]| fates.iter().map(|fate| fate.dropped).collect::<Vec<_>>();
        assert_eq!(dropped(&lossy), dropped(&all));
        let count = dropped(&lossy).iter().filter(|dropped| **dropped).count();
        assert!((60..140).contains(&count), "{count} of 200");
        assert!(all.iter().all(|fate| fate.overtaken_by <= 3));
        let certain = fates(Mishaps { drop: 1.0, ..Mishaps::NONE });
        assert!(certain.iter().all(|fate| fate.dropped && fate.corrupted.is_none()));
    }
}
