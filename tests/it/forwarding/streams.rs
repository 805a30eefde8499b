//! Bodies flow both ways as they come.

use super::{CHUNKED_POST, GET};
use crate::support::{Origin, Router};

#[test]
fn both_directions_stream_at_once() {
    let origin = Origin::start(|exchange| {
        exchange.head().unwrap();
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while let Some(chunk) = exchange.chunk().filter(|chunk| !chunk.is_empty()) {
            exchange.send(format!("{:x}\r\n", chunk.len()));
            exchange.send([&chunk[..], b"\r\n"].concat());
        }
        exchange.send("0\r\n\r\n");
        exchange.drain();
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(CHUNKED_POST).send("3\r\none\r\n");
    assert_eq!(wire.head().status(), 200, "the answer begins while the request goes on");
    assert_eq!(wire.chunk(), b"one");
    wire.send("3\r\ntwo\r\n");
    assert_eq!(wire.chunk(), b"two");
    wire.send("0\r\n\r\n");
    assert_eq!(wire.chunk(), b"");
}

#[test]
fn large_bodies_arrive_whole() {
    let size = 3_000_000;
    let body: Vec<u8> = (0..size).map(|index: usize| (index % 251) as u8).collect();
    let origin = Origin::start(|exchange| {
        while let Some(request) = exchange.request() {
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len()));
            exchange.send(&request.body);
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(format!("PUT /big HTTP/1.1\r\nhost: a.example\r\ncontent-length: {size}\r\n\r\n")).send(&body);
        let answer = wire.answer();
        assert_eq!(answer.field("content-length"), size.to_string());
        assert!(answer.body == body, "the echo differs");
    }
    assert!(origin.requests().iter().all(|request| request.body == body));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_early_answer_during_the_upload_is_delivered() {
    let origin = Origin::start(|exchange| {
        exchange.head().unwrap();
        exchange.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        exchange.drain();
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(CHUNKED_POST).send("5\r\nhello\r\n");
    let answer = wire.answer();
    assert_eq!((answer.status(), answer.text()), (403, "no".into()));
    // What else the client uploads must not be read as a request.
    wire.send(GET);
    wire.assert_closed();
    assert!(!String::from_utf8_lossy(&origin.bytes()).contains("GET / HTTP"));
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn an_answer_that_ends_with_the_connection_is_passed_on() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send("HTTP/1.1 200 OK\r\n\r\nhello");
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(GET);
        let answer = wire.answer();
        assert_eq!((answer.text(), answer.complete), ("hello".into(), true));
        assert_eq!(answer.field("transfer-encoding"), "chunked");
    }
}

#[test]
fn a_client_that_leaves_ends_the_exchange_upstream() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while exchange.send("5\r\nhello\r\n") {}
            exchange.drain();
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(GET);
    wire.head();
    assert_eq!(wire.chunk(), b"hello");
    wire.reset();
    origin.wait_for_ends(1);
    router.wait_for_metric("banyan_faults_total", &["fault=\"client_gone\""], 1.0);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn an_upload_goes_on_while_the_client_reads_nothing() {
    // More than all buffers between origin and client hold, so that the answer stands still until it is read.
    let size = 16 * 1024 * 1024;
    let origin = Origin::start(move |exchange| {
        exchange.head().unwrap();
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"));
        let mut answering = exchange.stream();
        let answer = std::thread::spawn(move || std::io::Write::write_all(&mut answering, &vec![b'a'; size]).is_ok());
        assert_eq!(exchange.take(size).len(), size);
        assert!(answer.join().unwrap());
        exchange.drain();
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(format!("PUT /big HTTP/1.1\r\nhost: a.example\r\ncontent-length: {size}\r\n\r\n"));
    // It returns only when all has been taken.
    wire.send(vec![b'u'; size]);
    let answer = wire.answer();
    assert!(answer.complete && answer.body.len() == size);
    assert_eq!(router.metric("banyan_faults_total", &[]), 0.0);
}

#[test]
fn an_upload_that_breaks_during_the_answer_is_the_clients_fault() {
    let origin = Origin::start(|exchange| {
        exchange.head().unwrap();
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        exchange.drain();
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(CHUNKED_POST).send("3\r\none\r\n");
    assert_eq!(wire.head().status(), 200);
    assert_eq!(wire.chunk(), b"hello");
    wire.send("zz\r\n");
    origin.wait_for_ends(1);
    assert!(!origin.bytes().ends_with(b"0\r\n\r\n"));
    router.wait_for_metric("banyan_faults_total", &["side=\"client\""], 1.0);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}
