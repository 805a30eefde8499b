//! From a request head to a leg: identity, context, forcing, fallbacks; always from files, as in production.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use banyan::compile::{Options, compile};
use banyan::config::{FileSet, Format};
use banyan::decision::{Decision, Head, TARGETING_KEY_BYTES_MAX, Undecided, decide, explain};
use banyan::flag::{ErrorCode, Reason};
use banyan::snapshot::Snapshot;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

const FLAGS: &str = r#"
flags:
  split:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    targeting: {fractional: [[modern, 50], [legacy, 50]]}
  killed:
    state: DISABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: modern
  open:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: null
  broken:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: modern
    targeting: {cat: ["mod", {var: header.x-end}]}
  attributes:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    targeting: {if: [{"==": [{var: query.name}, {var: query.want}]}, modern, legacy]}
  fixed:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: modern
"#;

/// The rule of the flag `attributes`, which tests replace.
const RULE: &str = r#"{if: [{"==": [{var: query.name}, {var: query.want}]}, modern, legacy]}"#;

const ROUTES: &str = r#"
identity:
  targeting_key: [header:x-user, cookie:session, issue:banyan_id]
context: {tenant: "header:x-tenant"}
force: {header: x-force, networks: [10.0.0.0/8]}
upstreams:
  monolith: {endpoints: ["http://127.0.0.1:9001"]}
  component: {endpoints: ["http://127.0.0.1:9002"], version_key: true}
routes:
  - {name: split, match: {path: "/split/{id}"}, flag: split, variants: {legacy: monolith, modern: component}, fallback: monolith}
  - {name: killed, match: {path: /killed}, flag: killed, variants: {legacy: monolith, modern: component}, fallback: monolith}
  - {name: open, match: {path: /open}, flag: open, variants: {legacy: monolith, modern: component}, fallback: component}
  - {name: broken, match: {path: /broken}, flag: broken, variants: {legacy: monolith, modern: component}, fallback: monolith}
  - {name: fixed, match: {path: /fixed}, flag: fixed, variants: {legacy: monolith, modern: component}, fallback: monolith}
  - {name: attributes, match: {path: "/attributes/{id}"}, flag: attributes, variants: {legacy: monolith, modern: component}, fallback: monolith}
  - {name: plain, match: {path: /plain}, upstream: monolith}
  - {name: worker, match: {path: /worker}, upstream: component}
"#;

fn snapshot() -> Snapshot {
    snapshot_of(FLAGS, ROUTES)
}

fn snapshot_of(flags: &str, routes: &str) -> Snapshot {
    let flags = FileSet::from_texts("flags", [("f.yaml", flags)]);
    let routes = FileSet::from_texts("routes", [("r.yaml", routes)]);
    let outcome = compile(&flags, &routes, &Options::default(), None);
    let shown = outcome.report.render(Format::Text { colour: false });
    outcome.draft.expect(&shown).into_snapshot(1)
}

/// A request in the making.
struct Asked {
    path: &'static str,
    query: Option<&'static str>,
    headers: HeaderMap,
    client: IpAddr,
    secure: bool,
}

fn get(path: &'static str) -> Asked {
    Asked { path, query: None, headers: HeaderMap::new(), client: IpAddr::from([10, 1, 2, 3]), secure: false }
}

impl Asked {
    fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    fn head(&self) -> Head<'_> {
        Head {
            method: &Method::GET,
            host: "shop.test",
            path: self.path,
            query: self.query,
            headers: &self.headers,
            client: self.client,
            secure: self.secure,
            certificate: None,
            now_unix_s: 1_800_000_000,
            fresh_key: || "fresh".to_owned(),
        }
    }

    fn decide<'s>(&self, snapshot: &'s Snapshot) -> Decision<'s> {
        decide(snapshot, &self.head()).unwrap()
    }
}

fn upstream<'s>(snapshot: &'s Snapshot, decision: &Decision<'_>) -> &'s str {
    &snapshot.upstreams[decision.leg.upstream.0 as usize].name
}

fn variant<'s>(decision: &Decision<'s>) -> (Option<&'s str>, Reason) {
    let outcome = decision.flag.as_ref().unwrap();
    (outcome.variant, outcome.reason)
}

/// The key that the flag of `/split/1` saw.
fn key_of(snapshot: &Snapshot, asked: &Asked) -> Option<Box<str>> {
    explain(snapshot, &asked.head()).unwrap().targeting_key
}

