//! Owns the written form of an upstream.

use super::pairs;
use crate::config::fields::text;
use crate::config::{Diagnostic, Fields, Kind, Node, Place, Report, Text};

/// An upstream as written.
#[derive(Debug)]
pub struct UpstreamDoc {
    /// Its name.
    pub name: Text,
    /// `endpoints`; `None` when that was reported already.
    pub endpoints: Option<Vec<Text>>,
    /// `protocol`.
    pub protocol: Option<Text>,
    /// `proxy_protocol`.
    pub proxy_protocol: Option<Text>,
    /// `connect_timeout_ms`.
    pub connect_timeout_ms: Option<u32>,
    /// `response_timeout_ms`; 0 means none.
    pub response_timeout_ms: Option<u32>,
    /// `body_idle_timeout_ms`; 0 means none.
    pub body_idle_timeout_ms: Option<u32>,
    /// `pool_idle_timeout_ms`; 0 means none.
    pub pool_idle_timeout_ms: Option<u32>,
    /// `tunnel_idle_timeout_ms`; 0 means none.
    pub tunnel_idle_timeout_ms: Option<u32>,
    /// `slo_p99_ms`.
    pub slo_p99_ms: Option<u32>,
    /// `connections_max`, a worker.
    pub connections_max: Option<u32>,
    /// `eject_after_failures`; 0 means never.
    pub eject_after_failures: Option<u32>,
    /// `eject_ms`.
    pub eject_ms: Option<u32>,
    /// `eject_ms_max`, with its place.
    pub eject_ms_max: Option<(Place, u32)>,
    /// `eject_share_max_percent`.
    pub eject_share_max_percent: Option<u32>,
    /// `eject_on_5xx`.
    pub eject_on_5xx: bool,
    /// `slow_start_ms`; 0 means none.
    pub slow_start_ms: Option<u32>,
    /// `requests_max`, of all workers.
    pub requests_max: Option<u32>,
    /// `copies`.
    pub copies: CopyPaceDoc,
    /// `all_unhealthy`.
    pub all_unhealthy: Option<Text>,
    /// `allow_public`.
    pub allow_public: bool,
    /// `version_key`.
    pub version_key: bool,
    /// `rewrite`.
    pub rewrite: RewriteDoc,
    /// `tls`.
    pub tls: Option<TlsDoc>,
    /// `health`.
    pub health: Option<HealthDoc>,
}

/// `copies:` as written.
#[derive(Debug, Default)]
pub struct CopyPaceDoc {
    /// `per_s_max`.
    pub per_s_max: Option<u32>,
    /// `in_flight_max`.
    pub in_flight_max: Option<u32>,
}

/// `health:` as written.
#[derive(Debug)]
pub struct HealthDoc {
    /// `path`.
    pub path: Text,
    /// `host`.
    pub host: Option<Text>,
    /// `interval_ms`.
    pub interval_ms: Option<u32>,
    /// `timeout_ms`.
    pub timeout_ms: Option<u32>,
    /// `healthy_after`.
    pub healthy_after: Option<u32>,
    /// `unhealthy_after`.
    pub unhealthy_after: Option<u32>,
    /// `expect_status`, the first and the last status that pass.
    pub expect_status: Option<(u16, u16)>,
}

/// `tls:` as written.
#[derive(Debug)]
pub struct TlsDoc {
    /// `ca`.
    pub ca: Option<Text>,
    /// `certificate`.
    pub certificate: Option<Text>,
    /// `key`.
    pub key: Option<Text>,
    /// `server_name`.
    pub server_name: Option<Text>,
    /// Where `verify: false` stands.
    pub unverified: Option<Place>,
}

/// `rewrite:` as written.
#[derive(Debug, Default)]
pub struct RewriteDoc {
    /// `host`.
    pub host: Option<Text>,
    /// `path_prefix: {from, to}`.
    pub path_prefix: Option<(Text, Text)>,
    /// `set_headers`.
    pub set_headers: Vec<(Text, Text)>,
    /// `remove_headers`.
    pub remove_headers: Vec<Text>,
}

/// An hour in milliseconds: a longer limit of an exchange is no limit.
const HOUR_MS: u32 = 3_600_000;
/// A day in milliseconds, for tunnels.
const DAY_MS: u32 = 24 * HOUR_MS;

