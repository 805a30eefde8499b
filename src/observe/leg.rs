//! Owns what is counted per route, flag, variant and upstream: answers, latencies, faults.

use std::sync::OnceLock;
use std::time::Duration;

use super::Counter;
use crate::fault::Fault;

/// The classes of status, by their first digit less one.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the latency buckets in nanoseconds, with the same in seconds as metrics show them.
///
/// From half a millisecond, what a local upstream takes, to 30 s, twice the default response deadline; 0.5 s is the
/// default objective.
pub(super) const BOUNDS: [(u64, &str); 15] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
];

/// The labels of a leg's series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey<'a> {
    /// The route.
    pub route: &'a str,
    /// The flag, if the route has one.
    pub flag: Option<&'a str>,
    /// The variant, or `fallback`.
    pub variant: Option<&'a str>,
    /// The upstream.
    pub upstream: &'a str,
}

/// The same, owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LegName {
    route: Box<str>,
    flag: Option<Box<str>>,
    variant: Option<Box<str>>,
    upstream: Box<str>,
}

impl From<LegKey<'_>> for LegName {
    fn from(key: LegKey<'_>) -> Self {
        Self {
            route: key.route.into(),
            flag: key.flag.map(Into::into),
            variant: key.variant.map(Into::into),
            upstream: key.upstream.into(),
        }
    }
}

impl LegName {
    pub(super) fn key(&self) -> LegKey<'_> {
        LegKey {
            route: &self.route,
            flag: self.flag.as_deref(),
            variant: self.variant.as_deref(),
            upstream: &self.upstream,
        }
    }
}

/// One worker's counts of a leg.
///
/// Its parts are made when first needed: of 10,000 routes most see one class of status and no fault.
#[derive(Debug, Default)]
pub struct LegMetrics {
    classes: [OnceLock<Box<Histogram>>; CLASSES.len()],
    faults: OnceLock<Box<[Counter; Fault::ALL.len()]>>,
}

impl LegMetrics {
    /// Counts a finished exchange: the status the client got, how long it took, and what broke it.
    ///
    /// A status outside 100 to 599 counts as `5xx`. It allocates only at a leg's first status of a class and at its
    /// first fault.
    pub fn record(&self, status: u16, duration: Duration, fault: Option<Fault>) {
        let class = match status {
            100..600 => usize::from(status / 100 - 1),
            _ => CLASSES.len() - 1,
        };
        self.classes[class].get_or_init(Box::default).record(duration);
        if let Some(fault) = fault {
            self.faults.get_or_init(Box::default)[fault as usize].increment();
        }
    }

    pub(super) fn histogram(&self, class: usize) -> Option<&Histogram> {
        self.classes[class].get().map(AsRef::as_ref)
    }

    pub(super) fn faults(&self, fault: Fault) -> u64 {
        self.faults.get().map_or(0, |faults| faults[fault as usize].value())
    }
}

/// Counts durations by bucket; the last bucket has no bound.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) buckets: [Counter; BOUNDS.len() + 1],
    pub(super) sum_ns: Counter,
}

impl Histogram {
    fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| nanoseconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].increment();
        self.sum_ns.add(nanoseconds);
    }
}
