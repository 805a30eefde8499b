//! Decisions about half-known requests: what counts as decided is what the whole request would have got.

use std::net::IpAddr;

use banyan::attribute::Attribute;
use banyan::compile::{self, Options};
use banyan::config::FileSet;
use banyan::decision::{Head, decide, decide_partly};
use banyan::snapshot::Snapshot;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

/// Rules that ask for different things, and ask on only in some cases.
const RULES: &[&str] = &[
    "{fractional: [[modern, 50], [legacy, 50]]}",
    "{if: [{\"==\": [{var: method}, POST]}, modern, {fractional: [[modern, 50], [legacy, 50]]}]}",
    "{if: [{in: [{var: tenant}, [a, b]]}, modern, {fractional: [[modern, 30], [legacy, 70]]}]}",
    "{if: [{\"==\": [{var: header.x-plan}, a]}, {var: query.q}, legacy]}",
    "{if: [{\"==\": [{var: cookie.c}, b]}, modern]}",
    "{if: [{in: [\"2\", {var: client.ip}]}, {var: header.x-plan}, modern]}",
    "{if: [{\"==\": [{var: param.id}, a]}, modern, {if: [{missing: [header.x-user, query.q]}, legacy, modern]}]}",
    "{if: [{in: [a, {var: targetingKey}]}, modern, legacy]}",
    "{if: [{\"==\": [{var: [{cat: [header, ., x-plan]}]}, a]}, modern]}",
];
const NAMES: [&str; 5] = ["x-user", "x-tenant", "x-plan", "x-force", "cookie"];

