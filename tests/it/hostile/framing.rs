//! Rules F1 to F17: where one request ends and the next begins.

use super::{Pair, SMUGGLED, get, post};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

#[test]
fn f1_content_length_is_digits_within_63_bits() {
    let pair = Pair::start();
    let values = [
        "+5",
        "-5",
        "0x5",
        "5.0",
        "1_0",
        "5 0",
        "",
        "5,5",
        "5, 5",
        "18446744073709551621",
        "9223372036854775808",
        "\u{661}",
    ];
    for value in values {
        pair.refuses(400, post(&format!("content-length: {value}\r\n"), "hello"));
    }
    pair.blames_the_client(values.len());
}

#[test]
fn f2_different_content_lengths() {
    let pair = Pair::start();
    pair.refuses(400, post("content-length: 5\r\ncontent-length: 6\r\n", "hello!"));
    pair.refuses(400, post("content-length: 6\r\nContent-Length: 5\r\n", "hello!"));
}

#[test]
fn f2_equal_content_lengths_are_sent_as_one() {
    let received = Pair::start().forwards(post("content-length: 5\r\ncontent-length: 5\r\n", "hello"));
    assert_eq!(received.values("content-length"), ["5"]);
    assert_eq!(received.text(), "hello");
}

#[test]
fn f3_chunked_wins_and_the_connection_closes() {
    for fields in
        ["content-length: 3\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: chunked\r\ncontent-length: 3\r\n"]
    {
        let pair = Pair::start();
        let mut wire = pair.router.connect();
        wire.send(post(fields, "5\r\nhello\r\n0\r\n\r\n")).send(SMUGGLED);
        let answer = wire.answer();
        wire.assert_closed();
        if answer.status() == 200 {
            let received = pair.origin.request();
            assert_eq!(received.text(), "hello");
            assert!(!received.has("content-length"));
        } else {
            assert_eq!(answer.status(), 400);
            assert!(pair.origin.requests().is_empty());
        }
    }
}

#[test]
fn f4_transfer_encoding_is_one_chunked() {
    let pair = Pair::start();
    let refused = [
        "xchunked",
        "gzip",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "chunked;a=b",
        "\"chunked\"",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\ntransfer-encoding: identity",
        "identity\r\ntransfer-encoding: chunked",
        "\u{b}chunked",
        "chunked\u{c}",
    ];
    for value in refused {
        pair.refuses(400, post(&format!("transfer-encoding: {value}\r\n"), "5\r\nhello\r\n0\r\n\r\n"));
    }
    pair.blames_the_client(refused.len());
}

