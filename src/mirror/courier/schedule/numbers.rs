//! Owns the hashing of numbers that nobody outside chooses: they need no defence against those who would make them collide.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes ids of ours.
pub(in crate::mirror::courier) type ByNumber = BuildHasherDefault<Number>;

/// The odd number next to 2^64 divided by the golden ratio: it spreads what follows one another over all bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug, Default)]
pub(in crate::mirror::courier) struct Number(u64);

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(number as u64);
        self.write_u64((number >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        // Tables take the low bits, which the product has mixed least.
        self.0 ^ self.0 >> 32
    }
}
