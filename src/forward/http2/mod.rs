//! Owns one HTTP/2 connection to an upstream, shared by the exchanges of a worker.
//!
//! h2 drives it in a task of its own; a stream is polled by its request's task. No new stream begins after a GOAWAY, and
//! those under way finish.

mod body;
mod sending;
mod upload;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::Scheme;

pub(super) use body::ResponseBody;
pub(super) use sending::Sending;

use super::endpoint::OpenConnection;
use super::request::UpstreamRequest;
use super::stream::Stream;
use crate::clock;

/// What an upstream may send on one stream before the client takes it, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// The largest response head in bytes, uncompressed.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of a request that wait to be sent on one stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams at once before another connection is opened, unless the upstream allows fewer.
const STREAMS_MAX: usize = 100;

/// A connection that carries many exchanges at once; clones share it.
#[derive(Clone)]
pub(super) struct Http2(Rc<Shared>);

struct Shared {
    sender: RefCell<SendRequest<Bytes>>,
    scheme: Scheme,
    in_flight: Cell<usize>,
    /// When the last exchange ended, in milliseconds of [`clock::now_ms`].
    idle_since_ms: Cell<u64>,
    /// No new stream begins any more: it has ended, or refused one.
    is_closing: Cell<bool>,
}

impl Http2 {
    /// Begins HTTP/2 on a stream; the upstream's settings come later.
    pub(super) async fn start(stream: Stream, scheme: Scheme, open: OpenConnection) -> io::Result<Self> {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .enable_push(false);
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let shared = Rc::new(Shared {
            sender: RefCell::new(sender),
            scheme,
            in_flight: Cell::new(0),
            idle_since_ms: Cell::new(clock::now_ms()),
            is_closing: Cell::new(false),
        });
        let driven = Rc::downgrade(&shared);
        tokio::task::spawn_local(async move {
            // How it ended shows in the exchanges that it carried; without any it concerns nobody.
            let _ = connection.await;
            if let Some(shared) = driven.upgrade() {
                shared.is_closing.set(true);
            }
            drop(open);
        });
        Ok(Self(shared))
    }

    /// Whether new streams may begin here at all.
    pub(super) fn is_open(&self) -> bool {
        // A GOAWAY shows as an error of the sender.
        let mut sender = self.0.sender.borrow_mut();
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.0.is_closing.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether another stream may begin now.
    pub(super) fn has_room(&self) -> bool {
        let allowed = self.0.sender.borrow().current_max_send_streams().min(STREAMS_MAX);
        self.0.in_flight.get() < allowed && self.is_open()
    }

    /// Since when nothing is under way, in milliseconds of [`clock::now_ms`]; `None` while something is.
    pub(super) fn idle_since_ms(&self) -> Option<u64> {
        (self.0.in_flight.get() == 0).then(|| self.0.idle_since_ms.get())
    }

    /// Takes a place for one exchange.
    pub(super) fn lease(&self) -> StreamPlace {
        self.0.in_flight.set(self.0.in_flight.get() + 1);
        StreamPlace(self.clone())
    }
}

/// One exchange's place on a shared connection.
pub(super) struct StreamPlace(Http2);

impl StreamPlace {
    /// Sends a request; the future waits for the response head.
    pub(super) fn send(&self, request: Box<UpstreamRequest>) -> Sending {
        Sending::new(&self.0.0, request)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.in_flight.set(shared.in_flight.get() - 1);
        shared.idle_since_ms.set(clock::now_ms());
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Http2").field("in_flight", &self.0.in_flight).finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("StreamPlace").field(&self.0).finish()
    }
}
