//! Templates, specificity by example, conflicts and query parameters.

use http::HeaderValue;

use super::*;

fn matcher(path: &str) -> Matcher {
    let path = PathTemplate::parse(path).unwrap();
    Matcher { host: HostPattern::Any, path, methods: vec![], headers: vec![], query: vec![] }
}

fn with_header(name: &'static str, pattern: ValuePattern) -> Matcher {
    Matcher { headers: vec![(HeaderName::from_static(name), pattern)], ..matcher("/a") }
}

fn build(matchers: Vec<Matcher>) -> Result<RouteTable<usize>, Vec<Conflict>> {
    RouteTable::build(matchers.into_iter().enumerate().map(|(index, matcher)| (matcher, index)).collect())
}

fn get<'r>(host: &'r str, path: &'r str, headers: &'r HeaderMap) -> Request<'r> {
    Request { host, path, query: None, method: &Method::GET, headers }
}

fn find(table: &RouteTable<usize>, host: &str, path: &str) -> Option<usize> {
    table.find(&get(host, path, &HeaderMap::new())).unwrap().map(|found| *found.payload)
}

#[test]
fn templates_that_cannot_be_used_say_where_and_why() {
    let cases = [
        ("orders", 0, "begins with `/`"),
        ("/a/{id", 3, "not closed"),
        ("/a/{id}.json", 7, "whole segment"),
        ("/a/x{id}", 4, "whole segment"),
        ("/{id}/b/{id}", 8, "stands twice"),
        ("/{*rest}/b", 1, "stands last"),
        ("/{}", 1, "needs a name"),
        ("/{*}", 1, "needs a name"),
        ("/{a b}", 1, "needs a name"),
        ("/a//b", 3, "empty segment"),
        ("/a/../b", 3, "dot segment"),
        ("/a?b=c", 2, "query"),
        ("/a/%zz", 3, "hexadecimal"),
        ("/a/%61", 3, "write `a`"),
        ("/a/x%2Fy", 4, "different ways"),
        ("/a/x%25y", 4, "different ways"),
        ("/a;b", 2, "different ways"),
        ("/a\\b", 2, "different ways"),
        ("/a%00", 2, "different ways"),
    ];
    for (text, offset, message) in cases {
        let error = PathTemplate::parse(text).unwrap_err();
        assert_eq!(error.offset, offset, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    assert!(PathTemplate::parse(&"/a".repeat(65)).is_err());
    let many: String = (0..17).map(|index| format!("/{{p{index}}}")).collect();
    assert!(PathTemplate::parse(&many).is_err());
    assert_eq!(*PathTemplate::parse("/a/{id}/{*rest}").unwrap().parameters(), ["id".into(), "rest".into()]);
}

#[test]
fn a_subtree_holds_its_root_with_and_without_slash() {
    let table = build(vec![matcher("/api/orders/{*rest}"), matcher("/{*rest}")]).unwrap();
    for path in ["/api/orders", "/api/orders/", "/api/orders/1", "/api/orders/1/items"] {
        assert_eq!(find(&table, "h", path), Some(0), "{path}");
    }
    for path in ["/", "/api", "/api/orders2", "/API/orders", "*"] {
        assert_eq!(find(&table, "h", path), Some(1), "{path}");
    }
    let request = get("h", "/api/orders", http_headers());
    let rest = table.find(&request).unwrap().unwrap().params.value("rest", request.path);
    assert_eq!(rest.as_deref(), Some(""));
}

fn http_headers() -> &'static HeaderMap {
    static NONE: std::sync::OnceLock<HeaderMap> = std::sync::OnceLock::new();
    NONE.get_or_init(HeaderMap::new)
}

#[test]
fn the_first_segment_that_differs_decides() {
    let table = build(vec![matcher("/{*rest}"), matcher("/{a}/b/c"), matcher("/a/{*rest}"), matcher("/a/{x}/c")]);
    let table = table.unwrap();
    assert_eq!(find(&table, "h", "/a/b/c"), Some(3));
    assert_eq!(find(&table, "h", "/a/b/d"), Some(2));
    assert_eq!(find(&table, "h", "/z/b/c"), Some(1));
    assert_eq!(find(&table, "h", "/z/b"), Some(0));
}

#[test]
fn a_parameter_is_one_segment_that_is_not_empty() {
    let table = build(vec![matcher("/a/{id}")]).unwrap();
    assert_eq!(find(&table, "h", "/a/1"), Some(0));
    assert_eq!(find(&table, "h", "/a/"), None);
    assert_eq!(find(&table, "h", "/a"), None);
    assert_eq!(find(&table, "h", "/a/1/"), None);
}

#[test]
fn hosts_go_before_paths_and_fall_back() {
    let on = |host, path| Matcher { host, ..matcher(path) };
    let table = build(vec![
        on(HostPattern::Any, "/a/b"),
        on(HostPattern::Below("test".into()), "/{*rest}"),
        on(HostPattern::Below("b.test".into()), "/a/{x}"),
        on(HostPattern::Exact("a.b.test".into()), "/only"),
    ]);
    let table = table.unwrap();
    assert_eq!(find(&table, "a.b.test", "/only"), Some(3));
    assert_eq!(find(&table, "a.b.test", "/a/b"), Some(2));
    assert_eq!(find(&table, "a.b.test", "/z"), Some(1));
    assert_eq!(find(&table, "deep.er.b.test", "/a/b"), Some(2));
    assert_eq!(find(&table, "b.test", "/a/b"), Some(1), "a wildcard does not match its own name");
    assert_eq!(find(&table, "test", "/a/b"), Some(0));
    assert_eq!(find(&table, "xb.test", "/a/b"), Some(1), "labels are whole");
    assert_eq!(find(&table, "other", "/z"), None);
}

#[test]
fn a_route_whose_conditions_do_not_hold_is_passed_over() {
    let post = Matcher { methods: vec![Method::POST], ..matcher("/a/b") };
    let table = build(vec![post, matcher("/{*rest}")]).unwrap();
    assert_eq!(find(&table, "h", "/a/b"), Some(1));
    let considered = table.considered(&get("h", "/a/b", http_headers()));
    let shown: Vec<_> = considered.iter().map(|route| (*route.payload, route.missed)).collect();
    assert_eq!(shown, [(0, Some(Missed::Method)), (1, None)]);
}

#[test]
fn equal_routes_conflict_whatever_their_parameters_are_called() {
    let conflict = |first, second| Conflict { first, second };
    let found = build(vec![matcher("/a/{x}"), matcher("/b"), matcher("/a/{y}"), matcher("/a/{z}"), matcher("/b")]);
    assert_eq!(found.unwrap_err(), [conflict(0, 2), conflict(0, 3), conflict(1, 4)]);
    let methods = |methods: &[Method]| Matcher { methods: methods.to_vec(), ..matcher("/a") };
    let overlap = build(vec![methods(&[Method::GET, Method::PUT]), methods(&[Method::GET, Method::POST])]);
    assert_eq!(overlap.unwrap_err(), [conflict(0, 1)]);
    let nested = build(vec![methods(&[Method::GET, Method::PUT]), methods(&[Method::GET])]).unwrap();
    assert_eq!(find(&nested, "h", "/a"), Some(1));
}

#[test]
fn routes_that_may_meet_need_a_third_that_says_who_wins() {
    let (left, right) = (with_header("x-left", ValuePattern::Present), with_header("x-right", ValuePattern::Present));
    let found = build(vec![left.clone(), right.clone()]);
    assert_eq!(found.unwrap_err(), [Conflict { first: 0, second: 1 }]);

    let both = Matcher { headers: [left.headers.clone(), right.headers.clone()].concat(), ..matcher("/a") };
    let table = build(vec![left.clone(), right, both]).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-left", HeaderValue::from_static("1"));
    assert_eq!(*table.find(&get("h", "/a", &headers)).unwrap().unwrap().payload, 0);
    headers.insert("x-right", HeaderValue::from_static("1"));
    assert_eq!(*table.find(&get("h", "/a", &headers)).unwrap().unwrap().payload, 2);

    // An exact value is more specific than presence, so these two never tie.
    let exact = with_header("x-right", ValuePattern::Exact("1".into()));
    let table = build(vec![left, exact]).unwrap();
    assert_eq!(*table.find(&get("h", "/a", &headers)).unwrap().unwrap().payload, 1);
}

#[test]
fn literals_outside_ascii_match_their_escapes() {
    for written in ["/café/x", "/caf%C3%A9/x", "/caf%c3%a9/x"] {
        let table = build(vec![matcher(written), matcher("/{*rest}")]).unwrap();
        for sent in ["/caf%C3%A9/x", "/caf%c3%a9/x", "/café/x"] {
            assert_eq!(find(&table, "h", sent), Some(0), "{written} {sent}");
        }
    }
}

#[test]
fn parameters_are_decoded_once() {
    let table = build(vec![matcher("/a/{id}")]).unwrap();
    let value = |path: &str| {
        let found = table.find(&get("h", path, http_headers())).unwrap().unwrap();
        found.params.value("id", path).map(std::borrow::Cow::into_owned)
    };
    assert_eq!(value("/a/x%20y").as_deref(), Some("x y"));
    assert_eq!(value("/a/100%25").as_deref(), Some("100%"));
    assert_eq!(value("/a/a+b").as_deref(), Some("a+b"));
    assert_eq!(value("/a/%ff"), None, "not UTF-8");
    let found = table.find(&get("h", "/a/1", http_headers())).unwrap().unwrap();
    assert_eq!(found.params.value("other", "/a/1"), None);
}

#[test]
fn query_parameters_are_read_as_forms_are() {
    let query = "a=1&b&c=x+y%21&a=2&%64=4&e=%ff&=n&f=1=2";
    let value = |name| query_value(query, name).map(std::borrow::Cow::into_owned);
    assert_eq!(value("a").as_deref(), Some("1"));
    assert_eq!(value("b").as_deref(), Some(""));
    assert_eq!(value("c").as_deref(), Some("x y!"));
    assert_eq!(value("d").as_deref(), Some("4"));
    assert_eq!(value("e"), None);
    assert_eq!(value("f").as_deref(), Some("1=2"));
    assert_eq!(value("g"), None);
}

#[test]
fn ten_thousand_values_of_one_header_are_told_apart() {
    let routes = (0..10_000).map(|index| with_header("x-tenant", ValuePattern::Exact(format!("t{index}").into())));
    let table = build(routes.collect()).unwrap();
    let mut headers = HeaderMap::new();
    for index in [0_usize, 4_711, 9_999] {
        headers.insert("x-tenant", HeaderValue::from_str(&format!("t{index}")).unwrap());
        assert_eq!(*table.find(&get("h", "/a", &headers)).unwrap().unwrap().payload, index);
    }
    headers.insert("x-tenant", HeaderValue::from_static("t10000"));
    assert!(table.find(&get("h", "/a", &headers)).unwrap().is_none());
}
