//! Owns one worker's connections to one upstream: which endpoint, which connection, how long, what went wrong.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use http::uri::Scheme;

use super::attempt::{Attempt, AttemptError, within};
use super::choice::{draw, two_choices};
use super::connection::{Connection, ResponseBody};
use super::dial::{Dial, Dialled};
use super::endpoint::{Endpoint, Lease, OpenConnection};
use super::http1::Http1;
use super::http2::Http2;
use super::request::UpstreamRequest;
use crate::clock::{self, Wait, Watch};
use crate::fault::Fault;
use crate::health::{FULL_SHARE, HealthRegistry, Slot, UpstreamHealth};
use crate::limits::Limit;
use crate::observe::{UpstreamMetrics, WorkerMetrics};
use crate::upstream::{AllUnhealthy, Protocol, Upstream};

/// Idle connections that may turn out stale before a fresh one is opened; each proved that nothing was sent on it.
const STALE_MAX: u32 = 8;

/// One worker's connections to one upstream.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    endpoints: Vec<Rc<Endpoint>>,
    health: Arc<UpstreamHealth>,
    metrics: Arc<UpstreamMetrics>,
    worker: Arc<WorkerMetrics>,
}

/// An upstream's answer.
#[derive(Debug)]
pub struct Exchanged {
    /// The response; its body is still on its way.
    pub response: Response<ResponseBody>,
    /// The connection that it comes on.
    pub lease: Lease,
}

/// An exchange that failed before a response head came.
#[derive(Debug)]
pub struct ForwardError {
    /// What happened.
    pub fault: Fault,
    /// The endpoint, once one was chosen.
    pub endpoint: Option<SocketAddr>,
}

impl Pool {
    /// Makes a worker's pool, taking over from an `earlier` generation's what still holds.
    pub fn new(
        upstream: &Arc<Upstream>,
        earlier: Option<&Self>,
        registry: &HealthRegistry,
        worker: &Arc<WorkerMetrics>,
    ) -> Self {
        // Connections that were opened in another way are not for this generation.
        let earlier = earlier.filter(|earlier| earlier.upstream.is_dialled_like(upstream));
        let known = |address| earlier?.endpoints.iter().find(|endpoint| endpoint.address == address).map(Rc::clone);
        let metrics = worker.upstream(&upstream.name);
        let health = registry.upstream(&upstream.name);
        let mut endpoints: Vec<Rc<Endpoint>> = Vec::new();
        for address in upstream.addresses() {
            if !endpoints.iter().any(|endpoint| endpoint.address == address) {
                let fresh = || Endpoint::new(address, &health, &metrics);
                endpoints.push(known(address).unwrap_or_else(fresh));
            }
        }
        Self { upstream: Arc::clone(upstream), endpoints, health, metrics, worker: Arc::clone(worker) }
    }

    /// What the pool leads to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Stops keeping connections to endpoints that `next` no longer has; exchanges under way go on.
    pub fn retire(&self, next: Option<&Self>) {
        for endpoint in &self.endpoints {
            if next.is_none_or(|next| !next.endpoints.iter().any(|other| Rc::ptr_eq(other, endpoint))) {
                endpoint.retire();
            }
        }
        if next.is_none() {
            self.metrics.pool_idle.set(0);
        }
    }

    /// Closes connections that have been idle for too long or have ended, and shows what is left; the worker's tick calls it.
    pub fn sweep(&self) {
        for endpoint in &self.endpoints {
            endpoint.sweep(self.upstream.timeouts.pool_idle_ms);
        }
        self.show();
    }

    /// Shows how many connections are idle.
    fn show(&self) {
        let idle: usize = self.endpoints.iter().map(|endpoint| endpoint.idle.borrow().len()).sum();
        self.metrics.pool_idle.set(i64::try_from(idle).unwrap_or(i64::MAX));
    }

    /// Sends a request; the future waits for the response head.
    ///
    /// A pooled connection that proves stale before anything was sent costs another try; nothing else does. `watch`
    /// limits connecting and waiting; `response_ms` is the time for the response head, 0 for no limit. `client` is whom a
    /// PROXY header names.
    pub fn exchange(
        self: &Rc<Self>,
        mut request: Box<UpstreamRequest>,
        watch: &Arc<Watch>,
        response_ms: u32,
        client: SocketAddr,
    ) -> Exchanging {
        request.body.set_response_timeout(response_ms);
        let terms = Terms { watch: Arc::clone(watch), response_ms, client };
        let step = match self.find_way() {
            Ok(Way::Pooled(lease)) => Step::First(Attempt::begin(lease, request, Arc::clone(watch), response_ms)),
            other => Step::Anew(Box::pin(Rc::clone(self).exchange_anew(request, other, terms.clone()))),
        };
        Exchanging { pool: Rc::clone(self), terms, step }
    }

