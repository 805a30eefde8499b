//! Owns the response body on its way down: when it is complete, cut or stalled, and where its connection goes then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::exchange::Exchange;
use super::http2::StreamTunnel;
use crate::clock::{Wait, Watch};
use crate::fault::{Fault, Side};
use crate::forward::{Lease, ResponseBody};
use crate::head::trailers;
use crate::upstream::Upstream;

/// A response body: our own few bytes, or an upstream's stream; a pointer, because the response is moved often.
pub(super) enum Answer {
    /// Made here.
    Own(Box<Own>),
    /// Passed on.
    Passed(Box<Passed>),
    /// Not an answer any more: a WebSocket on a stream.
    Tunnel(Box<StreamTunnel>),
}

/// A few bytes of ours.
pub(super) struct Own {
    /// What is left to send.
    text: Option<Bytes>,
    /// Recorded when it has been handed over.
    exchange: Option<Box<Exchange>>,
}

/// An upstream's response body, with everything that ends with it.
pub(super) struct Passed {
    body: ResponseBody,
    lease: Option<Lease>,
    upstream: Arc<Upstream>,
    watch: Arc<Watch>,
    exchange: Box<Exchange>,
    waiting: bool,
    /// Its head says the length of what another answer would hold (a 304 over HTTP/1.1).
    keeps_length: bool,
}

/// Says that a response was cut; hyper then breaks the client's connection, so that it never looks complete.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("the upstream's response was cut: {}", .0.as_str())]
    Cut(Fault),
    #[error("the tunnel broke")]
    Tunnel,
}

impl Answer {
    pub(super) fn own(text: Bytes, mut exchange: Box<Exchange>) -> Self {
        if text.is_empty() {
            // Nobody asks for a body that is not there.
            exchange.complete();
        }
        Self::Own(Box::new(Own { text: Some(text).filter(|text| !text.is_empty()), exchange: Some(exchange) }))
    }

    /// Nothing to send: the connection becomes a tunnel.
    pub(super) fn empty() -> Self {
        Self::Own(Box::new(Own { text: None, exchange: None }))
    }

    /// Passes a body on; with `keeps_length` the head's `Content-Length` stays although there is no body.
    pub(super) fn passed(
        body: ResponseBody,
        lease: Lease,
        upstream: &Arc<Upstream>,
        exchange: Box<Exchange>,
        keeps_length: bool,
    ) -> Self {
        let (watch, upstream) = (Arc::clone(exchange.watch()), Arc::clone(upstream));
        let mut passed = Passed { body, lease: Some(lease), upstream, watch, exchange, waiting: false, keeps_length };
        if passed.body.is_end_stream() {
            passed.complete();
        }
        Self::Passed(Box::new(passed))
    }
}

impl Passed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if self.waiting && self.watch.take_expiry(Wait::Upstream) {
            return Poll::Ready(Some(Err(self.fail(Fault::ResponseStalled))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && !self.waiting {
            self.waiting = true;
            self.watch.start(Wait::Upstream, self.upstream.timeouts.body_idle_ms);
        }
        let frame = ready!(polled);
        if self.waiting {
            self.waiting = false;
            self.watch.stop(Wait::Upstream);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(self.pass(frame))),
            Some(Err(_)) => {
                let fault = self.exchange.broken_upload().unwrap_or(Fault::ResponseIncomplete);
                Some(Err(self.fail(fault)))
            }
            None => {
                self.complete();
                None
            }
        })
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let frame = match frame.into_trailers() {
            Ok(mut fields) => {
                trailers::prepare(&mut fields);
                // Nothing follows trailers, and nobody asks again.
                self.complete();
                return Frame::trailers(fields);
            }
            Err(data) => data,
        };
        if let Some(data) = frame.data_ref() {
            self.exchange.passed(data);
        }
        if self.body.is_end_stream() {
            self.complete();
        }
        frame
    }

    /// The response is whole: its connection may carry the next.
    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
            self.exchange.complete();
        }
    }

    fn fail(&mut self, fault: Fault) -> AnswerError {
        if let Some(lease) = self.lease.take().filter(|_| fault.side() == Side::Upstream) {
            lease.failed(&self.upstream);
        }
        self.exchange.fail(fault);
        AnswerError::Cut(fault)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Own(own) => {
                let text = own.text.take();
                if let Some(mut exchange) = own.exchange.take() {
                    exchange.add_sent(text.as_ref().map_or(0, |text| text.len() as u64));
                    exchange.complete();
                }
                Poll::Ready(text.map(|text| Ok(Frame::data(text))))
            }
            Self::Passed(passed) => passed.poll(cx),
            Self::Tunnel(tunnel) => {
                tunnel.poll_down(cx).map(|data| data.map(|data| data.map(Frame::data).map_err(|_| AnswerError::Tunnel)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.text.is_none(),
            // hyper takes the length off a head without a body, and sends none with a 304 whatever it is given.
            Self::Passed(passed) => passed.body.is_end_stream() && !passed.keeps_length,
            Self::Tunnel(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => SizeHint::with_exact(own.text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Passed(passed) if passed.keeps_length => SizeHint::default(),
            Self::Passed(passed) => passed.body.size_hint(),
            Self::Tunnel(_) => SizeHint::default(),
        }
    }
}
