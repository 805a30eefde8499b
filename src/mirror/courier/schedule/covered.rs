//! Owns which copies a resolution leaves nothing to do for: what the primary had said that it did before its state was read stands in
//! that state, and must not be done to it once more.

use std::rc::Rc;

use super::{Job, Schedule, State};
use crate::journal::Lsn;
use crate::mirror::record::{Class, Intent};

/// What a state that is read tells of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shows {
    /// Whom to ask for the state of what it writes to, and where.
    read_at: Rc<str>,
    /// Whether doing it twice may come to something else than doing it once.
    is_once: bool,
}

impl Shows {
    pub(super) fn of(intent: &Intent) -> Self {
        let read_at = [&*intent.primary, &*intent.target].join(" ").into();
        Self { read_at, is_once: !matches!(&*intent.method, "PUT" | "DELETE") }
    }
}

impl Schedule {
    /// How far behind a write whose outcome is unknown the primary's state, read from now on, holds all that was done.
    ///
    /// It ends with the last copy that must not be done twice: one behind that, which says what is to be, goes out again, so that
    /// it arrives even where the primary's reads lag. `None` where there is nothing that must not be done twice.
    pub(in crate::mirror::courier) fn covered_to(&self, job: &Job) -> Option<Lsn> {
        if !matches!(job.class, Some(Class::Unknown) | None) {
            return None;
        }
        self.done_behind(job).filter(|behind| behind.shows.is_once).last().map(|behind| behind.lsn)
    }

    /// Keeps what [`Self::covered_to`] has found from being sent: the state has been written.
    pub(in crate::mirror::courier) fn cover(&mut self, job: &Job, to: Lsn) {
        let covered = self.done_behind(job).map(|behind| behind.lsn).take_while(|lsn| *lsn <= to);
        for lsn in covered.collect::<Vec<_>>() {
            if let Some(behind) = self.jobs.get_mut(&lsn) {
                behind.covered = true;
            }
        }
    }

    /// What stands directly behind a copy in its lane, is about the same entity at the same place, and is known as done.
    ///
    /// It ends before the first of which one of these is not known: that one may come to another result behind those that follow.
    /// It ends before a create as well, whose copy teaches which ids belong together.
    fn done_behind<'s>(&'s self, job: &'s Job) -> impl Iterator<Item = &'s Job> {
        let line = job.entity.as_deref().and_then(|entity| self.lanes.of(entity)).map(|lane| &lane.line);
        let behind =
            line.into_iter().flat_map(|line| line.range(job.lsn.next()..)).filter_map(|lsn| self.jobs.get(lsn));
        let is_done = |behind: &&Job| {
            behind.class == Some(Class::Acknowledged)
                // What is only accepted, or to be asked for elsewhere, may not have been done yet.
                && (200..300).contains(&behind.status)
                && behind.status != 202
                && behind.state != State::Open
                && behind.entity == job.entity
                && behind.shows.read_at == job.shows.read_at
                && behind.lane_created.is_none()
                && !behind.superseded
        };
        // What the primary rejected changes nothing.
        let counts = |behind: &&Job| behind.class != Some(Class::Rejected) || behind.state == State::Open;
        behind.filter(counts).take_while(is_done)
    }
}
