//! Owns the request body as a client sends it, over HTTP/1.1 or on a stream of HTTP/2, or as it was kept.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A client's request body as it comes off the connection.
#[derive(Debug)]
pub enum ClientBody {
    /// Of HTTP/1.1, framed by its length or in chunks.
    Http1(Incoming),
    /// Of an HTTP/2 stream.
    Http2(StreamBody),
    /// All of it is here already.
    Whole(Bytes),
    /// There is none, or the stream is to become a tunnel.
    None,
}

/// The body of an HTTP/2 request.
///
/// The stream's window opens again only when the next part is asked for: what the upstream has not taken, the client
/// cannot replace. Clones read the same body: the stream's task keeps one, because the stream is reset with the last.
#[derive(Debug, Clone)]
pub struct StreamBody(Rc<RefCell<Incomplete>>);

/// What of it has come, and the stream for the rest.
#[derive(Debug)]
struct Incomplete {
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
        Self(Rc::new(RefCell::new(Incomplete { stream, length, received: 0, held: 0, at_trailers: false })))
    }

    /// Reads the next part; trailers are the end.
    ///
    /// # Errors
    /// When the client resets the stream or breaks a rule.
    pub fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        let frame = ready!(self.0.borrow_mut().poll_frame(cx));
        Poll::Ready(
            frame.and_then(|frame| frame.map_err(|_| BrokenBody).map(|frame| frame.into_data().ok()).transpose()),
        )
    }

    /// Leaves the window as it is when the next part is asked for.
    pub fn shut_window(&self) {
        self.0.borrow_mut().held = 0;
    }

    /// Whether it has been read to its end.
    pub fn is_end_stream(&self) -> bool {
        self.0.borrow().stream.is_end_stream()
    }
}

impl Incomplete {
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
            Self::Http2(body) => body.0.borrow_mut().poll_frame(cx).map_err(|_| BrokenBody),
            Self::Whole(body) if body.is_empty() => Poll::Ready(None),
            Self::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Self::None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_empty(),
            Self::None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.0.borrow().size_hint(),
            Self::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Self::None => SizeHint::with_exact(0),
        }
    }
}

/// Says that a client's body is cut or malformed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client's body is cut or malformed")]
pub struct BrokenBody;
