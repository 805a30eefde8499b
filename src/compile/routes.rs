//! Owns the way from routes as written to a route table, and the names that routes refer to.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::flags::FlagSet;
use super::legs::{LegBook, compile as compile_choice};
use super::matcher;
use super::upstreams::Upstreams;
use super::{Options, copies};
use crate::config::{Diagnostic, Node, Place, Report, RouteDoc, Text, UpstreamDoc, did_you_mean};
use crate::flag::{Flag, FlagId};
use crate::route::{PathTemplate, RouteTable};
use crate::snapshot::{Choice, CopyRules, JournalOverflow, Leg, LegLabels, Route};
use crate::upstream::{AllUnhealthy, Protocol, UpstreamId};

/// How many unknown names get a suggestion: looking for one costs as much as there are names.
const SUGGESTIONS_MAX: u32 = 50;

/// The names that routes may refer to.
pub(super) struct Names<'a> {
    pub(super) flags: &'a FlagSet,
    upstreams: &'a Upstreams,
    /// Every flag that stands in the files, also one that could not be compiled.
    declared_flags: HashMap<&'a str, &'a Place>,
    /// Every upstream that stands in the files.
    declared_upstreams: HashSet<&'a str>,
    suggestions: Cell<u32>,
    /// A flag file could not be read.
    flags_incomplete: bool,
    /// This router keeps no writes for their copies.
    keeps_nothing: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(
        flags: &'a FlagSet,
        flag_nodes: &'a [Node],
        upstream_docs: &'a [UpstreamDoc],
        upstreams: &'a Upstreams,
        flags_incomplete: bool,
        options: &Options,
    ) -> Self {
        let declared = flag_nodes.iter().filter_map(|node| node.key("flags")?.as_map()).flatten();
        Self {
            flags,
            upstreams,
            declared_flags: declared.filter_map(|(key, _)| Some((key.as_str()?, &key.place))).collect(),
            declared_upstreams: upstream_docs.iter().map(|doc| &*doc.name.text).collect(),
            suggestions: Cell::new(SUGGESTIONS_MAX),
            flags_incomplete,
            keeps_nothing: options.keeps_nothing,
        }
    }

    /// The upstream of a name; `None` after a report, here or where it is defined.
    pub(super) fn upstream(&self, name: &Text, report: &mut Report) -> Option<UpstreamId> {
        let found = self.upstreams.ids.get(&name.text).copied();
        if found.is_none() && !self.declared_upstreams.contains(&*name.text) {
            let message = format!("unknown upstream `{}`", name.text);
            let mut unknown = Diagnostic::error("unknown-upstream", &name.place, message);
            unknown.help = self.suggest(&name.text, self.declared_upstreams.iter().copied());
            report.push(unknown);
        }
        found
    }

    /// Whether an upstream of this name stands in the files.
    pub(super) fn is_upstream(&self, name: &str) -> bool {
        self.declared_upstreams.contains(name)
    }

    /// The name of a compiled upstream.
    pub(super) fn upstream_name(&self, id: UpstreamId) -> &'a str {
        &self.upstreams.list[id.0 as usize].name
    }

    /// Whether an upstream ever takes no more, so that a route's overflow may happen.
    pub(super) fn may_be_full(&self, id: UpstreamId) -> bool {
        let upstream = &self.upstreams.list[id.0 as usize];
        upstream.requests_max != 0 || upstream.all_unhealthy == AllUnhealthy::Refuse
    }

    /// The flag of a name; `None` after a report, here or where it is defined.
    pub(super) fn flag(&self, name: &Text, report: &mut Report) -> Option<(FlagId, &'a Flag)> {
        let found = self.flags.ids.get(&name.text).copied();
        // In a file that could not be read it may well be defined; that file is reported.
        if found.is_none() && !self.flags_incomplete && !self.declared_flags.contains_key(&*name.text) {
            let message = format!("unknown flag `{}`", name.text);
            let mut unknown = Diagnostic::error("unknown-flag", &name.place, message);
            unknown.help = self.suggest(&name.text, self.declared_flags.keys().copied());
            report.push(unknown);
        }
        found.map(|id| (id, &self.flags.flags[id.0 as usize]))
    }

    /// Where a flag stands.
    pub(super) fn flag_place(&self, key: &str) -> Option<&'a Place> {
        self.declared_flags.get(key).copied()
    }

    /// The help for an unknown name, while there is a budget for it.
    pub(super) fn suggest<'c>(
        &self,
        name: &str,
        candidates: impl IntoIterator<Item = &'c str> + Clone,
    ) -> Option<String> {
        let left = self.suggestions.get().checked_sub(1)?;
        self.suggestions.set(left);
        did_you_mean(name, candidates)
    }
}

