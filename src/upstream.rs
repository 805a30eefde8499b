//! Owns the values that describe an upstream; it never opens a connection.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use crate::proxy_protocol;
use crate::tls::client::ClientTls;

/// Indexes [`crate::snapshot::Snapshot::upstreams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u32);

/// Describes one deployable component behind the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The name in the route files.
    pub name: Box<str>,
    /// Where it listens, at least one.
    pub endpoints: Box<[Arc<Endpoint>]>,
    /// The limits in time.
    pub timeouts: Timeouts,
    /// The objective for the 99th percentile of latency in milliseconds; measured and shown, never enforced.
    pub slo_p99_ms: u32,
    /// The most connections one worker opens to it, idle ones included.
    pub connections_max: u32,
    /// The most requests at the same time, over all workers; 0 is no limit.
    pub requests_max: u32,
    /// How fast copies of writes are delivered to it.
    pub copies: CopyPace,
    /// How its endpoints are asked whether they are well; without it only requests tell.
    pub health: Option<HealthCheck>,
    /// When an endpoint that fails requests is left alone.
    pub ejection: Ejection,
    /// How long an endpoint takes to its full share of requests, in milliseconds; 0 is none.
    pub slow_start_ms: u32,
    /// What happens to requests when no endpoint is in service.
    pub all_unhealthy: AllUnhealthy,
    /// Whether `Cloudflare-Workers-Version-Key` carries the targeting key.
    pub version_key: bool,
    /// Whether addresses that are not private are allowed.
    pub allow_public: bool,
    /// What changes on the way to it.
    pub rewrite: Rewrite,
    /// How its connections are encrypted; `None` leaves them in the clear.
    pub tls: Option<Arc<ClientTls>>,
    /// What it speaks.
    pub protocol: Protocol,
    /// The PROXY header that begins each connection; such a connection carries one exchange.
    pub proxy_protocol: Option<proxy_protocol::Version>,
}

impl Upstream {
    /// The addresses of all endpoints; one that two names share comes twice.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoints.iter().flat_map(|endpoint| endpoint.addresses.iter().copied())
    }

    /// Whether connections to both are opened in the same way, so that one's may serve the other.
    pub fn is_dialled_like(&self, other: &Self) -> bool {
        self.tls == other.tls && self.protocol == other.protocol && self.proxy_protocol == other.proxy_protocol
    }
}

/// Names what an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; in the clear by prior knowledge.
    Http2,
    /// HTTP/2 or HTTP/1.1, as the upstream chooses in the TLS handshake.
    Either,
}

/// Describes one address of an upstream as written, with what it resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port as written, such as `orders.internal:9002`.
    pub authority: Box<str>,
    /// The host without port or brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The addresses now known; empty while a name has not resolved.
    pub addresses: Box<[SocketAddr]>,
}

/// Says how endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for, path and query.
    pub target: PathAndQuery,
    /// The `Host` of the question; else that of the rewrite, else the endpoint's.
    pub host: Option<HeaderValue>,
    /// From one question to the next in milliseconds, give or take the jitter.
    pub interval_ms: u32,
    /// From connecting to the response head, in milliseconds.
    pub timeout_ms: u32,
    /// Passed checks in a row after which an unhealthy endpoint is healthy.
    pub healthy_after: u32,
    /// Failed checks in a row after which a healthy endpoint is unhealthy.
    pub unhealthy_after: u32,
    /// The statuses that pass.
    pub expect_status: RangeInclusive<u16>,
}

/// Says how fast copies of writes are delivered to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyPace {
    /// Copies a second while a backlog is worked off.
    pub per_s_max: u32,
    /// Attempts under way at the same time.
    pub in_flight_max: u32,
}

impl Default for CopyPace {
    fn default() -> Self {
        Self { per_s_max: 500, in_flight_max: 32 }
    }
}

/// Says when an endpoint is left alone because requests to it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row after which it is ejected; 0 turns ejection off.
    pub after_failures: u32,
    /// How long it stays out the first time, in milliseconds; the n-th time in a row n times as long.
    pub ms: u32,
    /// The longest that it stays out, in milliseconds.
    pub ms_max: u32,
    /// How many of the upstream's endpoints may be ejected at a time, in percent.
    pub share_max_percent: u32,
    /// Whether an answer with a 5xx status counts as a failure.
    pub on_5xx: bool,
}

impl Ejection {
    /// How many of `total` endpoints may be ejected at a time: one of two at least, and never all.
    pub fn endpoints_max(&self, total: usize) -> usize {
        let share = total.saturating_mul(self.share_max_percent as usize) / 100;
        share.max(1).min(total.saturating_sub(1))
    }

    /// How long an endpoint stays out that is ejected for the `times`-th time in a row, in milliseconds.
    pub fn out_ms(&self, times: u32) -> u32 {
        self.ms.saturating_mul(times).min(self.ms_max)
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self { after_failures: 5, ms: 10_000, ms_max: 300_000, share_max_percent: 50, on_5xx: false }
    }
}

/// Says what happens to requests when no endpoint is in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AllUnhealthy {
    /// All endpoints serve: the checks may be wrong, and nobody is worse off.
    #[default]
    Serve,
    /// Requests are answered with 503 at once.
    Refuse,
}

/// Limits how long the parts of an exchange may take, in milliseconds; 0 turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect; default 1000.
    pub connect_ms: u32,
    /// From the last request byte to the response head; default 15000.
    pub response_ms: u32,
    /// Between two parts of a response body; default 30000.
    pub body_idle_ms: u32,
    /// How long an idle pooled connection is kept; default 4000, below Node's 5000.
    pub pool_idle_ms: u32,
    /// How long an upgraded connection may be silent; default 600000.
    pub tunnel_idle_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_ms: 1_000,
            response_ms: 15_000,
            body_idle_ms: 30_000,
            pool_idle_ms: 4_000,
            tunnel_idle_ms: 600_000,
        }
    }
}

/// Says what changes in a request on its way to an upstream; the default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The `Host` to send instead of the client's.
    pub host: Option<HeaderValue>,
    /// A prefix of the raw path to cut off, and what to put in its place.
    pub path_prefix: Option<(Box<str>, Box<str>)>,
    /// Headers to set.
    pub set_headers: Box<[(HeaderName, HeaderValue)]>,
    /// Headers to remove.
    pub remove_headers: Box<[HeaderName]>,
}
