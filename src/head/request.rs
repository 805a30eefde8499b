//! Owns the judgement of a request head: refused as ambiguous, or admitted with what it amounts to.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Version};

use super::host::HostPort;
use super::http2;
use super::policy::{Peer, Policy};
pub use super::prepare::prepare;
use super::scan::Scan;
use super::seen::Seen;
use crate::fault::Fault;
use crate::limits::Limits;

/// A request head that may be forwarded.
#[derive(Debug)]
pub struct Admitted<'r> {
    /// Lower case, without port and trailing dot, IPv6 in brackets; empty for HTTP/1.0 without a Host.
    pub host: Cow<'r, str>,
    /// The one `host[:port]` of the request as written: the target's, else the Host field's.
    pub authority: &'r str,
    /// What else the head amounts to; outlives the borrow of the head.
    pub facts: Facts,
}

/// What a request head amounts to. [`prepare`] needs it for the same head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How the body is framed.
    pub body: BodyKind,
    /// Whether the client asks for another protocol that may be forwarded.
    pub upgrade: Upgrade,
    /// The client waits for 100 (Continue) before it sends its body.
    pub expect_continue: bool,
    /// `Max-Forwards` is spent: the router answers by itself ([`super::answer::options`]).
    pub answer_here: bool,
    pub(super) max_forwards: Option<u32>,
    pub(super) seen: Seen,
}

/// How a request body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    None,
    /// So many bytes.
    Sized(u64),
    /// Chunks, with or without trailers.
    Chunked,
}

/// The protocol a request asks to switch to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// None that is ever forwarded; h2c and others are dropped as hop-by-hop.
    None,
    /// A well-formed WebSocket handshake (RFC 6455 section 4.1).
    WebSocket,
}

/// What [`prepare`] needs to know beside the head.
#[derive(Debug, Clone, Copy)]
pub struct ForwardContext<'c> {
    /// The process's policy.
    pub policy: &'c Policy,
    /// The client's end of the connection.
    pub peer: &'c Peer,
    /// The `Host` to send instead of the client's.
    pub host: Option<&'c HeaderValue>,
    /// The `Host` for an HTTP/1.0 request without one: the endpoint's authority.
    pub host_default: &'c str,
    /// Whether the route lets WebSockets through.
    pub websocket: bool,
    /// Makes random bytes for a new `traceparent`.
    pub random: fn() -> [u8; 24],
}

/// Judges a request head.
///
/// Whatever two readers could read differently is refused, never repaired.
///
/// # Errors
/// A fault of the client, or [`Fault::Loop`]. The connection must be closed after the answer unless its body was read.
pub fn admit<'r>(parts: &'r Parts, limits: &Limits, policy: &Policy) -> Result<Admitted<'r>, Fault> {
    judge(parts, None, limits, policy)
}

/// Judges the head of a request that came as `stream`, or over HTTP/1.1.
pub(super) fn judge<'r>(
    parts: &'r Parts,
    stream: Option<http2::Stream<'_>>,
    limits: &Limits,
    policy: &Policy,
) -> Result<Admitted<'r>, Fault> {
    let target_bytes = target_bytes(parts);
    if exceeds(target_bytes, limits.target_bytes_max) {
        return Err(Fault::UriTooLong);
    }
    if exceeds(parts.headers.len(), limits.fields_max) {
        return Err(Fault::HeadTooLarge);
    }
    // TRACE would show the client fields that proxies added; CONNECT would make an open tunnel (P8).
    let to_websocket = stream.and_then(|stream| stream.protocol) == Some("websocket");
    if parts.method == Method::TRACE || (parts.method == Method::CONNECT && !to_websocket) {
        return Err(Fault::MethodRefused);
    }
    // Raw bytes above ASCII are no part of a target, and readers decode them in different ways (H7).
    if parts.uri.path_and_query().is_some_and(|target| !target.as_str().is_ascii()) {
        return Err(Fault::RequestMalformed);
    }
    let mut scan = Scan::new(parts.version, limits, policy);
    for (name, value) in &parts.headers {
        scan.field(name, value)?;
    }
    if exceeds(scan.head_bytes + target_bytes, limits.head_bytes_max) {
        return Err(Fault::HeadTooLarge);
    }
    let (host_port, authority) = place(parts, scan.host)?;
    Ok(Admitted {
        host: host_port.map_or(Cow::Borrowed(""), HostPort::normalized),
        authority,
        facts: facts(parts, stream, &scan).ok_or(Fault::RequestMalformed)?,
    })
}

