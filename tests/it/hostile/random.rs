//! Random framings: whatever the router makes of them, the origin must have been told the same.
//!
//! Each case is one connection: a request whose framing fields and body are drawn from what smugglers use, and a second
//! request right behind it. The origin reads strictly and independently. The router may refuse or forward, but each
//! answer must belong to one request that the origin has read whole, and bytes of the second request may count as body
//! of the first only where both sides agree.

use std::fmt::Write as _;

use crate::judges::panel;
use crate::support::Origin;
use crate::support::message::{Framing, Message};

const CASES: u32 = 1_500;

const FRAMINGS: [&str; 24] = [
    "",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 11\r\n",
    "Content-Length: 05\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length : 5\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 0\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: Chunked\r\n",
    "Transfer-Encoding:\tchunked\t\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: x\r\n chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Connection: Content-Length\r\nContent-Length: 5\r\n",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
];

const BODIES: [&str; 14] = [
    "",
    "hello",
    "hello world",
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;x=y\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n00\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhelloworld\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\nX",
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
];

const EXTRAS: [&str; 8] = [
    "",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Upgrade: h2c\r\n",
    "TE: trailers\r\n",
    "Host: a\r\n",
    "x-a:\r\n",
    "x\0: 1\r\n",
];

/// A small generator (xorshift), so that a seed in a failure's message is enough to repeat it.
struct Draw(u64);

impl Draw {
    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        choices[usize::try_from(self.0 >> 33).unwrap() % choices.len()]
    }
}

fn case(number: u32, draw: &mut Draw) -> String {
    let (method, version) = (draw.of(&["POST", "GET", "HEAD", "PUT"]), draw.of(&["1.1", "1.1", "1.1", "1.0"]));
    let (extra, framing, body) = (draw.of(&EXTRAS), draw.of(&FRAMINGS), draw.of(&BODIES));
    let mut bytes = format!("{method} /{number}/first HTTP/{version}\r\nHost: a.example\r\n{extra}{framing}\r\n{body}");
    write!(bytes, "GET /{number}/second HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    bytes
}

/// Each framing with each body, and each extra field, for whoever mutates them.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    let post = |fields: &str, body: &str| format!("POST /first HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n{body}");
    let framed = FRAMINGS.iter().flat_map(|framing| BODIES.iter().map(move |body| post(framing, body)));
    framed.chain(EXTRAS.iter().map(|extra| post(extra, ""))).map(String::into_bytes).collect()
}

/// Splits what a client received into answers; the last may be cut.
fn answers(bytes: &[u8], method: &str) -> Vec<Message> {
    let mut reader = crate::support::message::Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(mut message) = reader.head().expect("a slice never fails") {
        if message.status() < 200 {
            continue;
        }
        let method = if found.is_empty() { method } else { "GET" };
        let framing = Framing::of_response(&message, method);
        reader.body(&mut message, framing).expect("a slice never fails");
        found.push(message);
    }
    found
}

#[test]
fn both_sides_read_the_same_requests() {
    let origin = Origin::ok();
    let router = panel::router(&origin);
    let seed = fastrand::u64(1..);
    let mut draw = Draw(seed);
    let mut forwarded = 0;
    for number in 0..CASES {
        let bytes = case(number, &mut draw);
        let context = format!("seed {seed}, case {number}: {bytes:?}");
        let mut wire = router.connect();
        // The end of what the client sends ends every wait for more.
        wire.send(&bytes).half_close();
        let method = bytes.split(' ').next().unwrap_or_default();
        let answers = answers(&wire.rest(), method);
        let received = origin.requests_after(forwarded);
        let prefix = format!("/{number}/");
        assert!(received.iter().all(|request| request.target().starts_with(&prefix)), "{context}\n{received:?}");

        let from_origin = answers.iter().filter(|answer| answer.status() == 200).count();
        assert_eq!(from_origin, received.len(), "{context}\n{answers:?}\n{received:?}");
        let targets: Vec<_> =
            received.iter().map(|request| request.target().rsplit('/').next().unwrap_or_default()).collect();
        assert!(targets == ["first", "second"] || targets == ["first"] || targets.is_empty(), "{context}: {targets:?}");
        // Own answers come last: nothing is read behind a refused request.
        assert!(answers.iter().rev().skip(1).all(|answer| answer.status() == 200), "{context}\n{answers:?}");
        for request in &received {
            assert!(request.values("host") == ["a.example"], "{context}\n{request:?}");
        }
        forwarded += received.len();
    }
    panel::read_alike(&origin.streams());
    assert!(forwarded > 50, "most cases must not be refused out of hand: {forwarded}");
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0, "seed {seed}");
    assert_eq!(router.metric("banyan_panics_total", &[]), 0.0, "seed {seed}");
}
