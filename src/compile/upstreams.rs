//! Owns the way from upstreams as written to upstreams; what did not change keeps its `Arc`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::client_tls::ClientFiles;
use super::{Options, endpoint, health, protocol};
use crate::config::{Diagnostic, Report, RewriteDoc, Text, UpstreamDoc};
use crate::snapshot::Snapshot;
use crate::upstream::{CopyPace, Endpoint, Rewrite, Timeouts, Upstream, UpstreamId};

/// The objective of an upstream that names none.
const SLO_P99_MS: u32 = 500;
/// Connections of one worker to an upstream that names no limit (rule L8).
const CONNECTIONS_MAX: u32 = 1024;

/// The compiled upstreams.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    pub(super) list: Vec<Arc<Upstream>>,
    pub(super) ids: HashMap<Box<str>, UpstreamId>,
}

/// What the snapshot in force knows.
struct Known<'s> {
    upstreams: HashMap<&'s str, &'s Arc<Upstream>>,
    addresses: HashMap<(&'s str, u16), &'s [SocketAddr]>,
}

impl<'s> Known<'s> {
    fn of(previous: Option<&'s Snapshot>) -> Self {
        let all = previous.map(|snapshot| &*snapshot.upstreams).unwrap_or_default();
        Self {
            upstreams: all.iter().map(|upstream| (&*upstream.name, upstream)).collect(),
            addresses: all
                .iter()
                .flat_map(|upstream| &upstream.endpoints)
                .map(|endpoint| ((&*endpoint.host, endpoint.port), &*endpoint.addresses))
                .collect(),
        }
    }
}

/// Compiles all upstreams; one that cannot be compiled is left out after a report.
pub(super) fn compile(
    docs: &[UpstreamDoc],
    options: &Options,
    files: &mut ClientFiles<'_>,
    previous: Option<&Snapshot>,
    report: &mut Report,
) -> Upstreams {
    let known = Known::of(previous);
    let mut all = Upstreams::default();
    for doc in docs {
        let Some(upstream) = upstream(doc, options, files, &known, report) else {
            continue;
        };
        let kept = known.upstreams.get(&*doc.name.text).filter(|before| ****before == upstream);
        let id = UpstreamId(u32::try_from(all.list.len()).unwrap_or(u32::MAX));
        all.ids.insert(doc.name.text.clone(), id);
        all.list.push(kept.map_or_else(|| Arc::new(upstream), |kept| Arc::clone(kept)));
    }
    all
}

fn upstream(
    doc: &UpstreamDoc,
    options: &Options,
    files: &mut ClientFiles<'_>,
    known: &Known<'_>,
    report: &mut Report,
) -> Option<Upstream> {
    let spoken = protocol::compile(doc, report);
    let rewrite = rewrite(&doc.rewrite, report);
    let health = doc.health.as_ref().map(|written| health::check(written, report));
    let ejection = health::ejection(doc, report);
    let all_unhealthy = health::all_unhealthy(doc.all_unhealthy.as_ref(), report);
    let endpoints = endpoints(doc, options, known, report)?;
    let spoken = spoken?;
    let tls = files.compile(doc, spoken.alpn, report)?;
    let (default, pace) = (Timeouts::default(), CopyPace::default());
    Some(Upstream {
        name: doc.name.text.clone(),
        endpoints,
        timeouts: Timeouts {
            connect_ms: doc.connect_timeout_ms.unwrap_or(default.connect_ms),
            response_ms: doc.response_timeout_ms.unwrap_or(default.response_ms),
            body_idle_ms: doc.body_idle_timeout_ms.unwrap_or(default.body_idle_ms),
            pool_idle_ms: doc.pool_idle_timeout_ms.unwrap_or(default.pool_idle_ms),
            tunnel_idle_ms: doc.tunnel_idle_timeout_ms.unwrap_or(default.tunnel_idle_ms),
        },
        slo_p99_ms: doc.slo_p99_ms.unwrap_or(SLO_P99_MS),
        connections_max: doc.connections_max.unwrap_or(CONNECTIONS_MAX),
        requests_max: doc.requests_max.unwrap_or(0),
        copies: CopyPace {
            per_s_max: doc.copies.per_s_max.unwrap_or(pace.per_s_max),
            in_flight_max: doc.copies.in_flight_max.unwrap_or(pace.in_flight_max),
        },
        health: health.flatten(),
        ejection,
        slow_start_ms: doc.slow_start_ms.unwrap_or(0),
        all_unhealthy,
        version_key: doc.version_key,
        allow_public: doc.allow_public,
        rewrite: rewrite?,
        tls,
        protocol: spoken.protocol,
        proxy_protocol: spoken.proxy_protocol,
    })
}

