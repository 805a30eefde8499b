//! Owns a WebSocket that came by extended CONNECT (RFC 8441): bytes between a stream and an upstream's connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::clock::Wait;
use crate::forward::{Lease, StreamBody, Tunnel};
use crate::limits::Limit;
use crate::proxy::carrier::Carrier;
use crate::proxy::tunnel::{AFTER_END_MS, BUFFER_BYTES};

/// A tunnel whose client end is a stream; it counts as in flight at its endpoint as long as it lasts.
pub(in crate::proxy) struct StreamTunnel {
    upstream: Tunnel,
    _lease: Lease,
    /// The client's end; `None` when it has sent all it will send.
    client: Option<StreamBody>,
    /// What the client sent and the upstream has not taken.
    up: Bytes,
    carrier: Carrier,
    idle_ms: u32,
    buffer: Box<[u8]>,
}

impl StreamTunnel {
    pub(in crate::proxy) fn new(
        client: StreamBody,
        upstream: Tunnel,
        lease: Lease,
        carrier: Carrier,
        idle_ms: u32,
    ) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into();
        let tunnel = Self { upstream, _lease: lease, client: Some(client), up: Bytes::new(), carrier, idle_ms, buffer };
        tunnel.touch();
        tunnel
    }

    /// Passes on what the client sends, as far as the upstream takes it.
    pub(super) fn poll_up(&mut self, cx: &mut Context<'_>) {
        while let Some(client) = &self.client {
            if self.up.is_empty() {
                match client.poll_data(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(Ok(data))) => self.up = data,
                    // A reset ends the stream's task too.
                    Poll::Ready(Some(Err(_)) | None) => return self.end_up(cx),
                }
                continue;
            }
            match Pin::new(&mut self.upstream).poll_write(cx, &self.up) {
                Poll::Pending => break,
                Poll::Ready(Ok(bytes)) => {
                    self.up.advance(bytes);
                    self.touch();
                }
                Poll::Ready(Err(_)) => return self.end_up(cx),
            }
        }
        // A flush that has to wait is taken up when the upstream can write again.
        let _ = Pin::new(&mut self.upstream).poll_flush(cx);
    }

    /// The client has ended its half; the other may go on for a moment.
    fn end_up(&mut self, cx: &mut Context<'_>) {
        self.client = None;
        // An upstream that is gone already does not mind.
        let _ = Pin::new(&mut self.upstream).poll_shutdown(cx);
        self.touch();
    }

    /// The next bytes for the client; `None` when the upstream has ended.
    pub(in crate::proxy) fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.carrier.watch().take_expiry(Wait::Tunnel) {
            if self.client.is_none() {
                return Poll::Ready(None);
            }
            self.carrier.connection.worker.metrics.limit(Limit::TunnelIdle);
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let mut space = ReadBuf::new(&mut self.buffer);
        let read = ready!(Pin::new(&mut self.upstream).poll_read(cx, &mut space));
        let data = read.map(|()| Bytes::copy_from_slice(space.filled()));
        self.touch();
        Poll::Ready(Some(data).filter(|data| !data.as_ref().is_ok_and(Bytes::is_empty)))
    }

    fn touch(&self) {
        self.carrier.watch().start(Wait::Tunnel, if self.client.is_some() { self.idle_ms } else { AFTER_END_MS });
    }
}
