//! Owns what can go wrong, grouped by who hears of it: who opens, who appends, who reads.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::record::Lsn;

/// Why a journal could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The limits do not fit together.
    #[error("the journal's limits: {0}")]
    Options(String),
    /// Another process has it.
    #[error(
        "{dir}: another process{} holds the journal, waited {} ms; stop it, or give this one a directory of its own",
        if holder.is_empty() { String::new() } else { format!(" ({holder})") }, waited.as_millis(), dir = dir.display()
    )]
    Locked {
        /// The journal's directory.
        dir: PathBuf,
        /// The process id of the holder, as it wrote it; may be empty.
        holder: String,
        /// How long was waited for it.
        waited: Duration,
    },
    /// A file operation failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// What it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a record or a side file is not in the journal.
#[derive(Debug, Clone, Error)]
pub enum AppendError {
    /// What waits to be written has reached its limit; a moment later there may be room.
    #[error("the journal's queue is full")]
    QueueFull,
    /// The journal has reached its high-water mark, or for kinds that may use the reserve, its capacity.
    #[error("the journal is full")]
    Full,
    /// The payload is larger than the journal takes.
    #[error("a payload of {bytes} bytes; at most {bytes_max} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The disk failed twice in a row. Whether the record is there after a restart is not known.
    #[error("the journal's disk failed: {0}")]
    Failed(Arc<io::Error>),
    /// The journal was closed before the record was written.
    #[error("the journal is closed")]
    Closed,
}

/// Why a record could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Records were there and cannot be read any more; a cursor goes on behind them.
    #[error("the records {from} to {} of the journal are damaged", to.0 - 1)]
    Damaged {
        /// The first that is lost.
        from: Lsn,
        /// The first behind the damage.
        to: Lsn,
    },
    /// There is no such record: not yet, or no longer.
    #[error("the journal has no record {0}")]
    Absent(Lsn),
    /// A file operation failed.
    #[error("reading the journal: {0}")]
    Io(#[from] io::Error),
}
