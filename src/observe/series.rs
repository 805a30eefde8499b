//! Owns the sets of labels that come and go with the configuration, and each worker's share of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The shards of one series, by worker number.
type Shards<S> = Vec<Option<Arc<S>>>;

/// Holds series by their labels, bounded in number.
///
/// A worker locks it only when it meets labels for the first time; afterwards it counts in the shard it got.
#[derive(Debug)]
pub(super) struct Registry<K, S> {
    series: Mutex<HashMap<Arc<K>, Shards<S>>>,
    series_max: usize,
    /// What further labels are folded into once the bound is reached.
    other: K,
}

impl<K: Eq + Hash + Clone, S: Default> Registry<K, S> {
    pub(super) fn new(series_max: usize, other: K) -> Self {
        Self { series: Mutex::default(), series_max, other }
    }

    /// Finds or makes a worker's shard of a series.
    pub(super) fn shard(&self, worker: usize, key: K) -> Arc<S> {
        let mut series = self.lock();
        let full = series.len() >= self.series_max && !series.contains_key(&key);
        let shards = series.entry(Arc::new(if full { self.other.clone() } else { key })).or_default();
        if shards.len() <= worker {
            shards.resize_with(worker + 1, || None);
        }
        Arc::clone(shards[worker].get_or_insert_default())
    }

    /// Drops the series that are not live and that no worker holds any more.
    pub(super) fn retain(&self, live: impl Fn(&K) -> bool) {
        self.lock()
            .retain(|key, shards| live(key) || shards.iter().flatten().any(|shard| Arc::strong_count(shard) > 1));
    }

    /// Copies references to all series, so that rendering them does not keep a worker from the lock.
    pub(super) fn all(&self) -> Vec<(Arc<K>, Vec<Arc<S>>)> {
        let series = self.lock();
        series.iter().map(|(key, shards)| (Arc::clone(key), shards.iter().flatten().cloned().collect())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<K>, Shards<S>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
