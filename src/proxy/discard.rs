//! Owns what happens to a request body that nobody wants: read and dropped within limits, never forwarded.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use hyper::body::Body as _;

use super::carrier::Carrier;
use crate::clock::Wait;
use crate::forward::ClientBody;
use crate::head::Facts;
use crate::head::answer::Afterwards;
use crate::limits::Limit;

/// Reads and drops a body that nobody wants, within limits, so that the connection can be used again (rule F17).
pub(super) async fn discard(carrier: &Carrier, facts: Facts, mut body: ClientBody) -> Afterwards {
    // A stream can be broken off without its connection.
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
