//! Owns the names of header fields that are ours or that `http` has no constant for.

use http::HeaderName;

/// The decision, sent to upstreams as an RFC 9651 dictionary.
pub const BANYAN_DECISION: HeaderName = HeaderName::from_static("banyan-decision");
/// Marks the copy of a request.
pub const BANYAN_MIRROR: HeaderName = HeaderName::from_static("banyan-mirror");
/// The targeting key in the form that Cloudflare Workers split versions by.
pub const CLOUDFLARE_WORKERS_VERSION_KEY: HeaderName = HeaderName::from_static("cloudflare-workers-version-key");
/// What went wrong at a proxy (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// The position in a distributed trace (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What trace systems add to `traceparent`; void without it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The clients so far, nearest last.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The `Host` that the client sent.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The scheme that the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Begins the names of all our own fields, of those that later versions add too.
const OWN_PREFIX: &str = "banyan-";
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Whether a client must not send this field, because only the router speaks through it.
pub fn is_own(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) || name == "cloudflare-workers-version-key"
}

pub(super) fn is_x_forwarded(name: &str) -> bool {
    name.starts_with(FORWARDED_PREFIX)
}

/// Whether a server that reads `_` as `-` (CGI does) could take the field for one that frames the message (P10).
pub(super) fn is_framing_look_alike(name: &str) -> bool {
    matches!(name, "content_length" | "transfer_encoding")
}

pub(super) fn has_underscore(name: &str) -> bool {
    name.as_bytes().contains(&b'_')
}
