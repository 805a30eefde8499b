//! The admin listener: metrics, health, readiness, and who is turned away.

use banyan::control::ControlPlan;
use banyan::lifecycle::{Lifecycle, Phase};
use serde_json::Value;

use crate::exposition::Exposition;
use crate::reload::{Plane, routes, wait_until};
use crate::support::{Message, Wire};

fn plane(change: impl FnOnce(&mut ControlPlan)) -> Plane {
    Plane::start(routes("first"), change)
}

fn ask(plane: &Plane, request: &str) -> Message {
    let method = request.split(' ').next().unwrap();
    Wire::connect(plane.handle.address()).send(request).answer_to(method)
}

fn get(plane: &Plane, path: &str) -> Message {
    ask(plane, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

fn assert_problem(message: &Message, status: u16) {
    assert_eq!(message.status(), status);
    assert_eq!(message.field("content-type"), "application/problem+json");
    assert_eq!(json(message)["status"], status);
    assert!(json(message)["title"].as_str().is_some_and(|title| !title.is_empty()));
}

#[test]
fn metrics_are_served_in_the_text_format() {
    let plane = plane(|_| {});
    plane.metrics.worker().connections_accepted.add(5);
    let answer = get(&plane, "/metrics");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let page = Exposition::read(std::str::from_utf8(&answer.body).unwrap());
    assert_eq!(page.value("banyan_downstream_connections_total"), 5.0);
    assert_eq!(page.value("banyan_config_generation"), 1.0);
    assert_eq!(page.value("banyan_config_routes"), 1.0);
    assert_eq!(page.value("banyan_config_flags"), 1.0);
    assert_eq!(page.value(r#"banyan_upstream_slo_p99_seconds{upstream="one"}"#), 0.5);
    assert_eq!(page.value(r#"banyan_config_hashing_info{generation="v3"}"#), 1.0);
}

#[test]
fn readiness_follows_the_phases_and_health_does_not() {
    let lifecycle = Lifecycle::default();
    let shared = lifecycle.clone();
    let plane = plane(|plan| plan.lifecycle = shared);
    wait_until("ready", || get(&plane, "/readyz").status() == 200);
    let ready = get(&plane, "/readyz");
    assert_eq!(json(&ready), serde_json::json!({"ready": true, "generation": 1}));
    let page = |plane: &Plane| Exposition::read(std::str::from_utf8(&get(plane, "/metrics").body).unwrap());
    assert_eq!(page(&plane).value("banyan_ready"), 1.0);

    lifecycle.advance(Phase::Draining);
    let draining = get(&plane, "/readyz");
    assert_problem(&draining, 503);
    assert!(json(&draining)["detail"].as_str().unwrap().starts_with("draining"));
    assert_eq!(page(&plane).value("banyan_ready"), 0.0);
    assert_eq!(get(&plane, "/healthz").status(), 200);
}

#[test]
fn draining_ends_in_aborting_at_its_deadline() {
    let lifecycle = Lifecycle::default();
    let shared = lifecycle.clone();
    let _plane = plane(|plan| (plan.lifecycle, plan.drain_timeout_ms) = (shared, 30));
    assert_eq!(lifecycle.phase(), Phase::Running);
    lifecycle.advance(Phase::Draining);
    wait_until("aborting", || lifecycle.phase() == Phase::Aborting);
}

#[test]
fn head_has_no_body_and_other_methods_are_refused() {
    let plane = plane(|_| {});
    let answer = ask(&plane, "HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    let answer = ask(&plane, "DELETE /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_problem(&answer, 405);
    assert_eq!(answer.field("allow"), "GET, HEAD");
}

#[test]
fn unknown_paths_are_problems() {
    let plane = plane(|_| {});
    for path in ["/assets/", "/metrics/", "/healthz/..", "/apiv1", "//metrics"] {
        assert_problem(&get(&plane, path), 404);
    }
}

#[test]
fn a_rebound_name_is_turned_away_and_a_listed_one_is_not() {
    let plane = plane(|plan| plan.admin_hosts = vec!["banyan.svc".into()]);
    let with = |host: &str| ask(&plane, &format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", ""] {
        assert_problem(&with(host), 421);
    }
    for host in ["localhost:9901", "127.0.0.1", "[::1]:1", "banyan.svc"] {
        assert_eq!(with(host).status(), 200, "{host}");
    }
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_problem(&ask(&plane, absolute), 421);
}

#[test]
fn a_request_has_exactly_one_host_but_for_http_1_0() {
    let plane = plane(|_| {});
    assert_problem(&ask(&plane, "GET /healthz HTTP/1.1\r\n\r\n"), 400);
    assert_problem(&ask(&plane, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n"), 400);
    assert_eq!(ask(&plane, "GET /healthz HTTP/1.0\r\n\r\n").status(), 200);
}

#[test]
fn a_body_is_refused_and_the_connection_with_it() {
    let plane = plane(|_| {});
    let mut wire = Wire::connect(plane.handle.address());
    wire.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello");
    assert_problem(&wire.answer(), 413);
    wire.assert_closed();
}

#[test]
fn a_closed_door_lets_nobody_in_while_the_rest_goes_on() {
    let plane = plane(|_| {});
    let mut open = Wire::connect(plane.handle.address());
    let ask = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(open.send(ask).answer().status(), 200);
    plane.handle.admin_door().close();
    wait_until("closed", || std::net::TcpStream::connect(plane.handle.address()).is_err());
    assert_eq!(open.send(ask).answer().status(), 200, "who is in may finish");
}
