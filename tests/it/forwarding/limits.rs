//! The limits of http-rules 2.5, one test a limit, each with its counter.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{CHUNKED_POST, GET};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

fn limited(origin: &Origin, name: &str, value: u64) -> Router {
    Setup::upstream(origin.address, "").limit(name, value).start()
}

fn was_hit(router: &Router, limit: &str) {
    router.wait_for_metric("banyan_limit_hits_total", &[&format!("limit=\"{limit}\"")], 1.0);
}

fn with_field(bytes: usize) -> String {
    format!("GET / HTTP/1.1\r\nhost: a.example\r\nx-a: {}\r\n\r\n", "x".repeat(bytes))
}

#[test]
fn l1_head_bytes_max() {
    let origin = Origin::ok();
    let router = limited(&origin, "head_bytes_max", 4_000);
    assert_eq!(router.exchange(with_field(3_000)).status(), 200);
    assert_eq!(router.exchange(with_field(5_000)).status(), 431);
    assert_eq!(router.exchange(with_field(50_000)).status(), 431);
    was_hit(&router, "head");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn l1_field_bytes_max() {
    let origin = Origin::ok();
    let router = limited(&origin, "field_bytes_max", 1_000);
    assert_eq!(router.exchange(with_field(990)).status(), 200);
    assert_eq!(router.exchange(with_field(1_000)).status(), 431);
    was_hit(&router, "head");
}

#[test]
fn l1_fields_max() {
    let origin = Origin::ok();
    let router = limited(&origin, "fields_max", 10);
    let request = |fields: usize| format!("GET / HTTP/1.1\r\nhost: a.example\r\n{}\r\n", "x-a: 1\r\n".repeat(fields));
    assert_eq!(router.exchange(request(9)).status(), 200);
    assert_eq!(router.exchange(request(10)).status(), 431);
    assert_eq!(router.exchange(request(500)).status(), 431);
    was_hit(&router, "head");
}

#[test]
fn l1_limits_of_the_head_can_be_off() {
    let origin = Origin::ok();
    let off = ["head_bytes_max", "field_bytes_max", "fields_max", "target_bytes_max"];
    let setup = off.into_iter().fold(Setup::upstream(origin.address, ""), |setup, name| setup.limit(name, 0));
    let router = setup.start();
    let fields = format!("x-a: {}\r\n", "x".repeat(500)).repeat(200);
    assert_eq!(router.exchange(format!("GET / HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n")).status(), 200);
}

#[test]
fn l1_target_bytes_max() {
    let origin = Origin::ok();
    let router = Router::to(origin.address);
    let request = |bytes: usize| format!("GET /{} HTTP/1.1\r\nhost: a.example\r\n\r\n", "x".repeat(bytes - 1));
    assert_eq!(router.exchange(request(8_000)).status(), 200, "8000 bytes must work (RFC 9112 section 3)");
    assert_eq!(router.exchange(request(9_000)).status(), 414);
    was_hit(&router, "target");
}

#[test]
fn l3_head_timeout_ms() {
    let origin = Origin::ok();
    let router = limited(&origin, "head_timeout_ms", 150);
    router.connect().rest();
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.1\r\nhost:");
    wire.rest();
    was_hit(&router, "head_timeout");
    // The limit is for the whole head: bytes that drip in do not prolong it, and it holds for later requests too.
    let mut wire = router.connect();
    wire.send(GET);
    assert_eq!(wire.answer().status(), 200);
    wire.send("GET / HTTP/1.1\r\n");
    wire.rest();
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"head_timeout\""], 3.0);
}

#[test]
fn l4_body_idle_timeout_ms() {
    let origin = Origin::ok();
    let router = limited(&origin, "body_idle_timeout_ms", 150);
    let mut wire = router.connect();
    wire.send(CHUNKED_POST).send("5\r\nhello\r\n");
    wire.rest();
    was_hit(&router, "body_idle");
    router.wait_for_metric("banyan_faults_total", &["side=\"client\""], 1.0);
    assert!(origin.requests().is_empty());
}

#[test]
fn l4_body_rate_min_bytes() {
    let origin = Origin::ok();
    let router = limited(&origin, "body_rate_min_bytes", 1_000_000);
    let mut wire = router.connect();
    wire.send(CHUNKED_POST).send("5\r\nhello\r\n");
    wire.rest();
    was_hit(&router, "body_rate");
    assert!(origin.requests().is_empty());
}

