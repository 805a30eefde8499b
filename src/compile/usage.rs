//! Owns the warnings about what is defined but not used, and used but never there.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::routes::Names;
use crate::attribute::Attribute;
use crate::config::{Diagnostic, Report, RouteDoc, closest};
use crate::flag::Flag;
use crate::snapshot::Identity;

/// What rules may ask of every request; the names behind a dot are the reader's own.
const EVERYWHERE: [&str; 9] =
    ["targetingKey", "method", "path", "host", "route", "client.ip", "$flagd.timestamp", "$flagd.flagKey", "header."];

/// Warns about flags that no route uses, and about what a used flag reads and no request has.
pub(super) fn check(
    docs: &[RouteDoc],
    names: &Names<'_>,
    identity: &Identity,
    mapped: &HashMap<Box<str>, Attribute>,
    report: &mut Report,
) {
    let used: HashSet<&str> = docs.iter().filter_map(|doc| Some(&*doc.flag.as_ref()?.text)).collect();
    for flag in &names.flags.flags {
        if used.contains(&*flag.key) {
            unmapped(flag, names, mapped, report);
            if identity.sources.is_empty() {
                nobody(flag, names, report);
            }
        } else if let Some(place) = names.flag_place(&flag.key) {
            let found = Diagnostic::warning("unused-flag", place, format!("no route uses the flag `{}`", flag.key));
            report.push(found.help("name it in a route (`flag: …`), or remove it when its migration is over"));
        }
    }
}

/// A misspelt name reads as null, so that a rule quietly never matches.
fn unmapped(flag: &Flag, names: &Names<'_>, mapped: &HashMap<Box<str>, Attribute>, report: &mut Report) {
    let asked = flag.vars().filter_map(|var| match &var.attribute {
        Attribute::Mapped(name) if !name.is_empty() && !mapped.contains_key(name) => Some(&**name),
        _ => None,
    });
    let Some(place) = names.flag_place(&flag.key) else { return };
    for name in asked.collect::<BTreeSet<_>>() {
        let message = format!("the flag `{}` reads `{name}`, which no request has", flag.key);
        let found = Diagnostic::warning("unmapped-attribute", place, message);
        let near = closest(name, mapped.keys().map(|known| &**known).chain(EVERYWHERE));
        report.push(found.help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                format!("say in a route file where it comes from, such as `context: {{{name}: \"header:x-{name}\"}}`")
            }
        }));
    }
}

/// Without a targeting key a split cannot tell one visitor from another.
fn nobody(flag: &Flag, names: &Names<'_>, report: &mut Report) {
    let mut splits = Vec::new();
    if let Some(rule) = flag.root() {
        rule.collect_splits(&mut splits);
    }
    let by_key = splits.iter().any(|split| split.seed.is_none())
        || flag.vars().any(|var| var.attribute == Attribute::TargetingKey);
    if let (true, Some(place)) = (by_key, names.flag_place(&flag.key)) {
        let message = format!("the flag `{}` asks for the targeting key, and no request has one", flag.key);
        let help =
            "say in a route file where it comes from: `identity: {targeting_key: [cookie:session, issue:banyan_id]}`";
        report.push(Diagnostic::warning("no-identity", place, message).help(help));
    }
}
