//! Handshakes: protocols, resumption, and peers that leave, stall or send something else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;

use super::{plain_set, router, serving};
use crate::support::authority::Authority;
use crate::support::router::Setup;
use crate::support::secure::Client;
use crate::support::{Origin, PATIENCE, Wire};

fn agreed(client: &Client, address: SocketAddr) -> Option<Vec<u8>> {
    client.connect(address, "a.example").connection().alpn_protocol().map(<[u8]>::to_vec)
}

#[test]
fn alpn_agrees_on_the_best_that_both_speak() {
    let (authority, _origin, router) = plain_set();
    let client = |names: &[&str]| Client::new(&authority).alpn(names);
    assert_eq!(agreed(&client(&["http/1.1", "h2"]), router.listen_tls()), Some(b"h2".to_vec()));
    assert_eq!(agreed(&client(&["http/1.1"]), router.listen_tls()), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&client(&["spdy/3", "http/1.1"]), router.listen_tls()), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&client(&[]), router.listen_tls()), None);
    // Without an agreement it is HTTP/1.1.
    assert_eq!(client(&[]).connect(router.listen_tls(), "a.example").get("a.example").status(), 200);
}

#[test]
fn without_http2_alpn_offers_http1_alone() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let settings = [&authority.server(&["a.example"])[..], &["--http2=off".to_owned()]].concat();
    let router = router(&origin, &settings);
    let client = Client::new(&authority).alpn(&["h2", "http/1.1"]);
    assert_eq!(agreed(&client, router.listen_tls()), Some(b"http/1.1".to_vec()));
}

#[test]
fn without_a_common_protocol_there_is_an_alert() {
    let (authority, _origin, router) = plain_set();
    let client = Client::new(&authority).alpn(&["spdy/3"]);
    let refused = client.try_connect(router.listen_tls(), "a.example").err().expect("no handshake");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    router.wait_for_metric("banyan_tls_handshake_faults_total", &["fault=\"no_protocol\""], 1.0);
}

/// Tickets are one for the process, so whichever worker a client comes back to knows them; early data is never taken.
#[test]
fn sessions_are_resumed_by_any_worker_and_never_with_early_data() {
    let (authority, _origin, router) = plain_set();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Client::with(&authority, aws_lc_rs::default_provider(), &[version], None);
        let mut first = client.connect(router.listen_tls(), "a.example");
        assert!(!first.is_resumed());
        assert_eq!(first.get("a.example").status(), 200);
        for _ in 0..8 {
            let mut again = client.connect(router.listen_tls(), "a.example");
            assert!(again.is_resumed(), "{version:?}");
            assert!(!again.connection().is_early_data_accepted());
            assert_eq!(again.get("a.example").status(), 200);
        }
    }
    assert_eq!(router.metric("banyan_tls_handshakes_total", &["kind=\"full\""]), 2.0);
    assert_eq!(router.metric("banyan_tls_handshakes_total", &["kind=\"resumed\""]), 16.0);
}

