//! Owns telling HTTP/2 with prior knowledge from HTTP/1.1 by a plain connection's first bytes (RFC 9113 section 3.3).

use std::future::poll_fn;
use std::task::{Poll, ready};

use super::arrival::Protocol;
use super::io::ClientStream;
use crate::clock::Watch;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits for the first bytes and says whose they are; `None` when the connection broke before.
///
/// A client that is too slow or leaves is given to HTTP/1.1, whose own accounting finds it so.
pub(super) async fn recognise(stream: &mut ClientStream, watch: &Watch) -> Option<Protocol> {
    let mut known = false;
    poll_fn(|cx| {
        if !known {
            watch.set_waker(cx.waker());
            known = true;
        }
        if watch.expired().is_some() {
            return Poll::Ready(Some(Protocol::Http1));
        }
        Poll::Ready(match ready!(stream.poll_look(cx, is_decisive)) {
            Ok(first) if first.starts_with(PREFACE) => Some(Protocol::Http2),
            Ok(_) => Some(Protocol::Http1),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Some(Protocol::Http1),
            Err(_) => None,
        })
    })
    .await
}

/// Whether bytes are the preface, or can no longer become it.
fn is_decisive(bytes: &[u8]) -> bool {
    bytes.len() >= PREFACE.len() || !PREFACE.starts_with(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_decides_unless_it_may_be_a_preface() {
        assert!(is_decisive(b"G"));
        assert!(is_decisive(b"PO"));
        assert!(is_decisive(PREFACE));
        for end in 0..PREFACE.len() {
            assert!(!is_decisive(&PREFACE[..end]), "{end}");
        }
    }
}
