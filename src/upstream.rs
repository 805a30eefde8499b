//! Owns the values that describe an upstream; it never opens a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

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
    /// Consecutive failures after which an endpoint is ejected; 0 turns ejection off.
    pub eject_after_failures: u32,
    /// How long an ejected endpoint stays out, in milliseconds.
    pub eject_ms: u32,
    /// Whether `Cloudflare-Workers-Version-Key` carries the targeting key.
    pub version_key: bool,
    /// Whether addresses that are not private are allowed.
    pub allow_public: bool,
    /// What changes on the way to it.
    pub rewrite: Rewrite,
    /// How its connections are encrypted; `None` leaves them in the clear.
    pub tls: Option<Arc<ClientTls>>,
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
