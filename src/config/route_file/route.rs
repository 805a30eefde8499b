//! Owns the written form of a route.

use super::copies::{self, CopiesDoc};
use crate::config::fields::{entries, text, wrong};
use crate::config::{Diagnostic, Fields, Kind, Node, Place, Report, Text};

/// A route as written.
#[derive(Debug)]
pub struct RouteDoc {
    /// Its name.
    pub name: Text,
    /// `match`.
    pub matcher: MatchDoc,
    /// `flag`.
    pub flag: Option<Text>,
    /// Where its requests go; `None` when that was reported already.
    pub target: Option<TargetDoc>,
    /// `fallback`: an upstream, or a stage on a migration route.
    pub fallback: Option<Text>,
    /// `overflow`: what serves while the chosen upstream is full.
    pub overflow: Option<Text>,
    /// `websocket`.
    pub websocket: bool,
    /// `body_bytes_max`.
    pub body_bytes_max: Option<u64>,
    /// `copies`: how writes are copied.
    pub copies: Option<CopiesDoc>,
}

/// `match:` as written.
#[derive(Debug)]
pub struct MatchDoc {
    /// Where it stands.
    pub place: Place,
    /// `host`.
    pub host: Option<Text>,
    /// `path`.
    pub path: Option<Text>,
    /// `methods`.
    pub methods: Vec<Text>,
    /// `headers`.
    pub headers: Vec<HeaderDoc>,
    /// `query`.
    pub query: Vec<HeaderDoc>,
}

/// A condition on a header or query parameter as written.
#[derive(Debug)]
pub struct HeaderDoc {
    /// Its name.
    pub name: Text,
    /// The exact value; `None` for `{present: true}`.
    pub value: Option<Text>,
}

/// Where a route's requests go, as written.
#[derive(Debug)]
pub enum TargetDoc {
    /// `upstream: NAME`.
    Upstream(Text),
    /// `variants: {VARIANT: UPSTREAM}`, with the place of the map.
    Variants(Place, Vec<(Text, VariantDoc)>),
    /// `migration: {legacy, modern}`, with the place of the map.
    Migration {
        /// Where it stands.
        place: Place,
        /// The legacy upstream.
        legacy: Text,
        /// The modern upstream.
        modern: Text,
    },
}

/// What a variant leads to, as written.
#[derive(Debug)]
pub struct VariantDoc {
    /// The upstream that serves.
    pub serve: Text,
    /// `copy_writes`: the upstream that gets copies of writes.
    pub copy_writes: Option<Text>,
    /// `compare_reads`: the upstream whose reads are compared.
    pub compare_reads: Option<Text>,
}

pub(super) fn read(node: &Node, report: &mut Report) -> Option<RouteDoc> {
    let mut fields = Fields::open(node, "a route", report)?;
    fields.required("name", "name the route; logs and metrics use it", report);
    let name = fields.text("name", report);
    let help = "say which requests it takes, such as {path: \"/orders/{*rest}\"}";
    let matcher = fields.required("match", help, report).and_then(|node| matcher(node, report));
    let doc = RouteDoc {
        flag: fields.text("flag", report),
        target: target(&mut fields, node, report),
        fallback: fields.text("fallback", report),
        overflow: fields.text("overflow", report),
        websocket: fields.boolean("websocket", report).unwrap_or(false),
        body_bytes_max: fields.number("body_bytes_max", 1..=u64::MAX >> 1, report),
        copies: fields.node("copies").and_then(|node| copies::read(node, report)),
        name: match name {
            Some(name) => name,
            None => return close(fields, report),
        },
        matcher: match matcher {
            Some(matcher) => matcher,
            None => return close(fields, report),
        },
    };
    fields.close(report);
    Some(doc)
}

fn close(fields: Fields<'_>, report: &mut Report) -> Option<RouteDoc> {
    fields.close(report);
    None
}

fn matcher(node: &Node, report: &mut Report) -> Option<MatchDoc> {
    let mut fields = Fields::open(node, "match", report)?;
    let doc = MatchDoc {
        place: node.place.clone(),
        host: fields.text("host", report),
        path: fields.text("path", report),
        methods: fields.texts("methods", report).unwrap_or_default(),
        headers: fields.node("headers").map(|node| conditions(node, "headers", report)).unwrap_or_default(),
        query: fields.node("query").map(|node| conditions(node, "query", report)).unwrap_or_default(),
    };
    fields.close(report);
    Some(doc)
}

