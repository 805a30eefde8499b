//! Owns one worker's connections to one address: idle ones, leased ones, how many are open.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, HyperConnection};
use crate::clock;
use crate::health::{EndpointHealth, UpstreamHealth};
use crate::observe::UpstreamMetrics;
use crate::upstream::Upstream;

/// One address of the upstream, as this worker sees it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) health: Arc<EndpointHealth>,
    /// What all endpoints of its upstream have in common.
    shared: Arc<UpstreamHealth>,
    metrics: Arc<UpstreamMetrics>,
    /// Connections whose last exchange is over; the freshest last.
    pub(super) idle: RefCell<VecDeque<Idle>>,
    /// Exchanges under way.
    pub(super) in_flight: Cell<u32>,
    /// Open connections, idle ones included; the connections' tasks count it down.
    pub(super) open: Rc<Cell<u32>>,
    /// Set when a generation no longer has it: connections are not kept any more.
    pub(super) retired: Cell<bool>,
}

#[derive(Debug)]
pub(super) struct Idle {
    pub(super) connection: HyperConnection,
    pub(super) since_ms: u64,
}

/// A connection that is at work; it goes back to its pool when the exchange ends well, and closes otherwise.
#[derive(Debug)]
pub struct Lease {
    endpoint: Rc<Endpoint>,
    pub(super) connection: Option<HyperConnection>,
    /// Whether the answer on it counts as a failure, though it may end well.
    failing: bool,
    /// How long connecting took; `None` when it came from the pool.
    pub connected_in: Option<Duration>,
}

impl Lease {
    /// The endpoint's address.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Gives the connection back after an exchange that ended well.
    pub fn give_back(mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.failing {
            self.endpoint.health.succeeded();
        }
        if connection.is_open() && !self.endpoint.retired.get() {
            self.endpoint.idle.borrow_mut().push_back(Idle { connection, since_ms: clock::now_ms() });
        }
    }

    /// Counts an answer as a failure though its connection may go on.
    pub fn answered_badly(&mut self, upstream: &Upstream) {
        self.failing = true;
        self.endpoint.failed(upstream);
    }

    /// Counts a failure of the upstream in the middle of its response.
    pub fn failed(self, upstream: &Upstream) {
        self.endpoint.failed(upstream);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.set(self.endpoint.in_flight.get() - 1);
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, shared: &Arc<UpstreamHealth>, metrics: &Arc<UpstreamMetrics>) -> Rc<Self> {
        Rc::new(Self {
            address,
            health: shared.endpoint(address),
            shared: Arc::clone(shared),
            metrics: Arc::clone(metrics),
            idle: RefCell::default(),
            in_flight: Cell::new(0),
            open: Rc::default(),
            retired: Cell::new(false),
        })
    }

    pub(super) fn failed(&self, upstream: &Upstream) {
        if let Some(for_ms) = self.shared.failed(&self.health, upstream) {
            self.metrics.ejections.increment();
            tracing::warn!(upstream = &*upstream.name, endpoint = %self.address, for_ms, "endpoint ejected");
        }
    }

    pub(super) fn lease(self: &Rc<Self>, connection: HyperConnection, connected_in: Option<Duration>) -> Lease {
        self.in_flight.set(self.in_flight.get() + 1);
        Lease { endpoint: Rc::clone(self), connection: Some(connection), failing: false, connected_in }
    }

    /// The freshest connection that is ready and young enough.
    pub(super) fn take_idle(&self, idle_ms_max: u32) -> Option<HyperConnection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since_ms }) = idle.pop_back() {
            if idle_ms_max != 0 && clock::now_ms() - since_ms > u64::from(idle_ms_max) {
                // The others have waited longer still.
                idle.clear();
                return None;
            }
            if connection.is_open() && connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }
}

/// Counts a connection as open for as long as it lives.
pub(super) struct OpenConnection(Rc<Cell<u32>>);

impl OpenConnection {
    pub(super) fn new(open: &Rc<Cell<u32>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
