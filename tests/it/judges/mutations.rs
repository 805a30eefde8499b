//! Random mutations of hostile requests: whatever passes, four parsers must read alike.

use crate::hostile;
use crate::support::Origin;
use crate::support::message::Reader;

use super::{desync, panel};

const CASES: usize = 2_000;

/// What smugglers put between, before and after things.
const PIECES: [&str; 22] = [
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    ";",
    "\u{b}",
    "\u{7f}",
    "\u{a0}",
    "_",
    "-",
    "+",
    "0",
    "chunked",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: Content-Length\r\n",
    "Host: a.example\r\n",
];

/// Draws everything from one seed, so that the seed in a failure's message repeats it.
struct Mutator(fastrand::Rng);

impl Mutator {
    /// A request of the corpus with one to three changes.
    fn case(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.0.choice(corpus).expect("a corpus").clone();
        for _ in 0..self.0.usize(1..4) {
            let at = self.0.usize(..=bytes.len());
            self.change(&mut bytes, at);
        }
        bytes.extend_from_slice(b"GET /behind HTTP/1.1\r\nHost: a.example\r\n\r\n");
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let end = (at + self.0.usize(1..12)).min(bytes.len());
        match self.0.u8(..5) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            2 if at < bytes.len() => bytes[at] = self.0.u8(..),
            3 if at < bytes.len() => bytes[at] ^= 0x20,
            _ => {
                let piece = self.0.choice(PIECES).expect("pieces");
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
}

/// How many final answers came, and how many of them from the origin.
fn answers(bytes: &[u8]) -> (usize, usize) {
    let mut reader = Reader::new(bytes);
    let (mut all, mut from_origin) = (0, 0);
    while let Some(mut message) = reader.head().expect("a slice never fails") {
        let status = message.status();
        if status < 200 {
            continue;
        }
        (all, from_origin) = (all + 1, from_origin + usize::from(status == 204));
        let framing = crate::support::message::Framing::of_response(&message, "GET");
        reader.body(&mut message, framing).expect("a slice never fails");
    }
    (all, from_origin)
}

#[test]
fn what_passes_of_mutated_requests_is_read_alike_by_four_parsers() {
    // An answer that has no body, whatever the method.
    let origin = Origin::answering(b"HTTP/1.1 204 No Content\r\n\r\n");
    let router = panel::router(&origin);
    let seed = fastrand::u64(..);
    let mut mutator = Mutator(fastrand::Rng::with_seed(seed));
    let corpus = [hostile::random::requests(), desync::requests()].concat();
    let (mut forwarded, mut refused) = (0, 0);
    for number in 0..CASES {
        let bytes = mutator.case(&corpus);
        let context = format!("seed {seed}, case {number}: {:?}", String::from_utf8_lossy(&bytes));
        let mut wire = router.connect();
        wire.send(&bytes).half_close();
        let (all, from_origin) = answers(&wire.rest());
        forwarded += from_origin;
        refused += all - from_origin;
        // Each answer of the origin belongs to one request that it has read whole.
        assert_eq!(origin.requests().len(), forwarded, "{context}");
    }
    let read = panel::read_alike(&origin.streams());
    assert_eq!(read.len(), forwarded, "seed {seed}");
    assert!(forwarded > CASES / 10 && refused > CASES / 10, "{forwarded} forwarded, {refused} refused");
    assert_eq!(router.metric("banyan_panics_total", &[]), 0.0, "seed {seed}");
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0, "seed {seed}");
}
