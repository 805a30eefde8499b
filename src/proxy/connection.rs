//! Owns one client connection: its task, its waits, and how it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::arrival::{Arrival, Place, Protocol, Security};
use super::carrier::Carrier;
use super::exchange;
use super::handler;
use super::http2;
use super::io::ClientStream;
use super::stream_state::{Activity, StreamState};
use super::worker::{DRAIN_IDLE_MS, Worker};
use crate::clock::Wait;
use crate::fault::Fault;
use crate::forward::ClientBody;
use crate::head::Peer;
use crate::limits::{Limit, Limits};

/// hyper's smallest read buffer; a smaller head limit is held by its head size limit.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
/// Header fields where `fields_max` is off: hyper reserves room for all of them with each head.
const FIELDS_UNLIMITED: usize = 1024;
/// Bytes of a head where `head_bytes_max` is off.
const HEAD_BYTES_UNLIMITED: usize = 1024 * 1024;

/// A client connection, as its requests see it.
pub(super) struct Connection {
    pub worker: Rc<Worker>,
    pub state: Arc<StreamState>,
    pub address: SocketAddr,
    /// What forwarding fields say about the peer.
    pub peer: Peer,
    /// What TLS says about it; `None` in the clear.
    pub security: Option<Security>,
    /// Requests so far.
    pub requests: Cell<u32>,
    /// Held for as long as a request or a tunnel needs the connection.
    _place: Place,
}

/// How a connection ended.
enum End {
    /// In order, or handed to a tunnel.
    Closed,
    /// By an error of the protocol or the transport.
    Failed(hyper::Error),
    /// A wait ran out.
    Expired(Wait),
    /// A request panicked.
    Panicked,
}

impl Connection {
    /// Whether the answer to the present request must be the connection's last.
    pub(super) fn is_last_request(&self) -> bool {
        let max = self.worker.limits().keep_alive_requests_max;
        let used_up = max != 0 && self.requests.get() >= max;
        if used_up {
            self.worker.metrics.limit(Limit::KeepAliveRequests);
        }
        used_up || self.worker.is_draining()
    }

    /// Whether a host may be asked for here: over TLS the certificates that the client saw must be for it (rule H10).
    pub(super) fn serves(&self, host: &str) -> bool {
        let served = self.security.as_ref().and_then(|security| security.served.as_ref());
        served.is_none_or(|served| served.cover(host))
    }

    /// The answer is complete: the next request may come.
    pub(super) fn end_exchange(&self) {
        let keep_alive = self.worker.limits().keep_alive_timeout_ms;
        self.state.end_exchange(if self.worker.is_draining() { DRAIN_IDLE_MS } else { keep_alive });
    }

    /// No stream is open: the next may come, for a while.
    pub(super) fn await_request(&self) {
        let keep_alive = self.worker.limits().keep_alive_timeout_ms;
        self.state.watch.start(Wait::KeepAlive, if self.worker.is_draining() { DRAIN_IDLE_MS } else { keep_alive });
    }
}

/// Serves a connection that has arrived; the future takes no more room than its protocol needs.
pub(super) fn serve(arrival: Arrival) -> Pin<Box<dyn Future<Output = ()>>> {
    let Arrival { place, stream, address, security, protocol } = arrival;
    let (worker, state) = (Rc::clone(&place.worker), Arc::clone(&place.state));
    let peer = Peer::new(address.ip(), security.is_some(), &worker.shared.options.policy);
    let connection =
        Rc::new(Connection { worker, state, address, peer, security, requests: Cell::new(0), _place: place });
    match protocol {
        Protocol::Http1 => Box::pin(serve_http1(connection, stream)),
        Protocol::Http2 => Box::pin(http2::serve(connection, stream)),
    }
}

async fn serve_http1(connection: Rc<Connection>, stream: ClientStream) {
    let state = &connection.state;
    let carrier = Carrier::connection(&connection);
    let service =
        service_fn(|request: Request<Incoming>| handler::handle(carrier.clone(), request.map(ClientBody::Http1)));
    let server = server(connection.worker.limits());
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut known = false;
    let end = poll_fn(|cx| {
        if !known {
            state.watch.set_waker(cx.waker());
            known = true;
        }
        // The wait for the upstream and that for a body nobody reads end in an answer, where they are waited for.
        if let Some(wait) = state.watch.expired().filter(|wait| !matches!(wait, Wait::Upstream | Wait::Discard)) {
            return Poll::Ready(End::Expired(wait));
        }
        // A panic costs this connection and nothing else.
        match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(End::Failed(error)),
            Err(_) => Poll::Ready(End::Panicked),
        }
    })
    .await;
    account(&connection, &end);
}

/// hyper's HTTP/1.1 server with our limits.
fn server(limits: &Limits) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .half_close(true)
        .max_headers(or_at_most(limits.fields_max, FIELDS_UNLIMITED))
        .max_header_size(or_at_most(limits.head_bytes_max, HEAD_BYTES_UNLIMITED))
        .max_buf_size(or_at_most(limits.head_bytes_max, HEAD_BYTES_UNLIMITED).max(BUFFER_BYTES_MIN));
    server
}

/// A limit, or what stands for none where hyper needs a number.
fn or_at_most(limit: usize, unlimited: usize) -> usize {
    if limit == 0 { unlimited } else { limit }
}

/// Counts what ended a connection before its time.
fn account(connection: &Rc<Connection>, end: &End) {
    let metrics = &connection.worker.metrics;
    match end {
        End::Closed => {}
        End::Panicked => metrics.panics.increment(),
        End::Expired(wait) => account_expiry(connection, *wait),
        // hyper has answered 400 or 431 by itself, unless the client was gone before its head was whole.
        End::Failed(error) if connection.state.activity() == Activity::Head => {
            if error.is_parse_too_large() {
                metrics.limit(Limit::Head);
                exchange::record_unserved(connection, Fault::HeadTooLarge);
            } else if error.is_parse() {
                exchange::record_unserved(connection, Fault::RequestMalformed);
            }
        }
        // What happened in an exchange is in its own record.
        End::Failed(_) => {}
    }
}

/// Counts a wait that ran out.
pub(super) fn account_expiry(connection: &Connection, wait: Wait) {
    let limit = match wait {
        Wait::Head => Limit::HeadTimeout,
        Wait::KeepAlive => Limit::KeepAlive,
        Wait::Body => Limit::BodyIdle,
        Wait::BodyRate => Limit::BodyRate,
        Wait::Write => Limit::WriteStall,
        // These end where they are waited for, and are counted there.
        Wait::Tunnel | Wait::Upstream | Wait::Discard | Wait::Handshake => return,
    };
    connection.worker.metrics.limit(limit);
    if wait == Wait::Head && connection.state.bytes().0 > 0 {
        exchange::record_unserved(connection, Fault::ClientTimeout);
    }
}
