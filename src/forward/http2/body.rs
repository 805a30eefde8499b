//! Owns the body of a response over HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

/// The body of a response on one stream; dropping it ends the stream, and an upload that still goes on.
///
/// The stream's window opens again only when the next part is asked for: what the client has not taken, the upstream
/// cannot replace.
#[derive(Debug)]
pub(in crate::forward) struct ResponseBody {
    stream: RecvStream,
    /// Bytes handed out for which the window has not been opened again.
    held: usize,
    /// All data has come; trailers may follow.
    at_trailers: bool,
    upload: Option<AbortHandle>,
}

impl ResponseBody {
    pub(super) fn new(stream: RecvStream, upload: Option<AbortHandle>) -> Self {
        Self { stream, held: 0, at_trailers: false, upload }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let held = std::mem::take(&mut self.held);
        if held > 0 {
            // It fails only for more than was received.
            let _ = self.stream.flow_control().release_capacity(held);
        }
        if !self.at_trailers {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.held = data.len();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.at_trailers = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(trailers.transpose().map(|fields| fields.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abort();
        }
    }
}