fn conditions(node: &Node, what: &'static str, report: &mut Report) -> Vec<HeaderDoc> {
    let entries = entries(node, what, report).unwrap_or_default();
    entries.iter().filter_map(|(name, value)| condition(text(name, what, report)?, value, report)).collect()
}

fn condition(name: Text, value: &Node, report: &mut Report) -> Option<HeaderDoc> {
    if !matches!(value.kind, Kind::Map(_)) {
        let value = text(value, &name.text.clone(), report)?;
        return Some(HeaderDoc { name, value: Some(value) });
    }
    let mut fields = Fields::open(value, "a condition", report)?;
    let present = fields.boolean("present", report);
    fields.close(report);
    if present != Some(true) {
        let message = format!("the condition on `{}` says nothing", name.text);
        let help = "write the exact value as a string, or {present: true}";
        report.push(Diagnostic::error("bad-condition", &value.place, message).help(help));
        return None;
    }
    Some(HeaderDoc { name, value: None })
}

/// Reads whichever of the three forms there is; none or several are reported.
fn target(fields: &mut Fields<'_>, route: &Node, report: &mut Report) -> Option<TargetDoc> {
    let forms = ["upstream", "variants", "migration"].map(|name| (name, fields.node(name)));
    let mut written = forms.into_iter().filter_map(|(name, node)| Some((name, node?)));
    let Some((form, node)) = written.next() else {
        let place = route.as_map().and_then(|entries| entries.first()).map_or(&route.place, |(key, _)| &key.place);
        let found = Diagnostic::error("no-target", place, "the route leads nowhere");
        report.push(found.help("add one of `upstream`, `variants` (with `flag`) or `migration` (with `flag`)"));
        return None;
    };
    if let Some((second, other)) = written.next() {
        let found = Diagnostic::error(
            "two-targets",
            &other.place,
            format!("the route has both `{form}` and `{second}`; it can have only one"),
        );
        report.push(found.also(&node.place, format!("`{form}` is here")).help("keep one of them"));
        return None;
    }
    match form {
        "upstream" => text(node, "upstream", report).map(TargetDoc::Upstream),
        "variants" => variants(node, report),
        _ => migration(node, report),
    }
}

fn variants(node: &Node, report: &mut Report) -> Option<TargetDoc> {
    let entries = entries(node, "variants", report)?;
    let read: Vec<_> = entries
        .iter()
        .filter_map(|(name, value)| Some((text(name, "variants", report)?, variant(value, report)?)))
        .collect();
    (read.len() == entries.len()).then(|| TargetDoc::Variants(node.place.clone(), read))
}

fn variant(node: &Node, report: &mut Report) -> Option<VariantDoc> {
    match node.kind {
        Kind::Str { .. } => {
            Some(VariantDoc { serve: text(node, "variants", report)?, copy_writes: None, compare_reads: None })
        }
        Kind::Map(_) => {
            let mut fields = Fields::open(node, "a variant", report)?;
            fields.required("serve", "name the upstream that serves", report);
            let serve = fields.text("serve", report);
            let copy_writes = fields.text("copy_writes", report);
            let compare_reads = fields.text("compare_reads", report);
            fields.close(report);
            Some(VariantDoc { serve: serve?, copy_writes, compare_reads })
        }
        _ => wrong(node, "a variant's target", "an upstream's name or a map with `serve`", report),
    }
}

fn migration(node: &Node, report: &mut Report) -> Option<TargetDoc> {
    let mut fields = Fields::open(node, "migration", report)?;
    let help = "name both sides, such as {legacy: monolith, modern: orders}";
    fields.required("legacy", help, report);
    let legacy = fields.text("legacy", report);
    fields.required("modern", help, report);
    let modern = fields.text("modern", report);
    fields.close(report);
    Some(TargetDoc::Migration { place: node.place.clone(), legacy: legacy?, modern: modern? })
}
