//! Interim answers (1xx) to HTTP/1.1 clients, rule P11: in order, whole, and never in the middle of another answer.

use crate::support::{Message, Origin, Router, Wire};

const HINTS: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-gone\r\nx-gone: 1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

fn assert_hints(head: &Message) {
    assert_eq!(head.line, "HTTP/1.1 103 Early Hints");
    assert_eq!(head.fields, [("link".to_owned(), "</a.css>; rel=preload".to_owned())]);
}

#[test]
fn p11_hints_arrive_before_the_answer_is_known() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            exchange.send(HINTS);
            gate.lock().unwrap().recv().unwrap();
            exchange.send("HTTP/1.1 102 Processing\r\n\r\n");
            exchange.send(OK);
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(GET);
        assert_hints(&wire.head());
        go.send(()).unwrap();
        assert_eq!(wire.head().line, "HTTP/1.1 102 Processing");
        let answer = wire.answer();
        assert_eq!((answer.status(), answer.text()), (200, "ok".to_owned()));
    }
}

#[test]
fn p11_hints_and_answer_in_one_segment_keep_their_order() {
    let origin = Origin::answering(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    // Requests behind each other: the next is read while the last answer may still wait to be written.
    wire.send(GET.repeat(50));
    for _ in 0..50 {
        assert_hints(&wire.head());
        assert_hints(&wire.head());
        let answer = wire.head();
        assert_eq!(answer.status(), 200);
        assert_eq!(wire.take(2), b"ok");
    }
}

#[test]
fn p11_hints_wait_for_the_answer_before_to_be_written_whole() {
    let body = vec![b'x'; 3_000_000];
    let large = body.clone();
    let origin = Origin::start(move |exchange| {
        while let Some(request) = exchange.request() {
            exchange.send(HINTS);
            if request.target() == "/large" {
                exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", large.len()));
                exchange.send(&large);
            } else {
                exchange.send(OK);
            }
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send("GET /large HTTP/1.1\r\nhost: a.example\r\n\r\n").send(GET);
    origin.wait_for_requests(1);
    assert_hints(&wire.head());
    assert_eq!(wire.head().status(), 200);
    assert!(wire.take(body.len()) == body);
    assert_hints(&wire.head());
    assert_eq!(wire.answer().text(), "ok");
}

#[test]
fn p11_hints_and_100_continue_both_arrive() {
    let origin = Origin::start(|exchange| {
        while exchange.head().is_some() {
            exchange.send(HINTS);
            assert_eq!(exchange.take(5), b"hello");
            exchange.send(OK);
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send("POST / HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let mut heads = [wire.head().status(), wire.head().status()];
    heads.sort_unstable();
    assert_eq!(heads, [100, 103]);
    wire.send("hello");
    assert_eq!(wire.answer().status(), 200);
}

#[test]
fn p11_an_http_1_0_client_gets_none() {
    let origin = Origin::answering(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let router = Router::to(origin.address);
    let mut wire: Wire = router.connect();
    wire.send("GET / HTTP/1.0\r\nhost: a.example\r\n\r\n");
    assert_eq!(wire.head().status(), 200);
}

#[test]
fn p11_a_fault_after_hints_is_still_answered() {
    let origin = Origin::start(|exchange| {
        if exchange.request().is_some() {
            exchange.send(HINTS);
        }
    });
    let router = Router::to(origin.address);
    let mut wire = router.connect();
    wire.send(GET);
    assert_hints(&wire.head());
    assert_eq!(wire.answer().status(), 502);
}
