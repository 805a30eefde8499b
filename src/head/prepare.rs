//! Owns the rewriting of an admitted request head for an HTTP/1.1 upstream.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{self, Uri};
use http::{Method, Version};

use super::added::Added;
use super::policy::TraceMode;
use super::request::{BodyKind, Facts, ForwardContext, Upgrade};
use super::seen::Seen;
use super::{connection, forwarded, http2, names, trace, websocket};

/// Rewrites an admitted head for an upstream: what is sent is written by us (F16).
///
/// `facts` must come from [`super::request::admit`] on this very head. Afterwards the target has origin form, there is
/// exactly one Host, at most one framing field and no hop-by-hop field but those that we mean ourselves. What comes back
/// goes out behind the head's own fields; those that say more, such as the decision, are for the caller to add to it.
pub fn prepare(parts: &mut Parts, facts: Facts, context: &ForwardContext<'_>) -> Added {
    let seen = facts.seen;
    let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
    connection::remove_hop_by_hop(&mut parts.headers, seen);
    remove_untrusted(&mut parts.headers, seen, context);
    let asked_host = set_host(parts, seen, context);
    let headers = &mut parts.headers;
    let mut added = Added::default();
    forwarded::set(headers, &mut added, seen, context, asked_host);
    set_connection(headers, facts, context);
    set_framing(headers, facts);
    if version == Version::HTTP_2 {
        http2::join_cookies(headers, seen);
        if facts.upgrade == Upgrade::WebSocket {
            parts.method = Method::GET;
            let random = (context.random)();
            headers.insert(header::SEC_WEBSOCKET_KEY, websocket::key(random.first_chunk().unwrap_or(&[0; 16])));
        }
    }
    if let Some(pseudonym) = &context.policy.via {
        added.push(header::VIA, pseudonym.value(version));
    }
    if let Some(hops) = facts.max_forwards {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
    }
    set_trace(headers, &mut added, seen, context);
    added
}

/// Removes what only the router or a trusted proxy may say, and what servers could misread (P9, P10).
fn remove_untrusted(headers: &mut HeaderMap, seen: Seen, context: &ForwardContext<'_>) {
    let mut doomed = Seen::OWN | Seen::UNDERSCORE;
    if !context.peer.is_trusted() {
        doomed.insert(Seen::X_FORWARDED_OTHER);
    }
    if !seen.has(doomed) {
        return;
    }
    let is_doomed = |name: &str| {
        names::is_own(name)
            || (seen.has(Seen::UNDERSCORE) && names::has_underscore(name))
            || (!context.peer.is_trusted() && names::is_x_forwarded(name))
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_doomed(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Leaves exactly one Host and the origin form; returns what the client called the host.
fn set_host(parts: &mut Parts, seen: Seen, context: &ForwardContext<'_>) -> Option<HeaderValue> {
    if seen.has(Seen::AUTHORITY) {
        take_authority(parts);
    }
    let asked = parts.headers.get(header::HOST).cloned();
    match (context.host, &asked) {
        (Some(host), _) => {
            parts.headers.insert(header::HOST, host.clone());
        }
        (None, Some(_)) => {}
        (None, None) => {
            // An empty Host is what RFC 9112 section 3.2 asks for where no host is known.
            let host = HeaderValue::from_str(context.host_default).unwrap_or(HeaderValue::from_static(""));
            parts.headers.insert(header::HOST, host);
        }
    }
    asked
}

/// Turns the absolute form into origin form, its authority into the Host (H2).
fn take_authority(parts: &mut Parts) {
    let mut target = std::mem::take(&mut parts.uri).into_parts();
    if let Some(host) = target.authority.take().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        parts.headers.insert(header::HOST, host);
    }
    let mut origin = uri::Parts::default();
    origin.path_and_query = target.path_and_query;
    parts.uri = Uri::from_parts(origin).unwrap_or_default();
}

/// Says again, on our own behalf, what may be asked of the next hop.
fn set_connection(headers: &mut HeaderMap, facts: Facts, context: &ForwardContext<'_>) {
    if facts.upgrade == Upgrade::WebSocket && context.websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if facts.seen.has(Seen::TE_TRAILERS) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if facts.seen.has(Seen::EXPECT) && !facts.expect_continue {
        headers.remove(header::EXPECT);
    }
}

/// Writes the one framing field in our own spelling.
///
/// Transfer-Encoding stays because an HTTP/1 client takes a GET without it for one without a body.
fn set_framing(headers: &mut HeaderMap, facts: Facts) {
    if facts.body == BodyKind::Chunked {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.remove(header::CONTENT_LENGTH);
    } else if facts.body == BodyKind::Sized(0) && !facts.seen.has(Seen::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

fn set_trace(headers: &mut HeaderMap, added: &mut Added, seen: Seen, context: &ForwardContext<'_>) {
    let sampled = match context.policy.trace {
        TraceMode::Off => return,
        TraceMode::Unsampled => false,
        TraceMode::Sampled => true,
    };
    let has_valid = seen.has(Seen::TRACEPARENT) && !seen.has(Seen::TRACE_INVALID);
    // The client may have had it removed by naming it in Connection.
    if has_valid && headers.contains_key(names::TRACEPARENT) {
        return;
    }
    if seen.has(Seen::TRACEPARENT) {
        headers.remove(names::TRACEPARENT);
    }
    added.push(names::TRACEPARENT, trace::make((context.random)(), sampled));
    if seen.has(Seen::TRACESTATE) {
        headers.remove(names::TRACESTATE);
    }
}
