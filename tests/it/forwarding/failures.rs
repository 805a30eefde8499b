//! What a client gets when an upstream fails, and how soon.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{GET, OK};
use crate::support::router::{Setup, member};
use crate::support::{Message, Origin, PATIENCE, Router};

fn is_failure(answer: &Message, status: u16, error: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert!(answer.field("proxy-status").starts_with(&format!("banyan; error={error}")), "{answer:?}");
    assert_eq!(answer.field("content-type"), "text/plain; charset=utf-8");
    assert!(answer.body.len() < 200 && answer.text().lines().count() == 1, "{answer:?}");
}

#[test]
fn u8_refused_is_502_and_service_resumes_at_once() {
    let address = Origin::refusing();
    let router = Router::to(address);
    for _ in 0..10 {
        is_failure(&router.get("/"), 502, "connection_refused");
    }
    let _origin = Origin::on(TcpListener::bind(address).unwrap(), |exchange| {
        while exchange.request().is_some() {
            exchange.send(OK);
        }
    });
    assert_eq!(router.get("/").text(), "ok");
}

#[test]
fn u8_silent_is_504_in_bounded_time() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.drain();
    });
    let router = Setup::upstream(origin.address, "response_timeout_ms: 150").start();
    let start = Instant::now();
    is_failure(&router.get("/"), 504, "http_response_timeout");
    assert!(start.elapsed() >= Duration::from_millis(150) && start.elapsed() < PATIENCE / 2);
    origin.wait_for_ends(1);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn u8_the_wait_for_an_answer_begins_after_the_upload() {
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "response_timeout_ms: 150").start();
    let mut wire = router.connect();
    wire.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 2\r\n\r\na");
    origin.wait_for_bytes(b"\r\n\r\na");
    wire.assert_silent(Duration::from_millis(400));
    wire.send("b");
    assert_eq!(wire.answer().text(), "ok");
}

#[test]
fn u8_an_unreachable_upstream_is_504_within_the_connect_timeout() {
    // An accept queue that is full drops what comes: connecting hangs as it does with a host that is gone.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let filling: Vec<_> =
        (0..4).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()).collect();
    assert!(filling.len() < 4, "the accept queue never fills");
    let router = Setup::upstream(address, "connect_timeout_ms: 150").start();
    let start = Instant::now();
    is_failure(&router.get("/"), 504, "connection_timeout");
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn a_closed_or_reset_connection_is_502() {
    for reset in [false, true] {
        let origin = Origin::start(move |exchange| {
            exchange.request();
            if reset {
                exchange.reset_at_end();
            }
        });
        is_failure(&Router::to(origin.address).get("/"), 502, "connection_terminated");
    }
}

#[test]
fn a_stalled_answer_is_cut() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        exchange.drain();
    });
    let router = Setup::upstream(origin.address, "body_idle_timeout_ms: 150").start();
    let mut wire = router.connect();
    wire.send(GET);
    let answer = wire.answer();
    assert!(!answer.complete && answer.text() == "hello", "{answer:?}");
    router.wait_for_metric("banyan_faults_total", &["fault=\"response_stalled\""], 1.0);
}

#[test]
fn no_route_is_404() {
    let origin = Origin::ok();
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: one, match: {{path: /one}}, upstream: one}}\n",
        origin.address
    );
    is_failure(&Setup::routes(routes).start().get("/two"), 404, "destination_not_found");
}

#[test]
fn a_failure_is_one_log_line_that_says_why() {
    let address = Origin::refusing();
    let mut router = Setup::upstream(address, "").arguments(&["--access-log", "off"]).start();
    router.get("/secret-path");
    router.wait_for_log("the exchange failed", |line| line.contains("connect_refused"));
    let lines: Vec<_> = router.logs().into_iter().filter(|line| line.contains("connect_refused")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(member(&lines[0], "upstream").as_deref(), Some("one"));
    assert_eq!(member(&lines[0], "endpoint"), Some(address.to_string()));
}

#[test]
fn one_dead_endpoint_of_two_costs_no_request() {
    let (dead, origin) = (Origin::refusing(), Origin::ok());
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"http://{dead}\", \"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
        origin.address
    );
    let router = Setup::routes(routes).start();
    for _ in 0..20 {
        assert_eq!(router.get("/").status(), 200);
    }
}

#[test]
fn an_endpoint_that_keeps_failing_is_ejected_and_counted() {
    let (failing, origin) = (Origin::start(|exchange| drop(exchange.request())), Origin::ok());
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"http://{}\", \"http://{}\"], eject_after_failures: 2, eject_ms: 60000}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
        failing.address, origin.address
    );
    let router = Setup::routes(routes).start();
    for _ in 0..40 {
        router.get("/");
    }
    assert_eq!(router.metric("banyan_upstream_ejections_total", &["upstream=\"one\""]), 1.0);
    assert_eq!(failing.requests().len(), 2);
    assert_eq!(origin.requests().len(), 38);
    router.wait_for_metric("banyan_upstream_ejected", &["upstream=\"one\""], 1.0);
}

#[test]
fn the_last_endpoint_is_never_given_up() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() && exchange.number >= 20 {
            exchange.send(OK);
        }
    });
    let router = Setup::upstream(origin.address, "eject_after_failures: 2, eject_ms: 60000").start();
    for _ in 0..20 {
        is_failure(&router.get("/"), 502, "connection_terminated");
    }
    assert_eq!(router.get("/").text(), "ok");
}
