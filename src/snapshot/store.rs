//! Owns the one pointer that publishing swaps; it never compiles and never drops a snapshot on a worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Cache};

use super::Snapshot;

/// Holds the snapshot in force.
///
/// Readers on the data plane see a publication at their next request. Replaced snapshots wait here until no reader
/// holds them, so that freeing a large one never stops a worker.
#[derive(Debug)]
pub struct Store {
    current: Arc<ArcSwap<Snapshot>>,
    /// Replaced snapshots that a reader may still hold; touched by the control plane only.
    replaced: Mutex<Vec<Arc<Snapshot>>>,
}

/// A worker's cached view of the store: one relaxed-cost load a request.
#[derive(Debug)]
pub struct Reader(Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>);

impl Store {
    /// Makes a store that holds a first snapshot.
    pub fn new(first: Snapshot) -> Arc<Self> {
        Arc::new(Self { current: Arc::new(ArcSwap::from_pointee(first)), replaced: Mutex::default() })
    }

    /// Switches all workers to `next`, and frees what no reader holds any more.
    pub fn publish(&self, next: Snapshot) {
        self.swap(next);
        self.reap();
    }

    /// Switches all workers to `next` and frees nothing: [`Store::reap`] does, where nobody waits for it.
    pub fn swap(&self, next: Snapshot) {
        let old = self.current.swap(Arc::new(next));
        self.lock().push(old);
    }

    /// Frees replaced snapshots that no reader holds any more; returns how many are still held.
    pub fn reap(&self) -> usize {
        let mut replaced = self.lock();
        let free: Vec<_> = replaced.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1).collect();
        let held = replaced.len();
        // Freeing a large one takes a while, and a publication must not wait for it.
        drop(replaced);
        drop(free);
        held
    }

    /// Whether a reader still holds a replaced snapshot.
    pub fn is_replaced_held(&self) -> bool {
        self.lock().iter().any(|snapshot| Arc::strong_count(snapshot) > 1)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The snapshot in force, for the control plane.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes a reader for a worker.
    pub fn reader(&self) -> Reader {
        Reader(Cache::new(Arc::clone(&self.current)))
    }
}

impl Reader {
    /// The snapshot in force.
    pub fn load(&mut self) -> &Arc<Snapshot> {
        self.0.load()
    }
}
