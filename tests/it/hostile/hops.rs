//! Rules P1 to P17: what is for one hop only, and who may say what.

use super::{Pair, get, post};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

#[test]
fn p1_p2_hop_by_hop_fields_of_requests() {
    let received = Pair::start().forwards(get(
        "connection: X-Gone, close\r\nConnection: x-also\r\nx-gone: 1\r\nX-Also: 2\r\nx-stays: 3\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nte: trailers, deflate\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    ));
    for gone in ["x-gone", "x-also", "keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(!received.has(gone), "{gone} in {received:?}");
    }
    assert_eq!(
        (received.field("x-stays"), received.field("te"), received.field("connection")),
        ("3".into(), "trailers".into(), "te".into())
    );
}

#[test]
fn p1_p2_hop_by_hop_fields_of_answers() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\nconnection: x-gone\r\nx-gone: 1\r\nx-stays: 2\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok",
    );
    let answer = Router::to(origin.address).get("/");
    for gone in ["x-gone", "keep-alive", "proxy-connection", "upgrade", "connection"] {
        assert!(!answer.has(gone), "{gone} in {answer:?}");
    }
    assert_eq!(answer.field("x-stays"), "2");
}

#[test]
fn p3_via_is_added() {
    let received = Pair::start().forwards(get("via: 1.1 edge\r\n"));
    assert_eq!(received.field("via"), "1.1 edge | 1.1 banyan");
}

#[test]
fn p4_loops_end() {
    let pair = Pair::start();
    let answer = pair.router.exchange(get("via: 1.1 banyan, 1.1 banyan\r\n"));
    assert_eq!(answer.status(), 508);
    assert!(answer.field("proxy-status").contains("error=proxy_loop_detected"), "{answer:?}");
    assert!(pair.origin.requests().is_empty());
}

#[test]
fn p5_max_forwards() {
    let pair = Pair::start();
    let options = |hops| format!("OPTIONS / HTTP/1.1\r\nhost: a.example\r\nmax-forwards: {hops}\r\n\r\n");
    let mut wire = pair.router.connect();
    wire.send(options(0));
    let answer = wire.answer();
    assert!(answer.status() < 300 && answer.has("allow"), "{answer:?}");
    wire.assert_reusable();
    let received = pair.router.exchange(options(5));
    assert_eq!(received.status(), 200);
    assert_eq!(pair.origin.requests().last().unwrap().field("max-forwards"), "4");
}

const HANDSHAKE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";

#[test]
fn p6_upgrades_pass_only_where_the_route_says_so() {
    let pair = Pair::start();
    let received = pair.forwards(get(HANDSHAKE));
    assert!(!received.has("upgrade") && !received.has("connection"), "{received:?}");
    let received =
        pair.forwards(get("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"));
    assert!(!received.has("upgrade") && !received.has("http2-settings"), "{received:?}");
}

#[test]
fn p6_never_in_http_1_0_or_with_a_body() {
    let origin = Origin::ok();
    let router = Setup::route(origin.address, "", "websocket: true").start();
    for bytes in [
        format!("GET / HTTP/1.0\r\nhost: a.example\r\n{HANDSHAKE}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n{HANDSHAKE}\r\nhello"),
        format!("POST / HTTP/1.1\r\nhost: a.example\r\n{HANDSHAKE}\r\n"),
    ] {
        assert_eq!(router.exchange(&bytes).status(), 200);
        assert!(!origin.requests().last().unwrap().has("upgrade"), "{bytes}");
    }
}

#[test]
fn p7_bytes_behind_an_upgrade_wait_for_the_101() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange
                .send("HTTP/1.1 200 OK\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nno");
            exchange.drain();
        }
    });
    let router = Setup::route(origin.address, "", "websocket: true").start();
    let mut wire = router.connect();
    wire.send(get(HANDSHAKE)).send("POST /smuggled HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1\r\n\r\nx");
    let answer = wire.answer();
    assert_eq!((answer.status(), answer.text()), (200, "no".into()));
    assert!(!answer.has("upgrade"), "{answer:?}");
    // What follows is a request of its own, read and forwarded as one.
    origin.wait_for_bytes(b"POST /smuggled");
    let bytes = String::from_utf8_lossy(&origin.bytes()).into_owned();
    assert!(bytes.contains("via: 1.1 banyan\r\n") && bytes.matches("via: 1.1 banyan").count() == 2, "{bytes}");
}

