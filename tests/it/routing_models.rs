//! Rule H6's judges: models of servers in the field, each with its own reading of a path, written apart from the router's.

use banyan::route::{Ambiguous, HostPattern, Matcher, PathTemplate, Request, RouteTable};
use http::{HeaderMap, Method};

pub(crate) use crate::routing_oracle::path_fits;

/// From the most specific to the least; no two of them fit a path equally well.
const TEMPLATES: [&str; 7] =
    ["/admin/users", "/admin/{*rest}", "/a/b", "/a/{id}/x", "/a/{id}", "/b/{*rest}", "/{*rest}"];

/// A table of routes that no two readings of a path may tell apart.
pub(crate) fn table() -> RouteTable<usize> {
    let matcher = |template: &str| Matcher {
        host: HostPattern::Any,
        path: PathTemplate::parse(template).unwrap(),
        methods: vec![],
        headers: vec![],
        query: vec![],
    };
    RouteTable::build(TEMPLATES.iter().enumerate().map(|(index, text)| (matcher(text), index)).collect()).unwrap()
}

pub(crate) fn find(table: &RouteTable<usize>, path: &str) -> Result<Option<usize>, Ambiguous> {
    let request = Request { host: "h", path, query: None, method: &Method::GET, headers: &HeaderMap::new() };
    Ok(table.find(&request)?.map(|found| *found.payload))
}

/// The route of a path as one upstream reads it.
fn route_of(path: &str) -> Option<usize> {
    TEMPLATES.iter().position(|template| path_fits(template, path))
}

/// Decodes escapes once, but those whose character is in `kept`.
fn unescape(path: &str, kept: &str) -> String {
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = path.get(at + 1..at + 3).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.map(|code| u8::from_str_radix(code, 16).unwrap()) {
            Some(byte) if bytes[at] == b'%' && !kept.as_bytes().contains(&byte) => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn merge(path: &str) -> String {
    let mut merged = path.to_owned();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    merged
}

fn resolve(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        match *part {
            ".." => {
                kept.pop();
            }
            "." => {}
            other => kept.push(other),
        }
        if is_last && matches!(*part, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

fn without_parameters(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').map(|part| part.split(';').next().unwrap()).collect();
    parts.join("/")
}

fn go_clean(path: &str) -> String {
    let cleaned = merge(&resolve(&merge(path)));
    let trimmed = cleaned.trim_end_matches('/');
    match (trimmed, path.ends_with('/')) {
        ("", _) => "/".to_owned(),
        (trimmed, true) => format!("{trimmed}/"),
        (trimmed, false) => trimmed.to_owned(),
    }
}

type Reader = (&'static str, fn(&str) -> String);

const READERS: [Reader; 14] = [
    ("as it stands", |path| path.to_owned()),
    ("decodes", |path| unescape(path, "")),
    ("splits, then decodes", |path| unescape(path, "/")),
    ("merges", merge),
    ("resolves", resolve),
    ("nginx", |path| resolve(&merge(&unescape(path, "")))),
    ("merges after resolving", |path| merge(&resolve(&unescape(path, "")))),
    ("Go's ServeMux", |path| go_clean(&unescape(path, ""))),
    ("Tomcat", |path| resolve(&merge(&unescape(&without_parameters(path), "/")))),
    ("Tomcat that decodes slashes", |path| resolve(&merge(&unescape(&without_parameters(path), "")))),
    ("Windows", |path| resolve(&merge(&unescape(path, "").replace('\\', "/")))),
    ("decodes twice", |path| resolve(&merge(&unescape(&unescape(path, ""), "")))),
    ("strips parameters last", |path| resolve(&merge(&without_parameters(&unescape(path, ""))))),
    ("decodes, then cuts the query", |path| {
        let decoded = unescape(path, "");
        decoded.split(['?', '#']).next().unwrap().to_owned()
    }),
];

/// How a reader finds another route in a path than the router does, if one does.
pub(crate) fn disagreement(table: &RouteTable<usize>, path: &str) -> Option<String> {
    let found = find(table, path).ok()?;
    READERS.iter().find_map(|(name, read)| {
        let reading = read(path);
        let other = route_of(&reading);
        (found != other)
            .then(|| format!("{path} leads to {found:?}, but {name} reads {reading}, which leads to {other:?}"))
    })
}
