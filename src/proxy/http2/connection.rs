//! Owns one HTTP/2 connection: its settings, its streams as they come, and how it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use h2::server::{self, Builder};

use super::outbox::Outbox;
use super::stream;
use crate::clock::Wait;
use crate::fault::Fault;
use crate::limits::{Limit, Limits};
use crate::proxy::connection::{self, Connection};
use crate::proxy::exchange;
use crate::proxy::io::ClientStream;
use crate::proxy::stream_state::StreamState;

/// The largest frame we take; the smallest that may be allowed, so that streams share the connection evenly.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// What a field counts beside its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// What the streams of a connection share with it.
#[derive(Default)]
pub(super) struct Shared {
    /// Streams now open.
    pub(super) open: Cell<u32>,
    /// Streams broken off before they were answered, less those that ended well.
    pub(super) resets: Cell<u32>,
    pub(super) outbox: Outbox,
}

/// The state of a connection while it is served.
struct Serving {
    connection: Rc<Connection>,
    shared: Rc<Shared>,
    server: server::Connection<ClientStream, Bytes>,
    /// GOAWAY has been sent: no new streams.
    leaving: bool,
    /// The watch knows the task.
    known: bool,
}

/// How it ended, beside in order.
enum End {
    Failed(h2::Error),
    Expired(Wait),
    Panicked,
}

/// Serves a connection whose client speaks HTTP/2.
pub(in crate::proxy) async fn serve(connection: Rc<Connection>, stream: ClientStream) {
    connection.state.begin_streams();
    let limits = connection.worker.limits();
    let mut handshake = std::pin::pin!(builder(limits).handshake(stream));
    let state = &connection.state;
    let shaken = poll_fn(|cx| {
        state.watch.set_waker(cx.waker());
        match expired(state) {
            Some(wait) => Poll::Ready(Err(End::Expired(wait))),
            None => handshake.as_mut().poll(cx).map_err(End::Failed),
        }
    })
    .await;
    let ended = match shaken {
        Ok(server) => {
            state.watch.stop(Wait::Head);
            connection.worker.metrics.http2_connections.increment();
            let shared = Rc::default();
            let mut serving =
                Serving { connection: Rc::clone(&connection), shared, server, leaving: false, known: false };
            connection.await_request();
            poll_fn(|cx| serving.poll(cx)).await
        }
        Err(end) => Err(end),
    };
    if let Err(end) = ended {
        account(&connection, &end);
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_frame_size(FRAME_BYTES_MAX)
        .enable_connect_protocol()
        .max_send_buffer_size(limits.h2_send_buffer_bytes.max(1))
        .max_pending_accept_reset_streams(or_all(limits.h2_resets_max))
        .max_concurrent_reset_streams(or_all(limits.h2_resets_max))
        .max_local_error_reset_streams((limits.h2_resets_max > 0).then(|| or_all(limits.h2_resets_max)));
    if limits.h2_streams_max > 0 {
        builder.max_concurrent_streams(limits.h2_streams_max);
    }
    if limits.h2_stream_window_bytes > 0 {
        builder.initial_window_size(limits.h2_stream_window_bytes.min(WINDOW_BYTES_MAX));
    }
    if limits.h2_connection_window_bytes > 0 {
        builder.initial_connection_window_size(limits.h2_connection_window_bytes.min(WINDOW_BYTES_MAX));
    }
    if let Some(bytes) = header_list_bytes(limits) {
        builder.max_header_list_size(bytes);
    }
    builder
}

/// The largest window of RFC 9113 section 6.9.1.
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

fn or_all(limit: u32) -> usize {
    if limit == 0 { usize::MAX } else { limit as usize }
}

/// The limit on a head as HTTP/2 counts it: what is a little over ours is still read, and refused with a reason.
fn header_list_bytes(limits: &Limits) -> Option<u32> {
    let bytes = limits.head_bytes_max.saturating_add(limits.fields_max.saturating_mul(FIELD_OVERHEAD_BYTES));
    (limits.head_bytes_max > 0).then(|| u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// The wait that ran out; a closed connection that is still read ends by itself.
fn expired(state: &StreamState) -> Option<Wait> {
    state.watch.expired().filter(|wait| *wait != Wait::Discard)
}

impl Serving {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !self.known {
            self.connection.state.watch.set_waker(cx.waker());
            self.known = true;
        }
        if let Some(wait) = expired(&self.connection.state) {
            if wait != Wait::KeepAlive {
                return Poll::Ready(Err(End::Expired(wait)));
            }
            self.connection.state.watch.take_expiry(Wait::KeepAlive);
            self.end_idle();
        }
        self.leave_if_due();
        // A panic costs this connection and nothing else.
        match catch_unwind(AssertUnwindSafe(|| self.poll_streams(cx))) {
            Ok(polled) => polled.map_err(End::Failed),
            Err(_) => Poll::Ready(Err(End::Panicked)),
        }
    }

    /// Reads frames, opens streams, writes what waits.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            match self.server.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.connection.state.watch.stop(Wait::KeepAlive);
                    stream::open(&self.connection, &self.shared, request, respond);
                    self.leave_if_due();
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        if !self.connection.state.watch.is_waiting(Wait::Write) {
            self.shared.outbox.empty();
        }
        Poll::Pending
    }

    /// Says goodbye when the connection has carried enough, when the worker drains, or when the client asks for it.
    fn leave_if_due(&mut self) {
        let limits = self.connection.worker.limits();
        if limits.h2_resets_max != 0 && self.shared.resets.get() > limits.h2_resets_max {
            self.shared.resets.set(0);
            self.connection.worker.metrics.limit(Limit::Http2Resets);
            self.server.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.leaving = true;
        }
        if !self.leaving && self.connection.is_last_request() {
            self.leaving = true;
            self.server.graceful_shutdown();
            if self.shared.open.get() == 0 {
                self.connection.await_request();
            }
        }
    }

    /// Nothing came for too long.
    fn end_idle(&mut self) {
        if !self.leaving {
            self.connection.worker.metrics.limit(Limit::KeepAlive);
        }
        self.leaving = true;
        self.server.abrupt_shutdown(Reason::NO_ERROR);
    }
}

/// Counts what ended a connection before its time.
fn account(connection: &Rc<Connection>, end: &End) {
    let metrics = &connection.worker.metrics;
    match end {
        End::Panicked => metrics.panics.increment(),
        End::Expired(wait) => connection::account_expiry(connection, *wait),
        End::Failed(error) => match error.reason() {
            // The h2 crate has had enough: too many resets, frames without content, or too large a head.
            Some(Reason::ENHANCE_YOUR_CALM) if error.is_library() => metrics.limit(Limit::Http2Flood),
            Some(_) if error.is_library() => exchange::record_unserved(connection, Fault::RequestMalformed),
            // The client's own reason, or its transport's.
            _ => {}
        },
    }
}
