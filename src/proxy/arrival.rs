//! Owns what happens to a client connection before its first request: who comes, over what, speaking which protocol.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connection;
use super::io::{ClientStream, StreamState};
use super::preface;
use super::worker::Worker;

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
    /// Whether it came over TLS.
    pub secure: bool,
    pub protocol: Protocol,
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
pub(super) fn start(worker: &Rc<Worker>, stream: TcpStream, address: SocketAddr) {
    let state = StreamState::new(worker.limits());
    let key = worker.streams.borrow_mut().insert(Arc::clone(&state));
    let place = Place { worker: Rc::clone(worker), state, key, counted: address.ip() };
    tokio::task::spawn_local(async move {
        if let Some(arrival) = arrive(place, stream, address).await {
            connection::serve(arrival).await;
        }
    });
}

/// Finds out who comes and what they speak; `None` when they leave before that, or are turned away.
async fn arrive(place: Place, stream: TcpStream, address: SocketAddr) -> Option<Arrival> {
    let mut stream = ClientStream::new(stream, Arc::clone(&place.state));
    let protocol = if place.worker.shared.options.http2 {
        preface::recognise(&mut stream, &place.state.watch).await?
    } else {
        Protocol::Http1
    };
    Some(Arrival { place, stream, address, secure: false, protocol })
}
