//! Owns the writing of request heads: what stands in the header map, one framing field, CRLF.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;

use crate::head::Added;

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, with or without trailers.
    Chunked,
}

impl RequestFraming {
    /// Reads the framing off an admitted head; a body without a length goes in chunks.
    ///
    /// The header layer has left at most one framing field, in our spelling; chunked wins all the same.
    pub fn of(headers: &HeaderMap, has_body: bool) -> Self {
        let mut length = None;
        // One walk costs less than two look-ups in a map of the usual size.
        for (name, value) in headers {
            match *name {
                TRANSFER_ENCODING => return Self::Chunked,
                CONTENT_LENGTH if length.is_none() => length = value.to_str().ok().and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
        match length {
            Some(bytes) => Self::Length(bytes),
            None if has_body => Self::Chunked,
            None => Self::None,
        }
    }
}

/// Appends a head in HTTP/1.1 to `out`: the target in origin form (`*` for a bare OPTIONS), names in lower case, the
/// `added` fields last.
///
/// Framing fields that contradict `framing` are left out, and the one that it needs is added (rule F16).
pub fn write_head(parts: &Parts, added: &Added, framing: RequestFraming, out: &mut Vec<u8>) {
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    match parts.uri.path_and_query() {
        Some(target) => out.extend_from_slice(target.as_str().as_bytes()),
        None => out.push(b'/'),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut framed = false;
    for (name, value) in &parts.headers {
        if is_framing(name) {
            let fits = match framing {
                RequestFraming::Chunked => *name == TRANSFER_ENCODING,
                _ => *name == CONTENT_LENGTH,
            };
            if !fits || std::mem::replace(&mut framed, true) {
                continue;
            }
        }
        write_field(name, value.as_bytes(), out);
    }
    for (name, value) in added.iter() {
        write_field(name, value.as_bytes(), out);
    }
    if framing == RequestFraming::Chunked && !framed {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn is_framing(name: &HeaderName) -> bool {
    matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING)
}

/// Appends one field line.
pub(super) fn write_field(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn written(request: Request<()>, has_body: bool) -> String {
        let (parts, ()) = request.into_parts();
        let mut out = Vec::new();
        write_head(&parts, &Added::default(), RequestFraming::of(&parts.headers, has_body), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_is_written_in_its_order() {
        let request = Request::get("/a%2Fb?c").header("host", "x").header("a", "1").header("b", "2").header("a", "3");
        let text = written(request.body(()).unwrap(), false);
        assert_eq!(text, "GET /a%2Fb?c HTTP/1.1\r\nhost: x\r\na: 1\r\na: 3\r\nb: 2\r\n\r\n");
        let options = Request::options("*").header("host", "x").body(()).unwrap();
        assert!(written(options, false).starts_with("OPTIONS * HTTP/1.1\r\n"));
    }

    #[test]
    fn a_body_without_a_length_goes_in_chunks() {
        let request = || Request::post("/").header("host", "x");
        assert!(written(request().body(()).unwrap(), true).ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert!(written(request().body(()).unwrap(), false).ends_with("host: x\r\n\r\n"));
    }

    #[test]
    fn only_one_framing_field_is_written() {
        let request = Request::post("/").header("content-length", "5").header("transfer-encoding", "chunked");
        let text = written(request.body(()).unwrap(), true);
        assert_eq!(text, "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
        let request = Request::post("/").header("content-length", "5").header("content-length", "6");
        assert_eq!(written(request.body(()).unwrap(), true), "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n");
    }
}
