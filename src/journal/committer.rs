//! Owns the thread that writes: everything that waits becomes one write and, if anybody asked, one fsync.
//!
//! It alone numbers records. While it syncs, the next batch gathers; no timer makes anybody wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Durability;
use super::answers::Rounds;
use super::error::AppendError;
use super::inbox::{Batch, Inbox};
use super::keeper::Supply;
use super::record::{Kind, Lsn, Payload, record_bytes};
use super::segment::{HEADER_BYTES, Position, Segment};
use super::shared::{Message, Request, Shared};
use super::stats::add;
use super::table::Marks;
use super::tail::Tail;
use super::waiting::{BackOff, Waiting};

/// So many bytes are kept in memory for an fsync that nobody asked for; then it is done anyway.
const UNSYNCED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of the checksum that a record begins with.
const CHECKSUM_BYTES: usize = 4;
/// What nobody asked to have synced is synced after this time: a power loss takes no more than that.
const LAZY_SYNC: Duration = Duration::from_secs(1);
/// A checkpoint is written no more often, and with it the low-water mark remembered.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// The thread's state.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    inbox: Inbox,
    supply: Supply,
    /// The segment that is written to; none after a failure or before the first record.
    current: Option<Segment>,
    tail: Tail,
    failing: Option<BackOff>,
    /// Outcomes and deliveries for which there was no room or no disk.
    waiting: Waiting,
    /// Failed segments of which nothing is durable, until their records stand elsewhere.
    left_behind: Vec<u64>,
    /// When to sync what nobody asked for.
    lazy_at: Option<Instant>,
    /// The low-water mark that the log holds.
    checkpointed: Lsn,
    /// When the next checkpoint may be written.
    checkpoint_at: Instant,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: Receiver<Message>,
        mut supply: Supply,
        current: Option<Segment>,
        at: Position,
    ) -> Self {
        // A journal that nobody writes to takes no room: the first segment is made with the first record.
        if current.is_some() {
            supply.request();
        }
        let checkpointed = shared.table().low_water();
        Self {
            inbox: Inbox::new(shared.clone(), requests),
            shared,
            supply,
            current,
            tail: Tail::new(at),
            failing: None,
            waiting: Waiting::default(),
            left_behind: Vec::new(),
            lazy_at: None,
            checkpointed,
            checkpoint_at: Instant::now(),
        }
    }

    /// Runs until the journal is closed.
    pub(super) fn run(mut self) {
        let mut open = true;
        while open {
            let mut batch = Batch::default();
            let due = self.wakes_at();
            open = self.inbox.gather(&mut batch, due);
            if !batch.requests.is_empty() {
                self.commit(batch.requests);
                self.inbox.attend();
            }
            self.keep_up();
        }
        self.finish();
    }

    /// When there is something to do though nothing comes.
    fn wakes_at(&self) -> Option<Instant> {
        let retry_at = match self.failing {
            Some(failing) => Some(failing.until),
            None => self.waiting.retry_at(),
        };
        [self.lazy_at, retry_at, self.supply.look_at(Instant::now())].into_iter().flatten().min()
    }

    /// Writes the records in their order, part by part as they fit into segments.
    fn commit(&mut self, mut batch: Vec<Request>) {
        if self.failing.is_none() {
            batch = self.waiting.lead(batch);
        }
        while let Some(first) = batch.first() {
            if let Err(error) = self.make_room(record_bytes(first.payload.bytes())) {
                // A smaller one may still fit where a disk is full, and be of more worth; but none overtakes one that waits.
                let alone = matches!(error, AppendError::Full) && !first.kind.has_happened();
                let at = if alone { 1 } else { batch.len() };
                let rest = batch.split_off(at);
                self.refuse(batch, &error);
                batch = rest;
                continue;
            }
            let rest = batch.split_off(self.count_that_fits(&batch));
            self.commit_part(batch);
            batch = rest;
        }
    }

    fn space_left(&self) -> u64 {
        self.current.as_ref().map_or(0, |segment| segment.bytes - self.tail.written().offset)
    }

    fn count_that_fits(&self, batch: &[Request]) -> usize {
        let mut left = self.space_left();
        let fits = |request: &&Request| {
            let bytes = record_bytes(request.payload.bytes()) as u64;
            left.checked_sub(bytes).map(|rest| left = rest).is_some()
        };
        batch.iter().take_while(fits).count()
    }

    /// Sees to a segment with room for a record.
    fn make_room(&mut self, bytes: usize) -> Result<(), AppendError> {
        if let Some(error) = self.shared.failure.error() {
            return Err(AppendError::Failed(error));
        }
        if self.space_left() >= bytes as u64 {
            return Ok(());
        }
        // A segment is left only when all of it is durable: then there is never a hole before a later one.
        self.sync_all().map_err(|error| AppendError::Failed(self.start_failing(error)))?;
        self.next_segment(bytes).map_err(|error| match error.kind() {
            // The segment in use works, and what is smaller may still fit into it.
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => AppendError::Full,
            _ => AppendError::Failed(self.start_failing(error)),
        })
    }

    fn next_segment(&mut self, room_bytes: usize) -> io::Result<()> {
        // A failed sync has led to another one already.
        if self.space_left() >= room_bytes as u64 {
            return Ok(());
        }
        let segment = self.supply.take()?;
        self.tail = Tail::new(segment.start(self.tail.written().lsn));
        self.current = Some(segment);
        Ok(())
    }

    /// Writes records that fit into the segment; they are in the log all or none.
    fn commit_part(&mut self, part: Vec<Request>) {
        let Some(segment) = self.current.clone() else { return };
        let (unsynced_bytes, written) = (self.tail.unsynced_bytes(), self.tail.written());
        let mut marks = Marks::behind(self.shared.table().last_mark(segment.id));
        let end = self.tail.encode(&part, &mut marks);
        let asked = part.iter().any(|request| request.durability == Durability::Synced);
        let sync = asked || self.tail.unsynced_bytes() >= UNSYNCED_BYTES_MAX;
        let mut result = segment.file.write_at(self.tail.unwritten(), written.offset);
        if sync && result.is_ok() {
            result = self.sync_file(&segment);
        }
        let result = match result {
            Ok(()) => {
                let news = part.iter().any(|request| request.kind.is_news());
                self.publish(&segment, marks, end, sync, news);
                Ok(())
            }
            Err(_) => self.move_on(),
        };
        match result {
            Ok(()) => self.acknowledge(part, written.lsn),
            Err(error) => {
                self.tail.forget(unsynced_bytes, written);
                let error = AppendError::Failed(self.start_failing(error));
                self.refuse(part, &error);
            }
        }
    }

    fn sync_file(&self, segment: &Segment) -> io::Result<()> {
        let started = Instant::now();
        let synced = segment.file.sync_data();
        self.shared.stats.fsync.observe(started.elapsed());
        synced
    }

    /// Leaves a failed segment for ever and writes what it may not have kept to another one.
    fn move_on(&mut self) -> io::Result<()> {
        if let Some(failed) = self.current.take() {
            add(&self.shared.stats.disk_errors, 1);
            // What is not synced cannot be read until it stands elsewhere: the kernel may have dropped it.
            let kept = self.shared.table().cut(failed.id, self.tail.synced());
            self.left_behind.extend((!kept).then_some(failed.id));
        }
        let segment = self.supply.take()?;
        let mut marks = Marks::default();
        let end = self.tail.move_to(&segment, &mut marks);
        if let Err(error) = self.write_anew(&segment) {
            self.supply.release(segment.id, false);
            return Err(error);
        }
        self.current = Some(segment.clone());
        self.publish(&segment, marks, end, true, true);
        // Until now a kill would have had to find their records there.
        for id in self.left_behind.drain(..) {
            self.supply.release(id, false);
        }
        Ok(())
    }

    /// Writes what is unsynced as a segment's first records; the first one counts only once all are written, so that
    /// a kill in between leaves the failed segment in force.
    fn write_anew(&self, segment: &Segment) -> io::Result<()> {
        if let Some((checksum, rest)) = self.tail.unsynced().split_first_chunk::<CHECKSUM_BYTES>() {
            segment.file.write_at(rest, HEADER_BYTES + CHECKSUM_BYTES as u64)?;
            segment.file.write_at(checksum, HEADER_BYTES)?;
        }
        self.sync_file(segment)
    }

    /// Lets readers see the records up to `end`, and wakes them where those are `news`.
    fn publish(&mut self, segment: &Segment, marks: Marks, end: Position, synced: bool, news: bool) {
        self.tail.advance(end, synced);
        if synced {
            self.shared.synced_segment.store(segment.id, Ordering::Release);
        }
        self.lazy_at = (!synced).then(|| self.lazy_at.unwrap_or_else(|| Instant::now() + LAZY_SYNC));
        let mut table = self.shared.table();
        table.publish(segment, marks.positions, end);
        self.shared.stats.live_bytes.store(table.live_bytes(), Ordering::Relaxed);
        drop(table);
        self.shared.written.send_if_modified(|written| {
            *written = end.lsn;
            news
        });
    }

    fn acknowledge(&mut self, part: Vec<Request>, mut lsn: Lsn) {
        let bytes: usize = part.iter().map(|request| record_bytes(request.payload.bytes())).sum();
        let stats = &self.shared.stats;
        add(&stats.records_appended, part.len() as u64);
        add(&stats.bytes_appended, bytes as u64);
        add(&stats.batches, 1);
        stats.queue_bytes.fetch_sub(bytes as u64, Ordering::AcqRel);
        let mut rounds = Rounds::default();
        for request in part {
            if let Some(side) = request.side {
                self.shared.table().name_side(lsn, side);
            }
            if let Some(reply) = request.reply {
                rounds.tell(reply, Ok(lsn));
            }
            lsn = lsn.next();
        }
    }

    fn refuse(&mut self, requests: Vec<Request>, error: &AppendError) {
        let mut rounds = Rounds::default();
        for request in requests {
            // The write of an intent that nobody waits for is served.
            if request.kind.has_happened() || (request.kind == Kind::Intent && request.reply.is_none()) {
                self.waiting.keep(request, error, &mut rounds);
                continue;
            }
            let bytes = record_bytes(request.payload.bytes()) as u64;
            self.shared.stats.queue_bytes.fetch_sub(bytes, Ordering::AcqRel);
            add(&self.shared.stats.records_failed, 1);
            if let Some(reply) = request.reply {
                rounds.tell(reply, Err(error.clone()));
            }
        }
    }

    fn start_failing(&mut self, error: io::Error) -> Arc<io::Error> {
        self.failing = Some(BackOff::behind(self.failing, self.shared.options.back_off));
        self.lazy_at = None;
        add(&self.shared.stats.disk_errors, 1);
        self.shared.failure.set(error)
    }

    /// Does what is due: another attempt on a failing disk, the lazy sync, the checkpoint.
    fn keep_up(&mut self) {
        let now = Instant::now();
        self.supply.look(now);
        if self.failing.is_some_and(|failing| failing.until <= now) {
            match self.move_on() {
                Ok(()) => {
                    self.failing = None;
                    self.shared.failure.clear();
                }
                // A full journal is no failing disk; appends find out for themselves.
                Err(error) => drop(self.start_failing(error)),
            }
        }
        if self.failing.is_none() && self.waiting.retry_at().is_some_and(|at| at <= now) {
            self.commit(Vec::new());
        }
        if self.checkpoint_at <= now {
            self.checkpoint_at = now + CHECKPOINT_EVERY;
            self.checkpoint();
        }
        if self.lazy_at.is_some_and(|at| at <= now)
            && let Err(error) = self.sync_all()
        {
            self.start_failing(error);
        }
    }

    /// Makes durable what is written.
    fn sync_all(&mut self) -> io::Result<()> {
        let Some(segment) = self.current.clone().filter(|_| self.tail.unsynced_bytes() > 0) else { return Ok(()) };
        if self.sync_file(&segment).is_err() {
            return self.move_on();
        }
        self.publish(&segment, Marks::default(), self.tail.written(), true, false);
        Ok(())
    }

    /// Writes down from where on records count, if that has changed.
    fn checkpoint(&mut self) {
        let low_water = self.shared.table().low_water();
        if low_water > self.checkpointed {
            self.checkpointed = low_water;
            self.commit(vec![self.own_request(low_water, Durability::Written)]);
        }
    }

    fn own_request(&self, low_water: Lsn, durability: Durability) -> Request {
        let payload = Payload::from(low_water.0.to_le_bytes().to_vec());
        let bytes = record_bytes(payload.bytes()) as u64;
        self.shared.stats.queue_bytes.fetch_add(bytes, Ordering::AcqRel);
        Request { kind: Kind::Checkpoint, epoch: 0, side: None, payload, durability, reply: None }
    }

    /// Ends the log so that the next start can tell that it ended well: with a synced checkpoint.
    fn finish(mut self) {
        self.shared.closed.store(true, Ordering::Release);
        let mut last = self.inbox.late();
        if self.failing.is_some() && self.move_on().is_ok() {
            self.failing = None;
            self.shared.failure.clear();
        }
        if self.current.is_none() && last.is_empty() {
            // Nothing was ever written.
            return;
        }
        let low_water = self.shared.table().low_water();
        last.push(self.own_request(low_water, Durability::Synced));
        self.commit(last);
    }
}
