//! Owns how long is waited: before the next attempt of one copy, for a destination that fails, and between copies while
//! a backlog is worked off. It reads no clock: it is told the time in milliseconds.

use http::{HeaderMap, header};

use crate::mirror::record::CopyId;

/// The longest wait before the second attempt, in milliseconds; it doubles with each.
const BACK_OFF_MS: u64 = 100;
/// The longest wait between two attempts, in milliseconds.
const BACK_OFF_MS_MAX: u64 = 30_000;
/// The longest `Retry-After` that is honoured, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 60_000;

/// How long to wait after so many failures in a row: anything up to the limit, so that those who failed together do not
/// come back together (full jitter).
pub(super) fn back_off_ms(failures: u32, retry_after_ms: Option<u64>) -> u64 {
    let limit = BACK_OFF_MS.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACK_OFF_MS_MAX);
    let jitter = fastrand::u64(1..=limit);
    // All who were told the same time must not come in the same moment.
    retry_after_ms.map_or(jitter, |after| after.min(RETRY_AFTER_MS_MAX) + jitter.min(BACK_OFF_MS))
}

/// What `Retry-After` asks for, in milliseconds from `now_unix_ms`.
pub(super) fn retry_after_ms(headers: &HeaderMap, now_unix_ms: u64) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(at.as_millis()).ok().map(|at| at.saturating_sub(now_unix_ms))
}

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long it stays open the first time, in milliseconds; it doubles.
const OPEN_MS: u64 = 1_000;
/// How long it stays open at most, in milliseconds.
const OPEN_MS_MAX: u64 = 30_000;
/// Between two attempts at a destination that lets nobody in, in milliseconds.
const PAUSE_MS: u64 = 30_000;

/// Keeps a destination that fails from being asked too often.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Gate,
    failures: u32,
    /// The copy that failed first in the row, while no other has.
    only: Option<CopyId>,
    /// Whether the row has failures that no copy alone can cause.
    is_shared: bool,
    /// How often in a row it was opened.
    times: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Gate {
    #[default]
    Closed,
    /// One may go when the time has come.
    Open {
        until_ms: u64,
    },
    /// One is on its way to see.
    Asking,
    /// As open, until somebody is let in.
    Paused {
        until_ms: u64,
    },
    PausedAsking,
}

impl Breaker {
    /// Whether a copy may go; where only one may, it is taken for gone.
    pub(super) fn admits(&mut self, now_ms: u64) -> bool {
        match self.state {
            Gate::Closed => true,
            Gate::Open { until_ms } if until_ms <= now_ms => {
                self.state = Gate::Asking;
                true
            }
            Gate::Paused { until_ms } if until_ms <= now_ms => {
                self.state = Gate::PausedAsking;
                true
            }
            Gate::Open { .. } | Gate::Paused { .. } | Gate::Asking | Gate::PausedAsking => false,
        }
    }

    /// The destination answered as one that is well.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A copy failed; says whether that opened it. `own` failures are the destination's, whatever the copy.
    ///
    /// One copy alone, which the destination cannot stomach, never keeps the others back.
    pub(super) fn failed(&mut self, id: CopyId, own: bool, now_ms: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.is_shared |= own || self.only.is_some_and(|only| only != id);
        self.only.get_or_insert(id);
        let asked = matches!(self.state, Gate::Asking | Gate::PausedAsking);
        let opens = asked || (self.state == Gate::Closed && self.failures >= FAILURES_MAX && self.is_shared);
        if opens {
            self.times = self.times.saturating_add(1);
            let limit = OPEN_MS.saturating_mul(1 << (self.times - 1).min(16)).min(OPEN_MS_MAX);
            let until_ms = now_ms + fastrand::u64(limit / 2..=limit);
            let paused = self.state == Gate::PausedAsking;
            self.state = if paused { Gate::Paused { until_ms: now_ms + PAUSE_MS } } else { Gate::Open { until_ms } };
        }
        opens && !asked
    }

    /// The destination lets nobody in; says whether that is news.
    pub(super) fn pause(&mut self, now_ms: u64) -> bool {
        let known = self.is_paused();
        self.state = Gate::Paused { until_ms: now_ms + PAUSE_MS };
        !known
    }

    /// Lets one go at once, by a person's word.
    pub(super) fn hurry(&mut self) {
        match &mut self.state {
            Gate::Open { until_ms } | Gate::Paused { until_ms } => *until_ms = 0,
            Gate::Closed | Gate::Asking | Gate::PausedAsking => {}
        }
    }

