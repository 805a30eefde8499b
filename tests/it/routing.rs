//! The route table against a linear matcher: the same winner, whatever the order, and a conflict where none wins.

use std::collections::HashSet;

use banyan::route::{HostPattern, Matcher, PathTemplate, Request, RouteTable, ValuePattern};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use crate::routing_oracle::best;

const SEGMENTS: [&str; 4] = ["a", "b", "{p}", "{q}"];

fn host() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        Just(HostPattern::Any),
        Just(HostPattern::Below("test".into())),
        Just(HostPattern::Below("b.test".into())),
        Just(HostPattern::Exact("a.b.test".into())),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(prop::sample::select(&SEGMENTS[..]), 0..3);
    (segments, prop::sample::select(vec!["", "/", "/{*rest}"])).prop_map(|(segments, end)| {
        let mut seen = HashSet::new();
        let kept: Vec<&str> =
            segments.into_iter().filter(|part| !part.starts_with('{') || seen.insert(*part)).collect();
        let path: String = kept.iter().map(|part| format!("/{part}")).chain([end.to_owned()]).collect();
        if path.is_empty() { "/".to_owned() } else { path }
    })
}

fn pattern() -> impl Strategy<Value = ValuePattern> {
    prop_oneof![
        Just(ValuePattern::Present),
        Just(ValuePattern::Exact("1".into())),
        Just(ValuePattern::Exact("2".into())),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let methods = prop::sample::subsequence(vec![Method::GET, Method::PUT, Method::POST], 0..=2);
    let headers = prop::sample::subsequence(vec!["x", "y"], 0..=2);
    let query = prop::sample::subsequence(vec!["q"], 0..=1);
    (host(), path(), methods, headers, query, [pattern(), pattern(), pattern()]).prop_map(
        |(host, path, methods, headers, query, [first, second, third])| Matcher {
            host,
            path: PathTemplate::parse(&path).unwrap(),
            methods,
            headers: headers.into_iter().map(HeaderName::from_static).zip([first, second]).collect(),
            query: query.into_iter().map(Box::from).zip([third]).collect(),
        },
    )
}

/// One request with everything that can be asked about.
#[derive(Debug, Clone)]
struct Asked {
    host: String,
    path: String,
    query: Option<&'static str>,
    method: Method,
    headers: HeaderMap,
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request { host: &self.host, path: &self.path, query: self.query, method: &self.method, headers: &self.headers }
    }
}

/// Requests that reach every template and meet every condition or none; `PURGE` and `3` stand for all other values.
fn requests(routes: &[Matcher]) -> Vec<Asked> {
    let mut paths: HashSet<String> = ["/", "/a", "/a/b", "/a/", "/zz/b"].map(str::to_owned).into();
    for route in routes {
        let path = route.path.as_str().replace("{p}", "zz").replace("{q}", "zz");
        paths.insert(path.replace("{*rest}", "zz/zz/zz/zz"));
    }
    let values = [None, Some("1"), Some("2"), Some("3")];
    let mut found = Vec::new();
    for path in paths {
        for host in ["a.b.test", "z.b.test", "z.test", "other"] {
            for method in [Method::GET, Method::PUT, Method::POST, Method::from_bytes(b"PURGE").unwrap()] {
                for (x, y) in values.iter().flat_map(|x| values.iter().map(move |y| (x, y))) {
                    let mut headers = HeaderMap::new();
                    let mut add = |name, value: &Option<&'static str>| {
                        if let Some(value) = value {
                            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
                        }
                    };
                    add("x", x);
                    add("y", y);
                    for query in [None, Some("q=1"), Some("q=2"), Some("o=9&q=3")] {
                        let (headers, path) = (headers.clone(), path.clone());
                        found.push(Asked { host: host.into(), path, query, method: method.clone(), headers });
                    }
                }
            }
        }
    }
    found
}

