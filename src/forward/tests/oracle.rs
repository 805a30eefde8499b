//! The same upstream bytes for hyper's client and for our connection, in the same parts: the same answer.
//!
//! Every difference that is meant stands in [`DIFFERENCES`] with its reason, and each line there must be met by a case.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;

use super::script::{End, Script};
use super::{Read, connection, forwarded, read, received, run};
use crate::fault::Fault;

/// Mutated cases a run; each corpus entry is drawn some twenty times.
const MUTATIONS: u32 = 4_000;

/// What an exchange came to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// There was no response head.
    Failed(Fault),
    /// There was; the body may be cut.
    Answered { status: StatusCode, headers: HeaderMap, body: Box<Read> },
}

async fn by_hyper(request: &[u8], script: Script) -> Verdict {
    let (mut sender, driver) = hyper::client::conn::http1::Builder::new()
        .max_header_size(64 * 1024)
        .handshake(TokioIo::new(script))
        .await
        .unwrap();
    tokio::task::spawn_local(driver);
    match sender.send_request(received(request).await).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            Verdict::Answered { status: parts.status, headers: parts.headers, body: Box::new(read(body).await) }
        }
        Err(error) if error.is_parse() => Verdict::Failed(Fault::ResponseMalformed),
        Err(_) => Verdict::Failed(Fault::ConnectionTerminated),
    }
}

async fn by_us(request: &[u8], script: Script) -> Verdict {
    match connection(script).send(forwarded(request).await).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            Verdict::Answered { status: parts.status, headers: parts.headers, body: Box::new(read(body).await) }
        }
        Err(error) => Verdict::Failed(error.fault),
    }
}

/// A difference that is meant: what it is called, why it is right, and when it applies.
type Difference = (&'static str, &'static str, fn(&Case, &Verdict, &Verdict) -> bool);

const DIFFERENCES: &[Difference] = &[
    (
        "other codings",
        "we asked for none: a coding that is not exactly `chunked` is no answer (rules F4, U3); hyper reads to the end",
        |case, ours, _| ours.is_malformed() && case.has("transfer-encoding:"),
    ),
    (
        "repeated lengths",
        "one Content-Length of digits or no answer (rule U2); hyper takes equal ones, in lists too, and any where no body follows",
        |case, ours, _| ours.is_malformed() && case.has("content-length:"),
    ),
    ("more fields", "256 fields may come, hyper takes 100", |case, ours, hyper| {
        hyper.is_malformed() && !ours.is_malformed() && case.count("\r\n") > 100
    }),
    ("endless interim heads", "33 of them are no answer; hyper reads on for ever", |case, ours, _| {
        ours.is_malformed() && case.count("HTTP/1.1 1") > 32
    }),
    (
        "empty line in trailers",
        "a lone LF ends no trailers (rule F8); hyper takes it for their end",
        |case, ours, hyper| ours.is_cut() && !hyper.is_cut() && case.has_bare_line_end(),
    ),
    ("long chunk sizes", "16 digits hold every size; hyper reads leading zeros without end", |case, ours, _| {
        ours.is_cut() && case.has_long_number()
    }),
];

impl Verdict {
    fn is_malformed(&self) -> bool {
        *self == Self::Failed(Fault::ResponseMalformed)
    }

    fn is_cut(&self) -> bool {
        matches!(self, Self::Answered { body, .. } if !body.complete)
    }
}

/// One stream of bytes in answer to one request.
#[derive(Debug)]
struct Case {
    bytes: Vec<u8>,
    is_head: bool,
    end: End,
}

