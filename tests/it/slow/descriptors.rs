//! Rules L8 and L13: clients cannot take the last descriptors from the admin listener, the files and other clients.

use std::net::TcpStream;

use crate::support::router::Setup;
use crate::support::wire::Wire;
use crate::support::{Origin, PATIENCE};

/// What the router may open; a quarter of it is out of reach for clients.
const DESCRIPTORS: u32 = 200;
const ASK: &str = "GET /side HTTP/1.1\r\nhost: a.example\r\n\r\n";

fn flags(variant: &str) -> String {
    format!(
        "flags:\n  side:\n    state: ENABLED\n    variants: {{left: left, right: right}}\n    defaultVariant: {variant}\n    metadata: {{owner: tests}}\n"
    )
}

#[test]
fn without_descriptors_for_clients_admin_reload_and_served_clients_go_on() {
    let left = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nleft");
    let right = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright");
    let routes = format!(
        "upstreams:\n  left: {{endpoints: [\"http://{}\"]}}\n  right: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: left, right: right}}, fallback: left}}\n",
        left.address, right.address
    );
    let mut router = Setup::routes(routes).flags(flags("left")).descriptors_max(DESCRIPTORS).start();
    let mut served = router.connect();
    assert_eq!(served.send(ASK).answer().text(), "left");
    // More than there are descriptors; those too many are closed at once, and the accept loop goes on.
    let flood: Vec<TcpStream> = (0..2 * DESCRIPTORS).map(|_| router.connect().into_stream()).collect();
    router.wait_for_log("descriptors are out", |line| line.contains("cannot accept"));
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"descriptors\""], f64::from(DESCRIPTORS));
    assert!(router.descriptors() < 160, "{} are open", router.descriptors());

    let mut health = Wire::connect(router.admin);
    health.send("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    assert_eq!(health.answer().status(), 200);
    // The files are read, and connections to another upstream are opened.
    router.edit_flags(&flags("right"));
    let deadline = std::time::Instant::now() + PATIENCE;
    while served.send(ASK).answer().text() != "right" {
        assert!(std::time::Instant::now() < deadline, "the files are not read:\n{}", router.logs().join("\n"));
    }

    drop(flood);
    router.wait_for_connections(1);
    assert_eq!(router.get("/side").text(), "right", "new clients are served again");
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

/// Whether an answer lies on a connection; its end is none.
fn has_arrived(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let arrived = stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
    stream.set_nonblocking(false).unwrap();
    arrived
}

#[test]
fn without_descriptors_for_upstreams_requests_are_refused_and_no_endpoint_is_blamed() {
    // Requests that stay open, each on an upstream connection of its own.
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.drain();
    });
    let router = Setup::upstream(origin.address, "eject_after_failures: 1").descriptors_max(DESCRIPTORS).start();
    let mut clients: Vec<Wire> = (0..DESCRIPTORS).map(|_| router.connect()).collect();
    for client in &mut clients {
        client.send(ASK);
    }
    // Some clients wait for the origin, some were not let in; of those that were, some find no way upstream.
    let deadline = std::time::Instant::now() + PATIENCE;
    let answered = loop {
        if let Some(client) = clients.iter_mut().find(|client| has_arrived(client.stream())) {
            break client;
        }
        assert!(std::time::Instant::now() < deadline, "{}", router.metrics());
        std::thread::yield_now();
    };
    let refused = answered.answer();
    assert_eq!(refused.status(), 503);
    assert!(refused.field("proxy-status").contains("error=connection_limit_reached"), "{refused:?}");
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
    assert_eq!(router.metric("banyan_upstream_endpoints_ejected", &[]), 0.0);
}
