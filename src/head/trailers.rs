//! Owns which trailer fields may pass, in both directions (rule P14, RFC 9110 section 6.5.1).

use http::header::{self, HeaderMap, HeaderName};

use super::names;

/// Removes trailer fields that a reader could take for routing, framing, credentials or one of ours.
pub fn prepare(trailers: &mut HeaderMap) {
    if !trailers.keys().any(is_forbidden) {
        return;
    }
    let found: Vec<HeaderName> = trailers.keys().filter(|name| is_forbidden(name)).cloned().collect();
    for name in found {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONNECTION
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::COOKIE
            | header::EXPECT
            | header::FORWARDED
            | header::HOST
            | header::MAX_FORWARDS
            | header::PROXY_AUTHORIZATION
            | header::SET_COOKIE
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::VIA
    ) || names::is_own(name.as_str())
        || names::is_x_forwarded(name.as_str())
        || names::has_underscore(name.as_str())
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}
