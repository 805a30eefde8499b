//! Owns what happens when a journal is opened: which files make up the log, and where it ends.
//!
//! The newest segment is read first: what a segment holds of the numbers that a later one holds again was given up
//! there after a failed fsync, and does not count.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::behind::last_behind;
use super::disk::Disk;
use super::error::OpenError;
use super::record::{HEAD_BYTES, Head, Kind, Lsn, Record, Side, u64_at};
use super::segment::{FileKind, HEADER_BYTES, Position, READ_AHEAD_BYTES, Segment, Step, Walk};
use super::table::{Entry, Marks, Table};

/// Bytes written at once when the last segment is written anew.
const REWRITE_BYTES: usize = 1024 * 1024;
/// What an unreadable segment's name ends with from then on.
const DAMAGED: &str = "damaged";

/// What was found when the journal was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Whole records, those of the journal itself included.
    pub records: u64,
    /// The number that the next record gets.
    pub next: Lsn,
    /// Whether the journal was closed; after a crash or a power loss it was not.
    pub closed: bool,
    /// Whether the last record had been begun and not finished.
    pub torn: bool,
    /// Numbers that were there and cannot be read: from, and up to but not including. After a power loss they may be of
    /// records that nobody was told were synced.
    pub lost: Vec<(Lsn, Lsn)>,
    /// Files that are damaged, or copies of them; kept for a person to look at.
    pub damaged: Vec<PathBuf>,
    /// Side files that no record named; they were removed.
    pub orphans: usize,
    /// How long another process was waited for.
    pub waited: Duration,
}

/// What the parts of a journal start from.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) table: Table,
    /// The segment that is written on, and where.
    pub(super) current: Option<(Segment, Position)>,
    /// A whole segment that nothing was written to.
    pub(super) ready: Option<Segment>,
    pub(super) spares: Vec<u64>,
    /// Segments and spares.
    pub(super) files: usize,
    pub(super) next_id: u64,
    pub(super) named: BTreeSet<Side>,
    pub(super) report: Recovered,
}

/// One segment's records.
#[derive(Debug)]
struct Scan {
    segment: Segment,
    marks: Vec<Position>,
    end: Position,
    records: u64,
    torn: bool,
    sides: Vec<(Lsn, Side)>,
    /// The last checkpoint: the low-water mark, and whether it ended the journal.
    checkpoint: Option<(Lsn, Lsn)>,
}

/// Reads the directory and puts its files in order.
pub(super) fn recover(disk: &dyn Disk, dir: &Path, segment_bytes: u64) -> Result<Found, OpenError> {
    let named = |path: &Path, source| OpenError::Io { path: path.to_owned(), source };
    let mut recovery = Recovery { disk, dir, segment_bytes, found: Found::default() };
    recovery.run().map_err(|error| named(dir, error))?;
    Ok(recovery.found)
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    segment_bytes: u64,
    found: Found,
}

impl Recovery<'_> {
    fn run(&mut self) -> io::Result<()> {
        let names = self.disk.list(self.dir)?;
        let ids = |kind: FileKind| names.iter().filter_map(|name| kind.id(name)).collect::<BTreeSet<u64>>();
        let (segments, spares) = (ids(FileKind::Segment), ids(FileKind::Spare));
        self.found.next_id = segments.iter().chain(&spares).max().map_or(1, |id| id + 1);
        for id in spares {
            self.adopt_spare(id)?;
        }
        let mut scans: VecDeque<Scan> = VecDeque::new();
        for id in segments.into_iter().rev() {
            let stop = scans.front().map(|scan| scan.marks[0].lsn);
            if let Some(scan) = self.look_at(id, stop)? {
                scans.push_front(scan);
            }
        }
        self.assemble(scans)
    }

    /// Keeps a spare that is whole and of the size in use.
    fn adopt_spare(&mut self, id: u64) -> io::Result<()> {
        let path = FileKind::Spare.path(self.dir, id);
        if self.disk.open(&path, false)?.bytes()? == self.segment_bytes {
            self.found.spares.push(id);
            self.found.files += 1;
            return Ok(());
        }
        self.disk.remove(&path)
    }

    /// Reads a segment; `None` when it holds nothing that counts, and then it is dealt with.
    fn look_at(&mut self, id: u64, stop: Option<Lsn>) -> io::Result<Option<Scan>> {
        let path = FileKind::Segment.path(self.dir, id);
        let file = self.disk.open(&path, false)?;
        let Some(segment) = Segment::read_header(file, id)? else {
            let aside = path.with_extension(DAMAGED);
            self.disk.rename(&path, &aside)?;
            self.found.report.damaged.push(aside);
            return Ok(None);
        };
        let scan = scan(segment.clone(), stop)?;
        if scan.records > 0 {
            self.found.files += 1;
            return Ok(Some(scan));
        }
        self.found.report.torn |= scan.torn && stop.is_none();
        if stop.is_none() && self.found.ready.is_none() && segment.bytes == self.segment_bytes {
            // Prepared and not used: none later holds a record.
            self.found.files += 1;
            self.found.ready = Some(segment);
        } else if scan.torn {
            let aside = path.with_extension(DAMAGED);
            self.disk.rename(&path, &aside)?;
            self.found.report.damaged.push(aside);
        } else {
            self.disk.remove(&path)?;
        }
        Ok(None)
    }

    /// Makes the log of the segments that hold records.
    fn assemble(&mut self, mut scans: VecDeque<Scan>) -> io::Result<()> {
        let checkpoint = scans.iter().rev().find_map(|scan| scan.checkpoint);
        let first = scans.front().map_or(Lsn::FIRST, |scan| scan.marks[0].lsn);
        let low_water = checkpoint.map_or(first, |(low_water, _)| low_water.max(first));
        while scans.len() > 1 && scans[0].end.lsn <= low_water {
            self.drop_settled(&scans[0].segment)?;
            scans.pop_front();
        }
        let ends = scans.iter().zip(scans.iter().skip(1)).map(|(scan, next)| (scan.end.lsn, next.marks[0].lsn));
        let report = &mut self.found.report;
        report.lost = ends.filter(|(end, begin)| end < begin).collect();
        report.records = scans.iter().map(|scan| scan.records).sum();
        report.next = first;
        if let Some(last) = scans.back() {
            report.next = last.end.lsn;
            report.torn |= last.torn;
            report.closed = checkpoint.is_some_and(|(_, at)| at.next() == last.end.lsn) && !report.torn;
            if !report.closed {
                if let Some(behind) = last_behind(&last.segment, last.end)? {
                    report.lost.push((last.end.lsn, behind));
                    let aside = FileKind::Segment.path(self.dir, last.segment.id);
                    let aside = aside.with_extension(format!("{}.{DAMAGED}", last.end.lsn));
                    keep(self.disk, &aside, &last.segment)?;
                    clear(&last.segment, last.end.offset)?;
                    report.damaged.push(aside);
                }
                rewrite(&last.segment, last.end.offset)?;
            }
            // One of another size is not written on: what is settled in it could not be given back before it is full, and it may be
            // larger than all that there may be.
            let is_in_use = last.segment.bytes == self.segment_bytes;
            self.found.current = is_in_use.then(|| (last.segment.clone(), last.end));
        } else {
            report.closed = true;
        }
        let sides = scans.iter().flat_map(|scan| scan.sides.iter().copied().filter(|(lsn, _)| *lsn >= low_water));
        let sides: BTreeSet<_> = sides.collect();
        self.found.named = sides.iter().map(|(_, side)| *side).collect();
        let entry = |Scan { segment, marks, end, .. }| Entry { segment, marks, end, poisoned: false };
        self.found.table = Table::new(scans.into_iter().map(entry).collect(), low_water, sides);
        Ok(())
    }

    /// A segment below the low-water mark that was not released before the end.
    fn drop_settled(&mut self, segment: &Segment) -> io::Result<()> {
        self.found.files -= 1;
        self.disk.remove(&FileKind::Segment.path(self.dir, segment.id))
    }
}