#[test]
fn the_first_source_that_answers_is_the_targeting_key() {
    let snapshot = snapshot();
    let key = |asked: Asked| key_of(&snapshot, &asked).unwrap();
    assert_eq!(&*key(get("/split/1").header("x-user", "ada").header("cookie", "session=s")), "ada");
    assert_eq!(&*key(get("/split/1").header("cookie", "a=b; session=s=1; session=t")), "s=1");
    assert_eq!(&*key(get("/split/1").header("cookie", "a=b").header("cookie", " xsession=n;session=s ")), "s");
    assert_eq!(&*key(get("/split/1").header("cookie", "banyan_id=kept")), "kept");
    // What is empty, too long or not UTF-8 does not count.
    assert_eq!(&*key(get("/split/1").header("x-user", "").header("cookie", "session=; banyan_id=kept")), "kept");
    let longest = "k".repeat(TARGETING_KEY_BYTES_MAX);
    assert_eq!(*key(get("/split/1").header("x-user", &longest)), *longest);
    assert_eq!(&*key(get("/split/1").header("x-user", format!("{longest}k"))), "fresh");
    assert_eq!(&*key(get("/split/1").header("x-user", b"\xff\xfe")), "fresh");
}

#[test]
fn a_visitor_without_a_key_gets_a_cookie_where_a_flag_asks_for_one() {
    let snapshot = snapshot();
    let cookie = |asked: &Asked| asked.decide(&snapshot).set_cookie.map(|value| value.to_str().unwrap().to_owned());
    let issued = "banyan_id=fresh; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax";
    assert_eq!(cookie(&get("/split/1")).as_deref(), Some(issued));
    let secure = Asked { secure: true, ..get("/split/1") };
    assert_eq!(cookie(&secure), Some(format!("{issued}; Secure")));
    for asked in [get("/plain"), get("/worker"), get("/fixed"), get("/killed"), get("/split/1").header("x-user", "a")] {
        assert_eq!(cookie(&asked), None, "{}", asked.path);
    }
    assert_eq!(cookie(&get("/split/1").header("cookie", "banyan_id=kept")), None);
}

#[test]
fn no_key_is_made_where_nobody_asks() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let snapshot = snapshot();
    for path in ["/plain", "/worker", "/fixed", "/killed", "/open", "/attributes/1"] {
        let asked = get(path);
        let fresh_key = || {
            MADE.fetch_add(1, Ordering::Relaxed);
            String::new()
        };
        decide(&snapshot, &Head { fresh_key, ..asked.head() }).unwrap();
        assert_eq!(MADE.load(Ordering::Relaxed), 0, "{path}");
    }
}

#[test]
fn the_targeting_key_goes_to_upstreams_that_want_it() {
    let snapshot = snapshot();
    let key = |asked: Asked| asked.decide(&snapshot).targeting_key;
    assert_eq!(key(get("/worker").header("x-user", "ada")).as_deref(), Some("ada"));
    assert_eq!(key(get("/worker")), None, "a plain route issues none");
    assert_eq!(key(get("/plain").header("x-user", "ada")), None);
    assert_eq!(key(get("/fixed").header("x-user", "ada")).as_deref(), Some("ada"));
    let served_by_modern = (0..100).map(|user| get("/split/1").header("x-user", user.to_string()));
    for asked in served_by_modern {
        let decision = asked.decide(&snapshot);
        let wanted = upstream(&snapshot, &decision) == "component";
        assert_eq!(decision.targeting_key.is_some(), wanted);
    }
}

#[test]
fn a_key_keeps_its_leg_and_both_legs_serve() {
    let snapshot = snapshot();
    let mut served = [0; 2];
    for user in 0..1_000 {
        let asked = get("/split/1").header("x-user", format!("user-{user}"));
        let decision = asked.decide(&snapshot);
        let bucket = decision.flag.as_ref().unwrap().bucket.unwrap();
        assert_eq!(bucket.of, 100);
        assert_eq!(variant(&decision).0, Some(if bucket.slot < 50 { "modern" } else { "legacy" }));
        assert_eq!(upstream(&snapshot, &decision) == "component", bucket.slot < 50);
        assert_eq!(variant(&asked.decide(&snapshot)), variant(&decision));
        served[usize::from(bucket.slot < 50)] += 1;
    }
    assert!(served.iter().all(|count| *count > 400), "{served:?}");
}

