//! What a destination may answer, and what becomes of the copy then.

use super::*;

fn keys(requests: &[Message]) -> Vec<String> {
    requests.iter().map(|request| request.field("idempotency-key")).collect()
}

#[test]
fn each_attempt_carries_the_same_key() {
    let (legacy, modern) = (Service::default(), Service::default());
    let (busy, broken) = (status("503 Service Unavailable"), status("500 Internal Server Error"));
    modern.script("PUT /orders/1", &[&busy, &broken, "", &busy]);
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    router.exchange(request("PUT", "/orders/1", "{}"));
    copied.wait_for_requests(5);
    wait_until("it arrives", || modern.thing("/orders/1").is_some());
    let mut keys = keys(&copied.requests());
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_poison_copy_blocks_its_own_lane_and_is_parked_after_its_attempts() {
    let (legacy, modern) = (Service::default(), Service::default());
    let broken = status("500 Internal Server Error");
    modern.script("PUT /orders/1", &[&broken, &broken, &broken]);
    let (primary, copied) = (legacy.start(), modern.start());
    let mut router = router(primary.address, copied.address, "attempts_max: 3");
    router.exchange(request("PUT", "/orders/1", r#"{"v":1}"#));
    router.exchange(request("PUT", "/orders/1", r#"{"v":2}"#));
    router.exchange(request("PUT", "/orders/2", r#"{"v":3}"#));
    wait_until("the other lane goes on", || modern.thing("/orders/2").is_some());
    wait_until("its own lane goes on", || modern.thing("/orders/1").is_some());
    router.wait_for_log("it is parked", |line| line.contains("a copy is parked") && line.contains("attempts"));
    let bodies: Vec<String> = copied.requests().iter().map(Message::text).filter(|body| !body.contains('3')).collect();
    assert_eq!(bodies, [r#"{"v":1}"#, r#"{"v":1}"#, r#"{"v":1}"#, r#"{"v":2}"#]);
}

#[test]
fn a_refusal_parks_at_once() {
    let (legacy, modern) = (Service::default(), Service::default());
    modern.script("PUT /orders/1", &[&status("422 Unprocessable Content")]);
    let (primary, copied) = (legacy.start(), modern.start());
    let mut router = router(primary.address, copied.address, "");
    router.exchange(request("PUT", "/orders/1", "{}"));
    router.wait_for_log("it is parked", |line| line.contains("a copy is parked") && line.contains("refused"));
    assert_eq!(copied.requests().len(), 1);
}

#[test]
fn a_conflict_is_no_failure_where_the_state_is_equal() {
    let (legacy, modern) = (Service::default(), Service::default());
    modern.put("/orders/1", r#"{"b":2, "a":1}"#);
    modern.put("/orders/2", r#"{"a":"other"}"#);
    for path in ["/orders/1", "/orders/2"] {
        modern.script(&format!("PUT {path}"), &[&status("409 Conflict")]);
    }
    let (primary, copied) = (legacy.start(), modern.start());
    let mut router = router(primary.address, copied.address, "");
    for path in ["/orders/1", "/orders/2"] {
        router.exchange(request("PUT", path, r#"{"a":1,"b":2}"#));
    }
    let line = router.wait_for_log("one is parked", |line| line.contains("a copy is parked"));
    assert!(line.contains("/orders/2") && line.contains("conflict"), "{line}");
    copied.wait_for_requests(4);
    router.exchange(request("PUT", "/orders/1", "{}"));
    wait_until("the lane goes on", || modern.thing("/orders/1").as_deref() == Some("{}"));
    assert_eq!(router.logs().iter().filter(|line| line.contains("a copy is parked")).count(), 1);
}

#[test]
fn what_is_gone_already_needs_no_deleting() {
    let (legacy, modern) = (Service::default(), Service::default());
    legacy.put("/orders/1", "{}");
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    assert_eq!(router.exchange("DELETE /orders/1 HTTP/1.1\r\nhost: a.example\r\n\r\n").status(), 204);
    router.exchange(request("PUT", "/orders/1", r#"{"v":1}"#));
    wait_until("the lane goes on", || modern.thing("/orders/1").is_some());
    assert_eq!(copied.requests().len(), 2);
}

#[test]
fn a_destination_that_lets_nobody_in_is_left_alone() {
    let (legacy, modern) = (Service::default(), Service::default());
    modern.script("PUT /orders/1", &[&status("401 Unauthorized")]);
    let (primary, copied) = (legacy.start(), modern.start());
    let mut router = router(primary.address, copied.address, "");
    router.exchange(request("PUT", "/orders/1", "{}"));
    router.wait_for_log("it is paused", |line| line.contains("lets nobody in"));
    for entity in 2..6 {
        assert_eq!(router.exchange(request("PUT", &format!("/orders/{entity}"), "{}")).status(), 200);
    }
    assert_eq!(copied.requests().len(), 1, "nothing more is sent");
}

#[test]
fn a_destination_that_was_away_gets_everything_in_order() {
    let (legacy, modern) = (Service::default(), Service::default());
    let primary = legacy.start();
    let address = nowhere();
    let router = router(primary.address, address, "");
    for value in 0..30 {
        let body = format!("{{\"v\":{value}}}");
        let path = format!("/orders/{}", value % 3);
        assert_eq!(router.exchange(request("PUT", &path, &body)).status(), 200);
    }
    let copied = modern.start_on(TcpListener::bind(address).unwrap());
    wait_until("all have arrived", || {
        (0..3).all(|entity| modern.thing(&format!("/orders/{entity}")) == Some(format!("{{\"v\":{}}}", 27 + entity)))
    });
    for entity in 0..3 {
        let path = format!("/orders/{entity}");
        let mut bodies: Vec<String> =
            copied.requests().iter().filter(|request| request.target() == path).map(Message::text).collect();
        bodies.dedup();
        let expected: Vec<String> = (0..10).map(|at| format!("{{\"v\":{}}}", at * 3 + entity)).collect();
        assert_eq!(bodies, expected, "{path}");
    }
}
