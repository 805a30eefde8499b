//! WebSockets by extended CONNECT (RFC 8441) to an HTTP/1.1 upstream.

use banyan::head::websocket::accept;
use http::HeaderValue;

use super::Pair;
use crate::support::frames::{CANCEL, DATA, END_STREAM, RST_STREAM, request};
use crate::support::origin::Exchange;
use crate::support::router::Setup;
use crate::support::{Frames, Message, Origin, Router};

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/chat"),
    ("sec-websocket-version", "13"),
];

fn router(origin: &Origin) -> Router {
    Setup::route(origin.address, "tunnel_idle_timeout_ms: 400", "websocket: true").start()
}

/// Answers a handshake as a WebSocket server does.
fn switch(exchange: &mut Exchange, request: &Message) {
    let key = HeaderValue::from_str(&request.field("sec-websocket-key")).unwrap();
    let accept = accept(&key).to_str().unwrap().to_owned();
    exchange.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\nhello"
    ));
}

/// Sends back what comes.
fn echoing() -> Origin {
    Origin::start(|exchange| {
        let Some(request) = exchange.request() else { return };
        if request.target() == "/again" {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            return;
        }
        switch(exchange, &request);
        loop {
            let bytes = exchange.take(1);
            if bytes.is_empty() {
                return;
            }
            exchange.send(bytes);
        }
    })
}

#[test]
fn bytes_pass_both_ways_until_the_client_ends() {
    let origin = echoing();
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    client.head(1, &CONNECT, 0);
    assert_eq!(client.until("the head", |frame| frame.stream == 1).status(), 200);
    client.send(DATA, 0, 1, b"more");
    let mut received = Vec::new();
    while received != b"hellomore" {
        received.extend(client.until("bytes", |frame| frame.kind == DATA).payload);
    }
    client.send(DATA, END_STREAM, 1, b"");
    client.until("the end", |frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
    origin.wait_for_ends(1);
    client.assert_serves(3);
    let received = origin.requests().remove(0);
    assert_eq!(received.line, "GET /chat HTTP/1.1");
    let field = |name| received.field(name);
    assert_eq!((field("connection"), field("upgrade")), ("upgrade".to_owned(), "websocket".to_owned()));
    assert_eq!((field("host"), field("sec-websocket-version")), ("a.example".to_owned(), "13".to_owned()));
    assert_eq!(field("sec-websocket-key").len(), 24);
    assert!(!received.has("transfer-encoding") && !received.has("content-length"), "{received:?}");
}

#[test]
fn a_client_that_resets_ends_the_upstream_connection() {
    let origin = echoing();
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    client.head(1, &CONNECT, 0);
    client.until("bytes", |frame| frame.kind == DATA);
    client.reset(1, CANCEL);
    origin.wait_for_ends(1);
}

#[test]
fn l7_a_silent_tunnel_ends() {
    let origin = echoing();
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    client.head(1, &CONNECT, 0);
    assert_eq!(client.until("the reset", |frame| frame.kind == RST_STREAM).code(), CANCEL);
    origin.wait_for_ends(1);
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"tunnel_idle\""], 1.0);
}

#[test]
fn p7_only_a_switch_that_answers_our_handshake_opens_a_tunnel() {
    for (status, answer) in [
        (502, "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: wrong\r\n\r\n"),
        (502, "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        (502, "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        (405, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (405, "HTTP/1.1 204 x\r\n\r\n"),
    ] {
        let origin = Origin::answering(answer.as_bytes());
        let router = router(&origin);
        let mut client = Frames::connect(router.listen);
        client.head(1, &CONNECT, 0);
        assert_eq!(client.answer(1).status, status, "{answer:?}");
    }
}

#[test]
fn u10_a_client_that_wants_a_websocket_where_there_is_none_ejects_nobody() {
    let ask = |answer: &'static [u8]| {
        let origins = [Origin::answering(answer), Origin::answering(answer)];
        let [one, two] = origins.each_ref().map(|origin| origin.address);
        let router = Setup::routes(format!(
            "upstreams:\n  one: {{endpoints: [\"http://{one}\", \"http://{two}\"], eject_after_failures: 3, eject_ms: 3600000}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one, websocket: true}}\n"
        ))
        .start();
        let mut client = Frames::connect(router.listen);
        for stream in (1..60).step_by(2) {
            client.head(stream, &CONNECT, 0);
            assert!(client.answer(stream).status >= 400);
        }
        let side = |side| router.metric("banyan_faults_total", &[&format!("side=\"{side}\"")]);
        (side("client"), side("upstream"), router.metric("banyan_upstream_ejections_total", &[]))
    };
    assert_eq!(ask(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), (30.0, 0.0, 0.0));
    let wrong = b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: wrong\r\n\r\n";
    assert_eq!(ask(wrong), (0.0, 30.0, 1.0));
}

#[test]
fn a_refusal_of_the_upstream_is_the_answer() {
    let origin = Origin::answering(b"HTTP/1.1 403 no\r\ncontent-length: 2\r\n\r\nno");
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    client.head(1, &CONNECT, 0);
    let answer = client.answer(1);
    assert_eq!((answer.status, answer.text()), (403, "no".to_owned()));
}

#[test]
fn p6_nothing_but_websocket_and_only_where_the_route_says_so() {
    let mut pair = Pair::start();
    pair.client.head(1, &CONNECT, 0);
    assert_eq!(pair.client.answer(1).status, 405);
    let origin = Origin::ok();
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    let mut stream = 1;
    let mut status = |fields: &[(&str, &str)]| {
        client.head(stream, fields, 0);
        stream += 2;
        client.answer(stream - 2).status
    };
    let with = |at: usize, field| {
        let mut fields = CONNECT;
        fields[at] = field;
        fields
    };
    assert_eq!(status(&with(1, (":protocol", "connect-udp"))), 405);
    assert_eq!(status(&with(5, ("sec-websocket-version", "8"))), 400);
    assert_eq!(status(&CONNECT[..5]), 400);
    assert_eq!(status(&[&CONNECT[..], &[("content-length", "5")]].concat()), 400);
    assert_eq!(origin.requests().len() + pair.origin.requests().len(), 0);
    pair.client.head(3, &request("GET", "/"), END_STREAM);
    assert_eq!(pair.client.answer(3).status, 200);
}
