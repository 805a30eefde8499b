//! Owns what upstreams are told about the client: X-Forwarded-* and Forwarded (rule P9, RFC 7239).

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::added::Added;
use super::names;
use super::policy::Policy;
use super::request::ForwardContext;
use super::seen::Seen;

/// Replaces the fields by what the connection shows, or extends those of a trusted proxy.
pub(super) fn set(
    headers: &mut HeaderMap,
    added: &mut Added,
    seen: Seen,
    context: &ForwardContext<'_>,
    host: Option<HeaderValue>,
) {
    let peer = context.peer;
    // Seen is not enough: the client may have had a field removed by naming it in Connection.
    let believed = |headers: &HeaderMap, bit: Seen, name: &HeaderName| {
        peer.is_trusted() && seen.has(bit) && headers.contains_key(name)
    };
    let mut replace = |headers: &mut HeaderMap, bit: Seen, name: HeaderName, value: Option<HeaderValue>| {
        if seen.has(bit) {
            headers.remove(&name);
        }
        if let Some(value) = value {
            added.push(name, value);
        }
    };
    if believed(headers, Seen::X_FORWARDED_FOR, &names::X_FORWARDED_FOR) {
        extend(headers, names::X_FORWARDED_FOR, &peer.address);
    } else {
        replace(headers, Seen::X_FORWARDED_FOR, names::X_FORWARDED_FOR, Some(peer.address.clone()));
    }
    if !believed(headers, Seen::X_FORWARDED_PROTO, &names::X_FORWARDED_PROTO) {
        replace(headers, Seen::X_FORWARDED_PROTO, names::X_FORWARDED_PROTO, Some(peer.proto.clone()));
    }
    if !believed(headers, Seen::X_FORWARDED_HOST, &names::X_FORWARDED_HOST) {
        replace(headers, Seen::X_FORWARDED_HOST, names::X_FORWARDED_HOST, host);
    }
    if believed(headers, Seen::FORWARDED, &header::FORWARDED) {
        extend(headers, header::FORWARDED, &peer.forwarded);
    } else if context.policy.forwarded || seen.has(Seen::FORWARDED) {
        replace(headers, Seen::FORWARDED, header::FORWARDED, Some(peer.forwarded.clone()));
    }
}

/// Finds the client behind trusted proxies: the last address in `X-Forwarded-For` that is not one of theirs.
///
/// Only what trusted proxies wrote is read, from the nearest backwards; a stranger's own claims stand further left.
pub fn client_address(headers: &HeaderMap, peer: IpAddr, policy: &Policy) -> IpAddr {
    let is_trusted = |address: IpAddr| policy.trusted.iter().any(|network| network.contains(address));
    let lines = headers.get_all(names::X_FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map_while(hop_address);
    let mut client = peer.to_canonical();
    while is_trusted(client) {
        let Some(before) = hops.next() else { break };
        client = before;
    }
    client
}

/// Reads one element: an address, with or without a port.
fn hop_address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim();
    let with_port = || text.parse::<SocketAddr>().map(|socket| socket.ip());
    text.parse::<IpAddr>().or_else(|_| with_port()).map(|address| address.to_canonical()).ok()
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