fn endpoints(
    doc: &UpstreamDoc,
    options: &Options,
    known: &Known<'_>,
    report: &mut Report,
) -> Option<Box<[Arc<Endpoint>]>> {
    let written = doc.endpoints.as_deref()?;
    let mut found: Vec<Arc<Endpoint>> = Vec::with_capacity(written.len());
    let before = known.upstreams.get(&*doc.name.text);
    for text in written {
        let Some(mut endpoint) = endpoint::read(text, report) else {
            continue;
        };
        if let Some(twin) = found.iter().position(|other| other.authority == endpoint.authority) {
            let message = format!("the endpoint `{}` stands twice", endpoint.authority);
            let diagnostic = Diagnostic::error("duplicate-endpoint", &text.place, message);
            // Endpoints that could not be read are not in `found`, but then the set is refused anyway.
            report.push(diagnostic.also(&written[twin].place, "first here").help("remove one of the two"));
            continue;
        }
        check_addresses(text, &mut endpoint, doc.allow_public, options, known, report);
        let kept = before.and_then(|before| before.endpoints.iter().find(|kept| ***kept == endpoint));
        found.push(kept.map_or_else(|| Arc::new(endpoint), Arc::clone));
    }
    if written.is_empty() {
        let message = format!("the upstream `{}` has no endpoints", doc.name.text);
        report.push(Diagnostic::error("no-endpoints", &doc.name.place, message));
    }
    (!found.is_empty() && found.len() == written.len()).then(|| found.into())
}

/// Refuses an address that is written down, or takes over the allowed ones that a name had.
fn check_addresses(
    text: &Text,
    endpoint: &mut Endpoint,
    allow_public: bool,
    options: &Options,
    known: &Known<'_>,
    report: &mut Report,
) {
    let refusal = |address: &SocketAddr| endpoint::refusal(*address, allow_public, &options.listeners);
    let loopback = [SocketAddr::from(([127, 0, 0, 1], endpoint.port))];
    let own: &[SocketAddr] = if &*endpoint.host == "localhost" { &loopback } else { &endpoint.addresses };
    if let Some(refused) = own.iter().find_map(refusal) {
        let message = format!("`{}` {}", endpoint.authority, refused.why);
        report.push(Diagnostic::error(refused.code, &text.place, message).help(refused.help));
    }
    if endpoint.addresses.is_empty() {
        let kept = known.addresses.get(&(&*endpoint.host, endpoint.port)).copied().unwrap_or_default();
        endpoint.addresses = kept.iter().filter(|address| refusal(address).is_none()).copied().collect();
    }
}

fn rewrite(doc: &RewriteDoc, report: &mut Report) -> Option<Rewrite> {
    let before = report.diagnostics.len();
    let set_headers: Box<[_]> = doc
        .set_headers
        .iter()
        .filter_map(|(name, value)| Some((header(name, report)?, value_of(value, report)?)))
        .collect();
    let remove_headers: Box<[_]> = doc.remove_headers.iter().filter_map(|name| header(name, report)).collect();
    let host = doc.host.as_ref().and_then(|host| authority(host, report));
    if let Some((from, to)) = &doc.path_prefix {
        prefix(from, report);
        prefix(to, report);
    }
    (report.diagnostics.len() == before).then(|| Rewrite {
        host,
        path_prefix: doc.path_prefix.as_ref().map(|(from, to)| (from.text.clone(), to.text.clone())),
        set_headers,
        remove_headers,
    })
}

/// A header that a rewrite may touch: framing and hop-by-hop fields are the router's (rules F15, F16).
fn header(text: &Text, report: &mut Report) -> Option<HeaderName> {
    const OURS: [&str; 9] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let Ok(name) = HeaderName::from_bytes(text.text.as_bytes()) else {
        let message = format!("`{}` is not a header name", text.text);
        report.push(Diagnostic::error("bad-header", &text.place, message));
        return None;
    };
    if OURS.contains(&name.as_str()) || name.as_str().starts_with("banyan-") {
        let message = format!("`{name}` cannot be rewritten: the router writes it itself");
        let found = Diagnostic::error("bad-header", &text.place, message);
        report.push(if name == "host" { found.help("use `rewrite: {host: NAME}`") } else { found });
        return None;
    }
    Some(name)
}

pub(super) fn authority(text: &Text, report: &mut Report) -> Option<HeaderValue> {
    let found = text.text.parse::<http::uri::Authority>().ok().filter(|authority| !authority.as_str().contains('@'));
    if found.is_none() {
        let message = format!("`{}` cannot stand in Host", text.text);
        report.push(Diagnostic::error("bad-host", &text.place, message).help("write a name, such as orders.internal"));
        return None;
    }
    value_of(text, report)
}

fn value_of(text: &Text, report: &mut Report) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(&text.text).ok();
    if value.is_none() {
        let message = "the value holds characters that a header cannot have";
        report.push(Diagnostic::error("bad-header", &text.place, message));
    }
    value
}

fn prefix(text: &Text, report: &mut Report) {
    let visible = text.text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if !text.text.starts_with('/') || !visible {
        let message = format!("`{}` is not a prefix of a path", text.text);
        report.push(
            Diagnostic::error("bad-prefix", &text.place, message).help("begin with `/`; percent-encode the rest"),
        );
    }
}
