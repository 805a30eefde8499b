//! Owns a worker's buffers for upstream connections: one to read into, one to write heads in; idle connections hold none.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use crate::forward::stream::Stream;

/// What one receive takes at first, in bytes: an answer of 10 KiB with its head fits.
const READ_BYTES: usize = 16 * 1024;
/// What one receive takes of a body that keeps filling the buffer, in bytes.
const READ_BYTES_MAX: usize = 64 * 1024;
/// What the writing buffer keeps between requests, in bytes.
const TEXT_BYTES_KEPT_MAX: usize = 32 * 1024;

thread_local! {
    static READ: RefCell<BytesMut> = RefCell::default();
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes the worker's empty writing buffer.
pub(super) fn take_text() -> Vec<u8> {
    TEXT.take()
}

/// Gives the writing buffer back.
pub(super) fn put_text(mut text: Vec<u8>) {
    if text.capacity() <= TEXT_BYTES_KEPT_MAX {
        text.clear();
        TEXT.set(text);
    }
}

/// How much the next receive of a connection takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadSize(usize);

impl Default for ReadSize {
    fn default() -> Self {
        Self(READ_BYTES)
    }
}

impl ReadSize {
    /// A receive that filled its buffer makes the next one larger; a short one makes it small again.
    fn learn(&mut self, read: usize) {
        self.0 = if read >= self.0 { READ_BYTES_MAX } else { READ_BYTES };
    }
}

/// Receives what there is; no bytes mean the end.
///
/// The worker's buffer is cut behind what was received. Once all that shares its memory is dropped, which is when the
/// answer has been passed on, the whole of it is used again.
pub(super) fn poll_receive(stream: &mut Stream, size: &mut ReadSize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    if size.0 > READ_BYTES {
        let mut buffer = BytesMut::with_capacity(size.0);
        return poll_into(stream, &mut buffer, cx).map_ok(|bytes| {
            size.learn(bytes);
            buffer.freeze()
        });
    }
    READ.with_borrow_mut(|buffer| {
        buffer.reserve(READ_BYTES);
        let bytes = ready!(poll_into(stream, buffer, cx))?;
        size.learn(bytes);
        Poll::Ready(Ok(buffer.split().freeze()))
    })
}

/// Receives more of what must be read in one piece; false at the end. The memory is not shared from then on.
pub(super) fn poll_append(stream: &mut Stream, received: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let whole = std::mem::take(received);
    let mut buffer = whole.try_into_mut().unwrap_or_else(|shared| {
        let mut own = BytesMut::with_capacity(shared.len() + READ_BYTES);
        own.extend_from_slice(&shared);
        own
    });
    buffer.reserve(READ_BYTES);
    let polled = poll_into(stream, &mut buffer, cx);
    *received = buffer.freeze();
    polled.map_ok(|bytes| bytes > 0)
}

fn poll_into(stream: &mut Stream, buffer: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    pin!(stream.read_buf(buffer)).poll(cx)
}
