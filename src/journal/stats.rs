//! Owns the journal's counters; whoever has the journal reads them at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets of [`Histogram`] in seconds; the last bucket has none.
pub const BOUNDS_SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// What a journal counts.
#[derive(Debug, Default)]
pub struct JournalStats {
    /// Records that were written.
    pub records_appended: AtomicU64,
    /// Bytes of those records, heads included.
    pub bytes_appended: AtomicU64,
    /// Records that were refused at once: queue or journal full, or the disk failing.
    pub records_refused: AtomicU64,
    /// Records that were taken and could not be written.
    pub records_failed: AtomicU64,
    /// Batches written; records over batches is how well commits group.
    pub batches: AtomicU64,
    /// How long each fsync of the committer took.
    pub fsync: Histogram,
    /// File operations that failed.
    pub disk_errors: AtomicU64,
    /// 1 while the disk is failing and records are refused.
    pub failing: AtomicU64,
    /// 1 while the disk has no space for another segment, and intents are refused.
    pub out_of_space: AtomicU64,
    /// Bytes that wait for the committer now.
    pub queue_bytes: AtomicU64,
    /// Bytes that the segments of the log take now.
    pub live_bytes: AtomicU64,
    /// Bytes that the side files take now.
    pub side_bytes: AtomicU64,
}

/// Counts of durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    total_nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_SECONDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many fell into each bucket, not summed up.
    #[must_use]
    pub fn counts(&self) -> [u64; BOUNDS_SECONDS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed))
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    /// The sum of all in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.total_nanos.load(Ordering::Relaxed) as f64 / 1e9
    }
}

/// How full a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the segments and side files.
    pub live_bytes: u64,
    /// From here on intents are refused.
    pub high_water_bytes: u64,
    /// From here on everything is refused.
    pub bytes_max: u64,
    /// Bytes that wait for the committer.
    pub queue_bytes: u64,
    /// Segments that hold records.
    pub segments: usize,
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
