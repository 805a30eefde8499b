//! Owns how much of all answers of a connection may wait for its socket, so that a client that does not read cannot
//! fill the router's memory.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// What the streams of a connection have handed over since the socket last took everything.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Cell<u64>,
    /// Streams that wait for room.
    waiting: RefCell<Vec<Waker>>,
}

impl Outbox {
    /// Whether there is room below `bytes_max`, of which 0 is no limit; if not, the stream is woken when there is.
    pub(super) fn has_room(&self, bytes_max: u64, waker: &Waker) -> bool {
        let has_room = bytes_max == 0 || self.bytes.get() < bytes_max;
        if !has_room {
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|known| known.will_wake(waker)) {
                waiting.push(waker.clone());
            }
        }
        has_room
    }

    /// Notes bytes handed over.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    /// The socket has taken everything.
    pub(super) fn empty(&self) {
        self.bytes.set(0);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}
