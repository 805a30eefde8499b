//! Owns the numbers that metrics are made of; it never says what they mean.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts upwards; written by one thread, read by any.
///
/// An addition is a relaxed load and a relaxed store, as cheap as a plain number. A second writer would lose counts,
/// which is why each worker has its own; [`Tally`] is for many writers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `more`, wrapping at 2^64.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Reads the count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down; written by one thread, read by any.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.set(self.value().wrapping_add(change));
    }

    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads the value.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts upwards from any number of threads.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Reads the count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
