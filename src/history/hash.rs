//! A fast hash for what is in a history. Somebody who chose values to collide would only slow the check of their own
//! file, and a check has a budget.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// One multiplication a word.
#[derive(Default, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.write_u64(word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        for byte in words.remainder() {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map keyed by small numbers.
pub(crate) type Fast<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;
