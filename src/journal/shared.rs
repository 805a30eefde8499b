//! Owns what the journal's threads and its readers share, and what goes from callers to the committer.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Durability;
use super::answers::Reply;
use super::inbox::Bell;
use super::options::Options;
use super::record::{Kind, Lsn, Payload, Side};
use super::stats::JournalStats;
use super::table::Table;

/// What the threads and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) table: Mutex<Table>,
    pub(super) stats: Arc<JournalStats>,
    /// The number of the next record that is not written yet.
    pub(super) written: watch::Sender<Lsn>,
    /// The newest segment of which something is durable.
    pub(super) synced_segment: AtomicU64,
    pub(super) failure: Failure,
    pub(super) closed: AtomicBool,
    pub(super) bell: Bell,
}

impl Shared {
    /// A thread that panicked left the table between two of its changes, each of which leaves it whole.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the disk said last, while it fails.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stats: Arc<JournalStats>,
    pub(super) error: Mutex<Option<Arc<io::Error>>>,
}

impl Failure {
    pub(super) fn error(&self) -> Option<Arc<io::Error>> {
        // The lock is taken only while the disk fails.
        let failing = self.stats.failing.load(Ordering::Acquire) == 1;
        failing.then(|| self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()).flatten()
    }

    pub(super) fn set(&self, error: io::Error) -> Arc<io::Error> {
        let error = Arc::new(error);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.stats.failing.store(1, Ordering::Release);
        error
    }

    pub(super) fn clear(&self) {
        self.stats.failing.store(0, Ordering::Release);
    }
}

/// A record on its way to the committer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) epoch: u64,
    pub(super) side: Option<Side>,
    pub(super) payload: Payload,
    pub(super) durability: Durability,
    /// Where somebody waits.
    pub(super) reply: Option<Reply>,
}

impl Request {
    pub(super) fn is_awaited(&self) -> bool {
        self.reply.is_some() || self.durability == Durability::Synced
    }
}

#[derive(Debug)]
pub(super) enum Message {
    Append(Request),
    Close,
}
