//! The durable log of dual writes: records are appended from any thread, grouped into one write and one fsync, and
//! read back in order, also after a crash or a power loss.
//!
//! It knows nothing of HTTP: payloads are bytes, and what they mean is their author's business. It blocks no caller of
//! [`Journal::append`]; reading blocks. The format stands byte by byte in `docs/journal.md`, why it is an own one in
//! decision 0021.

mod answers;
mod behind;
mod committer;
mod cursor;
mod disk;
mod error;
mod inbox;
mod keeper;
mod open;
mod options;
mod record;
mod recover;
mod segment;
mod shared;
mod side;
mod stats;
mod table;
mod tail;
mod ticket;
mod waiting;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use answers::Reply;
use inbox::LAZY_BYTES_MAX;
use keeper::Task;
use open::Threads;
use record::record_bytes;
use segment::{READ_AHEAD_BYTES, READ_ONE_BYTES};
use shared::{Message, Request, Shared};
use side::{SideFiles, SideTask};
use stats::add;

pub use answers::{Answer, Answers};
pub use cursor::Cursor;
pub use disk::{Disk, DiskFile, Lock, SystemDisk};
pub use error::{AppendError, OpenError, ReadError};
pub use options::Options;
pub use record::{Kind, Lsn, Payload, Record, Side};
pub use recover::Recovered;
pub use stats::{BOUNDS_SECONDS, Histogram, JournalStats, Usage};
pub use ticket::Ticket;

/// What is no intent may wait in a queue that is longer by one part in so many.
const QUEUE_RESERVE_PART: usize = 4;

/// When a ticket resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once the record is with the kernel: it survives the death of the process, a power loss not for about a second.
    Written,
    /// Once an fsync covers it: it survives a power loss.
    Synced,
}

/// A durable log. Dropping it closes it.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    requests: Sender<Message>,
    keeper: Sender<Task>,
    side_tasks: Sender<SideTask>,
    side_files: SideFiles,
    recovered: Recovered,
    threads: Mutex<Option<Threads>>,
}

