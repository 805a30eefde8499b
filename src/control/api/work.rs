//! Owns threads for what may wait for a disk. The runtime's own are not used: dead name servers can hold all of them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

/// A bounded number of pieces of work at the same time, each on a thread of its own.
#[derive(Debug, Clone)]
pub(super) struct Bench(Arc<Semaphore>);

impl Bench {
    pub(super) fn new(seats: usize) -> Self {
        Self(Arc::new(Semaphore::new(seats)))
    }

    /// Does a piece of work, also when whoever asked for it goes away meanwhile; `None` when it panicked.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let seat = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let work = Arc::new(Mutex::new(Some(work)));
        let (sender, result) = oneshot::channel();
        let taken = Arc::clone(&work);
        let spawned = std::thread::Builder::new().name("admin-work".to_owned()).spawn(move || {
            let work = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            let result = work.map(|work| work());
            drop(seat);
            // Whoever asked may be gone.
            let _ = sender.send(result);
        });
        if spawned.is_err() {
            // A machine without threads left must still take a kill: the runtime waits with it, a few seconds at most.
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            return work.map(|work| work());
        }
        result.await.ok().flatten()
    }
}
