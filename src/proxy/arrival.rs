//! Owns what happens to a client connection before its first request: who comes, over what, speaking which protocol.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;

use super::announcement;
use super::connection;
use super::io::{ClientStream, Socket};
use super::preface;
use super::stream_state::StreamState;
use super::worker::Worker;
use crate::clock::{Wait, Watch};
use crate::limits::Limit;
use crate::listen::Transport;
use crate::proxy_protocol::Announced;
use crate::tls::server::{ServedNames, Session};
use crate::tls::{HandshakeFault, PeerCertificate};

/// A connection's place among those of its worker; dropping it gives the place back and counts the bytes.
pub(super) struct Place {
    pub worker: Rc<Worker>,
    pub state: Arc<StreamState>,
    key: usize,
    /// The address that the limit on connections an address counted.
    counted: IpAddr,
}

/// A connection that is ready for its first request.
pub(super) struct Arrival {
    pub place: Place,
    pub stream: ClientStream,
    /// The client, or the proxy that stands for it.
    pub address: SocketAddr,
    /// What TLS says about it; `None` when it came in the clear.
    pub security: Option<Security>,
    pub protocol: Protocol,
}

/// What TLS says about a connection.
pub(super) struct Security {
    /// What the client may ask for here; `None` when it named nobody.
    pub served: Option<ServedNames>,
    /// Who the client is.
    pub certificate: Option<PeerCertificate>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (received, sent) = self.state.bytes();
        self.worker.metrics.received_bytes.add(received);
        self.worker.metrics.sent_bytes.add(sent);
        self.worker.forget(self.key, self.counted);
    }
}

/// Receives a connection and serves it, in a task of its own.
pub(super) fn start(worker: &Rc<Worker>, stream: TcpStream, address: SocketAddr, transport: Transport) {
    let state = StreamState::new(worker.limits());
    let key = worker.streams.borrow_mut().insert(Arc::clone(&state));
    let place = Place { worker: Rc::clone(worker), state, key, counted: address.ip() };
    // Each stage in a box of its own: an idle connection must not keep the room that a handshake took (rule L12).
    tokio::task::spawn_local(async move {
        if let Some(arrival) = Box::pin(arrive(place, stream, address, transport)).await {
            connection::serve(arrival).await;
        }
    });
}

/// Finds out who comes and what they speak; `None` when they leave before that, or are turned away.
async fn arrive(
    mut place: Place,
    mut stream: TcpStream,
    mut address: SocketAddr,
    transport: Transport,
) -> Option<Arrival> {
    let worker = Rc::clone(&place.worker);
    if announcement::is_due(address.ip(), &worker.shared.options.proxy_protocol_from) {
        address = Box::pin(announced(&mut place, &mut stream, address)).await?;
    }
    let socket = Socket::new(stream, Arc::clone(&place.state));
    match transport {
        Transport::Plain => {
            let mut stream = ClientStream::plain(socket);
            let protocol = match worker.shared.options.http2 {
                true => preface::recognise(&mut stream, &place.state.watch).await?,
                false => Protocol::Http1,
            };
            Some(Arrival { place, stream, address, security: None, protocol })
        }
        Transport::Tls => {
            // A handshake is kilobytes large, and connections without one must not keep room for it.
            let (stream, security, protocol) = Box::pin(shake_hands(&place, socket, address)).await?;
            Some(Arrival { place, stream, address, security: Some(security), protocol })
        }
    }
}

/// Takes a PROXY protocol header off, within the time for a head; gives the address of who is behind it.
async fn announced(place: &mut Place, stream: &mut TcpStream, peer: SocketAddr) -> Option<SocketAddr> {
    let taken = before_expiry(&place.state.watch, announcement::take(stream)).await;
    let metrics = &place.worker.metrics;
    let source = match taken {
        Met::InTime(Ok(Announced::Proxied { source, .. })) => source,
        Met::InTime(Ok(Announced::Local)) => return Some(peer),
        Met::InTime(Err(error)) => {
            metrics.proxy_headers_refused.increment();
            tracing::debug!(client = %peer, %error, "closed");
            return None;
        }
        Met::Late => {
            metrics.limit(Limit::HeadTimeout);
            return None;
        }
        Met::Panicked => {
            metrics.panics.increment();
            return None;
        }
    };
    match place.worker.recount(place.counted, source.ip()) {
        Ok(()) => place.counted = source.ip(),
        Err(limit) => {
            metrics.limit(limit);
            return None;
        }
    }
    Some(source)
}

/// Shakes hands within the time for it (rule L2).
async fn shake_hands(place: &Place, socket: Socket, address: SocketAddr) -> Option<(ClientStream, Security, Protocol)> {
    let (worker, watch) = (&place.worker, &place.state.watch);
    let tls = worker.shared.options.tls.as_ref()?;
    watch.stop(Wait::Head);
    watch.start(Wait::Handshake, worker.limits().tls_handshake_timeout_ms);
    let shaken = before_expiry(watch, tls.accept(socket)).await;
    watch.stop(Wait::Handshake);
    match shaken {
        Met::InTime(Ok(session)) => {
            let handshakes = &worker.metrics.handshakes;
            if session.resumed {
                handshakes.resumed.increment()
            } else {
                handshakes.full.increment()
            }
            watch.start(Wait::Head, worker.limits().head_timeout_ms);
            let Session { stream, http2, served, certificate, .. } = session;
            let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
            return Some((ClientStream::tls(stream), Security { served, certificate }, protocol));
        }
        Met::InTime(Err(error)) => {
            worker.metrics.handshakes.fault(error.fault);
            tracing::debug!(client = %address, fault = error.fault.as_str(), %error, "no TLS handshake");
        }
        Met::Late => {
            worker.metrics.limit(Limit::TlsHandshake);
            tracing::debug!(client = %address, "the TLS handshake took too long");
        }
        Met::Panicked => {
            worker.metrics.panics.increment();
            worker.metrics.handshakes.fault(HandshakeFault::Internal);
        }
    }
    None
}

/// What became of something that must be done in time.
enum Met<T> {
    InTime(T),
    Late,
    Panicked,
}

/// Waits for a future until any wait of the connection runs out.
async fn before_expiry<F: Future>(watch: &Watch, future: F) -> Met<F::Output> {
    let mut future = pin!(future);
    let mut known = false;
    poll_fn(|cx| {
        if !known {
            watch.set_waker(cx.waker());
            known = true;
        }
        if watch.expired().is_some() {
            return Poll::Ready(Met::Late);
        }
        // A panic costs this connection and nothing else.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Met::InTime),
            Err(_) => Poll::Ready(Met::Panicked),
        }
    })
    .await
}
