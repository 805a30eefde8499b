//! Owns the admin listener: metrics, health, readiness, over sockets of their own (rule A8).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::{Method, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::{self, Answer};
use super::dashboard;
use super::host::AllowedHosts;
use super::ofrep::{self, Ofrep, STREAM_AGE_MAX};
use super::readiness::Readiness;
use crate::observe::Metrics;
use crate::snapshot::Store;

/// Connections at the same time; a scraper, a prober and some people use a few.
const CONNECTIONS_MAX: usize = 64;
/// From accept, or from the end of an answer, to the next whole request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After this a connection ends at its next answer, and after twice this in any case, a stream's age added: it bounds
/// slow readers.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);
/// The largest request head in bytes; hyper refuses less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The pause after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin listener serves.
pub(super) struct Admin {
    pub(super) hosts: AllowedHosts,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: Arc<Store>,
    pub(super) readiness: Readiness,
    pub(super) ofrep: Ofrep,
}

impl Admin {
    /// Serves until it is dropped, also while the data plane drains; after a hand-over it accepts no more.
    pub(super) async fn run(self, listener: TcpListener, mut left: watch::Receiver<bool>) {
        let admin = Arc::new(self);
        tokio::select! {
            () = admin.accept(listener) => {}
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
                    tokio::spawn(Arc::clone(self).serve(stream, slot));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, _slot: OwnedSemaphorePermit) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let streams = Arc::new(AtomicBool::new(false));
        let is_stream = Arc::clone(&streams);
        let service = service_fn(move |request| {
            let (admin, is_stream) = (Arc::clone(&self), Arc::clone(&is_stream));
            async move {
                let answer = admin.answer(request, local.ip()).await;
                is_stream.fetch_or(ofrep::is_stream(&answer), Ordering::Relaxed);
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

    async fn answer(self: Arc<Self>, request: Request<Incoming>, local: IpAddr) -> Answer {
        if let Some(refusal) = self.refuse_host(&request, local) {
            return refusal;
        }
        if request.uri().path().starts_with(ofrep::PREFIX) {
            return self.ofrep.answer(request).await;
        }
        if let Some(refusal) = refuse(&request) {
            return refusal;
        }
        match request.uri().path() {
            "/healthz" => answer::text("ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.render().await,
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
