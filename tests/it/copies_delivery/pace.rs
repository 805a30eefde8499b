//! How fast copies go, and how many at a time, as the file of the upstream says; a reload changes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, PoisonError};

use super::*;

/// Writes of each test, all to different entities.
const WRITES: usize = 60;

/// The route file with `copies:` of the destination.
fn paced(legacy: SocketAddr, modern: SocketAddr, copies: &str) -> String {
    routes(legacy, modern, "")
        .replace("connect_timeout_ms: 250", &format!("connect_timeout_ms: 250, copies: {{{copies}}}"))
}

fn start(legacy: SocketAddr, modern: SocketAddr, copies: &str) -> Router {
    Setup::routes(paced(legacy, modern, copies)).flags(stage("dualwrite")).start()
}

fn write(router: &Router, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(router.exchange(request("PUT", &format!("/orders/{number}"), "{}")).status(), 200);
    }
}

#[test]
fn a_backlog_goes_at_the_pace_of_the_file_in_force() {
    let (legacy, modern) = (Service::default(), Service::default());
    modern.refuse_copies(true);
    let (primary, copied) = (legacy.start(), modern.start());
    let router = start(primary.address, copied.address, "per_s_max: 1");
    write(&router, 0..WRITES);
    wait_until("they are a backlog", || router.metric("banyan_copies_oldest_seconds", &[]) > 2.0);
    modern.refuse_copies(false);
    let pending = || router.metric("banyan_copies_pending", &[]);
    wait_until("some arrive", || pending() < WRITES as f64);
    assert!(pending() > WRITES as f64 / 2.0, "one a second: {}", pending());
    // At one a second the others would take longer than this waits.
    router.edit_routes(&paced(primary.address, copied.address, "per_s_max: 1000"));
    wait_until("all arrive", || pending() == 0.0);
}

#[test]
fn no_more_attempts_are_under_way_than_the_file_in_force_allows() {
    let legacy = Service::default();
    let seen = Arc::new((Mutex::new((0_usize, 0_usize)), Condvar::new(), AtomicUsize::new(1)));
    let held = Arc::clone(&seen);
    let copied = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            let (counts, changed, together) = &*held;
            let mut counts = counts.lock().unwrap();
            counts.0 += 1;
            counts.1 = counts.1.max(counts.0);
            changed.notify_all();
            // Each waits for others to come along, as many as are asked for: nobody answers before.
            let enough = |counts: &mut (usize, usize)| counts.1 < together.load(Ordering::SeqCst);
            let wait = changed.wait_timeout_while(counts, Duration::from_millis(100), enough);
            wait.unwrap_or_else(PoisonError::into_inner).0.0 -= 1;
            exchange.send(ok("{}"));
        }
    });
    let primary = legacy.start();
    let router = start(primary.address, copied.address, "in_flight_max: 1");
    seen.2.store(2, Ordering::SeqCst);
    write(&router, 0..5);
    wait_until("all arrive", || router.metric("banyan_copies_pending", &[]) == 0.0);
    let most = || seen.0.lock().unwrap().1;
    assert_eq!(most(), 1, "though each waited for another");
    router.edit_routes(&paced(primary.address, copied.address, "in_flight_max: 3"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    seen.2.store(4, Ordering::SeqCst);
    write(&router, 5..WRITES / 2);
    wait_until("all arrive", || router.metric("banyan_copies_pending", &[]) == 0.0);
    assert_eq!(most(), 3);
}
