//! The PROXY protocol: who must speak it, what it changes, and that its parser takes anything.

use std::net::{IpAddr, SocketAddr, TcpStream};

use banyan::proxy_protocol::{Announced, HEADER_BYTES_MAX, Parsed, Version, parse, write};
use proptest::prelude::*;

use super::serving;
use crate::support::authority::Authority;
use crate::support::router::Setup;
use crate::support::secure::Client;
use crate::support::{Origin, Router, Wire};

const REFUSED: &str = "banyan_proxy_protocol_refused_total";
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

fn behind_a_balancer(origin: &Origin) -> Setup {
    Setup::upstream(origin.address, "").arguments(&["--proxy-protocol-from", "127.0.0.0/8"])
}

fn header(version: Version, source: &str) -> Vec<u8> {
    write(version, source.parse().unwrap(), "198.51.100.1:443".parse().unwrap())
}

/// Sends a request behind bytes, in as many packets as they say; gives the status.
fn served(router: &Router, parts: &[&[u8]]) -> u16 {
    let mut wire = router.connect();
    for part in parts {
        wire.send(part);
    }
    wire.send(REQUEST).answer().status()
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).start();
    for version in [Version::V1, Version::V2] {
        assert_eq!(served(&router, &[&header(version, "203.0.113.7:5000")]), 200, "{version:?}");
        let requests = origin.requests();
        assert_eq!(requests.last().unwrap().field("x-forwarded-for"), "203.0.113.7");
    }
    assert_eq!(served(&router, &[&header(Version::V2, "[2001:db8::7]:5000")]), 200);
    assert!(origin.requests().last().unwrap().field("x-forwarded-for").contains("2001:db8::7"));
}

#[test]
fn a_header_may_come_byte_by_byte_and_with_the_request() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).start();
    for version in [Version::V1, Version::V2] {
        let header = header(version, "203.0.113.7:5000");
        let bytes: Vec<&[u8]> = header.chunks(1).collect();
        assert_eq!(served(&router, &bytes), 200, "{version:?}");
        let together = [&header, REQUEST.as_bytes()].concat();
        assert_eq!(router.connect().send(together).answer().status(), 200, "{version:?}");
    }
}

#[test]
fn a_long_header_is_taken_off_whole() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).start();
    let mut long = header(Version::V2, "203.0.113.7:5000");
    let field = [&[0xe0, 0x08, 0x00][..], &[b'G'; 0x800]].concat();
    long.extend_from_slice(&field);
    let length = u16::try_from(long.len() - 16).unwrap();
    long[14..16].copy_from_slice(&length.to_be_bytes());
    assert_eq!(served(&router, &[&long]), 200);
    assert_eq!(origin.request().field("x-forwarded-for"), "203.0.113.7");
}

#[test]
fn a_balancer_may_speak_for_itself() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).start();
    assert_eq!(served(&router, &[b"PROXY UNKNOWN\r\n"]), 200);
    assert_eq!(served(&router, &[b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"]), 200);
    assert!(origin.requests().iter().all(|request| request.field("x-forwarded-for") == "127.0.0.1"));
}

#[test]
fn without_a_header_a_balancer_is_closed() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).start();
    for bad in
        [REQUEST, "PROXY TCP4 nonsense\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        router.connect().send(bad).assert_closed();
    }
    router.wait_for_metric(REFUSED, &[], 4.0);
    router.connect().send("PROXY TC").half_close().assert_closed();
    router.wait_for_metric(REFUSED, &[], 5.0);
    assert_eq!(origin.connections(), 0);
}

/// Whoever is no balancer cannot say that it is somebody else.
#[test]
fn from_others_a_header_is_a_bad_request() {
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "").arguments(&["--proxy-protocol-from", "10.0.0.0/8"]).start();
    for version in [Version::V1, Version::V2] {
        let mut wire = router.connect();
        wire.send(header(version, "203.0.113.7:5000")).send(REQUEST);
        assert_eq!(wire.answer().status(), 400, "{version:?}");
    }
    assert_eq!(router.get("/").status(), 200);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn l3_a_header_that_does_not_come_is_a_slow_head() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).limit("head_timeout_ms", 300).start();
    router.connect().assert_closed();
    router.connect().send("PROXY TCP4 203.0").assert_closed();
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"head_timeout\""], 2.0);
}

