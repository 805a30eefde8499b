//! Owns the way from `copies:` as written to the rules by which writes are copied.

use http::{HeaderName, Method};

use crate::config::{CopiesDoc, Diagnostic, Report, Text, did_you_mean};
use crate::route::PathTemplate;
use crate::snapshot::{
    CopyMode, CopyRules, Credentials, EntityPart, EntityRule, IdCarrier, JournalOverflow, Naming, SideSwitch, TooLarge,
    UnknownOutcome,
};

/// What begins a JSON pointer in `created` and `carry_id`.
const JSON: &str = "json:";

/// Compiles the rules of a route that copies; the defaults where it says nothing.
pub(super) fn compile(doc: Option<&CopiesDoc>, path: &PathTemplate, report: &mut Report) -> CopyRules {
    let defaults = CopyRules::new(path.clone());
    let Some(doc) = doc else { return defaults };
    let mode = [CopyMode::Async, CopyMode::Overlap, CopyMode::Strict, CopyMode::SyncOutcome];
    let mode = mode.map(|mode| (mode.as_str(), mode));
    let overflow = [("shed", JournalOverflow::Shed), ("fail_closed", JournalOverflow::FailClosed)];
    let rules = CopyRules {
        path: path.clone(),
        mode: choose("mode", doc.mode.as_ref(), &mode, report),
        overflow: choose("overflow", doc.overflow.as_ref(), &overflow, report),
        too_large: choose(
            "too_large",
            doc.too_large.as_ref(),
            &[("gap", TooLarge::Gap), ("refuse", TooLarge::Refuse)],
            report,
        ),
        body_bytes_max: doc.body_bytes_max.unwrap_or(defaults.body_bytes_max),
        entity: doc.entity.as_ref().map(|text| entity(text, path, report)).unwrap_or_default(),
        created: doc.created.as_ref().and_then(|text| created(text, report)),
        carry_id: doc.carry_id.as_ref().and_then(|text| carry_id(text, report)),
        unknown: choose(
            "unknown",
            doc.unknown.as_ref(),
            &[("read", UnknownOutcome::Read), ("park", UnknownOutcome::Park)],
            report,
        ),
        lookup: doc.lookup.as_ref().and_then(|text| lookup(text, report)),
        idempotency_header: doc
            .idempotency_header
            .as_ref()
            .and_then(|text| header(text, report))
            .unwrap_or(defaults.idempotency_header),
        switch: choose(
            "switch",
            doc.switch.as_ref(),
            &[("immediate", SideSwitch::Immediate), ("drain", SideSwitch::Drain)],
            report,
        ),
        attempts_max: doc.attempts_max.unwrap_or(defaults.attempts_max),
        reads: doc.reads.iter().filter_map(|text| method(text, report)).collect(),
        drop_headers: doc.drop_headers.iter().filter_map(|text| header(text, report)).collect(),
        credentials: choose(
            "credentials",
            doc.credentials.as_ref(),
            &[("drop", Credentials::Drop), ("encrypt", Credentials::Encrypt)],
            report,
        ),
    };
    cross_check(doc, &rules, report);
    rules
}

/// What must be said together.
fn cross_check(doc: &CopiesDoc, rules: &CopyRules, report: &mut Report) {
    let mut refuse = |text: &Text, message: &str, help: &str| {
        report.push(Diagnostic::error("bad-copies", &text.place, message).help(help));
    };
    if let (Some(text), None) = (&doc.carry_id, &rules.created) {
        let help = "add `created: location`, or `created: json:/id`";
        refuse(text, "`carry_id` needs to know the id that the primary gave", help);
    }
    let names_entity = rules.id_parameter().is_some();
    if let (Some(text), false) = (&doc.created, names_entity) {
        let help =
            "give the route a path with the id as a parameter, such as `/orders/{*id}`, which `/orders` matches too";
        refuse(text, "`created` finds an id, but the path of the route has no parameter for it", help);
    }
}

fn choose<T: Copy + Default>(key: &str, text: Option<&Text>, values: &[(&str, T)], report: &mut Report) -> T {
    let Some(text) = text else { return T::default() };
    if let Some((_, value)) = values.iter().find(|(name, _)| *name == &*text.text) {
        return *value;
    }
    let mut found = Diagnostic::error("bad-copies", &text.place, format!("`{key}` cannot be `{}`", text.text));
    let listed = values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("`, `");
    let near = did_you_mean(&text.text, values.iter().map(|(name, _)| *name)).filter(|help| help.starts_with("did"));
    found.help = Some(near.unwrap_or_else(|| format!("write one of `{listed}`")));
    report.push(found);
    T::default()
}

