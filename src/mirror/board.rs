//! Owns what the courier shows of itself, and what operators ask of it; neither waits for the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::reconcile::{QUESTIONS_MAX, Question};
use crate::journal::Lsn;

/// How one destination stands, as far as the courier knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the oldest copy that has not come to its end was admitted, in milliseconds since the epoch.
    pub oldest_unix_ms: Option<u64>,
    /// Bytes of the copies that were read from the journal and have not come to their end.
    pub bytes: u64,
    /// `closed`, `open`, `half-open` or `paused`.
    pub breaker: &'static str,
    /// Why nothing goes, where that is so.
    pub trouble: Option<String>,
    /// Copies that have come to their end since the start.
    pub ended: Ended,
    /// Attempts that failed since the start.
    pub failures: u64,
}

/// Copies that have come to their end, by how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// The destination has them.
    pub delivered: u64,
    /// The primary rejected them.
    pub rejected: u64,
    /// An unknown outcome was resolved by reading the primary.
    pub resolved: u64,
    /// Set aside for a person.
    pub parked: u64,
    /// Of those, by a change of sides.
    pub superseded: u64,
    /// Their records could not be read.
    pub unreadable: u64,
    /// Given up by a person before they arrived.
    pub dropped: u64,
}

impl Ended {
    /// The counts by their names.
    pub(super) fn by_name(&self) -> [(&'static str, u64); 7] {
        [
            ("delivered", self.delivered),
            ("rejected", self.rejected),
            ("resolved", self.resolved),
            ("parked", self.parked),
            ("superseded", self.superseded),
            ("unreadable", self.unreadable),
            ("dropped", self.dropped),
        ]
    }
}

/// Where courier and operators meet.
#[derive(Debug, Default)]
pub struct Board {
    standings: Mutex<BTreeMap<Box<str>, Standing>>,
    resumed: Mutex<BTreeSet<Box<str>>>,
    /// Below which number of the own journal what waits is given up; with it all that earlier journals hold.
    drops: Mutex<BTreeMap<Box<str>, Lsn>>,
    questions: Mutex<Vec<Question>>,
}

impl Board {
    /// How a destination stands.
    pub fn standing(&self, destination: &str) -> Standing {
        self.standings().get(destination).cloned().unwrap_or_default()
    }

    /// Shows how a destination stands.
    pub(super) fn show(&self, destination: &str, standing: Standing) {
        let mut standings = self.standings();
        match standings.get_mut(destination) {
            Some(shown) => *shown = standing,
            None => drop(standings.insert(destination.into(), standing)),
        }
    }

    /// Asks the courier to try a destination at once.
    pub(super) fn resume(&self, destination: &str) {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner).insert(destination.into());
    }

    /// Whether somebody asked for that; asking is over then.
    pub(super) fn take_resumed(&self, destination: &str) -> bool {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner).remove(destination)
    }

    /// Asks the courier to give up what waits for a destination, up to a number of the journal.
    pub(super) fn drop_below(&self, destination: &str, below: Lsn) {
        self.drops().insert(destination.into(), below);
    }

    /// Up to where somebody asked for that.
    pub(super) fn dropped_below(&self, destination: &str) -> Option<Lsn> {
        self.drops().get(destination).copied()
    }

    /// Notes that all journals have heard it, unless more was asked for meanwhile.
    pub(super) fn end_drop(&self, destination: &str, below: Lsn) {
        let mut drops = self.drops();
        if drops.get(destination) == Some(&below) {
            drops.remove(destination);
        }
    }

    fn drops(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Lsn>> {
        self.drops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the courier something; `None` when it has too much to do.
    pub(super) fn ask(&self, question: Question) -> Option<()> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        (questions.len() < QUESTIONS_MAX).then(|| questions.push(question))
    }

    /// What is asked.
    pub(super) fn take_questions(&self) -> Vec<Question> {
        std::mem::take(&mut *self.questions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
