//! Owns the way from documents to a snapshot: cross-check and compile; it never publishes.

mod client_tls;
mod copies;
mod documents;
mod endpoint;
mod flag_warnings;
mod flags;
mod guard;
mod health;
mod identity;
mod keyless;
mod legs;
mod matcher;
mod protocol;
mod routes;
mod rule;
mod rule_fractional;
mod rule_results;
mod upstreams;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use endpoint::is_own_listener;
pub use flags::{FlagSet, compile_flags};
pub use legs::is_stage;

use crate::config::{self, Diagnostic, FileSet, Kind, Node, Place, Report};
use crate::flag::Hashing;
use crate::snapshot::{Rules, Snapshot};
use crate::tls::NamedFile;
use crate::upstream::Upstream;

use client_tls::ClientFiles;

/// What compiling depends on besides the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which hash generation `fractional` uses.
    pub hashing: Hashing,
    /// Where this router listens; an upstream there would be a loop (rule P4).
    pub listeners: Vec<SocketAddr>,
    /// The wall clock in seconds since the epoch, for `expires`.
    pub now_unix_s: i64,
    /// Whether a set that is suddenly much smaller is meant (SIGHUP says so).
    pub accept_shrink: bool,
    /// The directory that the route files are a copy of; paths in them are seen from there.
    pub copied_from: Option<PathBuf>,
    /// Whether this router keeps no writes, so that no route can insist on it.
    pub keeps_nothing: bool,
}

/// What compiling gave.
#[derive(Debug)]
pub struct Outcome {
    /// Everything found, sorted by file and place.
    pub report: Report,
    /// What may be published; `None` when the report has errors.
    pub draft: Option<Draft>,
    /// The files that the route files name, as they were; a change of one makes the set another one.
    pub named: Vec<NamedFile>,
}

/// A compiled set that has no generation yet.
#[derive(Debug)]
pub struct Draft {
    /// What the files said.
    pub rules: Arc<Rules>,
    /// The upstreams, by [`crate::upstream::UpstreamId`].
    pub upstreams: Arc<[Arc<Upstream>]>,
}

impl Draft {
    /// Makes the snapshot of a generation, without overrides.
    pub fn into_snapshot(self, generation: u64) -> Snapshot {
        Snapshot { generation, rules: self.rules, upstreams: self.upstreams, overrides: Arc::default() }
    }
}

/// Cross-checks and compiles flags and routes together; all or nothing (promise 2).
///
/// `previous` is the snapshot in force: addresses of names that it knows are kept until they are resolved again,
/// upstreams that did not change keep their `Arc`, and a set much smaller than it is refused.
pub fn compile(flags: &FileSet, routes: &FileSet, options: &Options, previous: Option<&Snapshot>) -> Outcome {
    let mut report = Report::default();
    let flag_nodes = parse_set(flags, &mut report);
    let incomplete = flag_nodes.len() < flags.files.len() || flags.report.has_errors();
    let route_nodes = parse_set(routes, &mut report);
    let before = previous.map(|snapshot| snapshot.rules.flags.as_slice());
    let flags = flags::compile_flags(&flag_nodes, options.now_unix_s, before, &mut report);
    let documents = documents::merge(&route_nodes, &mut report);
    let identity = identity::compile(&documents, &mut report);
    let mut files = ClientFiles::new(&routes.dir, options);
    let upstreams = upstreams::compile(&documents.upstreams, options, &mut files, previous, &mut report);
    let names = routes::Names::new(&flags, &flag_nodes, &documents.upstreams, &upstreams, incomplete, options);
    let compiled = routes::compile(&documents.routes, &names, &mut report);
    // A route that could not be read may use what seems unused.
    if !report.has_errors() {
        usage::check(&documents.routes, &names, &identity.identity, &identity.mapped, &mut report);
        if let Some((table, _)) = &compiled {
            keyless::check(table, &identity.identity, &names, &mut report);
        }
        guard::shrink(flags.flags.len(), documents.routes.len(), options, previous, &mut report);
    }
    report.sort();
    let draft = compiled.filter(|_| !report.has_errors()).map(|(table, legs)| Draft {
        rules: Arc::new(Rules {
            flags: flags.flags,
            flag_ids: flags.ids,
            hashing: options.hashing,
            routes: table,
            legs,
            identity: identity.identity,
            mapped: identity.mapped,
            forcing: identity.forcing,
        }),
        upstreams: upstreams.list.into(),
    });
    Outcome { report, draft, named: files.named }
}

/// The documents of a set; what is wrong with the files goes to `report`.
fn parse_set(set: &FileSet, report: &mut Report) -> Vec<Node> {
    report.diagnostics.extend(set.report.diagnostics.iter().cloned());
    let mut nodes = Vec::with_capacity(set.files.len());
    for file in &set.files {
        let before = report.diagnostics.len();
        let node = config::parse(file, report).filter(|node| !matches!(node.kind, Kind::Null));
        if node.is_none() && report.diagnostics.len() == before {
            let place = Place { file: Arc::clone(file), start: 0, end: 0 };
            let found = Diagnostic::error("empty-file", &place, "the file is empty, or holds nothing but comments");
            report.push(found.help("was it half-written? remove the file if it is not needed"));
        }
        nodes.extend(node);
    }
    nodes
}
