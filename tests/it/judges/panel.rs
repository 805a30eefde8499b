//! Four parsers read what an origin received: all of them must see the same requests in it.
//!
//! llhttp twice (in httptools and in node), h11 and http-parser-js. Where two of them differ, an origin and whatever
//! stands before it could differ too, and that is how requests are smuggled.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Deserialize;

use super::{Judge, node, python};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

/// A request as one parser read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Reading {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case, bytes above ASCII as Latin-1.
    pub(crate) fields: Vec<(String, String)>,
    /// In hexadecimal.
    pub(crate) body: String,
    trailers: Vec<(String, String)>,
}

/// What one parser made of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Readings {
    requests: Vec<Reading>,
    /// `whole`, `cut`, `upgraded`, or an error.
    end: String,
}

/// A process in which two of the parsers run, with its pipes.
struct Asked {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    _judge: Judge,
}

impl Asked {
    fn start(mut command: std::process::Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut judge = Judge::start(command);
        let questions = judge.0.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(judge.0.stdout.take().expect("stdout is piped"));
        Self { questions, answers, _judge: judge }
    }

    fn ask(&mut self, line: &str) -> BTreeMap<String, Readings> {
        self.questions.write_all(line.as_bytes()).expect("the parsers' process lives; run `make tools` if it cannot");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }
}

/// Started with the first question; the processes end with the test's, when their stdin does.
static PANEL: OnceLock<Mutex<[Asked; 2]>> = OnceLock::new();

fn ask(stream: &[u8]) -> BTreeMap<String, Readings> {
    let start = || Mutex::new([Asked::start(python("parsers.py")), Asked::start(node("parsers.js"))]);
    let mut panel = PANEL.get_or_init(start).lock().unwrap_or_else(PoisonError::into_inner);
    let mut line: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
    line.push('\n');
    let readings: BTreeMap<_, _> = panel.iter_mut().flat_map(|asked| asked.ask(&line)).collect();
    assert_eq!(readings.len(), 4, "{readings:?}");
    readings
}

/// What all four read in a stream that an origin received.
///
/// # Errors
/// Where they differ, or one of them finds the stream malformed.
pub(crate) fn judge(stream: &[u8]) -> Result<Vec<Reading>, String> {
    let mut readings = ask(stream).into_iter();
    let (first, common) = readings.next().expect("four of them");
    let shown = || String::from_utf8_lossy(stream).into_owned();
    if !["whole", "cut", "upgraded"].contains(&&*common.end) {
        return Err(format!("{first}: {} in {:?}", common.end, shown()));
    }
    for (name, other) in readings {
        if other.end != common.end {
            return Err(format!("{first}: {}, {name}: {} in {:?}", common.end, other.end, shown()));
        }
        let differing = other.requests.iter().zip(&common.requests).find(|(other, common)| other != common);
        if let Some((other, common)) = differing {
            return Err(format!("{name} reads {other:?}\n{first} reads {common:?}\nin {:?}", shown()));
        }
        if other.requests.len() != common.requests.len() {
            return Err(format!("{name} and {first} read different numbers of requests in {:?}", shown()));
        }
    }
    match common.requests.iter().find(|request| !request.is_framed_once()) {
        Some(doubly) => Err(format!("framed twice: {doubly:?}")),
        None => Ok(common.requests),
    }
}

impl Reading {
    /// Whether what frames the body is said once at most, as rule F16 asks.
    fn is_framed_once(&self) -> bool {
        let framing = |name: &str| name == "content-length" || name == "transfer-encoding";
        self.fields.iter().filter(|(name, _)| framing(name)).count() <= 1
    }
}

/// A router that forwards the methods which all four know; each has a list, and the lists differ.
pub(crate) fn router(origin: &Origin) -> Router {
    let methods = "[DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT]";
    let routes = format!(
        "upstreams:\n  one: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\", methods: {methods}}}, upstream: one}}\n",
        origin.address
    );
    Setup::routes(routes).start()
}

/// What all four read on all connections of an origin, one after the other.
///
/// # Panics
/// When they differ, or when one of them finds a stream malformed.
pub(crate) fn read_alike(streams: &[Vec<u8>]) -> Vec<Reading> {
    streams.iter().flat_map(|stream| judge(stream).unwrap_or_else(|difference| panic!("{difference}"))).collect()
}

#[test]
fn the_panel_sees_where_parsers_differ() {
    let stream = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    let clean = judge(stream).unwrap();
    assert_eq!(clean.iter().map(|reading| &*reading.target).collect::<Vec<_>>(), ["/a", "/b"]);
    assert_eq!(clean[0].body, "6f6b");
    for differing in [
        "GET / HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\nok",
        "GET / HTTP/1.1\nhost: a\n\n",
    ] {
        assert!(judge(differing.as_bytes()).is_err(), "{differing:?}");
    }
}
