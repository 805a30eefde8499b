//! HTTP/2 to upstreams: heads are translated, streams share connections, and every end of a stream is told apart.

use super::origin::Http2Origin;
use crate::support::frames::{self, END_HEADERS, END_STREAM, HEADERS};
use crate::support::router::Setup;
use crate::support::{Frames, Origin, Router};

const HOST: &str = "host: a.example\r\n";

fn router(origin: &Http2Origin) -> Router {
    Setup::upstream(origin.address, "protocol: h2c").workers(1).start()
}

#[test]
fn a_request_is_translated_and_bodies_and_trailers_pass() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut wire = router.connect();
    for framing in
        ["transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-up: 1\r\n\r\n", "content-length: 5\r\n\r\nhello"]
    {
        wire.send(format!(
            "POST /a%2Fb?c HTTP/1.1\r\n{HOST}connection: keep-alive, x-gone\r\nx-gone: 1\r\nte: trailers\r\ncookie: a=1\r\nX-Stays: 2\r\n{framing}"
        ));
        let answer = wire.answer();
        assert_eq!((answer.status(), answer.text()), (200, "hello".into()), "{answer:?}");
        assert_eq!(answer.line, "HTTP/1.1 200 OK");
    }
    let received = origin.requests();
    let first = &received[0];
    assert_eq!(first.head.uri, "http://a.example/a%2Fb?c");
    assert_eq!(
        (first.field("te"), first.field("x-stays"), first.field("cookie")),
        (Some("trailers"), Some("2"), Some("a=1"))
    );
    for gone in ["host", "connection", "x-gone", "transfer-encoding", "content-length"] {
        assert_eq!(first.field(gone), None, "{gone}");
    }
    assert_eq!((&first.body[..], first.trailers.as_ref().unwrap()["x-up"].to_str().unwrap()), (&b"hello"[..], "1"));
    assert_eq!(received[1].field("content-length"), Some("5"));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn many_requests_share_a_connection() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    std::thread::scope(|scope| {
        for client in 0..20 {
            let router = &router;
            scope.spawn(move || {
                let mut wire = router.connect();
                for _ in 0..20 {
                    let body = format!("client {client}").repeat(500);
                    wire.send(format!("POST / HTTP/1.1\r\n{HOST}content-length: {}\r\n\r\n{body}", body.len()));
                    assert_eq!(wire.answer().text(), body);
                }
            });
        }
    });
    assert_eq!((origin.requests().len(), origin.connections()), (400, 1));
}

#[test]
fn large_bodies_pass_the_windows() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut wire = router.connect();
    let body: Vec<u8> = (0..3_000_000_usize).map(|index| (index % 251) as u8).collect();
    wire.send(format!("PUT / HTTP/1.1\r\n{HOST}content-length: {}\r\n\r\n", body.len())).send(&body);
    assert!(wire.answer().body == body);
}

#[test]
fn grpc_passes_end_to_end_with_its_trailers() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    let fields =
        [&frames::request("POST", "/echo")[..], &[("te", "trailers"), ("content-type", "application/grpc")]].concat();
    client.head(1, &fields, 0);
    client.send(frames::DATA, 0, 1, b"hello");
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::block(&[("x-up", "1")]));
    let answer = client.answer(1);
    assert_eq!((answer.status, answer.text(), answer.trailers), (200, "hello".into(), true));
    let received = &origin.requests()[0];
    assert_eq!((received.field("te"), received.field("content-type")), (Some("trailers"), Some("application/grpc")));
    assert_eq!(received.trailers.as_ref().unwrap()["x-up"], "1");
}

#[test]
fn p11_interim_heads_pass_to_http2_clients() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut client = Frames::connect(router.listen);
    client.get(1, "/hints");
    let first = client.until("an interim head", |frame| frame.stream == 1 && frame.kind == HEADERS);
    assert_eq!(first.status(), 103);
    assert_eq!(client.answer(1).status, 200);
    assert_eq!(router.get("/hints").status(), 200, "HTTP/1.1 clients get the final head alone");
}

#[test]
fn u6_a_refused_stream_is_sent_again_and_u7_a_reset_one_is_not() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    for (method, path) in [("GET", "/reset"), ("POST", "/reset")] {
        let answer = router.exchange(format!("{method} {path} HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(answer.status(), 502, "{answer:?}");
    }
    assert_eq!(origin.streams("/reset"), 2);
    // The first connection refuses, the second serves.
    assert_eq!(router.get("/refused").status(), 200);
    assert_eq!((origin.streams("/refused"), origin.connections()), (2, 2));
    // Nothing with a body is kept to be sent again.
    let fresh = self::router(&Http2Origin::plain());
    let answer = fresh.exchange(format!("POST /refused HTTP/1.1\r\n{HOST}content-length: 5\r\n\r\nhello"));
    assert_eq!(answer.status(), 502, "{answer:?}");
}

#[test]
fn a_goodbye_ends_no_exchange_and_begins_none() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut wire = router.connect();
    for _ in 0..5 {
        for path in ["/goodbye", "/echo"] {
            wire.send(format!("GET {path} HTTP/1.1\r\n{HOST}\r\n"));
            assert_eq!(wire.answer().status(), 200);
        }
    }
    assert_eq!(origin.requests().len(), 10);
    assert!(origin.connections() >= 5, "{}", origin.connections());
}

#[test]
fn u1_a_cut_answer_has_no_clean_end() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let answer = router.get("/cut");
    assert!(answer.status() == 502 || !answer.complete, "{answer:?}");
    router.wait_for_metric("banyan_faults_total", &["side=\"upstream\""], 1.0);
    assert_eq!(router.get("/echo").status(), 200);
    assert_eq!(origin.connections(), 1, "a broken stream leaves its connection alone");
}

#[test]
fn u9_an_early_answer_is_delivered() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut wire = router.connect();
    wire.send(format!("POST /early HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    let answer = wire.answer();
    assert_eq!((answer.status(), answer.text()), (403, "no".into()));
    wire.assert_closed();
}

#[test]
fn f14_a_broken_body_is_a_reset_and_no_end() {
    let origin = Http2Origin::plain();
    let router = router(&origin);
    let mut wire = router.connect();
    wire.send(format!("POST /echo HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    wire.send("zz\r\n");
    router.wait_for_metric("banyan_faults_total", &["side=\"client\""], 1.0);
    assert_eq!(router.get("/echo").status(), 200);
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(origin.resets(), [h2::Reason::CANCEL]);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn an_upstream_of_http_1_is_a_bad_gateway() {
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "protocol: h2c, response_timeout_ms: 2000").start();
    assert_eq!(router.get("/").status(), 502);
    assert!(origin.requests().iter().all(|request| !request.line.ends_with("HTTP/1.1")));
}

#[test]
fn health_is_asked_in_the_upstreams_own_protocol() {
    let origin = Http2Origin::plain();
    let health = "protocol: h2c, health: {path: /healthz, interval_ms: 100, timeout_ms: 100, unhealthy_after: 1}, all_unhealthy: refuse";
    let router = Setup::upstream(origin.address, health).start();
    origin.wait_for_streams("/healthz", 3);
    assert_eq!(router.get("/echo").status(), 200);
}
