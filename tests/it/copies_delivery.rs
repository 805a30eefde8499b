//! Copies of writes, delivered by a real router to scripted upstreams: each class of answer, each way to an end.

mod creates;
mod dropping;
mod failures;
mod later;
mod operators;
mod pace;
mod restarts;
mod switches;
mod unknown;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::PATIENCE;
use super::support::message::Message;
use super::support::origin::{Exchange, Origin};
use super::support::router::{Router, Setup};

/// A little service: what was put at a path is there, and what a test's script says comes first.
#[derive(Clone, Default)]
pub(crate) struct Service {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    things: HashMap<String, String>,
    /// Answers that come instead, by method and path, one after another; `None` lets the service answer.
    scripted: HashMap<String, Vec<Option<String>>>,
    next_id: u32,
    /// Copies are answered with 503.
    refuses_copies: bool,
}

impl Service {
    /// Creates get ids from this on.
    pub(crate) fn counting_from(id: u32) -> Self {
        let service = Self::default();
        service.state.lock().unwrap().next_id = id;
        service
    }

    /// Answers requests of a method and path so, one after another; an empty text closes the connection.
    pub(crate) fn script(&self, request: &str, answers: &[&str]) -> &Self {
        let answers = answers.iter().rev().map(|answer| Some((*answer).to_owned())).collect();
        self.state.lock().unwrap().scripted.insert(request.to_owned(), answers);
        self
    }

    pub(crate) fn put(&self, path: &str, body: &str) {
        self.state.lock().unwrap().things.insert(path.to_owned(), body.to_owned());
    }

    /// Answers copies with 503, or no longer; whoever else asks is served.
    pub(crate) fn refuse_copies(&self, refuses: bool) {
        self.state.lock().unwrap().refuses_copies = refuses;
    }

    pub(crate) fn thing(&self, path: &str) -> Option<String> {
        self.state.lock().unwrap().things.get(path).cloned()
    }

