//! Owns reading what was counted per leg, merged over the workers, for those who show it otherwise than Prometheus does.

use std::sync::Arc;
use std::time::Duration;

use super::Metrics;
use super::leg::{BOUNDS, CLASSES, LegKey, LegMetrics, LegName};

/// The class of status that says that the exchange failed on this side of the client.
const FAILED: usize = CLASSES.len() - 1;

/// What was counted of a leg since the process began.
#[derive(Debug, Clone, PartialEq)]
pub struct LegReading {
    /// The route.
    pub route: Box<str>,
    /// The flag, if the route has one.
    pub flag: Option<Box<str>>,
    /// The variant, or `fallback`.
    pub variant: Option<Box<str>>,
    /// The upstream.
    pub upstream: Box<str>,
    /// The counts.
    pub counts: Counts,
}

impl LegReading {
    /// Its labels.
    pub fn key(&self) -> LegKey<'_> {
        LegKey {
            route: &self.route,
            flag: self.flag.as_deref(),
            variant: self.variant.as_deref(),
            upstream: &self.upstream,
        }
    }
}

/// Exchanges, those that failed, and how long they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exchanges finished.
    pub requests: u64,
    /// Those that the client got a status of 500 or more for.
    pub errors: u64,
    buckets: [u64; BOUNDS.len() + 1],
}

impl Counts {
    fn of(shards: &[Arc<LegMetrics>]) -> Self {
        let mut counts = Self::default();
        for (class, histogram) in (0..CLASSES.len())
            .flat_map(|class| shards.iter().filter_map(move |shard| Some((class, shard.histogram(class)?))))
        {
            for (sum, bucket) in counts.buckets.iter_mut().zip(&histogram.buckets) {
                let count = bucket.value();
                *sum += count;
                counts.requests += count;
                counts.errors += if class == FAILED { count } else { 0 };
            }
        }
        counts
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (sum, bucket) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += bucket;
        }
    }

    /// The time within which a share of the exchanges ended, such as 0.99; `None` without exchanges.
    ///
    /// Between the bounds of a bucket it is a straight line, as Prometheus has it; above the last bound, that bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if self.requests == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * self.requests as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, (bound, _)) in self.buckets.iter().zip(BOUNDS) {
            let (count, upper) = (*count as f64, bound as f64);
            if count > 0.0 && below + count >= wanted {
                let nanoseconds = lower + (upper - lower) * (wanted - below) / count;
                return Some(Duration::from_nanos(nanoseconds as u64));
            }
            (below, lower) = (below + count, upper);
        }
        Some(Duration::from_nanos(BOUNDS[BOUNDS.len() - 1].0))
    }
}

impl Metrics {
    /// Reads the counts of all legs, in no order; what has never been used has none or zeros.
    ///
    /// It takes milliseconds with thousands of series: for the control plane's threads only.
    pub fn legs(&self) -> Vec<LegReading> {
        let read = |(name, shards): (Arc<LegName>, Vec<Arc<LegMetrics>>)| {
            let key = name.key();
            LegReading {
                route: key.route.into(),
                flag: key.flag.map(Into::into),
                variant: key.variant.map(Into::into),
                upstream: key.upstream.into(),
                counts: Counts::of(&shards),
            }
        };
        self.all_legs().into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_merged_over_workers_and_classes() {
        let metrics = Metrics::new();
        for worker in [metrics.worker(), metrics.worker()] {
            let leg = worker.leg("r", Some("f"), Some("on"), "u");
            leg.record(200, Duration::from_micros(100), None);
            leg.record(502, Duration::from_millis(7), None);
        }
        let legs = metrics.legs();
        let [leg] = legs.as_slice() else { panic!("{legs:?}") };
        assert_eq!((&*leg.route, leg.flag.as_deref(), &*leg.upstream), ("r", Some("f"), "u"));
        assert_eq!((leg.counts.requests, leg.counts.errors), (4, 2));
    }

    #[test]
    fn quantiles_lie_in_their_buckets() {
        let metrics = Metrics::new();
        let leg = metrics.worker().leg("r", None, None, "u");
        assert_eq!(Counts::of(&[]).quantile(0.5), None);
        for _ in 0..98 {
            leg.record(200, Duration::from_millis(2), None);
        }
        leg.record(200, Duration::from_secs(60), None);
        leg.record(200, Duration::from_secs(60), None);
        let counts = Counts::of(&[leg]);
        let half = counts.quantile(0.5).unwrap();
        assert!(half > Duration::from_millis(1) && half < Duration::from_micros(2_500), "{half:?}");
        assert_eq!(counts.quantile(0.99), Some(Duration::from_secs(30)));
        assert!(counts.quantile(0.98) <= Some(Duration::from_micros(2_500)));
    }
}
