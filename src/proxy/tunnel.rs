//! Owns an upgraded connection: bytes both ways until one side ends or both are silent for too long.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use super::answer::Answer;
use super::carrier::Carrier;
use super::connection::Connection;
use super::http2::StreamTunnel;
use crate::forward::{Lease, StreamBody, Tunnel};
use crate::limits::Limit;

/// The buffer for each direction, in bytes.
pub(super) const BUFFER_BYTES: usize = 8 * 1024;
/// How long the other side may go on once one side has ended, in milliseconds between two of its bytes.
///
/// A WebSocket is over when either side closes; a peer that never answers the end must not hold the tunnel.
pub(super) const AFTER_END_MS: u32 = 1_000;

/// The client's end of a tunnel to be.
pub(super) enum ClientEnd {
    /// An HTTP/1.1 connection that switches.
    Connection(OnUpgrade),
    /// A stream that was opened by extended CONNECT.
    Stream(StreamBody),
}

/// Opens a tunnel once both sides have switched; the lease counts as in flight as long as it lasts.
///
/// The answer's body is empty, or the tunnel itself where that is a stream.
pub(super) fn start(carrier: &Carrier, client: ClientEnd, upstream: Tunnel, lease: Lease, idle_ms: u32) -> Answer {
    match client {
        ClientEnd::Connection(client) => {
            take_over(Rc::clone(&carrier.connection), client, upstream, lease, idle_ms);
            Answer::empty()
        }
        ClientEnd::Stream(client) => {
            Answer::Tunnel(Box::new(StreamTunnel::new(client, upstream, lease, carrier.clone(), idle_ms)))
        }
    }
}

/// Passes bytes over the whole of a client's connection, in a task of its own.
fn take_over(connection: Rc<Connection>, client: OnUpgrade, upstream: Tunnel, lease: Lease, idle_ms: u32) {
    connection.state.begin_tunnel(idle_ms);
    tokio::task::spawn_local(async move {
        let Ok(client) = client.await else { return };
        let (from_client, to_client) = split(TokioIo::new(client));
        let (from_upstream, to_upstream) = split(upstream);
        let mut up = pin!(pass(from_client, to_upstream));
        let mut down = pin!(pass(from_upstream, to_client));
        let (mut up_ended, mut down_ended, mut known) = (false, false, false);
        let watch = &connection.state.watch;
        poll_fn(|cx| {
            if !known {
                watch.set_waker(cx.waker());
                known = true;
            }
            let before = up_ended || down_ended;
            up_ended = up_ended || up.as_mut().poll(cx).is_ready();
            down_ended = down_ended || down.as_mut().poll(cx).is_ready();
            if up_ended && down_ended {
                return Poll::Ready(());
            }
            if watch.expired().is_some() {
                if !before {
                    connection.worker.metrics.limit(Limit::TunnelIdle);
                }
                return Poll::Ready(());
            }
            if !before && (up_ended || down_ended) {
                connection.state.begin_tunnel(AFTER_END_MS);
            }
            Poll::Pending
        })
        .await;
        drop(lease);
    });
}

/// Passes bytes one way until that way ends; how it ends is the two sides' own affair.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = [0; BUFFER_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..bytes]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // The end is passed on too; a side that is gone already does not mind.
    let _ = to.shutdown().await;
}
