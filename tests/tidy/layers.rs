//! Holds who may import whom: the layer table, no circles, low coupling, and the fences around libraries.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, is_word, line, none, report, sources, words};

/// The top-level modules and what each may import. A new edge needs a decision record before a line here.
const LAYERS: &[(&str, &[&str])] = &[
    // Vocabulary.
    ("attribute", &[]),
    ("clock", &[]),
    ("fault", &[]),
    ("journal", &[]),
    ("lifecycle", &[]),
    ("limits", &[]),
    ("network", &[]),
    ("proxy_protocol", &[]),
    ("tls", &[]),
    ("upstream", &["proxy_protocol", "tls"]),
    ("flag", &["attribute"]),
    ("route", &[]),
    // Files to documents to snapshot.
    ("config", &[]),
    ("snapshot", &["attribute", "flag", "network", "route", "upstream"]),
    ("compile", &["attribute", "config", "flag", "network", "proxy_protocol", "route", "snapshot", "tls", "upstream"]),
    // Request to decision to upstream.
    ("head", &["fault", "limits", "network"]),
    ("decision", &["attribute", "flag", "network", "route", "snapshot"]),
    ("explain", &["decision", "fault", "flag", "head", "limits", "route", "snapshot"]),
    ("observe", &["fault", "limits", "tls"]),
    ("health", &["clock", "observe", "upstream"]),
    ("forward", &["clock", "fault", "head", "health", "limits", "observe", "proxy_protocol", "tls", "upstream"]),
    (
        "mirror",
        &[
            "clock",
            "fault",
            "forward",
            "head",
            "health",
            "journal",
            "lifecycle",
            "limits",
            "network",
            "observe",
            "route",
            "snapshot",
            "upstream",
        ],
    ),
    // The program around them.
    ("settings", &["flag", "limits", "network", "tls"]),
    ("listen", &[]),
    (
        "proxy",
        &[
            "clock",
            "decision",
            "fault",
            "flag",
            "forward",
            "head",
            "health",
            "lifecycle",
            "limits",
            "listen",
            "mirror",
            "network",
            "observe",
            "proxy_protocol",
            "route",
            "settings",
            "snapshot",
            "tls",
            "upstream",
        ],
    ),
    (
        "control",
        &[
            "attribute",
            "compile",
            "config",
            "explain",
            "flag",
            "health",
            "lifecycle",
            "listen",
            "mirror",
            "network",
            "observe",
            "proxy_protocol",
            "settings",
            "snapshot",
            "tls",
            "upstream",
        ],
    ),
    ("demo", &["lifecycle", "snapshot"]),
    ("cli", EVERYTHING),
];

/// The command line puts the program together.
const EVERYTHING: &[&str] = &["*"];

/// The figures of design section 10, of all ordered pairs and of all pairs that reach each other.
const COUPLING_MAX: f64 = 0.30;

/// Libraries and the only places that may name them.
const FENCES: &[(&str, &[&str], Fence)] = &[
    ("YAML is known in config alone", &["serde_yaml", "serde_saphyr", "granit_parser"], Fence::Only("src/config/")),
    ("the watcher alone hears of file events", &["notify"], Fence::Only("src/control/watch")),
    (
        "TLS is known in tls alone",
        &["rustls", "tokio_rustls", "rustls_native_certs", "x509_cert"],
        Fence::Only("src/tls/"),
    ),
    ("the store alone swaps snapshots", &["arc_swap"], Fence::Only("src/snapshot/store.rs")),
    ("the vocabulary knows no HTTP library", &["hyper", "hyper_util"], Fence::NotIn(VOCABULARY)),
    ("the vocabulary knows no runtime", &["tokio"], Fence::NotIn(PURE)),
];

enum Fence {
    Only(&'static str),
    NotIn(&'static [&'static str]),
}

const VOCABULARY: &[&str] = &[
    "attribute",
    "decision",
    "fault",
    "flag",
    "head",
    "lifecycle",
    "limits",
    "network",
    "proxy_protocol",
    "route",
    "snapshot",
    "upstream",
];

