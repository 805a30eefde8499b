//! Owns the way from `match:` as written to a [`Matcher`].

use http::{HeaderName, Method};

use crate::config::{Diagnostic, HeaderDoc, MatchDoc, Place, Report, Text, closest};
use crate::route::{HostPattern, Matcher, PathTemplate, ValuePattern};

/// The path of a route that names only a host.
const EVERY_PATH: &str = "/{*rest}";

/// Compiles a matcher; `None` after a report.
pub(super) fn compile(doc: &MatchDoc, report: &mut Report) -> Option<Matcher> {
    let before = report.diagnostics.len();
    if doc.host.is_none() && doc.path.is_none() {
        let found = Diagnostic::error("no-path", &doc.place, "`match` names neither a path nor a host");
        report.push(found.help("for every request write {path: \"/{*rest}\"}"));
    }
    let host = doc.host.as_ref().map_or(Some(HostPattern::Any), |text| host(text, report));
    let path = match &doc.path {
        Some(text) => template(text, report),
        None => PathTemplate::parse(EVERY_PATH).ok(),
    };
    let methods = doc.methods.iter().filter_map(|text| method(text, report)).collect();
    let mut headers = Vec::with_capacity(doc.headers.len());
    for condition in &doc.headers {
        match HeaderName::from_bytes(condition.name.text.as_bytes()) {
            Ok(name) if headers.iter().any(|(known, _)| *known == name) => {
                let message = format!("the header `{name}` stands twice");
                report.push(Diagnostic::error("bad-condition", &condition.name.place, message));
            }
            Ok(name) => headers.push((name, value(condition))),
            Err(_) => {
                let message = format!("`{}` is not a header name", condition.name.text);
                report.push(Diagnostic::error("bad-header", &condition.name.place, message));
            }
        }
    }
    let query = doc.query.iter().map(|condition| (condition.name.text.clone(), value(condition))).collect();
    if report.diagnostics.len() > before {
        return None;
    }
    Some(Matcher { host: host?, path: path?, methods, headers, query })
}

fn value(condition: &HeaderDoc) -> ValuePattern {
    condition.value.as_ref().map_or(ValuePattern::Present, |value| ValuePattern::Exact(value.text.clone()))
}

fn host(text: &Text, report: &mut Report) -> Option<HostPattern> {
    let lower = text.text.to_ascii_lowercase();
    let (below, name) = match lower.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, &*lower),
    };
    let mut refuse = |message: String, help: &str| {
        report.push(Diagnostic::error("bad-host", &text.place, message).help(help));
        None
    };
    if name.contains('*') {
        let help = "a wildcard stands for everything below a name, such as *.example.com";
        return refuse(format!("`{}` has a wildcard in the wrong place", text.text), help);
    }
    if name.parse::<std::net::Ipv4Addr>().is_err() && !is_ipv6(name) {
        if name.contains(':') {
            let help = "leave the port out: a host matches on every port";
            return refuse(format!("`{}` is not a host name", text.text), help);
        }
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !name.split('.').all(label) {
            let help = "write it as in the Host header, such as shop.example or *.example.com, without a final dot";
            return refuse(format!("`{}` is not a host name", text.text), help);
        }
    }
    Some(if below { HostPattern::Below(name.into()) } else { HostPattern::Exact(name.into()) })
}

fn is_ipv6(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

fn template(text: &Text, report: &mut Report) -> Option<PathTemplate> {
    match PathTemplate::parse(&text.text) {
        Ok(template) => Some(template),
        Err(error) => {
            // The offset counts in the text; in the file the same bytes stand behind an opening quote, if there is one.
            let place = &text.place;
            let written = place.file.text.get(place.start..place.end).unwrap_or_default();
            let verbatim = written.find(&*text.text).map(|at| place.start + at + error.offset.min(text.text.len()));
            let start = verbatim.unwrap_or(place.start);
            let end = if verbatim.is_some() { start } else { place.end };
            let place = Place { file: std::sync::Arc::clone(&place.file), start, end };
            report.push(Diagnostic::error("bad-path", &place, error.message));
            None
        }
    }
}

fn method(text: &Text, report: &mut Report) -> Option<Method> {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    let mut refuse = |message: String, help: Option<String>| {
        let mut found = Diagnostic::error("bad-method", &text.place, message);
        found.help = help;
        report.push(found);
        None
    };
    let upper = text.text.to_ascii_uppercase();
    if upper == "CONNECT" {
        return refuse("CONNECT is never forwarded".into(), None);
    }
    // Methods are case-sensitive (RFC 9110 section 9.1): `get` would match nothing that anybody sends.
    if *upper != *text.text && KNOWN.contains(&&*upper) {
        return refuse(format!("methods are upper case: `{}`", text.text), Some(format!("write {upper}")));
    }
    let near = closest(&upper, KNOWN).filter(|near| *near != &*text.text);
    match Method::from_bytes(text.text.as_bytes()) {
        Ok(method) => {
            if let Some(near) = near.filter(|_| !KNOWN.contains(&&*text.text)) {
                let found = Diagnostic::warning("odd-method", &text.place, format!("unusual method `{method}`"));
                report.push(found.help(format!("did you mean `{near}`?")));
            }
            Some(method)
        }
        Err(_) => refuse(format!("`{}` is not a method", text.text), near.map(|near| format!("write {near}"))),
    }
}