impl Case {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).to_ascii_lowercase()
    }

    fn has(&self, needle: &str) -> bool {
        self.text().contains(&needle.to_ascii_lowercase())
    }

    fn count(&self, needle: &str) -> usize {
        self.text().matches(&needle.to_ascii_lowercase()).count()
    }

    /// Whether more than 16 hexadecimal digits stand together.
    fn has_long_number(&self) -> bool {
        self.bytes.windows(17).any(|window| window.iter().all(u8::is_ascii_hexdigit))
    }

    /// Whether a LF stands without its CR.
    fn has_bare_line_end(&self) -> bool {
        self.bytes.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
    }

    fn request(&self) -> &'static [u8] {
        if self.is_head { b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n" } else { b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" }
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let heads = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 \r\n",
        "HTTP/1.1 200\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n",
        "HTTP/1.1 404 Gone Fishing\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 999 Odd\r\n",
        "HTTP/1.1 099 Odd\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "ICY 200 OK\r\n",
    ];
    let framings = [
        ("content-length: 5\r\n", "hello"),
        ("content-length: 5\r\n", "hell"),
        ("content-length: 5\r\n", "hello, more"),
        ("content-length: 0\r\n", ""),
        ("content-length: 5\r\ncontent-length: 5\r\n", "hello"),
        ("content-length: 5, 5\r\n", "hello"),
        ("content-length: +5\r\n", "hello"),
        ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: Chunked\r\n", "5;a=b\r\nhello\r\n0\r\nA: 1\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n"),
        ("transfer-encoding: chunked\r\n", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "5 \r\nhello\r\n0\r\na: 1\r\nA: 2\r\n\r\nmore"),
        ("transfer-encoding: chunked\r\n", "5\nhello\n0\n\n"),
        ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\na: 1\r\n\na: 2\r\n\r\n"),
        ("content-length: 3\r\ntransfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("transfer-encoding: gzip\r\n", "hello"),
        ("transfer-encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("", "hello"),
        ("", ""),
        ("connection: close\r\n", "hello"),
        ("x-a : 1\r\ncontent-length: 5\r\n", "hello"),
        ("x-a: 1\r\n folded\r\ncontent-length: 5\r\n", "hello"),
        ("x-a: \u{1}\r\n", "hello"),
        ("x-a: 1\nx-b: 2\n", "hello"),
        ("set-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 5\r\n", "hello"),
        (":\r\n", ""),
        ("x-a\r\n", ""),
    ];
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for head in heads {
        corpus.extend(framings.iter().map(|(fields, body)| format!("{head}{fields}\r\n{body}").into_bytes()));
    }
    corpus.push("HTTP/1.1 100 Continue\r\n\r\n".repeat(40).into_bytes());
    corpus.push(format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x-a: 1\r\n".repeat(120)).into_bytes());
    corpus.push(format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "x".repeat(70_000)).into_bytes());
    corpus.push([&b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"[..], &[b'x'; 100_000]].concat());
    corpus.push(
        [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n"[..], &[b'x'; 100_000], b"\r\n0\r\n\r\n"]
            .concat(),
    );
    corpus
}

/// What mutations put in: what parsers trip over.
const TOKENS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b"0",
    b"f",
    b"-",
    b",",
    b"chunked",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=bytes.len().min(300));
        match random.u8(0..4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            1 if at < bytes.len() => drop(bytes.drain(at..(at + random.usize(1..8)).min(bytes.len()))),
            2 => drop(bytes.splice(at..at, TOKENS[random.usize(..TOKENS.len())].iter().copied())),
            _ => bytes.truncate(at.max(12)),
        }
    }
}

/// Cuts a stream at random places; an empty part is a pause.
fn split(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    let longest = [1, 5, 50, 100_000][random.usize(..4)].max(rest.len() / 200);
    while !rest.is_empty() {
        if random.u8(..4) == 0 {
            parts.push(Vec::new());
        }
        let (part, after) = rest.split_at(random.usize(1..=longest).min(rest.len()));
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

#[test]
fn hyper_and_we_read_the_same_answers() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let corpus = corpus();
    let mut cases: Vec<Case> = Vec::new();
    for (number, bytes) in corpus.iter().enumerate() {
        let end = if number % 3 == 0 { End::Reset } else { End::Close };
        cases.extend([false, true].map(|is_head| Case { bytes: bytes.clone(), is_head, end }));
    }
    for _ in 0..MUTATIONS {
        let mut bytes = random.choice(&corpus).unwrap().clone();
        mutate(&mut bytes, &mut random);
        let end = if random.bool() { End::Close } else { End::Reset };
        cases.push(Case { bytes, is_head: random.u8(..8) == 0, end });
    }
    let mut met: BTreeMap<&str, u32> = BTreeMap::new();
    let mut unmeant = Vec::new();
    run(async {
        for case in &cases {
            let parts = split(&case.bytes, &mut random);
            let hyper = by_hyper(case.request(), Script::new(parts.clone(), case.end)).await;
            let ours = by_us(case.request(), Script::new(parts, case.end)).await;
            if ours != hyper {
                let meant = DIFFERENCES.iter().find(|(_, _, applies)| applies(case, &ours, &hyper));
                let Some((name, ..)) = meant else {
                    unmeant.push(format!(
                        "{:?}\nends by {:?}\nhyper: {hyper:?}\nours: {ours:?}",
                        case.text(),
                        case.end
                    ));
                    continue;
                };
                *met.entry(name).or_default() += 1;
            }
        }
    });
    assert!(
        unmeant.is_empty(),
        "seed {seed}: {} differences, such as\n{}",
        unmeant.len(),
        unmeant[..unmeant.len().min(5)].join("\n")
    );
    for (name, reason, _) in DIFFERENCES {
        assert!(met.contains_key(name), "no case shows {name} ({reason}); met: {met:?}");
    }
}
