//! Owns which journals copies come from: this process's own, and those that earlier processes have left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::count_in;
use crate::clock;
use crate::journal::{Journal, OpenError};
use crate::mirror::open::open_elder;
use crate::mirror::shared::Mirror;

/// Between two tries to open a journal that fails to open, in milliseconds.
const RETRY_MS: u64 = 10_000;

/// Where copies come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The journal of this process.
    Own(Arc<Mirror>),
    /// One that nobody writes to any more.
    Elder(Arc<Journal>),
}

impl Source {
    pub(super) fn journal(&self) -> &Journal {
        match self {
            Self::Own(mirror) => mirror.journal(),
            Self::Elder(journal) => journal,
        }
    }

    /// Whether it ends: nothing is appended but settlements.
    pub(super) fn is_elder(&self) -> bool {
        matches!(self, Self::Elder(_))
    }
}

/// An opened journal of an earlier process; its directory goes when its last copy has come to its end.
#[derive(Debug)]
pub(super) struct Elder {
    pub journal: Arc<Journal>,
    dir: PathBuf,
}

/// The journals of earlier processes, the oldest first.
#[derive(Debug)]
pub(super) struct Elders {
    waiting: Vec<PathBuf>,
    bytes_max: u64,
    retry_at_ms: u64,
    open: Vec<Rc<Elder>>,
}

impl Elders {
    pub(super) fn new(waiting: Vec<PathBuf>, bytes_max: u64) -> Self {
        Self { waiting, bytes_max, retry_at_ms: 0, open: Vec::new() }
    }

    /// Opens what can be opened; says whether all are open.
    ///
    /// A process that is still draining has its own until it ends.
    pub(super) fn open_all(&mut self, mirror: &Mirror) -> bool {
        while let Some(dir) = self.waiting.first().filter(|_| clock::now_ms() >= self.retry_at_ms) {
            match self.open_one(dir, mirror) {
                Ok(elder) => {
                    self.open.push(Rc::new(elder));
                    self.waiting.remove(0);
                }
                Err(OpenError::Locked { .. }) => break,
                Err(error) => {
                    tracing::error!(%error, "the copies of an earlier process cannot be read, and later ones wait for them");
                    self.retry_at_ms = clock::now_ms() + RETRY_MS;
                }
            }
        }
        self.waiting.is_empty()
    }

    fn open_one(&self, dir: &Path, mirror: &Mirror) -> Result<Elder, OpenError> {
        let journal = open_elder(dir, self.bytes_max)?;
        if let Err(error) = count_in(&journal, mirror) {
            tracing::warn!(%error, "copies of an earlier process are not counted");
        }
        tracing::info!(journal = %dir.display(), "delivering what an earlier process has left");
        Ok(Elder { journal: Arc::new(journal), dir: dir.to_owned() })
    }

    /// Those that are open.
    pub(super) fn opened(&self) -> Vec<Rc<Elder>> {
        self.open.clone()
    }

    /// Removes those whose copies have all come to their end: nobody else holds them.
    pub(super) fn remove_finished(&mut self) {
        self.open.retain(|elder| {
            if Rc::strong_count(elder) > 1 {
                return true;
            }
            elder.journal.close();
            if let Err(error) = fs::remove_dir_all(&elder.dir) {
                tracing::warn!(%error, journal = %elder.dir.display(), "an empty journal cannot be removed");
            }
            false
        });
    }
}
