//! Owns giving copies up by a person's order: they are not sent any more, and what stands behind them in their lanes waits until they
//! have come to their end.

use super::{Job, Schedule, State};
use crate::journal::Lsn;

impl Schedule {
    /// Gives up every copy from before `below`, those that are read later included. One that is under way may still arrive.
    pub(in crate::mirror::courier) fn drop_below(&mut self, below: Lsn) {
        if below <= self.dropped_below {
            return;
        }
        self.dropped_below = below;
        for lsn in self.jobs.range(..below).map(|(lsn, _)| *lsn).collect::<Vec<_>>() {
            let Some(job) = self.jobs.get_mut(&lsn) else { continue };
            job.dropped = true;
            if let State::Waiting(at_ms) = job.state {
                self.waiting.remove(&(at_ms, lsn));
                job.state = State::Ready;
            }
            self.ready.remove(&lsn);
            self.offer(lsn);
        }
    }

    /// Some of those that were given up and are neither open nor under way, the oldest first.
    pub(in crate::mirror::courier) fn dropped(&self, copies_max: usize) -> Vec<Job> {
        self.dropped.iter().take(copies_max).filter_map(|lsn| self.jobs.get(lsn)).cloned().collect()
    }
}
