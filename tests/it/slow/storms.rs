//! Storms of connections that are opened and thrown away.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::router::Setup;
use crate::support::{Origin, Router};

/// Connections of a storm, by each of its threads.
const CONNECTIONS: usize = 2_000;
const THREADS: usize = 4;
/// What a storm may cost in memory, for good: far less than a kilobyte a connection.
const GROWTH_BYTES_MAX: u64 = 4 * 1024 * 1024;
const ASK: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// Lets `client` run often and at once, while a client on a connection of its own is answered all along.
fn storm(router: &Router, client: fn(TcpStream)) {
    let listen = router.listen;
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            std::thread::spawn(move || {
                // The queue of the listener may be full for a moment; that a connection fails is no matter here.
                (0..CONNECTIONS).filter_map(|_| TcpStream::connect(listen).ok()).map(client).count()
            })
        })
        .collect();
    let mut served = router.connect();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        assert_eq!(served.send(ASK).answer().status(), 200);
    }
    let opened: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(opened > THREADS * CONNECTIONS / 2, "only {opened} connections came about");
}

fn withstands(client: fn(TcpStream)) {
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "").start();
    // Once, so that the allocator has what it will keep.
    storm(&router, client);
    router.wait_for_connections(0);
    let (memory, descriptors) = (router.memory_bytes("VmRSS"), router.descriptors());
    storm(&router, client);
    router.wait_for_connections(0);
    assert!(router.memory_bytes("VmRSS") < memory + GROWTH_BYTES_MAX);
    // The upstream connection of the served client is kept, and another may be.
    assert!(router.descriptors() <= descriptors + 2);
    assert_eq!(router.metric("banyan_panics_total", &[]), 0.0);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn connections_that_are_closed_at_once() {
    withstands(drop);
}

#[test]
fn connections_that_are_reset_at_once() {
    withstands(|stream| socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap());
}

#[test]
fn connections_that_are_reset_in_a_head() {
    withstands(|mut stream| {
        let sent = std::io::Write::write_all(&mut stream, b"POST / HTTP/1.1\r\nhost: a.example\r\ncontent-le");
        // It may be gone already, where the limit on connections from one address is reached.
        drop(sent);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
}
