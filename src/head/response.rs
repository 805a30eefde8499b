//! Owns the judgement and the rewriting of an upstream's response head.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, StatusCode, Version};

use super::connection;
use super::request::Upgrade;
use super::scan::parse_length;
use super::seen::Seen;
use crate::fault::Fault;

/// What a response head amounts to. [`prepare`] needs it for the same head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The upstream switches to the WebSocket protocol: a tunnel may open.
    pub is_tunnel: bool,
    drop_length: bool,
    seen: Seen,
}

/// Judges a response head; `asked` is what was sent upstream, so [`Upgrade::None`] where the route forbids WebSockets.
///
/// # Errors
/// [`Fault::ResponseMalformed`]; the upstream connection must not be used again.
pub fn admit(parts: &Parts, method: &Method, asked: Upgrade) -> Result<Facts, Fault> {
    let mut scan = Scan { is_10: parts.version == Version::HTTP_10, ..Scan::default() };
    for (name, value) in &parts.headers {
        scan.field(name, value);
    }
    let is_tunnel = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_tunnel && !(asked == Upgrade::WebSocket && scan.switches_to_websocket()) {
        return Err(Fault::ResponseMalformed);
    }
    // Any other 1xx is not final; the client side must have skipped it.
    if parts.status.is_informational() && !is_tunnel {
        return Err(Fault::ResponseMalformed);
    }
    let without_body = is_tunnel || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_body = !without_body && method != Method::HEAD;
    if (has_body && scan.bad_coding) || (scan.bad_length && !scan.seen.has(Seen::TRANSFER_ENCODING)) {
        return Err(Fault::ResponseMalformed);
    }
    // RFC 9112 section 6.3: chunked wins. RFC 9110 section 8.6: none in a 204 or 1xx.
    let drop_length = scan.seen.has(Seen::TRANSFER_ENCODING) || is_tunnel || parts.status == StatusCode::NO_CONTENT;
    Ok(Facts { is_tunnel, drop_length, seen: scan.seen })
}

/// Rewrites an admitted head for the client: hop-by-hop fields go, our HTTP version is spoken (P1, P15, P17, U3).
///
/// Transfer-Encoding goes as well: the server side frames the body anew for the client's version (P13). The order of
/// fields of one name, `Set-Cookie` above all, is left alone (P16).
pub fn prepare(parts: &mut Parts, facts: Facts) {
    parts.version = Version::HTTP_11;
    connection::remove_hop_by_hop(&mut parts.headers, facts.seen);
    if facts.seen.has(Seen::TRANSFER_ENCODING) {
        parts.headers.remove(header::TRANSFER_ENCODING);
    }
    if facts.drop_length && facts.seen.has(Seen::CONTENT_LENGTH) {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    if facts.is_tunnel {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Rewrites the fields of an interim head (1xx) for the client: they frame nothing, and no hop keeps them to itself.
pub fn prepare_interim(headers: &mut HeaderMap) {
    let mut scan = Scan::default();
    for (name, value) in &*headers {
        scan.field(name, value);
    }
    connection::remove_hop_by_hop(headers, scan.seen);
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// What the walk over the fields has found.
#[derive(Default)]
struct Scan {
    is_10: bool,
    bad_coding: bool,
    bad_length: bool,
    upgrades: u32,
    to_websocket: bool,
    seen: Seen,
}

impl Scan {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        match *name {
            header::CONNECTION => connection::note(value, &mut self.seen),
            header::CONTENT_LENGTH => {
                self.bad_length |= self.seen.has(Seen::CONTENT_LENGTH) || parse_length(value).is_none();
                self.seen.insert(Seen::CONTENT_LENGTH);
            }
            // We never asked for another coding, and taking the field off would hide it from the client.
            header::TRANSFER_ENCODING => {
                let again = self.seen.has(Seen::TRANSFER_ENCODING);
                self.bad_coding |= self.is_10 || again || !value.as_bytes().eq_ignore_ascii_case(b"chunked");
                self.seen.insert(Seen::TRANSFER_ENCODING);
            }
            header::TE => self.seen.insert(Seen::TE),
            header::UPGRADE => {
                self.seen.insert(Seen::UPGRADE);
                self.upgrades += 1;
                self.to_websocket = value.as_bytes().eq_ignore_ascii_case(b"websocket");
            }
            _ => match name.as_str() {
                "keep-alive" => self.seen.insert(Seen::KEEP_ALIVE),
                "proxy-connection" => self.seen.insert(Seen::PROXY_CONNECTION),
                "http2-settings" => self.seen.insert(Seen::HTTP2_SETTINGS),
                _ => {}
            },
        }
    }

    fn switches_to_websocket(&self) -> bool {
        self.upgrades == 1 && self.to_websocket && self.seen.has(Seen::CONNECTION_UPGRADE)
    }
}
