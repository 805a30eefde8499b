//! What we write is read by hyper's server as the request that it was.

use http::Method;

use super::script::{End, Script};
use super::{connection, forwarded, read, received, run};
use crate::forward::wire::chunks;

/// An answer that does not end, and so does not end the upload either.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// Sends a request through our connection; gives what the upstream received.
async fn sent(raw: &[u8], takes: usize) -> Vec<u8> {
    let script = Script::new([OK.to_vec()], End::Stay).taking(takes);
    let wire = script.received();
    let connection = connection(script);
    let response = connection.send(forwarded(raw).await).await.unwrap();
    // The upload may go on after the answer, in a task of its own.
    while !connection.is_sent() {
        tokio::task::yield_now().await;
    }
    drop(response);
    wire.take()
}

/// The request as hyper's server reads it: head line, fields, body.
async fn as_read(raw: &[u8]) -> (Method, String, Vec<(String, Vec<u8>)>, super::Read) {
    let (parts, body) = received(raw).await.into_parts();
    let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    (parts.method, parts.uri.to_string(), fields, read(body).await)
}

fn chunked(parts: &[&[u8]], end: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        chunks::write_size(part.len(), &mut body);
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(end);
    body
}

/// Requests with bodies of all kinds and sizes around the limits at which data is copied or gathered.
fn cases() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /%2F//../a?b=c&%zz HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-b:\r\nx-a: \t2\r\nx-c: \"\u{e4}\"\r\n\r\n",
        "FOO /x HTTP/1.1\r\nhost: a\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n",
        "HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    for size in [1, 2, 15, 16, 255, 256, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 70_000] {
        let data = vec![b'x'; size];
        let head = format!("PUT /{size} HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
        cases.push([head.as_bytes(), &data].concat());
        for end in [chunks::LAST_CHUNK, b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n"] {
            let head = format!("PUT /{size} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
            let body = chunked(&[&data, b"and", &data, b"more"], end);
            cases.push([head.as_bytes(), &body].concat());
        }
    }
    cases
}

#[test]
fn what_is_sent_is_what_was_received() {
    run(async {
        for raw in cases() {
            let expected = as_read(&raw).await;
            assert!(expected.3.complete);
            for takes in [usize::MAX, 7_000, 1] {
                // A byte at a time shows every place where a send can stop; not for bodies that would take minutes.
                if takes > 1 || raw.len() < 1_000 {
                    let sent = sent(&raw, takes).await;
                    assert_eq!(
                        as_read(&sent).await,
                        expected,
                        "{:?}",
                        String::from_utf8_lossy(&raw[..60.min(raw.len())])
                    );
                }
            }
        }
    });
}

#[test]
fn a_small_request_is_one_send() {
    run(async {
        let raw = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let script = Script::new([OK.to_vec()], End::Stay);
        let sends = script.sends();
        let connection = connection(script);
        let request = forwarded(raw).await;
        // The client side has read the body by the time that the request is polled, as it has in a worker.
        tokio::task::yield_now().await;
        connection.send(request).await.unwrap();
        assert_eq!(sends.get(), 1);
    });
}

#[test]
fn a_body_that_breaks_has_no_end() {
    run(async {
        for raw in [
            &b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"[..],
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        ] {
            let script = Script::new([], End::Stay);
            let wire = script.received();
            let error = connection(script).send(forwarded(raw).await).await.unwrap_err();
            assert!(error.unsent.is_none());
            assert!(!wire.borrow().ends_with(chunks::LAST_CHUNK));
        }
    });
}
