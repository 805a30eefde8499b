//! Owns interim heads (1xx) on their way to an HTTP/1.1 client, past hyper, whose server cannot send them.
//!
//! Why that is sound: docs/decisions/0010-interim-answers.md.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// Heads that the byte stream of a connection is to write; `Sync` for upgrades, though only one worker touches it.
#[derive(Debug, Default)]
pub(super) struct InterimHeads {
    /// Some are not written yet; spares the lock where there are none.
    is_waiting: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl InterimHeads {
    /// Adds a head behind those that wait.
    pub(super) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut bytes, status, headers);
        self.is_waiting.store(true, Relaxed);
    }

    /// Whether a head has not been written whole; the final one must wait for it.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Relaxed)
    }

    /// Takes what is to be written next.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// What was taken has been written.
    pub(super) fn written(&self) {
        let is_empty = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        self.is_waiting.store(!is_empty, Relaxed);
    }
}

fn write(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    let mut add = |part: &[u8]| out.extend_from_slice(part);
    add(b"HTTP/1.1 ");
    add(status.as_str().as_bytes());
    add(b" ");
    add(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        add(b"\r\n");
        add(name.as_str().as_bytes());
        add(b": ");
        add(value.as_bytes());
    }
    add(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn heads_are_written_one_behind_the_other() {
        let heads = InterimHeads::default();
        assert!(!heads.is_waiting());
        let mut headers = HeaderMap::new();
        headers.append("link", HeaderValue::from_static("</a>"));
        headers.append("link", HeaderValue::from_static("</b>"));
        heads.push(StatusCode::from_u16(103).unwrap(), &headers);
        heads.push(StatusCode::from_u16(199).unwrap(), &HeaderMap::new());
        assert!(heads.is_waiting());
        let text = &b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\nHTTP/1.1 199 \r\n\r\n"[..];
        assert_eq!(heads.take(), text);
        assert!(heads.is_waiting());
        heads.written();
        assert!(!heads.is_waiting());
    }
}