fn build(routes: &[Matcher]) -> Result<RouteTable<usize>, Vec<banyan::route::Conflict>> {
    RouteTable::build(routes.iter().cloned().enumerate().map(|(index, route)| (route, index)).collect())
}

fn check(routes: &[Matcher]) -> Result<(), TestCaseError> {
    let requests = requests(routes);
    match build(routes) {
        Ok(table) => {
            for asked in &requests {
                let wanted = best(routes, &asked.request());
                let found = table.find(&asked.request()).unwrap().map(|found| *found.payload);
                prop_assert!(wanted.len() <= 1, "no conflict was reported: {wanted:?} for {asked:?}");
                prop_assert_eq!(found, wanted.first().copied(), "{:?}", asked);
            }
        }
        Err(conflicts) => {
            let ties: Vec<Vec<usize>> = requests.iter().map(|asked| best(routes, &asked.request())).collect();
            for conflict in &conflicts {
                let pair = [conflict.first, conflict.second];
                let tied = ties.iter().any(|tie| pair.iter().all(|index| tie.contains(index)));
                prop_assert!(tied, "no request meets both of {conflict:?}");
            }
            // Each tie has a route that is named; a route is named with one of those that it meets.
            for tie in ties.iter().filter(|tie| tie.len() > 1) {
                let named = |index: &usize| conflicts.iter().any(|found| [found.first, found.second].contains(index));
                prop_assert!(tie.iter().any(named), "none of {tie:?} is in {conflicts:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_table_chooses_as_the_linear_matcher_does(routes in prop::collection::vec(matcher(), 1..9)) {
        check(&routes)?;
    }

    /// Routes that differ in their conditions only, so that many of them meet.
    #[test]
    fn conditions_choose_as_the_linear_matcher_does(mut routes in prop::collection::vec(matcher(), 2..6)) {
        for route in &mut routes {
            route.host = HostPattern::Any;
            route.path = PathTemplate::parse("/a").unwrap();
        }
        check(&routes)?;
    }

    #[test]
    fn the_order_of_the_routes_does_not_matter(routes in prop::collection::vec(matcher(), 1..9)) {
        let reversed: Vec<Matcher> = routes.iter().rev().cloned().collect();
        let last = routes.len() - 1;
        match (build(&routes), build(&reversed)) {
            (Ok(table), Ok(other)) => {
                for asked in requests(&routes) {
                    let found = table.find(&asked.request()).unwrap().map(|found| *found.payload);
                    let mirrored = other.find(&asked.request()).unwrap().map(|found| last - *found.payload);
                    prop_assert_eq!(found, mirrored);
                }
            }
            (left, right) => prop_assert!(left.is_err() && right.is_err()),
        }
    }

    #[test]
    fn parameters_are_the_segments_of_the_path(values in prop::collection::vec("[a-z0-9.~-]{1,8}", 1..5), rest in "[a-z/]{0,9}") {
        prop_assume!(values.iter().all(|value| !matches!(&**value, "." | "..")) && !rest.contains("//") && !rest.starts_with('/'));
        let template: String = (0..values.len()).map(|index| format!("/x/{{p{index}}}")).collect();
        let path: String = values.iter().map(|value| format!("/x/{value}")).collect();
        let (template, path) = (format!("{template}/{{*rest}}"), format!("{path}/{rest}"));
        let matcher = Matcher {
            host: HostPattern::Any,
            path: PathTemplate::parse(&template).unwrap(),
            methods: vec![],
            headers: vec![],
            query: vec![],
        };
        let table = RouteTable::build(vec![(matcher, ())]).unwrap();
        let request = Request { host: "h", path: &path, query: None, method: &Method::GET, headers: &HeaderMap::new() };
        let params = table.find(&request).unwrap().unwrap().params;
        for (index, value) in values.iter().enumerate() {
            let read = params.value(&format!("p{index}"), &path);
            prop_assert_eq!(read.as_deref(), Some(&**value));
        }
        let read = params.value("rest", &path);
        prop_assert_eq!(read.as_deref(), Some(&*rest));
    }
}
