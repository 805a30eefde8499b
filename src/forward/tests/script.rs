//! Owns an upstream in memory: it sends given parts once a request has begun, and keeps what it receives.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::forward::stream::Layer;

/// How a script ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In order.
    Close,
    /// By a reset.
    Reset,
    /// Not at all.
    Stay,
}

/// The router's end of a connection to a scripted upstream.
#[derive(Debug)]
pub(super) struct Script {
    /// What is sent, each part by one receive; an empty one lets the reader wait a turn.
    parts: VecDeque<Vec<u8>>,
    end: End,
    received: Rc<RefCell<Vec<u8>>>,
    /// How much one send takes.
    takes: usize,
    sends: Rc<Cell<u32>>,
    reader: Option<Waker>,
}

impl Script {
    pub(super) fn new(parts: impl IntoIterator<Item = Vec<u8>>, end: End) -> Self {
        Self {
            parts: parts.into_iter().collect(),
            end,
            received: Rc::default(),
            takes: usize::MAX,
            sends: Rc::default(),
            reader: None,
        }
    }

    /// Takes so few bytes with each send.
    pub(super) fn taking(mut self, bytes: usize) -> Self {
        self.takes = bytes;
        self
    }

    /// How many sends there were.
    pub(super) fn sends(&self) -> Rc<Cell<u32>> {
        Rc::clone(&self.sends)
    }

    /// What has been received, while the script is in use.
    pub(super) fn received(&self) -> Rc<RefCell<Vec<u8>>> {
        Rc::clone(&self.received)
    }
}

impl Layer for Script {
    fn is_still(&mut self) -> bool {
        true
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received.borrow().is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match self.parts.pop_front() {
            Some(part) if part.is_empty() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(mut part) => {
                let rest = part.split_off(part.len().min(buf.remaining()));
                buf.put_slice(&part);
                if !rest.is_empty() {
                    self.parts.push_front(rest);
                }
                Poll::Ready(Ok(()))
            }
            None => match self.end {
                End::Close => Poll::Ready(Ok(())),
                End::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                End::Stay => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.sends.set(self.sends.get() + 1);
        let bytes = buf.len().min(self.takes);
        self.received.borrow_mut().extend_from_slice(&buf[..bytes]);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
