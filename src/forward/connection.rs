//! Owns what the pools know of a connection, whatever it speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::request::UpstreamRequest;
use super::stream::Tunnel;
use super::{http1, http2};
use crate::fault::Fault;

/// A failure to exchange one request on a connection.
#[derive(Debug)]
pub(super) struct SendError {
    /// What happened.
    pub fault: Fault,
    /// The request, when provably nothing of it was sent.
    pub unsent: Option<Box<UpstreamRequest>>,
}

impl SendError {
    /// A failure after which the request may have reached the upstream.
    pub(super) fn sent(fault: Fault) -> Self {
        Self { fault, unsent: None }
    }
}

/// A connection for one exchange: the whole of it, or a place on a shared one.
#[derive(Debug)]
pub(super) enum Connection {
    /// HTTP/1.1.
    Http1(http1::Http1),
    /// HTTP/2.
    Http2(http2::StreamPlace),
}

impl Connection {
    /// Sends a request at once where that is possible; the future waits for the response head.
    pub(super) fn send(&self, request: Box<UpstreamRequest>) -> Sending {
        match self {
            Self::Http1(connection) => Sending::Http1(connection.send(request)),
            Self::Http2(place) => Sending::Http2(place.send(request)),
        }
    }

    /// Takes the byte stream out after a 101, which HTTP/2 does not have.
    pub(super) fn into_tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Http1(connection) => Some(connection.into_tunnel()),
            Self::Http2(_) => None,
        }
    }

    /// Ends what may still be under way; a stream ends with its body.
    pub(super) fn abandon(&self) {
        if let Self::Http1(connection) = self {
            connection.abandon();
        }
    }
}

/// A request that waits for its response head.
pub(super) enum Sending {
    Http1(http1::Sending),
    Http2(http2::Sending),
}

impl Future for Sending {
    type Output = Result<Response<ResponseBody>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Http1(sending) => Pin::new(sending).poll(cx),
            Self::Http2(sending) => {
                Pin::new(sending).poll(cx).map_ok(|response| response.map(|body| ResponseBody(Protocol::Http2(body))))
            }
        }
    }
}

/// The body of an upstream's response.
#[derive(Debug)]
pub struct ResponseBody(Protocol);

#[derive(Debug)]
enum Protocol {
    Http1(http1::ResponseBody),
    Http2(http2::ResponseBody),
}

/// Says that a response did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ResponseCut {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::ResponseCut),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl From<http1::ResponseBody> for ResponseBody {
    fn from(body: http1::ResponseBody) -> Self {
        Self(Protocol::Http1(body))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseCut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseCut>>> {
        match &mut self.0 {
            Protocol::Http1(body) => Pin::new(body).poll_frame(cx).map_err(ResponseCut::Http1),
            Protocol::Http2(body) => Pin::new(body).poll_frame(cx).map_err(ResponseCut::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Protocol::Http1(body) => body.is_end_stream(),
            Protocol::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Protocol::Http1(body) => body.size_hint(),
            Protocol::Http2(body) => body.size_hint(),
        }
    }
}