pub(super) fn read(name: &Node, node: &Node, report: &mut Report) -> Option<UpstreamDoc> {
    let name = text(name, "upstreams", report)?;
    let mut fields = Fields::open(node, "an upstream", report)?;
    fields.required("endpoints", "list where it listens, such as [\"http://127.0.0.1:9001\"]", report);
    let doc = UpstreamDoc {
        name,
        endpoints: fields.texts("endpoints", report),
        protocol: fields.text("protocol", report),
        proxy_protocol: fields.text("proxy_protocol", report),
        // Never off: a dead upstream costs the client its connect timeout at most (promise 6).
        connect_timeout_ms: fields.number32("connect_timeout_ms", 1..=60_000, report),
        response_timeout_ms: fields.number32("response_timeout_ms", 0..=HOUR_MS, report),
        body_idle_timeout_ms: fields.number32("body_idle_timeout_ms", 0..=HOUR_MS, report),
        pool_idle_timeout_ms: fields.number32("pool_idle_timeout_ms", 0..=HOUR_MS, report),
        tunnel_idle_timeout_ms: fields.number32("tunnel_idle_timeout_ms", 0..=DAY_MS, report),
        slo_p99_ms: fields.number32("slo_p99_ms", 1..=HOUR_MS, report),
        connections_max: fields.number32("connections_max", 1..=65_535, report),
        eject_after_failures: fields.number32("eject_after_failures", 0..=1_000_000, report),
        eject_ms: fields.number32("eject_ms", 1..=HOUR_MS, report),
        eject_ms_max: placed(&mut fields, "eject_ms_max", report),
        eject_share_max_percent: fields.number32("eject_share_max_percent", 1..=100, report),
        eject_on_5xx: fields.boolean("eject_on_5xx", report).unwrap_or(false),
        slow_start_ms: fields.number32("slow_start_ms", 0..=HOUR_MS, report),
        requests_max: fields.number32("requests_max", 1..=1_000_000, report),
        copies: fields.node("copies").and_then(|node| copies(node, report)).unwrap_or_default(),
        all_unhealthy: fields.text("all_unhealthy", report),
        allow_public: fields.boolean("allow_public", report).unwrap_or(false),
        version_key: fields.boolean("version_key", report).unwrap_or(false),
        rewrite: fields.node("rewrite").and_then(|node| rewrite(node, report)).unwrap_or_default(),
        tls: fields.node("tls").and_then(|node| tls(node, report)),
        health: fields.node("health").and_then(|node| health(node, report)),
    };
    fields.close(report);
    Some(doc)
}

fn copies(node: &Node, report: &mut Report) -> Option<CopyPaceDoc> {
    let mut fields = Fields::open(node, "copies", report)?;
    let doc = CopyPaceDoc {
        per_s_max: fields.number32("per_s_max", 1..=1_000_000, report),
        in_flight_max: fields.number32("in_flight_max", 1..=1_024, report),
    };
    fields.close(report);
    Some(doc)
}

fn rewrite(node: &Node, report: &mut Report) -> Option<RewriteDoc> {
    let mut fields = Fields::open(node, "rewrite", report)?;
    let doc = RewriteDoc {
        host: fields.text("host", report),
        path_prefix: fields.node("path_prefix").and_then(|node| path_prefix(node, report)),
        set_headers: fields.node("set_headers").map(|node| pairs(node, "set_headers", report)).unwrap_or_default(),
        remove_headers: fields.texts("remove_headers", report).unwrap_or_default(),
    };
    fields.close(report);
    Some(doc)
}

fn tls(node: &Node, report: &mut Report) -> Option<TlsDoc> {
    let mut fields = Fields::open(node, "tls", report)?;
    let doc = TlsDoc {
        ca: fields.text("ca", report),
        certificate: fields.text("certificate", report),
        key: fields.text("key", report),
        server_name: fields.text("server_name", report),
        unverified: fields
            .boolean("verify", report)
            .filter(|verify| !verify)
            .and_then(|_| fields.node("verify"))
            .map(|node| node.place.clone()),
    };
    fields.close(report);
    Some(doc)
}

fn path_prefix(node: &Node, report: &mut Report) -> Option<(Text, Text)> {
    let mut fields = Fields::open(node, "path_prefix", report)?;
    let help = "write both, such as {from: /shop, to: /}";
    fields.required("from", help, report);
    let from = fields.text("from", report);
    fields.required("to", help, report);
    let to = fields.text("to", report);
    fields.close(report);
    Some((from?, to?))
}

/// A number of milliseconds with its place, for what another key may contradict.
fn placed(fields: &mut Fields<'_>, name: &'static str, report: &mut Report) -> Option<(Place, u32)> {
    let place = fields.node(name)?.place.clone();
    Some((place, fields.number32(name, 1..=HOUR_MS, report)?))
}

fn health(node: &Node, report: &mut Report) -> Option<HealthDoc> {
    let mut fields = Fields::open(node, "health", report)?;
    fields.required("path", "name the path to ask, such as /healthz", report);
    let path = fields.text("path", report);
    let host = fields.text("host", report);
    let interval_ms = fields.number32("interval_ms", 100..=HOUR_MS, report);
    let timeout_ms = fields.number32("timeout_ms", 10..=60_000, report);
    let healthy_after = fields.number32("healthy_after", 1..=100, report);
    let unhealthy_after = fields.number32("unhealthy_after", 1..=100, report);
    let expect_status = fields.node("expect_status").and_then(|node| statuses(node, report));
    fields.close(report);
    Some(HealthDoc { path: path?, host, interval_ms, timeout_ms, healthy_after, unhealthy_after, expect_status })
}

/// One status, or the first and the last of several, such as `200-299`.
fn statuses(node: &Node, report: &mut Report) -> Option<(u16, u16)> {
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let found = match &node.kind {
        Kind::Number(number) => status(&number.to_string()).map(|only| (only, only)),
        Kind::Str { text, .. } => match text.split_once('-') {
            Some((first, last)) => status(first.trim()).zip(status(last.trim())),
            None => status(text).map(|only| (only, only)),
        },
        _ => None,
    };
    let found = found.filter(|(first, last)| first <= last);
    if found.is_none() {
        let message = "`expect_status` is not a status or a range of statuses";
        report.push(Diagnostic::error("bad-status", &node.place, message).help("write 200, or 200-299"));
    }
    found
}
