//! Owns one destination's reading of the journal: what it finds goes to the schedule, and nothing is sent before everything that
//! may speak against it was read.
//!
//! When the schedule is full, reading goes on ahead without taking copies in, for the outcomes, settlements and fences of those
//! that are known; when there is room again, it comes back to where it stopped.

use bytes::Bytes;

use super::schedule::{JOBS_LOW, JOBS_MAX, Schedule};
use crate::journal::{Cursor, Journal, Kind, Lsn, ReadError, Record};
use crate::mirror::Unreadable;
use crate::mirror::record::{self, Body, Fence, Intent, Outcome, Settlement};

/// Records that are read before others get a turn.
pub(super) const RECORDS_A_TURN: usize = 256;

/// Reads the journal for one destination.
#[derive(Debug)]
pub(super) struct Scan {
    destination: Box<str>,
    cursor: Cursor,
    /// Reads on while there is no room.
    ahead: Option<Cursor>,
    /// Whether all that was written was read at least once since copies were taken in.
    is_complete: bool,
    /// Intents below are those of earlier runs.
    end_at_open: Lsn,
    /// Gaps that were found and are not kept yet.
    gaps: Vec<Bytes>,
}

impl Scan {
    pub(super) fn new(journal: &Journal, destination: &str) -> Self {
        Self {
            destination: destination.into(),
            cursor: journal.cursor(journal.low_water()),
            ahead: None,
            is_complete: false,
            end_at_open: journal.recovered().next,
            gaps: Vec::new(),
        }
    }

    /// Whether copies may be sent: all that was written when they were taken in has been read.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What was taken in from the journal lies below this.
    pub(super) fn position(&self) -> Lsn {
        self.cursor.position()
    }

    /// Takes the gaps that were found.
    pub(super) fn take_gaps(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.gaps)
    }

    /// Reads some records; says whether there is more to be read now.
    pub(super) fn read(&mut self, journal: &Journal, schedule: &mut Schedule) -> bool {
        self.turn(journal, schedule);
        for _ in 0..RECORDS_A_TURN {
            let next = match &mut self.ahead {
                Some(ahead) => ahead.next(),
                None if schedule.closed() >= JOBS_MAX => {
                    self.turn(journal, schedule);
                    continue;
                }
                None => self.cursor.next(),
            };
            match next {
                Ok(Some(record)) => self.feed(&record, schedule),
                Ok(None) => {
                    self.reach_end(schedule);
                    return false;
                }
                Err(error @ ReadError::Damaged { .. }) => tracing::error!(%error, "copies are lost with them"),
                Err(error) => {
                    // Nothing is known of what follows, so nothing more may be sent.
                    tracing::error!(%error, destination = &*self.destination, "the journal cannot be read");
                    self.is_complete = false;
                    return false;
                }
            }
        }
        true
    }

    /// Begins to read ahead, or comes back from there.
    fn turn(&mut self, journal: &Journal, schedule: &Schedule) {
        if self.ahead.is_none() && schedule.closed() >= JOBS_MAX {
            self.ahead = Some(journal.cursor(self.cursor.position()));
            self.is_complete = false;
        } else if self.ahead.is_some() && schedule.closed() <= JOBS_LOW {
            self.ahead = None;
            self.is_complete = false;
        }
    }

    fn reach_end(&mut self, schedule: &mut Schedule) {
        let read_to = self.ahead.as_ref().unwrap_or(&self.cursor).position();
        if !self.is_complete && read_to >= self.end_at_open {
            // What has no outcome now never will: the run that would have written it is over.
            schedule.give_up_open_below(self.end_at_open);
        }
        self.is_complete = read_to >= self.end_at_open;
        schedule.forget_fences(self.cursor.position());
    }

    /// Sees to one record.
    fn feed(&mut self, record: &Record, schedule: &mut Schedule) {
        if !record::is_for(&record.payload, &self.destination) {
            return;
        }
        let takes_in = self.ahead.is_none();
        let read = match record.kind {
            Kind::Intent if takes_in => take_in(record, schedule),
            Kind::Outcome => Outcome::decode(&record.payload).map(|outcome| schedule.outcome(&outcome)),
            Kind::Delivered => Settlement::decode(&record.payload).map(|end| {
                schedule.end_settled(Lsn(end.intent), end.id);
            }),
            Kind::Epoch => Fence::decode(&record.payload).map(|fence| schedule.fence(&fence.entity, record.lsn)),
            Kind::Gap if takes_in => {
                self.gaps.push(record.payload.clone());
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = read {
            tracing::error!(lsn = record.lsn.0, %error, "a record of the journal is not understood");
        }
    }
}

/// Takes a copy in, and keeps its write while there is room.
fn take_in(record: &Record, schedule: &mut Schedule) -> Result<(), Unreadable> {
    let bytes = record.payload.len();
    let keeps = record.side.is_none() && schedule.has_room(bytes);
    let intent = Intent::decode(&record.payload)?;
    let side_bytes = if let Body::Side(bytes) = intent.body { bytes } else { 0 };
    schedule.admit(record.lsn, record.side, &intent, bytes as u64 + side_bytes);
    if keeps {
        schedule.keep(record.lsn, intent);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
