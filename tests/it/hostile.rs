//! Hostile input, rule by rule (http-rules 2.1 to 2.4), from raw bytes to what the origin received.
//!
//! "Refused" is one thing everywhere: a 4xx of our own, the connection closed, nothing complete at the upstream, and
//! counted against the client, never against the upstream.

mod framing;
mod hops;
pub(crate) mod random;
mod target;
mod upstream;

use crate::judges::panel;
use crate::support::{Message, Origin, Router};

/// A second request right behind the first: a smuggled one would reach the origin.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// A router before an origin that answers everything with 200.
struct Pair {
    router: Router,
    origin: Origin,
}

impl Pair {
    fn start() -> Self {
        let origin = Origin::ok();
        Self { router: Router::to(origin.address), origin }
    }

    /// Sends bytes that must be refused with this status.
    fn refuses(&self, status: u16, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let shown = String::from_utf8_lossy(bytes);
        let mut wire = self.router.connect();
        wire.send(bytes).send(SMUGGLED);
        let answer = wire.answer();
        assert_eq!(answer.status(), status, "{shown:?}");
        wire.assert_closed();
        assert_eq!(self.origin.requests().len(), 0, "{shown:?} reached the origin");
    }

    /// Nothing that was refused may count against the upstream.
    fn blames_the_client(&self, at_least: usize) {
        let count = u32::try_from(at_least).unwrap();
        self.router.wait_for_metric("banyan_faults_total", &["side=\"client\""], f64::from(count));
        assert_eq!(self.router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
    }

    /// The same for an origin that has already received something.
    fn refuses_after_forwarding(&self, bytes: &str) {
        let before = self.origin.requests().len();
        let mut wire = self.router.connect();
        wire.send(bytes).send(SMUGGLED);
        assert_eq!(wire.answer().status(), 400, "{bytes:?}");
        wire.assert_closed();
        assert_eq!(self.origin.requests().len(), before);
    }

    /// Sends one request and returns what the origin received for it.
    fn forwards(&self, bytes: impl AsRef<[u8]>) -> Message {
        let before = self.origin.requests().len();
        let answer = self.router.exchange(bytes.as_ref());
        assert_eq!(answer.status(), 200, "{:?}: {}", String::from_utf8_lossy(bytes.as_ref()), answer.text());
        self.origin.wait_for_requests(before + 1);
        self.origin.requests().remove(before)
    }
}

impl Drop for Pair {
    /// Whatever a test was about: what the origin received must mean the same to everybody.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panel::read_alike(&self.origin.streams());
        }
    }
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n{body}")
}
