//! WebSockets through the router: the handshake, frames both ways, and how a tunnel ends.

use crate::support::router::Setup;
use crate::support::{Origin, Router, Wire};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a.example\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\r\n";

/// An origin that switches and then sends back what it gets, unmasked.
fn echo() -> Origin {
    Origin::start(|exchange| {
        if exchange.request().is_none() {
            return;
        }
        exchange.send(SWITCHED);
        loop {
            let head = exchange.take(2);
            let [opcode, length] = head[..] else { return };
            let length = match length & 0x7f {
                126 => u16::from_be_bytes(exchange.take(2).try_into().unwrap()).into(),
                127 => usize::try_from(u64::from_be_bytes(exchange.take(8).try_into().unwrap())).unwrap(),
                short => usize::from(short),
            };
            let mask = exchange.take(4);
            let mut data = exchange.take(length);
            data.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= mask[index % 4]);
            exchange.send(frame(opcode & 0x0f, &data, None));
            if opcode & 0x0f == CLOSE {
                return;
            }
        }
    })
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

fn frame(opcode: u8, data: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match data.len() {
        short @ 0..126 => frame.push(masked | short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(masked | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(masked | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    match mask {
        Some(mask) => {
            frame.extend(mask);
            frame.extend(data.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        }
        None => frame.extend(data),
    }
    frame
}

fn router(origin: &Origin, upstream: &str) -> Router {
    Setup::route(origin.address, upstream, "websocket: true").start()
}

fn switch(router: &Router) -> Wire {
    let mut wire = router.connect();
    wire.send(HANDSHAKE);
    let answer = wire.answer();
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!((answer.field("upgrade"), answer.field("connection")), ("websocket".into(), "upgrade".into()));
    assert_eq!(answer.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(answer.field("sec-websocket-protocol"), "chat");
    wire
}

fn echoes(wire: &mut Wire, opcode: u8, data: &[u8]) {
    wire.send(frame(opcode, data, Some([1, 2, 3, 4])));
    let expected = frame(opcode, data, None);
    assert!(wire.take(expected.len()) == expected, "the echo of {} bytes differs", data.len());
}

#[test]
fn frames_pass_both_ways_until_the_close() {
    let origin = echo();
    let router = router(&origin, "");
    let mut wire = switch(&router);
    for size in [0, 1, 125, 126, 70_000, 1_000_000] {
        echoes(&mut wire, TEXT, &vec![b'x'; size]);
    }
    echoes(&mut wire, PING, b"are you there");
    echoes(&mut wire, CLOSE, &[3, 232]);
    wire.assert_closed();
    let request = origin.request();
    assert_eq!((request.field("upgrade"), request.field("connection")), ("websocket".into(), "upgrade".into()));
    assert_eq!(request.field("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn bytes_in_the_same_segment_as_the_101_are_not_lost() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        exchange.send([SWITCHED.as_bytes(), b"first words"].concat());
        exchange.drain();
    });
    let router = router(&origin, "");
    let mut wire = switch(&router);
    assert_eq!(wire.take(11), b"first words");
}

#[test]
fn frames_sent_before_the_101_arrive_after_it() {
    let origin = echo();
    let router = router(&origin, "");
    let mut wire = router.connect();
    let early = frame(TEXT, b"early", Some([9; 4]));
    wire.send([HANDSHAKE.as_bytes(), &early].concat());
    assert_eq!(wire.answer().status(), 101);
    assert_eq!(wire.take(7), frame(TEXT, b"early", None));
}

#[test]
fn a_client_that_leaves_ends_the_tunnel_and_so_does_the_upstream() {
    let origin = echo();
    let router = router(&origin, "");
    let mut wire = switch(&router);
    echoes(&mut wire, TEXT, b"hello");
    wire.reset();
    origin.wait_for_ends(1);

    let leaving = Origin::start(|exchange| {
        exchange.request();
        exchange.send(SWITCHED);
    });
    let router = self::router(&leaving, "");
    switch(&router).assert_closed();
    router.wait_for_connections(0);
}

#[test]
fn a_refused_handshake_is_a_plain_answer() {
    let origin = Origin::answering(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    let router = router(&origin, "");
    let mut wire = router.connect();
    for _ in 0..2 {
        wire.send(HANDSHAKE);
        let answer = wire.answer();
        assert_eq!((answer.status(), answer.text()), (403, "no".into()));
    }
}

#[test]
fn a_handshake_has_no_response_timeout_and_a_tunnel_no_body_timeout() {
    let origin = Origin::start(|exchange| {
        exchange.request();
        // Longer than the limits below, which must not apply.
        std::thread::sleep(std::time::Duration::from_millis(300));
        exchange.send(SWITCHED);
        std::thread::sleep(std::time::Duration::from_millis(300));
        exchange.send("late");
        exchange.drain();
    });
    let router = router(&origin, "response_timeout_ms: 100, body_idle_timeout_ms: 100");
    let mut wire = switch(&router);
    assert_eq!(wire.take(4), b"late");
}

#[test]
fn l7_a_silent_tunnel_ends() {
    let origin = echo();
    let router = router(&origin, "tunnel_idle_timeout_ms: 200");
    let mut wire = switch(&router);
    echoes(&mut wire, TEXT, b"hello");
    wire.assert_closed();
    router.wait_for_metric("banyan_limit_hits_total", &["limit=\"tunnel_idle\""], 1.0);
    origin.wait_for_ends(1);
}
