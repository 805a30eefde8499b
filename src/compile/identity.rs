//! Owns the compiling of `identity`, `context` and `force`: who a request is, and who may choose for it.

use std::collections::HashMap;

use http::HeaderName;

use super::documents::Documents;
use crate::attribute::Attribute;
use crate::config::{Diagnostic, ForceDoc, IdentityDoc, Report, Text};
use crate::snapshot::{Forcing, Identity, IssuedCookie};

/// A year in seconds: long enough that a visitor stays in the same group through a migration.
const COOKIE_AGE_S: u32 = 31_536_000;

/// What the three keys compile to.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) identity: Identity,
    pub(super) mapped: HashMap<Box<str>, Attribute>,
    pub(super) forcing: Option<Forcing>,
}

/// Compiles the three keys; findings go to `report`.
pub(super) fn compile(documents: &Documents, report: &mut Report) -> Compiled {
    Compiled {
        identity: documents.identity.as_ref().map(|(_, doc)| identity(doc, report)).unwrap_or_default(),
        mapped: documents.context.iter().filter_map(|(name, source)| mapped(name, source, report)).collect(),
        forcing: documents.force.as_ref().and_then(|(_, doc)| forcing(doc, report)),
    }
}

fn identity(doc: &IdentityDoc, report: &mut Report) -> Identity {
    let mut identity = Identity::default();
    for text in &doc.sources {
        if let Some(name) = text.text.strip_prefix("issue:") {
            issue(text, name, doc, &mut identity, report);
        } else if let Some(attribute) = source(text, ", issue:NAME", report) {
            identity.sources.push(attribute);
        }
    }
    if let (Some((place, _)), None) = (&doc.cookie_max_age_s, &identity.issue) {
        let found = Diagnostic::warning("unused-cookie", place, "no cookie is issued, so its age says nothing");
        report.push(found.help("add `issue:NAME` to `targeting_key`, or remove `cookie`"));
    }
    identity
}

fn issue(text: &Text, name: &str, doc: &IdentityDoc, identity: &mut Identity, report: &mut Report) {
    // A cookie's name is a token (RFC 6265 section 4.1.1), which is what a header's name is.
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        let message = format!("`{name}` is not a cookie name");
        report.push(Diagnostic::error("bad-source", &text.place, message).help("use letters, digits, `_` and `-`"));
        return;
    }
    if identity.issue.is_some() {
        let found = Diagnostic::error("bad-source", &text.place, "a second cookie to issue");
        report.push(found.help("keep one `issue:`; other cookies are read with `cookie:NAME`"));
        return;
    }
    let max_age_s = doc.cookie_max_age_s.as_ref().map_or(COOKIE_AGE_S, |(_, age)| *age);
    identity.sources.push(Attribute::Cookie(name.into()));
    identity.issue = Some(IssuedCookie { name: name.into(), max_age_s });
}

fn mapped(name: &Text, text: &Text, report: &mut Report) -> Option<(Box<str>, Attribute)> {
    let reserved = name.text.starts_with('$') || !matches!(Attribute::from_rule(&name.text), Attribute::Mapped(_));
    if reserved {
        let message = format!("`{}` already names an attribute of every request", name.text);
        report.push(Diagnostic::error("reserved-name", &name.place, message).help("choose another name"));
        return None;
    }
    Some((name.text.clone(), source(text, "", report)?))
}

fn source(text: &Text, more: &str, report: &mut Report) -> Option<Attribute> {
    match Attribute::from_source(&text.text) {
        Ok(attribute) => Some(attribute),
        Err(error) => {
            let found = Diagnostic::error("bad-source", &text.place, error.to_string());
            let help = format!("sources look like header:x-user-id, cookie:session, query:user{more}");
            report.push(found.help(help));
            None
        }
    }
}

fn forcing(doc: &ForceDoc, report: &mut Report) -> Option<Forcing> {
    let header = HeaderName::from_bytes(doc.header.text.as_bytes()).ok();
    if header.is_none() {
        let message = format!("`{}` is not a header name", doc.header.text);
        report.push(Diagnostic::error("bad-header", &doc.header.place, message));
    }
    if doc.networks.is_empty() {
        let found = Diagnostic::error("no-networks", &doc.header.place, "`force` names no network");
        report.push(found.help("list the networks that testers come from, such as 10.0.0.0/8"));
    }
    let mut networks = Vec::with_capacity(doc.networks.len());
    for text in &doc.networks {
        match text.text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => {
                let error: crate::network::NetworkError = error;
                report.push(Diagnostic::error("bad-network", &text.place, error.to_string()));
            }
        }
    }
    Some(Forcing { header: header?, networks })
}
