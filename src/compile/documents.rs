//! Owns the merging of route files into one document; what stands twice is reported with both places.

use std::collections::HashMap;

use crate::config::{Diagnostic, ForceDoc, IdentityDoc, Node, Place, Report, RouteDoc, RouteFile, Text, UpstreamDoc};

/// The longest name of a route or upstream, in bytes: it stands in every log line and many metrics.
const NAME_BYTES_MAX: usize = 128;

/// All route files as one.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) identity: Option<(Place, IdentityDoc)>,
    pub(super) context: Vec<(Text, Text)>,
    pub(super) force: Option<(Place, ForceDoc)>,
    pub(super) upstreams: Vec<UpstreamDoc>,
    pub(super) routes: Vec<RouteDoc>,
}

/// Merges the route files of a set.
pub(super) fn merge(nodes: &[Node], report: &mut Report) -> Documents {
    let mut all = Documents::default();
    for node in nodes {
        let file = RouteFile::read(node, report);
        only(&mut all.identity, file.identity, "identity", report);
        only(&mut all.force, file.force, "force", report);
        all.context.extend(file.context);
        all.upstreams.extend(file.upstreams);
        all.routes.extend(file.routes);
    }
    unique(&mut all.context, |(name, _)| name, "the context name", report);
    for name in all.upstreams.iter().map(|upstream| &upstream.name).chain(all.routes.iter().map(|route| &route.name)) {
        printable(name, report);
    }
    unique(&mut all.upstreams, |upstream| &upstream.name, "the upstream", report);
    unique(&mut all.routes, |route| &route.name, "the route", report);
    all
}

/// Reports a name that could not stand in a header, a metric and a log line alike (RFC 9651 section 3.3.3).
fn printable(name: &Text, report: &mut Report) {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if name.text.len() <= NAME_BYTES_MAX && name.text.bytes().all(allowed) {
        return;
    }
    let message = format!("`{}` cannot be a name", name.text);
    let help = format!("use letters, digits and signs such as `-`, `_` and `.`, at most {NAME_BYTES_MAX}");
    report.push(Diagnostic::error("bad-name", &name.place, message).help(help));
}

fn only<T>(slot: &mut Option<(Place, T)>, found: Option<(Place, T)>, what: &str, report: &mut Report) {
    match (&*slot, &found) {
        (Some((first, _)), Some((second, _))) => {
            let found = Diagnostic::error("duplicate-key", second, format!("`{what}` stands in two files"));
            report.push(found.also(first, "first here").help("keep it in one file"));
        }
        (None, _) => *slot = found,
        (Some(_), None) => {}
    }
}

/// Drops what has the name of an earlier one, after a report that names both.
fn unique<T>(items: &mut Vec<T>, name: impl Fn(&T) -> &Text, what: &str, report: &mut Report) {
    let mut seen: HashMap<Box<str>, Place> = HashMap::with_capacity(items.len());
    items.retain(|item| {
        let name = name(item);
        if let Some(first) = seen.get(&name.text) {
            let message = format!("{what} `{}` is defined twice", name.text);
            let found = Diagnostic::error("duplicate-name", &name.place, message);
            report.push(found.also(first, "first here").help("rename or remove one of the two"));
            return false;
        }
        seen.insert(name.text.clone(), name.place.clone());
        true
    });
}
