//! http_desync_guardian's cases: what its authors call ambiguous or severe does not pass as it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::panel;
use crate::support::{Origin, Router};

/// Cases of the crate's 0.1.3; fewer would mean that the reader skips some.
const CASES: usize = 159;

/// The crate's files, and how it judges each case.
#[derive(Debug, Deserialize)]
struct Written {
    name: String,
    uri: Scalar,
    method: Scalar,
    version: Scalar,
    headers: Option<Vec<WrittenField>>,
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct WrittenField {
    name: Scalar,
    value: Scalar,
}

#[derive(Debug, Deserialize)]
struct Expected {
    tier: Tier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Tier {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

/// The files write lengths as numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(i64),
    Text(String),
}

impl Scalar {
    /// The bytes that are meant: one for each character, after the escapes that the crate adds to YAML's.
    fn bytes(&self) -> Vec<u8> {
        let text = match self {
            Self::Number(number) => return number.to_string().into_bytes(),
            Self::Text(text) => text,
        };
        let mut characters = text.chars();
        let mut bytes = Vec::new();
        while let Some(character) = characters.next() {
            let escape = if character == '\\' { characters.next() } else { None };
            let meant = match escape {
                None => character,
                Some('x') => {
                    let digits: String = characters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).expect("two hexadecimal digits").into()
                }
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
            };
            match u8::try_from(u32::from(meant)) {
                Ok(byte) => bytes.push(byte),
                Err(_) => bytes.extend(meant.to_string().bytes()),
            }
        }
        bytes
    }
}

/// One case as bytes.
struct Case {
    name: String,
    tier: Tier,
    head: Vec<u8>,
    /// What a well-meaning sender would let follow.
    body: Vec<u8>,
}

impl Case {
    fn new(file: &str, written: &Written) -> Self {
        let mut head = [written.method.bytes(), b" ".to_vec(), written.uri.bytes()].concat();
        let version = written.version.bytes();
        if !version.is_empty() {
            head.push(b' ');
            head.extend(version);
        }
        head.extend(b"\r\n");
        let fields: Vec<_> =
            written.headers.iter().flatten().map(|field| (field.name.bytes(), field.value.bytes())).collect();
        // Most have none, and would be refused for that alone.
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
            head.extend(b"Host: a.example\r\n");
        }
        let mut body = Vec::new();
        for (name, value) in &fields {
            head.extend([name, &b": "[..], value, b"\r\n"].concat());
            match std::str::from_utf8(value).ok().and_then(|value| value.trim().parse::<usize>().ok()) {
                Some(length) if name.eq_ignore_ascii_case(b"content-length") => {
                    body = vec![b'x'; length.min(BODY_BYTES_MAX)]
                }
                None if name.eq_ignore_ascii_case(b"transfer-encoding") => body = LAST_CHUNK.to_vec(),
                _ => {}
            }
        }
        head.extend(b"\r\n");
        Self { name: format!("{file}: {}", written.name), tier: written.expected.tier, head, body }
    }
}

/// The largest body of a compliant case; others promise what nobody can send.
const BODY_BYTES_MAX: usize = 4_000_000;
/// Longer requests take time and show nothing more when they are mutated.
const MUTABLE_BYTES_MAX: usize = 20_000;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const BEHIND: &[u8] = b"GET /behind HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Reads the cases where cargo put the crate that carries them.
fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(crate_folder().join("tests"))
        .expect("the crate's cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a file of cases");
        let written: Vec<Written> = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let file = path.file_stem().expect("a name").to_string_lossy().into_owned();
        written.iter().map(|written| Case::new(&file, written)).collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}

fn crate_folder() -> PathBuf {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo metadata");
    let package = metadata.packages.iter().find(|package| package.name == "http_desync_guardian");
    package.expect("the dependency").manifest_path.parent().expect("a folder").into()
}

/// The cases as whole requests, for whoever mutates them.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    cases()
        .into_iter()
        .map(|case| [case.head, case.body].concat())
        .filter(|case| case.len() < MUTABLE_BYTES_MAX)
        .collect()
}

