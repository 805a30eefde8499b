//! Rules U1 to U10: an upstream that lies, stops, pushes or stays silent.

use super::get;
use crate::support::{Message, Origin, Router};

/// An origin that sends these bytes for the first request of a connection and then closes it.
fn once(response: &'static [u8], reset: bool) -> Origin {
    Origin::start(move |exchange| {
        if exchange.request().is_some() {
            exchange.send(response);
            if reset {
                exchange.reset_at_end();
            }
        }
    })
}

/// An origin that sends these bytes for the first request of a connection and leaves it to the router to end it.
fn lingering(response: &'static [u8]) -> Origin {
    Origin::start(move |exchange| {
        if exchange.request().is_some() {
            exchange.send(response);
            exchange.drain();
        }
    })
}

fn is_bad_gateway(answer: &Message, error: &str) {
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert!(answer.field("proxy-status").contains(&format!("error={error}")), "{answer:?}");
}

#[test]
fn u1_a_cut_answer_has_no_clean_end() {
    for response in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        for reset in [false, true] {
            let origin = once(response, reset);
            let router = Router::to(origin.address);
            let mut wire = router.connect();
            wire.send(get(""));
            // Where it all comes at once, the cut may be known before the head is sent on.
            let answer = wire.answer();
            assert!(
                answer.status() == 502 || !answer.complete,
                "{:?} became {answer:?}",
                String::from_utf8_lossy(response)
            );
            wire.assert_closed();
            router.wait_for_metric("banyan_faults_total", &["side=\"upstream\""], 1.0);
            assert_eq!(router.metric("banyan_faults_total", &["side=\"client\""]), 0.0);
        }
    }
}

#[test]
fn u1_a_cut_answer_has_no_clean_end_for_http_1_0() {
    let origin = once(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", false);
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.0\r\nhost: a.example\r\n\r\n");
    let answer = wire.answer();
    assert!(answer.status() == 502 || (!answer.complete && answer.field("content-length") == "10"), "{answer:?}");
}

#[test]
fn u2_bad_or_double_content_length() {
    for lengths in
        ["+2", "-2", "", "2, 3", "0x2", "2\r\ncontent-length: 3", "2\r\ncontent-length: 2", "99999999999999999999"]
    {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {lengths}\r\n\r\nok").leak();
        let origin = lingering(response.as_bytes());
        let router = Router::to(origin.address);
        is_bad_gateway(&router.get("/"), "http_protocol_error");
        origin.wait_for_ends(1);
    }
}

#[test]
fn u3_chunked_wins_over_content_length() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(get(""));
        let answer = wire.answer();
        assert_eq!((answer.text(), answer.field("content-length")), ("hello".into(), String::new()));
    }
    assert_eq!(origin.connections(), 2, "nothing is read behind such an answer");
}

#[test]
fn u3_other_codings_are_refused() {
    for coding in ["gzip", "gzip, chunked", "chunked, chunked"] {
        let response = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").leak();
        let origin = lingering(response.as_bytes());
        is_bad_gateway(&Router::to(origin.address).get("/"), "http_protocol_error");
    }
}

#[test]
fn u4_malformed_answer_heads() {
    for response in [
        &b"HTTP/1.1 200 OK\r\nx-a : 1\r\ncontent-length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-a: a\0b\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-a: a\rb\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx a: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/3.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        let origin = lingering(response);
        let router = Router::to(origin.address);
        is_bad_gateway(&router.get("/"), "http_protocol_error");
        origin.wait_for_ends(1);
    }
}

#[test]
fn u5_surplus_bytes_reach_nobody() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    );
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..5 {
        wire.send(get(""));
        assert_eq!(wire.answer().text(), "ok");
    }
    assert_eq!(origin.connections(), 5);
}

#[test]
fn u5_answers_pushed_on_an_idle_connection_reach_nobody() {
    let (push, pushed) = std::sync::mpsc::channel();
    let pushed = std::sync::Mutex::new(pushed);
    let origin = Origin::start(move |exchange| {
        if exchange.number == 0 {
            exchange.request();
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            pushed.lock().unwrap().recv().unwrap();
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
            exchange.drain();
        } else {
            while exchange.request().is_some() {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(get(""));
    assert_eq!(wire.answer().text(), "ok");
    push.send(()).unwrap();
    origin.wait_for_ends(1);
    for _ in 0..3 {
        wire.send(get(""));
        assert_eq!(wire.answer().text(), "ok");
    }
}

#[test]
fn u5_a_connection_that_ends_while_idle_is_closed_unasked() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let router = Router::to(origin.address);
    assert_eq!(router.get("/").text(), "ok");
    router.wait_for_metric("banyan_upstream_connections_closed_total", &[], 1.0);
}

#[test]
fn u4_a_head_may_come_in_any_parts() {
    let origin = Origin::start(|exchange| {
        while exchange.request().is_some() {
            for byte in b"HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nok" {
                exchange.send([*byte]);
            }
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(get(""));
        let answer = wire.answer();
        assert_eq!((answer.field("x-a"), answer.text()), ("1".into(), "ok".into()));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn u10_who_is_blamed() {
    let silent = once(b"", false);
    let router = Router::to(silent.address);
    is_bad_gateway(&router.get("/"), "connection_terminated");
    router.exchange("GET / HTTP/1.1\r\n\r\n");
    router.exchange(get("via: 1.1 banyan, 1.1 banyan\r\n"));
    for side in ["client", "router", "upstream"] {
        let label = format!("side=\"{side}\"");
        router.wait_for_metric("banyan_faults_total", &[&label], 1.0);
        assert_eq!(router.metric("banyan_faults_total", &[&label]), 1.0, "{side}");
    }
}
