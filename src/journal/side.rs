//! Owns the side files: bodies too large for a record, each in a file of its own, written by a thread of its own.
//!
//! A side file is durable before its number is given out, so a record that names it is never without it. It goes when
//! the record that names it is trimmed; one that no record names goes when the journal is opened again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::disk::Disk;
use super::error::AppendError;
use super::record::{Payload, Side, u32_at};
use super::stats::{JournalStats, add};
use super::ticket::Reply;

/// The folder in the journal's directory.
const FOLDER: &str = "side";
/// What every file's name ends with.
const EXTENSION: &str = ".body";
/// The format and its version.
const MAGIC: &[u8; 8] = b"BANYANS1";
/// Bytes before the body: the magic, its checksum, its length.
const HEAD_BYTES: usize = 16;

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum SideTask {
    Store { side: Side, payload: Payload, reply: Reply<Side> },
    Remove(Side),
    Stop,
}

/// The folder of the side files.
#[derive(Debug, Clone)]
pub(super) struct SideFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    stats: Arc<JournalStats>,
    next: Arc<AtomicU64>,
}

impl SideFiles {
    /// Opens the folder and removes what no record names; says how many files that were.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        journal_dir: &Path,
        named: &BTreeSet<Side>,
        stats: Arc<JournalStats>,
    ) -> io::Result<(Self, usize)> {
        let dir = journal_dir.join(FOLDER);
        disk.create_dir(&dir)?;
        let names = disk.list(&dir)?;
        let found = names.iter().filter_map(|name| {
            let digits = name.strip_suffix(EXTENSION)?;
            Side::from_number(u64::from_str_radix(digits, 16).ok()?)
        });
        let found: Vec<Side> = found.collect();
        // Numbers that records still name are not given again, though the file may be gone.
        let last = found.iter().chain(named).map(|side| side.0).max().unwrap_or(0);
        let files = Self { disk, dir, stats, next: Arc::new(AtomicU64::new(last + 1)) };
        let mut removed = 0;
        for side in found {
            if named.contains(&side) {
                let bytes = files.disk.open(&files.path(side), false)?.bytes()?;
                add(&files.stats.side_bytes, bytes);
            } else {
                files.disk.remove(&files.path(side))?;
                removed += 1;
            }
        }
        Ok((files, removed))
    }

    pub(super) fn start(&self) -> io::Result<(Sender<SideTask>, JoinHandle<()>)> {
        let (tasks, todo) = channel();
        let files = self.clone();
        let run = move || files.run(&todo);
        Ok((tasks, std::thread::Builder::new().name("journal-side".to_owned()).spawn(run)?))
    }

    /// A number that no file has had since the journal was opened.
    pub(super) fn next_side(&self) -> Side {
        Side(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn path(&self, side: Side) -> PathBuf {
        self.dir.join(format!("{:014x}{EXTENSION}", side.0))
    }

    fn run(&self, todo: &Receiver<SideTask>) {
        while let Ok(task) = todo.recv() {
            match task {
                SideTask::Store { side, payload, reply } => {
                    let bytes = payload.bytes() as u64;
                    let stored = self.store(side, &payload);
                    self.stats.queue_bytes.fetch_sub(bytes, Ordering::AcqRel);
                    let _ = reply.send(stored.map(|()| side).map_err(|error| AppendError::Failed(Arc::new(error))));
                }
                SideTask::Remove(side) => self.remove(side),
                SideTask::Stop => break,
            }
        }
    }

    fn store(&self, side: Side, payload: &Payload) -> io::Result<()> {
        let path = self.path(side);
        let written = self.write(&path, payload);
        match &written {
            Ok(()) => add(&self.stats.side_bytes, (HEAD_BYTES + payload.bytes()) as u64),
            Err(_) => {
                add(&self.stats.disk_errors, 1);
                // What cannot be removed now is an orphan of the next start.
                let _ = self.disk.remove(&path);
            }
        }
        written
    }

    fn write(&self, path: &Path, payload: &Payload) -> io::Result<()> {
        let file = self.disk.open(path, true)?;
        let mut offset = HEAD_BYTES as u64;
        let mut sum = 0;
        for part in payload.parts() {
            sum = crc32c::crc32c_append(sum, part);
            file.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&sum.to_le_bytes());
        // The limit of a side file is far below four gigabytes.
        head[12..].copy_from_slice(&(payload.bytes() as u32).to_le_bytes());
        file.write_at(&head, 0)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.dir)
    }

    /// Reads a body back.
    ///
    /// # Errors
    /// What the system says; of kind `InvalidData` when it is not what was stored.
    pub(super) fn read(&self, side: Side) -> io::Result<Bytes> {
        let file = self.disk.open(&self.path(side), false)?;
        let mut bytes = vec![0; file.bytes()? as usize];
        let read = file.read_at(&mut bytes, 0)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the side file is damaged");
        if read < HEAD_BYTES || &bytes[..8] != MAGIC || u32_at(&bytes, 12) as usize != read - HEAD_BYTES {
            return Err(damaged());
        }
        let sum = u32_at(&bytes, 8);
        let body = Bytes::from(bytes).slice(HEAD_BYTES..read);
        (crc32c::crc32c(&body) == sum).then_some(body).ok_or_else(damaged)
    }

    fn remove(&self, side: Side) {
        let path = self.path(side);
        let bytes = self.disk.open(&path, false).and_then(|file| file.bytes()).unwrap_or(0);
        if self.disk.remove(&path).is_ok() {
            self.stats.side_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
