//! Owns the form in which the health of endpoints is shown; what it is comes from elsewhere.

use std::net::SocketAddr;

/// Tells how upstreams stand when metrics are rendered.
pub trait HealthSource: std::fmt::Debug + Send + Sync {
    /// The upstreams, by name.
    fn upstreams(&self) -> Vec<UpstreamStatus>;
}

/// How an upstream stands, over all workers.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: Box<str>,
    /// The endpoints of the generation in force, by address.
    pub endpoints: Vec<EndpointStatus>,
    /// Endpoints of earlier generations that exchanges still use.
    pub draining: usize,
    /// Whether none of its endpoints is in service.
    pub all_out: bool,
    /// Endpoints that are out because requests to them failed.
    pub ejected: usize,
    /// Requests under way; `None` where they are not limited and so not counted.
    pub requests: Option<u32>,
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStatus {
    /// Its address.
    pub address: SocketAddr,
    /// The share of its usual picks that it gets: 0 out of service, 1 fully in it, in between during slow start.
    pub share: f64,
    /// Checks that passed.
    pub checks_passed: u64,
    /// Checks that failed.
    pub checks_failed: u64,
}
