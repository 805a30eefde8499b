//! Owns opening the journal of a state directory, beside a process that is about to hand over to this one.
//!
//! Each process writes a journal of its own, in a numbered directory: the one that hands over goes on writing to its own until it
//! has drained, and nobody waits for it. What it leaves is delivered first.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use super::kept::Vault;
use super::shared::{Mirror, MirrorPlan};
use crate::journal::{Disk as _, Journal, OpenError, Options, Recovered, SystemDisk};

/// Where the journals are, in the state directory.
const DIRECTORY: &str = "journal";
/// The smallest segment in bytes; a journal has at least sixteen of them.
const SEGMENT_BYTES_MIN: u64 = 2 * 1024 * 1024;
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How writes are kept for their copies.
#[derive(Debug)]
pub struct OpenPlan {
    /// The state directory.
    pub state: PathBuf,
    /// This router's name among the hops of copies.
    pub name: Box<str>,
    /// Bytes that a journal may take.
    pub bytes_max: u64,
    /// A file with the key that credentials are encrypted with: 32 bytes.
    pub key_file: Option<PathBuf>,
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// For workers, courier and operators.
    pub mirror: Arc<Mirror>,
    /// The directories of journals of processes before this one, the oldest first; what they hold is delivered first.
    pub elders: Vec<PathBuf>,
}

/// Why copies cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The journal.
    #[error("{0}")]
    Journal(#[from] OpenError),
    /// A file beside it.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key.
    #[error("{path}: {why}; make one with `openssl rand -out FILE 32`", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Opens the last journal of a state directory, or a new one where another process still has the last.
///
/// # Errors
/// When no journal can be opened, or a key cannot be read.
pub fn open(plan: OpenPlan) -> Result<Opened, MirrorError> {
    let vault = plan.key_file.as_deref().map(vault).transpose()?;
    let all = plan.state.join(DIRECTORY);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MirrorError::File { path, source }
    };
    SystemDisk.create_dir(&all).map_err(failed(&all))?;
    let mut numbers = numbers(&all).map_err(failed(&all))?;
    let last = numbers.pop().unwrap_or(1);
    let journal = match Journal::open(options(&all, last, plan.bytes_max)) {
        Err(OpenError::Locked { .. }) => {
            numbers.push(last);
            Journal::open(options(&all, last + 1, plan.bytes_max))?
        }
        opened => opened?,
    };
    report(journal.recovered());
    let elders = numbers.into_iter().map(|number| path(&all, number)).collect();
    let plan = MirrorPlan { state: plan.state, name: plan.name, vault };
    let mirror = Mirror::new(journal, &all, plan).map_err(failed(&all))?;
    Ok(Opened { mirror, elders })
}

/// Says what was found wrong: damage is never passed over in silence.
fn report(found: &Recovered) {
    for (from, to) in &found.lost {
        tracing::error!(
            from = from.0,
            to = to.0 - 1,
            "the journal is damaged: these records cannot be read, and copies of their writes may be missing; reconcile"
        );
    }
    for path in &found.damaged {
        tracing::error!(path = %path.display(), "a file of the journal is damaged and was set aside");
    }
    if found.torn && found.lost.is_empty() {
        tracing::info!(
            next = found.next.0,
            "the journal's last record was begun and not finished; nobody was told of it"
        );
    }
}

/// Opens the journal of an earlier process; `Locked` while that process lives.
///
/// # Errors
/// As [`Journal::open`].
pub fn open_elder(dir: &Path, bytes_max: u64) -> Result<Journal, OpenError> {
    let journal = Journal::open(Options { dir: dir.to_owned(), ..limits(bytes_max) })?;
    report(journal.recovered());
    Ok(journal)
}

fn options(all: &Path, number: u64, bytes_max: u64) -> Options {
    Options { dir: path(all, number), ..limits(bytes_max) }
}

fn limits(bytes_max: u64) -> Options {
    Options {
        bytes_max,
        segment_bytes: (bytes_max / 16).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
        lock_wait: Duration::ZERO,
        ..Options::new("")
    }
}

fn path(all: &Path, number: u64) -> PathBuf {
    all.join(format!("{number:06}"))
}

/// The numbers of the journals that are there, in order.
fn numbers(all: &Path) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(all)?.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
    let mut numbers: Vec<u64> = names.filter(|name| name.len() == 6).filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn vault(path: &Path) -> Result<Vault, MirrorError> {
    let key = fs::read(path).map_err(|source| MirrorError::File { path: path.to_owned(), source })?;
    Vault::new(&key).map_err(|why| MirrorError::Key { path: path.to_owned(), why })
}
