//! Owns what waits for a disk that fails or is full: the next attempt, and outcomes and deliveries, which wait in memory, in their
//! order, until they are taken.
//!
//! Whoever is refused an intent can act on it; one that nobody waits for stays, its write is served. An outcome has happened, and its intent is in the log: forgotten, it would hold up
//! the copies of its entity until the next start. A delivery that is forgotten while a later one is not brings the older copy
//! once more after the next start, behind the newer one.

use std::time::{Duration, Instant};

use super::answers::Rounds;
use super::error::AppendError;
use super::keeper::BACK_OFF_TIMES_MAX;
use super::shared::Request;

/// How often room is looked for in a journal that is full; a failing disk has a pause of its own.
const RETRY: Duration = Duration::from_secs(1);

/// A failing disk is left alone for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackOff {
    pub(super) until: Instant,
    pause: Duration,
}

impl BackOff {
    /// The pause after another one, or the first.
    pub(super) fn behind(before: Option<Self>, first: Duration) -> Self {
        let pause = before.map_or(first, |before| (before.pause * 2).min(first * BACK_OFF_TIMES_MAX));
        Self { until: Instant::now() + pause, pause }
    }
}

/// Outcomes and deliveries that are not in the log yet, in their order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    requests: Vec<Request>,
    retry_at: Option<Instant>,
}

impl Waiting {
    /// Keeps one for later; whoever waits for it is told that it is not durable.
    pub(super) fn keep(&mut self, mut request: Request, error: &AppendError, rounds: &mut Rounds) {
        if let Some(reply) = request.reply.take() {
            rounds.tell(reply, Err(error.clone()));
        }
        self.requests.push(request);
        self.retry_at = Some(Instant::now() + RETRY);
    }

    /// Puts what waits before other records.
    pub(super) fn lead(&mut self, others: Vec<Request>) -> Vec<Request> {
        self.retry_at = None;
        if self.requests.is_empty() {
            return others;
        }
        let mut all = std::mem::take(&mut self.requests);
        all.extend(others);
        all
    }

    /// When to try again; `None` when nothing waits.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}
