//! Owns making, recycling and removing segment files, on a thread of its own and off the committing path.
//!
//! A segment gets its name only when it is whole: zero-filled, with a header, synced. A trimmed one loses its name
//! first. So whatever has a segment's name at any moment is a segment.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile};
use super::segment::{FileKind, Segment};
use super::stats::{JournalStats, add};

/// Trimmed segments that are kept to be used again.
const SPARES_MAX: usize = 2;
/// How often a segment that is being prepared is looked for, so that one that cannot be made is asked for again.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The pause between attempts on a full or failing disk doubles up to this many times the first one.
pub(super) const BACK_OFF_TIMES_MAX: u32 = 32;
/// Bytes of zeros synced at once: what a commit on the same disk may have to wait for.
const ZEROS_SYNCED_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of zeros written at once. The page cache keeps them in pieces of this size, and every later write to a piece and every
/// writeback walks over all blocks of it: pieces of 2 MiB cost a third of a commit.
const ZEROS_BYTES: u64 = 16 * 1024;

/// What the keeper is asked for.
#[derive(Debug)]
pub(super) enum Task {
    /// A segment with this number.
    Prepare(u64),
    /// The log no longer needs this one; its file may be used again or not.
    Release { id: u64, reuse: bool },
    /// Nothing more.
    Stop,
}

/// The committer's end: one segment is always being prepared ahead of need.
#[derive(Debug)]
pub(super) struct Supply {
    tasks: Sender<Task>,
    ready: Receiver<io::Result<Segment>>,
    next_id: u64,
    /// Whether one was asked for that was not taken.
    outstanding: bool,
    /// The one that was asked for, once it was looked for and is there.
    prepared: Option<Segment>,
    /// The disk had no space for one; it is asked again then.
    retry_at: Option<Instant>,
    /// The first pause after that, and the next one.
    back_off: Duration,
    pause: Duration,
    stats: Arc<JournalStats>,
}

impl Supply {
    /// Waits for the next segment and asks for the one after it.
    ///
    /// # Errors
    /// Why there is none; of kind `QuotaExceeded` when the journal has all the files it may have, and of kind `StorageFull`,
    /// for a while without asking again, when the disk has no space.
    pub(super) fn take(&mut self) -> io::Result<Segment> {
        if self.retry_at.is_some_and(|at| !self.is_time(at, Instant::now())) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut taken = self.receive();
        if taken.is_err() {
            // It failed some time ago; what matters is whether it works now.
            taken = self.receive();
        }
        match &taken {
            Ok(_) => {
                self.pause = self.back_off;
                self.request();
            }
            Err(error) => self.note(error),
        }
        taken
    }

    /// Looks for the segment that was asked for; where there was no space for it, asks again when it is time.
    pub(super) fn look(&mut self, now: Instant) {
        if self.is_preparing()
            && let Ok(ready) = self.ready.try_recv()
        {
            match ready {
                Ok(segment) => {
                    self.pause = self.back_off;
                    self.prepared = Some(segment);
                }
                Err(error) => {
                    self.outstanding = false;
                    self.note(&error);
                }
            }
        }
        if self.retry_at.is_some_and(|at| self.is_time(at, now)) {
            self.request();
        }
    }

    /// When to look next, where that is needed.
    pub(super) fn look_at(&self, now: Instant) -> Option<Instant> {
        if self.is_preparing() { Some(now + LOOK_EVERY) } else { self.retry_at }
    }

    fn is_preparing(&self) -> bool {
        self.outstanding && self.prepared.is_none()
    }

