//! Owns one worker's shard of the metrics: plain numbers that only this worker writes.

use std::sync::Arc;

use super::leg::{LegKey, LegMetrics, LegName};
use super::series::Registry;
use super::{Counter, Gauge, HandshakeMetrics};
use crate::fault::Fault;
use crate::limits::Limit;

/// One worker's counts; only that worker may write them.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// Client connections accepted.
    pub connections_accepted: Counter,
    /// Client connections now open.
    pub connections_open: Gauge,
    /// Client connections that turned out to speak HTTP/2.
    pub http2_connections: Counter,
    /// Streams of HTTP/2 that clients opened.
    pub http2_streams: Counter,
    /// Streams of HTTP/2 that clients took back, or made the router reset, before they were answered.
    pub http2_resets: Counter,
    /// Requests now between their head and the end of their answer.
    pub requests_in_flight: Gauge,
    /// Bytes read from clients.
    pub received_bytes: Counter,
    /// Bytes written to clients.
    pub sent_bytes: Counter,
    /// Decisions made by a flag.
    pub decisions: Counter,
    /// Decisions that ended in the fallback because the flag failed (reason `ERROR`).
    pub decision_errors: Counter,
    /// Panics caught; each cost one request.
    pub panics: Counter,
    /// TLS handshakes with clients.
    pub handshakes: HandshakeMetrics,
    /// Connections closed because their PROXY protocol header was missing or bad.
    pub proxy_headers_refused: Counter,
    number: usize,
    faults: [Counter; Fault::ALL.len()],
    limits: [Counter; Limit::ALL.len()],
    legs: Arc<Registry<LegName, LegMetrics>>,
    upstreams: Arc<Registry<Box<str>, UpstreamMetrics>>,
}

/// One worker's counts of an upstream's connections and endpoints.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    /// Connections opened.
    pub connections_opened: Counter,
    /// Connections closed, by either side.
    pub connections_closed: Counter,
    /// Requests that went over a pooled connection.
    pub connections_reused: Counter,
    /// Connections now idle in the pool.
    pub pool_idle: Gauge,
    /// Requests sent again after a stale pooled connection took nothing of them.
    pub stale_retries: Counter,
    /// Endpoints ejected after consecutive failures.
    pub ejections: Counter,
    /// Requests that the fallback served because the upstream took no more.
    pub overflows: Counter,
}

impl WorkerMetrics {
    pub(super) fn new(
        number: usize,
        legs: Arc<Registry<LegName, LegMetrics>>,
        upstreams: Arc<Registry<Box<str>, UpstreamMetrics>>,
    ) -> Self {
        Self {
            connections_accepted: Counter::default(),
            connections_open: Gauge::default(),
            http2_connections: Counter::default(),
            http2_streams: Counter::default(),
            http2_resets: Counter::default(),
            requests_in_flight: Gauge::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            decisions: Counter::default(),
            decision_errors: Counter::default(),
            panics: Counter::default(),
            handshakes: HandshakeMetrics::default(),
            proxy_headers_refused: Counter::default(),
            number,
            faults: Default::default(),
            limits: Default::default(),
            legs,
            upstreams,
        }
    }

    /// Counts a fault of this worker, whether or not a leg had been chosen.
    ///
    /// It is apart from [`LegMetrics::record`], which counts the same fault in its leg's series.
    pub fn fault(&self, fault: Fault) {
        self.faults[fault as usize].increment();
    }

    /// Counts a hit of a limit.
    pub fn limit(&self, limit: Limit) {
        self.limits[limit as usize].increment();
    }

    /// Finds or makes this worker's counts of a leg; takes a lock, so call it once a leg and generation.
    ///
    /// The same labels give the same counts across reloads. Beyond 20,000 series a leg counts under `_other`.
    pub fn leg(&self, route: &str, flag: Option<&str>, variant: Option<&str>, upstream: &str) -> Arc<LegMetrics> {
        self.legs.shard(self.number, LegKey { route, flag, variant, upstream }.into())
    }

    /// Finds or makes this worker's counts of an upstream; takes a lock, as [`Self::leg`] does.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.shard(self.number, name.into())
    }

    pub(super) fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].value()
    }

    pub(super) fn limits(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].value()
    }
}
