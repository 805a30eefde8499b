//! Owns what happens to a request body that nobody wants: read and dropped within limits, never forwarded.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use hyper::body::Body as _;

use super::carrier::Carrier;
use super::connection::Connection;
use crate::clock::{Wait, Watch};
use crate::forward::{ClientBody, StreamBody};
use crate::head::Facts;
use crate::head::answer::Afterwards;
use crate::limits::Limit;

/// Reads and drops a body that nobody wants, within limits, so that the connection can be used again (rule F17).
pub(super) async fn discard(carrier: &Carrier, facts: Facts, mut body: ClientBody) -> Afterwards {
    // The rest of a stream is taken behind its answer.
    if body.is_end_stream() || carrier.is_stream() {
        return Afterwards::KeepOpen;
    }
    let connection = &carrier.connection;
    let limits = connection.worker.limits();
    // A client that waits for 100 (Continue) is not made to send what nobody reads.
    if facts.expect_continue || body.size_hint().lower() > limits.discard_bytes_max {
        return Afterwards::Close;
    }
    let mut left = limits.discard_bytes_max;
    let watch = &connection.state.watch;
    watch.start(Wait::Discard, limits.discard_timeout_ms);
    let read = poll_fn(|cx| {
        while !watch.take_expiry(Wait::Discard) {
            match ready!(Pin::new(&mut body).poll_frame(cx)) {
                None => return Poll::Ready(Some(Afterwards::KeepOpen)),
                Some(Err(_)) => return Poll::Ready(Some(Afterwards::Close)),
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(rest) = left.checked_sub(bytes) else { break };
                    left = rest;
                }
            }
        }
        Poll::Ready(None)
    })
    .await;
    watch.stop(Wait::Discard);
    read.unwrap_or_else(|| {
        connection.worker.metrics.limit(Limit::Discard);
        Afterwards::Close
    })
}

/// Reads and drops what is left of a stream's body once its answer has been sent, before the stream is reset (F17, U9).
///
/// Clients take a reset right behind an answer for its failure, although RFC 9113 section 8.1 tells them not to. Above
/// `discard_bytes_max` the window stays shut, and the client has the rest of the time to read the answer and to give up.
pub(super) async fn discard_rest(connection: &Connection, watch: &Watch, body: &StreamBody) {
    if body.is_end_stream() {
        return;
    }
    for wait in [Wait::Body, Wait::BodyRate, Wait::Upstream] {
        watch.stop(wait);
    }
    let limits = connection.worker.limits();
    let mut left = limits.discard_bytes_max;
    watch.start(Wait::Discard, limits.discard_timeout_ms);
    let is_over = poll_fn(|cx| {
        while !watch.take_expiry(Wait::Discard) {
            let Some(Ok(data)) = ready!(body.poll_data(cx)) else { return Poll::Ready(true) };
            left = left.saturating_sub(data.len() as u64);
            if left == 0 {
                body.shut_window();
            }
        }
        Poll::Ready(false)
    })
    .await;
    watch.stop(Wait::Discard);
    if !is_over {
        connection.worker.metrics.limit(Limit::Discard);
    }
}
