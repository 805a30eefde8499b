//! The side tables of dual writes, durable in one file: records that are parked, and the map between the ids of the
//! two systems.
//!
//! What is stored is bytes and text whose meaning is the caller's. Every change is synced when it returns, and every
//! call blocks: none belongs on a worker.

mod ids;
mod parked;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};
use thiserror::Error;

pub use ids::IdPair;
pub use parked::{Group, Parked};

/// Memory for pages that were read; the tables are small, and looked up seldom.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Why a table could not be read or changed. A change that failed was not made.
#[derive(Debug, Error)]
pub enum TablesError {
    /// The file cannot be used: held by another process, damaged, or the disk failed.
    #[error("{path}: {source}", path = path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: Box<redb::Error>,
    },
    /// Parked records take all the room they may have; replay or drop some.
    #[error("parked records take {bytes} bytes and may take {bytes_max}: replay or drop some")]
    Full {
        /// What they would take.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
}

/// The open tables.
#[derive(Debug)]
pub struct Tables {
    path: PathBuf,
    database: Database,
    parked_bytes_max: u64,
}

impl Tables {
    /// Opens the file, mode 0600, or makes it. After a crash it is repaired on the way.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(path: &Path, parked_bytes_max: u64) -> Result<Self, TablesError> {
        let store = |source: redb::Error| TablesError::Store { path: path.to_owned(), source: Box::new(source) };
        let database = create(path).map_err(store)?;
        let tables = Self { path: path.to_owned(), database, parked_bytes_max };
        // Made at once, so that reading never meets a table that is not there.
        tables.write(|transaction| {
            parked::create(transaction)?;
            ids::create(transaction)
        })?;
        Ok(tables)
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, TablesError> {
        let begun = self.database.begin_read().map_err(redb::Error::from);
        begun.and_then(|transaction| read(&transaction)).map_err(|source| self.failed(source))
    }

    /// Makes a change wholly and durably, or not at all.
    fn write<T>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>) -> Result<T, TablesError> {
        self.try_write(|transaction| change(transaction).map_err(Refusal::Store))
    }

    fn try_write<T>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, Refusal>) -> Result<T, TablesError> {
        let changed = || {
            let transaction = self.database.begin_write().map_err(redb::Error::from)?;
            let changed = change(&transaction)?;
            transaction.commit().map_err(redb::Error::from)?;
            Ok(changed)
        };
        changed().map_err(|refusal| match refusal {
            Refusal::Store(source) => self.failed(source),
            Refusal::Full(bytes) => TablesError::Full { bytes, bytes_max: self.parked_bytes_max },
        })
    }

    fn failed(&self, source: redb::Error) -> TablesError {
        TablesError::Store { path: self.path.clone(), source: Box::new(source) }
    }
}

/// Why a change is not made.
enum Refusal {
    Store(redb::Error),
    Full(u64),
}

impl<E: Into<redb::Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

fn create(path: &Path) -> Result<Database, redb::Error> {
    let open = |path| OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    if let Some(dir) = path.parent() {
        let made: io::Result<()> = std::fs::create_dir_all(dir);
        made?;
    }
    let backend = FileBackend::new(open(path)?)?;
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
}
