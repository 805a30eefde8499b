//! Owns what the delivery to one destination does by a person's word: it tries at once, or gives up what waits.

use std::rc::Rc;

use bytes::Bytes;

use super::Dispatch;
use crate::journal::{Lsn, ReadError};
use crate::mirror::courier::schedule::Job;
use crate::mirror::record::{Class, Intent, Settled};

/// Copies that are given up at once, with one sync of the tables.
const DROPPED_AT_ONCE: usize = 1_024;

impl Dispatch {
    /// Does what was asked for on the board.
    pub(super) fn hear_orders(&mut self) {
        let board = self.courier.mirror.board();
        if board.take_resumed(&self.destination.name) {
            self.breaker.hurry();
        }
        if let Some(below) = board.dropped_below(&self.destination.name) {
            // All that an earlier process has left is older than the order, and its turn comes first.
            self.schedule.drop_below(if self.source.is_elder() { Lsn(u64::MAX) } else { below });
            if !self.source.is_elder() {
                board.end_drop(&self.destination.name, below);
            }
        }
        // A settlement further on may say that a copy has arrived.
        if self.scan.is_complete() {
            self.drop_some();
        }
    }

    /// Brings some of the copies that are given up to their end: first the gaps are on the disk, then it is noted.
    fn drop_some(&mut self) {
        let dropped = self.schedule.dropped(DROPPED_AT_ONCE);
        if dropped.is_empty() {
            return;
        }
        if let Err(why) = self.keep_gaps(&dropped) {
            // It is tried again at once; the tables see to it that a disk that fails is not asked too often.
            if self.trouble.as_ref() != Some(&why) {
                tracing::error!(destination = &*self.destination.name, why, "copies cannot be given up yet");
                self.trouble = Some(why);
            }
            return;
        }
        for job in &dropped {
            self.settle(job, how(job));
        }
        self.note_low();
    }

    fn keep_gaps(&self, dropped: &[Job]) -> Result<(), String> {
        let mut gaps: Vec<Bytes> = Vec::with_capacity(dropped.len());
        for job in dropped.iter().filter(|job| how(job) == Settled::Dropped) {
            let intent = match &job.intent {
                Some(kept) => Some(Rc::clone(kept)),
                None => match self.source.journal().read(job.lsn) {
                    Ok(record) => Intent::decode(&record.payload).ok().map(Rc::new),
                    Err(error @ ReadError::Io(_)) => return Err(error.to_string()),
                    Err(_) => None,
                },
            };
            gaps.push(self.gap(job, intent.as_deref(), "dropped").encode());
        }
        self.courier.mirror.tables().add_gaps(&gaps).map_err(|error| error.to_string())
    }
}

/// How a copy that was given up comes to its end: there may have been nothing to be sent.
fn how(job: &Job) -> Settled {
    match job.class {
        Some(Class::Rejected) => Settled::Rejected,
        _ if job.covered => Settled::Resolved,
        _ => Settled::Dropped,
    }
}
