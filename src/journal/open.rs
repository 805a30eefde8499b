//! Owns bringing a journal up: the lock, what is found, the threads.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Journal;
use super::committer::Committer;
use super::disk::{Disk, Lock};
use super::error::OpenError;
use super::inbox::Bell;
use super::keeper::Keeper;
use super::options::Options;
use super::recover::{Found, recover};
use super::segment::Position;
use super::shared::{Failure, Shared};
use super::side::SideFiles;
use super::stats::JournalStats;

/// The file that keeps a second process out.
const LOCK: &str = "lock";
/// How often a process that is going away is asked whether it has gone.
const LOCK_EVERY: Duration = Duration::from_millis(20);
/// What runs until the journal is closed.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) committer: JoinHandle<()>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) side: JoinHandle<()>,
    /// Held until all of them have ended.
    _lock: Lock,
}

impl Journal {
    /// Opens it on other file operations than the system's.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        options.validate()?;
        let dir = options.dir.clone();
        let failed = |source| OpenError::Io { path: dir.clone(), source };
        disk.create_dir(&dir).map_err(failed)?;
        let (lock, waited) = lock(&*disk, &dir, options.lock_wait)?;
        let mut found = recover(&*disk, &dir, options.segment_bytes)?;
        let stats = Arc::new(JournalStats::default());
        stats.live_bytes.store(found.table.live_bytes(), Ordering::Relaxed);
        let sides = SideFiles::open(disk.clone(), &dir, &found.named, stats.clone());
        let (side_files, orphans) = sides.map_err(failed)?;
        found.report.orphans = orphans;
        found.report.waited = waited;
        Self::start(disk, options, found, stats, side_files, lock).map_err(failed)
    }

    fn start(
        disk: Arc<dyn Disk>,
        options: Options,
        found: Found,
        stats: Arc<JournalStats>,
        side_files: SideFiles,
        lock: Lock,
    ) -> io::Result<Self> {
        let keeper = Keeper {
            disk,
            dir: options.dir.clone(),
            segment_bytes: options.segment_bytes,
            files_max: options.segments_max(),
            files: found.files,
            spares: found.spares,
            stats: stats.clone(),
        };
        let (supply, keeper_tasks, keeper_thread) = keeper.start(found.next_id, found.ready, options.back_off)?;
        let (side_tasks, side_thread) = side_files.start()?;
        let next = found.report.next;
        let synced_segment = found.current.as_ref().map_or(0, |(segment, _)| segment.id);
        let (current, at) = match found.current {
            Some((segment, at)) => (Some(segment), at),
            // It is replaced by the first segment's start before anything is written.
            None => (None, Position { offset: 0, seed: 0, lsn: next }),
        };
        let shared = Arc::new(Shared {
            options,
            table: Mutex::new(found.table),
            stats: stats.clone(),
            written: watch::Sender::new(next),
            synced_segment: AtomicU64::new(synced_segment),
            failure: Failure { stats, error: Mutex::new(None) },
            closed: AtomicBool::new(false),
            bell: Bell::default(),
        });
        let (requests, receiver) = channel();
        let committer = Committer::new(shared.clone(), receiver, supply, current, at);
        let committer = Builder::new().name("journal-committer".to_owned()).spawn(move || committer.run())?;
        shared.bell.wakes(committer.thread());
        let threads = Threads { committer, keeper: keeper_thread, side: side_thread, _lock: lock };
        let (recovered, threads) = (found.report, Mutex::new(Some(threads)));
        Ok(Self { shared, requests, keeper: keeper_tasks, side_tasks, side_files, recovered, threads })
    }
}

/// Locks the directory, and says how long another process was waited for.
fn lock(disk: &dyn Disk, dir: &Path, wait: Duration) -> Result<(Lock, Duration), OpenError> {
    let path = dir.join(LOCK);
    let started = Instant::now();
    loop {
        match disk.lock(&path) {
            Ok(lock) if started.elapsed() < LOCK_EVERY => return Ok((lock, Duration::ZERO)),
            Ok(lock) => return Ok((lock, started.elapsed())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waited = started.elapsed();
                if waited >= wait {
                    return Err(OpenError::Locked { dir: dir.to_owned(), holder: error.to_string(), waited });
                }
                std::thread::sleep(LOCK_EVERY);
            }
            Err(source) => return Err(OpenError::Io { path, source }),
        }
    }
}
