//! Owns counting different things in bounded memory: exactly while they are few, then by a HyperLogLog.
//!
//! Flajolet et al., "HyperLogLog" (2007), with the estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (2017): 2^14 registers of one byte have a standard error of 0.8 %.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Up to so many are counted exactly: no more memory than the registers take.
const EXACT_MAX: usize = 1024;
/// Bits of the hash that choose a register.
const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;
/// The longest run: all bits that are left, and one.
const RUN_MAX: usize = (u64::BITS - REGISTER_BITS + 1) as usize;

/// Counts different keys.
#[derive(Debug, Clone)]
pub(super) enum Distinct {
    /// Their hashes.
    Exact(HashSet<u64>),
    /// By register, the longest run of zeros in a hash, plus one.
    Estimate(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(HashSet::new())
    }
}

/// What a key is counted by.
pub(super) fn fingerprint(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Distinct {
    /// Counts a key by its fingerprint.
    pub(super) fn add(&mut self, fingerprint: u64) {
        match self {
            Self::Exact(known) => {
                known.insert(fingerprint);
                if known.len() > EXACT_MAX {
                    self.spill();
                }
            }
            Self::Estimate(registers) => note(registers, fingerprint),
        }
    }

    /// Counts what another one has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        match other {
            Self::Exact(known) => known.iter().for_each(|one| self.add(*one)),
            Self::Estimate(theirs) => {
                let ours = self.spill();
                ours.iter_mut().zip(theirs).for_each(|(our, their)| *our = (*our).max(*their));
            }
        }
    }

    /// How many there are, or about how many.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Exact(known) => known.len() as u64,
            Self::Estimate(registers) => estimate(registers),
        }
    }

    /// Whether the count is an estimate.
    pub(super) const fn is_estimate(&self) -> bool {
        matches!(self, Self::Estimate(_))
    }

    fn spill(&mut self) -> &mut [u8] {
        if let Self::Exact(known) = self {
            let mut registers = vec![0; REGISTERS].into_boxed_slice();
            known.iter().for_each(|one| note(&mut registers, *one));
            *self = Self::Estimate(registers);
        }
        match self {
            Self::Estimate(registers) => registers,
            Self::Exact(_) => &mut [],
        }
    }
}

fn note(registers: &mut [u8], fingerprint: u64) {
    let register = (fingerprint >> (u64::BITS - REGISTER_BITS)) as usize;
    let rest = fingerprint << REGISTER_BITS;
    let run = (rest.leading_zeros() as usize + 1).min(RUN_MAX) as u8;
    registers[register] = registers[register].max(run);
}

/// Ertl's estimator, which needs no case distinction by size (2017, algorithm 6); letters as in the paper.
fn estimate(registers: &[u8]) -> u64 {
    let m = registers.len() as f64;
    let mut counts = [0.0; RUN_MAX + 1];
    registers.iter().for_each(|run| counts[usize::from(*run).min(RUN_MAX)] += 1.0);
    let mut z = m * tau(1.0 - counts[RUN_MAX] / m);
    for count in counts[1..RUN_MAX].iter().rev() {
        z = 0.5 * (z + count);
    }
    z += m * sigma(counts[0] / m);
    (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(range: std::ops::Range<u32>) -> Distinct {
        let mut distinct = Distinct::default();
        range.for_each(|number| distinct.add(fingerprint(&format!("user-{number}"))));
        distinct
    }

    #[test]
    fn few_are_counted_exactly_and_many_to_about_two_percent() {
        for count in [0, 1, 1024] {
            let distinct = counted(0..count);
            assert_eq!((distinct.count(), distinct.is_estimate()), (count.into(), false));
        }
        for count in [1025, 5_000, 40_000, 50_000, 300_000] {
            let distinct = counted(0..count);
            let error = distinct.count() as f64 / f64::from(count) - 1.0;
            assert!(distinct.is_estimate() && error.abs() < 0.025, "{count}: {error}");
        }
    }

    #[test]
    fn who_comes_again_is_not_counted_again() {
        let mut distinct = counted(0..2_000);
        let once = distinct.count();
        distinct.merge(&counted(0..2_000));
        (0..2_000).for_each(|number| distinct.add(fingerprint(&format!("user-{number}"))));
        assert_eq!(distinct.count(), once);
    }

    #[test]
    fn merging_counts_as_one_would_have() {
        for (first, second) in [(0..10, 5..20), (0..10, 0..3_000), (0..3_000, 0..10), (0..3_000, 2_000..9_000)] {
            let mut merged = counted(first.clone());
            merged.merge(&counted(second.clone()));
            let all = counted(first.start.min(second.start)..first.end.max(second.end));
            assert_eq!(
                (merged.count(), merged.is_estimate()),
                (all.count(), all.is_estimate()),
                "{first:?} {second:?}"
            );
        }
    }
}
