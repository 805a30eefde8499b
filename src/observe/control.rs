//! Owns the control plane's own metrics: reloads, generations, name resolution, readiness.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Counter, Gauge, Tally};

/// How an attempt to reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// A new generation is in force.
    Published,
    /// The set was refused; the last good generation stays.
    Rejected,
    /// The content had not changed.
    Unchanged,
    /// The set is good and waits for the end of a restore.
    Held,
}

impl Reload {
    /// All results, by discriminant.
    pub const ALL: [Self; 4] = [Self::Published, Self::Rejected, Self::Unchanged, Self::Held];

    /// Names the result in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Rejected => "rejected",
            Self::Unchanged => "unchanged",
            Self::Held => "held",
        }
    }
}

/// The label of each kind of override, in the order of [`ControlMetrics::overrides`].
pub(super) const OVERRIDE_KINDS: [&str; 4] = ["kill_all", "kill", "pin", "split"];

/// Why a flag may be stale, in the order of [`ControlMetrics::stale_flags`].
pub const STALE_REASONS: [&str; 4] = ["expired", "at-rest", "not-evaluated", "no-owner"];

/// What the control plane counts; one thread writes at a time.
#[derive(Debug, Default)]
pub struct ControlMetrics {
    /// The generation in force.
    pub generation: Gauge,
    /// Replaced snapshots that a worker still holds.
    pub snapshots_held: Gauge,
    /// Flags in force.
    pub flags: Gauge,
    /// Routes in force.
    pub routes: Gauge,
    /// Flags that may be stale, by reason; a flag may count several times.
    pub stale_flags: [Gauge; STALE_REASONS.len()],
    /// Upstreams in force.
    pub upstreams: Gauge,
    /// Warnings about the files in force.
    pub warnings: Gauge,
    /// Generations published because addresses changed.
    pub address_updates: Counter,
    /// Names that could not be resolved, each attempt counted.
    pub dns_failures: Counter,
    /// Names that are resolved in the background.
    pub dns_names: Gauge,
    /// Overrides in force, by the order in which they are asked: kill-all, kill, pin, split.
    pub overrides: [Gauge; OVERRIDE_KINDS.len()],
    /// Overrides that do not apply to the files in force.
    pub overrides_misfit: Gauge,
    /// 1 while overrides are in force that are not on disk.
    pub overrides_undurable: Gauge,
    /// The generation whose rules a restore holds; 0 without one.
    pub restored: Gauge,
    /// Entries of the history that never came to disk.
    pub history_lost: Tally,
    /// 1 when `/readyz` says yes.
    pub ready: Gauge,
    reloads: [Counter; Reload::ALL.len()],
    last: Mutex<Last>,
}

/// What changes with a reload as a whole.
#[derive(Debug, Default, Clone)]
pub(super) struct Last {
    /// When a generation was last published from files, as the wall clock had it.
    pub(super) published: Option<SystemTime>,
    /// How long that took, from the first read to the swap.
    pub(super) took: Duration,
    /// Since when the files on disk have differed from what is in force.
    pub(super) stale: Option<Instant>,
    /// The hash generation of `fractional`.
    pub(super) hashing: &'static str,
    /// The upstreams' objectives for the 99th percentile.
    pub(super) objectives: Vec<(Box<str>, Duration)>,
}

impl ControlMetrics {
    /// Counts the end of an attempt to reload.
    pub fn reload(&self, result: Reload) {
        self.reloads[result as usize].increment();
    }

    /// Notes that what is on disk is in force, and when and how fast it came to be.
    pub fn published(&self, took: Duration) {
        self.reload(Reload::Published);
        let mut last = self.lock();
        last.published = Some(SystemTime::now());
        last.took = took;
        last.stale = None;
    }

    /// Notes whether what is on disk differs from what is in force; the clock starts at the first difference.
    pub fn stale(&self, differs: bool) {
        let mut last = self.lock();
        last.stale = if differs { last.stale.or_else(|| Some(Instant::now())) } else { None };
    }

    /// How long what is on disk has differed from what is in force; zero while it does not.
    pub fn stale_for(&self) -> Duration {
        self.lock().stale.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Replaces what is shown about the configuration in force.
    pub fn describe(&self, hashing: &'static str, objectives: Vec<(Box<str>, Duration)>) {
        let mut last = self.lock();
        last.hashing = hashing;
        last.objectives = objectives;
    }

    /// How often reloads ended so.
    pub fn reloads(&self, result: Reload) -> u64 {
        self.reloads[result as usize].value()
    }

    pub(super) fn last(&self) -> Last {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    pub(super) fn published_unix_s(&self) -> f64 {
        self.published.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |since| since.as_secs_f64())
    }
}
