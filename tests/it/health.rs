//! Health and balancing through the real router: checks, ejection, slow start, capacity, overflow, drain.

mod capacity;
mod checks;
mod ejection;
mod files;
mod membership;
mod overflow;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::{Origin, PATIENCE, Router};

/// What the checks ask for in these tests.
const CHECKED: &str = "/healthz";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad";
/// Checks as often as they may be, with the default thresholds: out after three failures, in after two passes. The
/// patience keeps a loaded machine from failing a check.
const OFTEN: &str = "health: {path: /healthz, interval_ms: 100, timeout_ms: 10000}";

/// An origin that answers requests with 200 and checks as a test says.
struct Patient {
    origin: Origin,
    /// Its name in the answer tells patients apart.
    name: &'static str,
    /// How many checks it answers by its script before it waits for [`Self::recover`].
    well: Arc<AtomicUsize>,
}

impl Patient {
    /// One that is always well.
    fn well(name: &'static str) -> Self {
        Self::scripted(name, "+")
    }

    /// One whose checks pass (`+`), fail (`-`) or hang (`.`) in this order, and for ever like the last.
    fn scripted(name: &'static str, script: &'static str) -> Self {
        let (well, asked) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let recovered = Arc::clone(&well);
        let origin = Origin::start(move |exchange| {
            while let Some(request) = exchange.request() {
                if request.target() != CHECKED {
                    exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()));
                    continue;
                }
                let number = asked.fetch_add(1, SeqCst);
                let scripted = script.as_bytes()[number.min(script.len() - 1)];
                match if recovered.load(SeqCst) > 0 { b'+' } else { scripted } {
                    b'+' => exchange.send(OK),
                    b'-' => exchange.send(BAD),
                    _ => {
                        exchange.drain();
                        return;
                    }
                };
            }
        });
        Self { origin, name, well }
    }

    /// Passes all checks from now on.
    fn recover(&self) {
        self.well.store(1, SeqCst);
    }

    fn url(&self) -> String {
        format!("\"http://{}\"", self.origin.address)
    }

    /// Requests that are no checks.
    fn served(&self) -> usize {
        self.origin.requests().iter().filter(|request| request.target() != CHECKED).count()
    }

    fn checks(&self) -> usize {
        self.origin.requests().iter().filter(|request| request.target() == CHECKED).count()
    }

    /// Waits until a check that begins from now on has been made.
    fn wait_for_checks(&self, more: usize) {
        let enough = self.checks() + more;
        wait_until("checks", || self.checks() >= enough);
    }
}

/// A route file that sends everything to one upstream with these endpoints and settings.
fn routes(endpoints: &[&Patient], settings: &str) -> String {
    let urls: Vec<_> = endpoints.iter().map(|patient| patient.url()).collect();
    format!(
        "upstreams:\n  one: {{endpoints: [{}], {settings}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
        urls.join(", ")
    )
}

/// Compares what is said about the files; here, since a snapshot lies beside the file that asks for it.
fn matches_snapshot(said: &str) {
    super::snapshot!("health_files", said);
}

/// Waits for what has no event of its own.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn share(router: &Router, endpoint: SocketAddr) -> f64 {
    router.metric("banyan_upstream_endpoint_share", &[&format!("endpoint=\"{endpoint}\"")])
}

fn wait_for_share(router: &Router, patient: &Patient, expected: f64) {
    wait_until(&format!("{} has the share {expected}", patient.name), || {
        share(router, patient.origin.address) == expected
    });
}

/// Waits for a log line with this message about this endpoint, which must be the only one.
fn wait_for_log_once(router: &Router, message: &str, endpoint: SocketAddr) {
    wait_until(message, || logged(router, message, endpoint) > 0);
    assert_eq!(logged(router, message, endpoint), 1, "{message}: a change is logged once");
}

/// How many log lines have this message about this endpoint so far; lines come after what they tell of.
fn logged(router: &Router, message: &str, endpoint: SocketAddr) -> usize {
    let endpoint = endpoint.to_string();
    let is_it = |line: &&String| {
        let member = |name| crate::support::router::member(line, name);
        member("message").as_deref() == Some(message) && member("endpoint").as_deref() == Some(&endpoint)
    };
    router.logs().iter().filter(is_it).count()
}
