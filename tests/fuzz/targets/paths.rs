//! The route matcher: whatever the spelling of a path, its route is the one that every reader would find.

use banyan::route::{HostPattern, Matcher, PathTemplate, Request, RouteTable, query_value};
use http::{HeaderMap, Method};

use crate::routing_models::{disagreement, path_fits, table};

/// The last line is a path with its query, the lines before it are templates of routes.
pub(super) fn matcher(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (templates, target) = text.rsplit_once('\n').unwrap_or(("", text));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    if !path.starts_with('/') || !path.is_ascii() {
        return;
    }
    if let Some(disagreement) = disagreement(&table(), path) {
        panic!("{disagreement}");
    }
    written(templates, path);
    if let Some(value) = query.and_then(|query| query_value(query, "a")) {
        assert!(value.len() <= query.map_or(0, str::len), "decoding makes nothing longer");
    }
}

/// A table of the templates as they are written, asked for the path.
fn written(templates: &str, path: &str) {
    let mut known: Vec<PathTemplate> =
        templates.lines().take(8).filter_map(|text| PathTemplate::parse(text).ok()).collect();
    known.dedup_by(|one, other| one.as_str() == other.as_str());
    let matcher = |path: &PathTemplate| Matcher {
        host: HostPattern::Any,
        path: path.clone(),
        methods: vec![],
        headers: vec![],
        query: vec![],
    };
    let Ok(table) = RouteTable::build(known.iter().map(|path| (matcher(path), path.as_str().to_owned())).collect())
    else {
        return;
    };
    let headers = HeaderMap::new();
    let request = Request { host: "h", path, query: None, method: &Method::GET, headers: &headers };
    let considered: Vec<&String> = table.considered(&request).iter().map(|found| found.payload).collect();
    let Ok(found) = table.find(&request) else { return };
    // Only a path without escapes, dots and the like has but one reading.
    if path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/') && !path.contains("//") {
        assert_eq!(found.as_ref().map(|found| found.payload), considered.first().copied(), "{path} in {known:?}");
        let fits = known.iter().any(|template| path_fits(template.as_str(), path));
        assert_eq!(found.is_some(), fits, "{path} in {known:?}");
    }
    if let Some(found) = found {
        for name in found.params.template().parameters() {
            let value = found.params.value(name, path);
            assert!(value.is_none_or(|value| value.len() <= path.len()), "{path} in {known:?}");
        }
    }
}
