//! Owns one worker's connections to one upstream: which endpoint, which connection, how long, what went wrong.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};

use super::body::RequestBody;
use super::connection::SendError;
use super::endpoint::{Endpoint, Idle, Lease, OpenConnection};
use super::health::HealthRegistry;
use super::http1::{Http1, ResponseBody};
use super::stream::Stream;
use crate::clock::{self, Wait, Watch};
use crate::fault::Fault;
use crate::limits::Limit;
use crate::observe::{UpstreamMetrics, WorkerMetrics};
use crate::upstream::Upstream;

/// Idle connections that may turn out stale before a fresh one is opened; each proved that nothing was sent on it.
const STALE_MAX: u32 = 8;

/// One worker's connections to one upstream.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    endpoints: Vec<Rc<Endpoint>>,
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
        let known = |address| earlier?.endpoints.iter().find(|endpoint| endpoint.address == address).map(Rc::clone);
        let metrics = worker.upstream(&upstream.name);
        let mut endpoints: Vec<Rc<Endpoint>> = Vec::new();
        for &address in upstream.endpoints.iter().flat_map(|endpoint| &endpoint.addresses) {
            if !endpoints.iter().any(|endpoint| endpoint.address == address) {
                let fresh = || Endpoint::new(address, registry.health(&upstream.name, address), &metrics);
                endpoints.push(known(address).unwrap_or_else(fresh));
            }
        }
        Self { upstream: Arc::clone(upstream), endpoints, metrics, worker: Arc::clone(worker) }
    }

    /// What the pool leads to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Stops keeping connections to endpoints that `next` no longer has; exchanges under way go on.
    pub fn retire(&self, next: Option<&Self>) {
        for endpoint in &self.endpoints {
            if next.is_none_or(|next| !next.endpoints.iter().any(|other| Rc::ptr_eq(other, endpoint))) {
                endpoint.retired.set(true);
                endpoint.idle.borrow_mut().clear();
            }
        }
        if next.is_none() {
            self.metrics.pool_idle.set(0);
            self.metrics.ejected.set(0);
        }
    }

    /// Closes connections that have been idle for too long or have ended, and shows what is left; the worker's tick calls it.
    pub fn sweep(&self) {
        let (now, keep_ms) = (clock::now_ms(), u64::from(self.upstream.timeouts.pool_idle_ms));
        let is_kept = |idle: &Idle| (keep_ms == 0 || now - idle.since_ms <= keep_ms) && idle.connection.is_still();
        for endpoint in &self.endpoints {
            endpoint.idle.borrow_mut().retain(is_kept);
        }
        self.show();
    }

    /// Shows how many connections are idle and how many endpoints are out.
    fn show(&self) {
        let idle: usize = self.endpoints.iter().map(|endpoint| endpoint.idle.borrow().len()).sum();
        let ejected = self.endpoints.iter().filter(|endpoint| endpoint.health.is_ejected()).count();
        self.metrics.pool_idle.set(i64::try_from(idle).unwrap_or(i64::MAX));
        self.metrics.ejected.set(i64::try_from(ejected).unwrap_or(i64::MAX));
    }

    /// Sends a request and waits for the response head.
    ///
    /// A pooled connection that proves stale before anything was sent costs another try; nothing else does. `watch`
    /// limits connecting and waiting; `response_ms` is the time for the response head, 0 for no limit.
    ///
    /// # Errors
    /// The one fault that ended it. The caller tells a broken request body apart.
    pub fn exchange(
        self: &Rc<Self>,
        mut request: Request<RequestBody>,
        watch: &Arc<Watch>,
        response_ms: u32,
    ) -> impl Future<Output = Result<Exchanged, ForwardError>> + use<> {
        request.body_mut().set_response_timeout(response_ms);
        let (pool, watch) = (Rc::clone(self), Arc::clone(watch));
        // The usual way sends at once, so that the future which is moved around holds no request; the rest is boxed.
        let first = match self.take_idle() {
            Some(lease) => First::Sent(send(lease, request, Arc::clone(&watch), response_ms)),
            None => First::Waits(Box::new(request)),
        };
        async move {
            let unsent = match first {
                First::Waits(request) => request,
                First::Sent(sending) => match sending.await {
                    Ok(exchanged) => return Ok(exchanged),
                    Err((_, Some(unsent))) => {
                        pool.metrics.stale_retries.increment();
                        unsent
                    }
                    Err((error, None)) => return Err(error),
                },
            };
            Box::pin(pool.exchange_anew(unsent, watch, response_ms)).await
        }
    }

    /// Exchanges when no pooled connection was at hand, or the first one was stale.
    async fn exchange_anew(
        &self,
        mut request: Box<Request<RequestBody>>,
        watch: Arc<Watch>,
        response_ms: u32,
    ) -> Result<Exchanged, ForwardError> {
        for _ in 1..STALE_MAX {
            let Some(lease) = self.take_idle() else { break };
            request = match send(lease, *request, Arc::clone(&watch), response_ms).await {
                Ok(exchanged) => return Ok(exchanged),
                Err((_, Some(unsent))) => unsent,
                Err((error, None)) => return Err(error),
            };
            self.metrics.stale_retries.increment();
        }
        watch.start(Wait::Upstream, self.upstream.timeouts.connect_ms);
        let connected = self.connect(&watch).await;
        watch.stop(Wait::Upstream);
        send(connected?, *request, watch, response_ms).await.map_err(|(error, _)| error)
    }

    /// An idle connection of the endpoint that is to serve.
    fn take_idle(&self) -> Option<Lease> {
        let endpoint = self.choose(None).ok()?;
        let idle = endpoint.take_idle(self.upstream.timeouts.pool_idle_ms)?;
        self.metrics.connections_reused.increment();
        Some(endpoint.lease(idle, None))
    }

    /// Opens a connection; a second endpoint is tried when the first cannot be connected to, in the same time.
    async fn connect(&self, watch: &Watch) -> Result<Lease, ForwardError> {
        let first = self.choose(None)?;
        match self.connect_to(first, watch).await {
            Err(error) if error.fault == Fault::ConnectRefused && self.endpoints.len() > 1 => {
                self.connect_to(self.choose(Some(first))?, watch).await
            }
            other => other,
        }
    }

    async fn connect_to(&self, endpoint: &Rc<Endpoint>, watch: &Watch) -> Result<Lease, ForwardError> {
        let failed = |fault| ForwardError { fault, endpoint: Some(endpoint.address) };
        let open: u32 = self.endpoints.iter().map(|endpoint| endpoint.open.get()).sum();
        if open >= self.upstream.connections_max {
            self.worker.limit(Limit::UpstreamConnections);
            return Err(failed(Fault::LimitReached));
        }
        let started = clock::now();
        let mut opened = OpenConnection::new(&endpoint.open, &self.metrics);
        let fault = match within(watch, Stream::connect(endpoint.address)).await {
            Some(Ok(stream)) => {
                opened.establish();
                let connection = Http1::new(stream, opened);
                return Ok(endpoint.lease(connection, Some(clock::now().saturating_duration_since(started))));
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Fault::ConnectTimeout,
            Some(Err(_)) => Fault::ConnectRefused,
            None => Fault::ConnectTimeout,
        };
        endpoint.failed(&self.upstream);
        Err(failed(fault))
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

    /// The less loaded of two random endpoints among those in service; ejection never leaves none.
    fn choose(&self, not: Option<&Rc<Endpoint>>) -> Result<&Rc<Endpoint>, ForwardError> {
        if let ([only], None) = (&*self.endpoints, not) {
            return Ok(only);
        }
        let usable = |endpoint: &&Rc<Endpoint>| not.is_none_or(|not| !Rc::ptr_eq(not, endpoint));
        let healthy = |endpoint: &&Rc<Endpoint>| usable(endpoint) && !endpoint.health.is_ejected();
        two_choices(self.endpoints.iter().filter(healthy))
            .or_else(|| two_choices(self.endpoints.iter().filter(usable)))
            .ok_or(ForwardError { fault: Fault::DnsError, endpoint: None })
    }
}

/// How an exchange begins.
enum First<S> {
    /// On a pooled connection.
    Sent(S),
    /// It needs a connection first.
    Waits(Box<Request<RequestBody>>),
}

/// How sending on one connection ended; an error brings back a request that provably was not sent.
type Attempt = Result<Exchanged, (ForwardError, Option<Box<Request<RequestBody>>>)>;

/// Sends on a connection; the future waits for the response head.
fn send(
    lease: Lease,
    request: Request<RequestBody>,
    watch: Arc<Watch>,
    response_ms: u32,
) -> impl Future<Output = Attempt> + use<> {
    watch.start(Wait::Upstream, response_ms);
    let sending = lease.connection.as_ref().map(|connection| connection.send(request));
    async move {
        let Some(mut sending) = sending else { unreachable!("a lease holds its connection until it is given back") };
        let sent = within(&watch, &mut sending).await;
        watch.stop(Wait::Upstream);
        let (fault, unsent) = match sent {
            Some(Ok(response)) => return Ok(Exchanged { response, lease }),
            Some(Err(SendError { fault, unsent })) => (fault, unsent),
            None => (Fault::ResponseTimeout, None),
        };
        // A connection that was stale before anything was sent says nothing about the endpoint.
        let unsent = unsent.filter(|_| lease.connected_in.is_none());
        Err((ForwardError { fault, endpoint: Some(lease.address()) }, unsent))
    }
}

/// The less loaded of two random ones; ties go to the first drawn.
fn two_choices<'e>(mut usable: impl Iterator<Item = &'e Rc<Endpoint>> + Clone) -> Option<&'e Rc<Endpoint>> {
    let count = usable.clone().count();
    if count <= 1 {
        return usable.next();
    }
    let first = fastrand::usize(..count);
    let second = (first + fastrand::usize(1..count)) % count;
    let (first, second) = (usable.clone().nth(first)?, usable.nth(second)?);
    Some(if second.in_flight.get() < first.in_flight.get() { second } else { first })
}

/// Waits for a future until the wait for the upstream runs out; `None` then.
async fn within<F: Future>(watch: &Watch, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if watch.take_expiry(Wait::Upstream) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
