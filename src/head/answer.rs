//! Owns the answers that the router gives by itself; nothing that a client sent is echoed in them.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::names;
use crate::fault::Fault;

/// The methods in `Allow`: all that are forwarded for a reason we know; others pass too.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What happens to the connection after an answer of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The request was read to its end.
    KeepOpen,
    /// Part of the request is unread, or its end is unknown (F17).
    Close,
}

/// Makes the answer for a fault: status, `Proxy-Status` (RFC 9209) and one line of text.
///
/// [`Fault::ClientGone`] has nobody to answer; its 499 is for the log only and must not be sent.
pub fn fault(fault: Fault, request_id: &str, afterwards: Afterwards) -> Response<Bytes> {
    let status = fault.status();
    let reason = status.canonical_reason().unwrap_or("Error");
    let details = explain(fault);
    let mut response =
        Response::new(Bytes::from(format!("{} {reason}: {details} (request {request_id})\n", status.as_u16())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // A cache must not keep a 404 or 405 of ours beyond the edit that mends it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let proxy_status = format!("banyan; error={}; details=\"{details}\"", fault.proxy_error());
    if let Ok(value) = HeaderValue::from_str(&proxy_status) {
        headers.insert(names::PROXY_STATUS, value);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, ALLOW);
    }
    close(&mut response, afterwards);
    response
}

/// Answers an OPTIONS request whose `Max-Forwards` is spent (RFC 9110 section 7.6.2).
pub fn options(afterwards: Afterwards) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, ALLOW);
    close(&mut response, afterwards);
    response
}

fn close(response: &mut Response<Bytes>, afterwards: Afterwards) {
    if afterwards == Afterwards::Close {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Says in a few words what happened, for people.
pub const fn explain(fault: Fault) -> &'static str {
    match fault {
        Fault::RequestMalformed => "the request is malformed or ambiguous",
        Fault::PathAmbiguous => "the path can be read in two ways, or hides a control character",
        Fault::UriTooLong => "the request target is too long",
        Fault::HeadTooLarge => "the request header fields are too large",
        Fault::BodyTooLarge => "the request body is larger than this route allows",
        Fault::ClientTimeout => "the request took too long to arrive",
        Fault::ClientGone => "the client closed the connection",
        Fault::RequestBodyBroken => "the request body is incomplete or malformed",
        Fault::MethodRefused => "the method is not forwarded, or not for this path",
        Fault::ExpectationFailed => "only 100-continue can be expected",
        Fault::Misdirected => "the host is not served on this connection; ask on a new one",
        Fault::NoRoute => "no route matches the request",
        Fault::Loop => "the request has passed here before",
        Fault::LimitReached => "a limit of the router is reached",
        Fault::NotKept => "the write could not be kept for its copy",
        Fault::Drained => "the router ended",
        Fault::Internal => "the router failed",
        Fault::DnsError => "the upstream's name has no address",
        Fault::Unavailable => "no endpoint of the upstream is healthy",
        Fault::ConnectRefused => "the upstream refused the connection",
        Fault::ConnectTimeout => "the upstream did not accept the connection in time",
        Fault::TlsCertificate => "the upstream's certificate is not to be trusted",
        Fault::TlsHandshake => "TLS with the upstream failed",
        Fault::ResponseTimeout => "the upstream did not answer in time",
        Fault::ConnectionTerminated => "the upstream closed the connection before it answered",
        Fault::ResponseMalformed => "the upstream sent an invalid response",
        Fault::ResponseIncomplete => "the upstream cut its response short",
        Fault::ResponseStalled => "the upstream stalled in its response",
    }
}