    pub(crate) fn start(&self) -> Origin {
        self.start_on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn start_on(&self, listener: TcpListener) -> Origin {
        let service = self.clone();
        Origin::on(listener, move |exchange| service.serve(exchange))
    }

    fn serve(&self, exchange: &mut Exchange) {
        while let Some(request) = exchange.request() {
            let answer = self.answer(&request);
            if answer.is_empty() {
                return;
            }
            exchange.send(answer);
        }
    }

    fn answer(&self, request: &Message) -> String {
        let method = request.line.split(' ').next().unwrap();
        let path = request.target().split('?').next().unwrap().to_owned();
        let mut state = self.state.lock().unwrap();
        if state.refuses_copies && request.has("banyan-mirror") {
            return status("503 Service Unavailable");
        }
        let scripted = state.scripted.get_mut(&format!("{method} {path}")).and_then(Vec::pop).flatten();
        if let Some(answer) = scripted {
            return answer;
        }
        match method {
            "GET" => state.things.get(&path).map_or_else(|| status("404 Not Found"), |body| ok(body)),
            "PUT" => {
                state.things.insert(path, request.text());
                ok("{}")
            }
            "DELETE" => match state.things.remove(&path) {
                Some(_) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                None => status("404 Not Found"),
            },
            _ => {
                state.next_id += 1;
                let id = state.next_id;
                state.things.insert(format!("{path}/{id}"), request.text());
                let body = format!("{{\"id\":{id}}}");
                let length = body.len();
                format!("HTTP/1.1 201 Created\r\nlocation: {path}/{id}\r\ncontent-length: {length}\r\n\r\n{body}")
            }
        }
    }
}

/// An answer with a body.
pub(crate) fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// An answer with a status and a short text.
pub(crate) fn status(line: &str) -> String {
    let body = format!("no: {line}");
    format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A flag whose stage is the same for all.
pub(crate) fn stage(stage: &str) -> String {
    let stages = ["off", "dualwrite", "shadow", "live", "rampdown", "complete"];
    let variants: Vec<String> = stages.iter().map(|stage| format!("\"{stage}\": \"{stage}\"")).collect();
    format!(
        "flags:\n  orders:\n    state: ENABLED\n    variants: {{{}}}\n    defaultVariant: \"{stage}\"\n    metadata: {{owner: tests}}\n",
        variants.join(", ")
    )
}

/// The route file of a migration with further members of `copies`.
pub(crate) fn routes(legacy: SocketAddr, modern: SocketAddr, copies: &str) -> String {
    format!(
        "upstreams:\n  legacy: {{endpoints: [\"http://{legacy}\"]}}\n  modern: {{endpoints: [\"http://{modern}\"], response_timeout_ms: 500, connect_timeout_ms: 250}}\n\
         routes:\n  - name: orders\n    match: {{path: \"/orders/{{*rest}}\"}}\n    flag: orders\n    migration: {{legacy: legacy, modern: modern}}\n    copies: {{{copies}}}\n"
    )
}

/// A router in front of two services, in the stage `dualwrite`.
pub(crate) fn router(legacy: SocketAddr, modern: SocketAddr, copies: &str) -> Router {
    Setup::routes(routes(legacy, modern, copies)).flags(stage("dualwrite")).start()
}

/// A request with a body.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: a.example\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// An address at which nobody listens, and where no other test will: they listen on another loopback address.
pub(crate) fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never holds that {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn an_acknowledged_write_reaches_the_other_side_with_its_key_and_mark() {
    let (legacy, modern) = (Service::default(), Service::default());
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    let answer = router.exchange(request("PUT", "/orders/1?x=y", r#"{"a":1}"#));
    assert_eq!(answer.status(), 200);
    copied.wait_for_requests(1);
    let (first, copy) = (primary.request(), copied.request());
    assert_eq!((copy.line.as_str(), copy.text().as_str()), ("PUT /orders/1?x=y HTTP/1.1", r#"{"a":1}"#));
    assert_eq!(copy.field("content-type"), "application/json");
    assert_eq!(copy.field("host"), "a.example");
    assert!(!first.field("idempotency-key").is_empty());
    assert_eq!(first.field("idempotency-key"), copy.field("idempotency-key"));
    assert!(copy.field("banyan-mirror").contains("hops=\"banyan\"") && !first.has("banyan-mirror"));
    // Nothing comes twice.
    let answer = router.exchange(request("PUT", "/orders/2", "{}"));
    assert_eq!(answer.status(), 200);
    copied.wait_for_requests(2);
    assert_eq!(copied.requests().len(), 2);
}

#[test]
fn reads_and_rejected_writes_are_never_copied() {
    let (legacy, modern) = (Service::default(), Service::default());
    legacy.script("PUT /orders/1", &[&status("422 Unprocessable Content")]);
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    assert_eq!(router.exchange(request("PUT", "/orders/1", "{}")).status(), 422);
    assert_eq!(router.get("/orders/1").status(), 404);
    assert_eq!(router.exchange(request("PUT", "/orders/1", r#"{"b":2}"#)).status(), 200);
    copied.wait_for_requests(1);
    assert_eq!(copied.request().text(), r#"{"b":2}"#);
}

#[test]
fn writes_of_an_entity_arrive_in_their_order_and_others_beside_them() {
    let (legacy, modern) = (Service::default(), Service::default());
    let busy = status("503 Service Unavailable");
    modern.script("PUT /orders/1", &[&busy, &busy]);
    let (primary, copied) = (legacy.start(), modern.start());
    let router = router(primary.address, copied.address, "");
    for value in 0..20 {
        for entity in 1..=3 {
            let body = format!("{{\"v\":{value}}}");
            assert_eq!(router.exchange(request("PUT", &format!("/orders/{entity}"), &body)).status(), 200);
        }
    }
    copied.wait_for_requests(62);
    for entity in 1..=3 {
        let path = format!("/orders/{entity}");
        let bodies: Vec<String> =
            copied.requests().iter().filter(|request| request.target() == path).map(Message::text).collect();
        let mut expected: Vec<String> = (0..20).map(|value| format!("{{\"v\":{value}}}")).collect();
        if entity == 1 {
            expected.splice(0..0, [expected[0].clone(), expected[0].clone()]);
        }
        assert_eq!(bodies, expected, "{path}");
    }
}