/// Reads `order:{id}`.
fn entity(text: &Text, path: &PathTemplate, report: &mut Report) -> EntityRule {
    let mut parts = Vec::new();
    let mut rest = &*text.text;
    let mut refuse = |message: String, help: String| {
        report.push(Diagnostic::error("bad-copies", &text.place, message).help(help));
        EntityRule::Path
    };
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            return refuse("the brace is not closed".to_owned(), "a parameter is written `{name}`".to_owned());
        };
        if path.parameters().iter().all(|known| **known != *name) {
            let listed = path.parameters().join("`, `");
            let help = if listed.is_empty() {
                "the path has none; leave `entity` out, and each path is an entity".to_owned()
            } else {
                format!("it has `{listed}`")
            };
            return refuse(format!("the path `{path}` of the route has no parameter `{name}`"), help);
        }
        if !literal.is_empty() {
            parts.push(EntityPart::Literal(literal.into()));
        }
        parts.push(EntityPart::Parameter(name.into()));
        rest = behind;
    }
    if parts.is_empty() {
        let help = "name a parameter of the path, such as `order:{id}`".to_owned();
        return refuse("every write of the route would be about the same entity".to_owned(), help);
    }
    if !rest.is_empty() {
        parts.push(EntityPart::Literal(rest.into()));
    }
    EntityRule::Template(parts.into())
}

fn created(text: &Text, report: &mut Report) -> Option<Naming> {
    match &*text.text {
        "location" => Some(Naming::Location),
        other => match other.strip_prefix(JSON) {
            Some(pointer) => pointed(pointer, text, report).map(Naming::Json),
            None => refuse_form(text, "created", "`location` or `json:/POINTER`", report),
        },
    }
}

fn carry_id(text: &Text, report: &mut Report) -> Option<IdCarrier> {
    if &*text.text == "path" {
        return Some(IdCarrier::Path);
    }
    if let Some(name) = text.text.strip_prefix("header:") {
        let text = Text { text: name.into(), place: text.place.clone() };
        return header(&text, report).map(IdCarrier::Header);
    }
    match text.text.strip_prefix(JSON) {
        Some(pointer) => pointed(pointer, text, report).map(IdCarrier::Json),
        None => refuse_form(text, "carry_id", "`path`, `header:NAME` or `json:/POINTER`", report),
    }
}

fn refuse_form<T>(text: &Text, key: &str, forms: &str, report: &mut Report) -> Option<T> {
    let message = format!("`{key}` cannot be `{}`", text.text);
    report.push(Diagnostic::error("bad-copies", &text.place, message).help(format!("write {forms}")));
    None
}

/// Judges a JSON pointer (RFC 6901).
fn pointed(pointer: &str, text: &Text, report: &mut Report) -> Option<Box<str>> {
    if pointer.starts_with('/') {
        return Some(pointer.into());
    }
    let found = Diagnostic::error("bad-copies", &text.place, format!("`{pointer}` is not a JSON pointer"));
    report.push(found.help("it begins with `/`, such as `json:/id` or `json:/order/id`"));
    None
}

fn lookup(text: &Text, report: &mut Report) -> Option<Box<str>> {
    if text.text.starts_with('/') && text.text.contains("{key}") && text.text.is_ascii() {
        return Some(text.text.clone());
    }
    let message = format!("`lookup` cannot be `{}`", text.text);
    let help = "write path and query with `{key}` for the idempotency key, such as `/api/orders?idempotency_key={key}`";
    report.push(Diagnostic::error("bad-copies", &text.place, message).help(help));
    None
}

fn header(text: &Text, report: &mut Report) -> Option<HeaderName> {
    let found = HeaderName::from_bytes(text.text.as_bytes()).ok();
    if found.is_none() {
        let message = format!("`{}` is not a header name", text.text);
        report.push(Diagnostic::error("bad-header", &text.place, message));
    }
    found
}

fn method(text: &Text, report: &mut Report) -> Option<Method> {
    let found = Method::from_bytes(text.text.as_bytes()).ok().filter(|_| !text.text.chars().any(char::is_lowercase));
    if found.is_none() {
        let message = format!("`{}` is not a method", text.text);
        report.push(Diagnostic::error("bad-method", &text.place, message).help("methods are written in upper case"));
    }
    found
}