    /// Exchanges when no pooled connection was at hand, or the first one was stale.
    async fn exchange_anew(
        self: Rc<Self>,
        mut request: Box<UpstreamRequest>,
        mut way: Result<Way, ForwardError>,
        terms: Terms,
    ) -> Result<Exchanged, ForwardError> {
        let Terms { watch, response_ms, client } = terms;
        for _ in 1..STALE_MAX {
            let lease = match way {
                Ok(Way::Pooled(lease)) => lease,
                Ok(Way::Fresh(_)) | Err(_) => break,
            };
            request = match Attempt::begin(lease, request, Arc::clone(&watch), response_ms).await {
                Ok(exchanged) => return Ok(exchanged),
                Err(AttemptError { unsent: Some(unsent), .. }) => unsent,
                Err(AttemptError { error, .. }) => return Err(error),
            };
            self.metrics.stale_retries.increment();
            way = self.find_way();
        }
        let endpoint = match way? {
            Way::Fresh(endpoint) => endpoint,
            Way::Pooled(lease) => lease.endpoint(),
        };
        watch.start(Wait::Upstream, self.upstream.timeouts.connect_ms);
        let connected = self.connect(&endpoint, &watch, client).await;
        watch.stop(Wait::Upstream);
        Attempt::begin(connected?, request, watch, response_ms).await.map_err(|failed| failed.error)
    }

    /// The endpoint that is to serve, with an idle connection to it if there is one.
    ///
    /// It is chosen once: choosing again for want of a connection would favour those that have one already.
    fn find_way(&self) -> Result<Way, ForwardError> {
        let endpoint = self.choose(None)?;
        Ok(match endpoint.take(self.upstream.timeouts.pool_idle_ms) {
            Some(idle) => {
                self.metrics.connections_reused.increment();
                Way::Pooled(endpoint.lease(idle, None))
            }
            None => Way::Fresh(Rc::clone(endpoint)),
        })
    }

    /// Opens a connection; a second endpoint is tried when the first cannot be connected to, in the same time.
    async fn connect(&self, first: &Rc<Endpoint>, watch: &Watch, client: SocketAddr) -> Result<Lease, ForwardError> {
        match self.connect_to(first, watch, client).await {
            Err(error) if error.fault == Fault::ConnectRefused && self.endpoints.len() > 1 => {
                self.connect_to(self.choose(Some(first))?, watch, client).await
            }
            other => other,
        }
    }

    async fn connect_to(
        &self,
        endpoint: &Rc<Endpoint>,
        watch: &Watch,
        client: SocketAddr,
    ) -> Result<Lease, ForwardError> {
        let failed = |fault| ForwardError { fault, endpoint: Some(endpoint.address) };
        // Many who begin at once share what the first of them opens.
        let may_share = self.upstream.protocol != Protocol::Http1 && !endpoint.declined_http2.get();
        while may_share && endpoint.is_dialling.get() {
            within(watch, endpoint.dialled.notified()).await.ok_or(failed(Fault::ConnectTimeout))?;
            if let Some(shared) = endpoint.share() {
                return Ok(endpoint.lease(shared, None));
            }
        }
        let open: u32 = self.endpoints.iter().map(|endpoint| endpoint.open.get()).sum();
        if open >= self.upstream.connections_max {
            self.worker.limit(Limit::UpstreamConnections);
            return Err(failed(Fault::LimitReached));
        }
        let _dialling = may_share.then(|| Dialling::begin(endpoint));
        let started = clock::now();
        let opened = within(watch, self.dial(endpoint, client)).await.unwrap_or(Err(Fault::ConnectTimeout));
        match opened {
            Ok(connection) => Ok(endpoint.lease(connection, Some(clock::now().saturating_duration_since(started)))),
            Err(Fault::LimitReached) => {
                // For want of descriptors, which says nothing about the endpoint.
                self.worker.limit(Limit::Descriptors);
                Err(failed(Fault::LimitReached))
            }
            Err(fault) => {
                endpoint.failed(&self.upstream);
                Err(failed(fault))
            }
        }
    }

    /// Opens a connection and begins to speak.
    async fn dial(&self, endpoint: &Endpoint, client: SocketAddr) -> Result<Connection, Fault> {
        let mut open = OpenConnection::new(&endpoint.open, &self.metrics);
        let dial = Dial { upstream: &self.upstream, address: endpoint.address, client };
        let Dialled { stream, is_http2 } = dial.open().await?;
        open.establish();
        if !is_http2 {
            endpoint.declined_http2.set(true);
            return Ok(Connection::Http1(Http1::new(stream, self.upstream.proxy_protocol.is_some(), open)));
        }
        let scheme = if self.upstream.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let connection = Http2::start(stream, scheme, open).await.map_err(|_| Fault::ConnectionTerminated)?;
        if !endpoint.retired.get() {
            endpoint.multiplexed.borrow_mut().push(connection.clone());
        }
        Ok(Connection::Http2(connection.lease()))
    }

