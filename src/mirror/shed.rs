//! Owns writes that are not copied while they are under way: since when, so that nobody takes their gaps for mended too early, and
//! a line in the log now and then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::record::Gap;
use super::shared::Mirror;

/// They are logged so often at most: the metric says how many, the list of gaps which.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Writes that are not copied.
#[derive(Debug, Default)]
pub(super) struct Shed {
    /// When those that are under way left their gaps, in milliseconds since the epoch, and how many did at that time.
    under_way: Mutex<BTreeMap<u64, u32>>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Gaps since then.
    untold: u64,
}

/// A write under way that has left a gap; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    mirror: Arc<Mirror>,
    /// The time of the gap, in milliseconds since the epoch.
    pub(super) since_unix_ms: u64,
}

impl Shed {
    /// Logs a gap, unless others were logged a moment ago.
    pub(super) fn tell(&self, gap: &Gap) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.untold += 1;
        if told.at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        let Gap { destination, route, reason, .. } = gap;
        let writes = std::mem::take(&mut told.untold);
        told.at = Some(Instant::now());
        drop(told);
        tracing::warn!(
            destination = &**destination,
            route = &**route,
            reason = &**reason,
            writes,
            "writes are not copied: `banyan journal gaps` lists them, `banyan reconcile` mends them"
        );
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    /// Begins a gap of a write that is under way at its primary.
    pub(super) fn begin_gap(self: &Arc<Self>) -> UnderWay {
        let mut under_way = self.shed().under_way();
        let since_unix_ms = self.unix_ms();
        *under_way.entry(since_unix_ms).or_default() += 1;
        drop(under_way);
        UnderWay { mirror: Arc::clone(self), since_unix_ms }
    }

    /// Writes that left their gaps before this time, in milliseconds since the epoch, are over: what is read of their primaries from
    /// now on holds what they did.
    pub fn gaps_over_before(&self) -> u64 {
        let under_way = self.shed().under_way();
        let now = self.unix_ms();
        under_way.first_key_value().map_or(now, |(since, _)| now.min(*since))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut under_way = self.mirror.shed().under_way();
        if let Some(count) = under_way.get_mut(&self.since_unix_ms) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.since_unix_ms);
            }
        }
    }
}