impl Journal {
    /// Opens the journal in its directory: waits for another process to let go of it, finds the records, starts.
    ///
    /// Reads all segments from the low-water mark on, at the speed of the disk.
    ///
    /// # Errors
    /// When another process keeps it, the limits contradict each other, or the disk fails.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(SystemDisk), options)
    }

    /// Hands a record to the committer; never blocks. Records of one thread get their numbers in its order.
    ///
    /// # Errors
    /// At once when there is no room, the payload is too large, the disk is failing, or the journal is closed. Outcomes and
    /// deliveries are refused only for the last and the size; those that the disk does not take wait in memory until it does, in
    /// their order, whatever their tickets say.
    pub fn append(
        &self,
        kind: Kind,
        epoch: u64,
        payload: impl Into<Payload>,
        durability: Durability,
    ) -> Result<Ticket, AppendError> {
        self.append_with(kind, epoch, None, payload.into(), durability)
    }

    /// Where a thread on which many wait is answered.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers::new(&self.shared)
    }

    /// As [`Journal::append`], for a thread on which many wait: it wakes the committer once a turn of its loop, and is woken once for
    /// all that a batch answers.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_for(
        &self,
        answers: &Answers,
        kind: Kind,
        epoch: u64,
        payload: impl Into<Payload>,
        durability: Durability,
    ) -> Result<Answer, AppendError> {
        let (reply, answer) = answers.expect();
        self.hand_over(Request { kind, epoch, side: None, payload: payload.into(), durability, reply: Some(reply) })?;
        answers.ring_later();
        Ok(answer)
    }

    /// Hands over a record that nobody waits for: it is written with what comes next, or by itself after 5 ms.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn note(&self, kind: Kind, epoch: u64, payload: impl Into<Payload>) -> Result<(), AppendError> {
        let payload = payload.into();
        self.send(Request { kind, epoch, side: None, payload, durability: Durability::Written, reply: None })
    }

    /// Appends a record that names a side file, which from then on lives as long as the record.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_naming(
        &self,
        side: Side,
        kind: Kind,
        epoch: u64,
        payload: impl Into<Payload>,
        durability: Durability,
    ) -> Result<Ticket, AppendError> {
        self.append_with(kind, epoch, Some(side), payload.into(), durability)
    }

    fn append_with(
        &self,
        kind: Kind,
        epoch: u64,
        side: Option<Side>,
        payload: Payload,
        durability: Durability,
    ) -> Result<Ticket, AppendError> {
        let (reply, ticket) = Ticket::new();
        self.send(Request { kind, epoch, side, payload, durability, reply: Some(Reply::Ticket(reply)) })?;
        Ok(ticket)
    }

    fn send(&self, request: Request) -> Result<(), AppendError> {
        let waits = request.is_awaited();
        self.hand_over(request)?;
        let queue_bytes = self.shared.stats.queue_bytes.load(Ordering::Relaxed);
        self.shared.bell.ring(waits || queue_bytes > LAZY_BYTES_MAX as u64);
        Ok(())
    }

    /// Puts a record in the committer's queue; somebody must ring.
    fn hand_over(&self, request: Request) -> Result<(), AppendError> {
        let bytes = request.payload.bytes();
        let admitted = self.admit(request.kind, record_bytes(bytes), bytes, self.shared.options.record_bytes_max);
        admitted.inspect_err(|_| add(&self.shared.stats.records_refused, 1))?;
        self.requests.send(Message::Append(request)).map_err(|_| AppendError::Closed)
    }

    /// Takes room in the queue, or says why there is none.
    fn admit(&self, kind: Kind, bytes: usize, payload: usize, payload_max: usize) -> Result<(), AppendError> {
        let Shared { options, stats, failure, closed, .. } = &*self.shared;
        if closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        if payload > payload_max {
            return Err(AppendError::TooLarge { bytes: payload, bytes_max: payload_max });
        }
        if kind.has_happened() {
            // There is one for each intent that was taken, and it must not be forgotten.
            stats.queue_bytes.fetch_add(bytes as u64, Ordering::AcqRel);
            return Ok(());
        }
        if let Some(error) = failure.error() {
            return Err(AppendError::Failed(error));
        }
        let (live_max, queue_max) = match kind {
            // What is left of the last segment is for the others.
            Kind::Intent if self.is_out_of_space() => (0, options.queue_bytes_max),
            Kind::Intent => (options.high_water_bytes(), options.queue_bytes_max),
            _ => (options.bytes_max, options.queue_bytes_max + options.queue_bytes_max / QUEUE_RESERVE_PART),
        };
        let queued = stats.queue_bytes.fetch_add(bytes as u64, Ordering::AcqRel) + bytes as u64;
        let refused = if queued > queue_max as u64 {
            AppendError::QueueFull
        } else if self.live_bytes() + queued > live_max {
            AppendError::Full
        } else {
            return Ok(());
        };
        stats.queue_bytes.fetch_sub(bytes as u64, Ordering::AcqRel);
        Err(refused)
    }

    fn is_out_of_space(&self) -> bool {
        self.shared.stats.out_of_space.load(Ordering::Relaxed) == 1
    }

    fn live_bytes(&self) -> u64 {
        let stats = &self.shared.stats;
        stats.live_bytes.load(Ordering::Relaxed) + stats.side_bytes.load(Ordering::Relaxed)
    }

    /// Reads from a number on; from the low-water mark when that is later.
    #[must_use]
    pub fn cursor(&self, from: Lsn) -> Cursor {
        Cursor::new(self.shared.clone(), from, READ_AHEAD_BYTES)
    }

    /// Reads one record; blocks the thread for one read of the disk or two.
    ///
    /// # Errors
    /// When it is trimmed, not written yet, damaged, or the system cannot read.
    pub fn read(&self, lsn: Lsn) -> Result<Record, ReadError> {
        if lsn < self.low_water() {
            return Err(ReadError::Absent(lsn));
        }
        Cursor::new(self.shared.clone(), lsn, READ_ONE_BYTES)
            .next()?
            .filter(|record| record.lsn == lsn)
            .ok_or(ReadError::Absent(lsn))
    }

    /// The number of the next record that is not written yet. Changes can be awaited on any runtime; nobody is woken for intents and
    /// settlements alone.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<Lsn> {
        self.shared.written.subscribe()
    }

    /// Declares everything below settled: no cursor sees it again, and whole segments and side files become free.
    ///
    /// It is remembered with what is appended later, once a second at most, and at closing; until then a restart may
    /// bring settled records back.
    pub fn trim(&self, below: Lsn) {
        let keep_from = self.shared.synced_segment.load(Ordering::Acquire);
        let mut table = self.shared.table();
        let below = below.min(*self.shared.written.borrow());
        let trimmed = table.trim(below, keep_from);
        self.shared.stats.live_bytes.store(table.live_bytes(), Ordering::Relaxed);
        drop(table);
        for entry in trimmed.entries {
            let reuse = !entry.poisoned && entry.segment.bytes == self.shared.options.segment_bytes;
            // After closing nobody is there to do it, and the next start does.
            let _ = self.keeper.send(Task::Release { id: entry.segment.id, reuse });
        }
        for side in trimmed.sides {
            self.remove_side(side);
        }
    }

    /// The first number that counts: everything below is settled.
    #[must_use]
    pub fn low_water(&self) -> Lsn {
        self.shared.table().low_water()
    }

    /// Tells whether intents are refused for want of room.
    #[must_use]
    pub fn is_above_high_water(&self) -> bool {
        self.lacks_room_for(0)
    }

    /// Tells whether an intent of so many bytes would be refused for want of room.
    #[must_use]
    pub fn lacks_room_for(&self, bytes: u64) -> bool {
        let taken = self.live_bytes() + self.shared.stats.queue_bytes.load(Ordering::Relaxed);
        self.is_out_of_space() || taken + bytes >= self.shared.options.high_water_bytes()
    }

    /// Tells whether so much waits in memory that nothing more should be done that has to be noted.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.shared.stats.queue_bytes.load(Ordering::Relaxed) >= self.shared.options.queue_bytes_max as u64
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            live_bytes: self.live_bytes(),
            high_water_bytes: self.shared.options.high_water_bytes(),
            bytes_max: self.shared.options.bytes_max,
            queue_bytes: self.shared.stats.queue_bytes.load(Ordering::Relaxed),
            segments: self.shared.table().segments(),
        }
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> &Arc<JournalStats> {
        &self.shared.stats
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Stores a body in a file of its own; the ticket resolves when that is durable and a record may name it.
    ///
    /// # Errors
    /// At once, as [`Journal::append`] for an intent.
    pub fn store_side(&self, body: impl Into<Payload>) -> Result<Ticket<Side>, AppendError> {
        let payload = body.into();
        let bytes = payload.bytes();
        let admitted = self.admit(Kind::Intent, bytes, bytes, self.shared.options.side_file_bytes_max);
        admitted.inspect_err(|_| add(&self.shared.stats.records_refused, 1))?;
        let (reply, ticket) = Ticket::new();
        let task = SideTask::Store { side: self.side_files.next_side(), payload, reply };
        self.side_tasks.send(task).map_err(|_| AppendError::Closed)?;
        Ok(ticket)
    }

    /// Reads a body back; blocks the thread.
    ///
    /// # Errors
    /// What the system says; of kind `InvalidData` when it is not what was stored.
    pub fn read_side(&self, side: Side) -> io::Result<Bytes> {
        self.side_files.read(side)
    }

    /// Removes a body before the record that names it is trimmed, or when none came to name it.
    pub fn remove_side(&self, side: Side) {
        // After closing it is an orphan, or its record is trimmed again at the next start.
        let _ = self.side_tasks.send(SideTask::Remove(side));
    }

    /// Writes and syncs what waits, ends the threads and lets go of the directory; later appends are refused.
    pub fn close(&self) {
        let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // A thread that is gone is what is wanted; one that panicked has told its tickets.
        let _ = self.requests.send(Message::Close);
        self.shared.bell.ring(true);
        let _ = threads.committer.join();
        let _ = self.keeper.send(Task::Stop);
        let _ = threads.keeper.join();
        let _ = self.side_tasks.send(SideTask::Stop);
        let _ = threads.side.join();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}
