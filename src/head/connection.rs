//! Owns the hop-by-hop fields of both directions (RFC 9110 section 7.6.1, rules P1, P2 and F15).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::names;
use super::seen::Seen;

/// Splits a comma-separated field value into its non-empty elements.
pub(super) fn elements(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether one element of a list is `token`, in any case.
pub(super) fn lists(value: &HeaderValue, token: &str) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Notes what a `Connection` line asks for.
pub(super) fn note(value: &HeaderValue, seen: &mut Seen) {
    seen.insert(Seen::CONNECTION);
    for element in elements(value) {
        if element.eq_ignore_ascii_case(b"upgrade") {
            seen.insert(Seen::CONNECTION_UPGRADE);
        } else if !element.eq_ignore_ascii_case(b"keep-alive") && !element.eq_ignore_ascii_case(b"close") {
            seen.insert(Seen::CONNECTION_NAMES);
        }
    }
}

/// Removes everything that is meant for one connection only.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap, seen: Seen) {
    if seen.has(Seen::CONNECTION) {
        remove_named(headers, seen);
        headers.remove(header::CONNECTION);
    }
    if seen.has(Seen::KEEP_ALIVE | Seen::PROXY_CONNECTION | Seen::TE | Seen::UPGRADE | Seen::HTTP2_SETTINGS) {
        // Made only here: most heads have none of them.
        let fixed = [
            (Seen::KEEP_ALIVE, names::KEEP_ALIVE),
            (Seen::PROXY_CONNECTION, names::PROXY_CONNECTION),
            (Seen::TE, header::TE),
            (Seen::UPGRADE, header::UPGRADE),
            (Seen::HTTP2_SETTINGS, names::HTTP2_SETTINGS),
        ];
        for (bit, name) in fixed {
            if seen.has(bit) {
                headers.remove(name);
            }
        }
    }
}

fn remove_named(headers: &mut HeaderMap, seen: Seen) {
    if !seen.has(Seen::CONNECTION_NAMES) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(elements)
        .filter_map(|element| HeaderName::from_bytes(element).ok())
        .filter(is_removable)
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// A sender must not be able to take the framing or the Host away by naming it (F15).
fn is_removable(name: &HeaderName) -> bool {
    !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::HOST)
}
