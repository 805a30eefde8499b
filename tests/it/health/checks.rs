//! Active checks: thresholds, what an endpoint that is out gets, what a check asks, what happens when all are out.

use super::{CHECKED, OFTEN, Patient, logged, routes, share, wait_for_log_once, wait_for_share, wait_until};
use crate::support::router::Setup;
use crate::support::wire::Wire;

#[test]
fn an_unhealthy_endpoint_gets_no_request_until_it_is_healthy_again() {
    let (sick, well) = (Patient::scripted("sick", "+-"), Patient::well("well"));
    let router = Setup::routes(routes(&[&sick, &well], OFTEN)).start();
    wait_for_share(&router, &sick, 0.0);
    let before = sick.served();
    for _ in 0..40 {
        assert_eq!(router.get("/").text(), "well");
    }
    assert_eq!((sick.served(), share(&router, well.origin.address)), (before, 1.0));
    sick.recover();
    wait_for_share(&router, &sick, 1.0);
    wait_until("it serves again", || router.get("/").text() == "sick");
    wait_for_log_once(&router, "endpoint unhealthy", sick.origin.address);
    wait_for_log_once(&router, "endpoint healthy", sick.origin.address);
    assert_eq!(logged(&router, "endpoint unhealthy", well.origin.address), 0);
}

#[test]
fn thresholds_count_checks_in_a_row() {
    // Two failures are one too few; of three the third takes it out, and the second pass after that brings it back.
    let (twice, thrice) = (Patient::scripted("twice", "--+--+"), Patient::scripted("thrice", "---+-++"));
    let router = Setup::routes(routes(&[&twice, &thrice], OFTEN)).start();
    wait_until("the scripts are over", || twice.checks() >= 8 && thrice.checks() >= 9);
    wait_for_log_once(&router, "endpoint unhealthy", thrice.origin.address);
    wait_for_log_once(&router, "endpoint healthy", thrice.origin.address);
    assert_eq!(logged(&router, "endpoint unhealthy", twice.origin.address), 0);
    let checks = |result: &str, patient: &Patient| {
        let labels = [format!("endpoint=\"{}\"", patient.origin.address), format!("result=\"{result}\"")];
        router.metric("banyan_upstream_endpoint_checks_total", &[&labels[0], &labels[1]])
    };
    assert_eq!((checks("failed", &twice), checks("failed", &thrice)), (4.0, 4.0));
}

#[test]
fn a_check_that_hangs_fails_and_holds_up_no_other() {
    let (stuck, well) = (Patient::scripted("stuck", "."), Patient::well("well"));
    let health = "health: {path: /healthz, interval_ms: 100, timeout_ms: 60000}";
    let mut router = Setup::routes(routes(&[&stuck, &well], health)).start();
    wait_until("the first check hangs", || stuck.checks() == 1);
    well.wait_for_checks(5);
    assert_eq!(stuck.checks(), 1);
    router.edit_routes(&routes(&[&stuck, &well], "health: {path: /healthz, interval_ms: 100, timeout_ms: 50}"));
    wait_for_share(&router, &stuck, 0.0);
    let stuck = stuck.origin.address.to_string();
    let said = router.wait_for_log("it is out", |line| line.contains("endpoint unhealthy") && line.contains(&stuck));
    assert!(said.contains("no answer in time"), "{said}");
}

#[test]
fn a_dead_endpoint_is_found_without_a_request() {
    let (dead, well) = (Patient { origin: dead_origin(), ..Patient::well("dead") }, Patient::well("well"));
    let router = Setup::routes(routes(&[&dead, &well], OFTEN)).start();
    wait_for_share(&router, &dead, 0.0);
    assert_eq!(well.served(), 0);
}

/// An origin whose connections end at once.
fn dead_origin() -> crate::support::Origin {
    crate::support::Origin::start(|_| ())
}

#[test]
fn a_check_asks_as_the_file_says() {
    let patient = Patient::well("one");
    let settings = "rewrite: {host: rewritten.example}, health: {path: \"/healthz\", host: checked.example, interval_ms: 100, expect_status: 200}";
    let _router = Setup::routes(routes(&[&patient], settings)).start();
    patient.origin.wait_for_requests(1);
    let asked = patient.origin.requests().remove(0);
    assert_eq!(asked.line, "GET /healthz HTTP/1.1");
    assert_eq!((asked.field("host"), asked.field("connection")), ("checked.example".into(), "close".into()));
    assert!(asked.field("user-agent").starts_with("banyan-health/"), "{asked:?}");
    let _router = Setup::routes(routes(&[&patient], "rewrite: {host: rewritten.example}, health: {path: /x}")).start();
    patient.origin.wait_for_bytes(b"GET /x HTTP/1.1\r\nhost: rewritten.example\r\n");
}

