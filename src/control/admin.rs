//! Owns the admin listener: its connections over TCP and the unix socket, and which part answers (rule A8).

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::{Method, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::admin_socket::AdminSocket;
use super::answer::{self, Answer};
use super::api::{self, Api, Caller, Gate, Role, Tokens};
use super::dashboard;
use super::host::AllowedHosts;
use super::ofrep::{self, Ofrep};
use super::readiness::Readiness;
use super::streams::{STREAM_AGE_MAX, is_stream};
use crate::observe::Metrics;
use crate::settings::AdminAuth;
use crate::snapshot::Store;

/// Connections at the same time; a scraper, a prober and some people use a few.
const CONNECTIONS_MAX: usize = 64;
/// The same over the unix socket, kept for whoever is on the machine: a kill finds one of them free (rule A5).
const LOCAL_CONNECTIONS_MAX: usize = 16;
/// From accept, or from the end of an answer, to the next whole request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After this a connection ends at its next answer, and after twice this in any case, a stream's age added: it bounds
/// slow readers.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);
/// The largest request head in bytes; hyper refuses less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The pause after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Where Prometheus asks.
const METRICS: &str = "/metrics";

/// What the admin listener serves.
pub(super) struct Admin {
    pub(super) hosts: AllowedHosts,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: Arc<Store>,
    pub(super) readiness: Readiness,
    pub(super) ofrep: Ofrep,
    pub(super) api: Arc<Api>,
    pub(super) gate: Gate,
    pub(super) tokens: Arc<Tokens>,
    pub(super) auth: AdminAuth,
}

/// Where a connection came in.
enum Arrival {
    /// Over TCP, at this address of ours.
    Network(IpAddr),
    /// Over the unix socket, from somebody whom the kernel vouches for.
    Local(Caller),
}

impl Admin {
    /// Serves until it is dropped, also while the data plane drains; after a hand-over it accepts no more.
    pub(super) async fn run(self, listener: TcpListener, socket: Option<AdminSocket>, mut left: watch::Receiver<bool>) {
        let (tokens, admin) = (Arc::clone(&self.tokens), Arc::new(self));
        let local = async {
            if let Some(socket) = &socket {
                admin.accept_local(socket).await;
            }
        };
        tokio::select! {
            ((), (), ()) = async { tokio::join!(admin.accept(listener), local, tokens.watch()) } => {}
            // An error means that nobody can leave it any more.
            Ok(_) = left.wait_for(|left| *left) => {}
        }
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Ok(local) = stream.local_addr() {
                        tokio::spawn(Arc::clone(self).serve(stream, Arrival::Network(local.ip()), slot));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept_local(self: &Arc<Self>, socket: &AdminSocket) {
        let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match socket.accept().await {
                Ok((stream, caller)) => {
                    tokio::spawn(Arc::clone(self).serve(stream, Arrival::Local(caller), slot));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, arrival: Arrival, _slot: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let arrival = Arc::new(arrival);
        let streams = Arc::new(AtomicBool::new(false));
        let streaming = Arc::clone(&streams);
        let service = service_fn(move |request| {
            let (admin, arrival, streaming) = (Arc::clone(&self), Arc::clone(&arrival), Arc::clone(&streaming));
            async move {
                let answer = admin.answer(request, &arrival).await;
                streaming.fetch_or(is_stream(&answer), Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // How a connection ends is the peer's affair; nothing is lost with it.
        if tokio::time::timeout(CONNECTION_AGE_MAX, connection.as_mut()).await.is_err() {
            connection.as_mut().graceful_shutdown();
            let lasting = if streams.load(Ordering::Relaxed) { STREAM_AGE_MAX } else { Duration::ZERO };
            let _ = tokio::time::timeout(CONNECTION_AGE_MAX + lasting, connection).await;
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, arrival: &Arrival) -> Answer {
        let (local, peer) = match arrival {
            Arrival::Network(local) => (*local, None),
            Arrival::Local(caller) => (Ipv4Addr::LOCALHOST.into(), Some(caller)),
        };
        if let Some(refusal) = self.refuse_host(&request, local) {
            return refusal;
        }
        let path = request.uri().path();
        let is_page = !path.starts_with(api::PREFIX);
        if let Some(refusal) = api::refuse_foreign_page(request.method(), request.headers(), is_page) {
            return refusal;
        }
        if path.starts_with(api::PREFIX) {
            return match self.gate.admit(request.headers(), peer, Role::Read) {
                Ok(caller) => Arc::clone(&self.api).answer(request, &self.gate, &caller).await,
                Err(refusal) => *refusal,
            };
        }
        let is_guarded = self.auth == AdminAuth::All && (path == METRICS || path.starts_with(ofrep::PREFIX));
        if is_guarded && let Err(refusal) = self.gate.admit(request.headers(), peer, Role::Read) {
            return *refusal;
        }
        self.answer_openly(request).await
    }

    /// Answers what needs no token, or has shown one.
    async fn answer_openly(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if request.uri().path().starts_with(ofrep::PREFIX) {
            return self.ofrep.answer(request).await;
        }
        if let Some(refusal) = refuse(&request) {
            return refusal;
        }
        match request.uri().path() {
            "/healthz" => answer::text("ok\n"),
            "/readyz" => self.ready(),
            METRICS => self.render().await,
            "/openapi.json" => answer::json_text(api::DOCUMENT),
            path => dashboard::answer(path, request.headers())
                .unwrap_or_else(|| answer::problem(StatusCode::NOT_FOUND, "there is nothing here")),
        }
    }

    fn refuse_host(&self, request: &Request<Incoming>, local: IpAddr) -> Option<Answer> {
        let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
        let is_allowed = |host: &str| self.hosts.allow(host, local);
        match hosts.as_slice() {
            // Browsers cannot speak HTTP/1.0, so no rebound name hides behind a missing host.
            [] if request.version() == Version::HTTP_10 => {}
            [host] => {
                let own = host.to_str().is_ok_and(is_allowed);
                let target = request.uri().authority().is_none_or(|target| is_allowed(target.as_str()));
                if !(own && target) {
                    return Some(answer::fatal(
                        StatusCode::MISDIRECTED_REQUEST,
                        "this host is not served here; ask for the listener's address or for localhost",
                    ));
                }
            }
            _ => return Some(answer::fatal(StatusCode::BAD_REQUEST, "a request has exactly one Host")),
        }
        None
    }

    fn ready(&self) -> Answer {
        match self.readiness.why_not() {
            None => answer::json(&serde_json::json!({
                "ready": true,
                "generation": self.store.snapshot().generation,
            })),
            Some(why) => answer::problem(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    async fn render(self: Arc<Self>) -> Answer {
        self.metrics.control.ready.set(self.readiness.why_not().is_none().into());
        let metrics = Arc::clone(&self.metrics);
        // Thousands of series take long enough to be in the way of a readiness probe.
        match tokio::task::spawn_blocking(move || metrics.render()).await {
            Ok(page) => answer::metrics(page),
            Err(_) => answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered"),
        }
    }
}

fn refuse(request: &Request<Incoming>) -> Option<Answer> {
    if !request.body().is_end_stream() {
        return Some(answer::fatal(StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body"));
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    (!is_read).then(answer::method_not_allowed)
}
