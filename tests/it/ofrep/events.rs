//! Server-sent events: each change is told, none twice, to a bounded number of listeners.

use std::net::SocketAddr;

use banyan::control::Command;
use banyan::lifecycle::{Lifecycle, Phase};

use super::ask;
use crate::override_commands::Plane;
use crate::reload::{self, wait_until};
use crate::support::Wire;

/// A listener with the bytes that it has not understood yet.
struct Listener {
    wire: Wire,
    text: String,
}

impl Listener {
    fn open(address: SocketAddr, last: Option<&str>) -> Self {
        let mut wire = Wire::connect(address);
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        wire.send(format!("GET /ofrep/v1/events HTTP/1.1\r\nhost: localhost\r\n{last}\r\n"));
        let head = wire.head();
        assert_eq!((head.status(), head.field("content-type").as_str()), (200, "text/event-stream"));
        assert_eq!(head.field("cache-control"), "no-store");
        Self { wire, text: String::new() }
    }

    /// The id of the next event; hints and heartbeats are passed over.
    fn event(&mut self) -> String {
        loop {
            if let Some((piece, rest)) = self.text.split_once("\n\n") {
                let (piece, rest) = (piece.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(event) = piece.strip_prefix("id: ") {
                    let (id, data) = event.split_once("\nevent: message\ndata: ").expect("an event of the protocol");
                    let data: serde_json::Value = serde_json::from_str(data).unwrap();
                    assert_eq!(data, serde_json::json!({"type": "refetchEvaluation", "etag": id}));
                    return id.to_owned();
                }
                assert!(piece.starts_with("retry: ") || piece.starts_with(':'), "{piece}");
                continue;
            }
            self.text += std::str::from_utf8(&self.wire.chunk()).unwrap();
        }
    }
}

fn kill(plane: &Plane) {
    plane.give(Command::Kill { flag: "side".to_owned() });
}

#[test]
fn changes_are_told_and_what_was_heard_is_not_told_again() {
    let plane = Plane::start();
    let address = plane.handle.address();
    let mut listener = Listener::open(address, None);
    let first = listener.event();
    kill(&plane);
    let second = listener.event();
    assert_ne!(first, second);
    // Who comes back with what is in force hears of the next change first.
    let mut again = Listener::open(address, Some(&second));
    plane.give(Command::ReviveAll);
    plane.give(Command::Revive { flag: "side".to_owned() });
    let third = again.event();
    assert!(third != first && third != second);
    assert_eq!(listener.event(), third);
    // Who missed something hears of it at once.
    assert_eq!(Listener::open(address, Some(&first)).event(), third);
}

#[test]
fn an_order_that_changes_nothing_is_no_event() {
    let plane = Plane::start();
    let mut listener = Listener::open(plane.handle.address(), None);
    let first = listener.event();
    assert!(!plane.give(Command::ReviveAll).changed);
    assert_eq!(Listener::open(plane.handle.address(), None).event(), first);
}

#[test]
fn streams_are_bounded_and_leave_room_for_a_kill() {
    let plane = Plane::start();
    let address = plane.handle.address();
    let mut listeners: Vec<Listener> = (0..32).map(|_| Listener::open(address, None)).collect();
    let request = "GET /ofrep/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let refused = ask(address, request);
    assert_eq!((refused.status(), refused.field("retry-after")), (429, "1".to_owned()));
    assert_eq!(ask(address, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").status(), 200);
    kill(&plane);
    let told: Vec<String> = listeners.iter_mut().map(|listener| (listener.event(), listener.event()).1).collect();
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
    drop(listeners.pop());
    wait_until("a place is free", || {
        let mut wire = Wire::connect(address);
        wire.send(request).head().status() == 200
    });
}

#[test]
fn a_stream_ends_when_the_process_drains() {
    let lifecycle = Lifecycle::default();
    let shared = lifecycle.clone();
    let plane = reload::Plane::start(reload::routes("first"), |plan| plan.lifecycle = shared);
    let mut listener = Listener::open(plane.handle.address(), None);
    listener.event();
    lifecycle.advance(Phase::Draining);
    while !listener.wire.chunk().is_empty() {}
}