#[test]
fn the_expected_status_decides() {
    // The patient fails its checks with 503, which is what is wanted here.
    let patient = Patient::scripted("odd", "-");
    let settings =
        "health: {path: /healthz, interval_ms: 100, timeout_ms: 10000, expect_status: 500-503, unhealthy_after: 1}";
    let router = Setup::routes(routes(&[&patient], settings)).start();
    patient.wait_for_checks(3);
    assert_eq!(share(&router, patient.origin.address), 1.0);
    router.edit_routes(&routes(&[&patient], &settings.replace("503", "502")));
    wait_for_share(&router, &patient, 0.0);
}

#[test]
fn when_all_are_unhealthy_all_serve_and_it_is_said_loudly() {
    let (left, right) = (Patient::scripted("left", "-"), Patient::scripted("right", "-"));
    let mut router = Setup::routes(routes(&[&left, &right], OFTEN)).start();
    router.wait_for_metric("banyan_upstream_all_unhealthy", &["upstream=\"one\""], 1.0);
    for _ in 0..40 {
        assert_eq!(router.get("/").status(), 200);
    }
    assert!(left.served() > 5 && right.served() > 5, "{} {}", left.served(), right.served());
    let line = router.wait_for_log("all are out", |line| line.contains("no endpoint of the upstream is in service"));
    assert!(line.contains("ERROR") && line.contains("all of them serve"), "{line}");
    let mut admin = Wire::connect(router.admin);
    admin.send("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(admin.answer().status(), 200, "an upstream's health is not the router's");
    left.recover();
    wait_for_share(&router, &left, 1.0);
    let before = right.served();
    for _ in 0..20 {
        assert_eq!(router.get("/").text(), "left");
    }
    assert_eq!(right.served(), before);
    assert_eq!(router.metric("banyan_upstream_all_unhealthy", &[]), 0.0);
}

#[test]
fn when_all_are_unhealthy_an_upstream_may_refuse() {
    let only = Patient::scripted("only", "-");
    let router = Setup::routes(routes(&[&only], &format!("{OFTEN}, all_unhealthy: refuse"))).start();
    assert_eq!(router.get("/").status(), 200, "in service until proven unhealthy");
    router.wait_for_metric("banyan_upstream_all_unhealthy", &[], 1.0);
    let before = only.served();
    let answer = router.get("/");
    assert_eq!(answer.status(), 503);
    assert!(answer.field("proxy-status").starts_with("banyan; error=destination_unavailable"), "{answer:?}");
    assert_eq!(only.served(), before);
    only.recover();
    wait_until("it serves again", || router.get("/").status() == 200);
}

#[test]
fn checks_are_not_requests_of_clients() {
    let patient = Patient::well("one");
    let router = Setup::routes(routes(&[&patient], OFTEN)).start();
    patient.wait_for_checks(3);
    assert_eq!(router.metric("banyan_requests_total", &[]), 0.0);
    assert_eq!(router.metric("banyan_upstream_connections_opened_total", &[]), 0.0);
    assert!(patient.origin.requests().iter().all(|request| request.target() == CHECKED));
}

#[test]
fn a_check_speaks_http2_where_requests_do() {
    // An origin of HTTP/1.1 that looks for the preface of the other protocol.
    let patient = Patient::well("one");
    let settings = "protocol: h2c, health: {path: /healthz, interval_ms: 100}";
    let _router = Setup::routes(routes(&[&patient], settings)).start();
    patient.origin.wait_for_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn a_check_begins_with_the_proxy_header_where_requests_do() {
    let patient = Patient::well("one");
    let settings = "proxy_protocol: v1, health: {path: /healthz, interval_ms: 100}";
    let _router = Setup::routes(routes(&[&patient], settings)).start();
    patient.origin.wait_for_bytes(b"PROXY TCP4 127.0.0.1 127.0.0.1 ");
    patient.origin.wait_for_bytes(b"GET /healthz HTTP/1.1\r\n");
}