/// Compiles all routes; `None` when the table could not be built, after a report.
pub(super) fn compile(
    docs: &[RouteDoc],
    names: &Names<'_>,
    report: &mut Report,
) -> Option<(RouteTable<Route>, Vec<LegLabels>)> {
    let mut book = LegBook::new(names);
    let mut compiled = Vec::with_capacity(docs.len());
    let mut written = Vec::with_capacity(docs.len());
    for doc in docs {
        let matcher = matcher::compile(&doc.matcher, report);
        let choice = compile_choice(doc, &mut book, report);
        if let (Some(matcher), Some(choice)) = (matcher, choice) {
            websocket_over_http2(doc, &choice, names, report);
            let copies = copy_rules(doc, &choice, &matcher.path, names.keeps_nothing, report);
            let route = Route {
                copies,
                name: doc.name.text.clone(),
                choice,
                websocket: doc.websocket,
                body_bytes_max: doc.body_bytes_max,
            };
            compiled.push((matcher, route));
            written.push(doc);
        }
    }
    match RouteTable::build(compiled) {
        Ok(table) => Some((table, book.into_labels())),
        Err(conflicts) => {
            for conflict in conflicts {
                let (first, second) = (written[conflict.first], written[conflict.second]);
                let message =
                    format!("no request can tell the routes `{}` and `{}` apart", first.name.text, second.name.text);
                let found = Diagnostic::error("route-conflict", &second.matcher.place, message);
                let label = format!("`{}` matches the same requests", first.name.text);
                let help = "make one of them more specific by host, path, methods, headers or query";
                report.push(found.also(&first.matcher.place, label).help(help));
            }
            None
        }
    }
}

/// How the writes of a route are copied; `None` where no leg copies any.
fn copy_rules(
    doc: &RouteDoc,
    choice: &Choice,
    path: &PathTemplate,
    keeps_nothing: bool,
    report: &mut Report,
) -> Option<Arc<CopyRules>> {
    let copies = legs(choice).iter().any(|leg| leg.copy_to.is_some());
    if let (false, Some(written)) = (copies, &doc.copies) {
        let message = format!("the route `{}` copies no writes", doc.name.text);
        let help = "a migration's stages copy (but `off` and `complete`), and so does `{serve: …, copy_writes: …}`";
        report.push(Diagnostic::warning("useless-copies", &written.place, message).help(help));
    }
    let rules = copies::compile(doc.copies.as_ref(), path, report);
    let insists = doc.copies.as_ref().and_then(|written| written.overflow.as_ref());
    let insists = insists.filter(|_| copies && keeps_nothing && rules.overflow == JournalOverflow::FailClosed);
    if let Some(insists) = insists {
        let message = format!("the route `{}` insists on copies, and this router keeps none", doc.name.text);
        let help = "start the router with a state directory that it can write to (its log says what failed), or leave `overflow` at `shed`";
        report.push(Diagnostic::error("keeps-nothing", &insists.place, message).help(help));
    }
    copies.then(|| Arc::new(rules))
}

/// Every leg of a route.
fn legs(choice: &Choice) -> Vec<&Leg> {
    match choice {
        Choice::Always(leg) => vec![leg],
        Choice::ByFlag { legs, fallback, .. } => legs.iter().flatten().chain([fallback]).collect(),
    }
}

/// Warns of a WebSocket route to an upstream where HTTP/2 is or may be spoken: the handshake would arrive as a plain GET.
fn websocket_over_http2(doc: &RouteDoc, choice: &Choice, names: &Names<'_>, report: &mut Report) {
    let upstreams = legs(choice).into_iter().map(|leg| &names.upstreams.list[leg.upstream.0 as usize]);
    let mut http2 = upstreams.filter(|upstream| doc.websocket && upstream.protocol != Protocol::Http1);
    if let Some(upstream) = http2.next() {
        let message = format!(
            "the route `{}` lets WebSockets through, but they do not pass to `{}` over HTTP/2",
            doc.name.text, upstream.name
        );
        let found = Diagnostic::warning("websocket-http2", &doc.name.place, message);
        report.push(found.help("write `protocol: http1` at the upstream"));
    }
}
