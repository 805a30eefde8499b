//! HTTP/1.1 towards upstreams: a response reads the same however it arrives, and what is written reads as meant.

use banyan::forward::wire::chunks::{Chunk, ChunkDecoder, LAST_CHUNK, write_size, write_trailers};
use banyan::forward::wire::request::{RequestFraming, write_head};
use banyan::forward::wire::response::{ResponseFraming, ResponseHead, ends_head, parse_head};
use banyan::head::Added;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};

/// What a response head is compared by.
type Shown = (u16, HeaderMap, ResponseFraming, bool, usize);

fn parse(received: &Bytes, answers_head: bool) -> Result<Option<Shown>, ()> {
    let shown = |head: ResponseHead| (head.status.as_u16(), head.headers, head.framing, head.keep_alive, head.bytes);
    parse_head(received, answers_head, &mut HeaderMap::new()).map(|head| head.map(shown)).map_err(drop)
}

/// The bytes are a response from an upstream.
pub(super) fn response(data: &[u8]) {
    let received = Bytes::copy_from_slice(data);
    for answers_head in [false, true] {
        let Ok(Some(head)) = parse(&received, answers_head) else { continue };
        let (_, fields, framing, _, bytes) = &head;
        assert!(*bytes <= data.len() && ends_head(&data[..*bytes], bytes - 1), "{head:?}");
        assert_eq!(
            parse(&received.slice(..*bytes), answers_head),
            Ok(Some(head.clone())),
            "what follows is no part of it"
        );
        for cut in 0..*bytes {
            assert_eq!(parse(&received.slice(..cut), answers_head), Ok(None), "cut at {cut}: {head:?}");
        }
        assert_framed(fields, *framing, answers_head);
        if *framing == ResponseFraming::Chunked {
            chunked(&data[*bytes..]);
        }
    }
}

/// A head with two readings of its length has none.
fn assert_framed(fields: &HeaderMap, framing: ResponseFraming, answers_head: bool) {
    let chunked = fields.contains_key(http::header::TRANSFER_ENCODING);
    let lengths = fields.get_all(http::header::CONTENT_LENGTH).iter().count();
    match framing {
        ResponseFraming::None => {}
        ResponseFraming::Length(_) => assert!(lengths == 1 && !chunked && !answers_head, "{fields:?}"),
        ResponseFraming::Chunked => assert!(chunked && !answers_head, "{fields:?}"),
        ResponseFraming::UntilClose => assert!(lengths == 0 && !chunked && !answers_head, "{fields:?}"),
    }
}

/// How a chunked body reads: its data and trailers with the bytes that it took, or that it is malformed or cut.
#[derive(Debug, PartialEq, Eq)]
enum Decoded {
    Whole(Vec<u8>, Option<HeaderMap>, usize),
    Cut(Vec<u8>),
    Malformed,
}

/// Decodes a body that arrives in parts of so many bytes.
fn decode(body: &[u8], part_bytes: usize) -> Decoded {
    let (mut decoder, mut data) = (ChunkDecoder::default(), Vec::new());
    let mut used = 0;
    for part in body.chunks(part_bytes) {
        let mut received = Bytes::copy_from_slice(part);
        loop {
            let before = received.len();
            let decoded = decoder.decode(&mut received);
            used += before - received.len();
            match decoded {
                Err(_) => return Decoded::Malformed,
                Ok(None) => break,
                Ok(Some(Chunk::Data(bytes))) => data.extend_from_slice(&bytes),
                Ok(Some(Chunk::Trailers(fields))) => return Decoded::Whole(data, Some(fields), used),
                Ok(Some(Chunk::End)) => return Decoded::Whole(data, None, used),
            }
        }
        assert!(received.is_empty(), "nothing stays behind");
    }
    assert!(!decoder.is_over());
    Decoded::Cut(data)
}

/// The bytes are a chunked body.
pub(super) fn chunked(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    for part_bytes in [1, 2, 3, 7, 64] {
        assert_eq!(decode(data, part_bytes), whole, "parts of {part_bytes}");
    }
    let Decoded::Whole(body, trailers, used) = whole else { return };
    assert!(body.len() < data.len() && used <= data.len());
    let mut written = Vec::new();
    for part in body.chunks(1_000) {
        write_size(part.len(), &mut written);
        written.extend_from_slice(part);
        written.extend_from_slice(b"\r\n");
    }
    match &trailers {
        Some(fields) => write_trailers(fields, &mut written),
        None => written.extend_from_slice(LAST_CHUNK),
    }
    let bytes = written.len();
    assert_eq!(decode(&written, bytes), Decoded::Whole(body, trailers, bytes), "what is written reads the same");
}

/// A prepared head must stand on the wire as it stands in the map: a line for each field, and nothing between.
pub(super) fn assert_written(sent: &http::request::Parts, framing: RequestFraming) {
    let mut written = Vec::new();
    write_head(sent, &Added::default(), framing, &mut written);
    let text = String::from_utf8_lossy(&written).into_owned();
    let head = text.strip_suffix("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let mut lines = head.split("\r\n");
    let target = sent.uri.path_and_query().map_or("/", |target| target.as_str());
    assert_eq!(lines.next(), Some(&*format!("{} {target} HTTP/1.1", sent.method)));
    let names: Vec<&str> = lines.map(|line| line.split(':').next().unwrap_or_default()).collect();
    let fields: Vec<&str> = sent.headers.iter().map(|(name, _)| HeaderName::as_str(name)).collect();
    assert_eq!(names, fields, "{text:?}");
    assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
}
