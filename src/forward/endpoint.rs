//! Owns one worker's connections to one address: idle ones, leased ones, how many are open.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::connection::{Connection, Sending};
use super::http1::Http1;
use super::http2::Http2;
use super::request::UpstreamRequest;
use super::stream::Tunnel;
use crate::clock;
use crate::health::{EndpointHealth, Slot, UpstreamHealth};
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
    /// Connections that carry many exchanges at once.
    pub(super) multiplexed: RefCell<Vec<Http2>>,
    /// Whether somebody is opening one that others may share.
    pub(super) is_dialling: Cell<bool>,
    /// Tells that this is over.
    pub(super) dialled: Notify,
    /// Whether it was offered HTTP/2 and chose HTTP/1.1.
    pub(super) declined_http2: Cell<bool>,
    /// Exchanges under way.
    pub(super) in_flight: Cell<u32>,
    /// Open connections, idle ones included; the connections count it down.
    pub(super) open: Rc<Cell<u32>>,
    /// Set when a generation no longer has it: connections are not kept any more.
    pub(super) retired: Cell<bool>,
}

#[derive(Debug)]
pub(super) struct Idle {
    pub(super) connection: Http1,
    pub(super) since_ms: u64,
}

/// A connection that is at work; it goes back to its pool when the exchange ends well, and closes otherwise.
#[derive(Debug)]
pub struct Lease {
    endpoint: Rc<Endpoint>,
    pub(super) connection: Option<Connection>,
    /// Whether the answer on it counts as a failure, though it may end well.
    failing: bool,
    /// The request's place under the limit of its upstream, where the exchange does not keep it.
    slot: Option<Slot>,
    /// How long connecting took; `None` when it came from the pool.
    pub connected_in: Option<Duration>,
}

impl Lease {
    /// The endpoint's address.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Sends a request on the connection, at once where that is possible.
    pub(super) fn send(&self, request: Box<UpstreamRequest>) -> Sending {
        let Some(connection) = &self.connection else {
            unreachable!("a lease holds its connection until it is given back")
        };
        connection.send(request)
    }

    pub(super) fn endpoint(&self) -> Rc<Endpoint> {
        Rc::clone(&self.endpoint)
    }

    /// Gives the connection back after an exchange that ended well.
    pub fn give_back(mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.failing {
            self.endpoint.health.succeeded();
        }
        // A shared one has never left.
        if let Connection::Http1(connection) = connection
            && connection.is_ready()
            && !self.endpoint.retired.get()
        {
            self.endpoint.idle.borrow_mut().push_back(Idle { connection, since_ms: clock::now_ms() });
        }
    }

    /// Counts an answer as a failure though its connection may go on.
    pub fn answered_badly(&mut self, upstream: &Upstream) {
        self.failing = true;
        self.endpoint.failed(upstream);
    }

    /// Keeps the request's place under the limit of its upstream, for what outlives its exchange.
    pub fn hold(&mut self, slot: Option<Slot>) {
        self.slot = slot;
    }

    /// Turns the connection into a tunnel after a 101; the lease goes on counting as in flight.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.connection.take().and_then(Connection::into_tunnel)
    }

    /// Counts a failure of the upstream in the middle of its response.
    pub fn failed(self, upstream: &Upstream) {
        self.endpoint.failed(upstream);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.abandon();
        }
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
            multiplexed: RefCell::default(),
            is_dialling: Cell::new(false),
            dialled: Notify::new(),
            declined_http2: Cell::new(false),
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

    pub(super) fn lease(self: &Rc<Self>, connection: Connection, connected_in: Option<Duration>) -> Lease {
        self.in_flight.set(self.in_flight.get() + 1);
        Lease { endpoint: Rc::clone(self), connection: Some(connection), failing: false, slot: None, connected_in }
    }

    /// A connection that another exchange can begin on.
    pub(super) fn take(&self, idle_ms_max: u32) -> Option<Connection> {
        self.take_idle(idle_ms_max).map(Connection::Http1).or_else(|| self.share())
    }

    /// A place on a shared connection.
    pub(super) fn share(&self) -> Option<Connection> {
        let multiplexed = self.multiplexed.borrow();
        multiplexed.iter().find(|connection| connection.has_room()).map(|found| Connection::Http2(found.lease()))
    }

    /// Closes what has been idle for too long or has ended.
    pub(super) fn sweep(&self, idle_ms_max: u32) {
        let now = clock::now_ms();
        let is_young = |since_ms: u64| idle_ms_max == 0 || now - since_ms <= u64::from(idle_ms_max);
        self.idle.borrow_mut().retain(|idle| is_young(idle.since_ms) && idle.connection.is_still());
        self.multiplexed
            .borrow_mut()
            .retain(|connection| connection.is_open() && connection.idle_since_ms().is_none_or(is_young));
    }

    /// Keeps no connection any more; exchanges under way go on.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.multiplexed.borrow_mut().clear();
    }

    /// The freshest connection that is young enough and on which nothing has arrived.
    fn take_idle(&self, idle_ms_max: u32) -> Option<Http1> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since_ms }) = idle.pop_back() {
            if idle_ms_max != 0 && clock::now_ms() - since_ms > u64::from(idle_ms_max) {
                // The others have waited longer still.
                idle.clear();
                return None;
            }
            if connection.is_still() {
                return Some(connection);
            }
        }
        None
    }
}

/// Counts a connection as open for as long as it lives, and then as closed if it ever was established.
#[derive(Debug)]
pub(super) struct OpenConnection {
    open: Rc<Cell<u32>>,
    metrics: Arc<UpstreamMetrics>,
    is_established: bool,
}

impl OpenConnection {
    pub(super) fn new(open: &Rc<Cell<u32>>, metrics: &Arc<UpstreamMetrics>) -> Self {
        open.set(open.get() + 1);
        Self { open: Rc::clone(open), metrics: Arc::clone(metrics), is_established: false }
    }

    /// Counts it as opened.
    pub(super) fn establish(&mut self) {
        self.is_established = true;
        self.metrics.connections_opened.increment();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        if self.is_established {
            self.metrics.connections_closed.increment();
        }
    }
}