    fn note(&mut self, error: &io::Error) {
        let is_full = error.kind() == io::ErrorKind::StorageFull;
        self.retry_at = is_full.then(|| Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(self.back_off * BACK_OFF_TIMES_MAX);
    }

    /// Whether to ask again: a segment that is given back makes space at once.
    fn is_time(&self, at: Instant, now: Instant) -> bool {
        at <= now || self.stats.out_of_space.load(Ordering::Relaxed) == 0
    }

    /// Asks for a segment ahead of need.
    pub(super) fn request(&mut self) {
        if !self.outstanding {
            self.retry_at = None;
            self.outstanding = self.tasks.send(Task::Prepare(self.next_id)).is_ok();
            self.next_id += 1;
        }
    }

    fn receive(&mut self) -> io::Result<Segment> {
        self.request();
        self.outstanding = false;
        if let Some(segment) = self.prepared.take() {
            return Ok(segment);
        }
        self.ready.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that prepares segments has ended")))
    }

    /// Gives a segment back.
    pub(super) fn release(&self, id: u64, reuse: bool) {
        // The keeper ends after the committer; if it is gone, the next start finds the file.
        let _ = self.tasks.send(Task::Release { id, reuse });
    }
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    /// Segments and spares there may be at most.
    pub(super) files_max: usize,
    /// Segments and spares there are.
    pub(super) files: usize,
    pub(super) spares: Vec<u64>,
    pub(super) stats: Arc<JournalStats>,
}

impl Keeper {
    /// Starts the thread; `ready` is a prepared segment that an earlier process left.
    pub(super) fn start(
        mut self,
        next_id: u64,
        ready: Option<Segment>,
        back_off: Duration,
    ) -> io::Result<(Supply, Sender<Task>, JoinHandle<()>)> {
        let (tasks, todo) = channel();
        let (prepared, receiver) = channel();
        let (outstanding, stats) = (ready.is_some(), self.stats.clone());
        if let Some(segment) = ready {
            let _ = prepared.send(Ok(segment));
        }
        let run = move || {
            while let Ok(task) = todo.recv() {
                match task {
                    Task::Prepare(id) => drop(prepared.send(self.prepare(id))),
                    Task::Release { id, reuse } => self.release(id, reuse),
                    Task::Stop => break,
                }
            }
        };
        let thread = std::thread::Builder::new().name("journal-keeper".to_owned()).spawn(run)?;
        let supply = Supply {
            tasks: tasks.clone(),
            ready: receiver,
            next_id,
            outstanding,
            prepared: None,
            retry_at: None,
            back_off,
            pause: back_off,
            stats,
        };
        Ok((supply, tasks, thread))
    }

    fn prepare(&mut self, id: u64) -> io::Result<Segment> {
        let fresh = self.spares.is_empty();
        if fresh && self.files >= self.files_max {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the journal has all the segments it may have"));
        }
        let spare_id = self.spares.pop().unwrap_or(id);
        let spare = FileKind::Spare.path(&self.dir, spare_id);
        self.files += usize::from(fresh);
        let prepared = self.fill(&spare, fresh).and_then(|file| {
            let segment = Segment::write_header(file, id, self.segment_bytes)?;
            segment.file.sync_data()?;
            self.disk.rename(&spare, &FileKind::Segment.path(&self.dir, id))?;
            self.disk.sync_dir(&self.dir)?;
            Ok(segment)
        });
        if prepared.is_err() {
            add(&self.stats.disk_errors, 1);
            self.files -= 1;
            // Under whichever name it has; what cannot be removed now is found at the next start.
            let _ = self.disk.remove(&spare);
            let _ = self.disk.remove(&FileKind::Segment.path(&self.dir, id));
        }
        let is_full = prepared.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        self.stats.out_of_space.store(u64::from(is_full), Ordering::Relaxed);
        prepared
    }

    /// Opens a spare, or makes one with all its blocks written, so that syncing it later moves no metadata.
    fn fill(&self, path: &std::path::Path, fresh: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, fresh)?;
        if fresh {
            let zeros = [0; ZEROS_BYTES as usize];
            let mut offset = 0;
            while offset < self.segment_bytes {
                let bytes = (self.segment_bytes - offset).min(ZEROS_BYTES);
                file.write_at(&zeros[..bytes as usize], offset)?;
                offset += bytes;
                if offset.is_multiple_of(ZEROS_SYNCED_BYTES) {
                    file.sync_data()?;
                }
            }
            file.sync_data()?;
        }
        Ok(file)
    }

    fn release(&mut self, id: u64, reuse: bool) {
        let spare = FileKind::Spare.path(&self.dir, id);
        let keep = reuse && self.spares.len() < SPARES_MAX;
        let renamed = self.disk.rename(&FileKind::Segment.path(&self.dir, id), &spare);
        let synced = renamed.and_then(|()| self.disk.sync_dir(&self.dir));
        let released = synced.and_then(|()| if keep { Ok(()) } else { self.disk.remove(&spare) });
        if released.is_ok() {
            self.stats.out_of_space.store(0, Ordering::Relaxed);
        }
        match released {
            Ok(()) if keep => self.spares.push(id),
            Ok(()) => self.files = self.files.saturating_sub(1),
            // It stays, and the next start deals with it: all of its records are settled.
            Err(_) => add(&self.stats.disk_errors, 1),
        }
    }
}
