//! Owns the way from `protocol:`, `proxy_protocol:` and the endpoints' schemes to what is spoken to an upstream.

use crate::config::{Diagnostic, Report, Text, UpstreamDoc};
use crate::proxy_protocol::Version;
use crate::tls::Alpn;
use crate::upstream::Protocol;

/// What is spoken to an upstream.
pub(super) struct Spoken {
    pub(super) protocol: Protocol,
    /// What TLS offers, if there is TLS.
    pub(super) alpn: Alpn,
    pub(super) proxy_protocol: Option<Version>,
}

/// Compiles what an upstream speaks; `None` after a report.
pub(super) fn compile(doc: &UpstreamDoc, report: &mut Report) -> Option<Spoken> {
    let secure = is_secure(doc, report)?;
    let proxy_protocol = match doc.proxy_protocol.as_ref() {
        None => None,
        Some(text) => Some(version(text, report)?),
    };
    let written = doc.protocol.as_ref().map_or("auto", |text| &*text.text);
    let (protocol, alpn) = match (written, secure) {
        ("http1", _) | ("auto", false) => (Protocol::Http1, Alpn::Http1),
        // Such a connection carries one exchange, for which HTTP/1.1 serves.
        ("auto" | "https", true) if proxy_protocol.is_some() => (Protocol::Http1, Alpn::Http1),
        ("auto" | "https", true) => (Protocol::Either, Alpn::Either),
        ("h2c", false) => (Protocol::Http2, Alpn::Http2),
        (other, _) => {
            refuse(doc.protocol.as_ref()?, other, report);
            return None;
        }
    };
    if let (Some(text), Protocol::Http2) = (&doc.proxy_protocol, protocol) {
        let message = "a connection with a PROXY header stands for one client, and h2c shares connections";
        report.push(Diagnostic::error("proxy-protocol", &text.place, message).help("use `protocol: http1`"));
        return None;
    }
    Some(Spoken { protocol, alpn, proxy_protocol })
}

/// Whether the upstream is reached over TLS: all endpoints say `https://`, or there is `tls:`.
fn is_secure(doc: &UpstreamDoc, report: &mut Report) -> Option<bool> {
    let has = |text: &&Text, scheme: &str| {
        text.text.get(..scheme.len()).is_some_and(|given| given.eq_ignore_ascii_case(scheme))
    };
    let endpoints = doc.endpoints.as_deref().unwrap_or_default();
    let secure = endpoints.iter().find(|text| has(text, "https://"));
    let plain = endpoints.iter().find(|text| has(text, "http://"));
    if let (Some(secure), Some(plain)) = (secure, plain) {
        let message = format!("upstream `{}` is reached with TLS and without", doc.name.text);
        let diagnostic = Diagnostic::error("mixed-schemes", &plain.place, message).also(&secure.place, "with TLS here");
        report.push(diagnostic.help("write all endpoints with one scheme, or make two upstreams of them"));
        return None;
    }
    if let (Some(plain), Some(_)) = (plain, &doc.tls) {
        let message =
            format!("upstream `{}` has `tls:`, so TLS is spoken to its `http://` endpoints too", doc.name.text);
        let found = Diagnostic::warning("tls-over-http", &plain.place, message);
        report.push(found.help("write `https://`, or remove `tls:`"));
    }
    Some(secure.is_some() || doc.tls.is_some())
}

fn version(text: &Text, report: &mut Report) -> Option<Version> {
    match &*text.text {
        "v1" => Some(Version::V1),
        "v2" => Some(Version::V2),
        other => {
            let message = format!("unknown version `{other}` of the PROXY protocol");
            report.push(Diagnostic::error("proxy-protocol", &text.place, message).help("use `v1` or `v2`"));
            None
        }
    }
}

fn refuse(text: &Text, written: &str, report: &mut Report) {
    let (message, help) = match written {
        "h2c" => {
            ("`h2c` is HTTP/2 without TLS, but the upstream has TLS".to_owned(), "use `auto`, which offers HTTP/2")
        }
        "https" => ("`https` needs endpoints with TLS".to_owned(), "write them with https://"),
        other => (format!("unknown protocol `{other}`"), "use `auto`, `http1`, `h2c` or `https`"),
    };
    report.push(Diagnostic::error("protocol", &text.place, message).help(help));
}
