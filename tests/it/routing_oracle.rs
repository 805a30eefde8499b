//! A linear matcher written from the definition of specificity alone: what the real table is compared with.

use std::cmp::Ordering;

use banyan::route::{HostPattern, Matcher, Request, ValuePattern};

/// The routes that fit a request equally well and better than all others; more than one is a conflict.
pub(crate) fn best(routes: &[Matcher], request: &Request<'_>) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::new();
    for (index, route) in routes.iter().enumerate().filter(|(_, route)| fits(route, request)) {
        match best.first().map_or(Ordering::Greater, |known| compare(route, &routes[*known])) {
            Ordering::Greater => best = vec![index],
            Ordering::Equal => best.push(index),
            Ordering::Less => {}
        }
    }
    best
}

fn fits(route: &Matcher, request: &Request<'_>) -> bool {
    let host = match &route.host {
        HostPattern::Any => true,
        HostPattern::Exact(name) => **name == *request.host,
        HostPattern::Below(name) => request.host.ends_with(&format!(".{name}")),
    };
    let header = |name: &http::HeaderName, pattern: &ValuePattern| {
        let value = request.headers.get(name).map(|value| value.to_str().unwrap());
        value_fits(value, pattern)
    };
    let query = |name: &str, pattern: &ValuePattern| {
        let pairs = request.query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        value_fits(pairs.clone().find(|(key, _)| *key == name).map(|(_, value)| value), pattern)
    };
    host && path_fits(route.path.as_str(), request.path)
        && (route.methods.is_empty() || route.methods.contains(request.method))
        && route.headers.iter().all(|(name, pattern)| header(name, pattern))
        && route.query.iter().all(|(name, pattern)| query(name, pattern))
}

fn value_fits(value: Option<&str>, pattern: &ValuePattern) -> bool {
    match pattern {
        ValuePattern::Present => value.is_some(),
        ValuePattern::Exact(wanted) => value == Some(wanted),
    }
}

/// Whether a path fits a template; literals are compared as they stand.
pub(crate) fn path_fits(template: &str, path: &str) -> bool {
    if let Some(base) = template.rfind("/{*").map(|at| &template[..at]) {
        let count = base.matches('/').count();
        let parts: Vec<&str> = path.split('/').collect();
        return parts.len() > count && path.starts_with('/') && path_fits_exactly(base, &parts[..=count].join("/"));
    }
    path_fits_exactly(template, path)
}

fn path_fits_exactly(template: &str, path: &str) -> bool {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let segment = |(wanted, given): (&&str, &&str)| {
        if wanted.starts_with('{') { !given.is_empty() } else { wanted == given }
    };
    wanted.len() == given.len() && wanted.iter().zip(&given).all(segment)
}

fn compare(left: &Matcher, right: &Matcher) -> Ordering {
    host_rank(left)
        .cmp(&host_rank(right))
        .then_with(|| shape(right).cmp(&shape(left)))
        .then_with(|| condition_rank(left).cmp(&condition_rank(right)))
        .then_with(|| {
            let names = |route: &Matcher| {
                let mut names: Vec<String> = route.headers.iter().map(|found| format!("h{found:?}")).collect();
                names.extend(route.query.iter().map(|found| format!("q{found:?}")));
                names.sort();
                names
            };
            let same = names(left) == names(right);
            if same { right.methods.len().cmp(&left.methods.len()) } else { Ordering::Equal }
        })
}

fn host_rank(route: &Matcher) -> (u8, usize) {
    match &route.host {
        HostPattern::Exact(_) => (2, 0),
        HostPattern::Below(name) => (1, name.len()),
        HostPattern::Any => (0, 0),
    }
}

/// The kinds of the segments: smaller is more specific; the end of a template stands before any rest.
fn shape(route: &Matcher) -> Vec<u8> {
    let kind = |segment: &str| match segment {
        rest if rest.starts_with("{*") => 3,
        parameter if parameter.starts_with('{') => 2,
        _ => 1,
    };
    let mut kinds: Vec<u8> = route.path.as_str().split('/').skip(1).map(kind).collect();
    kinds.push(0);
    kinds
}

fn condition_rank(route: &Matcher) -> (bool, usize, usize, usize, usize) {
    let exact = |pattern: &ValuePattern| *pattern != ValuePattern::Present;
    (
        !route.methods.is_empty(),
        route.headers.len(),
        route.headers.iter().filter(|(_, pattern)| exact(pattern)).count(),
        route.query.len(),
        route.query.iter().filter(|(_, pattern)| exact(pattern)).count(),
    )
}
