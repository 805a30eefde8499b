//! Owns which segments make up the log, what of them may be read, and where in them a record stands.
//!
//! It reads and writes no file. The committer tells it what was written, readers ask it, trimming takes from its front.

use std::collections::{BTreeSet, VecDeque};

use super::record::{Lsn, Side};
use super::segment::{Position, Segment};

/// Between two places that the table remembers lie at least this many bytes: what reading one record costs at most.
const MARK_EVERY_BYTES: u64 = 64 * 1024;

/// The segments that hold records.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    low_water: Lsn,
    /// The side files that records name.
    sides: BTreeSet<(Lsn, Side)>,
}

/// A segment and what of it counts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) segment: Segment,
    /// Some places, in order; the first is the one of the first record.
    pub(super) marks: Vec<Position>,
    /// Behind the last record that counts.
    pub(super) end: Position,
    /// Its file failed and must not be used again.
    pub(super) poisoned: bool,
}

impl Entry {
    /// The number of the first record.
    pub(super) fn first(&self) -> Lsn {
        self.marks[0].lsn
    }
}

/// Where a record is.
#[derive(Debug)]
pub(super) enum Place {
    /// In this segment, at or behind `from`; what may be read ends at `end`.
    Segment { segment: Segment, from: Position, end: Position },
    /// Nowhere: the log goes on with the number `to`.
    Lost { to: Lsn },
    /// Not written yet.
    Ahead,
}

/// What trimming took away.
#[derive(Debug, Default)]
pub(super) struct Trimmed {
    pub(super) entries: Vec<Entry>,
    pub(super) sides: Vec<Side>,
}

/// Chooses the places worth remembering.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) positions: Vec<Position>,
    last_offset: Option<u64>,
}

impl Marks {
    /// Goes on behind a place that is remembered already.
    pub(super) fn behind(last: Option<Position>) -> Self {
        Self { positions: Vec::new(), last_offset: last.map(|position| position.offset) }
    }

    /// Looks at the place where a record begins.
    pub(super) fn note(&mut self, at: Position) {
        if self.last_offset.is_none_or(|last| at.offset >= last + MARK_EVERY_BYTES) {
            self.last_offset = Some(at.offset);
            self.positions.push(at);
        }
    }
}

impl Table {
    pub(super) fn new(entries: VecDeque<Entry>, low_water: Lsn, sides: BTreeSet<(Lsn, Side)>) -> Self {
        Self { entries, low_water, sides }
    }

    pub(super) fn low_water(&self) -> Lsn {
        self.low_water
    }

    /// The segments that hold records.
    pub(super) fn segments(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all segments: those before the last one whole, as nothing more goes into them.
    pub(super) fn live_bytes(&self) -> u64 {
        let Some(last) = self.entries.back() else { return 0 };
        let before: u64 = self.entries.iter().map(|entry| entry.segment.bytes).sum();
        before - last.segment.bytes + last.end.offset
    }

    /// The last remembered place of a segment that is the last one.
    pub(super) fn last_mark(&self, id: u64) -> Option<Position> {
        self.entries.back().filter(|entry| entry.segment.id == id)?.marks.last().copied()
    }

    /// Lets readers see what was written to a segment, up to `end`.
    pub(super) fn publish(&mut self, segment: &Segment, marks: Vec<Position>, end: Position) {
        match self.entries.back_mut().filter(|entry| entry.segment.id == segment.id) {
            Some(entry) => {
                entry.marks.extend(marks);
                entry.end = end;
            }
            None if marks.is_empty() => {}
            None => self.entries.push_back(Entry { segment: segment.clone(), marks, end, poisoned: false }),
        }
    }

    /// Notes that a record names a side file.
    pub(super) fn name_side(&mut self, lsn: Lsn, side: Side) {
        self.sides.insert((lsn, side));
    }

    /// Ends a failed segment at the last place that is durable; says whether any record is left in it.
    pub(super) fn cut(&mut self, id: u64, at: Position) -> bool {
        let Some(entry) = self.entries.back_mut().filter(|entry| entry.segment.id == id) else { return false };
        if entry.first() >= at.lsn {
            self.entries.pop_back();
            return false;
        }
        entry.marks.retain(|mark| mark.lsn < at.lsn);
        entry.end = at;
        entry.poisoned = true;
        true
    }

    /// Finds where a record is.
    pub(super) fn find(&self, lsn: Lsn) -> Place {
        let behind = self.entries.partition_point(|entry| entry.first() <= lsn);
        let within = behind.checked_sub(1).map(|index| &self.entries[index]).filter(|entry| lsn < entry.end.lsn);
        match (within, self.entries.get(behind)) {
            (Some(entry), _) => {
                let from = entry.marks[entry.marks.partition_point(|mark| mark.lsn <= lsn) - 1];
                Place::Segment { segment: entry.segment.clone(), from, end: entry.end }
            }
            (None, Some(next)) => Place::Lost { to: next.first() },
            (None, None) => Place::Ahead,
        }
    }

    /// Takes the segments in front that lie wholly below, as long as their numbers are below `keep_from`.
    pub(super) fn trim(&mut self, below: Lsn, keep_from: u64) -> Trimmed {
        self.low_water = self.low_water.max(below);
        let mut trimmed = Trimmed::default();
        let low_water = self.low_water;
        let settled = |entry: &Entry| entry.end.lsn <= low_water && entry.segment.id < keep_from;
        while self.entries.len() > 1 && self.entries.front().is_some_and(settled) {
            trimmed.entries.extend(self.entries.pop_front());
        }
        while let Some(&(lsn, side)) = self.sides.first().filter(|(lsn, _)| *lsn < low_water) {
            self.sides.remove(&(lsn, side));
            trimmed.sides.push(side);
        }
        trimmed
    }
}
