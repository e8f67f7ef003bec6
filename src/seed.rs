//! Seeded randomness that never changes its mind.
//!
//! Everything the harness draws comes from a PCG generator seeded by (run seed, label), so that two parts
//! never share a stream: adding a fault does not change the operations, and the other way round. The
//! reductions from raw output are written out here because library distributions may change between
//! releases, and with them the meaning of every recorded seed.

use rand_core::{Rng as _, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A portable, reproducible stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(Pcg64Mcg);

impl Rng {
    /// The stream for `label` under a run's `seed`. Equal arguments give equal streams on every platform.
    pub fn new(seed: u64, label: &str) -> Self {
        // FNV-1a over the label, then one round of splitmix64 to spread neighbouring seeds apart.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut mixed = seed.wrapping_add(hash).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(Pcg64Mcg::seed_from_u64(mixed ^ (mixed >> 31)))
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A uniform number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A uniform number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `items`, or `None` when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Puts `items` into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_separate() {
        let draw = |seed, label| {
            let mut rng = Rng::new(seed, label);
            (0..4).map(|_| rng.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(42, "load"), draw(42, "load"));
        assert_ne!(draw(42, "load"), draw(43, "load"));
        assert_ne!(draw(42, "load"), draw(42, "fault"));
        // Pinned: a change here changes what every recorded seed means.
        assert_eq!(draw(42, "load"), PINNED);
    }

    const PINNED: [u64; 4] = [734_111, 988_274, 171_090, 485_227];

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::new(1, "bounds");
        assert_eq!(rng.below(0), 0);
        for _ in 0..1000 {
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!((0.0..1.0).contains(&rng.unit()));
        }
    }
}
