//! `requests_max`: exact over all workers, an immediate 503 above it, and room again as soon as an exchange is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::{OK, wait_until};
use crate::support::router::Setup;
use crate::support::wire::Wire;
use crate::support::{Origin, Router};

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// An origin that answers only as many requests as it is told to.
struct Gate {
    origin: Origin,
    open: Arc<AtomicUsize>,
}

impl Gate {
    fn shut() -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let tickets = Arc::clone(&open);
        let origin = Origin::start(move |exchange| {
            while exchange.request().is_some() {
                wait_until("a ticket", || {
                    tickets.fetch_update(SeqCst, SeqCst, |tickets| tickets.checked_sub(1)).is_ok()
                });
                exchange.send(OK);
            }
        });
        Self { origin, open }
    }

    fn let_through(&self, count: usize) {
        self.open.fetch_add(count, SeqCst);
    }
}

fn under_way(router: &Router) -> f64 {
    router.metric("banyan_upstream_requests", &["upstream=\"one\""])
}

fn limit_hits(router: &Router) -> f64 {
    router.metric("banyan_limit_hits_total", &["limit=\"upstream_requests\""])
}

fn ask(router: &Router) -> Wire {
    let mut wire = router.connect();
    wire.send(GET);
    wire
}

#[test]
fn never_more_than_requests_max_are_under_way_over_all_workers() {
    let gate = Gate::shut();
    let router = Setup::upstream(gate.origin.address, "requests_max: 7").workers(2).start();
    for round in 1..=3 {
        let threads: Vec<_> = (0..40)
            .map(|_| {
                let address = router.listen;
                std::thread::spawn(move || Wire::connect(address).send(GET).answer())
            })
            .collect();
        // Those above the limit are answered while all others still wait: nothing queues.
        router.wait_for_metric("banyan_limit_hits_total", &["limit=\"upstream_requests\""], f64::from(round * 33));
        wait_until("those under way to arrive", || gate.origin.requests().len() >= 7 * round as usize);
        assert_eq!((under_way(&router), gate.origin.requests().len()), (7.0, 7 * round as usize));
        gate.let_through(7);
        let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 7);
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == 503).collect();
        assert_eq!(refused.len(), 33);
        for answer in refused {
            let status = answer.field("proxy-status");
            assert!(status.starts_with("banyan; error=connection_limit_reached"), "{status}");
            assert!(!answer.has("connection"), "the client's connection goes on: {answer:?}");
        }
        assert_eq!(under_way(&router), 0.0);
    }
    assert_eq!(limit_hits(&router), 99.0);
    assert_eq!(router.metric("banyan_faults_total", &["fault=\"limit_reached\"", "side=\"router\""]), 99.0);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_answer_makes_room() {
    let origin = Origin::start(|exchange| {
        while exchange.request().is_some() {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while exchange.send("5\r\nhello\r\n") {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    });
    let router = Setup::upstream(origin.address, "requests_max: 1").start();
    let mut gone = ask(&router);
    assert_eq!((gone.head().status(), under_way(&router), router.get("/").status()), (200, 1.0, 503));
    gone.reset();
    wait_until("there is room", || under_way(&router) == 0.0);
}

#[test]
fn every_end_of_an_exchange_makes_room() {
    let refusing = Setup::upstream(Origin::refusing(), "requests_max: 1").start();
    let breaking = Origin::start(|exchange| {
        exchange.request();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let breaking = Setup::upstream(breaking.address, "requests_max: 1").start();
    for _ in 0..3 {
        assert_eq!(refusing.get("/").status(), 502);
        assert!(!breaking.get("/").complete);
        wait_until("there is room", || under_way(&breaking) == 0.0);
    }
    assert_eq!((limit_hits(&refusing), limit_hits(&breaking)), (0.0, 0.0));
}

#[test]
fn one_client_can_use_its_room_again_at_once() {
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "requests_max: 1").workers(1).start();
    let mut wire = router.connect();
    for _ in 0..200 {
        wire.send(GET);
        assert_eq!(wire.answer().status(), 200, "the place is free before the answer is whole at the client");
    }
}

#[test]
fn a_tunnel_keeps_its_place_as_long_as_it_lasts() {
    let origin = Origin::start(|exchange| {
        while let Some(request) = exchange.request() {
            if !request.has("upgrade") {
                exchange.send(OK);
                continue;
            }
            exchange.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
            exchange.drain();
            return;
        }
    });
    let router = Setup::route(origin.address, "requests_max: 1", "websocket: true").start();
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(wire.head().status(), 101);
    assert_eq!((under_way(&router), router.get("/").status()), (1.0, 503));
    drop(wire);
    wait_until("there is room", || under_way(&router) == 0.0);
    assert_eq!(router.get("/").status(), 200);
}

#[test]
fn the_limit_follows_the_files_and_keeps_its_count() {
    let gate = Gate::shut();
    let routes = |most: u32| {
        format!(
            "upstreams:\n  one: {{endpoints: [\"http://{}\"], requests_max: {most}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
            gate.origin.address
        )
    };
    let router = Setup::routes(routes(1)).start();
    let mut first = ask(&router);
    gate.origin.wait_for_requests(1);
    router.edit_routes(&routes(2));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    let mut second = ask(&router);
    gate.origin.wait_for_requests(2);
    assert_eq!((under_way(&router), router.get("/").status()), (2.0, 503), "the earlier generation's count");
    gate.let_through(2);
    assert_eq!((first.answer().status(), second.answer().status()), (200, 200));
}