/// L8 counts the clients, and the balancer as none of them.
#[test]
fn l8_connections_are_counted_for_the_client() {
    let origin = Origin::ok();
    let router = behind_a_balancer(&origin).limit("connections_per_address_max", 2).start();
    let connect = |source: &str| {
        let mut wire = router.connect();
        wire.send(header(Version::V2, source)).send(REQUEST);
        wire
    };
    let mut first: Vec<Wire> = (0..2).map(|_| connect("203.0.113.7:5000")).collect();
    assert!(first.iter_mut().all(|wire| wire.answer().status() == 200));
    connect("203.0.113.7:5000").assert_closed();
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"connections_per_address\""], 1.0);
    let mut others: Vec<Wire> = (1..=5).map(|last| connect(&format!("203.0.113.{}:1", 100 + last))).collect();
    assert!(others.iter_mut().all(|wire| wire.answer().status() == 200));
    // Places are given back to whom they were counted for.
    drop((first, others));
    router.wait_for_connections(0);
    assert_eq!(connect("203.0.113.7:5000").answer().status(), 200);
}

#[test]
fn the_header_stands_before_tls() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let router = serving(behind_a_balancer(&origin), &authority.server(&["a.example"]));
    for version in [Version::V1, Version::V2] {
        let mut stream = TcpStream::connect(router.listen_tls()).unwrap();
        std::io::Write::write_all(&mut stream, &header(version, "203.0.113.7:5000")).unwrap();
        let mut wire = Client::new(&authority).try_over(stream, "a.example").expect("a handshake");
        assert_eq!(wire.get("a.example").status(), 200);
        assert_eq!(origin.requests().last().unwrap().field("x-forwarded-for"), "203.0.113.7");
    }
    assert!(Client::new(&authority).try_connect(router.listen_tls(), "a.example").is_err(), "without a header");
    router.wait_for_metric(REFUSED, &[], 1.0);
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let four = any::<([u8; 4], u16, [u8; 4], u16)>()
        .prop_map(|(a, p, b, q)| (SocketAddr::new(IpAddr::from(a), p), SocketAddr::new(IpAddr::from(b), q)));
    // Addresses of IPv4 in the clothes of IPv6 are written as what they are.
    let six = any::<([u16; 8], u16, [u16; 8], u16)>().prop_filter_map("mapped", |(a, p, b, q)| {
        let (a, b) = (IpAddr::from(a), IpAddr::from(b));
        (a.to_canonical() == a && b.to_canonical() == b).then_some((SocketAddr::new(a, p), SocketAddr::new(b, q)))
    });
    prop_oneof![four, six]
}

proptest! {
    #[test]
    fn what_is_written_is_read((source, destination) in addresses(), more in any::<Vec<u8>>(), first in any::<bool>()) {
        let header = write(if first { Version::V1 } else { Version::V2 }, source, destination);
        let announced = Announced::Proxied { source, destination };
        let whole = Ok(Parsed::Whole { announced, bytes: header.len() });
        prop_assert_eq!(parse(&[&header[..], &more].concat()), whole);
        for end in 0..header.len() {
            prop_assert_eq!(parse(&header[..end]), Ok(Parsed::Partial), "{}", end);
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0_usize..3) {
        let mark: &[u8] = [b"".as_slice(), b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"][kind];
        let input = [mark, &bytes].concat();
        match parse(&input) {
            Ok(Parsed::Whole { bytes, .. }) => prop_assert!(bytes <= input.len() && bytes <= HEADER_BYTES_MAX),
            Ok(Parsed::Partial) => prop_assert!(input.len() < HEADER_BYTES_MAX),
            Err(_) => {}
        }
    }

    /// One judgement for all ways in which the bytes may arrive: a longer piece never turns an error into something else.
    #[test]
    fn more_bytes_never_mend_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_usize..3) {
        let mark: &[u8] = [b"".as_slice(), b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"][kind];
        let input = [mark, &bytes].concat();
        let mut verdict = Ok(Parsed::Partial);
        for end in 0..=input.len() {
            let now = parse(&input[..end]);
            if verdict != Ok(Parsed::Partial) {
                prop_assert_eq!(now, verdict, "{}", end);
            }
            verdict = now;
        }
    }
}