#[test]
fn p7_an_unasked_101_is_a_bad_gateway() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
            exchange.drain();
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(get(""));
    let answer = wire.answer();
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert!(answer.field("proxy-status").contains("error=http_protocol_error"));
    origin.wait_for_ends(1);
}

#[test]
fn p7_a_101_for_another_protocol_is_a_bad_gateway() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n");
            exchange.drain();
        }
    });
    let router = Setup::route(origin.address, "", "websocket: true").start();
    assert_eq!(router.exchange(get(HANDSHAKE)).status(), 502);
}

const CLAIMS: &str = "x-forwarded-for: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\nx-forwarded-port: 1\r\nforwarded: for=1.1.1.1\r\n";

#[test]
fn p9_forwarding_fields_of_strangers_are_replaced() {
    let received = Pair::start().forwards(get(CLAIMS));
    assert_eq!(received.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(received.field("x-forwarded-proto"), "http");
    assert_eq!(received.field("x-forwarded-host"), "a.example");
    assert!(!received.has("x-forwarded-port"));
    assert_eq!(received.field("forwarded"), "for=127.0.0.1;proto=http");
}

#[test]
fn p9_forwarding_fields_of_trusted_proxies_are_extended() {
    let origin = Origin::ok();
    let router =
        Setup::upstream(origin.address, "").arguments(&["--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"]).start();
    router.exchange(get(CLAIMS));
    let received = origin.request();
    assert_eq!(received.field("x-forwarded-for"), "1.1.1.1, 2.2.2.2, 127.0.0.1");
    assert_eq!(received.field("x-forwarded-proto"), "https");
    assert_eq!(received.field("x-forwarded-host"), "evil");
    assert_eq!(received.field("forwarded"), "for=1.1.1.1, for=127.0.0.1;proto=http");
}

#[test]
fn p10_underscores() {
    let pair = Pair::start();
    pair.refuses(400, post("content_length: 5\r\n", ""));
    pair.refuses(400, post("transfer_encoding: chunked\r\n", ""));
    assert!(!pair.forwards(get("x_user: 1\r\n")).has("x_user"));
}

#[test]
fn p11_interim_answers_are_harmless() {
    let origin = Origin::answering(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(get(""));
        let answer = wire.answer();
        assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
    }
}

#[test]
fn p12_expect_continue_does_not_hang() {
    let pair = Pair::start();
    let mut wire = pair.router.connect();
    wire.send(post("expect: 100-continue\r\ncontent-length: 5\r\n", ""));
    assert_eq!(wire.head().status(), 100);
    wire.send("hello");
    assert_eq!(wire.answer().status(), 200);
    assert_eq!(pair.origin.request().text(), "hello");
    wire.assert_reusable();
}

#[test]
fn p12_a_final_answer_instead_of_100_stays_in_step() {
    let origin = Origin::ok();
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: again, match: {{path: /again}}, upstream: one}}\n",
        origin.address
    );
    let router = Setup::routes(routes).start();
    let mut wire = router.connect();
    wire.send("POST /none HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 43\r\n\r\n");
    let answer = wire.answer();
    assert_eq!(answer.status(), 404);
    // The client may send the body all the same: it must never be read as a request.
    wire.send("GET /again HTTP/1.1\r\nhost: a.example\r\n\r\n\r\n");
    wire.assert_closed();
    assert!(origin.requests().is_empty());
}

#[test]
fn p12_other_expectations_fail_and_http_1_0_has_none() {
    let pair = Pair::start();
    pair.refuses(417, post("expect: 200-ok\r\ncontent-length: 5\r\n", "hello"));
    let mut wire = pair.router.connect();
    wire.send("POST / HTTP/1.0\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").send("hello");
    assert_eq!(wire.head().status(), 200, "no 100 may come before it");
    assert!(!pair.origin.request().has("expect"));
}

#[test]
fn p13_no_chunks_for_http_1_0() {
    let origin = Origin::answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let router = Router::to(origin.address);
    for fields in ["", "connection: keep-alive\r\n"] {
        let mut wire = router.connect();
        wire.send(format!("GET / HTTP/1.0\r\nhost: a.example\r\n{fields}\r\n"));
        let answer = wire.answer();
        assert!(!answer.has("transfer-encoding"), "{answer:?}");
        assert_eq!(answer.text(), "hello");
        wire.assert_closed();
    }
}

