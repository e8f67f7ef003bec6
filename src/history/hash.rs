//! A fast hash for what is in a history. Somebody who chose values to collide would only slow the check of their own
//! file, and a check has a budget.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// One multiplication a word.
#[derive(Default, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
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
        // Both halves of the product: whole numbers as floats end in fifty zeros, and so would the lower half.
        let product =
            u128::from(self.0.rotate_left(26) ^ word ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

/// A map keyed by small numbers.
pub(crate) type Fast<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::Mix;
    use crate::history::Value;

    #[test]
    fn neighbours_are_spread() {
        let hash = |value: &Value| BuildHasherDefault::<Mix>::default().hash_one(value);
        let low: HashSet<u64> = (0..4096).map(|int| hash(&Value::int(int)) & 4095).collect();
        let high: HashSet<u64> = (0..4096).map(|int| hash(&Value::int(int)) >> 57).collect();
        // Of 4096 balls thrown at random into as many boxes, 63 % of the boxes get one.
        assert!(low.len() > 2300, "{}", low.len());
        assert_eq!(high.len(), 128);
    }
}
