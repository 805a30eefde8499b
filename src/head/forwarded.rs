//! Owns what upstreams are told about the client: X-Forwarded-* and Forwarded (rule P9, RFC 7239).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::names;
use super::request::ForwardContext;
use super::seen::Seen;

/// Replaces the fields by what the connection shows, or extends those of a trusted proxy.
pub(super) fn set(headers: &mut HeaderMap, seen: Seen, context: &ForwardContext<'_>, host: Option<HeaderValue>) {
    let peer = context.peer;
    // Seen is not enough: the client may have had a field removed by naming it in Connection.
    let believed = |headers: &HeaderMap, bit: Seen, name: &HeaderName| {
        peer.is_trusted() && seen.has(bit) && headers.contains_key(name)
    };
    if believed(headers, Seen::X_FORWARDED_FOR, &names::X_FORWARDED_FOR) {
        extend(headers, names::X_FORWARDED_FOR, &peer.address);
    } else {
        headers.insert(names::X_FORWARDED_FOR, peer.address.clone());
    }
    if !believed(headers, Seen::X_FORWARDED_PROTO, &names::X_FORWARDED_PROTO) {
        headers.insert(names::X_FORWARDED_PROTO, peer.proto.clone());
    }
    if !believed(headers, Seen::X_FORWARDED_HOST, &names::X_FORWARDED_HOST) {
        match host {
            Some(host) => headers.insert(names::X_FORWARDED_HOST, host),
            None => headers.remove(names::X_FORWARDED_HOST),
        };
    }
    if believed(headers, Seen::FORWARDED, &header::FORWARDED) {
        extend(headers, header::FORWARDED, &peer.forwarded);
    } else if context.policy.forwarded || seen.has(Seen::FORWARDED) {
        headers.insert(header::FORWARDED, peer.forwarded.clone());
    }
}

/// Joins the lines of a field and adds one element, so that no reader can take a line for the whole.
fn extend(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    let mut joined = Vec::new();
    for value in headers.get_all(&name).iter().chain(std::iter::once(element)) {
        if !joined.is_empty() && !value.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined).unwrap_or_else(|_| element.clone());
    headers.insert(name, joined);
}