/// Ambiguous by their tier, and yet passed on: what goes upstream has one reading, the reason says which.
const REWRITTEN: &[(&str, &str)] = &[
    ("ambiguous: Both Transfer-Encoding:chunked and Content-Length", CHUNKED_WINS),
    ("ambiguous: Duplicate Content-Length", SENT_ONCE),
    ("ambiguous: Get with a body and Content-Length", BODY_OF_ANY_METHOD),
    ("ambiguous: Get with a body and Transfer-Encoding", BODY_OF_ANY_METHOD),
    ("ambiguous: Head with a body and Content-Length", BODY_OF_ANY_METHOD),
    ("ambiguous: Head with a body and Transfer-Encoding", BODY_OF_ANY_METHOD),
    ("ambiguous: Transfer-Encoding with multiple delimiters", "the field is removed, as all with an underscore"),
    ("ambiguous: Transfer-Encoding with multiple hyphens", "a token of its own that no parser takes for another"),
    ("real-life-test-cases: Chunks Priority on Content-Length", CHUNKED_WINS),
    ("real-life-test-cases: Chunks Priority on Content-Length.1", CHUNKED_WINS),
    ("real-life-test-cases: Has a CL in GET", BODY_OF_ANY_METHOD),
    ("real-life-test-cases: Has a TE in GET", BODY_OF_ANY_METHOD),
    ("real-life-test-cases: Send small (1614 bytes) request, transfer encoded request", CHUNKED_WINS),
    ("real-life-test-cases: Two Identical Fields - CL", SENT_ONCE),
    ("single-case: Both Transfer-Encoding:chunked and Content-Length", CHUNKED_WINS),
];

const CHUNKED_WINS: &str = "chunked wins, the length is not sent on, the connection closes (F3)";
const SENT_ONCE: &str = "equal lengths are sent as one (F2)";
const BODY_OF_ANY_METHOD: &str = "a body belongs to its request whatever the method, framed by one field (F16)";

/// Compliant by their tier, and yet refused.
const REFUSED: &[(&str, &str)] = &[
    ("more-compliant-tests: Correct TE OK", ONLY_CHUNKED),
    ("more-compliant-tests: Multiple transfer encoding headers in a single request OK", ONLY_CHUNKED),
    ("more-compliant-tests: TE with custom parameters OK", ONLY_CHUNKED),
    ("more-compliant-tests: Transfer-Encoding: identity and chunked OK", ONLY_CHUNKED),
    ("rfc-compliant: Different Transfer-Encoding headers", ONLY_CHUNKED),
    ("rfc-compliant: Different Transfer-Encoding headers combined", ONLY_CHUNKED),
    ("rfc-compliant: Empty URI", "a request line without a target is malformed (F11)"),
    ("rfc-compliant: International in URI", "raw bytes above ASCII are no part of a target (H7)"),
    ("rfc-compliant: Transfer-Encoding with a param: chunked;custom_param", ONLY_CHUNKED),
    ("uri-specific-test-cases: %0A in URI is OK", LINE_END),
    ("uri-specific-test-cases: %0D in URI is OK", LINE_END),
];

const ONLY_CHUNKED: &str = "a transfer coding is one `chunked` and nothing else (F4)";
const LINE_END: &str = "an escaped line end in a path splits the heads of careless upstreams (H7)";

#[test]
fn ambiguous_requests_do_not_pass_and_compliant_ones_do() {
    let origin = Origin::answering(b"HTTP/1.1 204 No Content\r\n\r\n");
    let router = Router::to(origin.address);
    let cases = cases();
    assert_eq!(cases.len(), CASES);
    let (mut rewritten, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for case in &cases {
        let before = origin.requests().len();
        for tail in [&case.body[..], b"", LAST_CHUNK] {
            let mut wire = router.connect();
            wire.send(&case.head).send(tail).send(BEHIND).half_close();
            wire.rest();
        }
        let passes = origin.requests_after(before).iter().any(|request| request.target() != "/behind");
        match case.tier {
            Tier::Compliant if !passes => refused.insert(&*case.name),
            Tier::Ambiguous if passes => rewritten.insert(&*case.name),
            Tier::Severe => {
                assert!(!passes, "{}", case.name);
                continue;
            }
            // What is merely acceptable may pass or not.
            _ => continue,
        };
    }
    assert_eq!(rewritten, REWRITTEN.iter().map(|(name, _)| *name).collect());
    assert_eq!(refused, REFUSED.iter().map(|(name, _)| *name).collect());
    panel::read_alike(&origin.streams());
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}
