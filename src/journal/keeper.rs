//! Owns making, recycling and removing segment files, on a thread of its own and off the committing path.
//!
//! A segment gets its name only when it is whole: zero-filled, with a header, synced. A trimmed one loses its name
//! first. So whatever has a segment's name at any moment is a segment.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::disk::{Disk, DiskFile};
use super::segment::{FileKind, Segment};
use super::stats::{JournalStats, add};

/// Trimmed segments that are kept to be used again.
const SPARES_MAX: usize = 2;
/// Bytes of zeros written and synced at once: what a commit on the same disk may have to wait for.
const ZEROS_BYTES: usize = 8 * 1024 * 1024;

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
    outstanding: bool,
}

impl Supply {
    /// Waits for the next segment and asks for the one after it.
    ///
    /// # Errors
    /// Why there is none; of kind `QuotaExceeded` when the journal has all the files it may have.
    pub(super) fn take(&mut self) -> io::Result<Segment> {
        let mut taken = self.receive();
        if taken.is_err() {
            // It failed some time ago; what matters is whether it works now.
            taken = self.receive();
        }
        if taken.is_ok() {
            self.request();
        }
        taken
    }

    /// Asks for a segment ahead of need.
    pub(super) fn request(&mut self) {
        if !self.outstanding {
            self.outstanding = self.tasks.send(Task::Prepare(self.next_id)).is_ok();
            self.next_id += 1;
        }
    }

    fn receive(&mut self) -> io::Result<Segment> {
        self.request();
        self.outstanding = false;
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
    ) -> io::Result<(Supply, Sender<Task>, JoinHandle<()>)> {
        let (tasks, todo) = channel();
        let (prepared, receiver) = channel();
        let outstanding = ready.is_some();
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
        Ok((Supply { tasks: tasks.clone(), ready: receiver, next_id, outstanding }, tasks, thread))
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
        prepared
    }

    /// Opens a spare, or makes one with all its blocks written, so that syncing it later moves no metadata.
    fn fill(&self, path: &std::path::Path, fresh: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, fresh)?;
        if fresh {
            let zeros = vec![0; ZEROS_BYTES];
            let mut offset = 0;
            while offset < self.segment_bytes {
                let bytes = (self.segment_bytes - offset).min(ZEROS_BYTES as u64);
                file.write_at(&zeros[..bytes as usize], offset)?;
                file.sync_data()?;
                offset += bytes;
            }
        }
        Ok(file)
    }

    fn release(&mut self, id: u64, reuse: bool) {
        let spare = FileKind::Spare.path(&self.dir, id);
        let keep = reuse && self.spares.len() < SPARES_MAX;
        let renamed = self.disk.rename(&FileKind::Segment.path(&self.dir, id), &spare);
        let synced = renamed.and_then(|()| self.disk.sync_dir(&self.dir));
        let released = synced.and_then(|()| if keep { Ok(()) } else { self.disk.remove(&spare) });
        match released {
            Ok(()) if keep => self.spares.push(id),
            Ok(()) => self.files = self.files.saturating_sub(1),
            // It stays, and the next start deals with it: all of its records are settled.
            Err(_) => add(&self.stats.disk_errors, 1),
        }
    }
}
