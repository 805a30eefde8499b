//! Owns reading back: in order from a place on, or one record by its number. Both block the thread while they read.

use std::sync::Arc;

use super::error::ReadError;
use super::record::{Kind, Lsn, Record};
use super::segment::{Step, Walk};
use super::shared::Shared;
use super::table::Place;

/// Reads records in order, as far as they are written.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    next: Lsn,
    /// The segment it is in, and the first number that it may not read there.
    walk: Option<(Walk, Lsn)>,
    /// Bytes that it reads at once.
    read_bytes: usize,
}

impl Cursor {
    pub(super) fn new(shared: Arc<Shared>, from: Lsn, read_bytes: usize) -> Self {
        Self { shared, next: from, walk: None, read_bytes }
    }

    /// The number of the record that comes next.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.next
    }

    /// Reads the next record; `None` when all that is written was read, and later there may be more.
    ///
    /// Records below the low-water mark are passed over.
    ///
    /// # Errors
    /// When a record is damaged, once for each damage, or the system cannot read.
    #[allow(clippy::should_implement_trait, reason = "an iterator ends at its first None")]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if !self.within_reach()? {
                return Ok(None);
            }
            let Some((walk, _)) = &mut self.walk else { return Ok(None) };
            match walk.step()? {
                Step::Record(record) if record.lsn < self.next => {}
                Step::Record(record) => {
                    self.next = record.lsn.next();
                    if record.kind != Kind::Checkpoint {
                        return Ok(Some(record));
                    }
                }
                Step::End { .. } => self.after_damage()?,
            }
        }
    }

    /// Sees to a walk that may read the next record; says no when it is not written yet.
    fn within_reach(&mut self) -> Result<bool, ReadError> {
        if self.walk.as_ref().is_some_and(|(_, limit)| self.next < *limit) {
            return Ok(true);
        }
        let table = self.shared.table();
        self.next = self.next.max(table.low_water());
        let place = table.find(self.next);
        drop(table);
        match place {
            Place::Ahead => Ok(false),
            Place::Lost { to } => {
                let from = std::mem::replace(&mut self.next, to);
                Err(ReadError::Damaged { from, to })
            }
            Place::Segment { segment, from, end } => {
                match &mut self.walk {
                    // Further on in the same file.
                    Some((walk, limit)) if walk.is_in(&segment) && walk.position().lsn == self.next => {
                        walk.extend(end.offset);
                        *limit = end.lsn;
                    }
                    _ => self.walk = Some((Walk::new(&segment, from, end.offset, self.read_bytes), end.lsn)),
                }
                Ok(true)
            }
        }
    }

    /// A record that counts did not read back whole: its segment was trimmed or given up meanwhile, or is damaged.
    fn after_damage(&mut self) -> Result<(), ReadError> {
        let Some((walk, limit)) = self.walk.take() else { return Ok(()) };
        match self.shared.table().find(self.next) {
            Place::Segment { segment, end, .. } if walk.is_in(&segment) && end.lsn == limit => {
                let (from, to) = (self.next, limit);
                self.next = to;
                Err(ReadError::Damaged { from, to })
            }
            _ => Ok(()),
        }
    }
}