    /// What was let go came back without having been sent.
    pub(super) fn unasked(&mut self) {
        match self.state {
            Gate::Asking => self.state = Gate::Open { until_ms: 0 },
            Gate::PausedAsking => self.state = Gate::Paused { until_ms: 0 },
            Gate::Closed | Gate::Open { .. } | Gate::Paused { .. } => {}
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self.state, Gate::Paused { .. } | Gate::PausedAsking)
    }

    /// Whether it keeps copies back.
    pub(super) fn is_shut(&self) -> bool {
        self.state != Gate::Closed
    }

    /// Its state for people.
    pub(super) fn name(&self) -> &'static str {
        match self.state {
            Gate::Closed => "closed",
            Gate::Open { .. } => "open",
            Gate::Asking => "half-open",
            Gate::Paused { .. } | Gate::PausedAsking => "paused",
        }
    }
}

/// Caps how fast a backlog is worked off: a bucket of tokens.
#[derive(Debug)]
pub(super) struct Pace {
    per_s_max: u32,
    /// In thousandths of a copy.
    tokens: u64,
    at_ms: u64,
}

impl Pace {
    pub(super) fn new(per_s_max: u32) -> Self {
        Self { per_s_max, tokens: 0, at_ms: 0 }
    }

    /// Goes on at another pace.
    pub(super) fn set(&mut self, per_s_max: u32) {
        self.per_s_max = per_s_max;
    }

    /// Whether one more may go now; it is taken for gone.
    pub(super) fn admits(&mut self, now_ms: u64) -> bool {
        let rate = u64::from(self.per_s_max);
        let earned = now_ms.saturating_sub(self.at_ms).min(1_000).saturating_mul(rate);
        self.at_ms = self.at_ms.max(now_ms);
        // A tenth of a second's worth at most goes at once.
        self.tokens = (self.tokens + earned).min((rate * 100).max(1_000));
        let may = self.tokens >= 1_000;
        self.tokens -= if may { 1_000 } else { 0 };
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_are_spread() {
        for failures in 1..40 {
            let limit = (100u64 << (failures - 1).min(20)).min(30_000);
            let waits: Vec<u64> = (0..200).map(|_| back_off_ms(failures, None)).collect();
            assert!(waits.iter().all(|wait| (1..=limit).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait > limit / 2) && waits.iter().any(|wait| *wait < limit / 2));
        }
        assert!((2_000..=2_100).contains(&back_off_ms(9, Some(2_000))));
        assert!(back_off_ms(1, Some(u64::MAX)) <= 60_100);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            retry_after_ms(&headers, 784_111_777_000)
        };
        assert_eq!(asked("7"), Some(7_000));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10_000));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn a_destination_that_fails_is_asked_by_one_at_a_time() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            assert!(!breaker.failed(CopyId(1), true, 0) && breaker.admits(0));
        }
        assert!(breaker.failed(CopyId(1), true, 0));
        assert!(!breaker.admits(1) && breaker.admits(OPEN_MS));
        assert!(!breaker.admits(OPEN_MS), "one is on its way");
        assert!(!breaker.failed(CopyId(2), true, OPEN_MS));
        assert!(!breaker.admits(OPEN_MS + 1));
        assert!(breaker.admits(10 * OPEN_MS));
        breaker.succeeded();
        assert!(breaker.admits(0) && breaker.admits(0));
    }

    #[test]
    fn one_copy_alone_opens_no_breaker() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert!(!breaker.failed(CopyId(1), false, 0) && breaker.admits(0));
        }
        assert!(breaker.failed(CopyId(2), false, 0));
    }

    #[test]
    fn a_pause_lasts_until_somebody_is_let_in() {
        let mut breaker = Breaker::default();
        assert!(breaker.pause(0) && breaker.is_paused());
        assert!(!breaker.admits(PAUSE_MS - 1) && breaker.admits(PAUSE_MS));
        assert!(!breaker.pause(PAUSE_MS) && !breaker.admits(PAUSE_MS + 1));
        breaker.hurry();
        assert!(breaker.admits(PAUSE_MS + 1));
        assert!(!breaker.failed(CopyId(1), true, 0) && breaker.is_paused());
        breaker.succeeded();
        assert!(!breaker.is_paused());
    }

    #[test]
    fn a_backlog_goes_at_its_pace() {
        let mut pace = Pace::new(500);
        let gone = (0..10_000).filter(|ms| pace.admits(1_000 + ms)).count();
        assert!((4_900..=5_100).contains(&gone), "{gone}");
        let mut slow = Pace::new(1);
        let gone = (0..10_000).filter(|ms| slow.admits(1_000 + ms)).count();
        assert!((10..=11).contains(&gone), "{gone}");
    }
}
