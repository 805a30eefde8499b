//! Owns an upgraded connection: bytes both ways until either side ends or both are silent for too long.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::connection::Connection;
use crate::forward::Lease;
use crate::limits::Limit;

/// The buffer for each direction, in bytes.
const BUFFER_BYTES: usize = 8 * 1024;

/// Opens a tunnel once both sides have switched; the lease counts as in flight as long as it lasts.
pub(super) fn start(connection: Rc<Connection>, client: OnUpgrade, upstream: OnUpgrade, lease: Lease, idle_ms: u32) {
    connection.state.begin_tunnel(idle_ms);
    tokio::task::spawn_local(async move {
        let (Ok(client), Ok(upstream)) = (client.await, upstream.await) else { return };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        let mut copy = pin!(copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES));
        let watch = &connection.state.watch;
        let mut known = false;
        poll_fn(|cx| {
            if !known {
                watch.set_waker(cx.waker());
                known = true;
            }
            if watch.expired().is_some() {
                connection.worker.metrics.limit(Limit::TunnelIdle);
                return Poll::Ready(());
            }
            // How a tunnel ends is the two sides' own affair.
            copy.as_mut().poll(cx).map(drop)
        })
        .await;
        drop(lease);
    });
}
