//! Owns the body of a response: it reads the socket, and knows where the response ends.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Inner;
use crate::forward::wire::Malformed;
use crate::forward::wire::chunks::{Chunk, ChunkDecoder};
use crate::forward::wire::response::ResponseFraming;

/// The body of an upstream's response.
pub(in crate::forward) struct ResponseBody {
    connection: Rc<RefCell<Inner>>,
    rest: Rest,
    /// How it was cut, until that is told.
    cut: Option<ResponseCut>,
}

/// What is still to come.
#[derive(Debug)]
enum Rest {
    Nothing,
    Length(u64),
    Chunks(ChunkDecoder),
    UntilClose,
}

/// Says that a response did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ResponseCut {
    /// The connection ended before the response.
    #[error("the connection ended in the middle of the response")]
    Ended,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// What came is no body.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl ResponseBody {
    pub(super) fn new(connection: &Rc<RefCell<Inner>>, inner: &mut Inner, framing: ResponseFraming) -> Self {
        let rest = match framing {
            ResponseFraming::None | ResponseFraming::Length(0) => {
                inner.end_answer();
                Rest::Nothing
            }
            ResponseFraming::Length(bytes) => Rest::Length(bytes),
            ResponseFraming::Chunked => Rest::Chunks(ChunkDecoder::default()),
            ResponseFraming::UntilClose => {
                inner.keep_alive = false;
                Rest::UntilClose
            }
        };
        Self { connection: Rc::clone(connection), rest, cut: None }
    }
}

impl Rest {
    /// Takes what belongs to the body off what has been received; `None` when more is needed.
    fn take(&mut self, received: &mut Bytes) -> Result<Option<Chunk>, Malformed> {
        match self {
            Self::Nothing => Ok(Some(Chunk::End)),
            Self::Chunks(decoder) => decoder.decode(received),
            _ if received.is_empty() => Ok(None),
            Self::Length(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
                *left -= bytes as u64;
                if *left == 0 {
                    *self = Self::Nothing;
                }
                Ok(Some(Chunk::Data(received.split_to(bytes))))
            }
            Self::UntilClose => Ok(Some(Chunk::Data(std::mem::take(received)))),
        }
    }
}

impl Inner {
    fn poll_body(&mut self, rest: &mut Rest, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, ResponseCut>> {
        loop {
            let frame = match rest.take(&mut self.received)? {
                Some(Chunk::Data(data)) => {
                    if matches!(rest, Rest::Nothing) {
                        self.end_answer();
                    }
                    return Poll::Ready(Ok(Some(Frame::data(data))));
                }
                Some(Chunk::Trailers(fields)) => Some(Frame::trailers(fields)),
                Some(Chunk::End) => None,
                None if ready!(self.poll_more(cx))? => continue,
                None if matches!(rest, Rest::UntilClose) => None,
                None => return Poll::Ready(Err(ResponseCut::Ended)),
            };
            if !matches!(rest, Rest::Nothing) {
                *rest = Rest::Nothing;
                self.end_answer();
            }
            return Poll::Ready(Ok(frame));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseCut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseCut>>> {
        let Self { connection, rest, cut } = &mut *self;
        if let Some(cut) = cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let mut inner = connection.borrow_mut();
        let polled = inner.poll_body(rest, cx);
        if polled.is_pending() && inner.upload.is_some() {
            inner.reader = Some(cx.waker().clone());
        }
        match ready!(polled) {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(error) => {
                // What came before goes out first: an error at once would end the client's connection without a head.
                *cut = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Length(bytes) => SizeHint::with_exact(bytes),
            Rest::Chunks(_) | Rest::UntilClose => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ResponseBody").field("rest", &self.rest).finish_non_exhaustive()
    }
}