#[test]
fn l5_write_stall_timeout_ms() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let piece = [&b"10000\r\n"[..], &[b'x'; 0x1_0000], b"\r\n"].concat();
        while exchange.send(&piece) {}
    });
    let router = limited(&origin, "write_stall_timeout_ms", 200);
    let mut wire = router.connect();
    wire.send(GET);
    was_hit(&router, "write_stall");
    router.wait_for_metric("banyan_faults_total", &["side=\"client\""], 1.0);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
    // With a reset, so that what was not taken is not kept.
    let mut stream = wire.into_stream();
    let error = std::io::copy(&mut stream, &mut std::io::sink()).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn l6_keep_alive_timeout_ms() {
    let origin = Origin::ok();
    let router = limited(&origin, "keep_alive_timeout_ms", 150);
    let mut wire = router.connect();
    wire.send(GET);
    assert_eq!(wire.answer().status(), 200);
    wire.assert_closed();
    was_hit(&router, "keep_alive");
}

#[test]
fn l6_keep_alive_requests_max() {
    let origin = Origin::ok();
    let router = limited(&origin, "keep_alive_requests_max", 2);
    let mut wire = router.connect();
    wire.send(GET);
    assert!(!wire.answer().has("connection"));
    wire.send(GET);
    assert_eq!(wire.answer().field("connection"), "close");
    wire.assert_closed();
    was_hit(&router, "keep_alive_requests");
}

#[test]
fn l8_connections_max() {
    let origin = Origin::ok();
    let router = limited(&origin, "connections_max", 2);
    let mut first = router.connect();
    first.send(GET);
    assert_eq!(first.answer().status(), 200);
    let mut second = router.connect();
    second.send(GET);
    assert_eq!(second.answer().status(), 200);
    router.connect().assert_closed();
    was_hit(&router, "connections");
    drop(first);
    router.wait_for_connections(1);
    assert_eq!(router.get("/").status(), 200);
}

#[test]
fn l8_connections_per_address_max() {
    let origin = Origin::ok();
    let router = limited(&origin, "connections_per_address_max", 1);
    let mut first = router.connect();
    first.send(GET);
    assert_eq!(first.answer().status(), 200);
    router.connect().assert_closed();
    was_hit(&router, "connections_per_address");
    drop(first);
    router.wait_for_connections(0);
    assert_eq!(router.get("/").status(), 200);
}

#[test]
fn l8_connections_per_upstream() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.drain();
    });
    let router = Setup::upstream(origin.address, "connections_max: 1").workers(1).start();
    let mut first = router.connect();
    first.send(GET);
    origin.wait_for_requests(1);
    let answer = router.get("/");
    assert_eq!(answer.status(), 503);
    assert!(answer.field("proxy-status").contains("error=connection_limit_reached"), "{answer:?}");
    was_hit(&router, "upstream_connections");
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn l9_body_bytes_max() {
    let origin = Origin::ok();
    let router = Setup::route(origin.address, "", "body_bytes_max: 4").start();
    let post = |length: usize| {
        format!("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    assert_eq!(router.exchange(post(4)).status(), 200);
    assert_eq!(router.exchange(post(5)).status(), 413);
    let mut wire = router.connect();
    wire.send(CHUNKED_POST).send("4\r\nhell\r\n1\r\no\r\n0\r\n\r\n");
    assert_eq!(wire.answer().status(), 413);
    wire.assert_closed();
    was_hit(&router, "body");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn l13_no_descriptors_left() {
    let origin = Origin::ok();
    let mut router = Router::to(origin.address);
    let pid = Pid::from_raw(i32::try_from(router.pid()).unwrap()).unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", router.pid())).unwrap().count() as u64;
    let few = Rlimit { current: Some(open + 6), maximum: Some(open + 200) };
    let before = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    assert!(before.current.is_some_and(|current| current > open + 6));
    let flood: Vec<_> = (0..30).map(|_| router.connect()).collect();
    // Without descriptors the metrics cannot be read: the log has to say it.
    router.wait_for_log("descriptors are out", |line| line.contains("cannot accept"));
    drop(flood);
    assert_eq!(router.get("/").status(), 200, "accepting goes on");
    was_hit(&router, "descriptors");
}

#[test]
fn l14_drain_timeout_ms() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.drain();
    });
    let mut router = limited(&origin, "drain_timeout_ms", 200);
    let mut wire = router.connect();
    wire.send(GET);
    origin.wait_for_requests(1);
    let pid = Pid::from_raw(i32::try_from(router.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    router.wait_for_exit();
    wire.rest();
}
