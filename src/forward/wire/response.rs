//! Owns the reading of response heads: what is a head, how its body is framed, whether another may follow.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use super::Malformed;

/// The largest response head in bytes; a larger one is malformed.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most fields of a response head.
const FIELDS_MAX: usize = 256;

/// How the body of a response is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, with or without trailers.
    Chunked,
    /// All until the connection ends.
    UntilClose,
}

/// A response head as read.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status, 100 to 999.
    pub status: StatusCode,
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// The fields; their values share the memory of what was received.
    pub headers: HeaderMap,
    /// The reason phrase where it is not the usual one.
    pub reason: Option<Bytes>,
    /// How the body is framed; an interim head (1xx) has none.
    pub framing: ResponseFraming,
    /// Whether the connection may carry another exchange after this one.
    pub keep_alive: bool,
    /// How many of the received bytes it took.
    pub bytes: usize,
}

/// Reads a response head from what has been received so far; `None` while it is incomplete.
///
/// `answers_head` says that the request was a HEAD. The fields go into `headers`, a map to use again, which must be empty.
///
/// # Errors
/// When it is no head, has two readings, or is larger than [`HEAD_BYTES_MAX`].
pub fn parse_head(
    received: &Bytes,
    answers_head: bool,
    headers: &mut HeaderMap,
) -> Result<Option<ResponseHead>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, received, &mut fields);
    let bytes = match status {
        Ok(httparse::Status::Complete(bytes)) if bytes <= HEAD_BYTES_MAX => bytes,
        Ok(httparse::Status::Partial) if received.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => return Err(Malformed("a head that is too large")),
        Err(_) => return Err(Malformed("no response head")),
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or(0)).map_err(|_| Malformed("no such status"))?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut notes = Notes::default();
    headers.reserve(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed("a field name"))?;
        let value = HeaderValue::from_maybe_shared(received.slice_ref(field.value));
        let value = value.map_err(|_| Malformed("a field value"))?;
        notes.field(&name, &value);
        headers.try_append(name, value).map_err(|_| Malformed("too many fields"))?;
    }
    let reason = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason));
    Ok(Some(ResponseHead {
        status,
        version,
        headers: std::mem::take(headers),
        reason: reason.map(|reason| received.slice_ref(reason.as_bytes())),
        framing: notes.framing(status, version, answers_head)?,
        keep_alive: notes.keep_alive(version),
        bytes,
    }))
}