/// Walks over a segment up to a number that a later segment holds.
fn scan(segment: Segment, stop: Option<Lsn>) -> io::Result<Scan> {
    let mut head = [0; HEAD_BYTES];
    segment.file.read_at(&mut head, HEADER_BYTES)?;
    let first = Head::read(&head).map_or(Lsn::FIRST, |head| head.lsn);
    let mut walk = Walk::new(&segment, segment.start(first), segment.bytes, READ_AHEAD_BYTES);
    let (mut marks, mut sides) = (Marks::default(), Vec::new());
    let (mut records, mut torn, mut checkpoint) = (0, false, None);
    loop {
        let at = walk.position();
        if stop.is_some_and(|stop| at.lsn >= stop) {
            break;
        }
        match walk.step()? {
            Step::Record(record) => {
                marks.note(at);
                records += 1;
                sides.extend(record.side.map(|side| (record.lsn, side)));
                checkpoint = low_water(&record).map(|low_water| (low_water, record.lsn)).or(checkpoint);
            }
            Step::End { torn: begun } => {
                torn = begun;
                break;
            }
        }
    }
    let end = walk.position();
    Ok(Scan { segment, marks: marks.positions, end, records, torn, sides, checkpoint })
}

fn low_water(record: &Record) -> Option<Lsn> {
    (record.kind == Kind::Checkpoint && record.payload.len() >= 8).then(|| Lsn(u64_at(&record.payload, 0)))
}

/// Copies a segment with damage in it aside for a person: what is written next overwrites what stands behind the damage.
fn keep(disk: &dyn Disk, aside: &Path, segment: &Segment) -> io::Result<()> {
    let aside = disk.open(aside, true)?;
    let (mut buffer, mut offset) = (vec![0; REWRITE_BYTES], 0);
    loop {
        let read = segment.file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return aside.sync_data();
        }
        aside.write_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}

/// Clears what stands behind a damage, so that the next start does not find it again.
fn clear(segment: &Segment, mut offset: u64) -> io::Result<()> {
    let zeros = vec![0; REWRITE_BYTES];
    while offset < segment.bytes {
        let bytes = (segment.bytes - offset).min(REWRITE_BYTES as u64);
        segment.file.write_at(&zeros[..bytes as usize], offset)?;
        offset += bytes;
    }
    segment.file.sync_data()
}

/// Writes the records anew where they stand and syncs them.
///
/// They were read from memory that the kernel may believe to be on the disk since an fsync failed; only what is
/// written once more is certain to get there.
fn rewrite(segment: &Segment, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; REWRITE_BYTES];
    let mut offset = 0;
    while offset < end {
        let bytes = (end - offset).min(REWRITE_BYTES as u64) as usize;
        let read = segment.file.read_at(&mut buffer[..bytes], offset)?;
        segment.file.write_at(&buffer[..read], offset)?;
        offset += bytes as u64;
    }
    segment.file.sync_data()
}
