//! Owns what is particular to heads of HTTP/2 streams, from clients and to them (RFC 9113 section 8, rules H8 and H9).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version, response};

use super::request::{Admitted, BodyKind, judge};
use super::seen::Seen;
use super::{Policy, names};
use crate::fault::Fault;
use crate::limits::Limits;

/// What a stream says about its request beside the head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stream<'r> {
    /// Nothing follows the head (END_STREAM).
    pub ends: bool,
    /// The protocol of an extended CONNECT (RFC 8441).
    pub protocol: Option<&'r str>,
}

/// Judges the request head of a stream; see [`super::request::admit`].
///
/// The h2 crate resets most of what is malformed before it gets here; this does not rely on it.
///
/// # Errors
/// As there.
pub fn admit<'r>(
    parts: &'r Parts,
    stream: Stream<'_>,
    limits: &Limits,
    policy: &Policy,
) -> Result<Admitted<'r>, Fault> {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let is_target = path.starts_with('/') || (path == "*" && parts.method == Method::OPTIONS);
    let is_connect = parts.method == Method::CONNECT;
    if !is_connect && (!is_target || stream.protocol.is_some()) {
        return Err(Fault::RequestMalformed);
    }
    judge(parts, Some(stream), limits, policy)
}

/// How the body of a stream's request is framed; `None` where the head contradicts the stream.
pub(super) fn framing(method: &Method, stream: Stream<'_>, length: Option<u64>) -> Option<BodyKind> {
    match length {
        _ if stream.protocol.is_some() => (!stream.ends && length.is_none()).then_some(BodyKind::None),
        Some(1..) if stream.ends => None,
        Some(bytes) => Some(BodyKind::Sized(bytes)),
        None if !stream.ends => Some(BodyKind::Chunked),
        // A server must not wait for what a method usually brings (RFC 9110 section 8.6).
        None if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => Some(BodyKind::Sized(0)),
        None => Some(BodyKind::None),
    }
}

/// Whether a field means something for one connection only, which HTTP/2 has other ways to say.
pub(super) fn is_connection_specific(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => true,
        header::TE => value != "trailers",
        _ => *name == names::KEEP_ALIVE || *name == names::PROXY_CONNECTION,
    }
}

/// Makes one `Cookie` of the crumbs that HTTP/2 allows (RFC 9113 section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap, seen: Seen) {
    if !seen.has(Seen::COOKIES) {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(header::COOKIE, joined);
    }
}

/// Rewrites a response head that was prepared for HTTP/1.1 for a stream.
///
/// What a switch of protocols is to HTTP/1.1, 200 to an extended CONNECT is to HTTP/2 (RFC 8441 section 5).
pub fn prepare_response(parts: &mut response::Parts) {
    parts.version = Version::HTTP_2;
    // Only a switch still has fields of one connection: the others have lost theirs.
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        parts.status = StatusCode::OK;
        for name in [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT] {
            parts.headers.remove(name);
        }
    }
}
