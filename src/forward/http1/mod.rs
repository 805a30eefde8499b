//! Owns one HTTP/1.1 connection to an upstream: one exchange after another, driven by the requests' own tasks.
//!
//! There is no task of the connection and no channel: who waits for the response polls the socket. Only an upload that
//! outlasts the response head gets a task, because the client may read the response after it has sent all.

mod body;
mod buffers;
mod sending;
mod upload;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::{fmt, io};

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use http::header::HeaderMap;
use http_body::Body as _;
use tokio::task::AbortHandle;

pub(super) use body::{ResponseBody, ResponseCut};
use buffers::ReadSize;
pub(super) use sending::Sending;

use super::body::Interim;
use super::endpoint::OpenConnection;
use super::request::UpstreamRequest;
use super::stream::{Stream, Tunnel};
use super::wire::response::{self, ResponseHead};
use crate::fault::Fault;

/// Interim heads (1xx) before a response; more are an endless answer.
const INTERIM_MAX: u32 = 32;

/// A connection that carries one exchange after another.
///
/// The connection's lease and the response's body hold it; an idle one only its pool.
pub(super) struct Http1(Rc<RefCell<Inner>>);

struct Inner {
    stream: Stream,
    /// What has been received and belongs to nobody yet.
    received: Bytes,
    /// Bytes of `received` that hold no end of a head.
    scanned: usize,
    read_size: ReadSize,
    /// The request's own map, to be used again for the response; it lies here because what waits is moved.
    headers: HeaderMap,
    interim_heads: u32,
    /// Whether the request is a HEAD.
    answers_head: bool,
    /// Whether the request has been sent whole.
    is_sent: bool,
    /// What the response head says of the connection.
    keep_alive: bool,
    /// Whether it stands for one client, and so for one exchange.
    is_single: bool,
    /// Whether the last exchange has left nothing behind and the next may begin.
    is_ready: bool,
    /// The task of an upload that outlasts the response head.
    upload: Option<AbortHandle>,
    /// Who waits for more of the response, while an upload of its own task may end that.
    reader: Option<Waker>,
    /// Gone to the tunnel after an upgrade.
    open: Option<OpenConnection>,
}

impl Http1 {
    /// Wraps a stream; a `single` connection carries one exchange only.
    pub(super) fn new(stream: Stream, is_single: bool, open: OpenConnection) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            stream,
            received: Bytes::new(),
            scanned: 0,
            read_size: ReadSize::default(),
            headers: HeaderMap::new(),
            interim_heads: 0,
            answers_head: false,
            is_sent: true,
            keep_alive: true,
            is_single,
            is_ready: true,
            upload: None,
            reader: None,
            open: Some(open),
        })))
    }

    /// Whether the last exchange is over and nothing of it is left.
    pub(super) fn is_ready(&self) -> bool {
        self.0.borrow().is_ready
    }

    /// Whether nothing has arrived since, not even the end (rule U5).
    pub(super) fn is_still(&self) -> bool {
        self.0.borrow_mut().stream.is_still()
    }

    /// Sends a request; the future waits for the response head.
    ///
    /// A request without a body is sent at once, so that the future which is moved around holds none of it.
    pub(super) fn send(&self, request: Box<UpstreamRequest>) -> Sending {
        if !request.body.is_end_stream() {
            return Sending::later(&self.0, request);
        }
        // Nobody needs to be woken: what does not go out now is polled again by the future.
        Sending::at_once(&self.0, request, &mut Context::from_waker(Waker::noop()))
    }

    /// Takes the byte stream out after a 101.
    pub(super) fn into_tunnel(self) -> Tunnel {
        let mut inner = self.0.borrow_mut();
        Tunnel::new(inner.stream.take(), std::mem::take(&mut inner.received), inner.open.take())
    }

    /// Whether the request has been sent whole.
    #[cfg(test)]
    pub(super) fn is_sent(&self) -> bool {
        self.0.borrow().is_sent
    }

    /// Ends what may still be under way; nobody waits for it any more.
    pub(super) fn abandon(&self) {
        self.0.borrow_mut().stop_upload();
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Http1").finish_non_exhaustive()
    }
}

impl Inner {
    fn begin(&mut self, answers_head: bool) {
        self.is_ready = false;
        self.is_sent = false;
        self.interim_heads = 0;
        self.answers_head = answers_head;
    }

    /// Reads the response head; interim ones are kept for the client (rule P11).
    fn poll_head(&mut self, interim: &Interim, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Fault>> {
        loop {
            if let Some(head) = self.parse_head()? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.keep_alive = head.keep_alive && head.status != StatusCode::SWITCHING_PROTOCOLS;
                    return Poll::Ready(Ok(head));
                }
                self.interim_heads += 1;
                if self.interim_heads > INTERIM_MAX {
                    return Poll::Ready(Err(Fault::ResponseMalformed));
                }
                interim.pass(head.status, head.headers);
            } else if !ready!(self.poll_more_of_head(cx)).unwrap_or(false) {
                return Poll::Ready(Err(Fault::ConnectionTerminated));
            }
        }
    }

    /// Reads a head off what has been received, if it is there whole.
    fn parse_head(&mut self) -> Result<Option<ResponseHead>, Fault> {
        let is_worth_it = self.scanned == 0 || response::ends_head(&self.received, self.scanned);
        if self.received.is_empty() || (!is_worth_it && self.received.len() < response::HEAD_BYTES_MAX) {
            return Ok(None);
        }
        let head = response::parse_head(&self.received, self.answers_head, &mut self.headers);
        let head = head.map_err(|_| Fault::ResponseMalformed)?;
        if let Some(head) = &head {
            self.received.advance(head.bytes);
            self.scanned = 0;
        }
        Ok(head)
    }

    fn poll_more_of_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.received.is_empty() {
            return self.poll_more(cx);
        }
        self.scanned = self.received.len();
        buffers::poll_append(&mut self.stream, &mut self.received, cx)
    }

    /// Receives what there is, once nothing is left; false at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.received = ready!(buffers::poll_receive(&mut self.stream, &mut self.read_size, cx))?;
        Poll::Ready(Ok(!self.received.is_empty()))
    }

    /// The response is over; bytes behind it, or a request that is not, end the connection with it (rules U5, U9).
    fn end_answer(&mut self) {
        self.is_ready = self.keep_alive && !self.is_single && self.is_sent && self.received.is_empty();
        self.stop_upload();
    }

    fn stop_upload(&mut self) {
        if let Some(task) = self.upload.take() {
            task.abort();
        }
    }

    /// Closes the stream under whoever reads the response.
    fn cut(&mut self) {
        drop(self.stream.take());
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
