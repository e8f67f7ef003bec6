//! Randomness for jitter: not reproducible, and nothing here should be.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A random number in `0..bound`; 0 where `bound` is 0.
pub fn below(bound: u64) -> u64 {
    RandomState::new().build_hasher().finish() % bound.max(1)
}
