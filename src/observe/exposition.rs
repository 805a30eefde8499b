//! Owns Prometheus' text format: which families there are, and how their samples are written.

use std::fmt::{Display, Write};
use std::sync::Arc;

use super::control::{OVERRIDE_KINDS, STALE_REASONS};
use super::leg::{BOUNDS, CLASSES, LegKey, LegMetrics, LegName};
use super::names::{self, Family, Kind};
use super::{
    CertificateMetrics, ControlMetrics, EndpointStatus, Reload, UpstreamMetrics, UpstreamStatus, WorkerMetrics,
};
use crate::fault::Fault;
use crate::limits::Limit;
use crate::tls::HandshakeFault;

/// Labels of a sample.
type Labels<'a> = &'a [(&'a str, &'a str)];
/// The series of legs, with the workers' shards of each.
type Legs = [(Arc<LegName>, Vec<Arc<LegMetrics>>)];
/// The series of upstreams, likewise.
type Upstreams = [(Arc<Box<str>>, Vec<Arc<UpstreamMetrics>>)];

/// The page as it is written. Families without a sample are left out, head and all.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    head: Option<Family>,
}

impl Page {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn family(&mut self, family: Family) -> &mut Self {
        self.head = Some(family);
        self
    }

    pub(super) fn sample(&mut self, family: Family, suffix: &str, labels: Labels<'_>, value: impl Display) {
        if let Some(head) = self.head.take() {
            self.head(head);
        }
        self.text.push_str(family.name);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_label(&mut self.text, value);
            self.text.push('"');
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        put(&mut self.text, value);
        self.text.push('\n');
    }