/// What is pure: values and functions of values.
const PURE: &[&str] = &[
    "attribute",
    "decision",
    "fault",
    "flag",
    "head",
    "limits",
    "network",
    "proxy_protocol",
    "route",
    "snapshot",
    "upstream",
];

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The top-level module of a file; the roots of the crates have none.
fn module(path: &str) -> Option<&str> {
    let path = path.strip_prefix("src/")?;
    let name = path.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main")).then_some(name)
}

/// How many `super` lead from the file to the crate's root.
fn depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").matches('/').count()
}

/// The first names after `crate::`, or after as many `super::` as lead to the root, with their places.
fn roots(source: &Source) -> Vec<(usize, String)> {
    let to_root = "super::".repeat(depth(&source.path));
    let mut found = Vec::new();
    for prefix in ["crate::", &to_root] {
        for at in words(&source.code, prefix.trim_end_matches(':')) {
            let rest = &source.code[at + prefix.len() - 2..];
            let longer = prefix != "crate::" && source.code[..at].ends_with("::");
            if let Some(path) = rest.strip_prefix("::").filter(|path| !longer && !path.starts_with("super")) {
                found.extend(first_names(path).into_iter().map(|name| (at, name)));
            }
        }
    }
    found
}

/// `a::b` gives `a`; `{a::b, c::{d, e}}` gives `a` and `c`.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let name: String = path.chars().take_while(|&c| c == '*' || (c.is_ascii() && is_word(c as u8))).collect();
        return vec![name];
    };
    let (mut depth, mut names, mut entry) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(std::mem::take(&mut entry)),
            _ => entry.push(c),
        }
        depth += i32::from(c == '{') - i32::from(c == '}');
    }
    names.push(entry);
    names.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()).flat_map(first_names).collect()
}

/// Who imports whom, over the code that is not a test.
fn edges(sources: &[Source]) -> Edges {
    let mut edges = Edges::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(from) = module(&source.path) else { continue };
        let to = edges.entry(from.to_owned()).or_default();
        to.extend(roots(source).into_iter().map(|(_, name)| name).filter(|name| name != from));
    }
    edges
}

fn allowed(from: &str, to: &str) -> bool {
    let row = LAYERS.iter().find(|(name, _)| *name == from);
    let known = LAYERS.iter().any(|(name, _)| *name == to);
    known && row.is_some_and(|(_, may)| may == &EVERYTHING || may.contains(&to))
}

/// What each module reaches over any number of edges, itself included.
fn reach(edges: &Edges) -> Edges {
    let mut reached = Edges::new();
    for from in edges.keys() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = open.pop() {
            if seen.insert(module.clone()) {
                open.extend(edges.get(&module).into_iter().flatten().cloned());
            }
        }
        reached.insert(from.clone(), seen);
    }
    reached
}

/// The modules that stand on a circle.
fn circles(edges: &Edges) -> Vec<String> {
    let reached = reach(edges);
    let returns = |from: &String| edges[from].iter().any(|to| reached.get(to).is_some_and(|seen| seen.contains(from)));
    edges.keys().filter(|from| returns(from)).cloned().collect()
}

/// Edges over ordered pairs, and the share of pairs (each with itself included) in which a change may spread.
fn coupling(edges: &Edges) -> (f64, f64) {
    let n = edges.len() as f64;
    let direct: usize = edges.values().map(BTreeSet::len).sum();
    let spread: usize = reach(edges).values().map(BTreeSet::len).sum();
    (direct as f64 / (n * (n - 1.0)), spread as f64 / (n * n))
}

#[test]
fn modules_import_what_the_layer_table_allows() {
    let mut found = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        let Some(from) = module(&source.path) else { continue };
        if !LAYERS.iter().any(|(name, _)| *name == from) {
            found.push(format!("{}: module {from} has no line in the table", source.path));
        }
        for (at, to) in roots(source) {
            if to != from && !allowed(from, &to) {
                found.push(format!("{}:{}: {from} must not import {to}", source.path, line(&source.code, at)));
            }
        }
    }
    none("tests/tidy/layers.rs holds the table", &found);
}

