//! Owns one try of an exchange on one connection: its wait for the response head, and what it comes to.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::connection::{SendError, Sending};
use super::endpoint::Lease;
use super::pool::{Exchanged, ForwardError};
use super::request::UpstreamRequest;
use crate::clock::{Wait, Watch};
use crate::fault::Fault;

/// A request on a connection, waiting for its response head.
///
/// Written out rather than `async`: on the way of every request, each layer of futures would copy the response once more.
pub(super) struct Attempt {
    /// Gone once the response is there.
    lease: Option<Lease>,
    sending: Sending,
    watch: Arc<Watch>,
}

/// Says how an attempt failed.
#[derive(Debug)]
pub(super) struct AttemptError {
    /// What happened, and where.
    pub error: ForwardError,
    /// The request, where provably nothing of it was sent.
    pub unsent: Option<Box<UpstreamRequest>>,
}

impl Attempt {
    /// Sends on a connection, at once where that is possible.
    ///
    /// `response_ms` is the time for the response head, 0 for no limit.
    pub(super) fn begin(lease: Lease, request: Box<UpstreamRequest>, watch: Arc<Watch>, response_ms: u32) -> Self {
        watch.start(Wait::Upstream, response_ms);
        let sending = lease.send(request);
        Self { lease: Some(lease), sending, watch }
    }

    /// What a failure to send comes to.
    fn fail(&mut self, error: SendError) -> AttemptError {
        let lease = self.lease.take();
        // A connection that was stale before anything was sent says nothing about the endpoint.
        let unsent = error.unsent.filter(|_| lease.as_ref().is_some_and(|lease| lease.connected_in.is_none()));
        let endpoint = lease.map(|lease| lease.address());
        AttemptError { error: ForwardError { fault: error.fault, endpoint }, unsent }
    }
}

impl Future for Attempt {
    type Output = Result<Exchanged, AttemptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let attempt = &mut *self;
        if attempt.watch.take_expiry(Wait::Upstream) {
            return Poll::Ready(Err(attempt.fail(SendError::sent(Fault::ResponseTimeout))));
        }
        let sent = ready!(Pin::new(&mut attempt.sending).poll(cx));
        attempt.watch.stop(Wait::Upstream);
        Poll::Ready(match sent {
            Ok(response) => match attempt.lease.take() {
                Some(lease) => Ok(Exchanged { response, lease }),
                None => Err(attempt.fail(SendError::sent(Fault::ConnectionTerminated))),
            },
            Err(error) => Err(attempt.fail(error)),
        })
    }
}

/// Waits for a future until the wait for the upstream runs out; `None` then.
pub(super) async fn within<F: Future>(watch: &Watch, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if watch.take_expiry(Wait::Upstream) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
