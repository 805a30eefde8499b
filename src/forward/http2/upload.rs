//! Owns a request body on its way up an HTTP/2 stream, as fast as the upstream's windows allow.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::forward::body::RequestBody;

/// A body that is not yet wholly sent.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// What waits for the upstream's window.
    data: Bytes,
}

/// Says that a body could not be sent whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadError {
    /// It broke; the body knows why.
    Body,
    /// The upstream wants no more of it.
    Stream,
}

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>, body: RequestBody) -> Self {
        Self { stream, body, data: Bytes::new() }
    }

    /// Sends as much as both sides allow; ready when all is sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            if !self.data.is_empty() {
                ready!(self.poll_send(cx))?;
                continue;
            }
            if self.body.is_end_stream() {
                return Poll::Ready(self.send(Bytes::new(), true));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(self.send(Bytes::new(), true)),
                Some(Err(_)) => {
                    // The upstream must not see a clean end (rule F14).
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(UploadError::Body));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.data = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| UploadError::Stream));
                    }
                },
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        self.stream.reserve_capacity(self.data.len());
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(UploadError::Stream)),
            }
        }
        let part = self.data.split_to(self.stream.capacity().min(self.data.len()));
        Poll::Ready(self.send(part, false))
    }

    fn send(&mut self, data: Bytes, is_last: bool) -> Result<(), UploadError> {
        self.stream.send_data(data, is_last).map_err(|_| UploadError::Stream)
    }
}