#[test]
fn what_a_flag_does_not_decide_the_fallback_serves() {
    let snapshot = snapshot();
    let disabled = get("/killed").decide(&snapshot);
    assert_eq!((variant(&disabled), upstream(&snapshot, &disabled)), ((None, Reason::Disabled), "monolith"));
    let open = get("/open").decide(&snapshot);
    assert_eq!((variant(&open), upstream(&snapshot, &open)), ((None, Reason::Default), "component"));
    let fine = get("/broken").header("x-end", "ern").decide(&snapshot);
    assert_eq!((variant(&fine), upstream(&snapshot, &fine)), ((Some("modern"), Reason::TargetingMatch), "component"));
    let failed = get("/broken").header("x-end", "ish").decide(&snapshot);
    assert_eq!((variant(&failed), upstream(&snapshot, &failed)), ((None, Reason::Error), "monolith"));
    assert_eq!(failed.flag.unwrap().error, Some(ErrorCode::General));
}

#[test]
fn a_variant_without_an_upstream_and_a_missing_flag_are_fallbacks_too() {
    let mut snapshot = snapshot();
    let rules = std::sync::Arc::get_mut(&mut snapshot.rules).unwrap();
    rules.flags.truncate(1);
    let missing = get("/fixed").decide(&snapshot);
    assert_eq!((variant(&missing), upstream(&snapshot, &missing)), ((None, Reason::Error), "monolith"));
    assert_eq!(missing.flag.unwrap().error, Some(ErrorCode::FlagNotFound));

    let mut snapshot = snapshot_of(FLAGS, ROUTES);
    let rules = std::sync::Arc::get_mut(&mut snapshot.rules).unwrap();
    let id = rules.flag_ids["fixed"];
    let flag = &mut rules.flags[id.0 as usize];
    let unknown = banyan::flag::Variant { name: "third".into(), value: "third".into() };
    flag.variants = flag.variants.iter().cloned().chain([unknown]).collect();
    flag.default_variant = flag.variant("third");
    let unserved = get("/fixed").decide(&snapshot);
    assert_eq!((variant(&unserved), upstream(&snapshot, &unserved)), ((None, Reason::Error), "monolith"));
    assert_eq!(unserved.flag.unwrap().error, Some(ErrorCode::General));
}