#[test]
fn f5_transfer_encoding_in_http_1_0() {
    Pair::start().refuses(
        400,
        "POST / HTTP/1.0\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
}

#[test]
fn f6_bytes_after_a_request_without_length_are_no_body() {
    let pair = Pair::start();
    let mut wire = pair.router.connect();
    wire.send("POST /first HTTP/1.1\r\nhost: a.example\r\n\r\n")
        .send("GET /second HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!((wire.answer().status(), wire.answer().status()), (200, 200));
    let targets: Vec<_> =
        pair.origin.requests().iter().map(|request| (request.target().to_owned(), request.text())).collect();
    assert_eq!(targets, [("/first".into(), String::new()), ("/second".into(), String::new())]);
}

#[test]
fn f6_http_1_0_bodies_are_not_delimited_by_close() {
    let pair = Pair::start();
    let mut wire = pair.router.connect();
    wire.send("POST / HTTP/1.0\r\nhost: a.example\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!(wire.answer().status(), 200);
    wire.rest();
    assert_eq!(pair.origin.request().text(), "");
}

/// Sends a chunked body whose chunks are given raw; the upstream must not see a clean end.
fn never_ends_cleanly(pair: &Pair, chunks: &str) {
    let mut wire = pair.router.connect();
    wire.send(post("transfer-encoding: chunked\r\n", chunks)).send(SMUGGLED);
    let rest = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{chunks:?}: {rest}");
    assert_eq!(rest.matches("HTTP/1.1 ").count(), usize::from(!rest.is_empty()), "{chunks:?}: {rest}");
    assert!(pair.origin.requests().is_empty(), "{chunks:?} reached the origin");
}

#[test]
fn f7_chunk_sizes_are_plain_hex() {
    let pair = Pair::start();
    let sizes = ["+5", "-5", "0x5", "5_0", "", "g", " 5", "FFFFFFFFFFFFFFFFF", "10000000000000000", "5 5", "\u{661}"];
    for size in sizes {
        never_ends_cleanly(&pair, &format!("{size}\r\nhello\r\n0\r\n\r\n"));
    }
    pair.blames_the_client(sizes.len());
}

#[test]
fn f8_chunk_lines_and_data_end_in_crlf() {
    let pair = Pair::start();
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\r\nhello\r\r0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
    ] {
        never_ends_cleanly(&pair, chunks);
    }
}

#[test]
fn f8_extensions_are_never_forwarded() {
    let pair = Pair::start();
    let received =
        pair.forwards(post("transfer-encoding: chunked\r\n", "5;name=\"va;lue\"\r\nhello\r\n0;last\r\n\r\n"));
    assert_eq!(received.text(), "hello");
    let bytes = String::from_utf8_lossy(&pair.origin.bytes()).into_owned();
    assert!(!bytes.contains("name") && !bytes.contains("last"), "{bytes}");
}

#[test]
fn f9_extensions_and_trailers_are_bounded() {
    let pair = Pair::start();
    never_ends_cleanly(&pair, &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000)));
    never_ends_cleanly(&pair, &format!("5\r\nhello\r\n0\r\nx-trailer: {}\r\n\r\n", "x".repeat(40_000)));
}

#[test]
fn f10_to_f12_malformed_fields() {
    let pair = Pair::start();
    let fields: [&[u8]; 14] = [
        b"x-a: 1\r\n folded\r\n",
        b"x-a: 1\r\n\tfolded\r\n",
        b"x-a : 1\r\n",
        b"x-a\t: 1\r\n",
        b" x-a: 1\r\n",
        b"x-a: a\0b\r\n",
        b"x-a: a\rb\r\n",
        b"x-a: a\x01b\r\n",
        b"x-a: a\x7fb\r\n",
        b"x a: 1\r\n",
        b"x(a): 1\r\n",
        b"x\xc3\xa9: 1\r\n",
        b": 1\r\n",
        b"no-colon\r\n",
    ];
    for field in fields {
        pair.refuses(400, [b"GET / HTTP/1.1\r\nhost: a.example\r\n", field, b"\r\n"].concat());
    }
    pair.refuses(400, "GET / HTTP/1.1\r\n host: a.example\r\n\r\n");
    pair.blames_the_client(fields.len() + 1);
}

#[test]
fn f11_malformed_request_lines() {
    let pair = Pair::start();
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / http/1.1",
        "GET /",
        "GET / HTTP/1.1 x",
        "G\u{e9}T / HTTP/1.1",
        "GET /a b HTTP/1.1",
    ] {
        pair.refuses(400, format!("{line}\r\nhost: a.example\r\n\r\n"));
    }
}

#[test]
fn f14_a_body_that_stops_early_has_no_end_upstream() {
    for (framing, part) in [("content-length: 10", "hello"), ("transfer-encoding: chunked", "5\r\nhello\r\n")] {
        for reset in [false, true] {
            let pair = Pair::start();
            let mut wire = pair.router.connect();
            wire.send(post(&format!("{framing}\r\n"), part));
            pair.origin.wait_for_bytes(b"hello");
            if reset {
                wire.reset();
            } else {
                wire.half_close();
            }
            pair.origin.wait_for_ends(1);
            assert!(pair.origin.requests().is_empty());
            assert!(!pair.origin.bytes().ends_with(b"0\r\n\r\n"));
            pair.blames_the_client(1);
        }
    }
}