fn snapshot() -> Snapshot {
    let (mut flags, mut routes) = ("flags:\n".to_owned(), "routes:\n".to_owned());
    for (at, rule) in RULES.iter().enumerate() {
        flags += &format!(
            "  f{at}: {{state: ENABLED, variants: {{modern: modern, legacy: legacy}}, defaultVariant: legacy, targeting: {rule}}}\n"
        );
        routes += &format!(
            "  - {{name: r{at}, match: {{path: \"/{at}/{{id}}\"}}, flag: f{at}, variants: {{modern: two, legacy: one}}, fallback: one}}\n"
        );
    }
    routes += "  - {name: by-header, match: {path: \"/0/{id}\", headers: {x-plan: a}}, upstream: two}
  - {name: by-query, match: {path: \"/1/{id}\", query: {q: a}}, upstream: two}
identity: {targeting_key: [header:x-user, cookie:c, client.ip]}
context: {tenant: \"header:x-tenant\"}
force: {header: x-force, networks: [10.0.0.0/8]}
upstreams: {one: {endpoints: [\"http://127.0.0.1:1\"]}, two: {endpoints: [\"http://127.0.0.1:2\"]}}
";
    let sets =
        [("flags", flags), ("routes", routes)].map(|(dir, text)| FileSet::from_texts(dir, [("a.yaml", text.as_str())]));
    let outcome = compile::compile(&sets[0], &sets[1], &Options::default(), None);
    outcome.draft.unwrap_or_else(|| panic!("{:#?}", outcome.report)).into_snapshot(1)
}

#[derive(Debug, Clone)]
struct Asked {
    path: String,
    query: Option<&'static str>,
    headers: Vec<Option<&'static str>>,
    post: bool,
    client: IpAddr,
    /// Which headers are known, and whether the query is.
    known: Vec<bool>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let value =
        || proptest::option::of(proptest::sample::select(&["a", "b", "modern", "c=b; d=a", "f0=modern,f3=modern"][..]));
    (
        (0..RULES.len(), proptest::sample::select(&["a", "b"][..])),
        proptest::option::of(proptest::sample::select(&["q=a", "q=modern", "r=1"][..])),
        proptest::collection::vec(value(), NAMES.len()),
        any::<bool>(),
        proptest::sample::select(&["10.0.0.1", "192.0.2.2"][..]),
        proptest::collection::vec(any::<bool>(), NAMES.len() + 1),
    )
        .prop_map(|((route, id), query, headers, post, client, known)| Asked {
            path: format!("/{route}/{id}"),
            query,
            headers,
            post,
            client: client.parse().unwrap(),
            known,
        })
}

impl Asked {
    fn knows(&self, attribute: &Attribute) -> bool {
        let header = |name: &HeaderName| self.known[NAMES.iter().position(|known| name == known).unwrap()];
        match attribute {
            Attribute::Header(name) => header(name),
            Attribute::Cookie(_) => header(&COOKIE),
            Attribute::Query(_) => self.known[NAMES.len()],
            Attribute::TargetingKey | Attribute::Mapped(_) => panic!("{attribute} stands for others"),
            _ => true,
        }
    }

    /// The headers, or only those that are known.
    fn headers(&self, all: bool) -> HeaderMap {
        let given = NAMES.iter().zip(&self.headers).zip(&self.known).filter(|(_, known)| all || **known);
        let pairs = given.filter_map(|((name, value), _)| Some((*name, (*value)?)));
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn head<'r>(&'r self, headers: &'r HeaderMap, all: bool) -> Head<'r> {
        Head {
            method: if self.post { &Method::POST } else { &Method::GET },
            host: "a.example",
            path: &self.path,
            query: self.query.filter(|_| all || self.known[NAMES.len()]),
            headers,
            client: self.client,
            secure: false,
            certificate: None,
            now_unix_s: 0,
            fresh_key: String::new,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_in_part_is_what_the_whole_gets(asked in asked()) {
        thread_local!(static SNAPSHOT: Snapshot = snapshot());
        SNAPSHOT.with(|snapshot| {
            let (whole, known) = (asked.headers(true), asked.headers(false));
            let wanted = decide(snapshot, &asked.head(&whole, true)).unwrap();
            let found = decide_partly(snapshot, &asked.head(&known, false), &|attribute| asked.knows(attribute));
            if found.unknown.is_none() {
                let decision = found.decision.unwrap();
                prop_assert_eq!(decision.leg, wanted.leg);
                prop_assert_eq!(&decision.route.name, &wanted.route.name);
                let flags = (decision.flag, wanted.flag);
                prop_assert_eq!(flags.0.map(|flag| (flag.variant, flag.reason)), flags.1.map(|flag| (flag.variant, flag.reason)));
            } else {
                prop_assert!(asked.known.contains(&false), "all is known, and yet {:?}", found.unknown);
            }
            Ok(())
        })?;
    }
}

#[test]
fn the_first_thing_that_is_missing_is_named() {
    let snapshot = snapshot();
    let mut asked = Asked {
        path: "/2/x".to_owned(),
        query: None,
        headers: vec![None; NAMES.len()],
        post: false,
        client: "192.0.2.2".parse().unwrap(),
        known: vec![false; NAMES.len() + 1],
    };
    let missing = |asked: &Asked| {
        let headers = asked.headers(false);
        let found = decide_partly(&snapshot, &asked.head(&headers, false), &|attribute| asked.knows(attribute));
        found.unknown.map(|unknown| (unknown.attribute.to_string(), unknown.by_route))
    };
    assert_eq!(missing(&asked), Some(("header:x-tenant".to_owned(), false)));
    asked.known[1] = true;
    assert_eq!(missing(&asked), Some(("header:x-user".to_owned(), false)));
    asked.known[0] = true;
    assert_eq!(missing(&asked), Some(("cookie:c".to_owned(), false)));
    // With a key of the first source nobody looks at the second.
    asked.headers[0] = Some("ada");
    assert_eq!(missing(&asked), None);
    asked.client = "10.0.0.1".parse().unwrap();
    assert_eq!(missing(&asked), Some(("header:x-force".to_owned(), false)));
    asked.path = "/0/x".to_owned();
    assert_eq!(missing(&asked), Some(("header:x-plan".to_owned(), true)));
}