#[test]
fn p14_trailers_pass_and_forbidden_ones_do_not() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, content-length, banyan-decision\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\nbanyan-decision: x\r\n\r\n",
    );
    let router = Router::to(origin.address);
    let trailers = "te: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, host, banyan-decision\r\n";
    let mut wire = router.connect();
    wire.send(post(trailers, "5\r\nhello\r\n0\r\nx-sum: 2\r\nhost: b.example\r\nbanyan-decision: x\r\n\r\n"));
    let answer = wire.answer();
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert!(!answer.has("x-sum"), "trailers are never merged into the head");
    let received = origin.request();
    assert_eq!(received.trailers, [("x-sum".to_owned(), "2".to_owned())]);
    assert_eq!(received.field("host"), "a.example");
    wire.assert_reusable();
}

#[test]
fn p14_trailers_of_requests_need_no_announcement() {
    let pair = Pair::start();
    let received =
        pair.forwards(post("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\nx-sum: 2\r\nx_bad: 1\r\n\r\n"));
    assert_eq!(received.trailers, [("x-sum".to_owned(), "2".to_owned())]);
}

#[test]
fn p15_answers_without_body() {
    for (method, response, length) in [
        ("HEAD", &b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"[..], "7"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", ""),
        ("GET", b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", ""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", ""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "7"),
        ("HEAD", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "7"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\ncontent-length: 7\r\n\r\n", ""),
    ] {
        let origin = Origin::answering(response);
        let router = Router::to(origin.address);
        let mut wire = router.connect();
        for _ in 0..2 {
            wire.send(format!("{method} / HTTP/1.1\r\nhost: a.example\r\n\r\n"));
            let answer = wire.answer_to(method);
            assert_eq!(
                (answer.field("content-length"), answer.has("transfer-encoding")),
                (length.to_owned(), false),
                "{answer:?}"
            );
        }
    }
}

#[test]
fn p15_bytes_where_there_is_no_body_close_that_connection() {
    for response in [
        &b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"[..],
        b"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    ] {
        let origin = Origin::answering(response);
        let router = Router::to(origin.address);
        for _ in 0..4 {
            let answer = router.get("/");
            assert!(matches!(answer.status(), 204 | 304), "{answer:?}");
        }
        assert_eq!(origin.connections(), 4);
    }
}

#[test]
fn p16_set_cookie_lines_stay_apart_and_in_order() {
    let origin = Origin::answering(b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nx: y\r\nSet-Cookie: b=2, 3\r\nset-cookie: c=3\r\ncontent-length: 2\r\n\r\nok");
    let answer = Router::to(origin.address).get("/");
    assert_eq!(answer.values("set-cookie"), ["a=1", "b=2, 3", "c=3"]);
}

#[test]
fn p17_own_version() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send("HTTP/1.0 200 OK\r\n\r\nhello");
        }
    });
    let answer = Router::to(origin.address).get("/");
    assert_eq!((answer.line.as_str(), answer.text()), ("HTTP/1.1 200 OK", "hello".into()));
}

#[test]
fn our_own_fields_of_clients_are_stripped() {
    let received = Pair::start().forwards(get(
        "Banyan-Decision: variant=\"live\"\r\nbanyan-mirror: x\r\ncloudflare-workers-version-key: x\r\n",
    ));
    for name in ["banyan-decision", "banyan-mirror", "cloudflare-workers-version-key"] {
        assert!(!received.has(name), "{received:?}");
    }
}

#[test]
fn p9_rules_on_the_client_address_believe_trusted_proxies_only() {
    let (left, right) = (Origin::ok(), Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright"));
    let flags = "flags:\n  side:\n    state: ENABLED\n    variants: {left: left, right: right}\n    defaultVariant: left\n    targeting: {if: [{\"==\": [{var: client.ip}, 192.0.2.9]}, right]}\n    metadata: {owner: tests}\n";
    let routes = format!(
        "upstreams:\n  left: {{endpoints: [\"http://{}\"]}}\n  right: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: left, right: right}}, fallback: left}}\n",
        left.address, right.address
    );
    let claim = get("x-forwarded-for: 1.1.1.1, 192.0.2.9\r\n");
    let trusting = Setup::routes(routes.clone()).flags(flags).arguments(&["--trusted-proxies", "127.0.0.1"]).start();
    assert_eq!(trusting.exchange(&claim).text(), "right");
    assert!(right.request().field("banyan-decision").contains("variant=\"right\""));
    assert_eq!(Setup::routes(routes).flags(flags).start().exchange(&claim).text(), "ok");
}
