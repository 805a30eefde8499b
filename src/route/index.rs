//! Owns a hash index that is built once and finds small numbers by a hash; it stores no keys.
//!
//! One flat table for a whole route table instead of a map in every node: a lookup touches one cache line, and
//! dropping the table of a replaced snapshot frees one block. The hash needs no secret, because nothing a client
//! sends is ever stored in it.

const EMPTY: u32 = u32::MAX;
/// An odd constant with well-spread bits (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Maps hashes to numbers; the caller tells equal hashes apart.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two, at most half of it taken; none when the index is empty.
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    id: u32,
}

impl Index {
    /// Builds an index; of equal keys the first given is the one found.
    pub(super) fn build(hashes: &[(u64, u32)]) -> Self {
        if hashes.is_empty() {
            return Self::default();
        }
        let capacity = (hashes.len() * 2).next_power_of_two();
        let mut slots = vec![Slot { tag: 0, id: EMPTY }; capacity].into_boxed_slice();
        for &(hash, id) in hashes {
            let mut at = home(hash, capacity);
            while slots[at].id != EMPTY {
                at = (at + 1) & (capacity - 1);
            }
            slots[at] = Slot { tag: tag(hash), id };
        }
        Self { slots }
    }

    /// Finds the number under a hash that `is` accepts.
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = home(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot.id == EMPTY {
                return None;
            }
            if slot.tag == tag(hash) && is(slot.id) {
                return Some(slot.id);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
fn home(hash: u64, capacity: usize) -> usize {
    hash as usize & (capacity - 1)
}

fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(EMPTY)
}

/// Hashes bytes, chained to what `seed` has hashed before.
pub(super) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(SPREAD);
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let last = tail.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    finish(mix(state, last))
}

fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(SPREAD)
}

/// Lets every bit of the state reach the low bits, which choose the slot.
fn finish(state: u64) -> u64 {
    let state = (state ^ state >> 32).wrapping_mul(SPREAD);
    state ^ state >> 29
}

/// Narrows a position in a list of routes or nodes to the width that is stored.
pub(super) fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("files are capped far below 2^32 routes")
}