/// Whether a value is over a limit, of which 0 means none.
pub(super) fn exceeds(value: usize, limit: usize) -> bool {
    limit != 0 && value > limit
}

fn target_bytes(parts: &Parts) -> usize {
    let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    let scheme = parts.uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    scheme + authority + path
}

/// Finds the one host of a request in its target and Host field (rules H1 to H4).
fn place<'r>(parts: &'r Parts, field: Option<&'r HeaderValue>) -> Result<(Option<HostPort<'r>>, &'r str), Fault> {
    let named = match field {
        Some(value) => {
            let text = value.to_str().map_err(|_| Fault::RequestMalformed)?;
            Some((HostPort::parse(text).ok_or(Fault::RequestMalformed)?, text))
        }
        None if parts.version == Version::HTTP_10 => None,
        None if parts.version == Version::HTTP_2 && parts.uri.authority().is_some() => None,
        None => return Err(Fault::RequestMalformed),
    };
    match (parts.uri.scheme(), parts.uri.authority()) {
        (Some(scheme), Some(authority)) => {
            let target = target_host(scheme, authority).ok_or(Fault::RequestMalformed)?;
            match named {
                Some((host, _)) if !host.is_same(target, default_port(scheme)) => Err(Fault::RequestMalformed),
                _ => Ok((Some(target), authority.as_str())),
            }
        }
        (None, None) if parts.uri.path() != "*" || parts.method == Method::OPTIONS => {
            Ok((named.map(|(host, _)| host), named.map_or("", |(_, text)| text)))
        }
        // The authority form belongs to CONNECT, `*` to OPTIONS.
        _ => Err(Fault::RequestMalformed),
    }
}

fn target_host<'r>(scheme: &Scheme, authority: &'r Authority) -> Option<HostPort<'r>> {
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return None;
    }
    HostPort::parse(authority.as_str())
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

/// Sums up; `None` where the head contradicts itself or its stream.
fn facts(parts: &Parts, stream: Option<http2::Stream<'_>>, scan: &Scan<'_, '_>) -> Option<Facts> {
    let mut seen = scan.seen;
    if parts.uri.authority().is_some() {
        seen.insert(Seen::AUTHORITY);
    }
    let body = match (stream, scan.content_length) {
        (Some(stream), length) => http2::framing(&parts.method, stream, length)?,
        _ if seen.has(Seen::TRANSFER_ENCODING) => BodyKind::Chunked,
        (None, Some(bytes)) => BodyKind::Sized(bytes),
        (None, None) => BodyKind::None,
    };
    let has_body = !matches!(body, BodyKind::None | BodyKind::Sized(0));
    let is_11 = parts.version != Version::HTTP_10;
    let websocket = match stream {
        None => is_11 && !has_body && parts.method == Method::GET && scan.is_websocket_handshake(),
        Some(stream) => stream.protocol.is_some(),
    };
    // An extended CONNECT cannot be sent on as anything else.
    if websocket && stream.is_some() && !scan.has_websocket_version() {
        return None;
    }
    let max_forwards = scan.max_forwards.filter(|_| parts.method == Method::OPTIONS);
    Some(Facts {
        body,
        upgrade: if websocket { Upgrade::WebSocket } else { Upgrade::None },
        expect_continue: is_11 && has_body && seen.has(Seen::EXPECT),
        answer_here: max_forwards == Some(0),
        max_forwards,
        seen,
    })
}