#[test]
fn every_attribute_can_be_asked_for() {
    let cases = [
        ("method", "GET"),
        ("host", "shop.test"),
        ("path", "/attributes/a%20b"),
        ("route", "attributes"),
        ("client.ip", "10.1.2.3"),
        ("header.x-tenant", "acme"),
        ("tenant", "acme"),
        ("cookie.c", "1"),
        ("query.q", "x y"),
        ("param.id", "a b"),
        ("targetingKey", "ada"),
        ("header.x-utf8", "é"),
    ];
    let null = ["header.x-raw", "header.x-none", "cookie.none", "query.none", "param.none", "unmapped", "header.a b"];
    let null = null.map(|name| (name, ""));
    for (name, wanted) in cases.into_iter().chain(null) {
        let compared = if wanted.is_empty() { "null".to_owned() } else { format!("\"{wanted}\"") };
        let rule = format!(r#"{{if: [{{"===": [{{var: "{name}"}}, {compared}]}}, modern, legacy]}}"#);
        let flags = FLAGS.replace(RULE, &rule);
        assert!(flags.contains(&rule));
        let snapshot = snapshot_of(&flags, ROUTES);
        let asked = get("/attributes/a%20b")
            .header("x-tenant", "acme")
            .header("x-tenant", "second")
            .header("x-user", "ada")
            .header("x-utf8", "é")
            .header("x-raw", b"\xff")
            .header("cookie", "c=1; c=2");
        let asked = Asked { query: Some("q=x+y&q=2"), ..asked };
        assert_eq!(variant(&asked.decide(&snapshot)).0, Some("modern"), "{name} is not {compared}");
    }
}

#[test]
fn an_address_in_ipv6_clothes_reads_as_what_it_is() {
    let rule = r#"{if: [{"==": [{var: client.ip}, "10.1.2.3"]}, modern, legacy]}"#;
    let flags = FLAGS.replace(RULE, rule);
    let snapshot = snapshot_of(&flags, ROUTES);
    let asked = Asked { client: "::ffff:10.1.2.3".parse().unwrap(), ..get("/attributes/1") };
    assert_eq!(variant(&asked.decide(&snapshot)).0, Some("modern"));
}

#[test]
fn testers_force_a_variant_from_their_networks_only() {
    let snapshot = snapshot();
    let outcome = |asked: Asked| asked.decide(&snapshot).flag.unwrap();
    for wish in ["split=modern", "other=x, split = modern", "split=modern,split=legacy"] {
        let forced = outcome(get("/split/1").header("x-force", wish));
        assert_eq!((forced.variant, forced.reason, forced.forced), (Some("modern"), Reason::TargetingMatch, true));
    }
    let two_fields = outcome(get("/split/1").header("x-force", "a=b").header("x-force", "split=legacy"));
    assert_eq!((two_fields.variant, two_fields.forced), (Some("legacy"), true));
    assert_eq!(get("/split/1").header("x-force", "split=modern").decide(&snapshot).set_cookie, None);

    for wish in ["split=third", "split", "other=modern", "", "split=Modern"] {
        assert!(!outcome(get("/split/1").header("x-force", wish)).forced, "{wish}");
    }
    let outside = Asked { client: IpAddr::from([192, 0, 2, 1]), ..get("/split/1") };
    assert!(!outcome(outside.header("x-force", "split=modern")).forced);
    // The kill switch beats every other source.
    let killed = outcome(get("/killed").header("x-force", "killed=modern"));
    assert_eq!((killed.variant, killed.reason, killed.forced), (None, Reason::Disabled, false));
}

#[test]
fn there_is_no_decision_without_one_route() {
    let snapshot = snapshot();
    assert_eq!(decide(&snapshot, &get("/none").head()).unwrap_err(), Undecided::NoRoute);
    assert_eq!(decide(&snapshot, &get("/split/../plain").head()).unwrap_err(), Undecided::PathAmbiguous);
    assert_eq!(get("/split/%31").decide(&snapshot).params.value("id", "/split/%31").as_deref(), Some("1"));
}

proptest! {
    /// Total: whatever a client sends, there is a leg of the matched route or one of the two refusals.
    #[test]
    fn no_head_makes_a_decision_fail(
        path in prop::sample::select(vec!["/split/1", "/broken", "/attributes/%", "/worker", "/fixed"]),
        query in prop::option::of("[a-z%=&+;0-9]{0,30}"),
        fields in prop::collection::vec((prop::sample::select(vec!["x-user", "cookie", "x-force", "x-end", "x-tenant"]), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let snapshot = snapshot();
        let mut asked = get(path);
        for (name, bytes) in &fields {
            if let Ok(value) = HeaderValue::from_bytes(bytes) {
                asked.headers.append(HeaderName::from_static(name), value);
            }
        }
        let decision = decide(&snapshot, &Head { query: query.as_deref(), ..asked.head() });
        let decision = decision.unwrap();
        prop_assert!(usize::try_from(decision.leg.upstream.0).unwrap() < snapshot.upstreams.len());
        if let Some(outcome) = &decision.flag {
            prop_assert_eq!(outcome.error.is_some(), outcome.reason == Reason::Error);
            prop_assert!(outcome.variant.is_some() || outcome.reason == Reason::Error);
        }
    }
}

#[test]
fn a_decision_with_a_rule_and_a_split_does_not_allocate() {
    let rule = r#"{if: [{in: [{var: tenant}, [acme]]}, modern, {fractional: [[modern, 10], [legacy, 90]]}]}"#;
    let snapshot = snapshot_of(&FLAGS.replace("{fractional: [[modern, 50], [legacy, 50]]}", rule), ROUTES);
    let in_header = get("/split/17").header("x-user", "ada").header("x-tenant", "umbrella");
    let in_cookie = get("/split/17").header("cookie", "theme=dark; session=ada");
    for asked in [in_header, in_cookie] {
        // The leg of most keys is the monolith, which wants no copy of the key.
        let decision = asked.decide(&snapshot);
        assert_eq!((variant(&decision).0, decision.flag.unwrap().bucket.is_some()), (Some("legacy"), true));
        let counted = allocation_counter::measure(|| drop(decide(&snapshot, &asked.head())));
        assert_eq!(counted.count_total, 0);
    }
}