/// Whether the blank line that ends a head is among the bytes from `from` on; it may begin up to three bytes before.
pub fn ends_head(received: &[u8], from: usize) -> bool {
    let tail = &received[from.saturating_sub(3)..];
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// What the fields say about the body and the connection.
#[derive(Default)]
struct Notes {
    length: Option<u64>,
    bad_length: bool,
    is_chunked: bool,
    bad_coding: bool,
    close: bool,
    stay: bool,
}

impl Notes {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        match *name {
            header::CONTENT_LENGTH => {
                let length = length_of(value.as_bytes());
                self.bad_length |= self.length.is_some() || length.is_none();
                self.length = length;
            }
            header::TRANSFER_ENCODING => {
                self.bad_coding |= self.is_chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked");
                self.is_chunked = true;
            }
            header::CONNECTION => {
                for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.stay |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
    }

    /// RFC 9112 section 6.3, without its repairs: what may be read in two ways is malformed.
    fn framing(&self, status: StatusCode, version: Version, answers_head: bool) -> Result<ResponseFraming, Malformed> {
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if self.bad_length && !self.is_chunked {
            return Err(Malformed("Content-Length"));
        }
        if answers_head || bodiless || status.is_informational() {
            return Ok(ResponseFraming::None);
        }
        if self.is_chunked {
            // We never asked for another coding, and HTTP/1.0 has none.
            let known = !self.bad_coding && version == Version::HTTP_11;
            return if known { Ok(ResponseFraming::Chunked) } else { Err(Malformed("Transfer-Encoding")) };
        }
        Ok(self.length.map_or(ResponseFraming::UntilClose, ResponseFraming::Length))
    }

    /// A length beside chunks is how responses are smuggled: nothing is read behind such an answer.
    fn keep_alive(&self, version: Version) -> bool {
        let wanted = !self.close && (self.stay || version == Version::HTTP_11);
        wanted && !(self.is_chunked && (self.length.is_some() || self.bad_length))
    }
}

/// Digits only, within 63 bits.
fn length_of(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| i64::try_from(*number).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Option<ResponseHead>, Malformed> {
        parse_head(&Bytes::from_static(text.as_bytes()), false, &mut HeaderMap::new())
    }

    fn framing(fields: &str, answers_head: bool) -> Result<ResponseFraming, Malformed> {
        let text = Bytes::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        parse_head(&text, answers_head, &mut HeaderMap::new()).map(|head| head.unwrap().framing)
    }

    #[test]
    fn a_head_is_read_with_its_reason_and_rest() {
        let head = parse("HTTP/1.1 200 Fine\r\nA: 1\r\na:  2 \r\nContent-Length: 3\r\n\r\nabc").unwrap().unwrap();
        assert_eq!((head.status, head.bytes), (StatusCode::OK, 54));
        assert_eq!(head.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.reason.as_deref(), Some(&b"Fine"[..]));
        assert_eq!((head.framing, head.keep_alive), (ResponseFraming::Length(3), true));
        assert!(parse("HTTP/1.1 200 OK\r\nA: 1\r\n").unwrap().is_none());
    }

    #[test]
    fn framing_follows_the_fields() {
        assert_eq!(framing("", false), Ok(ResponseFraming::UntilClose));
        assert_eq!(framing("transfer-encoding: Chunked\r\n", false), Ok(ResponseFraming::Chunked));
        assert_eq!(framing("content-length: 3\r\n", true), Ok(ResponseFraming::None));
        for fields in [
            "content-length: +3",
            "content-length:",
            "content-length: 3, 3",
            "content-length: 3\r\ncontent-length: 3",
            "content-length: 9223372036854775808",
            "transfer-encoding: gzip",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            assert!(framing(&format!("{fields}\r\n"), false).is_err(), "{fields}");
        }
        assert_eq!(
            framing("content-length: 9223372036854775807\r\n", false),
            Ok(ResponseFraming::Length(u64::MAX / 2))
        );
    }

    #[test]
    fn the_connection_stays_only_where_both_agree() {
        let keeps = |line: &str, fields: &str| {
            let text = Bytes::from(format!("{line} 200 OK\r\n{fields}\r\n"));
            parse_head(&text, false, &mut HeaderMap::new()).unwrap().unwrap().keep_alive
        };
        assert!(keeps("HTTP/1.1", "content-length: 1\r\n"));
        assert!(!keeps("HTTP/1.1", "connection: keep-alive, close\r\n"));
        assert!(!keeps("HTTP/1.0", "content-length: 1\r\n"));
        assert!(keeps("HTTP/1.0", "connection: Keep-Alive\r\n"));
        assert!(!keeps("HTTP/1.1", "content-length: 1\r\ntransfer-encoding: chunked\r\n"));
    }

    #[test]
    fn the_end_of_a_head_is_found_across_parts() {
        let text = b"HTTP/1.1 200 OK\r\na: 1\r\n\r\n";
        for from in text.len() - 4..text.len() {
            assert!(ends_head(text, from));
            assert!(!ends_head(&text[..from], 0));
        }
        assert!(ends_head(b"HTTP/1.1 200 OK\na: 1\n\n", 0));
    }

    #[test]
    fn a_head_has_bounds() {
        let endless = Bytes::from([b"HTTP/1.1 200 OK\r\na: ", &[b'x'; HEAD_BYTES_MAX][..]].concat());
        assert!(parse_head(&endless, false, &mut HeaderMap::new()).is_err());
        let many = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(FIELDS_MAX + 1)));
        assert!(parse_head(&many, false, &mut HeaderMap::new()).is_err());
    }
}
