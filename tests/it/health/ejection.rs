//! Passive ejection: what counts, for how long, and how many at most.

use super::{OK, Patient, routes, share, wait_for_log_once, wait_until};
use crate::support::router::{Setup, member};
use crate::support::{Origin, Router};

/// An origin that fails every request: with a 500, or by ending the connection.
fn failing(name: &'static str, status: bool) -> Patient {
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() && status {
            exchange.send("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
        }
    });
    Patient { origin, ..Patient::well(name) }
}

fn ejections(router: &Router) -> f64 {
    router.metric("banyan_upstream_ejections_total", &[])
}

/// How long the first ejections lasted, in milliseconds.
fn lasted(router: &Router, count: usize) -> Vec<String> {
    let lasted = || router.logs().iter().filter_map(|line| member(line, "for_ms")).take(count).collect::<Vec<_>>();
    wait_until("they are logged", || lasted().len() == count);
    lasted()
}

/// Asks until so many ejections have happened.
fn ask_until_ejected(router: &Router, count: f64) {
    wait_until("ejected", || {
        router.get("/");
        ejections(router) >= count
    });
}

#[test]
fn at_most_the_bounded_share_is_ejected() {
    let all = ["a", "b", "c", "d"].map(|name| failing(name, false));
    let all: Vec<_> = all.iter().collect();
    let settings = "eject_after_failures: 1, eject_ms: 3600000";
    for (percent, expected) in [(50, 2.0), (80, 3.0), (100, 3.0), (1, 1.0)] {
        let router = Setup::routes(routes(&all, &format!("{settings}, eject_share_max_percent: {percent}"))).start();
        for _ in 0..80 {
            router.get("/");
        }
        assert_eq!(ejections(&router), expected, "{percent} percent of four");
        assert_eq!(router.metric("banyan_upstream_ejected", &[]), expected);
        assert_eq!(router.metric("banyan_upstream_all_unhealthy", &[]), 0.0);
    }
}

#[test]
fn an_ejected_endpoint_gets_no_request() {
    let (bad, good) = (failing("bad", false), Patient::well("good"));
    let router = Setup::routes(routes(&[&bad, &good], "eject_after_failures: 3, eject_ms: 3600000")).start();
    ask_until_ejected(&router, 1.0);
    assert_eq!((bad.origin.requests().len(), share(&router, bad.origin.address)), (3, 0.0));
    for _ in 0..40 {
        assert_eq!(router.get("/").text(), "good");
    }
    assert_eq!(bad.origin.requests().len(), 3);
    wait_for_log_once(&router, "endpoint ejected", bad.origin.address);
}

#[test]
fn each_ejection_in_a_row_lasts_longer_up_to_the_limit() {
    let (bad, good) = (failing("bad", false), Patient::well("good"));
    let settings = "eject_after_failures: 1, eject_ms: 40, eject_ms_max: 100";
    let router = Setup::routes(routes(&[&bad, &good], settings)).start();
    ask_until_ejected(&router, 4.0);
    assert_eq!(lasted(&router, 4), ["40", "80", "100", "100"]);
}

#[test]
fn an_ejected_endpoint_comes_back_by_itself_and_a_success_ends_the_row() {
    // It fails its first two requests and answers all others but the tenth.
    let count = std::sync::atomic::AtomicUsize::new(0);
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 | 1 | 9 => return,
                _ => exchange.send(OK),
            };
        }
    });
    let (bad, good) = (Patient { origin, ..Patient::well("bad") }, Patient::well("good"));
    let router = Setup::routes(routes(&[&bad, &good], "eject_after_failures: 1, eject_ms: 40")).start();
    ask_until_ejected(&router, 3.0);
    assert_eq!(lasted(&router, 3), ["40", "80", "40"], "seven successes lie before the third");
}

#[test]
fn answers_with_5xx_count_where_the_file_says_so() {
    let (bad, good) = (failing("bad", true), Patient::well("good"));
    let settings = "eject_after_failures: 2, eject_ms: 3600000";
    let router = Setup::routes(routes(&[&bad, &good], settings)).start();
    wait_until("it has served", || {
        router.get("/");
        bad.origin.requests().len() >= 10
    });
    assert_eq!(ejections(&router), 0.0, "a 500 is an answer");
    let before = bad.origin.requests().len();
    let router = Setup::routes(routes(&[&bad, &good], &format!("{settings}, eject_on_5xx: true"))).start();
    ask_until_ejected(&router, 1.0);
    for _ in 0..20 {
        assert_eq!(router.get("/").text(), "good");
    }
    assert_eq!(bad.origin.requests().len(), before + 2);
}

#[test]
fn what_a_client_breaks_ejects_nobody() {
    let (left, right) = (Patient::well("left"), Patient::well("right"));
    let router = Setup::routes(routes(&[&left, &right], "eject_after_failures: 1, eject_ms: 3600000")).start();
    for _ in 0..20 {
        // The body ends early: the upstream's connection must break, and it is not to blame.
        let mut wire = router.connect();
        wire.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhel").half_close();
        wire.rest();
    }
    router.wait_for_metric("banyan_faults_total", &["side=\"client\""], 20.0);
    assert_eq!(ejections(&router), 0.0);
}
