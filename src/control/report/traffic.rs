//! Owns what the report says about traffic: routes and upstreams, with what was counted of each.

use std::collections::HashMap;
use std::time::Duration;

use super::shape::{EndpointReport, LegReport, RouteReport, UpstreamReport};
use crate::observe::{Counts, EndpointStatus, LegKey, LegReading, UpstreamStatus};
use crate::snapshot::{LegLabels, Snapshot};

/// What was counted, by leg.
pub(super) struct Traffic<'m>(HashMap<LegKey<'m>, &'m Counts>);

impl<'m> Traffic<'m> {
    pub(super) fn of(legs: &'m [LegReading]) -> Self {
        Self(legs.iter().map(|leg| (leg.key(), &leg.counts)).collect())
    }

    fn leg(&self, labels: &LegLabels) -> Counts {
        let key = LegKey {
            route: &labels.route,
            flag: labels.flag.as_deref(),
            variant: labels.variant.as_deref(),
            upstream: &labels.upstream,
        };
        self.0.get(&key).copied().cloned().unwrap_or_default()
    }

    /// The requests of each flag and variant.
    pub(super) fn variants(&self) -> HashMap<(&'m str, &'m str), u64> {
        let mut requests = HashMap::new();
        for (key, counts) in &self.0 {
            if let Some(of) = key.flag.zip(key.variant) {
                *requests.entry(of).or_default() += counts.requests;
            }
        }
        requests
    }

    fn upstreams(&self) -> HashMap<&'m str, Counts> {
        let mut sums: HashMap<&str, Counts> = HashMap::new();
        for (key, counts) in &self.0 {
            sums.entry(key.upstream).or_default().add(counts);
        }
        sums
    }
}

/// The routes in file order, each with its legs.
pub(super) fn routes(snapshot: &Snapshot, traffic: &Traffic<'_>) -> Vec<RouteReport> {
    let mut legs: HashMap<&str, Vec<LegReport>> = HashMap::new();
    for labels in &snapshot.rules.legs {
        legs.entry(&labels.route).or_default().push(leg(labels, &traffic.leg(labels)));
    }
    let flags: HashMap<&str, &str> =
        (snapshot.rules.legs.iter()).filter_map(|labels| Some((&*labels.route, labels.flag.as_deref()?))).collect();
    let described = snapshot.rules.routes.described();
    described
        .map(|(route, matches)| RouteReport {
            name: route.name.to_string(),
            matches: matches.to_owned(),
            flag: flags.get(&*route.name).map(|flag| (*flag).to_owned()),
            legs: legs.remove(&*route.name).unwrap_or_default(),
        })
        .collect()
}

fn leg(labels: &LegLabels, counts: &Counts) -> LegReport {
    LegReport {
        variant: labels.variant.as_deref().map(str::to_owned),
        upstream: labels.upstream.to_string(),
        requests: counts.requests,
        errors: counts.errors,
        p50_ms: milliseconds(counts.quantile(0.5)),
        p99_ms: milliseconds(counts.quantile(0.99)),
    }
}

/// The upstreams by name, with the health of their endpoints.
pub(super) fn upstreams(snapshot: &Snapshot, traffic: &Traffic<'_>, health: &[UpstreamStatus]) -> Vec<UpstreamReport> {
    let mut sums = traffic.upstreams();
    let report = |name: &str| {
        let status = health.iter().find(|status| *status.name == *name);
        let counts = sums.remove(name).unwrap_or_default();
        UpstreamReport {
            name: name.to_owned(),
            all_unhealthy: status.is_some_and(|status| status.all_out),
            endpoints: status.map(|status| status.endpoints.iter().map(endpoint).collect()).unwrap_or_default(),
            requests: counts.requests,
            errors: counts.errors,
            p50_ms: milliseconds(counts.quantile(0.5)),
            p99_ms: milliseconds(counts.quantile(0.99)),
        }
    };
    snapshot.upstreams.iter().map(|upstream| &*upstream.name).map(report).collect()
}

fn endpoint(status: &EndpointStatus) -> EndpointReport {
    EndpointReport {
        address: status.address,
        share: status.share,
        checks_passed: status.checks_passed,
        checks_failed: status.checks_failed,
    }
}

/// Three decimals are more than buckets know.
fn milliseconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_micros() as f64 / 1_000.0)
}
