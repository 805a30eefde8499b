//! Owns the byte stream to an upstream: opening it, whether it lies as still as an idle connection must, tunnels.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::endpoint::OpenConnection;
use crate::tls::client::ClientStream;

/// A byte stream to an upstream.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP in the clear.
    Tcp(TcpStream),
    /// Something over TCP, or in its place.
    Layered(Box<dyn Layer>),
    /// It has been closed, or handed on.
    Closed,
}

/// A byte stream that is more than a socket.
pub(super) trait Layer: AsyncRead + AsyncWrite + Unpin + fmt::Debug {
    /// Whether nothing has arrived, not even the end.
    fn is_still(&mut self) -> bool;
}

impl Layer for ClientStream {
    /// Session tickets and the like may have come: only what they leave tells.
    fn is_still(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

impl Stream {
    /// Whether nothing has arrived, not even the end; costs a system call only where the loop has seen something arrive.
    ///
    /// All other reads go through `poll_read`, after which tokio knows when the socket is empty.
    pub(super) fn is_still(&mut self) -> bool {
        match self {
            Self::Tcp(stream) => {
                stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Layered(layer) => layer.is_still(),
            Self::Closed => false,
        }
    }

    /// Takes the stream out; what uses it afterwards finds it closed.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Closed)
    }
}

fn closed<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Layered(layer) => Pin::new(layer).poll_read(cx, buf),
            Self::Closed => closed(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Layered(layer) => Pin::new(layer).poll_write(cx, buf),
            Self::Closed => closed(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Layered(layer) => Pin::new(layer).poll_flush(cx),
            Self::Closed => closed(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Layered(layer) => Pin::new(layer).poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Layered(layer) => layer.is_write_vectored(),
            Self::Closed => false,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Layered(layer) => Pin::new(layer).poll_write_vectored(cx, bufs),
            Self::Closed => closed(),
        }
    }
}

/// An upgraded connection: what came right behind the 101, then the stream.
#[derive(Debug)]
pub struct Tunnel {
    stream: Stream,
    received: Bytes,
    /// It counts as an open connection.
    _open: Option<OpenConnection>,
}

impl Tunnel {
    pub(super) fn new(stream: Stream, received: Bytes, open: Option<OpenConnection>) -> Self {
        Self { stream, received, _open: open }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let bytes = self.received.len().min(buf.remaining());
        buf.put_slice(&self.received[..bytes]);
        self.received.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
