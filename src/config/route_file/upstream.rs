//! Owns the written form of an upstream.

use super::pairs;
use crate::config::fields::text;
use crate::config::{Fields, Node, Place, Report, Text};

/// An upstream as written.
#[derive(Debug)]
pub struct UpstreamDoc {
    /// Its name.
    pub name: Text,
    /// `endpoints`; `None` when that was reported already.
    pub endpoints: Option<Vec<Text>>,
    /// `protocol`.
    pub protocol: Option<Text>,
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
    /// `allow_public`.
    pub allow_public: bool,
    /// `version_key`.
    pub version_key: bool,
    /// `rewrite`.
    pub rewrite: RewriteDoc,
    /// `tls`.
    pub tls: Option<TlsDoc>,
    /// Where `health` stands; it is checked but not in force in this version.
    pub health: Option<Place>,
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
        allow_public: fields.boolean("allow_public", report).unwrap_or(false),
        version_key: fields.boolean("version_key", report).unwrap_or(false),
        rewrite: fields.node("rewrite").and_then(|node| rewrite(node, report)).unwrap_or_default(),
        tls: fields.node("tls").and_then(|node| tls(node, report)),
        health: fields.node("health").and_then(|node| health(node, report)),
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

fn health(node: &Node, report: &mut Report) -> Option<Place> {
    let mut fields = Fields::open(node, "health", report)?;
    fields.required("path", "name the path to ask, such as /healthz", report);
    fields.text("path", report);
    fields.number32("interval_ms", 100..=HOUR_MS, report);
    fields.close(report);
    Some(node.place.clone())
}
