//! Overflow: the fallback serves while the chosen upstream takes no more, and never after anything was sent.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use banyan::observe::{AccessRecord, LogFormat};
use serde_json::Value;

use super::{OK, wait_until};
use crate::support::router::Setup;
use crate::support::{Message, Origin, Router};

/// A modern side that holds every request until it is told, a legacy side that answers, and a route between them.
struct Sides {
    modern: Origin,
    legacy: Origin,
    go: Sender<()>,
    router: Router,
}

const SPLIT: &str = "variants: {modern: modern, legacy: legacy}, fallback: legacy";
const MIGRATION: &str = "migration: {modern: modern, legacy: legacy}";

impl Sides {
    /// Serves from `modern`, whose settings and whose route's are given.
    fn start(target: &str, modern_settings: &str, route: &str) -> Self {
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let modern = Origin::start(move |exchange| {
            while exchange.request().is_some() {
                let told: Result<(), _> = wait.lock().unwrap().recv();
                if told.is_err() {
                    return;
                }
                exchange.send(OK);
            }
        });
        let legacy = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlegacy");
        let variant = if target == SPLIT { "modern" } else { "live" };
        let flags = format!(
            "flags:\n  side:\n    state: ENABLED\n    variants: {{{variant}: {variant}, {}}}\n    defaultVariant: {variant}\n    metadata: {{owner: tests}}\n",
            if target == SPLIT { "legacy: legacy" } else { "\"off\": \"off\"" }
        );
        let routes = format!(
            "upstreams:\n  modern: {{endpoints: [\"http://{}\"], {modern_settings}}}\n  legacy: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, {target}, {route}}}\n",
            modern.address, legacy.address
        );
        let router = Setup::routes(routes).flags(flags).arguments(&["--expose-decision"]).start();
        Self { modern, legacy, go, router }
    }

    /// Runs with the modern side full: one request is under way there.
    fn while_full(&self, then: impl FnOnce(&Router)) {
        let before = self.modern.requests().len();
        let mut held = self.router.connect();
        held.send("GET /held HTTP/1.1\r\nhost: a.example\r\n\r\n");
        self.modern.wait_for_requests(before + 1);
        then(&self.router);
        assert_eq!(self.modern.requests().len(), before + 1, "nothing of an overflow was sent to modern");
        self.go.send(()).unwrap();
        assert_eq!(held.answer().text(), "ok");
    }
}

fn send(router: &Router, method: &str) -> Message {
    router.exchange(format!("{method} / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 2\r\n\r\nhi"))
}

#[test]
fn what_is_too_much_for_modern_goes_to_the_fallback_and_says_so() {
    let sides = Sides::start(SPLIT, "requests_max: 1", "overflow: fallback");
    sides.while_full(|router| {
        for method in ["GET", "POST", "DELETE"] {
            let answer = send(router, method);
            assert_eq!(answer.text(), "legacy", "{method}");
            assert_eq!(
                answer.field("banyan-decision"),
                "flag=\"side\", reason=\"STATIC\", generation=1, route=\"all\", overflow"
            );
        }
    });
    let seen = sides.legacy.requests();
    assert!(seen.iter().all(|request| request.field("banyan-decision").ends_with(", overflow")), "{seen:?}");
    let router = &sides.router;
    router.wait_for_metric("banyan_requests_total", &["variant=\"fallback\"", "upstream=\"legacy\""], 3.0);
    assert_eq!(router.metric("banyan_upstream_overflows_total", &["upstream=\"modern\""]), 3.0);
    assert_eq!(router.metric("banyan_limit_hits_total", &["limit=\"upstream_requests\""]), 3.0);
    assert_eq!(router.metric("banyan_faults_total", &["fault=\"limit_reached\""]), 0.0, "nobody was refused");
    sides.go.send(()).unwrap();
    let after = router.get("/");
    assert_eq!(after.text(), "ok", "with room again the flag decides again");
    assert!(!after.field("banyan-decision").contains("overflow"), "{after:?}");
}

#[test]
fn the_access_log_says_it() {
    let line = |overflow| AccessRecord { overflow, ..crate::access_log::record() };
    let logged = crate::access_log::logged(LogFormat::Json, 1.0, &[line(true), line(false)]);
    let lines: Vec<_> = logged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(lines[0]["overflow"], true);
    assert!(lines[1].get("overflow").is_none());
}

#[test]
fn on_a_migration_reads_overflow_and_writes_are_refused() {
    let sides = Sides::start(MIGRATION, "requests_max: 1", "overflow: fallback");
    sides.while_full(|router| {
        for method in ["GET", "OPTIONS"] {
            assert_eq!(send(router, method).text(), "legacy", "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = send(router, method);
            assert_eq!(answer.status(), 503, "{method}: the authority over writes does not move");
            assert!(answer.field("proxy-status").contains("error=connection_limit_reached"), "{answer:?}");
        }
    });
    assert_eq!(sides.legacy.requests().len(), 2);
}

#[test]
fn without_overflow_a_full_upstream_refuses() {
    let sides = Sides::start(SPLIT, "requests_max: 1", "");
    sides.while_full(|router| assert_eq!(router.get("/").status(), 503));
    assert_eq!(sides.legacy.requests().len(), 0);
}

#[test]
fn what_was_sent_never_goes_to_the_fallback() {
    let sides = Sides::start(SPLIT, "requests_max: 1", "overflow: fallback");
    let Sides { modern, legacy, go, router } = sides;
    // The origin's script ends without an answer: its connection closes after the request.
    drop(go);
    assert_eq!(router.get("/").status(), 502);
    assert_eq!((modern.requests().len(), legacy.requests().len()), (1, 0));
}

#[test]
fn a_refused_connection_is_no_overflow() {
    let legacy = Origin::ok();
    let flags = "flags:\n  side:\n    state: ENABLED\n    variants: {modern: modern, legacy: legacy}\n    defaultVariant: modern\n    metadata: {owner: tests}\n";
    let routes = format!(
        "upstreams:\n  modern: {{endpoints: [\"http://{}\"], requests_max: 1}}\n  legacy: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, {SPLIT}, overflow: fallback}}\n",
        Origin::refusing(),
        legacy.address
    );
    let router = Setup::routes(routes).flags(flags).start();
    assert_eq!(router.get("/").status(), 502);
    assert_eq!(legacy.requests().len(), 0);
}

#[test]
fn when_checks_fail_and_modern_refuses_the_fallback_serves() {
    let modern_settings =
        "all_unhealthy: refuse, health: {path: /healthz, interval_ms: 100, expect_status: 204, unhealthy_after: 1}";
    let sides = Sides::start(SPLIT, modern_settings, "overflow: fallback");
    sides.go.send(()).unwrap();
    wait_until("the fallback serves", || {
        sides.router.metric("banyan_upstream_all_unhealthy", &["upstream=\"modern\""]) == 1.0
    });
    assert_eq!(sides.router.get("/").text(), "legacy");
    assert!(sides.router.metric("banyan_upstream_overflows_total", &["upstream=\"modern\""]) >= 1.0);
}
