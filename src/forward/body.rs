//! Owns the request body on its way up: limits, deadlines, and whose fault it is when it breaks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::client_body::ClientBody;
use crate::clock::{self, Wait, Watch};
use crate::fault::Fault;
use crate::head::trailers;
use crate::limits::Limits;

/// How long a request body may start slowly before the minimum rate counts, in milliseconds.
const RATE_GRACE_MS: u64 = 5_000;
/// Interim heads that may wait for the client; more that come at once are dropped.
const INTERIM_HEADS_MAX: usize = 32;

/// What is known about a request body while it is on its way; the handler and the log read it.
#[derive(Debug, Default)]
pub struct BodyProgress {
    /// Bytes received from the client.
    pub bytes: Cell<u64>,
    /// Why the body broke, if it did; never the upstream's fault.
    pub broken: Cell<Option<Fault>>,
    /// The response head is there: the wait for the upstream belongs to the response body from now on.
    pub answered: Cell<bool>,
    /// Interim heads of the upstream that wait to be passed on, oldest first.
    interim: RefCell<VecDeque<(StatusCode, HeaderMap)>>,
}

impl BodyProgress {
    /// Takes the oldest interim head that waits.
    pub fn take_interim(&self) -> Option<(StatusCode, HeaderMap)> {
        self.interim.borrow_mut().pop_front()
    }
}

/// Keeps the interim heads (1xx) that come before a response for the client; used in the request's task (rule P11).
#[derive(Debug)]
pub(super) struct Interim(Rc<BodyProgress>);

impl Interim {
    pub(super) fn pass(&self, status: StatusCode, headers: HeaderMap) {
        let mut heads = self.0.interim.borrow_mut();
        // A 100 says nothing to a client that has been told to go on, or that never waited.
        if status != StatusCode::CONTINUE && heads.len() < INTERIM_HEADS_MAX {
            heads.push_back((status, headers));
        }
    }
}

/// Sees a request body on its way up.
pub trait Tap: fmt::Debug {
    /// Sees a part, before the upstream does.
    ///
    /// # Errors
    /// A fault of the client, when this body must not go on.
    fn data(&self, data: &Bytes) -> Result<(), Fault>;

    /// Sees that the body is whole: once, and never of one that breaks.
    fn end(&self);
}

/// A request body that enforces limits and remembers its own failure.
///
/// hyper shows a broken request body as a failure of the upstream request; [`BodyProgress::broken`] tells the two
/// apart. A body that ends early yields an error, so that the upstream never sees a clean end.
#[derive(Debug)]
pub struct RequestBody {
    inner: ClientBody,
    progress: Rc<BodyProgress>,
    watch: Arc<Watch>,
    started_ms: u64,
    idle_timeout_ms: u32,
    rate_min_bytes: u32,
    bytes_max: u64,
    response_timeout_ms: u32,
    /// Taken at the end.
    tap: Option<Rc<dyn Tap>>,
}

/// Says that a request body cannot be forwarded.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request body failed: {}", .0.as_str())]
pub struct BodyError(Fault);

impl RequestBody {
    /// Wraps a client's body; `bytes_max` is the route's limit in bytes.
    pub fn new(inner: ClientBody, watch: Arc<Watch>, limits: &Limits, bytes_max: Option<u64>) -> Self {
        Self {
            inner,
            progress: Rc::default(),
            watch,
            started_ms: clock::now_ms(),
            idle_timeout_ms: limits.body_idle_timeout_ms,
            rate_min_bytes: limits.body_rate_min_bytes,
            bytes_max: bytes_max.unwrap_or(u64::MAX),
            response_timeout_ms: 0,
            tap: None,
        }
    }

    /// Lets `tap` see the body.
    #[must_use]
    pub fn tapped(mut self, tap: Rc<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self.show_end();
        self
    }

    /// Shows the tap that the body is whole, as soon as that is known.
    fn show_end(&mut self) {
        if self.tap.is_some()
            && self.inner.is_end_stream()
            && let Some(tap) = self.tap.take()
        {
            tap.end();
        }
    }

    /// Shows the tap a part.
    fn show(&mut self, frame: &Frame<Bytes>) -> Result<(), Fault> {
        let Some(tap) = &self.tap else { return Ok(()) };
        match frame.data_ref() {
            Some(data) => {
                tap.data(data)?;
                self.show_end();
            }
            // Trailers are the end.
            None => {
                if let Some(tap) = self.tap.take() {
                    tap.end();
                }
            }
        }
        Ok(())
    }

    /// What is known about it, shared with the handler.
    pub fn progress(&self) -> Rc<BodyProgress> {
        Rc::clone(&self.progress)
    }

    /// Where interim heads go.
    pub(super) fn interim(&self) -> Interim {
        Interim(Rc::clone(&self.progress))
    }

    /// Sets how long the upstream has for its response head after each part of the body.
    pub(super) fn set_response_timeout(&mut self, ms: u32) {
        self.response_timeout_ms = ms;
    }

    /// The client is waited for: the upstream's clock stands still.
    fn wait_for_client(&self) {
        if self.watch.is_waiting(Wait::Body) || self.watch.is_waiting(Wait::BodyRate) {
            return;
        }
        if !self.progress.answered.get() {
            self.watch.stop(Wait::Upstream);
        }
        self.watch.start(Wait::Body, self.idle_timeout_ms);
        if self.rate_min_bytes > 0 {
            let earned_ms = self.progress.bytes.get().saturating_mul(1_000) / u64::from(self.rate_min_bytes);
            self.watch.start_until(Wait::BodyRate, self.started_ms + RATE_GRACE_MS + earned_ms);
        }
    }

    fn wait_for_upstream(&self) {
        if self.watch.is_waiting(Wait::Body) || self.watch.is_waiting(Wait::BodyRate) {
            self.watch.stop(Wait::Body);
            self.watch.stop(Wait::BodyRate);
        }
        if !self.progress.answered.get() {
            self.watch.start(Wait::Upstream, self.response_timeout_ms);
        }
    }

    fn fail(&self, fault: Fault) -> BodyError {
        self.wait_for_upstream();
        self.progress.broken.set(Some(fault));
        BodyError(fault)
    }
}

/// Takes out of trailers what they must not say (rule P14).
fn permitted(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut fields) => {
            trailers::prepare(&mut fields);
            Frame::trailers(fields)
        }
        Err(data) => data,
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            self.wait_for_client();
        }
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => {
                self.wait_for_upstream();
                let frame = permitted(frame);
                let bytes = self.progress.bytes.get() + frame.data_ref().map_or(0, |data| data.len() as u64);
                self.progress.bytes.set(bytes);
                if bytes > self.bytes_max {
                    return Poll::Ready(Some(Err(self.fail(Fault::BodyTooLarge))));
                }
                Some(match self.show(&frame) {
                    Ok(()) => Ok(frame),
                    Err(fault) => Err(self.fail(fault)),
                })
            }
            Some(Err(_)) => Some(Err(self.fail(Fault::RequestBodyBroken))),
            None => {
                self.wait_for_upstream();
                if let Some(tap) = self.tap.take() {
                    tap.end();
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
