//! Owns the request body on its way up: limits, deadlines, and whose fault it is when it breaks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock::{self, Wait, Watch};
use crate::fault::Fault;
use crate::head::trailers;
use crate::limits::Limits;

/// How long a request body may start slowly before the minimum rate counts, in milliseconds.
const RATE_GRACE_MS: u64 = 5_000;
/// Interim heads that may wait for the client; more that come at once are dropped.
const INTERIM_HEADS_MAX: usize = 8;

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
    interim: RefCell<VecDeque<Parts>>,
}

impl BodyProgress {
    /// Keeps an interim head (1xx, but neither 100 nor 101) for the client, who gets it before the final one (rule P11).
    ///
    /// Call it while the response head is waited for; whoever waits looks here each time that it is woken.
    pub fn keep_interim(&self, head: Parts) {
        let mut interim = self.interim.borrow_mut();
        if interim.len() < INTERIM_HEADS_MAX {
            interim.push_back(head);
        }
    }

    /// Takes the oldest interim head that waits.
    pub fn take_interim(&self) -> Option<Parts> {
        self.interim.borrow_mut().pop_front()
    }
}

/// A client's request body as it comes off the connection.
#[derive(Debug)]
pub enum ClientBody {
    /// Of HTTP/1.1, framed by its length or in chunks.
    Http1(Incoming),
    /// Of an HTTP/2 stream.
    Http2(StreamBody),
}

/// The body of an HTTP/2 request.
///
/// The stream's window opens again only when the next part is asked for: what the upstream has not taken, the client
/// cannot replace.
#[derive(Debug)]
pub struct StreamBody {
    stream: RecvStream,
    /// What the request says it will be.
    length: Option<u64>,
    received: u64,
    /// Bytes handed out for which the window has not been opened again.
    held: usize,
    /// All data has come; trailers may follow.
    at_trailers: bool,
}

impl StreamBody {
    /// Wraps a stream whose request announces `length` bytes, if it says so.
    pub fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, length, received: 0, held: 0, at_trailers: false }
    }

    /// The stream, for what follows when no more of the body is wanted.
    pub fn into_stream(self) -> RecvStream {
        self.stream
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.held > 0 {
            // It fails only for more than was received.
            let _ = self.stream.flow_control().release_capacity(std::mem::take(&mut self.held));
        }
        if !self.at_trailers {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.held = data.len();
                    self.received += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.at_trailers = true,
            }
        }
        self.stream.poll_trailers(cx).map(|trailers| trailers.transpose().map(|fields| fields.map(Frame::trailers)))
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            _ if self.stream.is_end_stream() => SizeHint::with_exact(0),
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.received)),
            None => SizeHint::default(),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(|_| BrokenBody),
            Self::Http2(body) => body.poll_frame(cx).map_err(|_| BrokenBody),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// Says that a client's body is cut or malformed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client's body is cut or malformed")]
pub struct BrokenBody;

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
        }
    }

    /// What is known about it, shared with the handler.
    pub fn progress(&self) -> Rc<BodyProgress> {
        Rc::clone(&self.progress)
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
                if bytes > self.bytes_max { Some(Err(self.fail(Fault::BodyTooLarge))) } else { Some(Ok(frame)) }
            }
            Some(Err(_)) => Some(Err(self.fail(Fault::RequestBodyBroken))),
            None => {
                self.wait_for_upstream();
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
