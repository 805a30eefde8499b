//! Owns what a client connection is doing, and the waits that its bytes start and stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::Poll;

use super::interim::InterimHeads;
use crate::clock::{Wait, Watch};
use crate::limits::Limits;

/// What a client connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Activity {
    /// Nothing yet: no byte of a request has come since the last answer.
    Idle = 0,
    /// A request head is arriving.
    Head = 1,
    /// A request is being served.
    Exchange = 2,
    /// It is upgraded.
    Tunnel = 3,
    /// It carries HTTP/2 streams, which have activities of their own.
    Streams = 4,
}

/// What the byte stream and its connection share; `Sync` for upgrades, though only one worker touches it.
#[derive(Debug)]
pub(super) struct StreamState {
    /// The waits of this connection.
    pub watch: Arc<Watch>,
    /// Heads to be written between answers of hyper's.
    pub interim: InterimHeads,
    activity: AtomicU8,
    received: AtomicU64,
    sent: AtomicU64,
    head_timeout_ms: u32,
    write_stall_timeout_ms: u32,
    /// How long a closed connection may go on reading; the limit on unread bodies, which it is about.
    pub(super) linger_ms: u32,
    /// How long an upgraded connection may be silent; set with the upgrade.
    tunnel_idle_ms: AtomicU64,
}

impl StreamState {
    /// Starts waiting for the head of the first request.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let watch = Arc::new(Watch::default());
        watch.start(Wait::Head, limits.head_timeout_ms);
        Arc::new(Self {
            watch,
            interim: InterimHeads::default(),
            activity: AtomicU8::new(Activity::Head as u8),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            head_timeout_ms: limits.head_timeout_ms,
            write_stall_timeout_ms: limits.write_stall_timeout_ms,
            linger_ms: limits.discard_timeout_ms,
            tunnel_idle_ms: AtomicU64::new(0),
        })
    }

    /// A whole head is there.
    pub(super) fn begin_exchange(&self) {
        self.activity.store(Activity::Exchange as u8, Relaxed);
        self.watch.stop(Wait::Head);
        self.watch.stop(Wait::KeepAlive);
    }

    /// The answer is complete: the next request may come.
    pub(super) fn end_exchange(&self, keep_alive_timeout_ms: u32) {
        if self.activity() == Activity::Exchange {
            self.activity.store(Activity::Idle as u8, Relaxed);
            for wait in [Wait::Body, Wait::BodyRate, Wait::Upstream] {
                self.watch.stop(wait);
            }
            self.watch.start(Wait::KeepAlive, keep_alive_timeout_ms);
        }
    }

    /// The connection is a tunnel from now on.
    pub(super) fn begin_tunnel(&self, idle_ms: u32) {
        self.activity.store(Activity::Tunnel as u8, Relaxed);
        self.tunnel_idle_ms.store(u64::from(idle_ms), Relaxed);
        self.touch_tunnel();
    }

    /// The connection carries streams from now on.
    pub(super) fn begin_streams(&self) {
        self.activity.store(Activity::Streams as u8, Relaxed);
    }

    /// What the connection is doing.
    pub(super) fn activity(&self) -> Activity {
        match self.activity.load(Relaxed) {
            0 => Activity::Idle,
            1 => Activity::Head,
            2 => Activity::Exchange,
            4 => Activity::Streams,
            _ => Activity::Tunnel,
        }
    }

    /// Bytes received and sent so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    fn touch_tunnel(&self) {
        self.watch.start(Wait::Tunnel, u32::try_from(self.tunnel_idle_ms.load(Relaxed)).unwrap_or(u32::MAX));
    }

    /// Bytes have come off the wire.
    pub(super) fn received(&self, bytes: u64) {
        self.received.store(self.received.load(Relaxed) + bytes, Relaxed);
    }

    /// Bytes of a request have come.
    pub(super) fn read(&self, bytes: u64) {
        match self.activity() {
            Activity::Idle if bytes > 0 => {
                self.activity.store(Activity::Head as u8, Relaxed);
                self.watch.stop(Wait::KeepAlive);
                self.watch.start(Wait::Head, self.head_timeout_ms);
            }
            Activity::Tunnel => self.touch_tunnel(),
            _ => {}
        }
    }

    pub(super) fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Pending if !self.watch.is_waiting(Wait::Write) => {
                self.watch.start(Wait::Write, self.write_stall_timeout_ms);
            }
            Poll::Ready(Ok(bytes)) => {
                self.sent.store(self.sent.load(Relaxed) + *bytes as u64, Relaxed);
                if self.watch.is_waiting(Wait::Write) {
                    self.watch.stop(Wait::Write);
                }
                if self.activity() == Activity::Tunnel {
                    self.touch_tunnel();
                }
            }
            _ => {}
        }
    }
}