    /// Counts an upstream's failure before its response head.
    pub fn blame(&self, error: &ForwardError) {
        let counts =
            matches!(error.fault, Fault::ResponseTimeout | Fault::ConnectionTerminated | Fault::ResponseMalformed);
        let endpoint = self.endpoints.iter().find(|endpoint| counts && Some(endpoint.address) == error.endpoint);
        if let Some(endpoint) = endpoint {
            endpoint.failed(&self.upstream);
        }
    }

    /// Takes a request in, before anything is sent: its place under `requests_max`, if there is such a limit.
    ///
    /// # Errors
    /// [`Fault::LimitReached`] when the upstream is full, [`Fault::Unavailable`] when no endpoint is in service and
    /// the upstream is set to refuse then. Both are at once; nothing queues.
    pub fn admit(&self) -> Result<Option<Slot>, Fault> {
        if self.upstream.all_unhealthy == AllUnhealthy::Refuse && self.is_all_out() {
            return Err(Fault::Unavailable);
        }
        if self.upstream.requests_max == 0 {
            return Ok(None);
        }
        let slot = self.health.take_slot(self.upstream.requests_max);
        if slot.is_none() {
            self.worker.limit(Limit::UpstreamRequests);
        }
        slot.map(Some).ok_or(Fault::LimitReached)
    }

    /// Counts a request that the fallback serves in this upstream's place.
    pub fn overflowed(&self) {
        self.metrics.overflows.increment();
    }

    fn is_all_out(&self) -> bool {
        self.endpoints.iter().all(|endpoint| self.share(endpoint) == 0)
    }

    fn share(&self, endpoint: &Rc<Endpoint>) -> u32 {
        endpoint.health.share(self.upstream.slow_start_ms)
    }

    /// The less loaded of two random endpoints in service; if none is, of all, unless the upstream refuses then.
    fn choose(&self, not: Option<&Rc<Endpoint>>) -> Result<&Rc<Endpoint>, ForwardError> {
        let serves_always = self.upstream.all_unhealthy == AllUnhealthy::Serve;
        if let ([only], None, true) = (&*self.endpoints, not, serves_always) {
            return Ok(only);
        }
        let usable = |endpoint: &Rc<Endpoint>| not.is_none_or(|not| !Rc::ptr_eq(not, endpoint));
        let in_flight = |index: usize| self.endpoints[index].in_flight.get();
        let weigh = |index: usize| {
            let endpoint = &self.endpoints[index];
            if usable(endpoint) { self.share(endpoint) } else { 0 }
        };
        let weigh_alike = |index: usize| if usable(&self.endpoints[index]) { FULL_SHARE } else { 0 };
        let count = self.endpoints.len();
        let chosen = two_choices(count, weigh, in_flight, draw)
            .or_else(|| serves_always.then(|| two_choices(count, weigh_alike, in_flight, draw)).flatten());
        let fault = if count == 0 { Fault::DnsError } else { Fault::Unavailable };
        chosen.map(|index| &self.endpoints[index]).ok_or(ForwardError { fault, endpoint: None })
    }
}

/// An exchange that waits for its response head.
///
/// # Errors
/// The one fault that ended it. The caller tells a broken request body apart.
pub struct Exchanging {
    pool: Rc<Pool>,
    terms: Terms,
    step: Step,
}

/// What holds for each try of an exchange.
#[derive(Clone)]
struct Terms {
    watch: Arc<Watch>,
    response_ms: u32,
    client: SocketAddr,
}

enum Step {
    /// On a pooled connection: the usual way, which sends at once.
    First(Attempt),
    /// Over a connection that must be opened, or another pooled one.
    Anew(Pin<Box<dyn Future<Output = Result<Exchanged, ForwardError>>>>),
}

impl Future for Exchanging {
    type Output = Result<Exchanged, ForwardError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { pool, terms, step } = &mut *self;
        if let Step::First(attempt) = step {
            match ready!(Pin::new(attempt).poll(cx)) {
                Ok(exchanged) => return Poll::Ready(Ok(exchanged)),
                Err(AttemptError { error, unsent: None }) => return Poll::Ready(Err(error)),
                Err(AttemptError { unsent: Some(unsent), .. }) => {
                    pool.metrics.stale_retries.increment();
                    let way = pool.find_way();
                    *step = Step::Anew(Box::pin(Rc::clone(pool).exchange_anew(unsent, way, terms.clone())));
                }
            }
        }
        match step {
            Step::Anew(exchanging) => exchanging.as_mut().poll(cx),
            Step::First(_) => Poll::Pending,
        }
    }
}

/// Somebody opens a connection that others wait to share; dropping it tells them.
struct Dialling<'e>(&'e Endpoint);

impl<'e> Dialling<'e> {
    fn begin(endpoint: &'e Endpoint) -> Self {
        endpoint.is_dialling.set(true);
        Self(endpoint)
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.is_dialling.set(false);
        self.0.dialled.notify_waiters();
    }
}

/// Where an exchange goes.
enum Way {
    /// Over a pooled connection.
    Pooled(Lease),
    /// Over a connection that is yet to be made.
    Fresh(Rc<Endpoint>),
}
