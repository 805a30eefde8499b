//! Endpoints that come and go with generations: who is checked, who joins when, and how the removed ones drain.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::{OFTEN, Patient, routes, share, wait_for_share, wait_until};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

fn wait_for_generation(router: &Router, generation: u32) {
    router.wait_for_metric("banyan_config_generation", &[], f64::from(generation));
}

#[test]
fn a_new_endpoint_joins_with_its_first_passed_check() {
    let (old, new) = (Patient::well("old"), Patient::scripted("new", "-"));
    let router = Setup::routes(routes(&[&old], OFTEN)).start();
    assert_eq!(router.get("/").text(), "old");
    router.edit_routes(&routes(&[&old, &new], OFTEN));
    wait_for_generation(&router, 2);
    new.wait_for_checks(3);
    for _ in 0..40 {
        assert_eq!(router.get("/").text(), "old");
    }
    assert_eq!((new.served(), share(&router, new.origin.address)), (0, 0.0));
    new.recover();
    wait_for_share(&router, &new, 1.0);
    wait_until("it serves", || router.get("/").text() == "new");
}

#[test]
fn an_upstream_that_moves_as_a_whole_is_in_service_at_once() {
    let (old, new) = (Patient::well("old"), Patient::scripted("new", "."));
    let settings = "all_unhealthy: refuse, health: {path: /healthz, interval_ms: 60000, timeout_ms: 60000}";
    let router = Setup::routes(routes(&[&old], settings)).start();
    router.edit_routes(&routes(&[&new], settings));
    wait_for_generation(&router, 2);
    assert_eq!(router.get("/").text(), "new");
}

#[test]
fn checks_stop_with_their_endpoint_and_go_on_for_the_others() {
    let (stays, goes) = (Patient::well("stays"), Patient::well("goes"));
    let router = Setup::routes(routes(&[&stays, &goes], OFTEN)).start();
    goes.wait_for_checks(2);
    router.edit_routes(&routes(&[&stays], OFTEN));
    wait_for_generation(&router, 2);
    let checked = goes.checks();
    stays.wait_for_checks(10);
    assert!(goes.checks() <= checked + 1, "one may have been under way");
}

#[test]
fn without_checks_nobody_stays_out_because_of_them() {
    let (sick, well) = (Patient::scripted("sick", "-"), Patient::well("well"));
    let router = Setup::routes(routes(&[&sick, &well], OFTEN)).start();
    wait_for_share(&router, &sick, 0.0);
    router.edit_routes(&routes(&[&sick, &well], ""));
    wait_for_share(&router, &sick, 1.0);
    wait_until("it serves", || router.get("/").text() == "sick");
}

#[test]
fn an_endpoint_that_was_out_and_comes_back_under_load_keeps_its_health() {
    let (sick, well) = (Patient::scripted("sick", "+"), Patient::well("well"));
    let router = Setup::routes(routes(&[&sick, &well], OFTEN)).start();
    wait_until("both serve", || router.get("/").text() == "sick");
    // The worker may or may not see the generation between; either way what the checks say must reach it.
    router.edit_routes(&routes(&[&well], OFTEN));
    wait_for_generation(&router, 2);
    router.edit_routes(&routes(&[&sick, &well], OFTEN));
    wait_for_generation(&router, 3);
    wait_for_share(&router, &sick, 1.0);
    wait_until("it serves again", || router.get("/").text() == "sick");
}

#[test]
fn slow_start_gives_a_new_endpoint_little_at_first() {
    let (old, new) = (Patient::well("old"), Patient::well("new"));
    let settings = format!("{OFTEN}, slow_start_ms: 3600000");
    let router = Setup::routes(routes(&[&old], &settings)).start();
    router.edit_routes(&routes(&[&old, &new], &settings));
    wait_until("it joins", || share(&router, new.origin.address) > 0.0);
    for _ in 0..400 {
        router.get("/");
    }
    // The share is 1 to 2 percent: 4 of 400 expected, more than 40 has a chance below 1 in 10^20.
    assert!(share(&router, new.origin.address) < 0.02);
    assert!(new.served() <= 40, "{}", new.served());
    router.edit_routes(&routes(&[&old, &new], OFTEN));
    wait_for_share(&router, &new, 1.0);
    let before = new.served();
    for _ in 0..400 {
        router.get("/");
    }
    assert!((120..=280).contains(&(new.served() - before)), "{}", new.served() - before);
}

#[test]
fn a_removed_endpoint_finishes_what_is_under_way_and_gets_nothing_more() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let removed = Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            if request.target() == "/slow" {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha");
                wait.lock().unwrap().recv().unwrap();
                exchange.send("lf");
            } else {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nremoved");
            }
        }
    });
    let stays = Patient::well("stays");
    let before = Patient { origin: removed, ..Patient::well("removed") };
    let router = Setup::routes(routes(&[&before], "pool_idle_timeout_ms: 0")).start();
    let mut idle = router.connect();
    idle.send("GET /idle HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!(idle.answer().text(), "removed");
    let mut slow = router.connect();
    slow.send("GET /slow HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!(slow.head().status(), 200);
    router.edit_routes(&routes(&[&stays], "pool_idle_timeout_ms: 0"));
    wait_for_generation(&router, 2);
    for _ in 0..20 {
        assert_eq!(router.get("/").text(), "stays");
    }
    router.wait_for_metric("banyan_upstream_endpoints_draining", &["upstream=\"one\""], 1.0);
    go.send(()).unwrap();
    assert_eq!(slow.take(4), b"half");
    before.origin.wait_for_ends(before.origin.connections());
    wait_until("it has drained", || router.metric("banyan_upstream_endpoints_draining", &[]) == 0.0);
    assert_eq!(before.served(), 2);
}
