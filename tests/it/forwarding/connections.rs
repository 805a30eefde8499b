//! Which connections are used again, and what happens when they prove stale.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::{GET, OK};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

#[test]
fn connections_are_used_again_on_both_sides() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..5 {
        wire.send(GET);
        assert_eq!(wire.answer().text(), "ok");
    }
    assert_eq!((origin.requests().len(), origin.connections()), (5, 1));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|exchange| {
        while let Some(request) = exchange.request() {
            let target = request.target();
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len()));
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n");
    wire.send([request("/1"), request("/2"), request("/3")].concat());
    assert_eq!([wire.answer().text(), wire.answer().text(), wire.answer().text()], ["/1", "/2", "/3"]);
}

#[test]
fn connection_close_is_obeyed_on_each_side_alone() {
    let origin = Origin::answering(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(GET);
        assert_eq!(wire.answer().text(), "ok");
    }
    assert_eq!(origin.connections(), 2);
    wire.send("GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
    assert_eq!(wire.answer().field("connection"), "close");
    wire.assert_closed();
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            wait.lock().unwrap().recv().unwrap();
            exchange.send(OK);
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(GET).half_close();
    origin.wait_for_requests(1);
    go.send(()).unwrap();
    assert_eq!(wire.answer().text(), "ok");
    wire.assert_closed();
}

/// An origin that ends each connection after its first answer when told to.
fn closing(reset: bool) -> (Origin, std::sync::mpsc::Sender<()>) {
    let (close, closed) = channel();
    let closed = Mutex::new(closed);
    let origin = Origin::start(move |exchange| {
        if exchange.request().is_some() {
            exchange.send(OK);
            if exchange.number == 0 {
                closed.lock().unwrap().recv().unwrap();
                if reset {
                    exchange.reset_at_end();
                }
            } else {
                exchange.drain();
            }
        }
    });
    (origin, close)
}

#[test]
fn u6_a_stale_pooled_connection_is_no_client_error() {
    for reset in [false, true] {
        let (origin, close) = closing(reset);
        let router = Router::to(origin.address);
        let mut wire = router.connect();
        wire.send(GET);
        assert_eq!(wire.answer().text(), "ok");
        close.send(()).unwrap();
        router.wait_for_metric("banyan_upstream_connections_closed_total", &[], 1.0);
        wire.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello");
        let answer = wire.answer();
        assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
        assert_eq!((origin.requests().len(), origin.connections()), (2, 2));
    }
}

#[test]
fn u7_what_was_sent_is_never_sent_twice() {
    for request in [
        "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a.example\r\n\r\n",
        GET,
    ] {
        // The first answer makes the connection a pooled one; the second request is read and not answered.
        let origin = Origin::start(|exchange| {
            if exchange.request().is_some() {
                exchange.send(OK);
                exchange.request();
            }
        });
        let router = Router::to(origin.address);
        let mut wire = router.connect();
        wire.send(GET);
        assert_eq!(wire.answer().text(), "ok");
        wire.send(request);
        let answer = wire.answer();
        assert_eq!(answer.status(), 502, "{answer:?}");
        assert!(answer.field("proxy-status").contains("error=connection_terminated"), "{answer:?}");
        assert_eq!((origin.requests().len(), origin.connections()), (2, 1));
    }
}

#[test]
fn an_answer_with_an_unfinished_upload_does_not_pool_the_connection() {
    let origin = Origin::start(|exchange| {
        if exchange.number == 0 {
            exchange.head().unwrap();
            exchange.send(OK);
            exchange.drain();
        }
        while exchange.request().is_some() {
            exchange.send(OK);
        }
    });
    let router = Router::to(origin.address);
    let mut slow = router.connect();
    slow.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\nhello");
    assert_eq!(slow.answer().text(), "ok");
    assert_eq!(router.get("/").text(), "ok");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn edits_take_effect_on_open_connections() {
    let (left, right) = (Origin::ok(), Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright"));
    let flags = |variant: &str| {
        format!(
            "flags:\n  side:\n    state: ENABLED\n    variants: {{left: left, right: right}}\n    defaultVariant: {variant}\n    metadata: {{owner: tests}}\n"
        )
    };
    let routes = |fallback: &str| {
        format!(
            "upstreams:\n  left: {{endpoints: [\"http://{}\"]}}\n  right: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: left, right: right}}, fallback: {fallback}}}\n",
            left.address, right.address
        )
    };
    let router = Setup::routes(routes("left")).flags(flags("left")).start();
    let mut wire = router.connect();
    let mut served_by = |generation: u32| {
        router.wait_for_metric("banyan_config_generation", &[], f64::from(generation));
        wire.send(GET);
        wire.answer().text()
    };
    assert_eq!(served_by(1), "ok");
    router.edit_flags(&flags("right"));
    assert_eq!(served_by(2), "right");
    router.edit_flags(&flags("right").replace("ENABLED", "DISABLED"));
    assert_eq!(served_by(3), "ok");
    router.edit_routes(&routes("right"));
    assert_eq!(served_by(4), "right");
    assert_eq!((left.connections(), right.connections()), (1, 1), "a reload leaves pooled connections alone");
}