#[test]
fn f14_a_bad_late_chunk_has_no_end_upstream() {
    let pair = Pair::start();
    let mut wire = pair.router.connect();
    wire.send(post("transfer-encoding: chunked\r\n", "5\r\nhello\r\n"));
    pair.origin.wait_for_bytes(b"hello");
    wire.send("zz\r\n");
    pair.origin.wait_for_ends(1);
    assert!(pair.origin.requests().is_empty());
    pair.blames_the_client(1);
}

#[test]
fn f15_connection_cannot_take_framing_or_host_away() {
    let pair = Pair::start();
    let received = pair.forwards(post("connection: content-length, host\r\ncontent-length: 5\r\n", "hello"));
    assert_eq!(
        (received.field("content-length"), received.field("host"), received.text()),
        ("5".into(), "a.example".into(), "hello".into())
    );
    let received = pair
        .forwards(post("connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!((received.field("transfer-encoding"), received.text()), ("chunked".into(), "hello".into()));
}

#[test]
fn f16_what_is_sent_upstream_is_written_by_us() {
    let pair = Pair::start();
    let received = pair.forwards(
        "POST /x HTTP/1.1\nHOST: a.example\nTransfer-Encoding: ChUnKeD\nx-a:\t 1 \t\n\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!(
        (received.field("transfer-encoding"), received.field("x-a"), received.text()),
        ("chunked".into(), "1".into(), "hello".into())
    );
    let head = &received.raw_head;
    for (at, byte) in head.iter().enumerate() {
        assert!(*byte != b'\n' || head[at - 1] == b'\r', "a bare LF in {:?}", String::from_utf8_lossy(head));
    }
}

#[test]
fn f16_a_get_keeps_its_body() {
    let pair = Pair::start();
    let received = pair.forwards(format!("{}5\r\nhello\r\n0\r\n\r\n", get("transfer-encoding: chunked\r\n")));
    assert_eq!(received.text(), "hello");
    let received = pair.forwards(format!("{}hello", get("content-length: 5\r\n")));
    assert_eq!(received.text(), "hello");
}

fn nowhere(origin: &Origin) -> Router {
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: again, match: {{path: /again}}, upstream: one}}\n",
        origin.address
    );
    Setup::routes(routes).start()
}

#[test]
fn f17_an_unread_small_body_is_drained() {
    let origin = Origin::ok();
    let router = nowhere(&origin);
    let mut wire = router.connect();
    wire.send(format!(
        "POST /none HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    ));
    assert_eq!(wire.answer().status(), 404);
    wire.assert_reusable();
    assert_eq!(origin.request().target(), "/again");
}

#[test]
fn f17_an_unread_large_body_closes() {
    let origin = Origin::ok();
    let router = nowhere(&origin);
    let mut wire = router.connect();
    wire.send("POST /none HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1000000\r\n\r\n").send(SMUGGLED);
    assert_eq!(wire.answer().status(), 404);
    wire.assert_closed();
    assert!(origin.requests().is_empty());
}

#[test]
fn f17_an_unread_endless_body_closes() {
    let origin = Origin::ok();
    let router = Setup::routes(format!(
        "upstreams:\n  one: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: again, match: {{path: /again}}, upstream: one}}\n",
        origin.address
    ))
    .limit("discard_timeout_ms", 100)
    .start();
    let mut wire = router.connect();
    wire.send("POST /none HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let answer = wire.answer();
    assert_eq!((answer.status(), answer.field("connection")), (404, "close".into()));
    wire.assert_closed();
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"discard\""], 1.0);
}

#[test]
fn f17_the_answer_is_not_overtaken_by_a_reset() {
    let origin = Origin::ok();
    let router = nowhere(&origin);
    let mut wire = router.connect();
    wire.send("POST /none HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10000000\r\n\r\n").send("x".repeat(200_000));
    assert_eq!(wire.answer().status(), 404);
    wire.half_close();
    wire.assert_closed_in_order();
}
