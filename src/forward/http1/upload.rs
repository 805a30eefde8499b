//! Owns a request on its way up: head and body as bytes, written as the upstream takes them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;

use super::buffers;
use crate::forward::request::UpstreamRequest;
use crate::forward::stream::Stream;
use crate::forward::wire::chunks;
use crate::forward::wire::request::{RequestFraming, write_head};

/// Body data up to this size is copied behind the head or the chunk's size, in bytes; larger goes as it is.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// What is gathered before it is sent, in bytes.
const GATHER_BYTES_MAX: usize = 16 * 1024;

/// A request that is not yet wholly sent.
#[derive(Debug)]
pub(super) struct Upload {
    text: Vec<u8>,
    /// Bytes of `text` that are sent.
    text_sent: usize,
    /// Follows `text`.
    data: Bytes,
    /// Follows `data`: the end of a chunk that was not copied.
    tail: &'static [u8],
    framing: RequestFraming,
    pub(super) request: Box<UpstreamRequest>,
    /// The body has been taken whole.
    is_over: bool,
    /// Whether a part of the body has been taken: then the request cannot be given back.
    is_body_begun: bool,
    bytes_sent: u64,
}

/// Says why a request could not be sent whole.
#[derive(Debug)]
pub(super) enum UploadError {
    /// Its body broke; the body knows why.
    Body,
    /// The upstream took no more.
    Stream,
}

impl Upload {
    /// Writes the head into the worker's buffer; sends nothing yet.
    pub(super) fn new(request: Box<UpstreamRequest>) -> Self {
        let mut text = buffers::take_text();
        let framing = RequestFraming::of(&request.head.headers, !request.body.is_end_stream());
        write_head(&request.head, &request.added, framing, &mut text);
        Self {
            text,
            text_sent: 0,
            data: Bytes::new(),
            tail: b"",
            framing,
            request,
            is_over: false,
            is_body_begun: false,
            bytes_sent: 0,
        }
    }

    /// Gives the buffer back, and the request; nothing is left to send.
    pub(super) fn end(self) -> Box<UpstreamRequest> {
        buffers::put_text(self.text);
        self.request
    }

    /// Whether nothing of the request was sent or taken.
    pub(super) fn is_unsent(&self) -> bool {
        self.bytes_sent == 0 && !self.is_body_begun
    }

    /// Sends as much as both sides allow; ready when all is sent.
    pub(super) fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            // What is there goes out together, so that a small request is one segment.
            let gathered = self.poll_gather(cx)?;
            ready!(self.poll_send(stream, cx)).map_err(|_| UploadError::Stream)?;
            if self.is_over {
                return Poll::Ready(Ok(()));
            }
            ready!(gathered);
        }
    }

    /// Takes parts of the body until it is over or enough to send is there; pending when the client has no more yet.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        while !self.is_over && self.data.is_empty() && self.text.len() < GATHER_BYTES_MAX {
            let body = &mut self.request.body;
            let frame = if body.is_end_stream() { None } else { ready!(Pin::new(body).poll_frame(cx)) };
            match frame {
                Some(Ok(frame)) => self.add(frame)?,
                Some(Err(_)) => return Poll::Ready(Err(UploadError::Body)),
                None => self.finish()?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, frame: Frame<Bytes>) -> Result<(), UploadError> {
        self.is_body_begun = true;
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => self.add_data(data)?,
            Err(frame) => {
                if let (RequestFraming::Chunked, Ok(trailers)) = (self.framing, frame.into_trailers()) {
                    chunks::write_trailers(&trailers, &mut self.text);
                    self.is_over = true;
                }
            }
        }
        Ok(())
    }

    fn add_data(&mut self, data: Bytes) -> Result<(), UploadError> {
        match &mut self.framing {
            RequestFraming::Chunked => chunks::write_size(data.len(), &mut self.text),
            // Whatever framed the body for us has held its length; one that does not fit must not reach the upstream.
            RequestFraming::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(UploadError::Body)?,
            RequestFraming::None => return Err(UploadError::Body),
        }
        let end: &[u8] = if self.framing == RequestFraming::Chunked { b"\r\n" } else { b"" };
        if data.len() <= COPY_BYTES_MAX {
            self.text.extend_from_slice(&data);
            self.text.extend_from_slice(end);
        } else {
            self.data = data;
            self.tail = end;
        }
        Ok(())
    }

    /// The body is over: it must be as long as was said.
    fn finish(&mut self) -> Result<(), UploadError> {
        match self.framing {
            RequestFraming::Chunked => self.text.extend_from_slice(chunks::LAST_CHUNK),
            RequestFraming::None | RequestFraming::Length(0) => {}
            RequestFraming::Length(_) => return Err(UploadError::Body),
        }
        self.is_over = true;
        Ok(())
    }

    /// Writes what has been gathered.
    fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let text = &self.text[self.text_sent..];
            let written = if !self.data.is_empty() {
                let parts = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &parts))?
            } else if !text.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, text))?
            } else if !self.tail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, self.tail))?
            } else {
                self.text.clear();
                self.text_sent = 0;
                return Pin::new(stream).poll_flush(cx);
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
    }

    fn advance(&mut self, written: usize) {
        self.bytes_sent += written as u64;
        let text = written.min(self.text.len() - self.text_sent);
        self.text_sent += text;
        let data = (written - text).min(self.data.len());
        self.data.advance(data);
        self.tail = &self.tail[written - text - data..];
    }
}