#[test]
fn no_circles_and_little_coupling() {
    let edges = edges(&sources(&["src"]));
    assert!(edges.len() > 10, "the tree was not read: {edges:?}");
    let (direct, spread) = coupling(&edges);
    let count: usize = edges.values().map(BTreeSet::len).sum();
    report(&format!(
        "{} modules, {count} edges, coupling {direct:.3}, propagation cost {spread:.3} (each below {COUPLING_MAX})",
        edges.len()
    ));
    none("modules on a circle", &circles(&edges));
    assert!(direct < COUPLING_MAX, "coupling is {direct:.3}");
    assert!(spread < COUPLING_MAX, "propagation cost is {spread:.3}");
}

#[test]
fn the_table_itself_has_no_circle() {
    let names = || LAYERS.iter().map(|(name, _)| (*name).to_owned());
    let row = |from: &str| names().filter(|to| to != from && allowed(from, to)).collect();
    let edges: Edges = names().map(|from| (from.clone(), row(&from))).collect();
    none("modules that the table puts on a circle", &circles(&edges));
    let known: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    for (from, may) in LAYERS {
        assert!(may == &EVERYTHING || may.iter().all(|to| known.contains(to)), "{from} may import an unknown module");
    }
}

#[test]
fn libraries_stay_behind_their_fences() {
    let mut found = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        for (rule, libraries, fence) in FENCES {
            let inside = match fence {
                Fence::Only(place) => source.path.starts_with(place),
                Fence::NotIn(modules) => !module(&source.path).is_some_and(|name| modules.contains(&name)),
            };
            if !inside {
                let named = libraries.iter().flat_map(|library| library_uses(&source.code, library));
                found.extend(named.map(|at| format!("{}:{}: {rule}", source.path, line(&source.code, at))));
            }
        }
    }
    none("libraries outside their fences", &found);
}

/// Where the code names the library itself, not something of the same name in another one.
fn library_uses<'a>(code: &'a str, library: &'a str) -> impl Iterator<Item = usize> + 'a {
    words(code, library).filter(move |&at| {
        let before = code[..at].trim_end();
        let own_path = !before.ends_with("::") || before.trim_end_matches(':').ends_with(' ');
        let used = code[at + library.len()..].starts_with("::") || before.ends_with("use");
        own_path && used
    })
}

fn file(path: &str, code: &str) -> Source {
    Source { path: path.to_owned(), text: code.to_owned(), code: code.to_owned() }
}

#[test]
fn imports_are_seen_in_every_form() {
    let code = "use crate::{a::X, b::{c, d},\n  e};\nfn f() { crate::g::h(); $crate::i::j(); super::super::k::l() }";
    let names: Vec<_> = roots(&file("src/x/y.rs", code)).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "e", "g", "i", "k"]);
    let names: Vec<_> = roots(&file("src/x.rs", "use super::m::N; use crate::*;")).into_iter().collect();
    assert_eq!(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["*", "m"]);
}

#[test]
fn circles_and_coupling_are_computed() {
    let sample = |pairs: &[(&str, &str)]| {
        let mut edges = Edges::new();
        for (from, to) in pairs {
            edges.entry((*to).to_owned()).or_default();
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    let line = sample(&[("a", "b"), ("b", "c"), ("c", "d")]);
    assert!(circles(&line).is_empty());
    assert_eq!(coupling(&line), (3.0 / 12.0, 10.0 / 16.0));
    assert_eq!(circles(&sample(&[("a", "b"), ("b", "c"), ("c", "b")])), ["b", "c"]);
    assert!(!allowed("flag", "proxy") && !allowed("flag", "*") && allowed("cli", "proxy") && !allowed("cli", "x"));
}

#[test]
fn libraries_are_seen_in_every_form() {
    let uses = |code| library_uses(code, "notify").count();
    assert_eq!(uses("use notify::Watcher; let x: notify::Error; use notify;"), 3);
    assert_eq!(uses("self.notify.wait(); tokio::notify::x(); let notify = 1;"), 0);
}
