//! The PROXY header that begins connections to upstreams.

use crate::support::Origin;
use crate::support::router::Setup;

/// An origin that reads a header of so many bytes, or a line, before each connection's requests.
fn origin(header_bytes: Option<usize>) -> Origin {
    Origin::start(move |exchange| {
        match header_bytes {
            Some(bytes) => drop(exchange.take(bytes)),
            None => while exchange.take(1) != b"\n" {},
        }
        while exchange.request().is_some() {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    })
}

#[test]
fn v1_names_the_client_and_carries_one_exchange() {
    let origin = origin(None);
    let router = Setup::upstream(origin.address, "proxy_protocol: v1").start();
    let mut wire = router.connect();
    let client = wire.stream().local_addr().unwrap();
    for _ in 0..3 {
        wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
        assert_eq!(wire.answer().text(), "ok");
    }
    let header =
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nGET / HTTP/1.1\r\n", client.port(), origin.address.port());
    assert_eq!(origin.streams().len(), 3);
    for stream in origin.streams() {
        assert!(stream.starts_with(header.as_bytes()), "{:?}", String::from_utf8_lossy(&stream));
    }
}

#[test]
fn v2_names_the_client() {
    let origin = origin(Some(28));
    let router = Setup::upstream(origin.address, "proxy_protocol: v2").start();
    let mut wire = router.connect();
    let client = wire.stream().local_addr().unwrap();
    wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_eq!(wire.answer().text(), "ok");
    let stream = &origin.streams()[0];
    assert_eq!(stream[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(stream[24..26], client.port().to_be_bytes());
    assert!(stream[28..].starts_with(b"GET / HTTP/1.1\r\n"));
}

#[test]
fn it_comes_before_tls() {
    // A listener that is no TLS server sees the header, and then a client hello.
    let origin = Origin::start(|exchange| drop(exchange.take(2_000)));
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"https://{}\"], proxy_protocol: v1, connect_timeout_ms: 300, tls: {{verify: false}}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n",
        origin.address
    );
    let answer = Setup::routes(routes).start().get("/");
    assert!(matches!(answer.status(), 502 | 504), "{answer:?}");
    let stream = &origin.streams()[0];
    let end = stream.iter().position(|byte| *byte == b'\n').expect("a line");
    assert!(stream.starts_with(b"PROXY TCP4 ") && stream[end + 1] == 0x16, "{:?}", String::from_utf8_lossy(stream));
}