/// What a client sends first.
fn hello(authority: &Authority) -> Vec<u8> {
    let config = Arc::new(Client::new(authority).config);
    let name = ServerName::try_from("a.example").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

/// CVE-2024-11738 and its like: a client that leaves anywhere in its hello costs nothing but its connection.
#[test]
fn a_hello_may_end_anywhere() {
    let (authority, _origin, router) = plain_set();
    let hello = hello(&authority);
    let cuts: Vec<usize> = (0..hello.len()).step_by(7).collect();
    for cut in &cuts {
        let mut wire = Wire::connect(router.listen_tls());
        wire.send(&hello[..*cut]).half_close().rest();
    }
    router.wait_for_metric("banyan_tls_handshake_faults_total", &["fault=\"closed\""], cuts.len() as f64);
    assert_eq!(router.metric("banyan_panics_total", &[]), 0.0);
    assert_eq!(Client::new(&authority).connect(router.listen_tls(), "a.example").get("a.example").status(), 200);
}

/// Splits the first record of what it sends into records of one byte, and those into packets of one byte.
struct Fragmenting(TcpStream, bool);

impl std::io::Read for Fragmenting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for Fragmenting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if std::mem::replace(&mut self.1, true) {
            return self.0.write(bytes);
        }
        let (head, message) = bytes.split_at(5);
        for byte in message {
            for part in [head[0], head[1], head[2], 0, 1, *byte] {
                self.0.write_all(&[part])?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_hello_may_come_in_fragments_of_a_byte() {
    let (authority, _origin, router) = plain_set();
    let stream = TcpStream::connect(router.listen_tls()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("a.example").unwrap();
    let mut connection = ClientConnection::new(Arc::new(Client::new(&authority).config), name).unwrap();
    let mut stream = Fragmenting(stream, false);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).expect("a handshake");
    }
    assert_eq!(router.metric("banyan_panics_total", &[]), 0.0);
}

#[test]
fn what_is_no_tls_is_closed_and_counted() {
    let (_authority, _origin, router) = plain_set();
    let mut wire = Wire::connect(router.listen_tls());
    wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").rest();
    Wire::connect(router.listen_tls()).send([0x16, 3, 1, 0xff, 0xff, 1]).rest();
    router.wait_for_metric("banyan_tls_handshake_faults_total", &["fault=\"malformed\""], 2.0);
}

#[test]
fn versions_before_1_2_are_refused() {
    let (_authority, _origin, router) = plain_set();
    // A hello of TLS 1.0: the version of the record, and the one inside, and no extension that offers more.
    let body = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
    let handshake = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let record = [&[0x16, 3, 1, 0, u8::try_from(handshake.len()).unwrap()][..], &handshake].concat();
    let alert = Wire::connect(router.listen_tls()).send(record).rest();
    // One record, an alert, fatal: handshake_failure or protocol_version.
    let [0x15, _, _, 0, 2, 2, 40 | 70] = alert[..] else { panic!("{alert:02x?}") };
}

/// L2: the time for a handshake is one, however busily its bytes come.
#[test]
fn l2_a_handshake_that_does_not_end_is_closed() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let setup = Setup::upstream(origin.address, "").limit("tls_handshake_timeout_ms", 300);
    let router = serving(setup, &authority.server(&["a.example"]));
    let hello = hello(&authority);
    let mut silent = Wire::connect(router.listen_tls());
    let mut halfway = Wire::connect(router.listen_tls());
    halfway.send(&hello[..hello.len() / 2]);
    let mut after_hello = Wire::connect(router.listen_tls());
    after_hello.send(&hello);
    // Others are served meanwhile.
    assert_eq!(Client::new(&authority).connect(router.listen_tls(), "a.example").get("a.example").status(), 200);
    silent.assert_closed();
    halfway.assert_closed();
    assert!(!after_hello.rest().is_empty(), "the server's own part of the handshake");
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"tls_handshake\""], 3.0);
    // It is the handshake's time alone: a connection that has one waits for its first request longer.
    assert_eq!(router.metric("banyan_limit_hits_total", &["limit=\"head_timeout\""]), 0.0);
}

#[test]
fn a_session_ends_in_order() {
    let (authority, _origin, router) = plain_set();
    let mut wire = Client::new(&authority).connect(router.listen_tls(), "a.example");
    wire.send("GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
    assert_eq!(wire.answer().status(), 200);
    wire.assert_closed_in_order();
    router.wait_for_connections(0);
}

#[test]
fn bodies_of_any_size_pass() {
    let body: &'static [u8] = Box::leak(vec![b'x'; 300_000].into_boxed_slice());
    let origin = Origin::start(move |exchange| {
        while exchange.request().is_some() {
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()));
            exchange.send(body);
        }
    });
    let authority = Authority::new("tests");
    let router = router(&origin, &authority.server(&["a.example"]));
    let mut wire = Client::new(&authority).connect(router.listen_tls(), "a.example");
    for _ in 0..3 {
        wire.send(format!("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n", body.len()));
        wire.stream().write_all(body).unwrap();
        let answer = wire.answer();
        assert_eq!((answer.status(), answer.body.len(), answer.complete), (200, body.len(), true));
    }
    assert!(origin.requests().iter().all(|request| request.body == body));
}

/// L5 beneath TLS: what the client does not take is timed, though the library has a buffer of its own.
#[test]
fn l5_a_client_that_takes_nothing_is_closed() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        while exchange.send([b'x'; 65_536]) {}
    });
    let authority = Authority::new("tests");
    let setup = Setup::upstream(origin.address, "").limit("write_stall_timeout_ms", 300);
    let router = serving(setup, &authority.server(&["a.example"]));
    let mut wire = Client::new(&authority).connect(router.listen_tls(), "a.example");
    wire.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"write_stall\""], 1.0);
    let mut rest = Vec::new();
    assert!(wire.stream().read_to_end(&mut rest).is_err(), "the answer is cut, and seen to be");
}