    fn head(&mut self, Family { name, kind, help }: Family) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        put(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a family that has one sample.
    pub(super) fn single(&mut self, family: Family, labels: Labels<'_>, value: impl Display) {
        self.family(family).sample(family, "", labels, value);
    }
}

fn put(text: &mut String, value: impl Display) {
    write!(text, "{value}").expect("writing to a string does not fail");
}

/// Escapes a label's value as the format wants: backslash, quote and line feed.
fn push_label(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

pub(super) fn control(page: &mut Page, control: &ControlMetrics) {
    let last = control.last();
    page.single(names::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.single(names::GENERATION, &[], control.generation.value());
    page.family(names::RELOADS);
    for result in Reload::ALL {
        page.sample(names::RELOADS, "", &[("result", result.as_str())], control.reloads(result));
    }
    page.single(names::LAST_RELOAD, &[], last.published_unix_s());
    page.single(names::RELOAD_DURATION, &[], last.took.as_secs_f64());
    page.single(names::STALE, &[], last.stale.map_or(0.0, |since| since.elapsed().as_secs_f64()));
    page.single(names::WARNINGS, &[], control.warnings.value());
    page.single(names::SNAPSHOTS_HELD, &[], control.snapshots_held.value());
    page.single(names::FLAGS, &[], control.flags.value());
    page.family(names::STALE_FLAGS);
    for (reason, gauge) in STALE_REASONS.iter().zip(&control.stale_flags) {
        page.sample(names::STALE_FLAGS, "", &[("reason", reason)], gauge.value());
    }
    page.single(names::ROUTES, &[], control.routes.value());
    page.single(names::UPSTREAMS, &[], control.upstreams.value());
    page.single(names::HASHING, &[("generation", last.hashing)], 1);
    page.family(names::OVERRIDES);
    for (kind, gauge) in OVERRIDE_KINDS.iter().zip(&control.overrides) {
        page.sample(names::OVERRIDES, "", &[("kind", kind)], gauge.value());
    }
    page.single(names::OVERRIDES_MISFIT, &[], control.overrides_misfit.value());
    page.single(names::OVERRIDES_UNDURABLE, &[], control.overrides_undurable.value());
    page.single(names::RESTORED, &[], control.restored.value());
    page.single(names::HISTORY_LOST, &[], control.history_lost.value());
    page.single(names::READY, &[], control.ready.value());
    page.single(names::ADDRESS_UPDATES, &[], control.address_updates.value());
    page.single(names::DNS_FAILURES, &[], control.dns_failures.value());
    page.single(names::DNS_NAMES, &[], control.dns_names.value());
    page.family(names::UPSTREAM_SLO);
    for (upstream, objective) in &last.objectives {
        page.sample(names::UPSTREAM_SLO, "", &[("upstream", upstream)], objective.as_secs_f64());
    }
}

pub(super) fn workers(page: &mut Page, workers: &[Arc<WorkerMetrics>]) {
    let counted = |of: fn(&WorkerMetrics) -> u64| workers.iter().map(|worker| of(worker)).sum::<u64>();
    let gauged = |of: fn(&WorkerMetrics) -> i64| workers.iter().map(|worker| of(worker)).sum::<i64>();
    page.single(names::WORKERS, &[], workers.len());
    page.single(names::CONNECTIONS_ACCEPTED, &[], counted(|worker| worker.connections_accepted.value()));
    page.single(names::CONNECTIONS_OPEN, &[], gauged(|worker| worker.connections_open.value()));
    page.single(names::HTTP2_CONNECTIONS, &[], counted(|worker| worker.http2_connections.value()));
    page.single(names::HTTP2_STREAMS, &[], counted(|worker| worker.http2_streams.value()));
    page.single(names::HTTP2_RESETS, &[], counted(|worker| worker.http2_resets.value()));
    page.single(names::IN_FLIGHT, &[], gauged(|worker| worker.requests_in_flight.value()));
    page.single(names::RECEIVED, &[], counted(|worker| worker.received_bytes.value()));
    page.single(names::SENT, &[], counted(|worker| worker.sent_bytes.value()));
    page.single(names::DECISIONS, &[], counted(|worker| worker.decisions.value()));
    page.single(names::DECISION_ERRORS, &[], counted(|worker| worker.decision_errors.value()));
    page.single(names::PANICS, &[], counted(|worker| worker.panics.value()));
    page.family(names::FAULTS);
    for fault in Fault::ALL {
        let count: u64 = workers.iter().map(|worker| worker.faults(fault)).sum();
        page.sample(names::FAULTS, "", &[("fault", fault.as_str()), ("side", fault.side().as_str())], count);
    }
    page.family(names::LIMIT_HITS);
    for limit in Limit::ALL {
        let count: u64 = workers.iter().map(|worker| worker.limits(limit)).sum();
        page.sample(names::LIMIT_HITS, "", &[("limit", limit.as_str())], count);
    }
}

pub(super) fn tls(page: &mut Page, certificates: &CertificateMetrics, workers: &[Arc<WorkerMetrics>]) {
    page.family(names::TLS_EXPIRY);
    for (file, not_after_unix_s) in certificates.in_force() {
        page.sample(names::TLS_EXPIRY, "", &[("certificate", &file)], not_after_unix_s);
    }
    page.single(names::TLS_RELOADS, &[], certificates.reloads.value());
    page.single(names::TLS_REFUSED, &[], certificates.refused.value());
    let counted = |of: &dyn Fn(&WorkerMetrics) -> u64| workers.iter().map(|worker| of(worker)).sum::<u64>();
    page.family(names::TLS_HANDSHAKES);
    page.sample(names::TLS_HANDSHAKES, "", &[("kind", "full")], counted(&|worker| worker.handshakes.full.value()));
    page.sample(
        names::TLS_HANDSHAKES,
        "",
        &[("kind", "resumed")],
        counted(&|worker| worker.handshakes.resumed.value()),
    );
    page.family(names::TLS_FAULTS);
    for fault in HandshakeFault::ALL {
        let count = counted(&|worker| worker.handshakes.faults(fault));
        page.sample(names::TLS_FAULTS, "", &[("fault", fault.as_str())], count);
    }
    page.single(names::PROXY_REFUSED, &[], counted(&|worker| worker.proxy_headers_refused.value()));
}

pub(super) fn upstreams(page: &mut Page, upstreams: &Upstreams) {
    let mut write = |family: Family, of: fn(&UpstreamMetrics) -> i128| {
        page.family(family);
        for (name, shards) in upstreams {
            let sum: i128 = shards.iter().map(|shard| of(shard)).sum();
            page.sample(family, "", &[("upstream", name)], sum);
        }
    };
    write(names::UPSTREAM_OPENED, |shard| shard.connections_opened.value().into());
    write(names::UPSTREAM_CLOSED, |shard| shard.connections_closed.value().into());
    write(names::UPSTREAM_REUSED, |shard| shard.connections_reused.value().into());
    write(names::UPSTREAM_IDLE, |shard| shard.pool_idle.value().into());
    write(names::UPSTREAM_RETRIES, |shard| shard.stale_retries.value().into());
    write(names::UPSTREAM_EJECTIONS, |shard| shard.ejections.value().into());
    write(names::UPSTREAM_OVERFLOWS, |shard| shard.overflows.value().into());
}

/// The most endpoints that have series of their own; those beyond are left out.
const ENDPOINTS_MAX: usize = 5_000;

pub(super) fn health(page: &mut Page, upstreams: &[UpstreamStatus]) {
    let mut write = |family: Family, of: fn(&UpstreamStatus) -> Option<usize>| {
        page.family(family);
        for upstream in upstreams {
            if let Some(value) = of(upstream) {
                page.sample(family, "", &[("upstream", &upstream.name)], value);
            }
        }
    };
    write(names::UPSTREAM_EJECTED, |upstream| Some(upstream.ejected));
    write(names::UPSTREAM_ALL_OUT, |upstream| Some(upstream.all_out.into()));
    write(names::UPSTREAM_DRAINING, |upstream| Some(upstream.draining));
    write(names::UPSTREAM_REQUESTS, |upstream| upstream.requests.map(|requests| requests as usize));
    let endpoints: Vec<(&str, String, &EndpointStatus)> = upstreams
        .iter()
        .flat_map(|upstream| upstream.endpoints.iter().map(|endpoint| (&*upstream.name, endpoint)))
        .map(|(upstream, endpoint)| (upstream, endpoint.address.to_string(), endpoint))
        .take(ENDPOINTS_MAX)
        .collect();
    page.family(names::ENDPOINT_SHARE);
    for (upstream, address, endpoint) in &endpoints {
        page.sample(names::ENDPOINT_SHARE, "", &[("upstream", upstream), ("endpoint", address)], endpoint.share);
    }
    page.family(names::ENDPOINT_CHECKS);
    for (upstream, address, endpoint) in &endpoints {
        for (result, count) in [("passed", endpoint.checks_passed), ("failed", endpoint.checks_failed)] {
            let labels = [("upstream", *upstream), ("endpoint", address), ("result", result)];
            page.sample(names::ENDPOINT_CHECKS, "", &labels, count);
        }
    }
}

/// A histogram merged over the workers.
struct Merged {
    buckets: [u64; BOUNDS.len() + 1],
    sum_ns: u64,
}

impl Merged {
    /// Adds up one class of a leg; `None` when no worker has seen it.
    fn of(shards: &[Arc<LegMetrics>], class: usize) -> Option<Self> {
        let mut merged = Self { buckets: [0; BOUNDS.len() + 1], sum_ns: 0 };
        for histogram in shards.iter().filter_map(|shard| shard.histogram(class)) {
            for (sum, bucket) in merged.buckets.iter_mut().zip(&histogram.buckets) {
                *sum += bucket.value();
            }
            merged.sum_ns += histogram.sum_ns.value();
        }
        (merged.count() > 0).then_some(merged)
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn leg_labels<'a>(key: LegKey<'a>, more: (&'a str, &'a str)) -> [(&'a str, &'a str); 5] {
    [
        ("route", key.route),
        ("flag", key.flag.unwrap_or_default()),
        ("variant", key.variant.unwrap_or_default()),
        ("upstream", key.upstream),
        more,
    ]
}

pub(super) fn legs(page: &mut Page, legs: &Legs) {
    let classes: Vec<(LegKey<'_>, &str, Merged)> = legs
        .iter()
        .flat_map(|(name, shards)| CLASSES.iter().enumerate().map(move |(class, label)| (name, shards, class, *label)))
        .filter_map(|(name, shards, class, label)| Some((name.key(), label, Merged::of(shards, class)?)))
        .collect();
    page.family(names::REQUESTS);
    for (key, class, merged) in &classes {
        page.sample(names::REQUESTS, "", &leg_labels(*key, ("class", class)), merged.count());
    }
    page.family(names::DURATION);
    for (key, class, merged) in &classes {
        duration(page, &leg_labels(*key, ("class", class)), merged);
    }
    page.family(names::LEG_FAULTS);
    for (name, shards) in legs {
        for fault in Fault::ALL {
            let count: u64 = shards.iter().map(|shard| shard.faults(fault)).sum();
            if count > 0 {
                let [route, flag, variant, upstream, fault_label] = leg_labels(name.key(), ("fault", fault.as_str()));
                let labels = [route, flag, variant, upstream, fault_label, ("side", fault.side().as_str())];
                page.sample(names::LEG_FAULTS, "", &labels, count);
            }
        }
    }
}

fn duration(page: &mut Page, labels: &[(&str, &str); 5], merged: &Merged) {
    let [route, flag, variant, upstream, class] = *labels;
    let mut below = 0;
    let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
    for (bound, count) in bounds.zip(merged.buckets) {
        below += count;
        let labels = [route, flag, variant, upstream, class, ("le", bound)];
        page.sample(names::DURATION, "_bucket", &labels, below);
    }
    // The sum wraps after 584 years of waiting; a float holds it well enough.
    page.sample(names::DURATION, "_sum", labels, std::time::Duration::from_nanos(merged.sum_ns).as_secs_f64());
    page.sample(names::DURATION, "_count", labels, below);
}

pub(super) fn losses(page: &mut Page, access_lines: u64, log_lines: u64) {
    page.single(names::ACCESS_DROPPED, &[], access_lines);
    page.single(names::LOG_DROPPED, &[], log_lines);
}
