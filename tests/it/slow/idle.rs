//! Rule L12: what an idle connection costs in memory, measured and bounded.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::support::authority::Authority;
use crate::support::router::Setup;
use crate::support::secure::{Client, SecureWire};
use crate::support::{Origin, PATIENCE, Router};

/// Idle HTTP/1.1 connections, after one request each.
const CONNECTIONS: usize = 10_000;
/// Clients that they come from; each may have 256 at most.
const CLIENTS: usize = 50;
/// What one may cost, in bytes of the router's own memory; the kernel's buffers come on top and are empty.
const IDLE_BYTES_MAX: u64 = 16 * 1024;

/// Idle HTTP/2 connections over TLS, after one request each, and what one may cost.
const SECURE_CONNECTIONS: usize = 1_000;
const SECURE_IDLE_BYTES_MAX: u64 = 64 * 1024;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a.example\r\nuser-agent: one that idles\r\naccept: */*\r\n\r\n";

/// Lets this process open so many descriptors, which the far ends of many connections need.
fn raise_descriptors_to(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: limit.maximum.map(|maximum| maximum.max(wanted)), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .unwrap_or_else(|error| panic!("this test needs {wanted} descriptors (`ulimit -Hn`): {error}"));
}

/// Connects from one of the loopback addresses, as different clients do.
fn connect_from(client: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, client), 0)).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Opens connections, makes one request on each and leaves them open.
fn idle(router: &Router, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let client = u8::try_from(number % CLIENTS).expect("few clients");
        let mut stream = connect_from(client, router.listen).expect("the router accepts");
        stream.write_all(ASK).unwrap();
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&answer[..read]));
        streams.push(stream);
    }
    streams
}

#[test]
fn ten_thousand_idle_connections() {
    raise_descriptors_to(2 * CONNECTIONS as u64 - 1_000);
    let origin = Origin::ok();
    let router = Setup::upstream(origin.address, "").limit("keep_alive_timeout_ms", 600_000).start();
    // The first ones make the pools, the metrics and the allocator what they will be.
    let _few = idle(&router, 100);
    let before = router.memory_bytes("VmRSS");
    let many = idle(&router, CONNECTIONS - 200);
    let each = router.memory_bytes("VmRSS").saturating_sub(before) / many.len() as u64;
    println!("slow: {each} bytes for each of {} idle HTTP/1.1 connections", many.len());
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes for each idle connection");
    assert_eq!(router.get("/").status(), 200, "others are served");
}

/// The client's preface with empty settings, their acknowledgement, and a GET of `/` from localhost on stream 1.
const ASK_OVER_HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\0\x04\x01\0\0\0\0\
    \0\0\x0e\x01\x05\0\0\0\x01\x82\x87\x84\x41\x09localhost";

/// Reads frames up to the end of stream 1.
fn read_answer(wire: &mut SecureWire) {
    let stream = wire.stream();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).expect("a whole frame");
        let (kind, flags, number) = (head[3], head[4], head[8]);
        assert!(kind == 0 || kind == 1 || kind == 4 || kind == 8, "frame {kind}: {payload:?}");
        if number == 1 && kind <= 1 && flags & 1 == 1 {
            return;
        }
    }
}

/// Opens HTTP/2 connections over TLS, makes one request on each and leaves them open.
fn idle_over_http2(router: &Router, client: &Client, count: usize) -> Vec<SecureWire> {
    let connect = |number: usize| {
        let from = u8::try_from(number % CLIENTS).expect("few clients");
        let stream = connect_from(from, router.listen_tls()).expect("the router accepts");
        let mut wire = client.try_over(stream, "localhost").expect("a handshake");
        wire.send(ASK_OVER_HTTP2);
        read_answer(&mut wire);
        wire
    };
    (0..count).map(connect).collect()
}

#[test]
fn a_thousand_idle_http2_connections_over_tls() {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let certificate = authority.server(&["localhost"]);
    let certificate: Vec<&str> = certificate.iter().map(String::as_str).collect();
    let setup = Setup::upstream(origin.address, "").limit("keep_alive_timeout_ms", 600_000);
    let router = setup.arguments(&["--listen-tls", "127.0.0.1:0"]).arguments(&certificate).start();
    let client = Client::new(&authority).alpn(&["h2"]);
    let _few = idle_over_http2(&router, &client, 50);
    let before = router.memory_bytes("VmRSS");
    let many = idle_over_http2(&router, &client, SECURE_CONNECTIONS);
    let each = router.memory_bytes("VmRSS").saturating_sub(before) / many.len() as u64;
    println!("slow: {each} bytes for each of {} idle HTTP/2 connections over TLS", many.len());
    assert!(each <= SECURE_IDLE_BYTES_MAX, "{each} bytes for each idle connection");
}
